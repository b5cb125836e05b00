//! What a worker tells its agent: one JSON document a line on standard output.

use std::collections::VecDeque;
use std::fmt;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use model::initrd::InitrdReport;
use model::stage::{Stage, StageStatus};
use rootfs::digest::Digest;
use serde::{Deserialize, Serialize};

use crate::sys::exec::{Cmd, CmdError, Output};

/// How many of the log's last lines go with a failure.
pub const LAST_LINES: usize = 20;

/// How often movement is told: well within any budget of silence that makes sense.
const PULSE: Duration = Duration::from_millis(500);

/// Something that happened in a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "report", rename_all = "snake_case")]
pub enum Report {
    /// The namespaces stand; `pid` is their pid 1 as the node sees it.
    Born {
        /// In the node's numbers.
        pid: i32,
    },
    /// A line of the log.
    Line(Line),
    /// A stage begins.
    StageStarted {
        /// Which.
        stage: Stage,
        /// When.
        time_ms: i64,
    },
    /// A stage is over.
    StageEnded {
        /// Which.
        stage: Stage,
        /// How.
        status: StageStatus,
        /// When.
        time_ms: i64,
    },
    /// Something moves that makes no line: bytes of one without an end yet, or of the archive.
    Progress,
    /// The archive stands.
    Finished(Product),
    /// The attempt ended badly.
    Failed(Failure),
}

/// One line of an attempt's log; its short names are those of the spool file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Milliseconds since 1970.
    #[serde(rename = "t")]
    pub time_ms: i64,
    /// Which stage said it.
    #[serde(rename = "s")]
    pub stage: Stage,
    /// Safe to print.
    #[serde(rename = "x")]
    pub text: String,
}

/// What an attempt made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Product {
    /// Where the archive stands.
    pub archive: PathBuf,
    /// Of the archive.
    pub digest: Digest,
    /// Of the archive.
    pub bytes: u64,
    /// The kernel in the image.
    pub kernel_version: String,
    /// How many packages are installed in it.
    pub packages: u32,
    /// What is in the initrds.
    pub initrds: Vec<InitrdReport>,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// Whether another attempt could end better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Blame {
    /// The build's own fault: it would fail anywhere.
    Build,
    /// The node's fault.
    Node,
}

/// Why an attempt ended badly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Where.
    pub stage: Stage,
    /// What went wrong.
    pub cause: String,
    /// What to do next; may be empty.
    pub hint: String,
    /// Whose fault.
    pub blame: Blame,
    /// The log's last lines.
    pub last_lines: Vec<String>,
}

/// Now, in milliseconds since 1970.
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// The way to the agent, shared by everything in the worker that has something to say.
pub struct Reporter {
    out: Mutex<Box<dyn Write + Send>>,
}

impl fmt::Debug for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reporter")
    }
}

impl Reporter {
    /// Reports go to `out`.
    pub fn new(out: impl Write + Send + 'static) -> Self {
        Self { out: Mutex::new(Box::new(out)) }
    }

    /// Sends one report. That nobody listens any more is for pid 1 to notice.
    pub fn send(&self, report: &Report) {
        let Ok(mut bytes) = serde_json::to_vec(report) else { return };
        bytes.push(b'\n');
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        // See above: pid 1 watches whether the agent is still there.
        let _ = out.write_all(&bytes).and_then(|()| out.flush());
    }
}

/// The log of one stage. May be written to by several threads.
#[derive(Debug)]
pub struct StageLog<'a> {
    stage: Stage,
    reporter: &'a Reporter,
    last: Mutex<VecDeque<String>>,
    moved: Mutex<Option<Instant>>,
}

impl<'a> StageLog<'a> {
    /// The log of `stage`.
    pub fn new(stage: Stage, reporter: &'a Reporter) -> Self {
        Self { stage, reporter, last: Mutex::default(), moved: Mutex::default() }
    }

    /// Says something.
    pub fn say(&self, text: impl Into<String>) {
        let text = text.into();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.len() == LAST_LINES {
            last.pop_front();
        }
        last.push_back(text.clone());
        // Sent under the lock, so that the last lines are in the order of the log.
        self.reporter.send(&Report::Line(Line { time_ms: now_ms(), stage: self.stage, text }));
    }

    /// Something moves, though nothing is said. Cheap, so it may be told for every byte.
    pub fn moves(&self) {
        let mut moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        if moved.is_none_or(|moved| moved.elapsed() >= PULSE) {
            *moved = Some(Instant::now());
            self.reporter.send(&Report::Progress);
        }
    }

    /// Runs a command, its command line and output going to the log.
    pub fn run(&self, cmd: &Cmd) -> Result<Vec<String>, CmdError> {
        self.run_heard(cmd, &mut |_| {})
    }

    /// The same, with every line told to `hear` as well: the last ones alone may not hold what matters.
    pub fn run_heard(&self, cmd: &Cmd, hear: &mut dyn FnMut(&str)) -> Result<Vec<String>, CmdError> {
        self.run_told(cmd, &mut |line| {
            hear(line);
            self.say(line);
        })
    }

    /// The same for one of several programs that run at once: each of its lines begins with a name.
    pub fn run_named(&self, name: &str, cmd: &Cmd) -> Result<Vec<String>, CmdError> {
        self.run_told(cmd, &mut |line| self.say(format!("{name}: {line}")))
    }

    fn run_told(&self, cmd: &Cmd, tell: &mut dyn FnMut(&str)) -> Result<Vec<String>, CmdError> {
        self.say(format!("+ {}", crate::sys::lines::printable(cmd.line().as_bytes())));
        cmd.run(&mut |output| match output {
            Output::Bytes => self.moves(),
            Output::Line(line) => tell(line),
        })
    }

    /// The last lines that were said.
    pub fn last_lines(&self) -> Vec<String> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn movement_is_told_now_and_then() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let reporter = Reporter::new(writer);
        let log = StageLog::new(Stage::Publish, &reporter);
        (0..1000).for_each(|_| log.moves());
        *log.moved.lock().unwrap() = Instant::now().checked_sub(PULSE);
        log.moves();
        drop(reporter);
        let mut told = String::new();
        std::io::Read::read_to_string(&mut reader, &mut told).unwrap();
        assert!((2..100).contains(&told.matches(r#"{"report":"progress"}"#).count()), "{told}");
    }

    #[test]
    fn reports_survive_the_pipe() {
        let line = Report::Line(Line { time_ms: 7, stage: Stage::Initrd, text: "a\tb".to_owned() });
        let json = serde_json::to_string(&line).unwrap();
        assert_eq!(json, r#"{"report":"line","t":7,"s":"initrd","x":"a\tb"}"#);
        assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), line);
    }
}
