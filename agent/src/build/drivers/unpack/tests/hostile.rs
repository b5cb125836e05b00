//! Images that nobody made by accident: without an end, or meant to get out of their folder.

use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use super::*;

#[test]
fn an_image_with_holes_or_without_an_end_is_refused() {
    let dir = workshop();
    shell(dir.path(), "truncate -s 2G disk/hole.ko");
    let scripts = [
        "truncate -s 8M image; mke2fs -q -F -t ext4 -d disk image".to_owned(),
        // One file under many names.
        "rm image; truncate -s 700M disk/hole.ko; ln disk/hole.ko disk/again.ko; ".to_owned()
            + "truncate -s 8M image; mke2fs -q -F -t ext4 -d disk image",
        // Many members of one gzip file are one file.
        "head -c 64M /dev/zero | gzip -1 > part; rm image; for _ in {1..20}; do cat part >> image; done".to_owned(),
    ];
    for script in scripts {
        let error = opened(dir.path(), &script).unwrap_err();
        assert!(error.cause.contains("holds more than a driver's source may: 1.0 GB"), "{script}: {error}");
    }
    let reporter = Reporter::new(std::io::sink());
    let log = StageLog::new(Stage::Configure, &reporter);
    for script in ["truncate -s 300M a.ko; gzip -1 a.ko", "truncate -s 300M a.ko; xz -0 a.ko", "truncate -s 300M a.ko"]
    {
        shell(dir.path(), script);
        let path =
            ["a.ko.gz", "a.ko.xz", "a.ko"].map(|name| dir.path().join(name)).into_iter().find(|path| path.exists());
        let path = path.unwrap();
        let error = module(&path, &dir.path().join("modules"), &log).unwrap_err();
        assert!(error.cause.contains(path.to_str().unwrap()) && error.cause.contains("268.4 MB"), "{script}: {error}");
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn a_folder_without_an_end_is_refused_at_once() {
    let dir = workshop();
    // One block of it over and over, 16 million times: with nothing in it, or with a file.
    for (block, cause) in [
        (r"\0\0\0\0\0\4\0\0", "holds more than a driver's source may: 1.0 GB or 50000 files"),
        (r"\14\0\0\0\0\4\1\1a", "is damaged or can't be read: /12/100644/0/0/a/28/"),
    ] {
        let script = format!(
            "rm -f image; truncate -s 4M image; mke2fs -q -F -t ext2 image; (echo write disk/rhdd3 rhdd3; \
             echo mkdir lib; echo sif lib 'block[TIND]' 3003) > requests; debugfs -w -f requests image; \
             at() {{ dd of=image bs=1k seek=$1 conv=notrunc iflag=fullblock; }}; printf '{block}' | at 3000; \
             for low in b8 b9 ba; do printf \"\\x$low\\x0b\\0\\0%.0s\" {{1..256}} | at $((0x$low - 0xb8 + 3001)); done"
        );
        let began = Instant::now();
        let error = opened(dir.path(), &script).unwrap_err();
        assert!(error.cause.contains(cause), "{block}: {error}");
        assert!(began.elapsed() < Duration::from_secs(10), "{block}: {:?}", began.elapsed());
    }
}

/// No outcome but this one is empty: each disk has its mark.
const REFUSED: &str = "";

#[test]
fn nothing_is_written_outside_the_folder() {
    let dir = workshop();
    let node = dir.path().join("node");
    fs::create_dir(&node).unwrap();
    // Names of one length, so that they can be changed in the image: a link to the node's folder, and a folder of the
    // same name as the link.
    symlink(&node, dir.path().join("disk/way-out")).unwrap();
    fs::create_dir(dir.path().join("disk/way-two")).unwrap();
    fs::write(dir.path().join("disk/way-two/evil"), "x").unwrap();
    fs::write(dir.path().join("disk/aaXevil"), "x").unwrap();
    fs::write(dir.path().join("disk/evil"), "x").unwrap();
    let of_disk = "rm image; truncate -s 4M image; mke2fs -q -F -t ext2 -d disk image";
    let ext = |sed: &str| {
        format!(
            "rm image; truncate -s 4M image; mke2fs -q -F -t ext2 image; (echo mkdir DDDDDDDDDDDDDD; \
             echo write disk/evil EEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEE; echo write disk/rhdd3 rhdd3) > requests; \
             debugfs -w -f requests image; sed -i '{sed}' image"
        )
    };
    let floppy = |sed: &str| {
        format!(
            "rm image; truncate -s 1440k image; mkfs.vfat image; cp disk/evil aaXevil-long; \
             mcopy -i image disk/rhdd3 aaXevil-long ::; sed -i '{sed}' image"
        )
    };
    for (script, outcome) in [
        (
            "cd disk; (echo rhdd3; echo way-out; find way-two) | cpio -o -H newc > ../image; cd ..; \
             sed -i s,way-two,way-out,g image"
                .to_owned(),
            REFUSED,
        ),
        ("cd disk; find . | cpio -o -H newc > ../image; sed -i s,aaXevil,../evil, ../image".to_owned(), REFUSED),
        ("xorriso -as mkisofs -R -o image disk; sed -i s,way-two,way-out,g image".to_owned(), REFUSED),
        ("xorriso -as mkisofs -R -o image disk; sed -i s,aaXevil,../evil,g image".to_owned(), REFUSED),
        (format!("{of_disk}; sed -i s,way-two,way-out,g image"), REFUSED),
        (format!("{of_disk}; sed -i s,aaXevil,../evil,g image"), REFUSED),
        // The link is left out.
        (of_disk.to_owned(), "aaXevil evil kernel lib lost+found rhdd3 way-two"),
        // A folder and a file through it, by names of which debugfs prints two lines: one of a `.`, one like its banner.
        (ext(r"s,D\{14\},.//\ndebugfs 1.,; s,E\{33\},.//\ndebugfs 1./../../../node/evil,"), REFUSED),
        (ext(r"s,D\{14\},D\nDDDDDDDDDDDD,"), REFUSED),
        (ext(r"s,E\{33\},E\nEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEE,"), REFUSED),
        (ext(r"s,E\{33\},../EEEEEEEEEEEEEEEEEEEEEEEEEEEEEE,"), REFUSED),
        // By its lines two files, of which the second is another that has another length.
        (ext(r"s,E\{33\},E/1/\n/14/100644/0/0/EEEEEEEEEEEEE,"), REFUSED),
        (
            ext(r"s,E\{33\},\x1b[31mEEEEEEEEEEEEEEEEEEEEEEEEEEEE,"),
            r"DDDDDDDDDDDDDD \x1b[31mEEEEEEEEEEEEEEEEEEEEEEEEEEEE lost+found rhdd3",
        ),
        // mcopy writes another letter where a name has a `/`: in its long form, or in its short one.
        (floppy(r"s,a\x00a\x00X\x00,.\x00.\x00/\x00,"), r"..\evil-long rhdd3"),
        (floppy(r"s,a\x00a\x00X,b\x00b\x00X,; s,AAXEVI,../EVI,"), r"..\evi~1 rhdd3"),
    ] {
        let opened = opened(dir.path(), &script);
        assert_eq!(fs::read_dir(&node).unwrap().count(), 0, "{script}: {opened:?}");
        assert!(!dir.path().join("desk/evil").exists(), "{script}: {opened:?}");
        let found = match opened {
            Err(error) if error.cause.contains("is damaged or can't be read: ") => REFUSED.to_owned(),
            Ok(Disk::Content(folders)) => {
                let mut names: Vec<_> = entries(&folders[0]).map(|path| path.file_name().unwrap().to_owned()).collect();
                names.sort();
                names.iter().map(|name| name.to_str().unwrap()).collect::<Vec<_>>().join(" ")
            }
            other => panic!("{script}: {other:?}"),
        };
        assert_eq!(found, outcome, "{script}");
    }
}

#[test]
fn nobody_waits_for_the_other_end_of_a_pipe() {
    let dir = workshop();
    let script = "mkfifo disk/modules.cgz disk/b.ko disk/lib/firmware/b.bin";
    shell(dir.path(), script);
    for script in ["xorriso -as mkisofs -R -o image disk", "rm image; mv disk image"] {
        assert_eq!(found(opened(dir.path(), script), script), ["driver_with_a_name.ko", "a.bin"], "{script}");
    }
    let opened = opened(dir.path(), "rm -r image; mkfifo image");
    assert!(matches!(opened, Ok(Disk::NotOne("it is neither a file nor a folder"))), "{opened:?}");
    let reporter = Reporter::new(std::io::sink());
    let log = StageLog::new(Stage::Configure, &reporter);
    let error = package(&dir.path().join("image"), &dir.path().join("package"), &log).unwrap_err();
    assert!(error.cause.contains("image` is damaged or can't be read: it is no file"), "{error}");
}
