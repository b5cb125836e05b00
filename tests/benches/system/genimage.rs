//! A whole genimage beside what an administrator would type: mmdebstrap, then dracut twice, in the same run.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tests::{Site, debian, mirrors};

use crate::figures::{Samples, peak_mb};

/// The demonstration's packages.
const PACKAGES: &str = include_str!("../../../deploy/demo/compute.pkglist");
const ROUNDS: usize = 3;

pub(crate) fn run() {
    let mut site = Site::start();
    site.agent("n1");
    site.osimage("compute", PACKAGES, &[]);
    compare(&site, "mmdebstrap", by_hand);
    site.cli.ok("packimage compute");
    let (coordinator, agent) = (site.coordinator().pid(), site.agent_daemon("n1").pid());
    println!("peak memory: coordinator {:.0} MB, agent {:.0} MB", peak_mb(coordinator), peak_mb(agent));
}

/// Builds the osimage `compute` and does the same by hand, in turns.
pub(crate) fn compare(site: &Site, tool: &str, by_hand: impl Fn(&Path) -> Duration) {
    let (mut ours, mut packages, mut hands) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let began = Instant::now();
        site.cli.ok("genimage compute --discard-edits");
        let (whole, hand) = (began.elapsed(), by_hand(&site.path("hand")));
        // The first fills the caches of both.
        if round > 0 {
            println!("round {round}: genimage {:.1} s, by hand {:.1} s", whole.as_secs_f64(), hand.as_secs_f64());
            packages.push(stages(site));
            ours.push(whole);
            hands.push(hand);
        }
    }
    let (ours, hands) = (Samples::new(ours).median().as_secs_f64(), Samples::new(hands).median().as_secs_f64());
    println!("genimage, from the command to the built generation: {ours:.1} s");
    println!("{tool} and two runs of dracut by hand: {hands:.1} s; ratio {:.2}", ours / hands);
    println!("stages of the last round: {}", packages.last().map_or("", String::as_str));
}

/// How long each stage of the newest build took.
fn stages(site: &Site) -> String {
    let builds = site.cli.json("builds list");
    let stages = builds[0]["attempts"][0]["stages"].as_array().cloned().unwrap_or_default();
    let ms = |stage: &serde_json::Value, field: &str| stage[field].as_i64().unwrap_or_default();
    let took = |stage: &serde_json::Value| ms(stage, "ended_ms") - ms(stage, "started_ms");
    let one = |stage: &serde_json::Value| {
        format!("{} {:.1} s", stage["stage"].as_str().unwrap_or_default(), took(stage) as f64 / 1000.0)
    };
    stages.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn by_hand(root: &Path) -> Duration {
    let names: Vec<&str> =
        PACKAGES.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', '@', '-'])).collect();
    let (codename, _) = debian();
    let began = Instant::now();
    let mut mmdebstrap = Command::new("mmdebstrap");
    // Who knows: or the kernel's hook makes an initrd as well, and fails at it.
    mmdebstrap
        .env("INITRD", "No")
        .args(["--mode=root", "--variant=minbase"])
        .arg(format!("--include={}", names.join(",")));
    mmdebstrap.arg(codename).arg(root);
    for mirror in mirrors().split(',') {
        mmdebstrap.arg(format!("deb {mirror}"));
    }
    run_quietly(&mut mmdebstrap);
    dracut_twice(root, "");
    let took = began.elapsed();
    rootfs::remove::remove_tree(root).unwrap();
    took
}

/// Both initrds, one after the other, as xCAT makes them.
pub(crate) fn dracut_twice(root: &Path, compress: &str) {
    let kernel = std::fs::read_dir(root.join("lib/modules")).unwrap().flatten().next().unwrap().file_name();
    for (initrd, more) in [("stateless", ""), ("statelite", "--filesystems nfs")] {
        let script = format!(
            "mount --rbind /dev \"$0/dev\"; mount -t proc proc \"$0/proc\"; \
             chroot \"$0\" dracut --force --no-hostonly --add 'network-legacy network nfs base kernel-modules' {compress} {more} \\
             --kver \"$1\" /boot/initrd-{initrd}.gz"
        );
        let mut dracut = Command::new("unshare");
        dracut.args(["--mount", "--propagation", "private", "sh", "-ec", &script]).arg(root).arg(&kernel);
        run_quietly(&mut dracut);
    }
}

pub(crate) fn run_quietly(command: &mut Command) {
    let done = command.stdin(Stdio::null()).output().unwrap();
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
}
