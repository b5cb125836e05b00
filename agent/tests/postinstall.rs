//! Stage `postinstall` by itself, on a node that does not see the MN's install root: what scripts can write to, and
//! what is left of it. Needs root. Each test runs itself again in a mount namespace of its own, as a worker has.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::process::Command;

use agent::build::context::{Context, State};
use agent::build::postinstall;
use agent::inspect::Facts;
use agent::worker::order::Order;
use agent::worker::report::{Reporter, StageLog};
use model::id::{Attempt, AttemptId, BuildId};
use model::plan::BuildPlan;
use model::stage::Stage;
use serde_json::json;

/// Set in the run that is inside.
const INSIDE: &str = "IMGCTL_TEST_INSIDE";

/// False in the run that is to do it: then `test` has been run inside and was passed.
fn outside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return false;
    }
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    true
}

fn plan(install: &Path, rootimgdir: &Path, script: &str) -> BuildPlan {
    serde_json::from_value(json!({
        "version": model::plan::PLAN_VERSION, "osimage": "test", "revision": 1, "osvers": "debian12", "osarch": "x86_64", "arch": "x86_64",
        "profile": "test", "provmethod": "netboot", "rootimgdir": rootimgdir, "install_dir": install,
        "packages": {"kind": "apt", "suite": "bookworm"}, "repositories": [], "other_repositories": [], "passes": [],
        "other_passes": [], "environment": {}, "kernel": {"kind": "only"}, "drivers": {},
        "postinstall": [{"path": "/srv/post.sh", "args": [], "content": {"text": script}}],
        "interfaces": {"boot": null, "others": []}, "script_environment": {}, "needs_install": [], "attributes": [],
        "warnings": [],
    }))
    .unwrap()
}

/// Runs a script over a tree in `scratch`, on a node without the MN's install root.
fn run(plan: &BuildPlan, scratch: &Path) {
    let order = Order {
        proxies: Default::default(),
        attempt: AttemptId { build: BuildId::FIRST, attempt: Attempt::FIRST },
        plan: scratch.join("plan.json"),
        scratch: scratch.to_owned(),
        archive: scratch.join("archive"),
        tree: None,
        install: None,
        mount: None,
        conditions: Vec::new(),
        min_scratch_free: 0,
        facts: Facts::gather(),
    };
    let context = Context::new(&order, plan);
    fs::create_dir_all(context.root.join("etc")).unwrap();
    fs::create_dir_all(&context.work).unwrap();
    let reporter = Reporter::new(std::io::stderr());
    let log = StageLog::new(Stage::Postinstall, &reporter);
    postinstall::run(&context, &mut State::default(), &log).unwrap();
    assert!(context.root.join("etc/marked").exists());
}

/// Marks the tree, and fails if anything else below the install root can be written to.
const PROBING: &str = "#!/bin/sh\nset -e\ninstall=$(dirname $(dirname $(dirname $(dirname $1))))\n\
    test -f $install/there; test -f $install/netboot/sibling/there\n\
    for folder in $install $install/netboot $install/netboot/sibling $(dirname $1); do\n\
    ! touch $folder/written 2>/dev/null || { echo \"$folder can be written to\"; exit 1; }; done\n\
    touch $PWD/own; mkdir -p $1/etc; touch $1/etc/marked\n";

fn make_install(install: &Path) {
    fs::create_dir_all(install.join("netboot/sibling")).unwrap();
    fs::write(install.join("there"), "").unwrap();
    fs::write(install.join("netboot/sibling/there"), "").unwrap();
}

#[test]
fn the_nodes_own_install_root_can_not_be_written_to() {
    if outside("the_nodes_own_install_root_can_not_be_written_to") {
        return;
    }
    let (install, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    make_install(install.path());
    let rootimgdir = install.path().join("netboot/debian12/test");
    let plan = plan(install.path(), &rootimgdir, PROBING);
    run(&plan, scratch.path());
    assert!(!install.path().join("netboot/debian12").exists());
    // The same where an earlier build of the node's own stands.
    fs::create_dir_all(rootimgdir.join("rootimg")).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    run(&plan, scratch.path());
    // And it is the scripts alone that can't.
    fs::write(install.path().join("netboot/sibling/written"), "").unwrap();
}

#[test]
fn the_scratch_folder_may_lie_below_the_nodes_own_install_root() {
    if outside("the_scratch_folder_may_lie_below_the_nodes_own_install_root") {
        return;
    }
    let install = tempfile::tempdir().unwrap();
    make_install(install.path());
    let scratch = install.path().join("netboot/scratch");
    fs::create_dir(&scratch).unwrap();
    run(&plan(install.path(), &install.path().join("netboot/debian12/test"), PROBING), &scratch);
}

#[test]
fn a_folder_that_was_made_to_mount_on_is_removed_again() {
    if outside("a_folder_that_was_made_to_mount_on_is_removed_again") {
        return;
    }
    let install = tempfile::Builder::new().prefix("imgctl-test-").tempdir_in("/").unwrap().keep();
    fs::remove_dir(&install).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let script = "#!/bin/sh\nset -e\n! touch $(dirname $1)/written 2>/dev/null\ntouch $1/etc/marked\n";
    run(&plan(&install, &install.join("netboot/debian12/test"), script), scratch.path());
    assert!(!install.exists());
}
