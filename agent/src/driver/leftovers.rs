//! What an earlier run of the agent left on this node: logs that the coordinator may not have, and folders to clear.
//!
//! A tree can take ten seconds and more to delete, so the agent connects first. Nothing is started meanwhile: it would
//! be refused for want of the very space that is being cleared. The coordinator's assignments wait.

use std::path::{Path, PathBuf};
use std::time::Duration;

use model::id::AttemptId;
use tokio::sync::watch;

use super::{Driver, Message};
use crate::attempt::clear;
use crate::build::failure::chain;
use crate::config::Config;
use crate::journal::parse_attempt;
use crate::log_push::LogPush;
use crate::spool;

/// A disk that takes longer than this to clear is not waited for.
const HOLD: Duration = Duration::from_secs(300);

/// The folders of attempts that are not in hand any more; nothing else in there is touched.
pub(super) fn find(config: &Config, kept: &[AttemptId]) -> Vec<PathBuf> {
    let mut found = of_attempts(&config.scratch(), &[]);
    found.extend(of_attempts(&config.spool(), kept));
    found
}

fn of_attempts(folder: &Path, kept: &[AttemptId]) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let left = entries.flatten().filter(|entry| {
        let attempt = entry.file_name().to_str().and_then(parse_attempt);
        attempt.is_some_and(|attempt| !kept.contains(&attempt))
    });
    left.map(|entry| entry.path()).collect()
}

async fn clear_all(folders: Vec<PathBuf>) {
    for folder in folders {
        tracing::info!("clearing what an earlier run left in {}", folder.display());
        if let Err(error) = clear(folder).await {
            tracing::warn!("{}", chain(&*error));
        }
    }
}

impl Driver {
    /// Clears beside everything else, and tells when nothing need wait for it any more.
    pub(super) fn clear_leftovers(&mut self) {
        let folders = std::mem::take(&mut self.leftovers);
        if folders.is_empty() {
            return;
        }
        let tell = self.tell.clone();
        self.tasks.spawn(async move {
            let mut clearing = std::pin::pin!(clear_all(folders));
            if tokio::time::timeout(HOLD, &mut clearing).await.is_err() {
                tracing::warn!("clearing what an earlier run left takes long; builds start beside it");
                // The driver outlives its tasks.
                let _ = tell.send(Message::Cleared).await;
                return clearing.await;
            }
            // As above.
            let _ = tell.send(Message::Cleared).await;
        });
    }

    /// Logs of attempts whose last event an earlier run of the agent could not get acknowledged.
    pub(super) fn push_leftover_logs(&mut self) {
        for hand in self.hands.iter().filter(|hand| hand.log_behind) {
            let attempt = hand.entry.attempt;
            let path = spool::log(&spool::folder(&self.config.spool(), attempt));
            let (link, forget, tell) = (self.link.clone(), hand.forget.clone(), self.tell.clone());
            self.tasks.spawn(async move {
                let counted = path.clone();
                let counted = tokio::task::spawn_blocking(move || spool::extent_of(&counted)).await;
                // A panic there: as if nothing could be read.
                let extent = counted.unwrap_or_default();
                if extent.lines > 0 {
                    let (_open, extent) = watch::channel(extent);
                    LogPush { attempt, path, extent, link }.start(forget).arrived().await;
                }
                // The driver outlives its tasks.
                let _ = tell.send(Message::LogArrived(attempt)).await;
            });
        }
    }
}
