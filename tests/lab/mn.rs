//! The management node: this machine, in a network of its own, with a coordinator and an NFS server.

use std::fs;
use std::path::{Path, PathBuf};

use super::network::{MN, Network};
use super::nfs::{Access, Nfs};
use crate::packages::{self, Packages};
use crate::{Site, SiteOptions};

/// What differs from the usual one.
#[derive(Debug, Clone, Default)]
pub struct MnOptions {
    /// The site's folder, if it is not to be a new one that goes with it.
    pub folder: Option<PathBuf>,
    /// Further lines of `coordinator.toml`.
    pub config: String,
}

/// See the module.
#[derive(Debug)]
pub struct Mn {
    /// The export, `/install`.
    pub nfs: Nfs,
    /// The coordinator and an admin's CLI.
    pub site: Site,
    /// The nodes' network.
    pub network: Network,
}

impl Mn {
    /// Starts it; this process must be [apart](super::apart).
    pub fn start(options: MnOptions) -> Self {
        assert!(super::apart::is_inside(), "the lab's network is for a namespace of its own");
        let network = Network::start();
        let listen = Some(format!("{MN}:0"));
        let MnOptions { folder, config } = options;
        // For the agents of nodes that have no mount of their own.
        let config = format!("install_source = \"mn:/install\"\n{config}");
        let site = Site::start_with(SiteOptions { listen, folder, config, ..SiteOptions::default() });
        let nfs = Nfs::start(&site.path("nfs"), site.install_dir(), Access::Full);
        Self { nfs, site, network }
    }

    /// Defines an osimage of the packages that were [laid](lay_packages) below the install root.
    pub fn osimage(&self, name: &str, arch: &str, attributes: &[String]) {
        let place = packages_in(self.site.install_dir(), arch);
        // As an earlier run left it.
        if self.site.cli.run(&format!("osimage show {name}-{arch}")).code == 0 {
            return;
        }
        let list = self.site.write(&format!("lists/{name}.{arch}.pkglist"), &packages::pkglist(arch));
        let mut args =
            vec!["osimage".to_owned(), "create".into(), format!("{name}-{arch}"), "provmethod=netboot".into()];
        args.extend([
            format!("osvers=debian{}", crate::debian().1),
            format!("osarch={arch}"),
            format!("profile={name}"),
        ]);
        args.extend([format!("pkgdir=[trusted=yes] {} ./", place.display()), format!("pkglist={}", list.display())]);
        args.extend(attributes.iter().cloned());
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        self.site.cli.run_args(&args, b"").succeeded();
    }
}

fn packages_in(install: &Path, arch: &str) -> PathBuf {
    install.join("packages").join(arch)
}

/// Copies the thinned packages of an architecture below an install root, where nodes see them; those that are there stay.
/// Of another architecture than this machine's they are asked of a mirror.
pub fn lay_packages(install: &Path, arch: &str) {
    let place = packages_in(install, arch);
    if place.exists() {
        return;
    }
    let repository = packages::repository(&crate::debian().0, arch, Packages::Thin);
    let making = place.with_extension("making");
    if making.exists() {
        rootfs::remove::remove_tree(&making).unwrap_or_else(|error| panic!("{error}"));
    }
    fs::create_dir_all(making.parent().expect("it is below the root")).expect("a folder");
    copy_files(&repository, &making);
    fs::rename(&making, &place).expect("the folder can be renamed");
}

fn copy_files(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a folder");
    for entry in fs::read_dir(from).expect("it is a repository").flatten() {
        fs::copy(entry.path(), to.join(entry.file_name())).expect("a copy");
    }
}
