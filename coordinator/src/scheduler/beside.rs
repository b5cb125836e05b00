//! Work beside the desk: what takes long runs on a thread and comes back as a command.
//!
//! All of it can be begun again after a restart: nothing counts before its record is written.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use model::build::{Build, BuildEvent, BuildState, Failure};
use model::id::{Attempt, AttemptId, BuildId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Command;
use super::desk::Desk;
use crate::chain::chain;
use crate::clock::now_ms;
use crate::generation::{RootimgDir, sweep};
use crate::logs::LogLine;
use crate::staging;
use crate::store::StoreError;

/// How often what waits for its turn looks whether it was stopped.
const STOP_LOOK: Duration = Duration::from_millis(500);

impl Desk {
    /// Goes on with what an earlier run had begun.
    pub(super) async fn resume_work(&mut self) -> Result<(), StoreError> {
        let builds: Vec<Build> = self.active.values().map(|active| active.build.clone()).collect();
        self.sweep(&builds).await;
        for build in builds {
            if let Some(by) = build.cancel_by.clone() {
                let _ = self.apply(build.id, BuildEvent::Cancelled { by }, "cancelled").await?;
                continue;
            }
            match &build.state {
                BuildState::Packing { generation } => self.pack(build.id, *generation),
                BuildState::Received { .. } => self.go_on(build.id).await?,
                _ => {
                    let published = build.attempts.last().filter(|record| record.published.is_some());
                    let Some((agent, attempt)) = build.state.lease() else { continue };
                    let id = AttemptId { build: build.id, attempt };
                    match published {
                        Some(_) => self.receive(id),
                        // Killed in the middle of the removal.
                        None if !self.links.knows(agent) => {
                            self.lose(id, &format!("agent {agent} was removed")).await?;
                        }
                        None => {}
                    }
                }
            }
        }
        Ok(())
    }

    /// Clears what an earlier run of the coordinator left half done in the rootimgdirs that it was working on.
    pub(super) async fn sweep(&self, builds: &[Build]) {
        let working = builds.iter().filter(|build| build.state != BuildState::Queued);
        let folders: Vec<PathBuf> = working.map(|build| build.rootimgdir.clone()).collect();
        let install_dir = self.parts.config.install_dir.clone();
        let swept = tokio::task::spawn_blocking(move || {
            for folder in folders {
                if let Err(error) = sweep_one(&folder, &install_dir) {
                    tracing::warn!(rootimgdir = %folder.display(), error, "can't be cleared of half done work");
                }
            }
        });
        if let Err(error) = swept.await {
            tracing::error!(%error, "clearing half done work failed");
        }
    }

    /// Runs something long on a thread, a few at a time, and brings its outcome to the desk; `died` makes that of a
    /// panic. What is stopped while it waits for its turn is begun all the same, as it ends at once then and says so.
    pub(super) fn beside(
        &self,
        stop: Arc<AtomicBool>,
        work: impl FnOnce() -> Command + Send + 'static,
        died: impl FnOnce(Failure) -> Command + Send + 'static,
    ) {
        let places = self.heavy.clone();
        self.after(async move { turn(places, &stop).await }, work, died);
    }

    /// The same without a wait: for what is short and has somebody waiting for it, who will not have it behind packings.
    pub(super) fn beside_at_once(
        &self,
        work: impl FnOnce() -> Command + Send + 'static,
        died: impl FnOnce(Failure) -> Command + Send + 'static,
    ) {
        self.after(std::future::ready(None), work, died);
    }

    fn after(
        &self,
        turn: impl Future<Output = Option<OwnedSemaphorePermit>> + Send + 'static,
        work: impl FnOnce() -> Command + Send + 'static,
        died: impl FnOnce(Failure) -> Command + Send + 'static,
    ) {
        let to_self = self.to_self.clone();
        self.tasks.spawn(async move {
            let _place = turn.await;
            let outcome = tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
                tracing::error!(%error, "work beside the desk panicked");
                died(here("coordinator", "internal error; the coordinator's log has more".into(), None))
            });
            // Fails only when the desk has stopped.
            let _ = to_self.send(outcome).await;
        });
    }

    /// Work beside the desk failed. If its end was asked for, that was why; if the coordinator is stopping, the next
    /// run begins it again.
    pub(super) async fn ended_badly(&mut self, id: BuildId, failure: Failure) -> Result<(), StoreError> {
        match self.active.get(&id).and_then(|active| active.build.cancel_by.clone()) {
            Some(by) => {
                let _ = self.apply(id, BuildEvent::Cancelled { by }, "cancelled").await?;
                Ok(())
            }
            None if self.stopping => Ok(()),
            None => self.fail(id, failure).await,
        }
    }

    /// Adds a line of the coordinator's own to the log of a build's newest attempt.
    pub(super) fn note(&self, build: &Build, stage: &str, text: &str) {
        let attempt = build.attempts.last().map_or(Attempt::FIRST, |record| record.attempt);
        let id = AttemptId { build: build.id, attempt };
        let line = LogLine { time_ms: now_ms(), stage: stage.into(), text: text.into() };
        let written = self.parts.logs.attempt(id).and_then(|log| log.note(line));
        if let Err(error) = written {
            tracing::warn!(build = %build.id, %error, "a line of the log can't be written");
        }
    }

    /// No more comes to an attempt's log: followers end, and it is compressed beside the desk.
    pub(super) fn end_log(&self, id: AttemptId) {
        let logs = self.parts.logs.clone();
        logs.end(id);
        self.tasks.spawn(async move {
            if let Err(error) = logs.compress(id).await
                && error.kind() != std::io::ErrorKind::NotFound
            {
                tracing::warn!(attempt = %id, %error, "a log stays uncompressed");
            }
        });
    }

    /// Removes what the attempts of a build have left in staging.
    pub(super) fn clear_staging(&self, build: &Build) {
        for record in &build.attempts {
            self.remove_staging(record.staging.clone());
        }
    }

    /// Removes what one attempt has left in staging.
    pub(super) fn forget_staging(&self, attempt: AttemptId) {
        let build = self.active.get(&attempt.build).map(|active| &active.build);
        let record = build.and_then(|build| build.attempts.iter().find(|record| record.attempt == attempt.attempt));
        if let Some(record) = record {
            self.remove_staging(record.staging.clone());
        }
    }

    pub(super) fn remove_staging(&self, folder: PathBuf) {
        let install_dir = self.parts.config.install_dir.clone();
        self.tasks.spawn_blocking(move || staging::remove(&install_dir, &folder));
    }
}

/// A place, or none for what is stopped before it gets one.
async fn turn(places: Arc<Semaphore>, stop: &AtomicBool) -> Option<OwnedSemaphorePermit> {
    let place = places.acquire_owned();
    tokio::pin!(place);
    loop {
        match tokio::time::timeout(STOP_LOOK, &mut place).await {
            Ok(place) => return place.ok(),
            Err(_) if stop.load(Ordering::Relaxed) => return None,
            Err(_) => {}
        }
    }
}

fn sweep_one(rootimgdir: &Path, install_dir: &Path) -> Result<(), String> {
    let dir = RootimgDir::open(rootimgdir, install_dir).map_err(|error| chain(&error))?;
    sweep(&dir).map(|_| ()).map_err(|error| chain(&error))
}

/// A failure on the coordinator's own account.
pub(super) fn here(stage: &str, cause: String, hint: Option<String>) -> Failure {
    Failure { stage: stage.into(), cause, hint, last_lines: Vec::new() }
}
