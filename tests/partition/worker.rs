//! A worker by script, as a task in simulated time: goes through the stages, says its lines, leaves the archive.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agent::worker::handle::Workers;
use agent::worker::order::Order;
use agent::worker::report::{Line, Product, Report, now_ms};
use model::id::AttemptId;
use model::stage::{Stage, StageStatus};
use rootfs::digest::Digest;
use tokio::io::{AsyncWriteExt as _, DuplexStream};

use crate::archive::archive;

/// How an attempt goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Script {
    /// Lines in each stage.
    pub(crate) lines: usize,
    /// The pause before each line.
    pub(crate) pace: Duration,
}

/// One worker that was started.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) attempt: AttemptId,
    pub(crate) agent: String,
    /// Lines that it has said.
    pub(crate) said: usize,
    /// It works.
    pub(crate) alive: bool,
    /// It came to its end by itself.
    pub(crate) finished: bool,
}

/// Every worker that was ever started, on whatever agent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Runs(Arc<Mutex<Vec<Run>>>);

impl Runs {
    pub(crate) fn all(&self) -> Vec<Run> {
        self.with(|runs| runs.clone())
    }

    fn with<T>(&self, act: impl FnOnce(&mut Vec<Run>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Workers of one agent that follow the script.
pub(crate) fn workers(agent: &str, script: Script, runs: Runs) -> Workers {
    let agent = agent.to_owned();
    Workers::Tasks(Arc::new(move |order, pipe| {
        let order = Order::read(&order).expect("the agent wrote it");
        let place = runs.with(|runs| {
            let attempt = order.attempt;
            runs.push(Run { attempt, agent: agent.clone(), said: 0, alive: true, finished: false });
            runs.len() - 1
        });
        let life = Life { runs: runs.clone(), place };
        tokio::spawn(async move {
            // Fails when the agent has closed the pipe: then nobody wants it any more.
            if work(order, pipe, script, &life).await.is_ok() {
                life.with(|run| run.finished = true);
            }
        });
    }))
}

/// The text of an attempt's line.
pub(crate) fn text(attempt: AttemptId, number: usize) -> String {
    format!("{attempt} says line {number}")
}

/// Says that the worker is gone, however it went.
struct Life {
    runs: Runs,
    place: usize,
}

impl Life {
    fn with(&self, change: impl FnOnce(&mut Run)) {
        self.runs.with(|runs| change(&mut runs[self.place]));
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.with(|run| run.alive = false);
    }
}

async fn work(order: Order, mut pipe: DuplexStream, script: Script, life: &Life) -> std::io::Result<()> {
    for stage in Stage::ALL {
        say(&mut pipe, &Report::StageStarted { stage, time_ms: now_ms() }).await?;
        for _ in 0..script.lines {
            tokio::time::sleep(script.pace).await;
            let mut number = 0;
            life.with(|run| {
                run.said += 1;
                number = run.said;
            });
            let line = Line { time_ms: now_ms(), stage, text: text(order.attempt, number) };
            say(&mut pipe, &Report::Line(line)).await?;
        }
        say(&mut pipe, &Report::StageEnded { stage, status: StageStatus::Done, time_ms: now_ms() }).await?;
    }
    std::fs::write(&order.archive, archive())?;
    say(&mut pipe, &Report::Finished(product(order.archive))).await
}

fn product(archive_path: PathBuf) -> Product {
    let (digest, bytes) = (Digest::of(archive()), archive().len() as u64);
    Product {
        archive: archive_path,
        digest,
        bytes,
        kernel_version: "6.1.0-sim".to_owned(),
        packages: 1,
        initrds: Vec::new(),
        warnings: Vec::new(),
    }
}

async fn say(pipe: &mut DuplexStream, report: &Report) -> std::io::Result<()> {
    let mut bytes = serde_json::to_vec(report)?;
    bytes.push(b'\n');
    pipe.write_all(&bytes).await
}
