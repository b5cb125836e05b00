//! What is mounted in the tree of an attempt is not the attempt's: it survives, and what can't be cleared is told.
//! Needs root.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod peer;
mod site;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use agent::config::Install;
use peer::{Peer, Script};
use proto::v1::event::Event as Wire;
use site::{Scripts, Site, processes};

/// A folder that must outlive everything.
struct Precious(tempfile::TempDir);

impl Precious {
    fn new() -> Self {
        let folder = tempfile::tempdir_in("/var/tmp").unwrap();
        fs::create_dir_all(folder.path().join("deep/er")).unwrap();
        fs::write(folder.path().join("deep/er/file"), "precious").unwrap();
        Self(folder)
    }

    fn path(&self) -> &str {
        self.0.path().to_str().unwrap()
    }

    fn is_whole(&self) -> bool {
        fs::read_to_string(self.0.path().join("deep/er/file")).is_ok_and(|text| text == "precious")
    }
}

/// A bind mount on the node itself, outside of every worker.
struct Bound(PathBuf);

impl Bound {
    fn new(precious: &Precious, point: PathBuf) -> Self {
        assert!(Command::new("mount").args(["--bind", precious.path()]).arg(&point).status().unwrap().success());
        Self(point)
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        Command::new("umount").arg(&self.0).status().unwrap();
    }
}

/// Stands in for the worker, in the namespaces of one: binds a precious folder into its tree, and goes on so.
fn binding(precious: &Precious, then: &str) -> String {
    format!(
        r#"#!/bin/sh
tree=$(sed 's/.*"scratch":"\([^"]*\)".*/\1/' "$3")/out/rootimg
mkdir -p "$tree/mnt" "$tree/outside"
mount --bind {} "$tree/mnt" && test -f "$tree/mnt/deep/er/file" || exit 1
echo '{{"report":"stage_started","stage":"postinstall","time_ms":1}}'
{then}
"#,
        precious.path()
    )
}

const FAILS: &str =
    r#"echo '{"report":"failed","stage":"postinstall","cause":"x","hint":"","blame":"build","last_lines":[]}'"#;

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).unwrap().next().is_none()
}

#[tokio::test]
async fn what_a_worker_has_mounted_survives_its_failure() {
    let precious = Precious::new();
    let mut peer = Peer::start(Script { plan: "{}".to_owned(), ..Script::default() }).await;
    peer.work_by(&binding(&precious, FAILS));
    let _agent = peer.process();
    let events = peer.events_to_the_last().await;
    assert!(matches!(events.last().unwrap().event, Some(Wire::Failed(_))), "{events:?}");
    peer.settled(|config| is_empty(&config.scratch()) && is_empty(&config.journal())).await;
    assert!(precious.is_whole());
}

#[tokio::test]
async fn what_is_mounted_on_the_node_survives_a_cancelled_attempt_and_is_told() {
    let precious = Precious::new();
    let mut peer = Peer::start(Script { plan: "{}".to_owned(), ..Script::default() }).await;
    peer.work_by(&binding(&precious, "exec sleep 1000"));
    let agent = peer.process();
    peer.until_stage("postinstall").await;
    let tree = peer.config.scratch().join("7.2/out/rootimg");
    let bound = Bound::new(&precious, tree.join("outside"));
    peer.drop_attempt().await;
    let events = peer.events_to_the_last().await;
    assert!(matches!(events.last().unwrap().event, Some(Wire::Dropped(_))), "{events:?}");
    assert!(precious.is_whole() && bound.0.join("deep/er/file").exists());
    let told = format!("will not remove `{}`", peer.config.scratch().join("7.2").display());
    let log = peer.agents_log();
    assert!(log.contains(&told) && log.contains(&format!("mounted at or below it: `{}`", bound.0.display())), "{log}");
    // Once nothing is in the way, the next run clears it.
    drop(agent);
    drop(bound);
    let _again = peer.process();
    peer.settled(|config| is_empty(&config.scratch())).await;
    assert!(precious.is_whole());
}

#[tokio::test]
async fn what_a_postinstall_has_mounted_survives_the_attempt() {
    let (precious, mark) = (Precious::new(), "imgctl-precious");
    let postinstall = format!(
        "export IMGCTL_MARK={mark}\nset -e\nmount --bind {0} $1/mnt\nmkdir $1/two; mount --rbind {0} $1/two\n\
         sleep 1000 >/dev/null 2>&1 &\ntest -f $1/two/deep/er/file\necho bound\nexit 1",
        precious.path()
    );
    let site = Site::new(Scripts { postinstall, ..Scripts::default() });
    let mut peer = Peer::start(Script { plan: site.plan(), ..Script::default() }).await;
    (peer.config.install_dir, peer.config.install) = (site.install(), Install::Local);
    let _agent = peer.process();
    let events = peer.events_to_the_last().await;
    let Some(Wire::Failed(failure)) = &events.last().unwrap().event else { panic!("{events:?}") };
    assert_eq!(failure.last_lines.iter().filter(|line| *line == "bound").count(), 1, "{failure:?}");
    peer.settled(|config| is_empty(&config.scratch()) && is_empty(&config.journal())).await;
    assert!(precious.is_whole() && processes(mark).is_empty());
}
