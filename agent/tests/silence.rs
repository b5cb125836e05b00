//! The clock that ends an attempt whose worker says nothing: with a worker of the real recipe, and with an upload that
//! stands still. Needs root, mmdebstrap and the machine's own mirror.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod peer;
mod site;

use agent::config::Install;
use peer::{Peer, Script, silence};
use proto::v1;
use proto::v1::event::Event as Wire;
use site::{Scripts, Site, processes};
use tokio_util::sync::CancellationToken;

/// Runs the site's build up to its last event.
async fn built(site: &Site, limits: Vec<v1::StageSilence>) -> (Peer, Vec<v1::Event>) {
    let mut peer = Peer::start(Script { plan: site.plan(), silence: limits, ..Script::default() }).await;
    (peer.config.install_dir, peer.config.install) = (site.install(), Install::Local);
    let agent = peer.agent(CancellationToken::new());
    let events = peer.events_to_the_last().await;
    agent.abort();
    (peer, events)
}

#[tokio::test]
async fn a_script_that_sleeps_for_ever_is_ended_with_its_last_lines() {
    let mark = "imgctl-silent";
    let postinstall = format!("export IMGCTL_MARK={mark}\necho one\nprintf 'Proceed? '\nsleep 100000");
    let site = Site::new(Scripts { postinstall, ..Scripts::default() });
    let (peer, events) = built(&site, vec![silence("postinstall", 2), silence("packages", 0)]).await;
    let Some(Wire::Failed(failure)) = &events.last().unwrap().event else { panic!("{events:?}") };
    assert_eq!(failure.stage, "postinstall");
    assert!(failure.cause.starts_with("no output for 2 s in postinstall; the last command was `"), "{failure:?}");
    assert!(failure.cause.contains("/work/postinstall/post.sh "), "{failure:?}");
    assert_eq!(failure.last_lines.last().unwrap(), "one");
    let log = peer.log();
    let warning = "no output for 1 s in postinstall; the attempt is ended after 2 s of it";
    assert_eq!(log.iter().filter(|line| *line == warning).count(), 1, "{log:?}");
    assert!(log.iter().any(|line| *line == format!("postinstall failed: {}", failure.cause)), "{log:?}");
    let ended = events.iter().rev().nth(1).unwrap().event.clone().unwrap();
    assert_eq!(ended, Wire::StageEnded(v1::StageEnded { stage: "postinstall".into(), status: "failed".into() }));
    assert!(processes(mark).is_empty());
}

#[tokio::test]
async fn a_dot_now_and_then_is_a_sign_of_life() {
    let postinstall = "for i in 1 2 3 4 5 6 7 8; do printf .; sleep 1; done; echo; echo done with the dots";
    let site = Site::new(Scripts { postinstall: postinstall.to_owned(), ..Scripts::default() });
    let (peer, events) = built(&site, vec![silence("postinstall", 4)]).await;
    assert!(matches!(events.last().unwrap().event, Some(Wire::Published(_))), "{:?}", events.last());
    assert!(peer.log().iter().any(|line| line == "done with the dots"));
}

/// Stands in for the worker: an archive at once.
const QUICK_WORKER: &str = r#"#!/bin/sh
archive=$(sed 's/.*"archive":"\([^"]*\)".*/\1/' "$3")
head -c 30000000 /dev/zero > "$archive"
digest=$(sha256sum "$archive" | cut -d' ' -f1)
echo '{"report":"finished","archive":"'"$archive"'","digest":"sha256:'"$digest"'","bytes":30000000,"kernel_version":"6.1","packages":3,"initrds":[],"warnings":[]}'
"#;

#[tokio::test]
async fn an_upload_that_stands_still_fails() {
    let limits = vec![silence("publish", 2)];
    let script = Script { plan: "{}".to_owned(), silence: limits, takes_no_archive: true, ..Script::default() };
    let mut peer = Peer::start(script).await;
    peer.work_by(QUICK_WORKER);
    let agent = peer.agent(CancellationToken::new());
    let events = peer.events_to_the_last().await;
    let Some(Wire::Failed(failure)) = &events.last().unwrap().event else { panic!("{events:?}") };
    assert_eq!(failure.stage, "publish");
    assert_eq!(failure.cause, "the coordinator has taken nothing of the archive for 2 s");
    agent.abort();
}
