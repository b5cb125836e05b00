//! `imgctl-coordinator check`: the state folder and what lies below the install root, held against each other while no
//! coordinator runs.
//!
//! One file for each thing looked at; each adds [`Finding`]s and, when asked to, puts right what can be put right
//! without losing anything. What needs a judgement is named and left alone. Opening the store is the one change that is
//! made without being asked: its engine clears up after a kill.

mod certificates;
mod finding;
mod generations;
mod links;
mod logs;
mod plans;
mod private;
mod sealed;
mod show;
mod staging;
mod store;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use model::build::Build;
use model::id::BuildId;

use crate::config::Config;
use crate::serve::{ServeError, lock};
use crate::store::Store;
use crate::store::inspect::Contents;

pub use finding::{Area, Finding, Report, Severity};

/// What is asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted {
    /// Put right what can be put right without losing anything.
    pub repair: bool,
    /// Read every artefact and compare its digest.
    pub digests: bool,
}

/// Why nothing can be looked at.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The state folder isn't there.
    #[error("there is no state folder `{}`; is it the right configuration file? `imgctl-coordinator init` makes one", .0.display())]
    NoState(PathBuf),
    /// A coordinator is at work there.
    #[error("a coordinator runs on `{}`; stop it, then check", .0.display())]
    Running(PathBuf),
    /// The lock, or a runtime, can't be had.
    #[error("cannot begin to look")]
    Begin(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What every part looks at.
struct Look<'a> {
    config: &'a Config,
    wanted: Wanted,
    store: Option<Store>,
    contents: Contents,
    runtime: tokio::runtime::Runtime,
    report: Report,
}

/// Looks at everything. Blocking.
pub fn check(config: &Config, wanted: Wanted) -> Result<Report, CheckError> {
    if !config.state_dir.is_dir() {
        return Err(CheckError::NoState(config.state_dir.clone()));
    }
    let _lock = lock(config).map_err(|error| match error {
        ServeError::Running(path) => CheckError::Running(path),
        other => CheckError::Begin(other.into()),
    })?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| CheckError::Begin(error.into()))?;
    let report = Report::new(wanted.repair);
    let mut look = Look { config, wanted, store: None, contents: Contents::default(), runtime, report };
    private::check(&mut look);
    certificates::check(&mut look);
    store::check(&mut look);
    // Without the records everything else would look lost.
    if look.store.is_some() {
        plans::check(&mut look);
        logs::check(&mut look);
        staging::check(&mut look);
        generations::check(&mut look);
        sealed::check(&mut look);
        links::check(&mut look);
    }
    Ok(look.report)
}

impl Look<'_> {
    /// Whether what no record names belongs to nobody: not so while a record can't be read, for it may be that one's.
    fn knows_all(&self) -> bool {
        self.contents.unreadable.is_empty()
    }

    fn builds(&self) -> BTreeMap<BuildId, Build> {
        self.contents.builds.iter().map(|build| (build.id, build.clone())).collect()
    }

    /// Every rootimgdir that a definition, a build or a generation names.
    fn rootimgdirs(&self) -> BTreeSet<PathBuf> {
        let defined = self.contents.osimages.iter().filter_map(|osimage| osimage.rootimgdir(&self.config.install_dir));
        let recorded = self.contents.generations.iter().map(|record| record.rootimgdir.clone());
        defined.chain(self.contents.builds.iter().map(|build| build.rootimgdir.clone())).chain(recorded).collect()
    }
}

#[cfg(test)]
mod tests;
