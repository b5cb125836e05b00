//! The agent: builds root images on the node that it runs on, for a coordinator that it connects to.
//!
//! The [`session`] with the coordinator and the attempts in hand ([`driver`], [`hands`], [`attempt`], [`journal`]) belong to
//! the daemon; the work of an attempt is done by a [`worker`] in namespaces of its own, following the recipe of
//! [`build`] over [`pkg`] and [`sys`].

pub mod args;
pub mod attempt;
pub mod build;
pub mod commands;
pub mod config;
pub mod driver;
pub mod emulation;
pub mod event;
pub mod follow;
pub mod hands;
pub mod inspect;
pub mod install_root;
pub mod join;
pub mod journal;
pub mod link;
pub mod log_push;
pub mod pkg;
pub mod preflight;
pub mod session;
pub mod silence;
pub mod spool;
pub mod sys;
pub mod transfer;
pub mod worker;

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proto::tls::net::{Dial, Tcp};
use rustix::fs::{FlockOperation, flock};
use tokio_util::sync::CancellationToken;

use config::Config;
use driver::Driver;
use inspect::Facts;
use journal::{Journal, JournalError};
use link::Link;
use session::Session;
use worker::handle::Workers;

/// What ends the agent.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// No threads, no signals.
    #[error("cannot start")]
    Runtime(#[source] io::Error),
    /// A state folder can't be used.
    #[error("cannot use the folder `{path}`", path = path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Two agents would clear each other's work away.
    #[error("another agent is running on `{path}`", path = .0.display())]
    Taken(PathBuf),
    /// The node has not joined.
    #[error("cannot use this agent's identity; `imgctl-agent join` makes one")]
    Identity(#[source] proto::tls::TlsError),
    /// Attempts can't be written down, so none may be started.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// Runs the agent until `shutdown`. Needs root.
pub async fn run(config: Config, shutdown: CancellationToken) -> Result<(), AgentError> {
    proto::tls::Identity::load(&config.identity()).map_err(AgentError::Identity)?;
    let (allowed, scratch) = (config.allow_emulation.clone(), config.scratch());
    let look = move || Facts { emulations: emulation::look(&allowed, &scratch), ..Facts::gather() };
    let facts =
        tokio::task::spawn_blocking(look).await.map_err(|error| AgentError::Runtime(io::Error::other(error)))?;
    tell_of_emulation(&facts);
    run_over(Tcp, config, facts, Workers::Processes, shutdown).await
}

fn tell_of_emulation(facts: &Facts) {
    if let Some(on) = &facts.emulated_on {
        tracing::warn!(
            "this agent is a program of {} that runs under emulation on {on}: it counts as emulated, builds slowly, and gets \
             builds only if `allow_emulation` in agent.toml names {0}",
            facts.arch
        );
    }
    for one in facts.emulations.iter().filter(|one| one.fault.is_none()) {
        tracing::info!("images of {} may be built here under emulation", one.arch);
    }
}

/// [`run`] over another network, on a node of which these facts hold and where workers are started like this.
pub async fn run_over(
    net: impl Dial,
    config: Config,
    facts: Facts,
    workers: Workers,
    shutdown: CancellationToken,
) -> Result<(), AgentError> {
    let _lock = take(&config)?;
    let (config, facts) = (Arc::new(config), Arc::new(facts));
    let (sender, link) = Link::new();
    let journal = Journal::open(&config.journal())?;
    let instance = instance().map_err(AgentError::Runtime)?;
    let (driver, tell) = Driver::new(config.clone(), facts, journal, link, instance)?;
    let session = tokio::spawn(Session { net, config, driver: tell, link: sender }.run());
    driver.with(workers).run(shutdown).await;
    session.abort();
    Ok(())
}

/// Makes the state folders and takes the lock that says whose they are.
fn take(config: &Config) -> Result<File, AgentError> {
    for folder in [config.state_dir.clone(), config.journal(), config.spool()] {
        make(&folder, 0o700)?;
    }
    // Package managers fetch as a user of their own, who has to get to the trees.
    make(&config.scratch(), 0o711)?;
    make(&config.state_dir, 0o711)?;
    make(&config.mount_point(), 0o700)?;
    let path = config.state_dir.join("lock");
    let lock = File::create(&path).map_err(|source| AgentError::Folder { path: path.clone(), source })?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(lock),
        Err(_) => Err(AgentError::Taken(config.state_dir.clone())),
    }
}

fn make(folder: &Path, mode: u32) -> Result<(), AgentError> {
    use std::os::unix::fs::PermissionsExt;
    let made = DirBuilder::new().recursive(true).mode(mode).create(folder);
    let made = made.and_then(|()| std::fs::set_permissions(folder, std::fs::Permissions::from_mode(mode)));
    made.map_err(|source| AgentError::Folder { path: folder.to_owned(), source })
}

/// Sixteen random bytes, in hexadecimal.
fn instance() -> io::Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(hex::encode(bytes))
}
