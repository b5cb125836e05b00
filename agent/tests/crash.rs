//! The agent as a process that is killed or stopped in the middle of an attempt: what is left of it, and what the next
//! run finds. Needs root, mmdebstrap and the machine's own mirror.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod peer;
mod site;

use std::time::{Duration, Instant};

use agent::config::Install;
use peer::{Peer, Process, Script};
use proto::v1::event::Event as Wire;
use rustix::process::Signal;
use site::{Scripts, Site, hostile, processes};

/// The last process of a killed agent's worker takes a moment; this is for one that stays.
const GONE: Duration = Duration::from_secs(30);

/// An agent in the middle of a script that will not go.
async fn in_a_hostile_script(mark: &str) -> (Site, Peer, Process) {
    let site = Site::new(Scripts { postinstall: hostile(mark, "$1/mnt"), ..Scripts::default() });
    let mut peer = Peer::start(Script { plan: site.plan(), ..Script::default() }).await;
    (peer.config.install_dir, peer.config.install) = (site.install(), Install::Local);
    let agent = peer.process();
    peer.until_stage("postinstall").await;
    peer.settled(|_| peer.log().iter().any(|line| line == "hostile and ready")).await;
    assert!(processes(mark).len() > 3);
    (site, peer, agent)
}

/// Neither the scripts nor the worker are there any more.
async fn all_gone(mark: &str, peer: &Peer) {
    let order = peer.config.spool().join("7.2/order.json");
    let since = Instant::now();
    loop {
        let left = [processes(mark), processes(order.to_str().unwrap())].concat();
        if left.is_empty() {
            return;
        }
        assert!(since.elapsed() < GONE, "{left:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn nothing_left(config: &agent::config::Config) -> bool {
    let folders = [config.scratch(), config.spool(), config.journal()];
    folders.iter().all(|folder| std::fs::read_dir(folder).unwrap().next().is_none())
}

#[tokio::test]
async fn with_a_killed_agent_goes_all_that_it_had_started() {
    let mark = "imgctl-crash-killed";
    let (_site, mut peer, mut agent) = in_a_hostile_script(mark).await;
    agent.signal(Signal::KILL);
    agent.ended().await;
    all_gone(mark, &peer).await;
    assert!(!nothing_left(&peer.config));
    let again = peer.process();
    let hello = peer.next_hello().await;
    assert!(hello.running.is_empty());
    assert_eq!(hello.lost, [agent::event::reference(agent::journal::parse_attempt("7.2").unwrap())]);
    peer.settled(nothing_left).await;
    drop(again);
}

#[tokio::test]
async fn a_stopped_agent_reports_its_attempt_and_ends() {
    let mark = "imgctl-crash-stopped";
    let (_site, mut peer, mut agent) = in_a_hostile_script(mark).await;
    agent.signal(Signal::TERM);
    let events = peer.events_to_the_last().await;
    let Some(Wire::Lost(lost)) = &events.last().unwrap().event else { panic!("{:?}", events.last()) };
    assert_eq!(lost.reason, "the agent was stopped");
    assert!(agent.ended().await.success(), "{}", peer.agents_log());
    all_gone(mark, &peer).await;
    // On a slow disk it has no time to clear: then the next run does.
    let again = peer.process();
    peer.settled(nothing_left).await;
    drop(again);
}
