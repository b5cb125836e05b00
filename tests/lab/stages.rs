//! The stages of the lab, each with what it shows.

use std::fs;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use tests::lab::{Access, AgentFrom, MN, Mn, Mounts, Nfs, Node, NodeOptions, disk};
use tests::{eventually, text, took};

use crate::builds::{Build, has_ended, stages};
use crate::{ARCHES, bench, exports, rpm, units};

/// How long the network is gone.
const CUT: Duration = Duration::from_secs(30);

/// How long the NFS server is gone.
const OUTAGE: Duration = Duration::from_secs(60);

/// How long a command in a guest may take that does little.
pub(crate) const SHORT: Duration = Duration::from_secs(300);

/// How long an emulated machine may take to boot.
const BOOT: Duration = Duration::from_secs(600);

/// One of them.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    /// The architectures of the nodes that it needs.
    pub(crate) arches: &'static [&'static str],
    pub(crate) run: fn(&mut Lab),
}

const BOTH: &[&str] = &ARCHES;
const X86_64: &[&str] = &[ARCHES[0]];
const PPC64LE: &[&str] = &[ARCHES[1]];

/// Those of `make lab` and its like.
pub(crate) fn of(suite: &str) -> Option<Vec<Stage>> {
    let stage = |name, arches, run, what| Stage { name, what, arches, run };
    let stages: Vec<Stage> = match suite {
        "lab" => vec![
            stage("agents", BOTH, agents, "nodes of two architectures have joined and see /install by NFS"),
            stage("build", BOTH, build, "one command builds for both, each on its own kernel"),
            stage(
                "outages",
                PPC64LE,
                outages,
                "the network is gone while packages are installed, the NFS server at the end",
            ),
            stage("killed", PPC64LE, killed, "the ppc64le node loses its power while packages are installed"),
        ],
        "faults" => vec![
            stage("access", X86_64, exports::access, "an export with root squashed, and one that is read-only"),
            stage("minute", X86_64, minute, "the NFS server is gone for a minute, and the agent's own mount is soft"),
            stage("gone", X86_64, exports::gone, "the NFS server doesn't come back while the archive is written"),
            stage("scratch", PPC64LE, exports::scratch, "a scratch folder on NFS"),
            stage("units", PPC64LE, units::units, "the packaged units: upgrade and watchdog"),
        ],
        "rpm" => vec![stage("compute", PPC64LE, rpm::compute, "dnf makes an image like Enterprise Linux's")],
        "bench" => vec![
            stage("scratch", X86_64, bench::scratch, "a tree built on local scratch, beside one on the NFS mount"),
            stage("publish", X86_64, bench::publish, "an archive over NFS, beside dd"),
            stage("upload", X86_64, bench::upload, "an archive over gRPC, beside dd"),
        ],
        _ => return None,
    };
    Some(stages)
}

/// The site with its nodes.
#[derive(Debug)]
pub(crate) struct Lab {
    // Ended before the site that they belong to.
    pub(crate) nodes: Vec<Node>,
    pub(crate) mn: Mn,
}

impl Lab {
    /// Boots the nodes; those that have joined in an earlier run connect, others join.
    pub(crate) fn start(mn: Mn, arches: &[&str]) -> Self {
        let mut nodes = Vec::new();
        for arch in arches {
            // One of each kind.
            let (number, name, mounts, agent) = match *arch {
                "ppc64le" => (2, "np", Mounts::Node, AgentFrom::Packages(packages())),
                _ => (1, "nx", Mounts::Agent, AgentFrom::Workspace),
            };
            let (config, hosts, cpus) = (String::new(), format!("{MN} mn\n"), cpus());
            let options = NodeOptions { name, number, memory: 2048, cpus, agent, mounts, config, hosts };
            let mut node = Node::new(&mn.network, mn.site.folder(), &disk(arch), &options);
            node.guest.switch_on();
            mn.osimage("small", arch, &[]);
            nodes.push(node);
        }
        let known = mn.site.cli.json("agents list");
        for node in &mut nodes {
            let joined = known.as_array().is_some_and(|list| list.iter().any(|agent| agent["name"] == node.name));
            if joined { node.is_connected(&mn) } else { node.join(&mn) }
        }
        // What an earlier run left would be waited for.
        for build in mn.site.cli.json("builds list").as_array().into_iter().flatten().filter(|build| !has_ended(build))
        {
            mn.site.cli.ok(&format!("builds cancel {}", build["id"]));
        }
        Self { nodes, mn }
    }

    /// The x86_64 node, whose agent mounts the install root itself, and the management node.
    pub(crate) fn x86_64(&mut self) -> (&mut Node, &mut Mn) {
        (self.nodes.first_mut().expect("there are nodes"), &mut self.mn)
    }

    /// The ppc64le node, which has the install root mounted, and the management node.
    pub(crate) fn ppc64le(&mut self) -> (&mut Node, &mut Mn) {
        (self.nodes.last_mut().expect("there are nodes"), &mut self.mn)
    }
}

/// As many as the machine has, up to two.
fn cpus() -> u8 {
    if std::thread::available_parallelism().is_ok_and(|cpus| cpus.get() > 1) { 2 } else { 1 }
}

/// The packages for ppc64le, which `make lab` made.
fn packages() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/lab-packages")
}

fn agents(lab: &mut Lab) {
    let list = lab.mn.site.cli.ok("agents list");
    print!("{list}");
    for (node, arch) in lab.nodes.iter().zip(ARCHES) {
        assert_eq!(node.guest.ok("uname -m", SHORT).trim(), arch);
        assert_eq!(node.guest.ok("systemctl is-active imgctl-agent", SHORT).trim(), "active");
        let agent = lab.mn.site.cli.json(&format!("agents show {}", node.name));
        println!("  {}: {}", node.name, agent["facts"]);
        assert_eq!((text(&agent["facts"], "arch"), text(&agent["facts"], "install")), (arch, "nfs"));
    }
}

fn build(lab: &mut Lab) {
    let ran = lab.mn.site.cli.run("build small --arch x86_64,ppc64le --discard-edits").succeeded();
    let end: Vec<&str> = ran.out.lines().rev().take(40).collect();
    end.iter().rev().for_each(|line| println!("  {line}"));
    for arch in ARCHES {
        let dir = lab.mn.site.rootimgdir_of("small", arch);
        for artefact in ["kernel", "initrd-stateless.gz", "initrd-statelite.gz", "rootimg.cpio.gz"] {
            let size = fs::metadata(dir.join(artefact)).map_or(0, |file| file.len());
            assert!(size > 1 << 20, "{} is {size} bytes", dir.join(artefact).display());
        }
        // The machine that an ELF program is for, at its byte 18.
        let shell = fs::read(dir.join("rootimg/bin/bash")).expect("there is a bash");
        assert_eq!(shell[18], if arch == "ppc64le" { 21 } else { 62 }, "bash of {arch}");
        let record: serde_json::Value =
            serde_json::from_slice(&fs::read(dir.join("current/build.json")).expect("there is a record"))
                .expect("of JSON");
        let kernel = text(&record["agent"], "kernel");
        assert_eq!(text(&record["agent"], "arch"), arch);
        println!("  {arch}: built on kernel {kernel}");
    }
    for build in lab.mn.site.cli.json("builds list").as_array().into_iter().flatten() {
        println!("  build {}: {}", build["id"], stages(build));
    }
}

/// One build that outlives both.
fn outages(lab: &mut Lab) {
    let (node, mn) = lab.ppc64le();
    let build = Build::queue(&mn.site.cli, "small-ppc64le");
    build.is_in(1, "packages");
    build.says("Unpacking ");
    node.cut(mn);
    sleep(CUT);
    assert!(build.is_still_in("packages"), "they were installed while the network was gone");
    node.mend(mn);
    println!("  the network was gone for {CUT:?}");
    outage(&mut mn.nfs, &build);
}

/// Over the agent's own mount, which is soft.
fn minute(lab: &mut Lab) {
    let Mn { nfs, site, .. } = &mut lab.mn;
    outage(nfs, &Build::queue(&site.cli, "small-x86_64"));
}

fn outage(nfs: &mut Nfs, build: &Build<'_>) {
    build.is_in(1, "publish");
    nfs.stop();
    sleep(OUTAGE);
    nfs.begin(Access::Full);
    println!("  the NFS server was gone for {OUTAGE:?}");
    let publish = took(&build.succeeds(1), "publish");
    assert!(publish >= OUTAGE.as_secs_f64(), "publishing took {publish} s: it was over before");
}

fn killed(lab: &mut Lab) {
    let (node, mn) = lab.ppc64le();
    let build = Build::queue(&mn.site.cli, "small-ppc64le");
    build.is_in(1, "packages");
    build.says("Unpacking ");
    node.guest.kill();
    println!("  the node is off");
    node.guest.boot(BOOT);
    build.succeeds(2);
    // A tree takes some seconds to go, after its build has ended.
    eventually("scratch folder and mounts to be cleared", SHORT, || {
        let look = "ls -A /var/lib/imgctl-agent/scratch; findmnt --noheadings --list | grep -c scratch || true";
        (node.guest.ok(look, SHORT).trim() == "0").then_some(())
    });
}
