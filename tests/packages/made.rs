//! The packages under test, made once a run in two versions that differ in nothing else.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tests::{arch, binary};

use super::dnf::said;
use super::manual;

/// The version that comes after.
pub const NEXT: &str = "99.0";

/// A folder of packages.
#[derive(Debug)]
pub struct Packages {
    folder: tempfile::TempDir,
}

/// Every package in this version and in [`NEXT`].
pub fn packages() -> &'static Packages {
    static PACKAGES: OnceLock<Packages> = OnceLock::new();
    PACKAGES.get_or_init(make)
}

/// This version.
pub fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

impl Packages {
    /// Where they lie.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A package's file, as Debian names it.
    pub fn deb(&self, name: &str, version: &str) -> PathBuf {
        let arch = if arch() == "x86_64" { "amd64" } else { "ppc64el" };
        self.file(&format!("{name}_{version}_{arch}.deb"))
    }

    /// A package's file, as rpm names it.
    pub fn rpm(&self, name: &str, version: &str) -> PathBuf {
        let arch = if arch() == "x86_64" { "x86_64" } else { "ppc64le" };
        self.file(&format!("{name}-{version}-1.{arch}.rpm"))
    }

    fn file(&self, name: &str) -> PathBuf {
        let path = self.folder().join(name);
        assert!(path.is_file(), "there is no {}", path.display());
        path
    }
}

fn make() -> Packages {
    let work = tempfile::Builder::new().prefix("imgctl-made-").tempdir_in("/var/tmp").expect("there is room");
    let (programs, pages) = (work.path().join("programs"), work.path().join("manual"));
    fs::create_dir(&programs).expect("the folder can be written");
    for name in ["imgctl", "imgctl-agent", "imgctl-coordinator"] {
        said(Command::new("strip").arg("--strip-debug").arg("-o").arg(programs.join(name)).arg(binary(name))).done();
    }
    manual::write(&pages).expect("the folder can be written");
    let folder = tempfile::Builder::new().prefix("imgctl-packages-").tempdir_in("/var/tmp").expect("there is room");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/package/package.sh");
    let arch = if arch() == "x86_64" { "x86_64" } else { "powerpc64le" };
    for version in [version(), NEXT] {
        let mut command = Command::new(&script);
        command.args([&programs, &pages]).arg(arch).arg(folder.path());
        said(command.env("QUICK", "1").env("VERSION", version)).done();
    }
    Packages { folder }
}
