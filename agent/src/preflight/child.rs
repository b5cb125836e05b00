//! The child that looks at the install root: `imgctl-agent preflight` in a mount namespace of its own. The question comes
//! on its standard input and the answer goes to its standard output, each one line of JSON.

use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Child;

use super::conditions::{INSTALL_NO_ANSWER, INSTALL_NOT_LOOKED_AT};
use super::{Question, Seen, look};
use crate::sys::mount::{holding, table};
use crate::sys::unshare::unshared;

/// How long the install root may take to answer. A server that is only busy needs less, and so does a first mount.
pub const ANSWERS: Duration = Duration::from_secs(20);
/// An answer is a few conditions long.
const LONGEST: u64 = 64 << 10;

/// Asks a child of `program` (the agent's own executable). One that doesn't answer in time is killed, and is given
/// back if it is still there: it may hang in the kernel, and nobody should wait for it who has something else to do.
pub async fn ask(program: &Path, question: &Question, limit: Duration) -> (Seen, Option<Child>) {
    let mut child = match start(program) {
        Ok(child) => child,
        Err(error) => return (not_looked_at(&format!("cannot start `unshare`: {error}")), None),
    };
    let mut group = Group(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw));
    match tokio::time::timeout(limit, answer(&mut child, question)).await {
        Ok(Ok(seen)) => {
            // It has ended, and its number may be another's.
            group.0 = None;
            (seen, None)
        }
        Ok(Err(error)) => (not_looked_at(&error.to_string()), None),
        Err(_) => {
            let whence = whence(question).map_or_else(String::new, |source| format!(" ({source})"));
            let detail =
                format!("`{}`{whence} gave no answer within {} s", question.install_dir.display(), limit.as_secs());
            (Seen::nothing(vec![INSTALL_NO_ANSWER.found(detail)]), Some(child))
        }
    }
}

/// What lies at the install root, as far as that can be told without touching it: what the node has mounted there, else what
/// was to be mounted.
fn whence(question: &Question) -> Option<String> {
    let table = table().unwrap_or_default();
    let there = holding(&table, &question.install_dir).filter(|mount| mount.kind.starts_with("nfs"));
    there.map(|mount| mount.source.clone()).or_else(|| question.export.as_ref().map(|export| export.source.clone()))
}

/// All that a child started, `mount` and its helper too: ended with this, also where nobody waits for it any more.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // All of it may have gone in this moment.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

fn not_looked_at(why: &str) -> Seen {
    Seen::nothing(vec![INSTALL_NOT_LOOKED_AT.found(why)])
}

fn start(program: &Path) -> io::Result<Child> {
    unshared(&[], program).arg("preflight").spawn()
}

async fn answer(child: &mut Child, question: &Question) -> io::Result<Seen> {
    let missing = || io::Error::other("no pipe");
    let mut stdin = child.stdin.take().ok_or_else(missing)?;
    let stdout = child.stdout.take().ok_or_else(missing)?;
    let stderr = child.stderr.take().ok_or_else(missing)?;
    // A child that ends before it has read all says why by its answer, or has none.
    let _ = stdin.write_all(&serde_json::to_vec(question)?).await;
    drop(stdin);
    let (mut text, mut words) = (Vec::new(), Vec::new());
    let (mut stdout, mut stderr) = (stdout.take(LONGEST), stderr.take(LONGEST));
    tokio::try_join!(stdout.read_to_end(&mut text), stderr.read_to_end(&mut words))?;
    let ended = child.wait().await?;
    serde_json::from_slice(&text).map_err(|error| {
        let words = String::from_utf8_lossy(&words);
        let why = words.lines().last().map_or_else(|| error.to_string(), |line| line.trim().to_owned());
        io::Error::other(format!("the child that looks ended with {ended}: {why}"))
    })
}

/// The child itself: `imgctl-agent preflight`.
#[expect(clippy::print_stdout, reason = "the answer goes to the agent by standard output")]
pub fn run() -> ExitCode {
    let said = serde_json::from_reader(io::stdin().lock()).map_err(io::Error::other);
    let answered =
        said.and_then(|question: Question| serde_json::to_string(&look::look(&question)).map_err(Into::into));
    match answered {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            tracing::error!("`preflight` is started by the agent itself, and is no command for people: {error}");
            ExitCode::from(2)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::config::Install;

    fn question(folder: &Path) -> Question {
        let (install_dir, mount_point) = (folder.to_owned(), folder.to_owned());
        Question { install: Install::Auto, install_dir, export: None, mount_point, proof: None }
    }

    async fn asked_of(script: &str, limit: Duration) -> (Seen, Option<Child>) {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("program");
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
        ask(&program, &question(folder.path()), limit).await
    }

    #[tokio::test]
    async fn a_child_that_hangs_is_given_up_with_all_that_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let pid = folder.path().join("pid");
        let script = format!("sleep 1000 & echo $! >{0}.new; mv {0}.new {0}; wait", pid.display());
        let (seen, child) = asked_of(&script, Duration::from_secs(3)).await;
        assert_eq!(seen.conditions[0].name, "install-no-answer");
        child.unwrap().wait().await.unwrap();
        let pid = fs::read_to_string(pid).unwrap();
        let status = || fs::read_to_string(format!("/proc/{}/status", pid.trim())).unwrap_or_default();
        for _ in 0..100 {
            if status().is_empty() || status().contains("\nState:\tZ") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("what the child started is still there: {}", status());
    }

    #[tokio::test]
    async fn a_child_that_says_nothing_useful_is_no_answer() {
        let (seen, child) = asked_of("echo what?; echo no memory >&2; exit 3", Duration::from_secs(20)).await;
        assert_eq!(seen.conditions[0].name, "install-not-looked-at");
        let detail = &seen.conditions[0].detail;
        assert!(child.is_none() && detail.contains("exit status: 3") && detail.contains("no memory"), "{seen:?}");
    }
}
