//! One run of an osimage, and the rules by which its state changes.
//!
//! ```text
//!              leased            stage started         received            packing
//!   queued ───────────► leased ───────────────► running ────────► received ────────► packing
//!     ▲  │                │  │                   │  │               │  │               │  │
//!     │  │    lost        │  │       lost        │  │               │  ▼  packed       │  │
//!     └──┼────────────────┘  │  (attempts left)  │  │               │ succeeded ◄──────┘  │
//!     └──┼───────────────────┼───────────────────┘  │               │  (no pack wanted)   │
//!        ▼                   ▼                      ▼               ▼                     ▼
//!     failed or cancelled: from every state that is not final
//! ```
//!
//! A build of packimage alone goes from queued straight to packing. [`BuildState::on`] is the only place that
//! decides; whatever an older attempt sends is refused there, by its number.

use serde::{Deserialize, Serialize};

use crate::arch::Arch;
use crate::id::{Attempt, BuildId, Generation};
use crate::initrd::InitrdReport;
use crate::name::{AgentName, ImageName, UserName};
use crate::plan::RpmDatabase;
use crate::stage::{Stage, StageRecord};
use crate::wish::GenimageWish;

/// Which halves of the work a build does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// genimage, then packimage.
    Both,
    /// The root image alone; its tree may be edited afterwards.
    Genimage,
    /// Packing of the newest root image.
    Packimage,
}

/// Where a build stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "lowercase")]
pub enum BuildState {
    /// Waits for an agent, or for the rootimgdir.
    Queued,
    /// Given to an agent that has not begun.
    Leased {
        /// To whom.
        agent: AgentName,
        /// As which attempt.
        attempt: Attempt,
    },
    /// The agent is at work.
    Running {
        /// Who.
        agent: AgentName,
        /// On which attempt.
        attempt: Attempt,
        /// On which stage.
        stage: Stage,
    },
    /// The tree lies in its generation.
    Received {
        /// Which.
        generation: Generation,
    },
    /// packimage is at work.
    Packing {
        /// On which generation.
        generation: Generation,
    },
    /// Everything asked for is there.
    Succeeded,
    /// It ended badly.
    Failed {
        /// How.
        failure: Failure,
    },
    /// Somebody ended it.
    Cancelled {
        /// Who.
        by: UserName,
    },
}

/// Why a build failed, in the words that a user sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// An agent's stage, or `dispatch`, `receive`, `packimage`.
    pub stage: String,
    /// What went wrong, and where.
    pub cause: String,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The last lines of the log, at most 40.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub last_lines: Vec<String>,
}

/// Something that happened to a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildEvent {
    /// The scheduler gave it to an agent.
    Leased {
        /// To whom.
        agent: AgentName,
        /// As which attempt; the one after the last.
        attempt: Attempt,
    },
    /// The agent began a stage.
    StageStarted {
        /// On which attempt.
        attempt: Attempt,
        /// Which stage.
        stage: Stage,
    },
    /// The agent or its attempt is gone by no fault of the build.
    Lost {
        /// Which attempt.
        attempt: Attempt,
        /// What to say if it was the last.
        failure: Failure,
        /// Whether another attempt is allowed.
        again: bool,
    },
    /// The tree of an attempt was verified and lies in its generation.
    Received {
        /// Of which attempt.
        attempt: Attempt,
        /// Where it lies.
        generation: Generation,
    },
    /// packimage began.
    Packing {
        /// On which generation.
        generation: Generation,
    },
    /// Everything asked for is done.
    Finished,
    /// It failed on an attempt's account, or with `None` on the coordinator's.
    Failed {
        /// The attempt that says so.
        attempt: Option<Attempt>,
        /// How.
        failure: Failure,
    },
    /// Somebody wants it ended.
    Cancelled {
        /// Who.
        by: UserName,
    },
}

/// Why an event can't be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The build has ended.
    #[error("the build has already ended")]
    Final,
    /// It comes from an attempt that was superseded, or was never given out.
    #[error("attempt {got} is not the one that the lease is on")]
    WrongAttempt {
        /// The attempt in the event.
        got: Attempt,
    },
    /// It doesn't fit the state.
    #[error("a build that is {state} can't become {event}")]
    OutOfOrder {
        /// The state's word.
        state: &'static str,
        /// The event's word.
        event: &'static str,
    },
}

impl BuildState {
    /// The state's name as written everywhere.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Leased { .. } => "leased",
            Self::Running { .. } => "running",
            Self::Received { .. } => "received",
            Self::Packing { .. } => "packing",
            Self::Succeeded => "succeeded",
            Self::Failed { .. } => "failed",
            Self::Cancelled { .. } => "cancelled",
        }
    }

    /// Whether nothing can happen to it any more.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed { .. } | Self::Cancelled { .. })
    }

    /// The agent and attempt that hold the lease, if one does.
    pub fn lease(&self) -> Option<(&AgentName, Attempt)> {
        match self {
            Self::Leased { agent, attempt } | Self::Running { agent, attempt, .. } => Some((agent, *attempt)),
            _ => None,
        }
    }

    /// The stage that an agent is working on.
    pub fn stage_word(&self) -> Option<&'static str> {
        match self {
            Self::Running { stage, .. } => Some(stage.as_str()),
            _ => None,
        }
    }

    /// The state after `event`, or why there is none. Pure: no clock, no store.
    pub fn on(&self, event: BuildEvent) -> Result<Self, Refusal> {
        if self.is_final() {
            return Err(Refusal::Final);
        }
        match event {
            BuildEvent::Failed { attempt: None, failure } => Ok(Self::Failed { failure }),
            BuildEvent::Cancelled { by } => Ok(Self::Cancelled { by }),
            BuildEvent::Leased { agent, attempt } if *self == Self::Queued => Ok(Self::Leased { agent, attempt }),
            BuildEvent::Packing { generation } => self.pack(generation),
            BuildEvent::Finished if matches!(self, Self::Received { .. } | Self::Packing { .. }) => Ok(Self::Succeeded),
            BuildEvent::StageStarted { attempt, stage } => {
                self.held(attempt, "running", |agent| Self::Running { agent, attempt, stage })
            }
            BuildEvent::Lost { attempt, failure, again } => {
                self.held(attempt, "queued", |_| if again { Self::Queued } else { Self::Failed { failure } })
            }
            BuildEvent::Received { attempt, generation } => {
                self.held(attempt, "received", |_| Self::Received { generation })
            }
            BuildEvent::Failed { attempt: Some(attempt), failure } => {
                self.held(attempt, "failed", |_| Self::Failed { failure })
            }
            BuildEvent::Leased { .. } => Err(self.out_of_order("leased")),
            BuildEvent::Finished => Err(self.out_of_order("succeeded")),
        }
    }

    fn pack(&self, generation: Generation) -> Result<Self, Refusal> {
        match self {
            Self::Queued => Ok(Self::Packing { generation }),
            Self::Received { generation: received } if *received == generation => Ok(Self::Packing { generation }),
            _ => Err(self.out_of_order("packing")),
        }
    }

    fn held(&self, got: Attempt, event: &'static str, then: impl FnOnce(AgentName) -> Self) -> Result<Self, Refusal> {
        match self.lease() {
            Some((agent, attempt)) if attempt == got => Ok(then(agent.clone())),
            Some(_) => Err(Refusal::WrongAttempt { got }),
            None => Err(self.out_of_order(event)),
        }
    }

    fn out_of_order(&self, event: &'static str) -> Refusal {
        Refusal::OutOfOrder { state: self.word(), event }
    }
}

/// One run of an osimage, from its submission to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// Its number in the site.
    pub id: BuildId,
    /// Of what.
    pub osimage: ImageName,
    /// The definition's revision when it was submitted.
    pub revision: u64,
    /// The architecture that its agent must have.
    pub arch: Arch,
    /// What it needs of an agent besides the architecture.
    pub needs: Needs,
    /// Where its generations lie; one build at a time works on one.
    pub rootimgdir: std::path::PathBuf,
    /// Which halves.
    pub part: Part,
    /// How to pack.
    pub pack: PackWish,
    /// What was asked of genimage for this build alone.
    #[serde(default)]
    pub genimage: GenimageWish,
    /// Who asked.
    pub submitted_by: UserName,
    /// When, in milliseconds since 1970.
    pub submitted_ms: i64,
    /// When it ended, in milliseconds since 1970; 0 until then.
    pub ended_ms: i64,
    /// Higher goes first.
    pub priority: i32,
    /// sha256 of the plan, which lies in a file of that name; none for packimage alone.
    pub plan: Option<String>,
    /// Where it stands.
    pub state: BuildState,
    /// Every attempt so far.
    pub attempts: Vec<AttemptRecord>,
    /// The generation that it made or packed.
    pub generation: Option<Generation>,
    /// What it left.
    pub artefacts: Vec<Artefact>,
    /// What the resolver and the agent wanted to be known.
    pub warnings: Vec<String>,
    /// What the agent found in the initrds.
    #[serde(default)]
    pub initrds: Vec<InitrdReport>,
    /// Who asked for its end while it was received or packed: it ends with that, unless it had succeeded by then.
    #[serde(default)]
    pub cancel_by: Option<UserName>,
}

/// What a build needs of an agent besides its architecture.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Needs {
    /// The package system by name: `apt`.
    pub package_system: String,
    /// The format of rpm database that the node's rpm must be able to write.
    #[serde(default)]
    pub rpm_database: Option<RpmDatabase>,
    /// `osvers`, to prefer the nearest.
    pub osvers: String,
    /// Why it needs the MN's install root; empty: it doesn't.
    pub install: Vec<String>,
    /// Only this agent.
    pub agent: Option<AgentName>,
}

/// packimage's choices.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackWish {
    /// Archive method; empty: cpio.
    pub method: String,
    /// Compression; empty: gzip.
    pub compress: String,
    /// Leave synclists out.
    pub nosyncfiles: bool,
}

/// One try of a build on one agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptRecord {
    /// Its number.
    pub attempt: Attempt,
    /// On whom.
    pub agent: AgentName,
    /// When it was leased, in milliseconds since 1970.
    pub started_ms: i64,
    /// When it ended, in milliseconds since 1970; 0 until then.
    pub ended_ms: i64,
    /// Its stages.
    pub stages: Vec<StageRecord>,
    /// How it ended, in a few words; none while it runs.
    pub outcome: Option<String>,
    /// The last event of it that is on disk.
    pub last_event: u64,
    /// The processor that it runs on, where that is of another architecture than the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emulated_on: Option<String>,
    /// The unguessable folder that it publishes into, relative to the install root.
    pub staging: std::path::PathBuf,
    /// What it published; a coordinator that restarts goes on with receiving it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<PublishedArchive>,
}

/// The archive that an agent says it has published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedArchive {
    /// `sha256:…` of the archive.
    pub digest: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// The kernel in the image, in `uname -r` form.
    pub kernel_version: String,
    /// Number of installed packages.
    pub packages: u32,
    /// What is in the initrds.
    #[serde(default)]
    pub initrds: Vec<InitrdReport>,
    /// What the agent wants to be known though the build goes on.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// One file that nodes boot, or the tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artefact {
    /// `kernel`, `initrd-stateless.gz`, `initrd-statelite.gz`, `rootimg` (the tree) or the packed archive.
    pub name: String,
    /// Where it lies.
    pub path: std::path::PathBuf,
    /// Its size in bytes; of the tree, that of its files.
    pub bytes: u64,
    /// `sha256:…`; none for the tree.
    pub digest: Option<String>,
}

#[cfg(test)]
mod tests;
