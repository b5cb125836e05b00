//! The medium in a test's own install root.
//!
//! Packages are hard links, all else is copied. A symbolic link would not do, since agents see nothing of the machine
//! but the install root; and no test writes into a package, but one may well change an index or a list.

use std::fs;
use std::path::Path;

use super::medium::Medium;

impl Medium {
    /// Lays everything into an install root: the medium at its usual place (`<osver>/<arch>`), kernels, otherpkgs and
    /// kits. To change a package, replace its file: written into, it would change for every test.
    pub fn lay_into(&self, install: &Path) {
        lay(self.install(), install, Packages::Linked);
    }

    /// The same as copies, for an install root that people work in.
    pub fn copy_into(&self, install: &Path) {
        lay(self.install(), install, Packages::Copied);
    }

    /// The same for one folder of the medium's install root, such as [`Medium::tree`], to the same place.
    pub fn lay_folder_into(&self, folder: &Path, install: &Path) {
        lay(&self.install().join(folder), &install.join(folder), Packages::Linked);
    }
}

/// How packages come to be somewhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packages {
    Linked,
    Copied,
}

fn lay(from: &Path, to: &Path, packages: Packages) {
    fs::create_dir_all(to).unwrap_or_else(|error| panic!("cannot make {}: {error}", to.display()));
    for entry in fs::read_dir(from).unwrap_or_else(|error| panic!("cannot list {}: {error}", from.display())) {
        let path = entry.expect("the medium can be listed").path();
        let target = to.join(path.file_name().expect("it has a name"));
        if path.is_dir() {
            lay(&path, &target, packages);
            continue;
        }
        let linked = packages == Packages::Linked && path.extension().is_some_and(|extension| extension == "rpm");
        // Another file system takes no hard link.
        if !linked || fs::hard_link(&path, &target).is_err() {
            fs::copy(&path, &target).unwrap_or_else(|error| panic!("cannot copy to {}: {error}", target.display()));
        }
    }
}
