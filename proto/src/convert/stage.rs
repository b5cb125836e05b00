//! Stages and how they stand.

use model::stage::StageRecord;

use crate::v1;
use crate::violation::{FieldViolation, OfField};

impl From<StageRecord> for v1::StageRecord {
    fn from(record: StageRecord) -> Self {
        let StageRecord { stage, status, started_ms, ended_ms } = record;
        Self { stage: stage.as_str().to_owned(), status: status.as_str().to_owned(), started_ms, ended_ms }
    }
}

impl TryFrom<v1::StageRecord> for StageRecord {
    type Error = FieldViolation;

    fn try_from(wire: v1::StageRecord) -> Result<Self, FieldViolation> {
        let v1::StageRecord { stage, status, started_ms, ended_ms } = wire;
        Ok(Self {
            stage: stage.parse().of_field("stage")?,
            status: status.parse().of_field("status")?,
            started_ms,
            ended_ms,
        })
    }
}
