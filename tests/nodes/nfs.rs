//! One build node with a real kernel, which mounts the install root by NFS and builds through it.
//!
//! The node is a guest under emulation ([`tests::lab`]), its agent runs under systemd; the management node is this machine
//! in a network of its own.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tests::lab::{AgentFrom, MN, Mn, MnOptions, Mounts, Node, NodeOptions, apart, disk, lay_packages};
use tests::packages::{Packages, repository};
use tests::{arch, debian, eventually, text};

/// What one WRITE call carries at most.
const WRITE: u64 = 1 << 20;

/// How long something small may take on an emulated machine.
const PATIENCE: Duration = Duration::from_secs(300);

const NAME: &str = "nfs::a_node_builds_on_its_own_disk_and_publishes_over_nfs";

#[test]
fn a_node_builds_on_its_own_disk_and_publishes_over_nfs() {
    if !apart::is_inside() {
        // Outside there is a mirror to make them from.
        disk(arch());
        repository(&debian().0, arch(), Packages::Thin);
        let status = apart::run_inside(&["--exact", NAME, "--nocapture"].map(Into::into));
        assert!(status.success(), "the run inside ended with {status}");
        return;
    }
    let mn = Mn::start(MnOptions::default());
    let options = NodeOptions {
        name: "n1",
        number: 1,
        memory: 1536,
        cpus: 1,
        agent: AgentFrom::Workspace,
        mounts: Mounts::Agent,
        config: String::new(),
        hosts: format!("{MN} mn\n"),
    };
    let mut node = Node::new(&mn.network, mn.site.folder(), &disk(arch()), &options);
    node.guest.switch_on();
    lay_packages(mn.site.install_dir(), arch());
    mn.osimage("small", arch(), &[]);
    node.join(&mn);

    its_preflight_finds_nothing_wrong(&mn);
    what_it_builds_arrives_over_nfs(&mn, &node);
}

/// It mounted the install root, and its scratch disk takes what root images have.
fn its_preflight_finds_nothing_wrong(mn: &Mn) {
    let agent = eventually("the agent to see the install root", PATIENCE, || {
        let agent = mn.site.cli.json("agents show n1");
        (agent["facts"]["install"] == json!("nfs")).then_some(agent)
    });
    assert_eq!(agent["facts"]["conditions"], json!([]), "{agent:#}");
}

fn what_it_builds_arrives_over_nfs(mn: &Mn, node: &Node) {
    let before = node.nfs_writes();
    let ran = mn.site.cli.run(&format!("build small-{}", arch())).succeeded();
    let said = ran.out + &ran.err;
    assert!(said.contains("mounted mn:/install with ") && said.contains("vers=4.1"), "{said}");
    assert!(!said.contains("uploading"), "it was to go over NFS:\n{said}");
    let dir = mn.site.rootimgdir("small");
    // The archive holds both, and they are compressed already.
    let initrds = ["initrd-stateless.gz", "initrd-statelite.gz"];
    let bytes: u64 = initrds.iter().map(|name| fs::metadata(dir.join(name)).map_or(0, |file| file.len())).sum();
    let writes = node.nfs_writes() - before;
    assert!(bytes > 1 << 20 && writes * WRITE >= bytes, "{writes} calls can't have carried {bytes} bytes and more");
    let seen = node.guest.ok("grep -c nfs4 /proc/mounts || true", PATIENCE);
    assert_eq!(seen.trim(), "0", "nothing stays mounted, and nobody else saw it");
    is_live(&dir);
    let staging = fs::read_dir(mn.site.install_dir().join(".imgctl/staging")).expect("there is such a folder");
    assert_eq!(staging.count(), 0, "what was received is cleared away");
}

/// The coordinator has read the archive back and made of it what nodes boot.
fn is_live(dir: &Path) {
    let record: Value = serde_json::from_slice(&fs::read(dir.join("current/build.json")).unwrap()).unwrap();
    assert!(!text(&record, "kernel_version").is_empty());
    for artefact in ["kernel", "initrd-stateless.gz", "initrd-statelite.gz", "rootimg.cpio.gz"] {
        let size = fs::metadata(dir.join(artefact)).map_or(0, |file| file.len());
        assert!(size > 1 << 20, "{artefact} has {size} bytes");
    }
    assert!(dir.join("rootimg/usr/bin/wget").exists(), "the tree holds what the list names");
}
