//! `kernelver`: the kernel to install and to use, with the packages that go with it (XCAT.md 6.1, 6.4, 6.9).

use model::osimage::RepositoryEntry;
use model::osimage::repository::split_repositories;
use model::plan::{KernelChoice, PackageItem, Pass, Repository};

use super::notes::Notes;
use super::release::System;
use super::repositories::from_entry;
use super::target::Target;

/// Packages of the Red Hat family that carry the kernel's version: xCAT's, and what newer releases split it into.
pub(super) const VERSIONED: [&str; 10] = [
    "kernel",
    "kernel-headers",
    "kernel-devel",
    "kernel-tools",
    "kernel-bootwrapper",
    "kernel-core",
    "kernel-modules",
    "kernel-modules-core",
    "kernel-modules-extra",
    "kernel-tools-libs",
];

/// Chooses the kernel, and pins its packages in the passes where one is named.
pub(super) fn choose(
    target: &Target<'_>,
    passes: &mut Vec<Pass>,
    repositories: &mut Vec<Repository>,
    notes: &mut Notes,
) -> KernelChoice {
    let Some(version) = target.osimage.get("kernelver") else {
        notes.defaulted("kernelver", "", "the only kernel in the root image");
        for name in ["kerneldir", "krpmver"] {
            if let Some(value) = target.osimage.get(name) {
                notes.warn(format!("{name} `{value}` is not used, because kernelver (-k) is not set"));
            }
        }
        return KernelChoice::Only;
    };
    notes.given("kernelver", version);
    match target.release.as_ref().map(|release| release.system()) {
        Some(System::Apt) => add_image(passes, version),
        Some(System::Dnf) => pin(passes, version),
        Some(System::Zypper) => pin_default(passes, target.osimage.get("krpmver"), notes),
        None => {}
    }
    if let Some(krpmver) = target.osimage.get("krpmver").filter(|_| !is_zypper(target)) {
        notes.warn(format!("krpmver `{krpmver}` is not used: only SLES has a package version of its own"));
    }
    repositories.extend(kernel_repositories(target, notes));
    KernelChoice::Exactly { version: version.to_owned() }
}

fn is_zypper(target: &Target<'_>) -> bool {
    target.release.as_ref().is_some_and(|release| release.system() == System::Zypper)
}

/// apt: the package has the version in its name.
fn add_image(passes: &mut Vec<Pass>, version: &str) {
    let name = format!("linux-image-{version}");
    let known = |pass: &Pass| pass.install.iter().any(|item| item.name == name);
    if !passes.iter().any(known) {
        if passes.is_empty() {
            passes.push(Pass::default());
        }
        passes[0].install.push(PackageItem { name, subdir: None, at: "kernelver".to_owned() });
    }
}

/// rpm: `kernel` becomes `kernel-<version>`.
fn pin(passes: &mut [Pass], version: &str) {
    for item in passes.iter_mut().flat_map(|pass| &mut pass.install) {
        if VERSIONED.contains(&item.name.as_str()) {
            item.name = format!("{}-{version}", item.name);
        }
    }
}

/// SLES: the package's version differs from the kernel's own and is given by `krpmver`.
fn pin_default(passes: &mut [Pass], krpmver: Option<&str>, notes: &mut Notes) {
    let Some(version) = krpmver else {
        notes.problem("kernelver needs krpmver as well on SLES: the version of the package kernel-default");
        return;
    };
    notes.given("krpmver", version);
    for item in passes.iter_mut().flat_map(|pass| &mut pass.install) {
        if item.name == "kernel-default" {
            item.name = format!("kernel-default={version}");
        }
    }
}

/// `kerneldir`, which counts only together with `kernelver`. Its default counts only if it is a repository that
/// would be taken without a word; nobody asked for it.
fn kernel_repositories(target: &Target<'_>, notes: &mut Notes) -> Vec<Repository> {
    if let Some(given) = target.osimage.get("kerneldir") {
        notes.given("kerneldir", given);
        let entries = split_repositories(given).into_iter().filter_map(|entry| entry.parse().ok());
        return entries.flat_map(|entry: RepositoryEntry| from_entry(target, &entry, notes)).collect();
    }
    let default = target.install_dir.join("kernels");
    let Ok(entry) = default.display().to_string().parse() else { return Vec::new() };
    let mut aside = Notes::default();
    let found = from_entry(target, &entry, &mut aside);
    if aside.problems.is_empty() && !found.is_empty() {
        notes.defaulted("kerneldir", &entry.source, "<install root>/kernels");
        aside.needs_install.into_iter().for_each(|reason| notes.needs_install(reason));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(names: &[&str]) -> Vec<Pass> {
        let item = |name: &&str| PackageItem { name: name.to_string(), subdir: None, at: "l:1".into() };
        vec![Pass { install: names.iter().map(item).collect(), ..Pass::default() }]
    }

    fn names(passes: &[Pass]) -> Vec<&str> {
        passes.iter().flat_map(|pass| &pass.install).map(|item| item.name.as_str()).collect()
    }

    #[test]
    fn the_kernels_packages_carry_its_version() {
        let mut rpm = passes(&["kernel", "bash", "kernel-devel", "kernel-rt"]);
        pin(&mut rpm, "5.14.0-70.el9.x86_64");
        let expected = ["kernel-5.14.0-70.el9.x86_64", "bash", "kernel-devel-5.14.0-70.el9.x86_64", "kernel-rt"];
        assert_eq!(names(&rpm), expected);
        let mut apt = passes(&["dracut"]);
        add_image(&mut apt, "6.1.0-35-amd64");
        add_image(&mut apt, "6.1.0-35-amd64");
        assert_eq!(names(&apt), ["dracut", "linux-image-6.1.0-35-amd64"]);
        let mut none = Vec::new();
        add_image(&mut none, "6.1");
        assert_eq!(names(&none), ["linux-image-6.1"]);
    }
}
