//! A kit in an osimage, as xCAT's addkitcomp leaves it: generated lists, and a link in otherpkgdir.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::medium::Medium;

/// The kit of the medium.
const KIT: &str = "fixture-kit-1.0";

/// Its only component, which is a package.
const COMPONENT: &str = "component-fixture";

/// What addkitcomp puts into an osimage's attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KitLists {
    /// The first of `otherpkglist`.
    pub parameters: PathBuf,
    /// The last of `otherpkglist`.
    pub components: PathBuf,
    /// For `exlist`.
    pub exlist: PathBuf,
    /// For `postinstall`.
    pub postinstall: PathBuf,
}

/// Adds the medium's kit to an osimage of an install root that the medium was laid into.
pub fn add_kit_component(
    medium: &Medium,
    install: &Path,
    osimage: &str,
    otherpkgdir: &Path,
    rootimgdir: &Path,
) -> KitLists {
    let kit = install.join("kits").join(KIT);
    let repository = format!("{KIT}-rhels9-{}", medium.arch());
    let link = otherpkgdir.join(&repository);
    fs::create_dir_all(otherpkgdir).expect("the install root can be written");
    if !link.is_symlink() {
        symlink(kit.join("repos").join(&repository), &link).expect("the install root can be written");
    }
    let folder = install.join("osimages").join(osimage).join("kits");
    fs::create_dir_all(&folder).expect("the install root can be written");
    let write = |name: &str, text: String| {
        let path = folder.join(name);
        fs::write(&path, text).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
        path
    };
    let other = kit.join("other_files");
    let include = |name: &str| format!("#INCLUDE:{}#\n", other.join(name).display());
    let script = install.join("postscripts").join(format!("KIT_{COMPONENT}_fixture_postinstall.sh"));
    let run = format!(
        "installroot={} otherpkgdir={} {}\n",
        rootimgdir.join("rootimg").display(),
        otherpkgdir.display(),
        script.display()
    );
    let lists = KitLists {
        parameters: write("KIT_DEPLOY_PARAMS.otherpkgs.pkglist", include("fixture-kit.params")),
        components: write("KIT_COMPONENTS.otherpkgs.pkglist", format!("{repository}/{COMPONENT}\n")),
        exlist: write("KIT_COMPONENTS.exlist", include(&format!("{COMPONENT}.exlist"))),
        postinstall: write("KIT_COMPONENTS.postinstall", format!("#!/bin/sh\n\n{run}")),
    };
    fs::set_permissions(&lists.postinstall, Permissions::from_mode(0o755)).expect("it was just written");
    lists
}
