//! Daemons as child processes: started, watched, ended by pid.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::wait::eventually;

/// How long a daemon may take to end after it was asked to.
const PATIENCE: Duration = Duration::from_secs(45);

/// The path of one of the workspace's programs, beside the test's own executable.
pub fn binary(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("a test knows its own executable");
    let folder = own.parent().and_then(Path::parent).expect("tests lie in target/<profile>/deps");
    let path = folder.join(name);
    assert!(path.exists(), "{} is not built; `make test` builds it first", path.display());
    path
}

/// A running daemon.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts `command` with its standard error appended to `log` and its output in `<log>.out`.
    pub fn start(mut command: Command, log: &Path) -> Self {
        let appending = File::options().append(true).create(true).open(log).expect("the log can be made");
        let out = File::create(log.with_extension("out")).expect("the output can be made");
        command.stdin(Stdio::null()).stdout(out).stderr(appending);
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        Self { child, log: log.to_owned() }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().expect("a pid fits")).expect("a pid is not 0");
        // It may have ended by itself.
        let _ = kill_process(pid, signal);
    }

    /// What it printed.
    pub fn output(&self) -> String {
        fs::read_to_string(self.log.with_extension("out")).unwrap_or_default()
    }

    /// What it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Its exit status, if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the child is ours")
    }

    /// Asks it to end and waits until it has.
    pub fn stop(&mut self) {
        self.signal(Signal::TERM);
        eventually("the daemon to end", PATIENCE, || self.ended());
    }

    /// Kills it on the spot.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.child.wait().expect("the child is ours");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.ended().is_none() {
            self.signal(Signal::TERM);
            let deadline = std::time::Instant::now() + PATIENCE;
            while self.ended().is_none() && std::time::Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(20));
            }
            self.signal(Signal::KILL);
            // Nothing can be done about one that is gone already.
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(40).collect();
            eprintln!("--- {}", self.log.display());
            for line in tail.iter().rev() {
                eprintln!("{line}");
            }
        }
    }
}
