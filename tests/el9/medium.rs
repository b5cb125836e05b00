//! The finished medium: where things lie, and what versions they have.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::make::{self, INDEX, Index, Line};

/// An install medium and what lies beside it, below an `/install` of its own. It is shared by every test: read it, or
/// lay it into a test's own install root.
#[derive(Debug)]
pub struct Medium {
    install: PathBuf,
    osver: String,
    arch: String,
    packages: Vec<Package>,
    /// Locked for as long as somebody may read the medium.
    _in_use: File,
}

/// A package of the medium, or beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Its file, below the install root.
    pub path: PathBuf,
    /// Its name.
    pub name: String,
    /// Its epoch, `0` if it says none.
    pub epoch: String,
    /// Its version.
    pub version: String,
    /// Its release.
    pub release: String,
    /// Its architecture, or `noarch`.
    pub arch: String,
    /// The release of the kernel in it (`uname -r`), if it is a kernel-core.
    pub kernel: Option<String>,
}

impl Package {
    /// `version-release`, as kernel packages are asked for.
    pub fn version_release(&self) -> String {
        format!("{}-{}", self.version, self.release)
    }

    /// `name-version-release.arch`, as `rpm -qa` prints it.
    pub fn nvra(&self) -> String {
        format!("{}-{}-{}.{}", self.name, self.version, self.release, self.arch)
    }
}

impl From<Line> for Package {
    fn from(line: Line) -> Self {
        let Line { path, name, epoch, version, release, arch, kernel } = line;
        Self { path, name, epoch, version, release, arch, kernel }
    }
}

impl Medium {
    /// Opens a finished medium.
    pub(super) fn open(place: &Path, in_use: File) -> Self {
        let text = fs::read(place.join(INDEX)).expect("a finished medium has an index");
        let index: Index = serde_json::from_slice(&text).expect("the index is what was written");
        let packages = index.packages.into_iter().map(Package::from).collect();
        Self { install: place.join("install"), osver: index.osver, arch: index.arch, packages, _in_use: in_use }
    }

    /// The install root that everything lies below.
    pub fn install(&self) -> &Path {
        &self.install
    }

    /// The distribution's name in osimages, such as `rhels9.9`.
    pub fn osver(&self) -> &str {
        &self.osver
    }

    /// Its architecture, such as `x86_64`.
    pub fn arch(&self) -> &str {
        &self.arch
    }

    /// The medium, below the install root: a pkgdir, with BaseOS and AppStream.
    pub fn tree(&self) -> PathBuf {
        Path::new(&self.osver).join(&self.arch)
    }

    /// The public key of the medium's packages, below the install root.
    pub fn key(&self) -> PathBuf {
        self.tree().join("RPM-GPG-KEY-fixture")
    }

    /// The repository of difficult packages (`fixture-…`), below the install root.
    pub fn fixtures(&self) -> PathBuf {
        Path::new("fixtures").join(&self.arch)
    }

    /// The repository of kernels that are never booted, below the install root: for a kerneldir, or one more pkgdir.
    pub fn kernels(&self) -> PathBuf {
        Path::new("kernels").join(&self.arch)
    }

    /// The otherpkgdir, below the install root, with the repositories `mofed` (signed with a key of its own, which lies in
    /// it) and `gpfs` (not signed).
    pub fn otherpkgs(&self) -> PathBuf {
        Path::new("post/otherpkgs").join(&self.osver).join(&self.arch)
    }

    /// The stock pkglist of a compute node.
    pub fn stock_list(&self) -> PathBuf {
        make::sources().join("data/lists").join(format!("compute.rhels9.{}.pkglist", self.arch))
    }

    /// The package of this name on the medium itself.
    pub fn package(&self, name: &str) -> &Package {
        let [package] = self.packages_in(&self.tree(), name)[..] else {
            panic!("the medium has no one package {name}")
        };
        package
    }

    /// Every package of this name below a folder of the install root, by the names of their files.
    pub fn packages_in(&self, folder: &Path, name: &str) -> Vec<&Package> {
        self.packages.iter().filter(|package| package.name == name && package.path.starts_with(folder)).collect()
    }

    /// Every package, on the medium and beside it.
    pub fn packages(&self) -> &[Package] {
        &self.packages
    }

    /// The release of the kernel that boots, as `uname -r` says.
    pub fn kernel_release(&self) -> &str {
        self.package("kernel-core").kernel.as_deref().expect("a kernel-core has a kernel")
    }

    /// The kernels that are never booted, from the oldest to the newest.
    pub fn other_kernels(&self) -> Vec<&Package> {
        let mut kernels = self.packages_in(&self.kernels(), "kernel-core");
        kernels.sort_by_key(|package| {
            let digits = |text: &str| text.split(['.', '_']).filter_map(|part| part.parse().ok()).collect::<Vec<u32>>();
            (digits(&package.version), digits(&package.release))
        });
        kernels
    }
}
