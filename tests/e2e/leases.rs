//! Builds that are ended, lost or interrupted.

use std::fs;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tests::{Site, SiteOptions, eventually};

use super::images::BOOTABLE;

const LONG: Duration = Duration::from_secs(600);

fn build(site: &Site, id: u32) -> Value {
    site.cli.json(&format!("builds show {id}"))
}

fn state(site: &Site, id: u32) -> String {
    build(site, id)["state"]["name"].as_str().unwrap().to_owned()
}

/// Waits until a build works on its packages.
fn until_packages(site: &Site, id: u32) {
    eventually("the build to run", LONG, || (build(site, id)["state"]["stage"] == "packages").then_some(()));
}

fn until_ended(site: &Site, id: u32) -> String {
    eventually("the build to end", LONG, || {
        let state = state(site, id);
        ["succeeded", "failed", "cancelled"].contains(&state.as_str()).then_some(state)
    })
}

/// Processes that work below a folder.
fn workers_in(folder: &std::path::Path) -> usize {
    let folder = folder.display().to_string();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let at_work = processes.filter(|process| {
        let root = fs::read_link(process.path().join("root")).unwrap_or_default();
        let words = fs::read(process.path().join("cmdline")).unwrap_or_default();
        root.starts_with(&folder) || String::from_utf8_lossy(&words).contains(&format!("{folder}/"))
    });
    at_work.count()
}

#[test]
fn a_cancelled_build_leaves_no_process_and_no_scratch() {
    let mut site = Site::start();
    site.agent("n1");
    site.osimage("a", BOOTABLE, &[]);
    site.cli.ok("build a --detach");
    until_packages(&site, 1);
    site.cli.ok("builds cancel 1");
    assert_eq!(state(&site, 1), "cancelled");
    let scratch = site.path("n1/scratch");
    eventually("the worker to be gone", Duration::from_secs(5), || (workers_in(&scratch) == 0).then_some(()));
    site.scratch_is_cleared("n1");
    assert!(!site.rootimgdir("a").join("rootimg").exists());
    site.cli.run("builds cancel 1").exited(3).says("already ended");
    // The agent is free again, and the build can be asked for again.
    site.cli.ok("builds retry 1 --detach");
    until_packages(&site, 2);
    site.cli.ok("builds cancel 2");
}

#[test]
fn a_killed_agent_loses_its_attempt_and_the_next_one_ends_well() {
    let mut site = Site::start_with(SiteOptions { config: "lease_seconds = 3".into(), ..SiteOptions::default() });
    site.agent("n1");
    site.osimage("a", BOOTABLE, &[]);
    site.cli.ok("build a --detach");
    until_packages(&site, 1);
    let scratch = site.path("n1/scratch");
    site.agent_daemon("n1").kill();
    eventually("the build to be queued again", Duration::from_secs(8), || (state(&site, 1) == "queued").then_some(()));
    eventually("the worker to die with its agent", Duration::from_secs(5), || {
        (workers_in(&scratch) == 0).then_some(())
    });
    site.start_agent("n1");
    assert_eq!(until_ended(&site, 1), "succeeded");
    let attempts = build(&site, 1)["attempts"].as_array().unwrap().clone();
    assert_eq!(attempts.len(), 2);
    assert!(attempts[0]["outcome"].as_str().unwrap().starts_with("lost"), "{attempts:?}");
}

#[test]
fn a_killed_coordinator_goes_on_where_it_was_and_no_line_is_lost_or_doubled() {
    let mut site = Site::start();
    site.agent("n1");
    site.osimage("a", BOOTABLE, &[]);
    let mut watcher = site.cli.command(&["build", "a"]);
    let watcher = watcher.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    until_packages_of_the_first(&site);
    site.coordinator().kill();
    std::thread::sleep(Duration::from_secs(1));
    site.start_coordinator();
    let seen = watcher.wait_with_output().unwrap();
    let (out, err) = (String::from_utf8(seen.stdout).unwrap(), String::from_utf8(seen.stderr).unwrap());
    assert!(seen.status.success(), "{out}{err}");
    assert_eq!(build(&site, 1)["attempts"].as_array().unwrap().len(), 1, "it was one attempt all along");
    let log = site.cli.ok("builds logs 1");
    for line in ["Setting up dracut (", "Setting up kmod (", "Setting up udev ("] {
        let times = |text: &str| text.lines().filter(|one| one.contains(line)).count();
        assert_eq!((times(&log), times(&out) + times(&err)), (1, 1), "{line}");
    }
}

fn until_packages_of_the_first(site: &Site) {
    eventually("the build to run", LONG, || {
        let list = site.cli.json("builds list");
        (list[0]["state"]["stage"] == "packages").then_some(())
    });
    // Into the middle of the installation.
    std::thread::sleep(Duration::from_secs(4));
}

#[test]
fn an_agent_that_is_told_to_stop_reports_its_attempt_lost_at_once() {
    let mut site = Site::start();
    site.agent("n1");
    site.osimage("a", BOOTABLE, &[]);
    site.cli.ok("build a --detach");
    until_packages(&site, 1);
    site.agent_daemon("n1").stop();
    eventually("the build to be queued again", Duration::from_secs(5), || (state(&site, 1) == "queued").then_some(()));
    site.scratch_is_cleared("n1");
    site.cli.ok("builds cancel 1");
}

#[test]
fn a_build_that_no_agent_can_ever_run_fails_with_the_reason() {
    let mut site = Site::start_with(SiteOptions { config: "max_wait_seconds = 1".into(), ..SiteOptions::default() });
    site.agent("n1");
    site.osimage("a", "dracut\n", &[]);
    // Its agent is there, but not for this OS.
    site.cli.ok("osimage set a osvers=sle15.6 pkgdir=http://127.0.0.1:9/x");
    let ran = site.cli.run("build a").exited(1);
    assert!(ran.err.contains("zypper"), "{}", ran.err);
}

#[test]
fn a_frozen_agent_loses_its_attempt_and_builds_the_next_one_when_it_is_back() {
    let mut site = Site::start_with(SiteOptions { config: "lease_seconds = 3".into(), ..SiteOptions::default() });
    site.agent("n1");
    site.osimage("a", BOOTABLE, &[]);
    site.cli.ok("build a --detach");
    until_packages(&site, 1);
    site.agent_daemon("n1").signal(Signal::STOP);
    eventually("the build to be queued again", Duration::from_secs(8), || (state(&site, 1) == "queued").then_some(()));
    // Its worker goes on all the while, and is in its only slot when it is back.
    site.agent_daemon("n1").signal(Signal::CONT);
    assert_eq!(until_ended(&site, 1), "succeeded");
    assert_eq!(build(&site, 1)["attempts"].as_array().unwrap().len(), 2);
    site.scratch_is_cleared("n1");
}

#[test]
fn a_coordinator_killed_while_packing_packs_again_and_what_is_live_is_whole() {
    let mut site = Site::start();
    site.agent("n1");
    site.osimage("a", BOOTABLE, &[]);
    site.cli.ok("build a --detach");
    eventually("the build to be packed", LONG, || (state(&site, 1) == "packing").then_some(()));
    site.coordinator().kill();
    site.start_coordinator();
    assert_eq!(until_ended(&site, 1), "succeeded");
    let archive = site.rootimgdir("a").join("rootimg.cpio.gz");
    let tested = std::process::Command::new("gzip").arg("-t").arg(&archive).status().unwrap();
    assert!(tested.success());
    // Cancelled while it packs, a build ends as cancelled or, when that came too late, as succeeded; either way the
    // next one works and what is live is whole.
    site.cli.ok("packimage a --detach");
    eventually("the tree to be packed", LONG, || (state(&site, 2) == "packing").then_some(()));
    site.cli.ok("builds cancel 2");
    assert!(["cancelled", "succeeded"].contains(&until_ended(&site, 2).as_str()));
    site.cli.ok("packimage a");
    let tested = std::process::Command::new("gzip").arg("-t").arg(&archive).status().unwrap();
    assert!(tested.success());
    let folder = site.rootimgdir("a").join(".generations");
    let odd: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.parse::<u32>().is_err())
        .collect();
    assert!(odd.is_empty(), "half done work is left: {odd:?}");
}
