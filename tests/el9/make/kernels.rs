//! Kernels to choose between, never booted: some of the bootable one's modules under other releases.

use std::fs;
use std::path::Path;

use super::control::Evr;
use super::extras::{Extras, Kernel};
use super::files::{Owners, list};
use super::recipe::Recipe;
use super::table::{Entry, Table};
use super::tool::Workshop;
use super::tree::{below, walk, write};

/// Lists of the kernel's own build that depmod reads.
pub(super) const BUILT_IN: [&str; 3] = ["modules.builtin", "modules.builtin.modinfo", "modules.order"];

/// Lays out `kernel`, `kernel-core` and `kernel-modules` of each; `donor` is the build root of the bootable kernel-core.
pub(super) fn recipes(workshop: &Workshop, extras: &Extras, table: &Table, donor: &Path) -> Vec<Recipe> {
    let modules = donor.join("usr/lib/modules").join(table.kernel_release());
    extras.kernel.iter().flat_map(|kernel| one(workshop, extras, kernel, &table.arch, &modules)).collect()
}

fn one(workshop: &Workshop, extras: &Extras, kernel: &Kernel, arch: &str, donor: &Path) -> [Recipe; 3] {
    let Kernel { version, release } = kernel;
    let uname = format!("{version}-{release}.{arch}");
    let recipe = |name: &str| {
        let evr = Evr { epoch: "0".to_owned(), version: version.clone(), release: release.clone() };
        let mut recipe = Recipe::new(name, evr, extras.kernel_files.repository.clone());
        recipe.noarch = false;
        // dnf keeps several of what provides this.
        recipe.provides.insert("installonlypkg(kernel)".to_owned());
        recipe
    };
    let [mut all, mut core, mut modules] = ["kernel", "kernel-core", "kernel-modules"].map(recipe);
    for part in [&core, &modules] {
        all.require("Requires", format!("{} = {version}-{release}", part.name));
    }
    core.provides.insert(format!("kernel-uname-r = {uname}"));
    modules.require("Requires", format!("kernel-core = {version}-{release}"));
    for (part, names) in [(&mut core, &extras.kernel_files.core), (&mut modules, &extras.kernel_files.modules)] {
        let root = workshop.build_root(part);
        copy_modules(names, donor, &below(&root, &format!("/usr/lib/modules/{uname}")));
        part.script("posttrans", &format!("depmod -a {uname}"));
        part.require_all("Requires", &["filesystem", "kmod"]);
    }
    let root = workshop.build_root(&core);
    for name in BUILT_IN {
        copy(&donor.join(name), &root.join("usr/lib/modules").join(&uname).join(name));
    }
    for path in ["/boot/vmlinuz-{}", "/boot/config-{}", "/boot/System.map-{}", "/usr/lib/modules/{}/vmlinuz"] {
        let text = format!("of the kernel {uname}, which is there to be chosen, not to be booted\n");
        write(&below(&root, &path.replace("{}", &uname)), text.as_bytes(), 0o644);
    }
    let owners = Owners::read();
    let files = |part: Recipe| {
        let files = list(&workshop.build_root(&part), &owners, &Entry::default());
        part.with_files(files)
    };
    [all, files(core), files(modules)]
}

/// Copies modules to where they lie in the donor.
fn copy_modules(names: &[String], donor: &Path, to: &Path) {
    let all = walk(&donor.join("kernel"));
    for name in names {
        let file = format!("{name}.ko");
        let found = all.iter().find(|path| path.file_name().is_some_and(|name| *name == *file));
        let path = found.unwrap_or_else(|| panic!("the bootable kernel has no module {name}"));
        copy(path, &to.join(path.strip_prefix(donor).expect("it lies below")));
    }
}

fn copy(from: &Path, to: &Path) {
    write(to, &fs::read(from).unwrap_or_else(|error| panic!("cannot read {}: {error}", from.display())), 0o644);
}
