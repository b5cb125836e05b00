//! `make lab-bench`: what it brings to build on local scratch and publish one archive, and how near publishing comes to
//! what the wire and the disk give.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use agent::preflight::export::OPTIONS;
use tests::lab::Node;
use tests::{AgentOptions, Cli, Web, took};

use crate::stages::Lab;

/// How long one measurement may take.
const LONG: Duration = Duration::from_secs(60 * 60);

/// Rounds, of which the median counts: a disk's speed moves from one second to the next.
const ROUNDS: usize = 5;

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

/// The archive over NFS, beside `dd` of as many bytes to the mount. An emulated processor packs many times slower than the
/// machine's own, so the wire is made as slow: it takes as long for the archive as packing does, which is where it counts
/// most that both go on at once.
pub(crate) fn publish(lab: &mut Lab) {
    let (node, mn) = lab.x86_64();
    let build = || {
        let published = published(&mn.site.cli, &["genimage", "small-x86_64", "--discard-edits"]);
        assert_eq!(published.uploaded, None, "it was to go over NFS");
        (published.bytes, published.seconds)
    };
    let (bytes, unlimited) = build();
    let wire = format!("tbf rate {:.0}kbit burst 128kb latency 100ms", bytes as f64 * 8e-3 / unlimited);
    node.guest.ok(&format!("tc qdisc replace dev eth0 root {wire}"), LONG);
    let (bytes, published) = build();
    mount(node);
    node.guest.ok(&format!("{} && mkdir -p /install/bench", random(bytes, "/var/tmp/bytes")), LONG);
    let copy = || seconds(&node.guest.ok(&dd("/var/tmp/bytes", "/install/bench/dd"), LONG));
    let copies: Vec<f64> = (0..ROUNDS).map(|_| copy()).collect();
    let copy = median(&copies);
    let clear = "rm -rf /var/tmp/bytes /install/bench && umount /install && tc qdisc delete dev eth0 root";
    node.guest.ok(clear, LONG);
    println!(
        "  an archive of {:.1} MB; stage publish takes {unlimited:.1} s without a limit on the wire",
        bytes as f64 / 1e6
    );
    println!("  limited: {wire}");
    println!("  dd with fsync to the mount: {copy:.1} s, {:.1} MB/s (median of {ROUNDS})", rate(bytes, copy));
    println!("  stage publish (pack, compress, write): {published:.1} s, {:.0} % of dd", 100.0 * copy / published);
}

/// The archive over gRPC, beside `dd` of as many bytes to the same disk: by an agent on this machine itself, as an emulated
/// processor has nothing of what a real one has for TLS.
pub(crate) fn upload(lab: &mut Lab) {
    // Even a guest that does nothing has a share of the processors.
    lab.nodes.iter_mut().for_each(|node| node.guest.kill());
    let site = &mut lab.mn.site;
    site.agent_with(HERE, AgentOptions { install: "none", ..AgentOptions::default() });
    let packages = Web::serve(&site.install_dir().join("packages"));
    let pkgdir = format!("pkgdir=[trusted=yes] {} ./", packages.url("x86_64"));
    let mut genimage = vec!["genimage", "small-x86_64", "--discard-edits", "--agent", HERE, "--set", &pkgdir];
    genimage.extend(["--set", "environvar=no_proxy=127.0.0.1"]);
    let (from, to) = (site.path("bytes"), site.install_dir().join("bytes"));
    let copy = dd(&from.display().to_string(), &to.display().to_string());
    let (mut uploads, mut copies, mut packs, mut bytes) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for _ in 0..ROUNDS {
        let published = published(&site.cli, &genimage);
        uploads.push(published.uploaded.expect("it was to be uploaded"));
        packs.push(published.seconds);
        bytes = published.bytes;
        shell(&random(bytes, &from.display().to_string()));
        copies.push(seconds(&shell(&copy)));
    }
    fs::remove_file(&from).expect("it is ours");
    let (upload, copy, pack) = (median(&uploads), median(&copies), median(&packs));
    println!("  an archive of {:.1} MB, over loopback", bytes as f64 / 1e6);
    println!("  rounds of upload {uploads:.2?} s, of dd {copies:.2?} s");
    println!("  dd with fsync to the disk of the install root: {copy:.2} s, {:.0} MB/s", rate(bytes, copy));
    println!("  upload: {upload:.2} s, {:.0} MB/s, {:.0} % of dd", rate(bytes, upload), 100.0 * copy / upload);
    println!("  stage publish, to the agent's own disk: {pack:.2} s (pack, compress, write)");
}

fn shell(script: &str) -> String {
    let output = Command::new("sh").args(["-c", script]).output().expect("there is a shell");
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Bytes that no disk can make less of, and that are on it.
fn random(bytes: u64, to: &str) -> String {
    format!("head -c {bytes} /dev/urandom >{to} && sync {to}")
}

/// Megabytes a second.
fn rate(bytes: u64, seconds: f64) -> f64 {
    bytes as f64 / 1e6 / seconds
}

/// Says how many ms it took.
fn dd(from: &str, to: &str) -> String {
    let now = "date +%s%3N";
    format!("began=$({now}); dd if={from} of={to} bs=1M conv=fsync 2>/dev/null && echo $(($({now}) - began)); rm {to}")
}

fn seconds(ms: &str) -> f64 {
    ms.trim().parse::<f64>().unwrap_or_else(|_| panic!("no ms: {ms}")) / 1000.0
}

/// What a build says of its archive.
#[derive(Debug)]
struct Published {
    bytes: u64,
    /// The stage's.
    seconds: f64,
    /// How many seconds the upload took, if there was one.
    uploaded: Option<f64>,
}

fn published(cli: &Cli, genimage: &[&str]) -> Published {
    cli.run_args(genimage, b"").succeeded();
    let build = &cli.json("builds list")[0];
    let log = cli.ok(&format!("builds logs {}", build["id"]));
    let number = |before: &str, after: &str| {
        let text = log.rsplit_once(before)?.1.split(after).next()?;
        Some(text.parse::<f64>().unwrap_or_else(|_| panic!("{text} after {before} in:\n{log}")))
    };
    let bytes = (number("archive of ", " MB").expect("its log says so") * 1e6) as u64;
    Published { bytes, seconds: took(build, "publish"), uploaded: number("uploaded in ", " s") }
}

fn median(samples: &[f64]) -> f64 {
    let mut samples = samples.to_vec();
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}
