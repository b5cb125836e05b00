//! Stages that the NFS server's export decides: what preflight finds of it, and how archives leave all the same.

use std::time::Duration;

use serde_json::Value;
use tests::lab::{Access, Mn, Node};
use tests::{eventually, text};

use crate::builds::Build;
use crate::stages::Lab;

/// How long the agent may take to notice something: it looks every quarter of a minute, and an outage has a limit of 20 s.
const NOTICED: Duration = Duration::from_secs(180);

/// How long a command in a guest may take that does little.
const SHORT: Duration = Duration::from_secs(300);

/// With root squashed archives go over NFS; where nothing can be written they are uploaded.
pub(crate) fn access(lab: &mut Lab) {
    let (node, mn) = lab.x86_64();
    let writes_before = node.nfs_writes();
    serve(mn, Access::RootSquash);
    has(mn, node, "install-root-squash");
    let said = genimage(mn);
    assert!(!said.contains("uploading"), "it was to go over NFS:\n{said}");
    let squashed = node.nfs_writes() - writes_before;
    serve(mn, Access::ReadOnly);
    has(mn, node, "install-not-writable");
    let writes_before = node.nfs_writes();
    let said = genimage(mn);
    let read_only = node.nfs_writes() - writes_before;
    println!("  WRITE calls with root squashed: {squashed}; read-only: {read_only}");
    assert!(squashed > 20 && read_only < 10, "{said}");
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
    let found = has(mn, node, "scratch-");
    println!("  scratch on NFS: {}: {}; {}", found["name"], found["detail"], found["remedy"]);
    assert_eq!(text(&found, "effect"), "no-builds");
    set("");
    node.guest.ok("rm -rf --one-file-system /install/lab-scratch", SHORT);
    is_fine(mn, node);
}

fn serve(mn: &mut Mn, access: Access) {
    mn.nfs.stop();
    mn.nfs.begin(access);
}

fn genimage(mn: &Mn) -> String {
    let ran = mn.site.cli.run("genimage small-x86_64 --discard-edits").succeeded();
    ran.out + &ran.err
}

/// Waits for a condition whose name begins so.
fn has(mn: &Mn, node: &Node, name: &str) -> Value {
    eventually(&format!("{} to have the condition {name}", node.name), NOTICED, || {
        std::thread::sleep(Duration::from_secs(1));
        conditions(mn, node).into_iter().find(|found| text(found, "name").starts_with(name))
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
