//! How this node sees the MN's install root, as it was found a moment ago.
//!
//! The root may be a hard NFS mount whose server is gone: whoever looks at it then is not answered, for ever. So one
//! task looks, on a blocking thread, now and then; all others read what it found last. While it isn't answered
//! nothing is seen, and no further thread is given to the same question.

use std::time::Duration;

use tokio::sync::watch;

use crate::config::Install;

/// How long a look at the install root may take; a server that is only busy answers in less.
pub const ANSWERS: Duration = Duration::from_secs(5);
/// The time between two looks.
const RENEWED: Duration = Duration::from_secs(10);

/// The reading end. Before the first look nothing is seen.
#[derive(Debug, Clone)]
pub struct InstallView(watch::Receiver<Option<Install>>);

impl InstallView {
    /// Of a root that nobody looks at.
    pub fn unseen() -> Self {
        Self(watch::channel(None).1)
    }

    /// What was found last; [`Install::None`] while there is no answer.
    pub fn now(&self) -> Install {
        self.0.borrow().unwrap_or(Install::None)
    }

    /// Waits for the first look to end, or to be given up.
    pub async fn first(&mut self) {
        // Without a looker nothing will be seen.
        let _ = self.0.wait_for(Option::is_some).await;
    }
}

/// The looking end.
#[derive(Debug)]
pub struct Looker<F> {
    look: F,
    answers: Duration,
    renewed: Duration,
    found: watch::Sender<Option<Install>>,
}

impl<F: Fn() -> Install + Clone + Send + 'static> Looker<F> {
    /// Both ends. `look` may block.
    pub fn new(look: F) -> (Self, InstallView) {
        let (found, view) = watch::channel(None);
        (Self { look, answers: ANSWERS, renewed: RENEWED, found }, InstallView(view))
    }

    /// Looks again and again, until it is dropped.
    pub async fn run(self) {
        loop {
            self.look_once().await;
            tokio::time::sleep(self.renewed).await;
        }
    }

    /// Returns when there is an answer, however late. A panic is none.
    async fn look_once(&self) {
        let mut asked = tokio::task::spawn_blocking(self.look.clone());
        let answer = match tokio::time::timeout(self.answers, &mut asked).await {
            Ok(answer) => answer,
            Err(_) => {
                tracing::warn!("the install root doesn't answer; until it does, this node counts as not seeing it");
                self.found.send_replace(Some(Install::None));
                asked.await
            }
        };
        self.found.send_replace(Some(answer.unwrap_or(Install::None)));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::{Arc, Mutex, PoisonError, mpsc};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(20);

    async fn until(view: &mut InstallView, wanted: Install) {
        let seen = view.0.wait_for(|seen| *seen == Some(wanted));
        tokio::time::timeout(PATIENCE, seen).await.expect("it is never seen so").unwrap();
    }

    #[tokio::test]
    async fn a_root_that_does_not_answer_is_not_seen_and_asked_only_once() {
        let (answer, answers) = mpsc::channel();
        let (answers, asked) = (Arc::new(Mutex::new(answers)), Arc::new(AtomicU32::new(0)));
        let count = asked.clone();
        let look = move || {
            count.fetch_add(1, Ordering::SeqCst);
            let answered = answers.lock().unwrap_or_else(PoisonError::into_inner).recv();
            answered.unwrap_or(Install::None)
        };
        let (looker, mut view) = Looker::new(look);
        assert_eq!(view.now(), Install::None);
        answer.send(Install::Nfs).unwrap();
        let looker = tokio::spawn(Looker { answers: SHORT, renewed: SHORT, ..looker }.run());
        until(&mut view, Install::Nfs).await;
        // The second look isn't answered.
        until(&mut view, Install::None).await;
        tokio::time::sleep(SHORT * 10).await;
        assert_eq!((view.now(), asked.load(Ordering::SeqCst)), (Install::None, 2));
        answer.send(Install::Local).unwrap();
        until(&mut view, Install::Local).await;
        drop(answer);
        looker.abort();
    }
}
