//! A tree through the transfer archive and back: nothing may be lost, whoever unpacks it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod gnarly;

use std::fs;
use std::io::Write;
use std::num::NonZeroUsize;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use gnarly::{CAP_NET_RAW, Scratch, plant, run};
use rootfs::compress::{Compression, Compressor, ZstdLevel, zstd_reader};
use rootfs::edits::edits;
use rootfs::manifest::Manifest;
use rootfs::tar::{Totals, write_tar};
use rootfs::unpack::{UnpackOptions, unpack};

fn tar_zst(tree: &Path, archive: &Path) -> Totals {
    let file = fs::File::create(archive).unwrap();
    let zstd = Compression::Zstd(ZstdLevel::default());
    let mut out = Compressor::new(file, zstd, NonZeroUsize::new(2).unwrap()).unwrap();
    let totals = write_tar(tree, &mut out).unwrap();
    out.finish().unwrap().flush().unwrap();
    totals
}

/// Compares two manifests entry by entry, to name the first that differs.
#[track_caller]
fn assert_same(ours: &Manifest, theirs: &Manifest) {
    for (ours, theirs) in ours.entries.iter().zip(&theirs.entries) {
        assert_eq!(ours, theirs);
    }
    assert_eq!(ours.entries.len(), theirs.entries.len());
}

#[test]
fn everything_comes_back_from_tar_and_zstd() {
    let scratch = Scratch::new("transfer");
    let (tree, copy, archive) = (scratch.join("tree"), scratch.join("copy"), scratch.join("tree.tar.zst"));
    plant(&tree);
    gnarly::deep(&tree, "klmnopqrstuvwxyzABCD");
    let totals = tar_zst(&tree, &archive);
    assert_eq!(totals.hard_links, 4);
    assert!(totals.archive_bytes < 2_000_000, "holes were sent: {totals:?}");
    fs::create_dir(&copy).unwrap();
    let reader = zstd_reader(fs::File::open(&archive).unwrap()).unwrap();
    let unpacked = unpack(reader, &copy, UnpackOptions::default()).unwrap();

    let original = Manifest::of_tree(&tree).unwrap();
    assert_same(&unpacked.manifest, &original);
    assert_same(&Manifest::of_tree(&copy).unwrap(), &original);
    assert_eq!(edits(&unpacked.manifest, &copy).unwrap(), []);
    assert_eq!(totals.entries, unpacked.manifest.entries.len() as u64);

    // What our own reading could be wrong about is asked of others.
    let getcap = run(Command::new("getcap").arg(copy.join("usr/bin/ping")));
    assert!(String::from_utf8_lossy(&getcap).contains("cap_net_raw=ep"));
    let acls = |tree: &Path| run(Command::new("getfacl").args(["-nR", "a"]).current_dir(tree));
    assert_eq!(acls(&copy), acls(&tree));
    assert!(fs::metadata(copy.join("sparse")).unwrap().blocks() < 1000, "holes were filled");
    assert_eq!(fs::metadata(copy.join("another")).unwrap().nlink(), 3);
}

#[test]
fn gnu_tar_unpacks_the_same_tree() {
    let scratch = Scratch::new("gnutar");
    let (tree, copy, archive) = (scratch.join("tree"), scratch.join("copy"), scratch.join("tree.tar"));
    plant(&tree);
    write_tar(&tree, fs::File::create(&archive).unwrap()).unwrap();
    fs::create_dir(&copy).unwrap();
    let options = ["--xattrs", "--xattrs-include=*", "--acls", "--numeric-owner", "-p"];
    run(Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(&copy).args(options));
    assert_same(&Manifest::of_tree(&copy).unwrap(), &Manifest::of_tree(&tree).unwrap());
    assert!(fs::metadata(copy.join("sparse")).unwrap().blocks() < 1000, "GNU tar filled the holes");
}

#[test]
fn we_unpack_what_gnu_tar_archives() {
    let scratch = Scratch::new("fromtar");
    let (tree, copy, archive) = (scratch.join("tree"), scratch.join("copy"), scratch.join("tree.tar"));
    plant(&tree);
    let options = ["--format=posix", "--xattrs", "--xattrs-include=*", "--sparse", "--numeric-owner", "--sort=name"];
    run(Command::new("tar").arg("-cf").arg(&archive).arg("-C").arg(&tree).args(options).arg("."));
    fs::create_dir(&copy).unwrap();
    unpack(fs::File::open(&archive).unwrap(), &copy, UnpackOptions::default()).unwrap();
    assert_same(&Manifest::of_tree(&copy).unwrap(), &Manifest::of_tree(&tree).unwrap());
}

#[test]
fn an_archive_does_not_depend_on_when_it_is_made() {
    let scratch = Scratch::new("repeat");
    let tree = scratch.join("tree");
    plant(&tree);
    let (mut first, mut second) = (Vec::new(), Vec::new());
    write_tar(&tree, &mut first).unwrap();
    write_tar(&tree, &mut second).unwrap();
    assert!(first == second);
}

#[test]
fn edits_are_found_and_touches_are_not() {
    let scratch = Scratch::new("edits");
    let (tree, copy) = (scratch.join("tree"), scratch.join("copy"));
    plant(&tree);
    let mut archive = Vec::new();
    write_tar(&tree, &mut archive).unwrap();
    fs::create_dir(&copy).unwrap();
    let manifest = unpack(&archive[..], &copy, UnpackOptions::default()).unwrap().manifest;

    let stored = scratch.join("manifest.json");
    manifest.write(&stored).unwrap();
    let manifest = Manifest::read(&stored).unwrap();
    fs::write(copy.join("a/new"), "added").unwrap();
    fs::remove_file(copy.join("new\nline")).unwrap();
    fs::write(copy.join("a-b"), "sorts between a and A/").unwrap();
    gnarly::stamp(&copy.join("secret"), 1, 0);
    // An edit that puts size and time back.
    let before = fs::metadata(copy.join("exact")).unwrap();
    fs::write(copy.join("exact"), [b'y'; 1024]).unwrap();
    gnarly::stamp(&copy.join("exact"), before.mtime(), before.mtime_nsec() as u32);
    run(Command::new("setcap").args(["-r"]).arg(copy.join("usr/bin/ping")));
    run(Command::new("chmod").arg("0755").arg(copy.join("usr/bin/su")));
    run(Command::new("chown").args(["-h", "5:6"]).arg(copy.join("dangling")));
    run(Command::new("ln").args(["-sfn", "usr/lib64"]).arg(copy.join("lib")));
    fs::remove_dir(copy.join("empty")).unwrap();
    fs::write(copy.join("empty"), "a file now").unwrap();

    let found: Vec<_> = edits(&manifest, &copy).unwrap().iter().map(ToString::to_string).collect();
    let expected = [
        "a/new added",
        "a-b changed: content",
        "dangling changed: owner",
        "dangling-too changed: owner",
        "empty changed: kind, mode",
        "exact changed: content",
        // `ln -f` made a new link, without the old one's attribute.
        "lib changed: target, xattrs",
        "new\\x0aline removed",
        "usr/bin/ping changed: xattrs",
        "usr/bin/su changed: mode",
    ];
    assert_eq!(found, expected);
    assert_eq!(manifest.entries.iter().filter(|entry| entry.xattrs.iter().any(|x| x.value == CAP_NET_RAW)).count(), 1);
}
