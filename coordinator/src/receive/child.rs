//! The parent's side of the unpacking process: starts it, watches it, hears its verdict.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use super::verdict::Verdict;

/// How often the child and the flag are looked at: a cancel is felt at once, and an hour of it costs nothing.
const LOOK: Duration = Duration::from_millis(20);

/// Why there is no verdict.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    /// It can't be run.
    #[error("cannot run `{}` to unpack", program.display())]
    Start {
        /// Our own executable, as configured.
        program: OsString,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The caller wanted it ended.
    #[error("unpacking was cancelled")]
    Cancelled,
    /// It was killed: by somebody, or for want of memory.
    #[error("the unpacking process was killed by signal {0}; the kernel's log says if memory ran out")]
    Killed(i32),
    /// It said nothing that can be understood.
    #[error("the unpacking process ended with {status} and without a verdict: {said}")]
    Silent {
        /// How it ended.
        status: String,
        /// The end of what it said.
        said: String,
    },
}

/// Has `command` unpack `archive` into `dest`.
pub(super) fn unpack(
    command: &[OsString],
    archive: File,
    dest: &Path,
    cancel: &AtomicBool,
) -> Result<Verdict, ChildError> {
    let program = command.first().cloned().unwrap_or_default();
    let failed = |source| ChildError::Start { program: program.clone(), source };
    let mut child = Command::new(&program)
        .args(command.get(1..).unwrap_or_default())
        .arg(dest)
        .arg(std::process::id().to_string())
        .env_clear()
        .current_dir("/")
        .process_group(0)
        .stdin(archive)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    while child.try_wait().map_err(failed)?.is_none() {
        if cancel.load(Ordering::Relaxed) {
            kill(&mut child);
            return Err(ChildError::Cancelled);
        }
        std::thread::sleep(LOOK);
    }
    let output = child.wait_with_output().map_err(failed)?;
    verdict(&output)
}

fn kill(child: &mut Child) {
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let Some(group) = group {
        // Gone already is as good; anything else shows in the wait below.
        let _ = kill_process_group(group, Signal::KILL);
    }
    // Only to leave no zombie: how it ended is known.
    let _ = child.wait();
}

fn verdict(output: &Output) -> Result<Verdict, ChildError> {
    let said = String::from_utf8_lossy(&output.stdout);
    let last = said.trim_end().lines().next_back().unwrap_or_default();
    serde_json::from_str(last).map_err(|_| {
        if let Some(signal) = output.status.signal() {
            return ChildError::Killed(signal);
        }
        let stderr = String::from_utf8_lossy(&output.stderr);
        let words = if stderr.trim().is_empty() { last } else { stderr.trim() };
        let skipped = words.chars().count().saturating_sub(400);
        ChildError::Silent { status: output.status.to_string(), said: words.chars().skip(skipped).collect() }
    })
}
