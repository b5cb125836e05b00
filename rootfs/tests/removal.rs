//! Removing a tree, with real mounts in it: what is mounted survives.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod gnarly;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use gnarly::{Scratch, plant, run};
use rootfs::remove::{RemoveError, remove_tree};

#[test]
fn the_strangest_tree_goes_and_links_are_not_followed() {
    let scratch = Scratch::new("remove");
    let tree = scratch.join("tree");
    plant(&tree);
    gnarly::deep(&tree, "klmnopqrstuvwxyzABCD");
    let precious = scratch.join("precious");
    fs::create_dir(&precious).unwrap();
    fs::write(precious.join("file"), "").unwrap();
    symlink(&precious, tree.join("link")).unwrap();
    remove_tree(&tree).unwrap();
    assert!(!tree.exists());
    assert!(precious.join("file").exists());
}

#[test]
fn what_is_no_folder_is_refused() {
    let scratch = Scratch::new("removelink");
    let precious = scratch.join("precious");
    fs::create_dir(&precious).unwrap();
    fs::write(precious.join("file"), "").unwrap();
    symlink("precious", scratch.join("link")).unwrap();
    fs::write(scratch.join("plain"), "").unwrap();
    for name in ["link", "link/", "link//", "plain", "precious/../precious/.."] {
        let refused = remove_tree(&scratch.join(name));
        assert!(matches!(refused, Err(RemoveError::NotATree { .. })), "{name}: {refused:?}");
    }
    assert!(matches!(remove_tree(Path::new("/")), Err(RemoveError::NotATree { .. })));
    let missing = remove_tree(&scratch.join("none")).unwrap_err();
    assert!(matches!(missing, RemoveError::Failed { ref source, .. } if source.kind() == std::io::ErrorKind::NotFound));
    assert!(precious.join("file").exists());
}

#[test]
fn a_bind_mount_in_the_tree_stops_everything_before_it_begins() {
    let scratch = Scratch::new("removebind");
    let (tree, precious) = (scratch.join("tree"), scratch.join("precious"));
    fs::create_dir_all(tree.join("a dir/mnt")).unwrap();
    fs::create_dir(&precious).unwrap();
    fs::write(precious.join("file"), "").unwrap();
    fs::write(tree.join("aaa"), "first to go").unwrap();
    symlink(&tree, scratch.join("alias")).unwrap();
    let point = tree.join("a dir/mnt");
    run(Command::new("mount").arg("--bind").arg(&precious).arg(&point));
    let refused = [remove_tree(&tree), remove_tree(&scratch.join("alias/a dir")), remove_tree(&point)];
    let survived = tree.join("aaa").exists() && precious.join("file").exists();
    run(Command::new("umount").arg(&point));
    assert!(survived);
    for refused in refused {
        let error = refused.unwrap_err();
        assert!(error.to_string().contains(point.to_str().unwrap()), "{error}");
        assert!(matches!(error, RemoveError::Mounted { .. }), "{error}");
    }
    remove_tree(&tree).unwrap();
    assert!(precious.join("file").exists());
}
