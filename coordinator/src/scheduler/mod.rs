//! The life of every build, owned by one task.
//!
//! Handlers and sessions hold a [`Scheduler`] and send it commands; the [`desk`] applies them one after the
//! other, so that there is no lock around a build. Each change of state is on disk before anybody hears of it.
//! What takes long (receiving, packing, another generation live) runs beside the desk and comes back as a command.

mod activate;
mod beside;
mod clip;
mod desk;
mod dispatch;
mod events;
mod fleet;
mod links;
mod packing;
mod receiving;
mod start;
mod summary;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use model::agent::{AgentFacts, AgentView, AgentWork, Drained, Survey};
use model::build::{Build, Failure, Needs, PackWish, Part, PublishedArchive};
use model::id::{AttemptId, BuildId};
use model::name::{AgentName, ImageName, UserName};
use model::stage::{Stage, StageStatus};
use model::wish::GenimageWish;
use tokio::sync::{mpsc, oneshot, watch};

use crate::generation::{ActivateError, Number, Switched};
use crate::store::StoreError;
use crate::store::osimages::OsimageWrite;
pub use desk::{Desk, Parts};
pub use links::{SessionId, ToAgent};

/// Commands that may wait for the desk; senders wait beyond it. Each takes about one sync of the store.
const COMMANDS: usize = 256;

/// Why the scheduler refuses.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// No such build.
    #[error("there is no build {0}; `imgctl builds list` shows them")]
    NoBuild(BuildId),
    /// The build has ended.
    #[error("build {0} has already ended; `imgctl builds show {0}` shows how")]
    Ended(BuildId),
    /// The store can't take it.
    #[error("the store can't be written")]
    Store(#[from] StoreError),
    /// A user names an agent that there isn't.
    #[error("there is no agent `{0}`; `imgctl agents list` shows them")]
    NoAgent(AgentName),
    /// An agent without a record.
    #[error("agent {0} has not joined, or was removed")]
    UnknownAgent(AgentName),
    /// What nodes get is being changed already.
    #[error("build {0} is working on {path} at this moment; try again when it has ended", path = .1.display())]
    Working(BuildId, PathBuf),
    /// So it is by somebody else's wish.
    #[error("generation {0} is being put live in {path} at this moment; try again when that has ended", path = .1.display())]
    Switching(Number, PathBuf),
    /// Another generation can't go live.
    #[error(transparent)]
    NotLive(#[from] ActivateError),
    /// The daemon is stopping.
    #[error("the coordinator is stopping; try again in a moment")]
    Stopping,
}

/// A build as it is asked for.
#[derive(Debug, Clone)]
pub struct NewBuild {
    /// Of what.
    pub osimage: ImageName,
    /// The definition's revision.
    pub revision: u64,
    /// The image's architecture.
    pub arch: model::arch::Arch,
    /// What it needs of an agent.
    pub needs: Needs,
    /// Where its generations lie.
    pub rootimgdir: PathBuf,
    /// Which halves.
    pub part: Part,
    /// How to pack.
    pub pack: PackWish,
    /// What is asked of genimage for this build alone.
    pub genimage: GenimageWish,
    /// Who asks.
    pub submitted_by: UserName,
    /// sha256 of its plan.
    pub plan: Option<String>,
    /// What the resolver wants to be known.
    pub warnings: Vec<String>,
    /// Higher goes first.
    pub priority: i32,
}

/// An attempt's lease as handlers of the agent's other calls see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Who holds it.
    pub agent: AgentName,
    /// sha256 of the plan.
    pub plan: String,
    /// The folder to publish into, relative to the install root.
    pub staging: PathBuf,
}

/// Every lease that is out.
pub type Leases = BTreeMap<AttemptId, Lease>;

/// What an agent says of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentEvent {
    /// Which attempt.
    pub attempt: AttemptId,
    /// Its number in the attempt, from 1.
    pub number: u64,
    /// When it happened by the agent's clock, in milliseconds since 1970.
    pub time_ms: i64,
    /// What happened.
    pub what: What,
}

/// What happened in an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A stage began.
    StageStarted(Stage),
    /// A stage ended.
    StageEnded(Stage, StageStatus),
    /// The archive is there.
    Published(PublishedArchive),
    /// It failed by its own fault.
    Failed(Failure),
    /// It can't go on for a reason that isn't the build's.
    Lost(String),
    /// It was ended on request.
    Dropped,
}

/// What an agent says of its node with every sign of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beat {
    /// Free bytes where trees are built.
    pub scratch_free_bytes: u64,
    /// One-minute load average, times 100.
    pub load_hundredths: u32,
}

/// An agent's first words.
#[derive(Debug, Clone)]
pub struct Greeting {
    /// Who.
    pub agent: AgentName,
    /// What it says of its node.
    pub facts: AgentFacts,
    /// Attempts in hand.
    pub running: Vec<AttemptId>,
    /// Attempts that went down with an earlier run of it.
    pub lost: Vec<AttemptId>,
    /// The way to it.
    pub outbox: mpsc::Sender<ToAgent>,
}

/// The answer to them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// The number of this session, for whatever is said on it.
    pub session: SessionId,
    /// How long it may be silent.
    pub lease: Duration,
    /// How far each attempt that goes on has come.
    pub resume: Vec<(AttemptId, u64)>,
}

/// Why a build waits, or how it stands with each agent.
#[derive(Debug, Clone)]
pub struct Explanation {
    /// What it waits for, in one line.
    pub waiting_for: String,
    /// Each agent, and what it lacks.
    pub agents: Verdicts,
}

/// How a build stands with an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Which.
    pub agent: AgentName,
    /// What it lacks; nothing: it fits.
    pub lacks: Vec<String>,
    /// The processor that it would emulate on.
    pub emulated_on: Option<String>,
}

/// How a build stands with each agent.
pub type Verdicts = Vec<Verdict>;

/// What is known of a build before it is queued.
#[derive(Debug, Clone)]
pub struct Judgement {
    /// How it stands with each agent.
    pub agents: Verdicts,
    /// What the user should know: that only emulation is left.
    pub warning: Option<String>,
}

/// How a build shows itself: the record, and what it waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildView {
    /// The record.
    pub build: Build,
    /// While it is queued: what it waits for; empty otherwise.
    pub waiting_for: String,
}

type Answer<T> = oneshot::Sender<Result<T, Refused>>;

/// What the desk is asked to do.
#[derive(Debug)]
enum Command {
    Submit { builds: Vec<NewBuild>, definitions: Vec<OsimageWrite>, request: String, answer: Answer<Vec<Build>> },
    Judge { build: Box<NewBuild>, answer: oneshot::Sender<Judgement> },
    Cancel { id: BuildId, by: UserName, answer: Answer<Build> },
    Watch { id: BuildId, answer: oneshot::Sender<Option<watch::Receiver<BuildView>>> },
    Explain { id: BuildId, answer: oneshot::Sender<Option<Explanation>> },
    Agents { answer: Answer<Vec<AgentView>> },
    Drain { agent: AgentName, drained: Option<Drained>, answer: Answer<AgentView> },
    Remove { agent: AgentName, answer: Answer<Vec<AgentWork>> },
    Activate { rootimgdir: PathBuf, number: Number, answer: Answer<Switched> },
    Greet { greeting: Greeting, answer: Answer<Welcome> },
    Heartbeat { agent: AgentName, session: SessionId, beat: Beat },
    Surveyed { agent: AgentName, session: SessionId, survey: Survey },
    Event { agent: AgentName, session: SessionId, event: AgentEvent },
    Leaving { agent: AgentName, session: SessionId },
    Closed { agent: AgentName, session: SessionId },
    Received { attempt: AttemptId, result: Result<receiving::ReceivedTree, Failure> },
    Packed { build: BuildId, result: Result<packing::PackedImage, Failure> },
    Activated { rootimgdir: PathBuf, result: Result<Switched, ActivateError> },
}

impl Command {
    /// Whether it brings what came of work beside the desk.
    fn is_outcome(&self) -> bool {
        matches!(self, Self::Received { .. } | Self::Packed { .. } | Self::Activated { .. })
    }

    /// Whether something that waits may be able to start after it.
    fn may_start(&self) -> bool {
        match self {
            Self::Watch { .. }
            | Self::Explain { .. }
            | Self::Judge { .. }
            | Self::Agents { .. }
            | Self::Activate { .. }
            | Self::Heartbeat { .. } => false,
            Self::Submit { .. }
            | Self::Cancel { .. }
            | Self::Drain { .. }
            | Self::Remove { .. }
            | Self::Greet { .. }
            | Self::Surveyed { .. }
            | Self::Event { .. }
            | Self::Leaving { .. }
            | Self::Closed { .. }
            | Self::Received { .. }
            | Self::Packed { .. }
            | Self::Activated { .. } => true,
        }
    }
}

/// The way to the desk.
#[derive(Debug, Clone)]
pub struct Scheduler {
    commands: mpsc::Sender<Command>,
    leases: watch::Receiver<Leases>,
}

impl Scheduler {
    /// Queues builds, and with the same write changes the definitions that they were made from; a repeated request
    /// gets the builds of the first one and changes nothing.
    pub async fn submit(
        &self,
        builds: Vec<NewBuild>,
        definitions: Vec<OsimageWrite>,
        request: String,
    ) -> Result<Vec<Build>, Refused> {
        self.ask(|answer| Command::Submit { builds, definitions, request, answer }).await?
    }

    /// What each agent lacks to take such a build on now.
    pub async fn judge(&self, build: NewBuild) -> Result<Judgement, Refused> {
        self.ask(|answer| Command::Judge { build: Box::new(build), answer }).await
    }

    /// Ends a build.
    pub async fn cancel(&self, id: BuildId, by: UserName) -> Result<Build, Refused> {
        self.ask(|answer| Command::Cancel { id, by, answer }).await?
    }

    /// The build now and at every change; `None` if it is not active.
    pub async fn watch(&self, id: BuildId) -> Result<Option<watch::Receiver<BuildView>>, Refused> {
        self.ask(|answer| Command::Watch { id, answer }).await
    }

    /// How a waiting build stands with each agent; `None` if it is not active.
    pub async fn explain(&self, id: BuildId) -> Result<Option<Explanation>, Refused> {
        self.ask(|answer| Command::Explain { id, answer }).await
    }

    /// Every agent that has joined.
    pub async fn agents(&self) -> Result<Vec<AgentView>, Refused> {
        self.ask(|answer| Command::Agents { answer }).await?
    }

    /// Takes a session on.
    pub async fn greet(&self, greeting: Greeting) -> Result<Welcome, Refused> {
        self.ask(|answer| Command::Greet { greeting, answer }).await?
    }

    /// Gives an agent no more work, or work again. What it has in hand it ends.
    pub async fn drain(&self, agent: AgentName, drained: Option<Drained>) -> Result<AgentView, Refused> {
        self.ask(|answer| Command::Drain { agent, drained, answer }).await?
    }

    /// Cuts an agent off and forgets it; what it had in hand is queued again. Gives what that was.
    pub async fn remove(&self, agent: AgentName) -> Result<Vec<AgentWork>, Refused> {
        self.ask(|answer| Command::Remove { agent, answer }).await?
    }

    /// Puts a packed generation live, unless a build is being received or packed there. A caller who goes away half a
    /// second before the switch has changed nothing.
    pub async fn activate(&self, rootimgdir: PathBuf, number: Number) -> Result<Switched, Refused> {
        self.ask(|answer| Command::Activate { rootimgdir, number, answer }).await?
    }

    /// An agent is alive.
    pub async fn heartbeat(&self, agent: AgentName, session: SessionId, beat: Beat) -> Result<(), Refused> {
        self.tell(Command::Heartbeat { agent, session, beat }).await
    }

    /// What an agent's preflight found has changed.
    pub async fn surveyed(&self, agent: AgentName, session: SessionId, survey: Survey) -> Result<(), Refused> {
        self.tell(Command::Surveyed { agent, session, survey }).await
    }

    /// Something happened in an attempt.
    pub async fn event(&self, agent: AgentName, session: SessionId, event: AgentEvent) -> Result<(), Refused> {
        self.tell(Command::Event { agent, session, event }).await
    }

    /// An agent is stopping and takes no more work.
    pub async fn leaving(&self, agent: AgentName, session: SessionId) -> Result<(), Refused> {
        self.tell(Command::Leaving { agent, session }).await
    }

    /// A session is over.
    pub async fn closed(&self, agent: AgentName, session: SessionId) -> Result<(), Refused> {
        self.tell(Command::Closed { agent, session }).await
    }

    /// The lease of an attempt, if `agent` holds it.
    pub fn lease(&self, agent: &AgentName, attempt: AttemptId) -> Option<Lease> {
        self.leases.borrow().get(&attempt).filter(|lease| lease.agent == *agent).cloned()
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, Refused> {
        let (answer, answered) = oneshot::channel();
        self.tell(command(answer)).await?;
        answered.await.map_err(|_| Refused::Stopping)
    }

    async fn tell(&self, command: Command) -> Result<(), Refused> {
        self.commands.send(command).await.map_err(|_| Refused::Stopping)
    }
}

#[cfg(test)]
mod tests;
