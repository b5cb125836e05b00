//! Debian's packages for builds that are to take little: as few and as small as a bootable image can do with.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Kept between runs; each is named by what went into it.
const KEPT: &str = "/var/tmp/imgctl-fixtures";

/// What an osimage of them lists, after its kernel.
const PKGLIST: &str =
    "dracut\ndracut-network\nisc-dhcp-client\niproute2\nprocps\nnfs-common\nwget\nkmod\nudev\nmount\n";

/// What is done to the packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packages {
    /// Thinned: what no build calls is left out, nothing is compressed.
    Thin,
    /// As Debian has them, with all that they depend on.
    Whole,
}

/// What an osimage of them lists.
pub fn pkglist(arch: &str) -> String {
    let kernel = if arch == "ppc64le" { "linux-image-powerpc64le" } else { "linux-image-cloud-amd64" };
    format!("{kernel}\n{PKGLIST}")
}

/// Makes a repository of them for an architecture, unless an earlier run has.
pub fn repository(codename: &str, arch: &str, packages: Packages) -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("harness/repository.sh");
    let debian = if arch == "ppc64le" { "ppc64el" } else { "amd64" };
    let kind = if packages == Packages::Thin { "thin" } else { "whole" };
    let args = [KEPT, codename, debian, kind];
    let made = Command::new(&script).args(args).stderr(Stdio::inherit()).output().expect("bash is there");
    assert!(made.status.success(), "{} ended with {}", script.display(), made.status);
    PathBuf::from(String::from_utf8(made.stdout).expect("a path is text").trim())
}
