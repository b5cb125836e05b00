//! Agents as the coordinator knows them: what they say of their nodes, and how they stand.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::arch::Arch;
use crate::emulation::Emulation;
use crate::id::AttemptId;
use crate::name::{AgentName, ImageName, UserName};

/// What an agent says of its node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentFacts {
    /// The node's architecture.
    pub arch: Arch,
    /// `ID` and `VERSION_ID` of os-release, joined: `debian12`.
    pub os: String,
    /// `uname -r`.
    pub kernel: String,
    /// What it can build with: `apt`, `dnf`, `yum`, `zypper`; and the rpm databases that it can write, by
    /// [`RpmDatabase::capability`](crate::plan::RpmDatabase::capability).
    pub package_systems: Vec<String>,
    /// Name and version of each tool found.
    pub tools: Vec<String>,
    /// Free bytes where trees are built.
    pub scratch_free_bytes: u64,
    /// All bytes there.
    pub scratch_total_bytes: u64,
    /// Main memory in bytes.
    pub memory_bytes: u64,
    /// Processors.
    pub cpus: u32,
    /// How it sees the MN's install root.
    pub install: InstallView,
    /// How many attempts it takes at once.
    pub slots: u32,
    /// The agent's own version.
    pub version: String,
    /// What its preflight found that is to be known or mended.
    #[serde(default)]
    pub conditions: Vec<Condition>,
    /// What it may build for under emulation.
    #[serde(default)]
    pub emulations: Vec<Emulation>,
    /// The processor's own architecture, where the agent itself runs under emulation, and so all that it builds.
    #[serde(default)]
    pub emulated_on: Option<String>,
}

impl AgentFacts {
    /// The first condition that has this effect.
    pub fn condition(&self, effect: Effect) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.effect == effect)
    }
}

/// What an agent's preflight found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    /// How the node sees the install root.
    pub install: InstallView,
    /// What is to be known or mended.
    pub conditions: Vec<Condition>,
}

/// One finding of an agent's preflight, with what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// Its name, the same in messages and in docs/INSTALL.md: `install-no-answer`. Not an enum: a newer agent may know
    /// more of them than this coordinator.
    pub name: String,
    /// What it keeps the node from.
    pub effect: Effect,
    /// What was found, with the path, server or figure that it is about.
    pub detail: String,
    /// What to do about it.
    pub remedy: String,
}

/// What a [`Condition`] keeps a node from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// Nothing: it is only to be known.
    Note,
    /// Publishing into the install root: archives are uploaded.
    NoPublish,
    /// Seeing the install root: builds that need it go elsewhere, the archives of others are uploaded.
    NoInstall,
    /// Every build.
    NoBuilds,
}

impl Effect {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::NoPublish => "no-publish",
            Self::NoInstall => "no-install",
            Self::NoBuilds => "no-builds",
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.detail)
    }
}

/// How a node sees the MN's install root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InstallView {
    /// It is the MN itself.
    Local,
    /// Mounted over the network.
    Nfs,
    /// Not at all: archives are uploaded.
    None,
}

impl InstallView {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Nfs => "nfs",
            Self::None => "none",
        }
    }
}

/// Whether an agent can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AgentState {
    /// It has a session.
    Connected,
    /// Its session broke, its lease still runs.
    Silent,
    /// It has not been heard of for a lease.
    Offline,
}

impl AgentState {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Silent => "silent",
            Self::Offline => "offline",
        }
    }
}

/// An agent that has joined, as recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentRecord {
    /// Its name, as in its certificate.
    pub name: AgentName,
    /// When it joined, in milliseconds since 1970.
    pub joined_ms: i64,
    /// sha256 of its certificate; another one of the same name is refused.
    pub certificate_sha256: String,
    /// When that ends, in milliseconds since 1970.
    pub certificate_expires_ms: i64,
    /// What it last said of its node.
    pub facts: Option<AgentFacts>,
    /// When it was last heard of, in milliseconds since 1970; 0: never.
    pub last_seen_ms: i64,
    /// Set while it gets no work.
    #[serde(default)]
    pub drained: Option<Drained>,
}

/// Why an agent gets no work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drained {
    /// Who drained it.
    pub by: UserName,
    /// When, in milliseconds since 1970.
    pub since_ms: i64,
    /// For whoever wonders later; may be empty.
    pub reason: String,
}

/// An attempt in an agent's hands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentWork {
    /// Which.
    #[serde(flatten)]
    pub attempt: AttemptId,
    /// Of what.
    pub osimage: ImageName,
    /// The stage, `leased` before the first, `dropping` while it is cleared away.
    pub doing: String,
}

/// An agent as shown to people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentView {
    /// What is recorded.
    #[serde(flatten)]
    pub record: AgentRecord,
    /// Whether it can be reached.
    pub state: AgentState,
    /// Attempts in hand.
    pub work: Vec<AgentWork>,
    /// One-minute load average of its node, times 100.
    pub load_hundredths: u32,
}
