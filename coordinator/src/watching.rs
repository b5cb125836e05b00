//! Watchers of builds and logs. A watcher costs one small task; one that is slow only delays itself.

use std::sync::Arc;
use std::time::Duration;

use model::build::Build;
use model::id::{Attempt, AttemptId};
use proto::v1;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::logs::{Head, LogLine, LogReader, Logs};
use crate::scheduler::{BuildView, Scheduler};
use crate::store::Store;

/// Messages ahead of a slow watcher; then its task waits.
const AHEAD: usize = 8;
/// How often what a build is doing now is shown at most.
const ACTIVITY: Duration = Duration::from_millis(250);
/// How often a watcher looks whether a log has been begun, or has ended without its hearing of it.
const LOOK: Duration = Duration::from_secs(1);
/// How often a follower looks for the next attempt of a build that is queued again.
const NEXT_ATTEMPT: Duration = Duration::from_millis(250);

type Sender<T> = mpsc::Sender<Result<T, Status>>;

/// A build as it is shown, with the newest line of its log as what it does now.
pub fn shown(view: &BuildView, doing: Option<&LogLine>) -> v1::Build {
    let mut wire: v1::Build = view.build.clone().into();
    wire.activity = match doing {
        Some(line) if view.build.state.lease().is_some() => line.text.clone(),
        _ => String::new(),
    };
    if let Some(v1::build_state::State::Queued(queued)) = wire.state.as_mut().and_then(|state| state.state.as_mut()) {
        queued.waiting_for.clone_from(&view.waiting_for);
    }
    wire
}

/// The build now, at every change, and last as it ended.
pub fn follow_build(
    build: Build,
    scheduler: Scheduler,
    store: Store,
    logs: Arc<Logs>,
) -> ReceiverStream<Result<v1::Build, Status>> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    // Ends with the stream: every send fails once the watcher is gone.
    tokio::spawn(async move {
        let id = build.id;
        if let Ok(Some(mut views)) = scheduler.watch(id).await {
            show_changes(&mut views, &logs, &sender).await;
        }
        // However it left the desk, the store has how it ended.
        let last = store.build(id).ok().flatten().unwrap_or(build);
        let _ = sender.send(Ok(last.into())).await;
    });
    ReceiverStream::new(receiver)
}

async fn show_changes(views: &mut watch::Receiver<BuildView>, logs: &Logs, sender: &Sender<v1::Build>) {
    loop {
        let view = views.borrow_and_update().clone();
        if view.build.state.is_final() {
            return;
        }
        let lease = view.build.state.lease().map(|(_, attempt)| AttemptId { build: view.build.id, attempt });
        let mut doing = lease.and_then(|attempt| logs.written(attempt)).map(|log| log.head());
        let line = doing.as_mut().and_then(|head| head.borrow_and_update().last.clone());
        if sender.send(Ok(shown(&view, line.as_ref()))).await.is_err() {
            return;
        }
        tokio::select! {
            changed = views.changed() => if changed.is_err() { return },
            () = next_line(doing.as_mut(), logs, lease) => {}
            () = sender.closed() => return,
        }
    }
}

async fn next_line(head: Option<&mut watch::Receiver<Head>>, logs: &Logs, lease: Option<AttemptId>) {
    let Some(attempt) = lease else { return std::future::pending().await };
    let Some(head) = head else { return first_line(logs, attempt).await };
    tokio::time::sleep(ACTIVITY).await;
    if head.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn first_line(logs: &Logs, attempt: AttemptId) {
    while logs.written(attempt).is_none() {
        tokio::time::sleep(LOOK).await;
    }
}

/// The lines of one attempt's log, or with attempt 0 of the newest and, when following, of those after it.
pub fn follow_logs(
    build: Build,
    request: v1::LogsRequest,
    scheduler: Scheduler,
    store: Store,
    logs: Arc<Logs>,
) -> Result<ReceiverStream<Result<v1::LogLines, Status>>, Status> {
    let only = only(&build, request.attempt)?;
    let (sender, receiver) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        let follower = Follower { build, request, only, scheduler, store, logs, sender: sender.clone() };
        if let Err(status) = follower.run().await {
            let _ = sender.send(Err(status)).await;
        }
    });
    Ok(ReceiverStream::new(receiver))
}

/// The one attempt that is asked for, which the build must have. One that has none, such as of packimage alone, logs
/// as its first.
fn only(build: &Build, asked: u32) -> Result<Option<Attempt>, Status> {
    let Some(attempt) = Attempt::new(asked) else { return Ok(None) };
    let none_yet = build.attempts.is_empty() && attempt == Attempt::FIRST;
    if none_yet || build.attempts.iter().any(|record| record.attempt == attempt) {
        return Ok(Some(attempt));
    }
    Err(Status::not_found(format!("build {} has no attempt {attempt}; it has {}", build.id, build.attempts.len())))
}

struct Follower {
    build: Build,
    request: v1::LogsRequest,
    only: Option<Attempt>,
    scheduler: Scheduler,
    store: Store,
    logs: Arc<Logs>,
    sender: Sender<v1::LogLines>,
}

impl Follower {
    async fn run(mut self) -> Result<(), Status> {
        let mut from = self.request.from_line.max(1);
        let newest = self.build.attempts.last().map_or(Attempt::FIRST, |record| record.attempt);
        let mut attempt = self.only.unwrap_or(newest);
        loop {
            self.one(attempt, from).await?;
            from = 1;
            if self.only.is_some() || !self.request.follow {
                return Ok(());
            }
            match self.next_attempt(attempt).await? {
                Some(next) => attempt = next,
                None => return Ok(()),
            }
        }
    }

    /// Sends one attempt's lines to the end, or when following to its end.
    async fn one(&self, attempt: Attempt, from: u64) -> Result<(), Status> {
        let id = AttemptId { build: self.build.id, attempt };
        let mut reader = self.logs.read(id, from);
        let mut log = None;
        loop {
            // Before the lines are counted: what is over now has all its lines there, those of a moment ago too.
            let over = self.is_over(attempt)?;
            log = log.or_else(|| self.logs.written(id));
            let mut head = log.as_ref().map(|log| log.head());
            let (lines, ended) = head.as_mut().map_or((u64::MAX, false), |head| {
                let head = head.borrow_and_update();
                (head.lines, head.ended)
            });
            reader = self.send(attempt, reader, lines).await?;
            if ended || over || !self.request.follow || self.sender.is_closed() {
                return Ok(());
            }
            self.wait(head.as_mut()).await;
        }
    }

    /// Sends what there is up to line `lines`.
    async fn send(&self, attempt: Attempt, mut reader: LogReader, lines: u64) -> Result<LogReader, Status> {
        while reader.next <= lines {
            let read = tokio::task::spawn_blocking(move || {
                let read = reader.read(lines);
                (reader, read)
            });
            let (back, read) =
                read.await.map_err(|error| Status::internal(format!("the log can't be read: {error}")))?;
            reader = back;
            let (first_line, found) =
                read.map_err(|error| Status::internal(format!("the log can't be read: {error}")))?;
            if found.is_empty() {
                break;
            }
            let lines = found.into_iter().map(on_wire).collect();
            let message = v1::LogLines { attempt: attempt.get(), first_line, lines };
            if self.sender.send(Ok(message)).await.is_err() {
                break;
            }
        }
        Ok(reader)
    }

    async fn wait(&self, head: Option<&mut watch::Receiver<Head>>) {
        let changed = async {
            match head {
                // It never fails: the log is held.
                Some(head) => drop(head.changed().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = changed => {}
            () = self.sender.closed() => {}
            // A log that was opened after its attempt ended never hears of the end, nor one that isn't open yet of
            // its first line.
            () = tokio::time::sleep(LOOK) => {}
        }
    }

    /// Whether nothing more can come to this attempt's log.
    fn is_over(&self, attempt: Attempt) -> Result<bool, Status> {
        let Some(build) = self.store.build(self.build.id)? else { return Ok(true) };
        let newest = build.attempts.last().map(|record| record.attempt);
        Ok(build.state.is_final() || newest.is_some_and(|newest| newest > attempt))
    }

    async fn next_attempt(&mut self, after: Attempt) -> Result<Option<Attempt>, Status> {
        loop {
            let Some(build) = self.store.build(self.build.id)? else { return Ok(None) };
            if let Some(record) = build.attempts.iter().find(|record| record.attempt > after) {
                return Ok(Some(record.attempt));
            }
            if build.state.is_final() || self.scheduler.watch(build.id).await?.is_none() {
                return Ok(None);
            }
            tokio::select! {
                () = tokio::time::sleep(NEXT_ATTEMPT) => {}
                () = self.sender.closed() => return Ok(None),
            }
        }
    }
}

fn on_wire(line: LogLine) -> v1::LogLine {
    let LogLine { time_ms, stage, text } = line;
    v1::LogLine { time_ms, stage, text }
}

#[cfg(test)]
mod tests;
