//! Real images, made by the tools that make them elsewhere.

use model::stage::Stage;

use super::super::harvest;
use super::*;
use crate::sys::exec::Cmd;
use crate::worker::report::{Blame, Reporter};

/// A folder with the content of a driver disk in `disk`.
fn workshop() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &[u8]| {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("disk/rhdd3", b"Driver Update Disk version 3");
    write("disk/kernel/driver_with_a_name.ko", b"\x7fELF\0name=driver_with_a_name\0vermagic=5 SMP\0");
    write("disk/lib/firmware/a.bin", b"firmware");
    write("old/driver_with_a_name.ko", b"\x7fELF");
    dir
}

fn shell(folder: &Path, script: &str) {
    let cmd = Cmd::new("bash").args(["-euo", "pipefail", "-c", script]).directory(folder);
    cmd.run(&mut |_| {}).unwrap_or_else(|error| panic!("{script}: {error}: {:?}", error.lines()));
}

/// Makes `image` by a script, and opens it.
fn opened(dir: &Path, script: &str) -> Result<Disk, StageError> {
    shell(dir, script);
    let desk = dir.join("desk");
    drop(rootfs::remove::remove_tree(&desk));
    let reporter = Reporter::new(std::io::sink());
    disk(&dir.join("image"), &desk, &StageLog::new(Stage::Configure, &reporter))
}

/// The modules and the firmware of all its folders.
fn found(disk: Result<Disk, StageError>, script: &str) -> Vec<String> {
    let folders = match disk {
        Ok(Disk::Content(folders)) => folders,
        other => panic!("{script}: {other:?}"),
    };
    let names = |folder: &PathBuf| {
        let harvest = harvest::gather(folder);
        let modules = harvest.modules.into_iter().map(|module| module.file);
        modules.chain(harvest.firmware.into_iter().map(|file| file.name)).collect::<Vec<_>>()
    };
    folders.iter().flat_map(names).collect()
}

const EXT: &str = "truncate -s 4M image; mke2fs -q -F -t ext4 -d disk image";
const FLOPPY: &str = "truncate -s 1440k image; mkfs.vfat image; mcopy -s -i image disk/* ::";
const OLD: &str = "mkdir disk-1; printf 'Version 0' > disk-1/modinfo; cd old; \
                   find . -type f | cpio -o -H crc | gzip > ../disk-1/modules.cgz; cd ..";

#[test]
fn each_kind_of_image_gives_its_modules_and_firmware() {
    let dir = workshop();
    let both = ["driver_with_a_name.ko", "a.bin"];
    for script in [
        "xorriso -as mkisofs -R -o image disk".to_owned(),
        "xorriso -as mkisofs -J -o image disk".to_owned(),
        // Eight letters of a name, and capitals.
        "genisoimage -quiet -o image disk".to_owned(),
        "gzip image".to_owned() + "; mv image.gz image",
        "truncate -s 2M new; mke2fs -q -F -t ext2 -d disk new; mv new image".to_owned(),
        format!("rm image; {EXT}"),
        "gzip image; mv image.gz image".to_owned(),
        format!("rm image; {FLOPPY}"),
        "rm image; truncate -s 64M image; mkfs.vfat -F 32 image; mcopy -s -i image disk/* ::".to_owned(),
        "cd disk; find . | cpio -o -H newc > ../image".to_owned(),
        "cd disk; find . | cpio -o -H crc | gzip > ../image".to_owned(),
        "rm image; mv disk image".to_owned(),
    ] {
        let found = found(opened(dir.path(), &script), &script);
        assert_eq!(found, both, "{script}");
    }
}

#[test]
fn disks_of_the_older_format_hold_their_modules_in_one_archive() {
    let dir = workshop();
    shell(dir.path(), OLD);
    for script in [
        "genisoimage -quiet -o image disk-1",
        "xorriso -as mkisofs -R -o image disk-1",
        "rm image; truncate -s 1440k image; mkfs.vfat image; mcopy -i image disk-1/modinfo ::MODINFO; \
         mcopy -i image disk-1/modules.cgz ::MODULES.CGZ",
        "rm image; mv disk-1 image; mv image/modules.cgz image/MODULES.CGZ",
    ] {
        let found = found(opened(dir.path(), script), script);
        assert_eq!(found, ["driver_with_a_name.ko"], "{script}");
    }
}

#[test]
fn what_is_no_driver_disk_is_told_from_what_is_damaged() {
    let dir = workshop();
    for script in [
        "echo hello > image",
        "truncate -s 10M image",
        "rm disk/rhdd3; xorriso -as mkisofs -R -o image disk",
        "echo | gzip > image",
    ] {
        assert!(matches!(opened(dir.path(), script), Ok(Disk::NotOne(_))), "{script}");
    }
    let dir = workshop();
    shell(dir.path(), "head -c 3000000 /dev/urandom > disk/a.ko; head -c 1000000 /dev/urandom > disk/z.ko");
    let image = dir.path().join("image").display().to_string();
    for script in [
        "xorriso -as mkisofs -R -o image disk; truncate -s 1M image",
        "genisoimage -quiet -o image disk; truncate -s 1M image",
        "truncate -s 8M new; mke2fs -q -F -t ext4 -d disk new; mv new image; truncate -s 1M image",
        // Its folders can be read, its files not.
        "truncate -s 8M new; mke2fs -q -F -t ext2 -d disk new; mv new image; truncate -s 4M image",
        "truncate -s 8M new; mke2fs -q -F -t ext2 -d disk new; mv new image; \
         dd if=/dev/urandom of=image bs=1k seek=2 count=20 conv=notrunc",
        "rm image; truncate -s 8M image; mkfs.vfat image; mcopy -s -i image disk/* ::; truncate -s 3M image",
        "cd disk; find . | cpio -o -H newc > ../image; truncate -s 2M ../image",
        "cd disk; find . | cpio -o -H newc | gzip > ../image; truncate -s 2M ../image",
        "cd disk; find . | cpio -o -H odc > ../image",
        "rm -r disk image; mkdir image; echo hello > image/modules.cgz",
    ] {
        let error = opened(dir.path(), script).unwrap_err();
        assert!(
            error.cause.contains(&image) && error.cause.contains("is damaged or can't be read: "),
            "{script}: {error}"
        );
        assert!(error.hint.contains("copy it again") && error.blame == Blame::Build, "{script}: {}", error.hint);
    }
}

#[test]
fn a_package_is_the_same_by_either_program() {
    let dir = workshop();
    let spec = format!(
        "Name: kmod\nVersion: 1\nRelease: 1\nSummary: x\nLicense: x\nBuildArch: noarch\n%description\nx\n%install\n\
         mkdir -p %{{buildroot}}/lib\nhead -c 100000 /dev/urandom > %{{buildroot}}/lib/a.bin\n\
         cp {}/old/*.ko %{{buildroot}}/lib/\n%files\n/lib\n",
        dir.path().display()
    );
    fs::write(dir.path().join("kmod.spec"), spec).unwrap();
    shell(
        dir.path(),
        "rpmbuild --quiet --define \"_topdir $PWD/rpmbuild\" -bb kmod.spec; cp rpmbuild/RPMS/noarch/*.rpm whole.rpm\n\
         for size in 1000 20000; do head -c $size whole.rpm > $size.rpm; done; echo hello > text.rpm",
    );
    let reporter = Reporter::new(std::io::sink());
    let log = StageLog::new(Stage::Configure, &reporter);
    for program in PACKAGE_TOOLS {
        for name in ["whole.rpm", "1000.rpm", "20000.rpm", "text.rpm"] {
            let (path, folder) = (dir.path().join(name), dir.path().join(format!("{program}-{name}.d")));
            let done = package_by(program, &path, &folder, &log);
            assert_eq!(done.is_ok(), name == "whole.rpm", "{program} {name}: {done:?}");
            match done {
                Ok(()) => assert_eq!(harvest::gather(&folder).modules[0].file, "driver_with_a_name.ko", "{program}"),
                Err(error) => assert!(error.cause.contains(&format!("{name}` is damaged or")), "{program}: {error}"),
            }
        }
    }
}

#[test]
fn the_missing_program_and_its_package_are_named() {
    let error = tool(&["no-such-program", "nor-this"], Path::new("/install/a.iso"), "install it").unwrap_err();
    assert_eq!(error.cause, "this node can't open `/install/a.iso`: it has none of no-such-program, nor-this");
    assert_eq!((error.hint.as_str(), error.blame), ("install it", Blame::Node));
}

mod hostile;
