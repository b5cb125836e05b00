//! A worker that says more than anybody wants to hear: its log arrives whole, and neither the agent nor the worker
//! grows with it; where the disk is too small for it, the attempt is lost and the agent lives on. Needs root,
//! mmdebstrap and the machine's own mirror.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by panicking, and tells whoever runs it by hand"
)]

mod peer;
mod site;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use agent::config::Install;
use peer::{Peer, Script};
use proto::v1::event::Event as Wire;
use site::{Scripts, Site, processes};
use tokio_util::sync::CancellationToken;

/// In KiB. Either takes some 20 MiB, and 80 MiB of log go through both.
const BOUND: u64 = 200 << 10;

const LINES: usize = 1_000_000;

/// A million lines, lines of a megabyte, bytes of all kinds, and a line that doesn't end.
const FLOOD: &str = "seq 1000000
for i in 1 2 3 4 5; do head -c 1000000 /dev/zero | tr '\\0' x; echo; done
i=0; while test $i -lt 256; do printf \"\\\\$(printf %03o $i)\"; i=$((i+1)); done; echo
head -c 30000000 /dev/zero | tr '\\0' y
";

/// The most that a process has held so far, in KiB.
fn peak(pid: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or_default()
}

#[tokio::test]
async fn a_million_lines_arrive_whole_and_nobody_grows() {
    let site = Site::new(Scripts { postinstall: FLOOD.to_owned(), ..Scripts::default() });
    let slow_log = Duration::from_millis(2);
    let mut peer = Peer::start(Script { plan: site.plan(), slow_log, ..Script::default() }).await;
    (peer.config.install_dir, peer.config.install) = (site.install(), Install::Local);
    let agent = peer.process();
    let (order, pid) = (peer.config.spool().join("7.2/order.json"), agent.id().to_string());
    let watched = tokio::spawn(async move {
        let (mut agents, mut workers) = (0, 0);
        loop {
            agents = peak(&pid).max(agents);
            workers = processes(order.to_str().unwrap()).iter().map(|pid| peak(pid)).max().unwrap_or(0).max(workers);
            if agents > 0 && !Path::new(&format!("/proc/{pid}/exe")).exists() {
                return (agents, workers);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });
    let events = peer.events_to_the_last().await;
    let Some(Wire::Published(published)) = &events.last().unwrap().event else { panic!("{:?}", events.last()) };
    drop(agent);
    let (agents, workers) = watched.await.unwrap();
    eprintln!("the agent held {} MiB at most, the worker {} MiB", agents >> 10, workers >> 10);
    assert!(agents > 0 && agents < BOUND && workers > 0 && workers < BOUND, "{agents} {workers}");

    let log = peer.log();
    assert_eq!(log.len() as u64, published.log_lines);
    let first = log.iter().position(|line| line == "1").unwrap();
    let numbers = log[first..first + LINES].iter().zip(1..);
    numbers.for_each(|(line, number)| assert_eq!(*line, number.to_string()));
    let rest = &log[first + LINES..];
    // However a long line was cut, all of it is there.
    let made_of = |c: char| -> usize {
        let parts = rest.iter().map(|line| line.trim_start_matches("… "));
        parts.filter(|line| line.chars().all(|found| found == c)).map(str::len).sum()
    };
    assert_eq!((made_of('x'), made_of('y')), (5_000_000, 30_000_000));
    assert!(
        rest.iter().any(|line| line.starts_with("\\x00\\x01")) && rest.iter().any(|line| line.ends_with("\\xfe\\xff"))
    );
}

/// A file system of its own, too small for what is to come.
struct Small(PathBuf);

impl Small {
    fn new(point: PathBuf) -> Self {
        fs::create_dir_all(&point).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m", "none"]).arg(&point).status();
        assert!(mounted.unwrap().success());
        Self(point)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        Command::new("umount").arg("--lazy").arg(&self.0).status().unwrap();
    }
}

/// Says one line over and over.
const ENDLESS_WORKER: &str = r#"#!/bin/sh
echo '{"report":"stage_started","stage":"packages","time_ms":1}'
exec yes '{"report":"line","t":1,"s":"packages","x":"and again"}'
"#;

#[tokio::test]
async fn a_spool_without_room_loses_the_attempt_and_not_the_agent() {
    let mut peer = Peer::start(Script { plan: "{}".to_owned(), ..Script::default() }).await;
    peer.work_by(ENDLESS_WORKER);
    let _small = Small::new(peer.config.spool());
    let agent = peer.agent(CancellationToken::new());
    let events = peer.events_to_the_last().await;
    let Some(Wire::Lost(lost)) = &events.last().unwrap().event else { panic!("{:?}", events.last()) };
    let reason = "cannot write the attempt's log to the spool; see that its disk has room: No space left on device";
    assert!(lost.reason.starts_with(reason), "{}", lost.reason);
    // What had room arrived, and the room is given back.
    assert!(peer.log().len() > 10_000 && peer.log().iter().all(|line| line == "and again"), "{}", peer.log().len());
    peer.settled(|config| fs::read_dir(config.spool()).unwrap().next().is_none()).await;
    peer.drop_attempt().await;
    let answer = peer.events_to_the_last().await;
    assert!(matches!(answer.last().unwrap().event, Some(Wire::Dropped(_))), "{answer:?}");
    agent.abort();
}
