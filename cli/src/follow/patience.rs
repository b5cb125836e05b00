//! How long a call is tried again after its connection broke: at growing intervals, and not for ever.

use std::time::Duration;

use tokio::time::Instant;
use tonic::Status;

use super::{Link, Reporter};
use crate::client::Client;
use crate::failure::{Exit, Failure, is_broken_connection};

/// The limits of patience.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The first wait.
    pub first: Duration,
    /// The longest wait.
    pub longest: Duration,
    /// After how long without an answer to give up.
    pub give_up: Duration,
}

/// A restart of the coordinator takes seconds and an update of the management node minutes; a build goes on
/// through both.
pub const USUAL: Limits =
    Limits { first: Duration::from_secs(1), longest: Duration::from_secs(15), give_up: Duration::from_secs(900) };

/// The state of one call's patience.
#[derive(Debug)]
pub struct Patience {
    limits: Limits,
    lost: Option<(Instant, Duration)>,
}

impl Patience {
    /// Full patience.
    pub fn new(limits: Limits) -> Self {
        Self { limits, lost: None }
    }

    /// The call works. Reports it if it didn't before.
    pub async fn works(&mut self, reporter: &Reporter) {
        if self.lost.take().is_some() {
            reporter.link(Link::Back).await;
        }
    }

    /// The call broke: waits before it may be tried again, or fails because it is no use or has lasted too long.
    pub async fn broke(&mut self, status: &Status, client: &Client, reporter: &Reporter) -> Result<(), Failure> {
        let failure = client.failure(status);
        if !is_broken_connection(status) {
            return Err(failure);
        }
        let why = failure.sentence.unwrap_or_default();
        let Some(wait) = self.next_wait(Instant::now()) else {
            let minutes = self.limits.give_up.as_secs() / 60;
            return Err(Failure::new(Exit::Unreachable, format!("gave up after {minutes} minutes: {why}")));
        };
        reporter.link(Link::Lost { why, wait }).await;
        tokio::time::sleep(wait).await;
        Ok(())
    }

    fn next_wait(&mut self, now: Instant) -> Option<Duration> {
        let (since, wait) = match self.lost {
            None => (now, self.limits.first),
            Some((since, last)) => (since, (last * 2).min(self.limits.longest)),
        };
        self.lost = Some((since, wait));
        (now.duration_since(since) < self.limits.give_up).then_some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_limit_and_end() {
        let mut patience = Patience::new(USUAL);
        let start = Instant::now();
        let waits: Vec<_> = [0, 1, 3, 7, 15, 30, 899, 900]
            .map(|after| patience.next_wait(start + Duration::from_secs(after)).map(|wait| wait.as_secs()))
            .into();
        assert_eq!(waits, [Some(1), Some(2), Some(4), Some(8), Some(15), Some(15), Some(15), None]);
    }
}
