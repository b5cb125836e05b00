//! The agent's side of a worker: start it, hear it, end it, and know when nothing of it is left.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader, DuplexStream, duplex};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio_util::either::Either;

use super::report::Report;
use crate::sys::unshare::unshared;

/// How long a killed namespace may take to go; a process in a system call on a dead NFS server takes longest.
const LINGER: Duration = Duration::from_secs(60);

/// How much of what a worker says outside its reports is kept for the error.
const KEPT_STDERR: u64 = 4096;

/// What a task may say ahead of us; as much as a pipe holds.
const TASK_PIPE: usize = 64 << 10;

/// A worker could not be started or heard.
#[derive(Debug, thiserror::Error)]
pub enum HandleError {
    /// `unshare` could not be started.
    #[error("cannot start a worker with `unshare` (util-linux)")]
    Start(#[source] io::Error),
    /// Its output could not be read.
    #[error("lost touch with the worker")]
    Lost(#[source] io::Error),
    /// Something of it won't die.
    #[error("process {0} of a killed worker is still there after {seconds} s", seconds = LINGER.as_secs())]
    Undead(i32),
}

/// What carries out orders.
#[derive(Clone, Default)]
pub enum Workers {
    /// Processes in namespaces of their own.
    #[default]
    Processes,
    /// Tasks of this process, each with the path of its order and a pipe for its reports, which must end when the pipe
    /// is closed: where time is simulated, a process could not keep to it.
    Tasks(Arc<dyn Fn(PathBuf, DuplexStream) + Send + Sync>),
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Processes => "Processes",
            Self::Tasks(_) => "Tasks",
        })
    }
}

impl Workers {
    /// Starts one on `order`; `program` is for [`Worker::start`].
    pub fn start(&self, program: &Path, order: &Path) -> Result<Worker, HandleError> {
        match self {
            Self::Processes => Worker::start(program, order),
            Self::Tasks(begin) => {
                let (ours, theirs) = duplex(TASK_PIPE);
                begin(order.to_owned(), theirs);
                Ok(Worker::of(None, Either::Right(ours)))
            }
        }
    }
}

/// A running worker. Dropping it kills it, but only [`Worker::end`] waits until all of it is gone.
#[derive(Debug)]
pub struct Worker {
    child: Option<Child>,
    // Its end of this pipe tells the worker that we live.
    _lifeline: Option<ChildStdin>,
    reports: BufReader<Either<ChildStdout, DuplexStream>>,
    stderr: Option<tokio::task::JoinHandle<String>>,
    init: Option<i32>,
    line: Vec<u8>,
}

impl Worker {
    /// Starts a worker on `order`. `program` is the agent's executable: usually `/proc/<pid>/exe`, which stays the same
    /// file when a newer one is installed in its place.
    pub fn start(program: &Path, order: &Path) -> Result<Self, HandleError> {
        let mut child = unshared(&["--pid", "--ipc", "--uts", "--fork", "--kill-child"], program)
            .args(["worker", "--order"])
            .arg(order)
            .spawn()
            .map_err(HandleError::Start)?;
        let missing = || HandleError::Start(io::Error::other("no pipe"));
        let stdout = child.stdout.take().ok_or_else(missing)?;
        let stderr = child.stderr.take().ok_or_else(missing)?;
        let stderr = tokio::spawn(opening_words(stderr));
        let _lifeline = child.stdin.take();
        Ok(Self { _lifeline, stderr: Some(stderr), ..Self::of(Some(child), Either::Left(stdout)) })
    }

    fn of(child: Option<Child>, reports: Either<ChildStdout, DuplexStream>) -> Self {
        Self { child, _lifeline: None, reports: BufReader::new(reports), stderr: None, init: None, line: Vec::new() }
    }

    /// The next report; `None` when the worker has ended. May be dropped and called again.
    pub async fn next(&mut self) -> Result<Option<Report>, HandleError> {
        loop {
            if self.reports.read_until(b'\n', &mut self.line).await.map_err(HandleError::Lost)? == 0 {
                return Ok(None);
            }
            if !self.line.ends_with(b"\n") {
                // Cut short by a kill.
                return Ok(None);
            }
            let report = serde_json::from_slice(&self.line);
            self.line.clear();
            match report {
                Ok(Report::Born { pid }) => self.init = Some(pid),
                Ok(report) => return Ok(Some(report)),
                Err(error) => tracing::debug!(%error, "a worker said something that is no report"),
            }
        }
    }

    /// Ends the worker whatever it does, and returns when no process of it is left; gives what it said on
    /// standard error.
    pub async fn end(mut self) -> Result<String, HandleError> {
        // A task ends with its pipe.
        let (Some(mut child), Some(stderr)) = (self.child.take(), self.stderr.take()) else { return Ok(String::new()) };
        // `unshare` may have ended by itself; its death takes the namespace along otherwise.
        if let Err(error) = child.start_kill() {
            tracing::debug!(%error, "the worker had ended");
        }
        child.wait().await.map_err(HandleError::Lost)?;
        if let Some(pid) = self.init {
            gone(pid).await?;
        }
        Ok(stderr.await.unwrap_or_default())
    }
}

/// The beginning of what a worker says on standard error. All of it is read: a worker whose pipe were closed or full
/// would fail, or stand still, over words that nobody needs.
async fn opening_words(mut stderr: impl AsyncRead + Unpin) -> String {
    let mut text = Vec::new();
    // What can't be read is missing from an error message, no more.
    let _ = (&mut stderr).take(KEPT_STDERR).read_to_end(&mut text).await;
    let _ = tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await;
    crate::sys::lines::printable(&text).replace("\\x0a", "\n").trim().to_owned()
}

/// Waits until pid 1 of a namespace is gone, and with it all others in there.
async fn gone(pid: i32) -> Result<(), HandleError> {
    let status = PathBuf::from(format!("/proc/{pid}/status"));
    let alive = || fs::read_to_string(&status).is_ok_and(|text| is_our_init(&text) && !is_dead(&text));
    let deadline = tokio::time::Instant::now() + LINGER;
    while alive() {
        if tokio::time::Instant::now() > deadline {
            return Err(HandleError::Undead(pid));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// Whether it only waits to be reaped. Its first thread may die before another one, and it is the last that ends
/// and awaits all others in the namespace.
fn is_dead(status: &str) -> bool {
    status.contains("\nState:\tZ") && status.contains("\nThreads:\t1\n")
}

/// Whether the number still belongs to a pid 1 of some namespace, and was not given to another process since.
fn is_our_init(status: &str) -> bool {
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    numbers.is_none_or(|numbers| numbers.split_whitespace().next_back() == Some("1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_given_to_another_process_is_not_waited_for() {
        assert!(is_our_init("Name:\tx\nNSpid:\t4711\t1\n"));
        assert!(!is_our_init("Name:\tx\nNSpid:\t4711\n"));
    }

    #[test]
    fn pid_1_is_dead_when_its_last_thread_is() {
        assert!(is_dead("Name:\tx\nState:\tZ (zombie)\nNSpid:\t4711\t1\nThreads:\t1\n"));
        assert!(!is_dead("Name:\tx\nState:\tZ (zombie)\nNSpid:\t4711\t1\nThreads:\t2\n"));
        assert!(!is_dead("Name:\tx\nState:\tS (sleeping)\nNSpid:\t4711\t1\nThreads:\t1\n"));
    }

    #[tokio::test]
    async fn a_worker_may_say_more_than_is_kept() {
        let (mut worker, stderr) = tokio::io::duplex(100);
        let kept = tokio::spawn(opening_words(stderr));
        let said = vec![b'x'; 3 * KEPT_STDERR as usize];
        tokio::io::AsyncWriteExt::write_all(&mut worker, &said).await.unwrap();
        drop(worker);
        assert_eq!(kept.await.unwrap().len(), KEPT_STDERR as usize);
    }

    #[tokio::test]
    async fn a_process_that_is_not_there_is_gone() {
        gone(i32::MAX).await.unwrap();
    }
}
