//! The stage over real disks and packages, with an image of two files.

use std::os::unix::fs::symlink;

use model::id::{Attempt, AttemptId, BuildId};
use model::plan::BuildPlan;
use model::stage::Stage;
use serde_json::json;

use super::*;
use crate::sys::exec::Cmd;
use crate::worker::order::Order;
use crate::worker::report::Reporter;

const KERNEL: &str = "5.14.0-70.el9.x86_64";

fn shell(folder: &Path, script: &str) {
    let cmd = Cmd::new("bash").args(["-euo", "pipefail", "-c", script]).directory(folder);
    cmd.run(&mut |_| {}).unwrap_or_else(|error| panic!("{script}: {error}: {:?}", error.lines()));
}

/// A module's beginning, its architecture and what it says of itself.
fn module(machine: u8, kernel: &str) -> Vec<u8> {
    let head = [&[0x7f, b'E', b'L', b'F', 2, 1][..], &[0; 12], &[machine, 0]].concat();
    [&head[..], format!("\0vermagic={kernel} SMP \0").as_bytes()].concat()
}

/// Runs the stage over `sources`; what it left.
fn taken(dir: &Path, sources: serde_json::Value, ignore_kernel_check: bool) -> (State, Vec<String>) {
    let plan: BuildPlan = serde_json::from_value(json!({
        "version": model::plan::PLAN_VERSION, "osimage": "a", "revision": 1, "osvers": "rhels9.4", "osarch": "x86_64",
        "arch": "x86_64", "profile": "a", "provmethod": "netboot", "rootimgdir": "/install/netboot/a",
        "install_dir": "/install", "packages": {"kind": "apt", "suite": "bookworm"}, "repositories": [],
        "other_repositories": [], "passes": [], "other_passes": [], "environment": {}, "kernel": {"kind": "only"},
        "drivers": {"sources": sources, "take": "all"}, "wish": {"ignore_kernel_check": ignore_kernel_check},
        "postinstall": [], "interfaces": {"boot": null, "others": []}, "script_environment": {}, "needs_install": [],
        "attributes": [], "warnings": [],
    }))
    .unwrap();
    let facts = json!({
        "arch": "x86_64", "os": "debian12", "kernel": "6.1", "package_systems": [], "tools": [], "memory_bytes": 0,
        "cpus": 1, "version": "0",
    });
    let order = Order {
        attempt: AttemptId { build: BuildId::FIRST, attempt: Attempt::FIRST },
        plan: dir.join("plan.json"),
        scratch: dir.join("scratch"),
        archive: dir.join("archive"),
        tree: None,
        install: None,
        mount: None,
        conditions: Vec::new(),
        min_scratch_free: 0,
        proxies: std::collections::BTreeMap::new(),
        facts: serde_json::from_value(facts).unwrap(),
    };
    let context = Context::new(&order, &plan);
    drop(remove_tree(&order.scratch));
    let modules = context.root.join("lib/modules").join(KERNEL);
    fs::create_dir_all(modules.join("kernel/drivers/net")).unwrap();
    fs::write(modules.join("kernel/drivers/net/old.ko.xz"), "the image's own").unwrap();
    let reporter = Reporter::new(std::io::sink());
    let mut state = State { kernel: KERNEL.to_owned(), ..State::default() };
    run(&context, &mut state, &StageLog::new(Stage::Configure, &reporter)).unwrap();
    assert_eq!(fs::read_dir(context.work.join("drivers")).unwrap().filter(|one| !is_module_desk(one)).count(), 0);
    let mut files: Vec<String> = harvest::gather(&modules).modules.into_iter().map(|module| module.file).collect();
    files.extend(harvest::gather(&context.root).firmware.into_iter().map(|file| file.name));
    (state, files)
}

fn is_module_desk(entry: &std::io::Result<fs::DirEntry>) -> bool {
    entry.as_ref().is_ok_and(|entry| entry.file_name() == "module")
}

/// A disk with modules for this kernel, for another and for another architecture, one of them in a package.
fn disk(dir: &Path) {
    let write = |name: &str, bytes: &[u8]| {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    write("disk/rhdd3", b"Driver Update Disk version 3");
    write("disk/old.ko", &module(62, KERNEL));
    write("disk/new.ko", &module(62, KERNEL));
    write("disk/other.ko", &module(62, "5.14.0-427.el9.x86_64"));
    write("disk/strange.ko", &module(183, KERNEL));
    write("disk/lib/firmware/v/a.bin", b"firmware");
    symlink("v/a.bin", dir.join("disk/lib/firmware/b.bin")).unwrap();
    let other = module(62, "5.14.0-427.el9.x86_64");
    write("rpm/extra/packed.ko", &other);
    write(
        "kmod.spec",
        format!(
            "%global __os_install_post %{{nil}}\nName: kmod\nVersion: 1\nRelease: 1\nSummary: x\nLicense: x\n\
             BuildArch: noarch\n%description\nx\n%install\nmkdir -p %{{buildroot}}/lib/modules\n\
             cp -r {0}/rpm/extra %{{buildroot}}/lib/modules/\nxz %{{buildroot}}/lib/modules/extra/packed.ko\n\
             %files\n/lib/modules/extra\n",
            dir.display()
        )
        .as_bytes(),
    );
    shell(
        dir,
        "rpmbuild --quiet --define \"_topdir $PWD/rpmbuild\" -bb kmod.spec; cp rpmbuild/RPMS/noarch/*.rpm kmod.rpm",
    );
    shell(dir, "mkdir -p disk/rpms/x86_64; cp kmod.rpm disk/rpms/x86_64; xorriso -as mkisofs -R -o disk.iso disk");
}

#[test]
fn modules_of_another_kernel_are_taken_when_it_is_said_so_and_else_warned_of() {
    let dir = tempfile::tempdir().unwrap();
    disk(dir.path());
    let of = |kind: &str, name: &str| json!([{"kind": kind, "path": dir.path().join(name)}]);

    let (state, files) = taken(dir.path(), of("disk", "disk.iso"), false);
    assert_eq!((files, state.new_drivers), (words("new.ko old.ko b.bin v/a.bin"), words("new old")));
    let strange = "driver strange is for another architecture than x86_64; it is left out";
    assert_eq!((state.warnings.len(), state.warnings[2].as_str()), (3, strange));
    for (warning, name) in state.warnings.iter().zip(["packed", "other"]) {
        let text = format!(
            "driver {name} was built for 5.14.0-427.el9.x86_64, and the image's kernel is {KERNEL}; it is left out, \
             --ignorekernelchk takes it all the same"
        );
        assert_eq!(*warning, text);
    }
    let (state, files) = taken(dir.path(), of("disk", "disk.iso"), true);
    assert_eq!(files, words("new.ko old.ko other.ko packed.ko.xz b.bin v/a.bin"));
    assert_eq!((state.new_drivers, state.warnings), (words("new old other packed"), vec![strange.to_owned()]));

    let (state, files) = taken(dir.path(), of("package", "kmod.rpm"), false);
    assert_eq!((files, state.warnings.len()), (words("old.ko.xz"), 1));
    let (state, files) = taken(dir.path(), of("package", "kmod.rpm"), true);
    assert_eq!((files, state.new_drivers), (words("old.ko.xz packed.ko.xz"), words("packed")));
}

#[test]
fn a_disk_that_brings_nothing_is_a_warning_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("notes.txt"), "hello").unwrap();
    let (state, files) = taken(dir.path(), json!([{"kind": "disk", "path": dir.path().join("notes.txt")}]), false);
    assert_eq!(files, ["old.ko.xz"]);
    let warning = &state.warnings[0];
    assert!(warning.contains("notes.txt` has not correct format and is passed over: it is no image of"), "{warning}");
    shell(dir.path(), "mkdir empty; touch empty/rhdd3; xorriso -as mkisofs -R -o empty.iso empty");
    let (state, _) = taken(dir.path(), json!([{"kind": "disk", "path": dir.path().join("empty.iso")}]), false);
    assert!(state.warnings[0].contains("empty.iso` holds neither modules nor"), "{:?}", state.warnings);
}

#[test]
fn what_the_image_has_something_else_in_place_of_is_left_out_with_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    shell(
        dir.path(),
        "mkdir -p first/firmware/a second/firmware/b second/firmware/link; \
         touch {first,second}/rhdd3 first/firmware/a/x first/firmware/b second/firmware/{a,b/y,link/z,c}; \
         ln -s link first/firmware/link",
    );
    let of = |name: &str| json!({"kind": "disk", "path": dir.path().join(name)});
    let (state, files) = taken(dir.path(), json!([of("first"), of("second")]), false);
    assert_eq!(files, words("old.ko.xz a/x b c link"));
    let source = dir.path().join("second").display().to_string();
    let warnings = [
        ("a", "a folder has that name"),
        ("b/y", "a file has the name of one of its folders"),
        ("link/z", "links go round in circles there"),
    ];
    let warnings = warnings.map(|(name, why)| {
        format!("`/lib/firmware/{name}` of the driver's source `{source}` is left out: in the image {why}")
    });
    assert_eq!(state.warnings, warnings);
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}
