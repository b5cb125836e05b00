//! One build node with a real kernel, which mounts the install root by NFS and builds through it.
//!
//! The node is a guest under emulation ([`tests::lab`]), its agent runs under systemd; the management node is this machine
//! in a network of its own. What `make lab` does at length, with nodes of two architectures, is here in minutes.

use std::fs;
use std::time::Duration;

use serde_json::json;
use tests::lab::{Mn, MnOptions, Node, NodeOptions, apart, disk, lay_packages};
use tests::packages::{Packages, repository};
use tests::{arch, debian};

/// How long a command in the guest may take that does little.
const SHORT: Duration = Duration::from_secs(60);

#[test]
fn a_node_builds_and_publishes_over_nfs() {
    if !apart::is_inside() {
        // Outside there is a network to make them with.
        disk(arch());
        repository(&debian().0, arch(), Packages::Thin);
        let words = ["--exact", "a_node_builds_and_publishes_over_nfs", "--nocapture"].map(Into::into);
        let status = apart::run_inside(&words);
        assert!(status.success(), "the run inside ended with {status}");
        return;
    }
    let mn = Mn::start(MnOptions::default());
    let options = NodeOptions { name: "n1", number: 1, memory: 1536, program: None, config: String::new() };
    let mut node = Node::new(&mn, &disk(arch()), &options);
    node.guest.switch_on();
    lay_packages(mn.site.install_dir(), arch(), &repository(&debian().0, arch(), Packages::Thin));
    mn.osimage("small", arch(), &[]);
    node.join(&mn);
    the_install_root_is_an_nfs_mount(&mn, &node);
    what_is_built_arrives_over_it(&mn, &node);
}

fn the_install_root_is_an_nfs_mount(mn: &Mn, node: &Node) {
    let mount = node.guest.ok("findmnt --noheadings --output FSTYPE,OPTIONS /install", SHORT);
    assert!(mount.starts_with("nfs4 ") && mount.contains("vers=4.1"), "{mount}");
    let agents = mn.site.cli.json("agents list");
    assert_eq!(agents[0]["facts"]["install"], json!("nfs"), "{agents}");
}

fn what_is_built_arrives_over_it(mn: &Mn, node: &Node) {
    let ran = mn.site.cli.run(&format!("build small-{}", arch())).succeeded();
    let said = ran.out + &ran.err;
    println!("{said}");
    let dir = mn.site.rootimgdir("small");
    assert!(fs::metadata(dir.join("rootimg.cpio.gz")).is_ok_and(|file| file.len() > 1 << 20), "{said}");
    println!("{}", node.guest.ok("nfsstat -c", SHORT));
}
