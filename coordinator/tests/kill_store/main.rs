//! Kill -9 against the store, through its own interface: a process writes and says on a pipe what was acknowledged
//! to it, is killed at some moment, and a fresh process looks whether all of that is there and whole.
//!
//! A quarter of the kills come within the first 15 ms, that is while the store is made, opened or recovered. The
//! seed is printed; `IMGCTL_KILL_SEED` repeats a run, `IMGCTL_KILL_ROUNDS` makes it longer.
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test, all of it")]

mod dice;
mod records;
#[path = "../sample/mod.rs"]
mod sample;
mod verifier;
mod writer;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use dice::Dice;
use records::Expected;

/// Where a child finds the folder to work in: the store, and what is expected of it.
const FOLDER: &str = "IMGCTL_KILL_FOLDER";
const ROUNDS: u64 = 200;
/// Every so many rounds the store is a new one, so that kills meet its creation too.
const ROUNDS_OF_A_STORE: u64 = 20;
/// A process that has said nothing for so long never will.
const HANGS: Duration = Duration::from_secs(120);

#[test]
fn what_was_acknowledged_survives_kills_at_any_moment() {
    let asked = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let (seed, rounds) = (asked("IMGCTL_KILL_SEED").unwrap_or_else(Dice::seed), asked("IMGCTL_KILL_ROUNDS"));
    eprintln!("IMGCTL_KILL_SEED={seed}");
    let mut dice = Dice::new(seed);
    let mut folder = tempfile::tempdir().unwrap();
    let (mut expected, mut acknowledged, mut before_any) = (Expected::default(), 0, 0);
    for round in 0..rounds.unwrap_or(ROUNDS) {
        if round.is_multiple_of(ROUNDS_OF_A_STORE) {
            folder = tempfile::tempdir().unwrap();
            expected = Expected::default();
        }
        let acks = write_and_kill(folder.path(), round, &mut dice);
        acknowledged += acks.len();
        before_any += usize::from(acks.is_empty());
        acks.iter().for_each(|ack| expected.hear(ack));
        expected.save(folder.path());
        if let Err(found) = verify(folder.path()) {
            panic!("seed {seed}, round {round}:\n{found}");
        }
    }
    eprintln!("{acknowledged} commits acknowledged, {before_any} rounds killed before the first of them");
    // Three quarters of the rounds wait for an acknowledgement before they kill.
    assert!(acknowledged > 0, "nothing was written, so nothing was tried");
}

/// Runs a writer until it is killed; returns what was acknowledged to it.
fn write_and_kill(folder: &Path, round: u64, dice: &mut Dice) -> Vec<String> {
    let mut child = child("the_writer", folder).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).split(b'\n');
    let (sender, first) = mpsc::channel();
    // Read all the time, or the writer would stand still with a full pipe.
    let reader = thread::spawn(move || {
        let mut acks = Vec::new();
        for line in lines.map_while(Result::ok) {
            if let Some(ack) = String::from_utf8_lossy(&line).strip_prefix("ack ") {
                acks.push(ack.to_owned());
                // Only the first is waited for, if any.
                let _ = sender.send(());
            }
        }
        acks
    });
    if round.is_multiple_of(4) {
        thread::sleep(Duration::from_micros(dice.below(15_000)));
    } else {
        let heard = first.recv_timeout(HANGS);
        thread::sleep(Duration::from_micros(dice.below(60_000)));
        // An early end is a panic of the writer: it says why on stderr.
        assert!(heard.is_ok(), "the writer of round {round} acknowledged nothing");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap()
}

fn verify(folder: &Path) -> Result<(), String> {
    let output = child("the_verifier", folder).output().unwrap();
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
}

/// This program once more, as one of the two below.
fn child(role: &str, folder: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", role, "--ignored", "--nocapture"]).env(FOLDER, folder).stdin(Stdio::null());
    command
}

#[test]
#[ignore = "the process that is killed; it is started by the other test"]
fn the_writer() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        writer::write(Path::new(&folder));
    }
}

#[test]
#[ignore = "the process that looks after the kill; it is started by the other test"]
fn the_verifier() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let folder = Path::new(&folder);
    let found = verifier::problems(folder, &Expected::load(folder));
    assert!(found.is_empty(), "{}", found.join("\n"));
}
