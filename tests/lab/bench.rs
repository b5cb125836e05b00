//! `make lab-bench`: what it brings to build on local scratch and publish one archive, and how near publishing comes to
//! what the wire gives. All on the x86_64 node, in one run.

use std::time::{Duration, Instant};

use agent::preflight::export::OPTIONS;
use serde_json::Value;
use tests::lab::{Access, Node};
use tests::{Cli, text};

use crate::builds::took;
use crate::exports;
use crate::stages::Lab;

/// How long one measurement may take.
const LONG: Duration = Duration::from_secs(60 * 60);

/// Rounds of `dd`, of which the median counts.
const ROUNDS: usize = 3;

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

/// The archive over NFS and over gRPC, beside `dd` of as many bytes to the mount.
pub(crate) fn publish(lab: &mut Lab) {
    let cli = lab.mn.site.cli.clone();
    let (bytes, over_nfs) = published(&cli);
    mount(&lab.nodes[0]);
    let write = |lab: &Lab, to: &str| {
        let script = format!("dd if=/var/tmp/bytes of={to} bs=1M conv=fsync 2>/dev/null && rm {to}");
        let began = Instant::now();
        lab.nodes[0].guest.ok(&script, LONG);
        began.elapsed().as_secs_f64()
    };
    lab.nodes[0].guest.ok(&format!("head -c {bytes} /dev/urandom >/var/tmp/bytes && mkdir -p /install/bench"), LONG);
    let dd = median((0..ROUNDS).map(|_| write(lab, "/install/bench/dd")).collect());
    lab.nodes[0].guest.ok("rm -rf /var/tmp/bytes /install/bench && umount /install", LONG);
    // Where nothing can be written archives are uploaded, and the packages are seen all the same.
    let (node, mn) = lab.x86_64();
    exports::serve(mn, Access::ReadOnly);
    exports::has(mn, node, "install-not-writable");
    let (_, local) = published(&cli);
    let upload = uploaded(&cli);
    exports::serve(mn, Access::Full);
    let rate = |seconds: f64| bytes as f64 / 1e6 / seconds;
    println!("  an archive of {:.1} MB", bytes as f64 / 1e6);
    println!("  dd with fsync to the mount: {dd:.1} s, {:.1} MB/s (median of {ROUNDS})", rate(dd));
    println!("  stage publish (pack, compress, write) over NFS: {over_nfs:.1} s, {:.0} % of dd", 100.0 * dd / over_nfs);
    println!("  the same to the node's own disk: {local:.1} s: what packing and compression alone take");
    println!("  upload over gRPC: {upload:.1} s, {:.1} MB/s, {:.0} % of dd", rate(upload), 100.0 * dd / upload);
}

/// Builds; gives the archive's bytes, as its log has them, and how long the stage took.
fn published(cli: &Cli) -> (u64, f64) {
    cli.ok("genimage small-x86_64 --discard-edits");
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
