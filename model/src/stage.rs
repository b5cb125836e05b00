//! The steps of genimage on an agent, in their order, and what each reports (DESIGN.md, Vocabulary).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One step of genimage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Scratch space, mounts, checks of what the plan needs.
    Prepare,
    /// The pkglist passes.
    Packages,
    /// The otherpkgs passes.
    Otherpkgs,
    /// Files that xCAT writes into every image (XCAT.md 6.5), and the choice of the kernel.
    Configure,
    /// The site's own scripts (XCAT.md 5.1).
    Postinstall,
    /// Both initrds, by dracut in the image.
    Initrd,
    /// The finished tree leaves the node as one archive.
    Publish,
}

impl Stage {
    /// Every stage, in the order in which they run.
    pub const ALL: [Self; 7] = [
        Self::Prepare,
        Self::Packages,
        Self::Otherpkgs,
        Self::Configure,
        Self::Postinstall,
        Self::Initrd,
        Self::Publish,
    ];

    /// The stage's name as written everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Prepare => "prepare",
            Self::Packages => "packages",
            Self::Otherpkgs => "otherpkgs",
            Self::Configure => "configure",
            Self::Postinstall => "postinstall",
            Self::Initrd => "initrd",
            Self::Publish => "publish",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Not a stage's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a stage")]
pub struct UnknownStage(pub String);

impl FromStr for Stage {
    type Err = UnknownStage;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|stage| stage.as_str() == text).ok_or_else(|| UnknownStage(text.to_owned()))
    }
}

/// How a stage stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StageStatus {
    /// Not reached.
    Pending,
    /// At work.
    Running,
    /// Ended well.
    Done,
    /// There was nothing to do in it.
    Skipped,
    /// Ended the build.
    Failed,
}

impl StageStatus {
    /// The status' name as written everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Done => "done",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
        }
    }
}

/// Not a stage's status.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a stage's status")]
pub struct UnknownStatus(pub String);

impl FromStr for StageStatus {
    type Err = UnknownStatus;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [Self::Pending, Self::Running, Self::Done, Self::Skipped, Self::Failed];
        all.into_iter().find(|status| status.as_str() == text).ok_or_else(|| UnknownStatus(text.to_owned()))
    }
}

/// One stage of one attempt, as shown to people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageRecord {
    /// Which.
    pub stage: Stage,
    /// How it stands.
    pub status: StageStatus,
    /// When it began, in milliseconds since 1970; 0 while pending.
    pub started_ms: i64,
    /// When it ended, in milliseconds since 1970; 0 until then.
    pub ended_ms: i64,
}

impl StageRecord {
    /// All stages of an attempt that has not begun.
    pub fn pending() -> Vec<Self> {
        Stage::ALL.map(|stage| Self { stage, status: StageStatus::Pending, started_ms: 0, ended_ms: 0 }).to_vec()
    }
}
