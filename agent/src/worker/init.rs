//! Pid 1 of an attempt's namespaces: mounts their own `/proc`, starts the recipe, takes in orphans, and ends when
//! the recipe does or when the agent is gone. The kernel then kills whatever else runs in the namespace.

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, WaitOptions, getpid, wait};

use super::WorkerError;
use super::report::{Report, Reporter};
use crate::emulation::own;
use crate::sys::mount;

/// Runs as pid 1 until the recipe ends.
pub fn run(order: &Path) -> Result<ExitCode, WorkerError> {
    if !getpid().is_init() {
        return Err(WorkerError::NotANamespace);
    }
    let system = |doing| move |source| WorkerError::System { doing, source };
    // `/proc` is still the node's here, so it tells our number there.
    let own = std::fs::read_link("/proc/self").map_err(system("find the worker's own number"))?;
    let pid = own.to_string_lossy().parse().unwrap_or(0);
    mount::make_private()?;
    mount::own_proc()?;
    Reporter::new(std::io::stdout()).send(&Report::Born { pid });
    std::thread::spawn(end_with_the_agent);
    let child = Command::new(own::program())
        .args(["worker", "--recipe", "--order"])
        .arg(order)
        .stdin(Stdio::null())
        .spawn()
        .map_err(system("start the recipe"))?;
    let child = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    Ok(reap_until(child))
}

/// The agent holds the other end of our input and never writes to it: an end of it means that the agent is gone.
fn end_with_the_agent() {
    let mut input = std::io::stdin().lock();
    let mut byte = [0];
    loop {
        match input.read(&mut byte) {
            Ok(0) => std::process::exit(1),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => std::process::exit(1),
        }
    }
}

fn reap_until(child: Option<Pid>) -> ExitCode {
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if Some(pid) == child => {
                let status = ExitStatus::from_raw(status.as_raw());
                return status
                    .code()
                    .and_then(|code| u8::try_from(code).ok())
                    .map_or(ExitCode::FAILURE, ExitCode::from);
            }
            Ok(_) => {}
            Err(rustix::io::Errno::CHILD) => return ExitCode::FAILURE,
            // Interrupted; anything else must not become a busy loop.
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}
