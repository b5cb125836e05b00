//! The daemon against a scripted coordinator: what is said, in which order, across breaks and at its end.
//! Needs root; the attempts that must last use mmdebstrap and the machine's own mirror.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by panicking, and tells whoever runs it by hand"
)]

mod peer;

use std::path::Path;
use std::time::Duration;

use model::id::AttemptId;
use peer::{Heard, Peer, Script};
use proto::v1::event::Event as Wire;
use tokio_util::sync::CancellationToken;

/// What a slow coordinator takes to write a batch of a log.
const SLOW: Duration = Duration::from_millis(500);

/// Fails in `prepare`, at once.
const UNREADABLE: &str = r#"{"version": 99}"#;

fn lasting() -> String {
    let output = std::process::Command::new("apt-get")
        .args(["indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mirror =
        text.lines().find(|line| line.ends_with(" bookworm main")).unwrap().split(' ').next().unwrap().to_owned();
    serde_json::json!({
        "version": model::plan::PLAN_VERSION, "osimage": "lasting", "revision": 1, "osvers": "debian12", "osarch": "x86_64", "arch": "x86_64",
        "profile": "test", "provmethod": "netboot", "rootimgdir": "/nowhere/a", "install_dir": "/nowhere",
        "packages": {"kind": "apt", "suite": "bookworm"},
        "repositories": [{"url": mirror, "suite": "bookworm", "components": ["main"], "trust": {"kind": "distribution"}, "source": "pkgdir"}],
        "other_repositories": [], "passes": [], "other_passes": [], "environment": {}, "kernel": {"kind": "only"},
        "drivers": {}, "postinstall": [], "interfaces": {"boot": null, "others": []}, "script_environment": {},
        "needs_install": [], "attributes": [], "warnings": [],
    })
    .to_string()
}

fn attempt() -> AttemptId {
    agent::journal::parse_attempt("7.2").unwrap()
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).unwrap().next().is_none()
}

#[tokio::test]
async fn nothing_is_lost_or_doubled_when_the_session_breaks() {
    let mut peer = Peer::start(Script {
        plan: UNREADABLE.to_owned(),
        break_after_assign: true,
        break_first_log: true,
        ..Script::default()
    })
    .await;
    let agent = peer.agent(CancellationToken::new());
    let Heard::Hello(first) = peer.next().await else { panic!("hello comes first") };
    assert!(first.running.is_empty() && first.lost.is_empty());
    assert_eq!(first.facts.unwrap().arch, "x86_64");
    let Heard::Hello(second) = peer.next().await else { panic!("the agent comes back") };
    assert_eq!(second.running, [agent::event::reference(attempt())]);
    assert_eq!(second.instance, first.instance);
    let events = peer.events_to_the_last().await;
    assert_eq!(events.iter().map(|event| event.number).collect::<Vec<_>>(), [1, 2, 3]);
    let Some(Wire::Failed(failure)) = &events[2].event else { panic!("{:?}", events[2]) };
    assert!(failure.cause.contains("can't be read"), "{}", failure.cause);
    let log = peer.log();
    assert!(log.iter().any(|line| line.contains("prepare failed")), "{log:?}");
    agent.abort();
}

#[tokio::test]
async fn a_dropped_attempt_leaves_nothing() {
    let mut peer = Peer::start(Script { plan: lasting(), ..Script::default() }).await;
    let agent = peer.agent(CancellationToken::new());
    peer.until_stage("packages").await;
    assert!(!is_empty(&peer.config.scratch()));
    peer.drop_attempt().await;
    let asked = std::time::Instant::now();
    let events = peer.events_to_the_last().await;
    assert!(matches!(events.last().unwrap().event, Some(Wire::Dropped(_))));
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    assert!(is_empty(&peer.config.scratch()));
    peer.settled(|config| is_empty(&config.journal()) && is_empty(&config.spool())).await;
    agent.abort();
}

#[tokio::test]
async fn a_stopped_agent_says_that_its_attempt_is_lost() {
    let mut peer = Peer::start(Script { plan: lasting(), ..Script::default() }).await;
    let shutdown = CancellationToken::new();
    let agent = peer.agent(shutdown.clone());
    peer.until_stage("packages").await;
    let asked = std::time::Instant::now();
    shutdown.cancel();
    let events = peer.events_to_the_last().await;
    let Some(Wire::Lost(lost)) = &events.last().unwrap().event else { panic!("{events:?}") };
    assert_eq!(lost.reason, "the agent was stopped");
    agent.await.unwrap().unwrap();
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    assert!(is_empty(&peer.config.scratch()) && is_empty(&peer.config.journal()));
}

#[tokio::test]
async fn after_a_crash_the_attempt_is_reported_lost_and_cleared_away() {
    let mut peer = Peer::start(Script { plan: lasting(), ..Script::default() }).await;
    let crashed = peer.agent(CancellationToken::new());
    peer.until_stage("packages").await;
    crashed.abort();
    assert!(crashed.await.unwrap_err().is_cancelled());
    let agent = peer.agent(CancellationToken::new());
    let hello = peer.next_hello().await;
    assert!(hello.running.is_empty());
    assert_eq!(hello.lost, [agent::event::reference(attempt())]);
    peer.settled(|config| is_empty(&config.journal()) && is_empty(&config.scratch()) && is_empty(&config.spool()))
        .await;
    agent.abort();
}

/// A file system of its own in a left-over: nothing of it is deleted as long as it is there.
struct Mounted(std::path::PathBuf);

impl Mounted {
    fn new(point: &Path) -> Self {
        std::fs::create_dir_all(point).unwrap();
        let mounted = std::process::Command::new("mount").args(["-t", "tmpfs", "none"]).arg(point).status().unwrap();
        assert!(mounted.success());
        Self(point.to_owned())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        std::process::Command::new("umount").arg(&self.0).status().unwrap();
    }
}

#[tokio::test]
async fn an_agent_connects_before_it_clears_and_builds_after() {
    let mut peer = Peer::start(Script { plan: UNREADABLE.to_owned(), ..Script::default() }).await;
    let left = peer.config.scratch().join("3.1");
    let mounted = Mounted::new(&left.join("out/rootimg/mnt"));
    let agent = peer.agent(CancellationToken::new());
    peer.next_hello().await;
    // Assigned with the welcome, but not begun: two seconds long it tries to clear.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(left.exists() && is_empty(&peer.config.journal()));
    drop(mounted);
    peer.events_to_the_last().await;
    assert!(!left.exists());
    agent.abort();
}

/// Stands in for the worker: an archive of a megabyte and two lines of log, at once.
const SCRIPTED_WORKER: &str = r#"#!/bin/sh
archive=$(sed 's/.*"archive":"\([^"]*\)".*/\1/' "$3")
head -c 1000000 /dev/urandom > "$archive"
digest=$(sha256sum "$archive" | cut -d' ' -f1)
echo '{"report":"stage_started","stage":"publish","time_ms":1}'
echo '{"report":"line","t":1,"s":"publish","x":"one"}'
echo '{"report":"line","t":2,"s":"publish","x":"two"}'
echo '{"report":"stage_ended","stage":"publish","status":"done","time_ms":2}'
echo '{"report":"finished","archive":"'"$archive"'","digest":"sha256:'"$digest"'","bytes":1000000,"kernel_version":"6.1","packages":3,"initrds":[],"warnings":[]}'
"#;

#[tokio::test]
async fn an_agent_without_install_root_uploads_and_starts_again_after_a_break() {
    let mut peer = Peer::start(Script { plan: UNREADABLE.to_owned(), ..Script::default() }).await;
    peer.work_by(SCRIPTED_WORKER);
    let agent = peer.agent(CancellationToken::new());
    let events = peer.events_to_the_last().await;
    let Some(Wire::Published(published)) = &events.last().unwrap().event else { panic!("{events:?}") };
    let uploaded = peer.uploaded();
    assert_eq!((published.bytes, uploaded.len()), (1_000_000, 1_000_000));
    assert_eq!(published.digest, rootfs::digest::Digest::of(&uploaded).to_string());
    // Two of the worker, one for each try of the upload, and how long the last one took.
    assert_eq!((published.log_lines, peer.log().len()), (5, 5));
    peer.settled(|config| is_empty(&config.journal()) && is_empty(&config.spool()) && is_empty(&config.scratch()))
        .await;
    agent.abort();
}

/// Two lines of log, and then nothing for long.
const TALKATIVE_WORKER: &str = r#"#!/bin/sh
echo '{"report":"line","t":1,"s":"packages","x":"one"}'
echo '{"report":"line","t":2,"s":"packages","x":"two"}'
echo '{"report":"stage_started","stage":"packages","time_ms":1}'
exec sleep 1000
"#;

#[tokio::test]
async fn the_log_arrives_before_the_last_event_of_a_stopped_agent() {
    let script = Script { plan: UNREADABLE.to_owned(), slow_log: SLOW, ..Script::default() };
    let mut peer = Peer::start(script).await;
    peer.work_by(TALKATIVE_WORKER);
    let shutdown = CancellationToken::new();
    let agent = peer.agent(shutdown.clone());
    peer.until_stage("packages").await;
    shutdown.cancel();
    let events = peer.events_to_the_last().await;
    assert!(matches!(events.last().unwrap().event, Some(Wire::Lost(_))), "{events:?}");
    assert_eq!(peer.log_at_last_event(), 2);
    agent.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_log_that_an_earlier_run_left_arrives_before_the_last_event() {
    use agent::worker::report::Line;
    let mut peer = Peer::start(Script { slow_log: SLOW, ..Script::default() }).await;
    let folder = agent::spool::folder(&peer.config.spool(), attempt());
    agent::spool::make(&folder).unwrap();
    let (mut log, _extent) = agent::spool::LogWriter::create(&agent::spool::log(&folder)).unwrap();
    let stage = model::stage::Stage::Packages;
    log.append(&Line { time_ms: 1, stage, text: "the end of it".to_owned() }).unwrap();
    let mut entry = agent::journal::Entry::new(attempt(), "compute".to_owned());
    entry.record(agent::event::What::Lost { reason: "the agent was stopped".to_owned() });
    agent::journal::Journal::open(&peer.config.journal()).unwrap().write(&entry).unwrap();
    let agent = peer.agent(CancellationToken::new());
    assert_eq!(peer.events_to_the_last().await.len(), 1);
    assert_eq!(peer.log_at_last_event(), 1);
    peer.settled(|config| is_empty(&config.journal()) && is_empty(&config.spool())).await;
    agent.abort();
}

#[tokio::test]
async fn a_coordinator_that_can_not_give_the_plan_is_not_asked_for_ever() {
    let mut peer = Peer::start(Script { no_plan: true, ..Script::default() }).await;
    let agent = peer.agent(CancellationToken::new());
    let events = peer.events_to_the_last().await;
    let Some(Wire::Lost(lost)) = &events.last().unwrap().event else { panic!("{events:?}") };
    assert_eq!(lost.reason, "the coordinator fails over the plan again and again: internal error, request 5");
    agent.abort();
}
