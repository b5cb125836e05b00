//! Stages and how they stand.

use model::stage::{StageRecord, StageStatus};

use crate::v1;
use crate::violation::{FieldViolation, OfField};

/// The word for a status on the wire.
pub fn status_word(status: StageStatus) -> &'static str {
    match status {
        StageStatus::Pending => "pending",
        StageStatus::Running => "running",
        StageStatus::Done => "done",
        StageStatus::Skipped => "skipped",
        StageStatus::Failed => "failed",
    }
}

/// The status that a word on the wire means; the violation is of the field `status`.
pub fn status_of_word(word: &str) -> Result<StageStatus, FieldViolation> {
    Ok(match word {
        "pending" => StageStatus::Pending,
        "running" => StageStatus::Running,
        "done" => StageStatus::Done,
        "skipped" => StageStatus::Skipped,
        "failed" => StageStatus::Failed,
        _ => return Err(FieldViolation::new("status", format_args!("`{word}` is not a stage's status"))),
    })
}

impl From<StageRecord> for v1::StageRecord {
    fn from(record: StageRecord) -> Self {
        let StageRecord { stage, status, started_ms, ended_ms } = record;
        Self { stage: stage.as_str().to_owned(), status: status_word(status).to_owned(), started_ms, ended_ms }
    }
}

impl TryFrom<v1::StageRecord> for StageRecord {
    type Error = FieldViolation;

    fn try_from(wire: v1::StageRecord) -> Result<Self, FieldViolation> {
        let v1::StageRecord { stage, status, started_ms, ended_ms } = wire;
        Ok(Self { stage: stage.parse().of_field("stage")?, status: status_of_word(&status)?, started_ms, ended_ms })
    }
}
