//! Modules of the bootable kernel: those of a list and what they need. The rest of a full kernel is left out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::kernels::BUILT_IN;
use super::tool::{Workshop, run};
use super::tree::{sorted, walk};

/// Removes every module below a build root but these and those that they need.
pub(super) fn keep(workshop: &Workshop, root: &Path, release: &str, wanted: &[String]) {
    let modules = root.join("usr/lib/modules").join(release);
    run(workshop.command("depmod").arg("--basedir").arg(root.join("usr")).arg(release));
    let read = |name: &str| fs::read_to_string(modules.join(name)).expect("depmod wrote it, or the kernel has it");
    let kept = closure(&read("modules.dep"), &read("modules.builtin"), wanted);
    for file in walk(&modules.join("kernel")).into_iter().filter(|path| !path.is_dir()) {
        if !kept.contains(file.strip_prefix(&modules).expect("it lies below")) {
            fs::remove_file(&file).expect("the workshop can be written");
        }
    }
    // Folders come before what is in them.
    for folder in walk(&modules.join("kernel")).into_iter().rev().filter(|path| path.is_dir()) {
        // Only those that are empty now.
        let _ = fs::remove_dir(folder);
    }
    // depmod writes its lists again where the package is installed.
    let list = |path: &&PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with("modules.") && !BUILT_IN.contains(&name)
    };
    sorted(&modules).iter().filter(list).for_each(|path| fs::remove_file(path).expect("the workshop can be written"));
}

/// The files of these modules and of all that they need, from the texts of `modules.dep` and `modules.builtin`.
fn closure(dep: &str, builtin: &str, wanted: &[String]) -> BTreeSet<PathBuf> {
    let line = |line: &str| {
        let (file, needs) = line.split_once(':')?;
        let needs: Vec<PathBuf> = needs.split_whitespace().map(PathBuf::from).collect();
        Some((module(file), (PathBuf::from(file), needs)))
    };
    let loadable: BTreeMap<String, (PathBuf, Vec<PathBuf>)> = dep.lines().filter_map(line).collect();
    let built_in: BTreeSet<String> = builtin.lines().map(module).collect();
    let mut kept = BTreeSet::new();
    for name in wanted {
        let name = module(name);
        match loadable.get(&name) {
            // depmod lists what is needed at any remove.
            Some((file, needs)) => kept.extend(std::iter::once(file).chain(needs).cloned()),
            None => {
                assert!(built_in.contains(&name), "packages.toml keeps the module {name}, which the kernel has not")
            }
        }
    }
    kept
}

/// The name of a module, from the name of its file.
fn module(file: &str) -> String {
    let name = file.rsplit('/').next().unwrap_or(file);
    name.split('.').next().unwrap_or(name).replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEP: &str = "kernel/drivers/net/virtio_net.ko: kernel/net/failover.ko kernel/drivers/virtio/virtio.ko\n\
                       kernel/drivers/md/dm-mod.ko.xz:\nkernel/net/failover.ko:\nkernel/drivers/net/tg3.ko:\n";

    #[test]
    fn modules_stay_with_what_they_need() {
        let wanted = ["virtio-net", "dm_mod", "unix"].map(str::to_owned);
        let kept = closure(DEP, "kernel/net/unix/unix.ko\n", &wanted);
        let kept: Vec<&str> = kept.iter().map(|path| path.to_str().unwrap()).collect();
        let expected =
            ["kernel/drivers/md/dm-mod.ko.xz", "kernel/drivers/net/virtio_net.ko", "kernel/drivers/virtio/virtio.ko"];
        assert_eq!(kept, [&expected[..], &["kernel/net/failover.ko"]].concat());
    }

    #[test]
    #[should_panic(expected = "which the kernel has not")]
    fn a_module_that_is_not_there_is_not_passed_over() {
        closure(DEP, "", &["ibmveth".to_owned()]);
    }
}
