//! `make lab-rpm`: an image like Enterprise Linux's, made by dnf on the ppc64le node.

use std::fs;
use std::path::Path;

use tests::el9::medium_of;
use tests::text;

use crate::stages::Lab;

const ARCH: &str = "ppc64le";

/// Lays the medium into the install root, unless an earlier run has.
pub(crate) fn lay(install: &Path) {
    let medium = medium_of(ARCH);
    if !install.join(medium.tree()).exists() {
        medium.lay_into(install);
    }
}

/// The stock list of a compute node, from the medium, whose signatures are checked.
pub(crate) fn compute(lab: &mut Lab) {
    let site = &lab.mn.site;
    let medium = medium_of(ARCH);
    if site.cli.run("osimage show compute-ppc64le").code != 0 {
        let list = site.write("lists/compute.pkglist", &fs::read_to_string(medium.stock_list()).expect("there is one"));
        let pkgdir = site.install_dir().join(medium.tree());
        site.cli.ok(&format!(
            "osimage create compute-ppc64le provmethod=netboot osvers={} osarch={ARCH} profile=compute pkglist={} pkgdir={}",
            medium.osver(),
            list.display(),
            pkgdir.display()
        ));
    }
    let ran = site.cli.run("build compute-ppc64le --discard-edits").succeeded();
    let end: Vec<&str> = ran.out.lines().rev().take(25).collect();
    end.iter().rev().for_each(|line| println!("  {line}"));
    let dir = site.install_dir().join("netboot").join(medium.osver()).join(ARCH).join("compute");
    let record: serde_json::Value =
        serde_json::from_slice(&fs::read(dir.join("current/build.json")).expect("there is a record")).expect("of JSON");
    assert_eq!(text(&record, "kernel_version"), medium.kernel_release());
    assert_eq!(text(&record["agent"], "arch"), ARCH);
    let names: Vec<&str> =
        record["packages"].as_array().into_iter().flatten().map(|package| text(package, "name")).collect();
    for name in ["bash", "systemd", "dracut", "openssh-server", "chrony"] {
        assert!(names.contains(&name), "{name} is not among {names:?}");
    }
    println!("  {} packages by dnf, kernel {}", names.len(), medium.kernel_release());
}
