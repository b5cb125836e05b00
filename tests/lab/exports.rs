//! Stages that the NFS server's export decides: what preflight finds of it, and how archives leave all the same.

use std::time::Duration;

use serde_json::Value;
use tests::lab::{Access, Mn, Node};
use tests::{eventually, text};

use crate::builds::Build;
use crate::stages::{Lab, SHORT};

/// How long the agent may take to notice something: it looks every quarter of a minute, and an outage has a limit of 20 s.
const NOTICED: Duration = Duration::from_secs(180);

/// What a build says whose archive doesn't go over NFS.
const UPLOADING: &str = "uploading";

/// With root squashed archives go over NFS; where nothing can be written they are uploaded.
pub(crate) fn access(lab: &mut Lab) {
    let (node, mn) = lab.x86_64();
    serve(mn, Access::RootSquash);
    has(mn, node, "install-root-squash");
    let (said, squashed) = genimage(mn, node);
    assert!(!said.contains(UPLOADING), "it was to go over NFS:\n{said}");
    serve(mn, Access::ReadOnly);
    has(mn, node, "install-not-writable");
    let (said, read_only) = genimage(mn, node);
    assert!(said.contains(UPLOADING), "it was to be uploaded:\n{said}");
    println!("  WRITE calls with root squashed: {squashed}; read-only: {read_only}");
    // Preflight writes a few bytes now and then; the archive is tens of megabytes, at most one in a call.
    assert!(squashed > read_only + 30, "they can't have carried an archive");
    serve(mn, Access::Full);
    is_fine(mn, node);
}

/// An outage without end: the attempt fails and leaves nothing, and the build goes on when the server is back.
pub(crate) fn gone(lab: &mut Lab) {
    let (node, Mn { nfs, site, .. }) = lab.x86_64();
    let build = Build::queue(&site.cli, "small-x86_64");
    build.is_in(1, "publish");
    nfs.stop();
    let ended = build.attempt_ends(1);
    println!("  the attempt ended after {:.0} s: {ended}", build.began.elapsed().as_secs_f64());
    let left = "ls -A /var/lib/imgctl-agent/scratch; grep nfs /proc/*/mounts || true";
    eventually("nothing to be left on the node", NOTICED, || {
        std::thread::sleep(Duration::from_secs(5));
        node.guest.ok(left, SHORT).trim().is_empty().then_some(())
    });
    nfs.begin(Access::Full);
    build.succeeds(2);
}

/// A scratch folder on NFS is told of before anything is built there.
pub(crate) fn scratch(lab: &mut Lab) {
    let (node, mn) = lab.ppc64le();
    let set = |line: &str| {
        let edit = format!("sed -i '/^scratch = /d' /etc/imgctl/agent.toml; echo '{line}' >>/etc/imgctl/agent.toml");
        node.guest.ok(&format!("{edit}; systemctl restart imgctl-agent"), SHORT);
    };
    set("scratch = \"/install/lab-scratch\"");
    let found = has(mn, node, "scratch-refuses");
    println!("  scratch on NFS: {}: {}; {}", found["name"], found["detail"], found["remedy"]);
    assert_eq!(text(&found, "effect"), "no-builds");
    set("");
    node.guest.ok("rm -rf --one-file-system /install/lab-scratch", SHORT);
    is_fine(mn, node);
}

/// The same server, with this access.
pub(crate) fn serve(mn: &mut Mn, access: Access) {
    mn.nfs.stop();
    mn.nfs.begin(access);
}

/// Builds; gives its log and how many WRITE calls it took.
fn genimage(mn: &Mn, node: &Node) -> (String, u64) {
    let before = node.nfs_writes();
    mn.site.cli.ok("genimage small-x86_64 --discard-edits");
    let newest = &mn.site.cli.json("builds list")[0]["id"];
    (mn.site.cli.ok(&format!("builds logs {newest}")), node.nfs_writes() - before)
}

/// Waits for a condition.
pub(crate) fn has(mn: &Mn, node: &Node, name: &str) -> Value {
    eventually(&format!("{} to have the condition {name}", node.name), NOTICED, || {
        std::thread::sleep(Duration::from_secs(1));
        conditions(mn, node).into_iter().find(|found| text(found, "name") == name)
    })
}

fn is_fine(mn: &Mn, node: &Node) {
    eventually(&format!("{} to have no condition", node.name), NOTICED, || {
        std::thread::sleep(Duration::from_secs(1));
        let agent = mn.site.cli.json(&format!("agents show {}", node.name));
        (text(&agent["facts"], "install") == "nfs" && conditions(mn, node).is_empty()).then_some(())
    });
}

fn conditions(mn: &Mn, node: &Node) -> Vec<Value> {
    let agent = mn.site.cli.json(&format!("agents show {}", node.name));
    agent["facts"]["conditions"].as_array().cloned().unwrap_or_default()
}
