//! What an unpacked driver disk or driver package holds: modules, firmware, packages. Reads folders, changes nothing.

use std::fs;
use std::path::{Path, PathBuf};

use model::arch::Arch;

/// The ends of a module's file.
const MODULE_ENDS: [&str; 4] = [".ko", ".ko.gz", ".ko.xz", ".ko.zst"];
/// Some packages bring a module under this name, to be renamed by a script that isn't run here.
const RENAMED: &str = ".new";
/// No package has folders this deep; a loop of bind mounts might.
const DEEPEST: usize = 24;
/// In front of what every module says of its kernel.
const VERMAGIC: &[u8] = b"vermagic=";
/// In front of its own name, since Linux 4.13. Behind a zero, for `srcname=` and others end alike.
const NAME: &[u8] = b"\0name=";
/// The kernel's own bound of it, with the zero at its end (`MODULE_NAME_LEN`).
const LONGEST_NAME: usize = 56;

/// One kernel module.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Module {
    /// As the kernel calls it: `virtio_net`.
    pub(super) name: String,
    /// What its file is to be called in the image.
    pub(super) file: String,
    pub(super) path: PathBuf,
}

/// One file of firmware, perhaps a link.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Firmware {
    /// Below the folder of firmware.
    pub(super) name: String,
    pub(super) path: PathBuf,
}

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Harvest {
    pub(super) modules: Vec<Module>,
    pub(super) firmware: Vec<Firmware>,
    /// Packages on a disk.
    pub(super) packages: Vec<PathBuf>,
}

/// Looks through a folder; links to folders are not followed.
pub(super) fn gather(top: &Path) -> Harvest {
    let mut harvest = Harvest::default();
    walk(top, top, DEEPEST, &mut harvest);
    harvest.modules.sort();
    harvest.firmware.sort();
    harvest.packages.sort();
    harvest
}

fn walk(top: &Path, folder: &Path, depth: usize, harvest: &mut Harvest) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries {
        let path = entry.path();
        let Ok(kind) = entry.file_type() else { continue };
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
        if kind.is_dir() && depth > 0 {
            walk(top, &path, depth - 1, harvest);
        } else if let Some(file) = module_file(&name).filter(|_| kind.is_file()) {
            // Before firmware: the kernel has a folder of drivers that is called so.
            harvest.modules.push(Module { name: module_name(file), file: file.to_owned(), path });
        } else if let Some(below) = firmware_name(top, &path).filter(|_| kind.is_file() || kind.is_symlink()) {
            harvest.firmware.push(Firmware { name: below, path });
        } else if kind.is_file() && name.ends_with(".rpm") {
            harvest.packages.push(path);
        }
    }
}

/// The path below a folder called `firmware`.
fn firmware_name(top: &Path, path: &Path) -> Option<String> {
    let parts: Vec<&str> = path.strip_prefix(top).ok()?.iter().map(|part| part.to_str()).collect::<Option<_>>()?;
    let at = parts.iter().position(|part| *part == "firmware")?;
    (at + 1 < parts.len()).then(|| parts[at + 1..].join("/"))
}

fn module_file(name: &str) -> Option<&str> {
    let name = name.strip_suffix(RENAMED).unwrap_or(name);
    MODULE_ENDS.iter().any(|end| name.len() > end.len() && name.ends_with(end)).then_some(name)
}

/// `virtio-net.ko.xz` and `virtio_net` are one.
pub(super) fn module_name(file: &str) -> String {
    file.split_once(".ko").map_or(file, |(stem, _)| stem).replace('-', "_")
}

/// The packages that lie in a folder.
pub(super) fn packages_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let is_package = |path: &PathBuf| path.is_file() && path.extension().is_some_and(|end| end == "rpm");
    let mut packages: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(is_package).collect();
    packages.sort();
    packages
}

/// The kernel release that a module was built for, from its bytes.
pub(super) fn built_for(module: &[u8]) -> Option<String> {
    told(module, VERMAGIC)
}

/// What a module calls itself, whatever its file is called.
pub(super) fn own_name(module: &[u8]) -> Option<String> {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let is_plain = |name: &String| name.len() < LONGEST_NAME && name.bytes().all(is_letter);
    told(module, NAME).filter(is_plain)
}

fn told(module: &[u8], mark: &[u8]) -> Option<String> {
    let at = module.windows(mark.len()).position(|window| window == mark)? + mark.len();
    let rest = &module[at..];
    let end = rest.iter().position(|byte| *byte == b' ' || *byte == 0)?;
    std::str::from_utf8(&rest[..end]).ok().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// Whether a module's code is of an architecture. One that doesn't say so is left to the kernel's release.
pub(super) fn runs_on(module: &[u8], arch: Arch) -> bool {
    let machine = match arch {
        Arch::X86 => 3,
        Arch::Ppc64 | Arch::Ppc64le => 21,
        Arch::S390x => 22,
        Arch::X86_64 => 62,
        Arch::Aarch64 => 183,
    };
    match module {
        // Both of its bytes, in the order of either end.
        [0x7f, b'E', b'L', b'F', _, end, ..] if module.len() > 20 => {
            let bytes = [module[18], module[19]];
            machine == if *end == 2 { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn modules_firmware_and_packages_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        for name in [
            "lib/modules/5/extra/a-b.ko.xz",
            "lib/modules/5/kernel/drivers/firmware/c.ko.new",
            "lib/firmware/v/x.bin",
            "rpms/x86_64/kmod-d.rpm",
            "rpms/x86_64/repodata/a.xml",
            "lib/modules/5/modules.dep",
            "notes.ko.txt",
        ] {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        symlink("v/x.bin", dir.path().join("lib/firmware/y.bin")).unwrap();
        symlink("/", dir.path().join("lib/modules/5/build")).unwrap();
        let found = gather(dir.path());
        let modules: Vec<_> = found.modules.iter().map(|one| (one.name.as_str(), one.file.as_str())).collect();
        assert_eq!(modules, [("a_b", "a-b.ko.xz"), ("c", "c.ko")]);
        let firmware: Vec<_> = found.firmware.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(firmware, ["v/x.bin", "y.bin"]);
        assert_eq!(found.packages, [dir.path().join("rpms/x86_64/kmod-d.rpm")]);
        assert_eq!(packages_in(&dir.path().join("rpms/x86_64")), found.packages);
    }

    #[test]
    fn a_module_says_which_kernel_it_is_for() {
        let bytes = b"\x7fELF...\0name=x\0vermagic=5.14.0-70.el9.x86_64 SMP mod_unload \0";
        assert_eq!(built_for(bytes).as_deref(), Some("5.14.0-70.el9.x86_64"));
        for none in [&b"\x7fELF"[..], b"vermagic=", b"vermagic= SMP"] {
            assert_eq!(built_for(none), None);
        }
        assert_eq!(own_name(bytes).as_deref(), Some("x"));
        assert_eq!(own_name(b"\x7fELF...\0srcname=x\0name=../x\0"), None);
        // No file can be called so.
        assert_eq!(own_name(format!("\0name={}\0", "x".repeat(300)).as_bytes()), None);
    }

    #[test]
    fn a_module_of_another_architecture_is_known() {
        let elf =
            |end: u8, machine: [u8; 2]| [&[0x7f, b'E', b'L', b'F', 2, end], &[0; 12][..], &machine, &[0; 9]].concat();
        assert!(runs_on(&elf(1, [62, 0]), Arch::X86_64) && !runs_on(&elf(1, [62, 0]), Arch::Aarch64));
        assert!(runs_on(&elf(2, [0, 22]), Arch::S390x) && !runs_on(&elf(1, [0, 22]), Arch::S390x));
        assert!(runs_on(b"no module", Arch::X86_64));
    }
}
