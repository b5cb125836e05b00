//! `make lab-bench`: what it brings to build on local scratch and publish one archive, and how near publishing comes to
//! what the wire and the disk give.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use agent::preflight::export::OPTIONS;
use serde_json::Value;
use tests::lab::Node;
use tests::{AgentOptions, Cli, Web, text};

use crate::builds::took;
use crate::stages::Lab;

/// How long one measurement may take.
const LONG: Duration = Duration::from_secs(60 * 60);

/// Rounds, of which the median counts.
const ROUNDS: usize = 3;

/// A gigabit as this node would see it: emulated, packing takes about ten times as long as on the processor itself.
const WIRE: &str = "tbf rate 100mbit burst 128kb latency 100ms";

/// The agent that uploads.
const HERE: &str = "here";

/// Packages into a tree: by the agent, which publishes it, and straight onto the mount.
pub(crate) fn scratch(lab: &mut Lab) {
    let node = &lab.nodes[0];
    let cli = &lab.mn.site.cli;
    let began = Instant::now();
    cli.ok("genimage small-x86_64 --discard-edits");
    let whole = began.elapsed();
    let build = &cli.json("builds list")[0];
    let made: f64 = ["prepare", "packages", "publish"].iter().map(|stage| took(build, stage)).sum();
    println!("  genimage: {:.1} s from the command to the generation", whole.as_secs_f64());
    println!("  of it prepare, packages and publish: {made:.1} s");
    mount(node);
    let list = tests::packages::pkglist("x86_64").trim().replace('\n', ",");
    // As the agent calls it; the packages come from the same place, over NFS.
    let script = format!(
        "rm -rf --one-file-system /install/bench && mkdir /install/bench && mmdebstrap --mode=root --variant=minbase \
         --format=directory --architectures=amd64 --dpkgopt=force-unsafe-io --skip=check/qemu \
         --aptopt='Acquire::Languages \"none\"' --include={list} {} /install/bench/root \
         'deb [trusted=yes] copy:///install/packages/x86_64 ./' >/var/log/bench.log 2>&1 || \
         {{ tail -n 20 /var/log/bench.log; exit 1; }}",
        tests::debian().0,
    );
    let began = Instant::now();
    node.guest.ok(&script, LONG);
    let straight = began.elapsed().as_secs_f64();
    println!("  the same packages straight onto the NFS mount: {straight:.1} s; ratio {:.2}", straight / made);
    node.guest.ok("rm -rf --one-file-system /install/bench && umount /install", LONG);
}

/// As the agent mounts it for its builds.
fn mount(node: &Node) {
    node.guest.ok(&format!("mount -t nfs -o {OPTIONS} mn:/install /install"), LONG);
}

/// The archive over NFS, beside `dd` of as many bytes to the mount, on a wire that suits the node.
pub(crate) fn publish(lab: &mut Lab) {
    let (node, mn) = lab.x86_64();
    node.guest.ok(&format!("tc qdisc replace dev eth0 root {WIRE}"), LONG);
    let (bytes, published) = published(&mn.site.cli, &["genimage", "small-x86_64", "--discard-edits"]);
    mount(node);
    node.guest.ok(&format!("head -c {bytes} /dev/urandom >/var/tmp/bytes && mkdir -p /install/bench"), LONG);
    let copies = (0..ROUNDS).map(|_| {
        let began = Instant::now();
        node.guest.ok(&dd("/var/tmp/bytes", "/install/bench/dd"), LONG);
        began.elapsed().as_secs_f64()
    });
    let copy = median(copies.collect());
    let clear = "rm -rf /var/tmp/bytes /install/bench && umount /install && tc qdisc delete dev eth0 root";
    node.guest.ok(clear, LONG);
    println!("  an archive of {:.1} MB, over {WIRE}", bytes as f64 / 1e6);
    println!("  dd with fsync to the mount: {copy:.1} s, {:.1} MB/s (median of {ROUNDS})", rate(bytes, copy));
    println!("  stage publish (pack, compress, write): {published:.1} s, {:.0} % of dd", 100.0 * copy / published);
}

/// The archive over gRPC, beside `dd` of as many bytes to the same disk: by an agent on this machine itself, as an emulated
/// processor has nothing of what a real one has for TLS.
pub(crate) fn upload(lab: &mut Lab) {
    lab.mn.osimage("small", "x86_64", &[]);
    let site = &mut lab.mn.site;
    let agents = site.cli.json("agents list");
    if agents.as_array().is_some_and(|all| all.iter().any(|agent| text(agent, "name") == HERE)) {
        site.start_agent(HERE);
    } else {
        site.agent_with(HERE, AgentOptions { install: "none", ..AgentOptions::default() });
    }
    let packages = Web::serve(&site.install_dir().join("packages"));
    let pkgdir = format!("pkgdir=[trusted=yes] {} ./", packages.url("x86_64"));
    let mut genimage = vec!["genimage", "small-x86_64", "--discard-edits", "--agent", HERE, "--set", &pkgdir];
    genimage.extend(["--set", "environvar=no_proxy=127.0.0.1"]);
    let (from, to) = (site.path("bytes"), site.install_dir().join("bytes"));
    let copy = dd(&from.display().to_string(), &to.display().to_string());
    let (mut uploads, mut copies, mut bytes) = (Vec::new(), Vec::new(), 0);
    for _ in 0..ROUNDS {
        bytes = published(&site.cli, &genimage).0;
        uploads.push(uploaded(&site.cli));
        fs::write(&from, vec![0x5a; bytes as usize]).expect("there is room for them");
        let began = Instant::now();
        assert!(Command::new("sh").args(["-c", &copy]).status().expect("there is a shell").success(), "{copy}");
        copies.push(began.elapsed().as_secs_f64());
    }
    fs::remove_file(&from).expect("it is ours");
    let (upload, copy) = (median(uploads), median(copies));
    println!("  an archive of {:.1} MB, over loopback; medians of {ROUNDS}", bytes as f64 / 1e6);
    println!("  dd with fsync to the disk of the install root: {copy:.2} s, {:.0} MB/s", rate(bytes, copy));
    println!("  upload, from the end of the stage: {upload:.2} s, {:.0} MB/s", rate(bytes, upload));
    println!("  of dd: {:.0} %", 100.0 * copy / upload);
}

/// Megabytes a second.
fn rate(bytes: u64, seconds: f64) -> f64 {
    bytes as f64 / 1e6 / seconds
}

fn dd(from: &str, to: &str) -> String {
    format!("dd if={from} of={to} bs=1M conv=fsync 2>/dev/null && rm {to}")
}

/// Builds; gives the archive's bytes, as its log has them, and how long the stage took.
fn published(cli: &Cli, genimage: &[&str]) -> (u64, f64) {
    cli.run_args(genimage, b"").succeeded();
    let build = &cli.json("builds list")[0];
    let log = cli.ok(&format!("builds logs {}", build["id"]));
    let size = log.rsplit_once("archive of ").map_or("", |(_, rest)| rest.split(" MB").next().unwrap_or_default());
    let megabytes: f64 = size.parse().unwrap_or_else(|_| panic!("no archive of so many MB in:\n{log}"));
    ((megabytes * 1e6) as u64, took(build, "publish"))
}

/// How long the upload of the newest build took: from the end of its last stage to the end of the attempt.
fn uploaded(cli: &Cli) -> f64 {
    let build = &cli.json("builds list")[0];
    let attempt = &build["attempts"][0];
    let last = attempt["stages"].as_array().and_then(|stages| stages.last()).expect("there are stages");
    assert_eq!(text(last, "stage"), "publish");
    let ms = |value: &Value| value.as_i64().expect("a time");
    (ms(&attempt["ended_ms"]) - ms(&last["ended_ms"])) as f64 / 1000.0
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}
