//! genimage's options: what they change, for how long, and what they come to in a real image.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tests::Site;

use super::images::BOOTABLE;

/// What the disks of each kind bring, and the one that was asked for of a package.
const NEW_DRIVERS: [&str; 5] = ["diskdrv", "isodrv", "extdrv", "fatdrv", "rpmdrv"];

fn attribute<'a>(plan: &'a Value, name: &str) -> &'a Value {
    let all = plan["attributes"].as_array().unwrap();
    all.iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("no {name} in {all:?}"))
}

#[test]
fn options_hold_for_one_build_unless_they_are_saved() {
    let mut site = Site::start();
    site.agent("n1");
    site.osimage("a", BOOTABLE, &["netdrivers=tg3".to_owned()]);
    let definition = || site.cli.json("osimage show a")[0].clone();
    let before = definition();

    let refused = site.cli.run("genimage a --interactive").exited(2);
    assert!(refused.err.contains("no terminal"), "{}", refused.err);
    site.cli.run("genimage a --save").exited(2).says("nothing to save");
    site.cli.run("genimage a --set rootimgdir=/x").exited(3).says("which image it is");
    site.cli.run("genimage a --permission banana").exited(3).says("octal");

    let dry = site.cli.json("genimage a -n ice -i eth0 -l 50% --dryrun");
    let plan = &dry[0]["plan"];
    assert_eq!(attribute(plan, "netdrivers")["origin"], json!({"kind": "once"}));
    assert_eq!((&plan["drivers"]["named"], &plan["wish"]["root_limit"]), (&json!(["ice"]), &json!("50%")));
    assert_eq!(dry[0]["agents"], json!([{"agent": "n1", "lacks": [], "emulated_on": null}]));
    let shown = site.cli.run("genimage a -n ice -t 10m --agent n1 --dryrun").says("-t has no effect").succeeded().out;
    assert!(shown.contains("netdrivers=ice  (for this build alone)") && shown.contains("fits"), "{shown}");
    let resolved = site.cli.json("resolve a --set kernelver=6.1.0-1-amd64");
    assert_eq!(resolved["kernel"]["version"], "6.1.0-1-amd64");
    assert_eq!((site.cli.json("builds list"), definition()), (json!([]), before.clone()));

    site.cli.ok("agents drain n1");
    let lacks = site.cli.json("genimage a --dryrun")[0]["agents"][0]["lacks"].clone();
    assert!(lacks[0].as_str().unwrap().contains("drained"), "{lacks}");
    site.cli.ok("genimage a -n ice --detach");
    let first = site.cli.json("builds show 1");
    assert_eq!((&first["genimage"]["set"], &first["revision"]), (&json!(["netdrivers=ice"]), &json!(1)));
    assert_eq!(definition(), before);
    site.cli.ok("genimage a -n ice -l 2g --save --detach");
    let second = site.cli.json("builds show 2");
    assert_eq!((&second["revision"], &second["genimage"]["root_limit"]), (&json!(2), &json!("2g")));
    let after = definition();
    assert_eq!((&after["revision"], &after["attributes"]["netdrivers"]), (&json!(2), &json!("ice")));
    // What was asked for one build is asked again when it is tried again.
    site.cli.ok("builds cancel 1");
    site.cli.ok("builds retry 1 --detach");
    assert_eq!(site.cli.json("builds show 3")["genimage"]["set"], json!(["netdrivers=ice"]));
    site.cli.ok("builds cancel 2 3");
}

#[test]
fn the_kernel_and_the_drivers_that_are_asked_for_are_in_the_image_and_its_initrds() {
    let mut site = Site::start();
    site.agent("n1");
    site.osimage("a", &BOOTABLE.replace("linux-image-cloud-amd64\n", ""), &[]);
    let missing = site.cli.run("genimage a -k 9.9.9-none").exited(1);
    let said = missing.out + &missing.err;
    assert!(said.contains("Cannot find the kernel package with version 9.9.9-none"), "{said}");
    // It says which there are; one for virtual machines is small.
    let kernel = said.split([' ', ',']).find(|word| word.ends_with("-cloud-amd64"));
    let kernel = kernel.unwrap_or_else(|| panic!("no kernel is named in {said}")).to_owned();
    assert!(!said.contains("Setting up"), "something was installed before the kernel was looked for:\n{said}");

    let sources = driver_sources(&site, &kernel);
    let line =
        format!("genimage a -k {kernel} -n virtio-net,nosuchdriver,rpmdrv -l 50% --set driverupdatesrc={sources}");
    site.cli.run(&line).succeeded();
    let build = site.cli.json("builds show 2");
    let warnings = build["warnings"].as_array().unwrap();
    let unknown = format!("kernel {kernel} has no driver nosuchdriver; netdrivers names it");
    assert!(warnings.iter().any(|warning| *warning == unknown), "{warnings:?}");
    let initrds = build["initrds"].as_array().unwrap();
    assert_eq!(initrds.len(), 2);
    for initrd in initrds {
        let has = |list: &str, name: &str| initrd[list].as_array().unwrap().iter().any(|one| one == name);
        assert!(has("drivers", "virtio_net") && has("missing", "nosuchdriver"), "{initrd}");
        for driver in NEW_DRIVERS {
            assert!(has("drivers", driver), "{driver}: {initrd}");
        }
        assert!(initrd["modules"].as_u64().unwrap() > 50, "{initrd}");
    }
    let shown = site.cli.ok("builds show 2");
    assert!(shown.contains("not in it: nosuchdriver") && shown.contains("-l 50%"), "{shown}");
    let generation = site.rootimgdir("a").join(".generations/1");
    let record: Value = serde_json::from_slice(&fs::read(generation.join("build.json")).unwrap()).unwrap();
    let names = record["initrds"][0]["module_names"].as_array().unwrap();
    assert!(names.iter().any(|name| name == "failover"), "what virtio_net needs came along: {names:?}");
    for name in ["initrd-stateless.gz", "initrd-statelite.gz"] {
        let script = format!("gzip -dc {} | cpio -i --quiet --to-stdout etc/cmdline", generation.join(name).display());
        let output = Command::new("bash").args(["-euo", "pipefail", "-c", &script]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "rootlimit=50%\n", "{name}");
    }
    newer_drivers_are_in_the_tree(&generation.join("rootimg"), &kernel, warnings);
}

fn newer_drivers_are_in_the_tree(tree: &Path, kernel: &str, warnings: &[Value]) {
    let modules = tree.join("lib/modules").join(kernel);
    let there = |name: &str| modules.join("kernel/drivers/driverdisk").join(name).exists();
    for driver in NEW_DRIVERS {
        assert!(there(&format!("{driver}.ko")), "{driver}");
    }
    assert!(!there("notasked.ko") && !there("otherdrv.ko"), "neither the rest of a package nor another kernel's");
    let dummy = modules.join("kernel/drivers/net/dummy.ko");
    let replaced = fs::read(&dummy).unwrap();
    assert!(replaced.ends_with(b"replaced"), "the kernel's own module stands in its place still");
    assert_eq!(fs::read_to_string(tree.join("lib/firmware/fixture/a.bin")).unwrap(), "firmware");
    let other =
        warnings.iter().filter_map(Value::as_str).find(|text| text.starts_with("driver otherdrv was built for"));
    assert!(other.is_some_and(|text| text.contains("--ignorekernelchk")), "{warnings:?}");
}

fn shell(folder: &Path, script: &str) {
    let output = Command::new("bash").args(["-euo", "pipefail", "-c", script]).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Driver disks and a driver package with a real module of this kernel under several names.
fn driver_sources(site: &Site, kernel: &str) -> String {
    let desk = site.path("drivers");
    fs::create_dir_all(&desk).unwrap();
    let install = site.install_dir().join("drivers");
    fs::create_dir_all(&install).unwrap();
    shell(
        &desk,
        &format!(
            "apt-get -qq -o APT::Sandbox::User=root download linux-image-{kernel}; dpkg-deb -x *.deb deb\n\
             cp deb/lib/modules/{kernel}/kernel/drivers/net/dummy.ko* .; [ ! -e dummy.ko.xz ] || xz -d dummy.ko.xz"
        ),
    );
    let module = fs::read(desk.join("dummy.ko")).unwrap();
    shell(&desk, "mkdir -p dud/lib/firmware/fixture rpm/extra");
    let write = |name: &str, bytes: &[u8]| fs::write(desk.join(name), bytes).unwrap();
    write("dud/rhdd3", b"Driver Update Disk version 3");
    write("dud/lib/firmware/fixture/a.bin", b"firmware");
    write("dud/diskdrv.ko", &module);
    write("dud/dummy.ko", &[&module[..], b"replaced"].concat());
    let of_another = module.clone();
    let at = of_another.windows(9).position(|window| window == b"vermagic=").unwrap() + 9;
    write("dud/otherdrv.ko", &[&module[..at], b"9", &module[at + 1..]].concat());
    write("rpm/extra/rpmdrv.ko", &module);
    write("rpm/extra/notasked.ko", &module);
    shell(&desk.join("dud"), &format!("find . | cpio -o -H newc --quiet | gzip > {}/dud.img", install.display()));
    for name in ["iso", "ext", "fat"] {
        shell(&desk, &format!("mkdir {name}; cp dud/rhdd3 {name}/; cp dummy.ko {name}/{name}drv.ko"));
    }
    let script = "xorriso -as mkisofs -R -o TO/dud.iso iso\n\
                  truncate -s 4M ext.img; mke2fs -q -F -t ext4 -d ext ext.img; gzip -c ext.img > TO/ext.img.gz\n\
                  truncate -s 1440k TO/fat.img; mkfs.vfat TO/fat.img; mcopy -s -i TO/fat.img fat/* ::";
    shell(&desk, &script.replace("TO", &install.display().to_string()));
    package(&desk, &install, kernel);
    format!(
        "dud:{0}/dud.img,dud:{0}/dud.iso,dud:{0}/ext.img.gz,dud:{0}/fat.img,rpm:{0}/kmod-fixture.rpm",
        install.display()
    )
}

fn package(desk: &Path, install: &Path, kernel: &str) {
    let spec: PathBuf = desk.join("kmod.spec");
    let text = format!(
        "%global __os_install_post %{{nil}}\nName: kmod-fixture\nVersion: 1\nRelease: 1\nSummary: x\nLicense: x\n\
         BuildArch: noarch\n%description\nx\n%install\nmkdir -p %{{buildroot}}/lib/modules/{kernel}\n\
         cp -r {}/rpm/extra %{{buildroot}}/lib/modules/{kernel}/\n%files\n/lib/modules/{kernel}\n",
        desk.display()
    );
    fs::write(&spec, text).unwrap();
    let home = desk.join("rpmbuild");
    shell(desk, &format!("rpmbuild --quiet --define '_topdir {}' -bb kmod.spec", home.display()));
    shell(
        desk,
        &format!("cp {}/RPMS/noarch/kmod-fixture-*.rpm {}/kmod-fixture.rpm", home.display(), install.display()),
    );
}
