//! Agents that are drained, given work again, and removed.

use std::time::Duration;

use serde_json::Value;
use tests::{Site, SiteOptions, eventually, text};

use super::images::BOOTABLE;

const LONG: Duration = Duration::from_secs(600);

fn agent(site: &Site, name: &str) -> Option<Value> {
    site.cli.json("agents list").as_array()?.iter().find(|agent| text(agent, "name") == name).cloned()
}

fn build(site: &Site, id: u32) -> Value {
    site.cli.json(&format!("builds show {id}"))
}

fn until_doing(site: &Site, name: &str, doing: &str) {
    eventually("the agent to be at work", LONG, || {
        (agent(site, name)?["work"][0]["doing"].as_str()? == doing).then_some(())
    });
}

#[test]
fn a_drained_agent_ends_what_it_has_and_gets_nothing_new() {
    let mut site = Site::start();
    site.agent("n1");
    site.osimage("a", BOOTABLE, &[]);
    site.osimage("b", BOOTABLE, &[]);
    site.cli.ok("build a --detach");
    until_doing(&site, "n1", "packages");
    let listed = site.cli.ok("agents list");
    assert!(listed.contains("1.1 a: packages") && listed.contains("1/1") && listed.contains("ago"), "{listed}");

    site.cli.run("agents drain n1 --reason repair").succeeded().says("ends what it has in hand: 1.1 a: packages");
    site.cli.run("agents drain n9").exited(3).says("no agent `n9`");
    assert!(site.cli.ok("agents list").contains("draining by admin (repair)"), "it still has the build");
    site.cli.ok("build b --detach");
    eventually("the first build to end", LONG, || (build(&site, 1)["state"]["name"] == "succeeded").then_some(()));
    assert_eq!(build(&site, 2)["state"]["name"], "queued", "the agent gets nothing new");
    let why = site.cli.ok("explain 2");
    assert!(why.contains("drained by admin (repair); `imgctl agents undrain n1`"), "{why}");
    let shown = site.cli.ok("agents show n1");
    assert!(shown.contains("repair") && shown.contains("drained"), "{shown}");

    // It is on disk: a restart changes nothing.
    site.coordinator().kill();
    site.start_coordinator();
    eventually("the agent to be back", LONG, || (agent(&site, "n1")?["state"] == "connected").then_some(()));
    assert_eq!(agent(&site, "n1").unwrap()["drained"]["reason"], "repair");
    site.cli.ok("agents undrain n1");
    until_doing(&site, "n1", "packages");
    site.cli.ok("builds cancel 2");
    let log = site.cli.ok("builds logs 2");
    assert!(log.trim_end().ends_with("cancelled by admin"), "{log}");
}

#[test]
fn a_removed_agent_is_cut_off_at_once_and_its_build_goes_to_another() {
    let mut site = Site::start_with(SiteOptions { config: "lease_seconds = 30".into(), ..SiteOptions::default() });
    site.agent("n1");
    site.osimage("a", BOOTABLE, &[]);
    site.cli.ok("build a --detach");
    until_doing(&site, "n1", "packages");
    site.cli.run("agents rm n1").succeeded().says("1.1 a, queued now");
    // Long before its lease would have run out.
    eventually("the build to be queued again", Duration::from_secs(5), || {
        (build(&site, 1)["state"]["name"] == "queued").then_some(())
    });
    assert!(agent(&site, "n1").is_none());
    site.cli.run("agents rm n1").exited(3).says("no agent `n1`");
    let refused = "was removed";
    eventually("the agent to hear of it", LONG, || site.agent_daemon("n1").log().contains(refused).then_some(()));
    site.scratch_is_cleared("n1");
    site.agent("n2");
    until_doing(&site, "n2", "packages");
    let attempts = build(&site, 1)["attempts"].as_array().unwrap().clone();
    assert!(text(&attempts[0], "outcome").contains("n1 was removed"), "{attempts:?}");
    // It may come back, with a new token.
    site.agent_daemon("n1").stop();
    std::fs::rename(site.path("n1/identity"), site.path("n1/identity-of-before")).unwrap();
    site.agent("n1");
    site.cli.ok("builds cancel 1");
}

#[test]
fn a_build_of_higher_priority_goes_first() {
    let mut site = Site::start();
    site.agent("n1");
    site.cli.ok("agents drain n1");
    for name in ["a", "b", "c"] {
        site.osimage(name, BOOTABLE, &[]);
    }
    site.cli.ok("build a --detach");
    site.cli.ok("build b --detach --priority -5");
    site.cli.ok("build c --detach --priority 10");
    site.cli.run("build c --detach --priority 101").exited(2).says("-100..=100");
    site.cli.ok("agents undrain n1");
    for next in [3, 1, 2] {
        let work = eventually("a build to begin", LONG, || {
            agent(&site, "n1")?["work"].as_array()?.iter().find(|work| work["doing"] != "dropping").cloned()
        });
        assert_eq!(work["build"], next);
        site.cli.ok(&format!("builds cancel {next}"));
    }
}
