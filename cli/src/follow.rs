//! Following builds while they run: the log and the state arrive by calls that survive a lost connection
//! ([`log`], [`watch`], [`patience`]), become lines or bars ([`changes`], [`screen`]), and end in [`report`].
//! [`attached`] is the loop around all of it. Nothing here decides anything about a build: leaving only stops
//! looking.

pub mod attached;
pub mod changes;
pub mod log;
pub mod patience;
pub mod report;
#[cfg(test)]
pub(crate) mod samples;
pub mod screen;
#[cfg(test)]
pub(crate) mod scripted;
pub mod watch;

use tokio::sync::mpsc;

use crate::failure::Failure;
use crate::view::BuildView;
use log::Batch;

/// How many news may wait to be shown. A terminal that stands still (Ctrl-S, a question) then holds up the calls
/// and with them the coordinator's streams, and not our memory.
pub const PENDING_NEWS: usize = 64;

/// What the calls report to whoever shows it.
#[derive(Debug)]
pub enum News {
    /// A build has changed.
    Changed(Box<BuildView>),
    /// New log lines.
    Lines(Batch),
    /// The connection of one call is gone, or back.
    Link(u64, Link),
    /// A watch can't go on.
    Failed(Failure),
    /// The log can't go on; the build's state is still seen.
    LogFailed(Failure),
}

/// How the connection of a call stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// Lost; it is tried again after a while.
    Lost {
        /// Why.
        why: String,
        /// After how long it is tried again.
        wait: std::time::Duration,
    },
    /// It works again.
    Back,
}

/// Where a call sends its news, with the number that tells calls apart.
#[derive(Debug, Clone)]
pub struct Reporter {
    /// The call.
    pub call: u64,
    /// Where to.
    pub news: mpsc::Sender<News>,
}

impl Reporter {
    /// Sends; that nobody listens any more shows at the call's own end.
    pub async fn send(&self, news: News) {
        // The receiver goes away only together with the task that we run in.
        let _ = self.news.send(news).await;
    }

    /// Sends how the connection stands.
    pub async fn link(&self, link: Link) {
        self.send(News::Link(self.call, link)).await;
    }
}
