//! What a worker says, passed on as it comes: its lines to the spool, its stages to the driver, its silence to the
//! clock that ends the attempt.

use std::io;

use model::stage::StageStatus;
use tokio::time::Instant;

use crate::attempt::Attempt;
use crate::event::What;
use crate::silence::{Alarm, Silence};
use crate::spool::LogWriter;
use crate::worker::handle::{HandleError, Worker};
use crate::worker::report::{Failure, Line, Report, now_ms};

/// Why nothing more can be passed on.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The worker can't be heard.
    #[error(transparent)]
    Worker(#[from] HandleError),
    /// The log can't be written.
    #[error("cannot write the attempt's log to the spool; see that its disk has room")]
    Log(#[source] io::Error),
}

/// How a worker's words came to an end.
#[derive(Debug)]
pub enum End {
    /// With its result, if it came to one.
    Said(Option<Report>),
    /// It said nothing for too long; it may still be there.
    Silent(Failure),
}

/// Passes on reports up to the end of them, or of the patience with their absence.
pub async fn follow(attempt: &Attempt, worker: &mut Worker, log: &mut LogWriter) -> Result<End, FollowError> {
    let mut clock = Silence::new(attempt.silence.clone(), Instant::now());
    let mut result = None;
    loop {
        let due = clock.due();
        tokio::select! {
            // What was said while the agent was busy is heard before anybody is judged.
            biased;
            report = worker.next() => match report? {
                Some(report @ (Report::Finished(_) | Report::Failed(_))) => result = Some(report),
                Some(report) => pass_on(report, attempt, log, &mut clock).await?,
                None => return Ok(End::Said(result)),
            },
            () = until(due) => match clock.look(Instant::now()) {
                Some(Alarm::Warn(text)) => say(log, &clock, text)?,
                Some(Alarm::End(failure)) => return silent(failure, attempt, log, &clock).await,
                None => {}
            },
        }
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

async fn pass_on(
    report: Report,
    attempt: &Attempt,
    log: &mut LogWriter,
    clock: &mut Silence,
) -> Result<(), FollowError> {
    match report {
        Report::Line(line) => {
            log.append(&line).map_err(FollowError::Log)?;
            clock.line(&line.text, Instant::now());
        }
        Report::StageStarted { stage, .. } => {
            attempt.happened(What::StageStarted(stage)).await;
            clock.begins(stage, Instant::now());
        }
        Report::StageEnded { stage, status, .. } => {
            attempt.happened(What::StageEnded(stage, status)).await;
            clock.alive(Instant::now());
        }
        Report::Born { .. } | Report::Progress | Report::Finished(_) | Report::Failed(_) => {
            clock.alive(Instant::now());
        }
    }
    Ok(())
}

fn say(log: &mut LogWriter, clock: &Silence, text: String) -> Result<(), FollowError> {
    log.append(&Line { time_ms: now_ms(), stage: clock.stage(), text }).map_err(FollowError::Log)
}

/// Tells the end as a stage that fails by itself does.
async fn silent(failure: Failure, attempt: &Attempt, log: &mut LogWriter, clock: &Silence) -> Result<End, FollowError> {
    say(log, clock, format!("{} failed: {}", failure.stage, failure.cause))?;
    say(log, clock, format!("hint: {}", failure.hint))?;
    attempt.happened(What::StageEnded(failure.stage, StageStatus::Failed)).await;
    Ok(End::Silent(failure))
}
