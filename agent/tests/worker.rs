//! The worker by itself, with real tools and the machine's own Debian mirror: what stands in `out` afterwards, and
//! what a failure says. Needs root, mmdebstrap and the mirror.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by panicking, and tells whoever runs it by hand"
)]

#[path = "site/mirror.rs"]
mod mirror;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use mirror::mirror;

use agent::inspect::Facts;
use agent::worker::handle::Worker;
use agent::worker::order::Order;
use agent::worker::report::{Blame, Failure, Product, Report};
use model::id::{Attempt, AttemptId, BuildId};
use model::plan::BuildPlan;
use model::stage::{Stage, StageStatus};
use serde_json::json;

/// A package of the site's own, in a flat repository without signature.
fn make_other_repository(folder: &Path) {
    let tree = folder.join("tree");
    fs::create_dir_all(tree.join("DEBIAN")).unwrap();
    fs::create_dir_all(tree.join("opt")).unwrap();
    fs::write(tree.join("opt/site"), "site").unwrap();
    let control =
        "Package: site-tool\nVersion: 1.0\nArchitecture: all\nMaintainer: site <s@example.com>\nDescription: test\n";
    fs::write(tree.join("DEBIAN/control"), control).unwrap();
    let script = "#!/bin/sh\ntest \"$SITE_FLAG\" = yes\n";
    fs::write(tree.join("DEBIAN/postinst"), script).unwrap();
    fs::set_permissions(tree.join("DEBIAN/postinst"), fs::Permissions::from_mode(0o755)).unwrap();
    let deb = folder.join("site-tool_1.0_all.deb");
    assert!(Command::new("dpkg-deb").arg("--build").arg(&tree).arg(&deb).output().unwrap().status.success());
    let size = fs::metadata(&deb).unwrap().len();
    let digest = rootfs::digest::Digest::of(&fs::read(&deb).unwrap()).to_hex();
    let entry = format!("{control}Filename: ./site-tool_1.0_all.deb\nSize: {size}\nSHA256: {digest}\n");
    fs::write(folder.join("Packages"), entry).unwrap();
}

/// What a Debian image needs to boot from the network.
const PACKAGES: [&str; 13] = [
    "linux-image-cloud-amd64",
    "dracut",
    "dracut-network",
    "systemd",
    "systemd-sysv",
    "udev",
    "iproute2",
    "kmod",
    "isc-dhcp-client",
    "procps",
    "nfs-common",
    "curl",
    "attr",
];

/// An attempt and everything that its worker said.
struct Run {
    scratch: tempfile::TempDir,
    reports: Vec<Report>,
}

fn items(names: &[&str]) -> serde_json::Value {
    let items: Vec<_> = names
        .iter()
        .enumerate()
        .map(|(i, name)| json!({"name": name, "at": format!("test.pkglist:{}", i + 1)}))
        .collect();
    json!(items)
}

fn pass(remove_before: &[&str], install: &[&str], remove_after: &[&str]) -> serde_json::Value {
    json!({
        "environment": {}, "remove_before": items(remove_before), "install": items(install),
        "remove_after": items(remove_after),
    })
}

fn plan(passes: serde_json::Value, install: &Path) -> BuildPlan {
    serde_json::from_value(json!({
        "version": model::plan::PLAN_VERSION, "osimage": "debian12-x86_64-netboot-test", "revision": 1, "osvers": "debian12", "osarch": "x86_64",
        "arch": "x86_64", "profile": "test", "provmethod": "netboot",
        "rootimgdir": install.join("netboot/debian12/x86_64/test"), "install_dir": install,
        "packages": {"kind": "apt", "suite": "bookworm"},
        "repositories": [{
            "url": mirror(), "suite": "bookworm", "components": ["main"], "trust": {"kind": "distribution"}, "source": "pkgdir"
        }],
        "other_repositories": [], "passes": passes, "other_passes": [], "environment": {},
        "kernel": {"kind": "only"}, "drivers": {"load": ["virtio_net", "tg3", "ext4"]}, "postinstall": [],
        "interfaces": {"boot": null, "others": []}, "script_environment": {"IMG_NAME": "debian12-x86_64-netboot-test"},
        "needs_install": [], "attributes": [], "warnings": [],
    }))
    .unwrap()
}

async fn run(plan: &BuildPlan, install: Option<PathBuf>) -> Run {
    run_on(plan, install, Facts::gather()).await
}

async fn run_on(plan: &BuildPlan, install: Option<PathBuf>, facts: Facts) -> Run {
    let scratch = tempfile::tempdir_in("/var/tmp").unwrap();
    // Open to `_apt`, as the agent makes it.
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o711)).unwrap();
    let file = |name: &str| scratch.path().join(name);
    fs::write(file("plan.json"), serde_json::to_vec(plan).unwrap()).unwrap();
    let order = Order {
        proxies: Default::default(),
        attempt: AttemptId { build: BuildId::FIRST, attempt: Attempt::FIRST },
        plan: file("plan.json"),
        scratch: scratch.path().to_owned(),
        archive: file("1.1.tar.zst"),
        tree: None,
        install,
        mount: None,
        conditions: Vec::new(),
        min_scratch_free: 1 << 30,
        facts,
    };
    order.write(&file("order.json")).unwrap();
    let mut worker = Worker::start(Path::new(env!("CARGO_BIN_EXE_imgctl-agent")), &file("order.json")).unwrap();
    let mut reports = Vec::new();
    while let Some(report) = worker.next().await.unwrap() {
        reports.push(report);
    }
    assert_eq!(worker.end().await.unwrap(), "");
    Run { scratch, reports }
}

impl Run {
    fn failure(&self) -> &Failure {
        match self.reports.last() {
            Some(Report::Failed(failure)) => failure,
            _ => panic!("the worker did not fail:\n{}", self.log()),
        }
    }

    fn product(&self) -> &Product {
        match self.reports.last() {
            Some(Report::Finished(product)) => product,
            _ => panic!("the worker did not finish:\n{}", self.log()),
        }
    }

    fn log(&self) -> String {
        let text = |report: &Report| match report {
            Report::Line(line) => Some(format!("{} {}\n", line.stage, line.text)),
            _ => None,
        };
        self.reports.iter().filter_map(text).collect()
    }

    fn stages(&self) -> Vec<(Stage, StageStatus)> {
        let ended = |report: &Report| match report {
            Report::StageEnded { stage, status, .. } => Some((*stage, *status)),
            _ => None,
        };
        self.reports.iter().filter_map(ended).collect()
    }
}

/// The seconds that each stage took, for whoever runs this by hand.
fn print_times(run: &Run) {
    let mut started = 0;
    for report in &run.reports {
        match report {
            Report::StageStarted { time_ms, .. } => started = *time_ms,
            Report::StageEnded { stage, status, time_ms } => {
                eprintln!("{stage:12} {status:?} {:.1} s", (time_ms - started) as f64 / 1000.0);
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_debian_image_is_built_whole() {
    let install = tempfile::tempdir().unwrap();
    let mut plan = plan(
        json!([pass(&[], &PACKAGES, &[]), pass(&[], &["nano", "tree"], &["tree", "never-there"])]),
        install.path(),
    );
    let script = "#!/bin/sh\nset -e\necho \"args $*\"\necho \"kernel $IMG_KERNELVERSION $(chroot $1 uname -r)\"\n\
        test -d \"$1/etc\"; test \"$1\" = \"$IMG_ROOTIMGDIR\"; pwd; ls\n! touch $(dirname $1)/../sibling/x 2>/dev/null\n\
        test -f $(dirname $1)/../sibling/there\necho marked > $1/etc/marked\nmount -t tmpfs t $1/mnt\n";
    plan.postinstall = serde_json::from_value(
        json!([{"path": "/srv/post.sh", "args": ["one", "two words"], "content": {"text": script}}]),
    )
    .unwrap();
    fs::create_dir_all(install.path().join("netboot/debian12/x86_64/sibling")).unwrap();
    fs::write(install.path().join("netboot/debian12/x86_64/sibling/there"), "").unwrap();
    let others = install.path().join("post/otherpkgs");
    fs::create_dir_all(&others).unwrap();
    fs::set_permissions(install.path(), fs::Permissions::from_mode(0o755)).unwrap();
    make_other_repository(&others);
    plan.other_repositories = serde_json::from_value(json!([{
        "url": format!("file://{}", others.display()), "suite": "./", "components": [], "trust": {"kind": "unsigned"},
        "source": "otherpkgdir"
    }]))
    .unwrap();
    let mut other = pass(&["nano"], &["site-tool"], &[]);
    other["environment"] = json!({"SITE_FLAG": "yes"});
    plan.other_passes = serde_json::from_value(json!([other])).unwrap();
    let run = run(&plan, Some(install.path().to_owned())).await;
    print_times(&run);
    let product = run.product();
    let log = run.log();
    use StageStatus::Done;
    let statuses: Vec<_> = run.stages().into_iter().map(|(_, status)| status).collect();
    assert_eq!(statuses, [Done; 7]);

    let out = run.scratch.path().join("out");
    let mode = |name: &str| fs::metadata(out.join(name)).unwrap().mode() & 0o7777;
    for name in ["kernel", "initrd-stateless.gz", "initrd-statelite.gz", "build.json"] {
        assert_eq!(mode(name), 0o644, "{name}");
        assert!(fs::metadata(out.join(name)).unwrap().len() > 10_000, "{name}");
    }
    let root = out.join("rootimg");
    let text = |name: &str| fs::read_to_string(root.join(name)).unwrap();
    assert_eq!((text("etc/hostname"), text("etc/machine-id")), (String::new(), String::new()));
    assert!(text("etc/shadow").lines().any(|line| line.starts_with("root:*:")));
    assert_eq!(text("etc/marked"), "marked\n");
    assert!(text("etc/fstab").contains("test_x86_64 / tmpfs rw 0 1"));
    let sources = text("etc/apt/sources.list");
    assert_eq!(sources.lines().last().unwrap(), format!("deb {} bookworm main", mirror()));
    for absent in [
        "usr/sbin/policy-rc.d",
        "etc/apt/apt.conf.d/99mmdebstrap",
        "usr/bin/tree",
        "run/imgctl-initrd",
        "usr/lib/dracut/modules.d/97imgctl",
    ] {
        assert!(!root.join(absent).exists(), "{absent}");
    }
    assert!(!root.join("usr/bin/nano").exists());
    assert_eq!(text("opt/site"), "site");
    assert_eq!(
        fs::read_dir(root.join("var/cache/apt/archives"))
            .unwrap()
            .filter(|e| e.as_ref().unwrap().path().is_file())
            .count(),
        0
    );
    assert!(
        log.contains(&format!(
            "args {0}/netboot/debian12/x86_64/test/rootimg debian12 x86_64 test one two words",
            install.path().display()
        )),
        "{log}"
    );
    assert!(log.contains(&format!("kernel {0} {0}", product.kernel_version)));
    assert!(log.contains("left out: tg3"));

    if let Some(keep) = std::env::var_os("KEEP_OUT") {
        Command::new("cp").arg("-a").arg(&out).arg(keep).status().unwrap();
    }
    let record: serde_json::Value = serde_json::from_str(&fs::read_to_string(out.join("build.json")).unwrap()).unwrap();
    assert_eq!(record["packages"].as_array().unwrap().len(), product.packages as usize);
    assert_eq!(fs::metadata(&product.archive).unwrap().len(), product.bytes);
    let listing = Command::new("tar").args(["--zstd", "-tf"]).arg(&product.archive).output().unwrap();
    let names = String::from_utf8(listing.stdout).unwrap();
    for name in ["kernel", "initrd-stateless.gz", "build.json", "rootimg/etc/marked"] {
        assert!(names.lines().any(|line| line.trim_start_matches("./") == name), "{name}");
    }
}

#[tokio::test]
async fn every_missing_package_is_named_with_its_line() {
    let plan = plan(
        json!([pass(&[], &["nano", "no-such-package-x", "no-such-package-y"], &[])]),
        Path::new("/nowhere-install"),
    );
    let run = run(&plan, None).await;
    print_times(&run);
    let failure = run.failure();
    assert_eq!(
        failure.cause,
        "2 packages are in none of the repositories: `no-such-package-x` (test.pkglist:2), `no-such-package-y` (test.pkglist:3)"
    );
    assert_eq!((failure.stage, failure.blame), (Stage::Packages, Blame::Build));
    assert!(failure.last_lines.iter().any(|line| line.contains("Unable to locate package no-such-package-x")));
}

#[tokio::test]
async fn where_mmdebstrap_is_missing_debootstrap_makes_the_base() {
    let plan = plan(json!([pass(&[], &["nano"], &[])]), Path::new("/nowhere-install"));
    let mut facts = Facts::gather();
    facts.tools.retain(|tool| !tool.starts_with("mmdebstrap"));
    let run = run_on(&plan, None, facts).await;
    print_times(&run);
    let log = run.log();
    assert!(log.contains("+ debootstrap ") && !log.contains("mmdebstrap --"), "{log}");
    assert!(run.stages().contains(&(Stage::Packages, StageStatus::Done)), "{log}");
    // As far as an image without a kernel can come; what follows is the same for both.
    assert_eq!(run.failure().stage, Stage::Configure, "{log}");
    assert!(run.scratch.path().join("out/rootimg/bin/nano").exists());
}

#[tokio::test]
async fn a_killed_worker_leaves_neither_process_nor_mount() {
    let plan = plan(json!([pass(&[], &["nano"], &[])]), Path::new("/nowhere-install"));
    let scratch = tempfile::tempdir_in("/var/tmp").unwrap();
    let file = |name: &str| scratch.path().join(name);
    fs::write(file("plan.json"), serde_json::to_vec(&plan).unwrap()).unwrap();
    let order = Order {
        proxies: Default::default(),
        attempt: AttemptId { build: BuildId::FIRST, attempt: Attempt::FIRST },
        plan: file("plan.json"),
        scratch: scratch.path().to_owned(),
        archive: file("1.1.tar.zst"),
        tree: None,
        install: None,
        mount: None,
        conditions: Vec::new(),
        min_scratch_free: 0,
        facts: Facts::gather(),
    };
    order.write(&file("order.json")).unwrap();
    let mut worker = Worker::start(Path::new(env!("CARGO_BIN_EXE_imgctl-agent")), &file("order.json")).unwrap();
    while let Some(report) = worker.next().await.unwrap() {
        if matches!(&report, Report::Line(line) if line.text.contains("downloading packages")) {
            break;
        }
    }
    let before = std::time::Instant::now();
    worker.end().await.unwrap();
    assert!(before.elapsed().as_secs() < 3);
    let name = scratch.path().to_string_lossy().into_owned();
    assert!(!fs::read_to_string("/proc/self/mountinfo").unwrap().contains(&name));
    let holds = |pid: &str| {
        fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains(&name))
    };
    let left: Vec<_> = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|e| e.unwrap().file_name().into_string().ok())
        .filter(|pid| holds(pid))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    rootfs::remove::remove_tree(&file("out")).unwrap();
}
