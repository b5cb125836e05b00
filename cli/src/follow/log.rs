//! The log of a build, each line once and in order, over any number of broken connections.
//!
//! [`Cursor`] knows what was shown; [`follow`] asks for what comes next until the build has ended.

use std::time::Duration;

use model::id::{Attempt, BuildId};
use proto::v1;
use tonic::{Code, Status};

use super::patience::{Limits, Patience};
use super::{News, Reporter};
use crate::client::Client;
use crate::failure::Failure;

/// How long to wait before asking again when an attempt's log has ended and the build has not: it waits for
/// another agent, or is being packed.
const PAUSE: Duration = Duration::from_secs(1);

/// Lines that were not shown before.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// The attempt that they are of.
    pub attempt: u32,
    /// How many lines before them never came.
    pub missed: u64,
    /// The lines.
    pub lines: Vec<v1::LogLine>,
}

/// Which line comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// 0 until the first line of any attempt came.
    attempt: u32,
    next: u64,
}

impl Cursor {
    /// Before line `from` of one attempt, or of the newest.
    pub fn before(attempt: Option<Attempt>, from: u64) -> Self {
        Self { attempt: attempt.map_or(0, Attempt::get), next: from.max(1) }
    }

    fn request(&self, build: BuildId, follow: bool) -> v1::LogsRequest {
        v1::LogsRequest { build: build.get(), attempt: self.attempt, from_line: self.next, follow }
    }

    /// Takes lines over and leaves those away that came before: after a break the coordinator may well repeat some.
    fn admit(&mut self, lines: v1::LogLines) -> Batch {
        let v1::LogLines { attempt, first_line, mut lines } = lines;
        if attempt < self.attempt {
            return Batch { attempt, missed: 0, lines: Vec::new() };
        }
        if attempt > self.attempt && self.attempt > 0 {
            self.next = 1;
        }
        self.attempt = attempt;
        let first = first_line.max(1);
        let known = usize::try_from(self.next.saturating_sub(first)).unwrap_or(usize::MAX);
        lines.drain(..known.min(lines.len()));
        let missed = if lines.is_empty() { 0 } else { first.saturating_sub(self.next) };
        self.next += missed + lines.len() as u64;
        Batch { attempt, missed, lines }
    }

    /// Goes to the first line of the next attempt.
    fn advance(&mut self) {
        *self = Self { attempt: self.attempt + 1, next: 1 };
    }
}

/// What is wanted of a log.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Of which build.
    pub build: BuildId,
    /// From where on.
    pub cursor: Cursor,
    /// This attempt alone and none after it.
    pub one_attempt: bool,
    /// Go on until the build has ended.
    pub follow: bool,
}

/// Reports the lines of a log until it is complete.
pub async fn follow(client: &Client, mut wanted: Wanted, limits: Limits, reporter: &Reporter) -> Result<(), Failure> {
    let mut patience = Patience::new(limits);
    let mut ended = false;
    loop {
        let broken = match read(client, &mut wanted, &mut patience, reporter).await {
            Ok(()) if !wanted.follow || ended => return Ok(()),
            Ok(()) => match after_end(client, &mut wanted).await {
                Ok(After::AnotherAttempt) => None,
                // Lines that came between the two calls are fetched by one more.
                Ok(After::Ended) => {
                    ended = true;
                    None
                }
                Ok(After::Later) => {
                    tokio::time::sleep(PAUSE).await;
                    None
                }
                Err(status) => Some(status),
            },
            Err(status) => Some(status),
        };
        if let Some(status) = broken {
            patience.broke(&status, client, reporter).await?;
        }
    }
}

/// What comes after the end of an attempt's log.
enum After {
    AnotherAttempt,
    Later,
    Ended,
}

/// Whether the end of an attempt's log is the end of all, only the build can tell.
async fn after_end(client: &Client, wanted: &mut Wanted) -> Result<After, Status> {
    use v1::build_state::State;
    let build = client.builds().get(v1::GetBuildRequest { id: wanted.build.get() }).await?.into_inner();
    let newest = build.attempts.last().map_or(0, |attempt| attempt.attempt);
    let state = build.state.and_then(|state| state.state);
    let is_final = matches!(state, Some(State::Succeeded(_) | State::Failed(_) | State::Cancelled(_)));
    let superseded = wanted.cursor.attempt > 0 && newest > wanted.cursor.attempt;
    Ok(match (superseded, wanted.one_attempt) {
        (true, true) => After::Ended,
        (true, false) => {
            wanted.cursor.advance();
            After::AnotherAttempt
        }
        (false, _) if is_final => After::Ended,
        (false, _) => After::Later,
    })
}

/// One call, to its end.
async fn read(
    client: &Client,
    wanted: &mut Wanted,
    patience: &mut Patience,
    reporter: &Reporter,
) -> Result<(), Status> {
    let request = wanted.cursor.request(wanted.build, wanted.follow);
    let mut stream = match client.builds().logs(request).await {
        Ok(answer) => answer.into_inner(),
        // Nothing has been written yet: it waits for an agent. That there is no such build shows at the next call.
        Err(status) if wanted.follow && wanted.cursor.attempt == 0 && status.code() == Code::NotFound => return Ok(()),
        Err(status) => return Err(status),
    };
    patience.works(reporter).await;
    while let Some(lines) = stream.message().await? {
        let batch = wanted.cursor.admit(lines);
        if !batch.lines.is_empty() {
            reporter.send(News::Lines(batch)).await;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
