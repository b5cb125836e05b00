//! A cancelled attempt in every stage: the last process goes within seconds, whatever it does against it, and nothing is
//! left on the node. Needs root, mmdebstrap and the machine's own mirror.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by panicking, and tells whoever runs it by hand"
)]

mod peer;
mod site;

use std::path::Path;
use std::time::{Duration, Instant};

use agent::config::{Config, Install};
use peer::{Peer, Script};
use proto::v1::event::Event as Wire;
use site::{Scripts, Site, hostile, processes};
use tokio_util::sync::CancellationToken;

/// Three seconds are what is promised, and a tenth of one is what it takes; a busy machine may need longer.
const GONE: Duration = Duration::from_secs(15);

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn nothing_left(config: &Config) -> bool {
    [config.scratch(), config.spool(), config.journal()].iter().all(|folder| names(folder).is_empty())
}

/// Drops the attempt as soon as it is in `stage` and `ready`, and sees what is left of it.
async fn cancelled_in(stage: &str, scripts: Scripts, mark: &str, ready: impl Fn(&Peer, &Site) -> bool) {
    let site = Site::new(scripts);
    let mut peer = Peer::start(Script { plan: site.plan(), ..Script::default() }).await;
    (peer.config.install_dir, peer.config.install) = (site.install(), Install::Local);
    let agent = peer.agent(CancellationToken::new());
    peer.until_stage(stage).await;
    peer.settled(|_| ready(&peer, &site)).await;
    let found = processes(mark).len();
    let asked = Instant::now();
    peer.drop_attempt().await;
    while !processes(mark).is_empty() {
        assert!(asked.elapsed() < GONE, "{:?}", processes(mark));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    eprintln!("{stage}: the last of {found} processes went after {:?}", asked.elapsed());
    let events = peer.events_to_the_last().await;
    assert!(matches!(events.last().unwrap().event, Some(Wire::Dropped(_))), "{events:?}");
    assert_eq!(names(&peer.config.scratch()), [""; 0]);
    assert_eq!(names(&site.staging()), [""; 0]);
    peer.settled(nothing_left).await;
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    for folder in [peer.config.state_dir.clone(), site.install()] {
        assert!(!mounts.contains(folder.to_str().unwrap()), "{mounts}");
    }
    agent.abort();
}

fn is_hostile(peer: &Peer, _: &Site) -> bool {
    peer.log().iter().any(|line| line.ends_with("hostile and ready"))
}

#[tokio::test]
async fn in_prepare() {
    cancelled_in("prepare", Scripts::default(), "imgctl-cancel-prepare", |_, _| true).await;
}

#[tokio::test]
async fn in_a_package_of_otherpkgs() {
    let mark = "imgctl-cancel-otherpkgs";
    let scripts = Scripts { postinst: hostile(mark, "/mnt"), ..Scripts::default() };
    cancelled_in("otherpkgs", scripts, mark, is_hostile).await;
}

#[tokio::test]
async fn in_postinstall() {
    let mark = "imgctl-cancel-postinstall";
    let scripts = Scripts { postinstall: hostile(mark, "$1/mnt"), ..Scripts::default() };
    cancelled_in("postinstall", scripts, mark, is_hostile).await;
}

#[tokio::test]
async fn in_initrd() {
    let mark = "imgctl-cancel-initrd";
    let scripts = Scripts { dracut: hostile(mark, "/mnt"), ..Scripts::default() };
    cancelled_in("initrd", scripts, mark, is_hostile).await;
}

#[tokio::test]
async fn in_publish() {
    let mark = "imgctl-cancel-publish";
    // What its postinstall left running on the node, and an archive that takes a while.
    let postinstall = format!(
        "(\n{}) >/dev/null 2>&1 &\nhead -c 600000000 /dev/urandom > $1/opt/large",
        hostile(mark, "/mnt").replace("mount -t tmpfs none /mnt", ":")
    );
    let scripts = Scripts { postinstall, ..Scripts::default() };
    cancelled_in("publish", scripts, mark, |_, site| {
        std::fs::metadata(site.staging().join("7.2.tar.zst")).is_ok_and(|archive| archive.len() > 0)
    })
    .await;
}
