//! What happens in an attempt, numbered so that each event reaches the coordinator once (session.proto, Resuming).

use model::id::AttemptId;
use model::initrd::InitrdReport;
use model::stage::{Stage, StageStatus};
use proto::v1;
use serde::{Deserialize, Serialize};

use crate::worker::report::Failure;

/// One event of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// From 1, without gaps, in the attempt.
    pub number: u64,
    /// Milliseconds since 1970.
    pub time_ms: i64,
    /// What happened.
    pub what: What,
}

/// What can happen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// A stage begins.
    StageStarted(Stage),
    /// A stage is over.
    StageEnded(Stage, StageStatus),
    /// The archive is where the coordinator can take it in.
    Published(Published),
    /// The attempt ended badly by its own fault.
    Failed(Failure),
    /// The agent can't go on; another attempt may.
    Lost {
        /// Why, in one sentence.
        reason: String,
    },
    /// Ended on request; nothing of it is left.
    Dropped,
}

/// What was published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// `sha256:…`.
    pub digest: String,
    /// Of the archive.
    pub bytes: u64,
    /// In the image.
    pub kernel_version: String,
    /// In the image.
    pub packages: u32,
    /// How many lines the log has in all.
    pub log_lines: u64,
    /// In the image's initrds.
    #[serde(default)]
    pub initrds: Vec<InitrdReport>,
    /// What the user should know.
    #[serde(default)]
    pub warnings: Vec<String>,
}

impl What {
    /// Whether nothing comes after it.
    pub fn is_final(&self) -> bool {
        !matches!(self, Self::StageStarted(_) | Self::StageEnded(..))
    }

    fn to_wire(&self) -> v1::event::Event {
        use v1::event::Event as Wire;
        match self.clone() {
            Self::StageStarted(stage) => Wire::StageStarted(v1::StageStarted { stage: stage.to_string() }),
            Self::StageEnded(stage, status) => {
                Wire::StageEnded(v1::StageEnded { stage: stage.to_string(), status: word(status).to_owned() })
            }
            Self::Published(Published { digest, bytes, kernel_version, packages, log_lines, initrds, warnings }) => {
                let initrds = initrds.into_iter().map(Into::into).collect();
                Wire::Published(v1::Published { digest, bytes, kernel_version, packages, log_lines, initrds, warnings })
            }
            Self::Failed(Failure { stage, cause, hint, last_lines, blame: _ }) => {
                Wire::Failed(v1::Failure { stage: stage.to_string(), cause, hint, last_lines })
            }
            Self::Lost { reason } => Wire::Lost(v1::AttemptLost { reason }),
            Self::Dropped => Wire::Dropped(v1::Dropped {}),
        }
    }
}

fn word(status: StageStatus) -> &'static str {
    match status {
        StageStatus::Skipped => "skipped",
        StageStatus::Failed => "failed",
        StageStatus::Pending | StageStatus::Running | StageStatus::Done => "done",
    }
}

impl Event {
    /// As the coordinator gets it.
    pub fn to_wire(&self, attempt: AttemptId) -> v1::AgentMessage {
        let event = v1::Event {
            attempt: Some(reference(attempt)),
            number: self.number,
            time_ms: self.time_ms,
            event: Some(self.what.to_wire()),
        };
        v1::AgentMessage { message: Some(v1::agent_message::Message::Event(event)) }
    }
}

/// An attempt on the wire.
pub fn reference(attempt: AttemptId) -> v1::AttemptRef {
    v1::AttemptRef { build: attempt.build.get(), attempt: attempt.attempt.get() }
}

/// An attempt from the wire; `None` if a number is 0.
pub fn attempt(reference: Option<v1::AttemptRef>) -> Option<AttemptId> {
    let reference = reference?;
    let build = model::id::BuildId::new(reference.build)?;
    Some(AttemptId { build, attempt: model::id::Attempt::new(reference.attempt)? })
}
