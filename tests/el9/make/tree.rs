//! Laying out the files of a package: Debian's, moved to where Enterprise Linux has them, and those of the table.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use rootfs::remove::remove_tree;

use super::table::Entry;
use super::tool::run;

/// Folders of the root that are links to those below /usr.
const MERGED: [&str; 5] = ["bin", "sbin", "lib", "lib64", "lib32"];

/// Documentation, a third of everything.
const LEFT_OUT: [&str; 6] = ["doc", "man", "info", "lintian", "bug", "doc-base"];

/// Lays out the package `name` below `root` out of Debian packages and what the table says of it.
pub(super) fn fill(root: &Path, name: &str, entry: &Entry, debs: &[PathBuf]) {
    folder(root);
    for deb in debs {
        run(Command::new("dpkg-deb").arg("-x").arg(deb).arg(root));
    }
    merge_usr(root);
    leave_out(root, entry);
    add(root, name, entry);
}

/// Removes documentation, and files that are another package's.
fn leave_out(root: &Path, entry: &Entry) {
    for documentation in LEFT_OUT.map(|folder| root.join("usr/share").join(folder)) {
        if documentation.exists() {
            remove_tree(&documentation).unwrap_or_else(|error| panic!("{error}"));
        }
    }
    let matches = |path: &Path, part: &str| path.file_name().is_some_and(|name| name.to_string_lossy().contains(part));
    for path in walk(root).iter().filter(|path| path.is_symlink() || !path.is_dir()) {
        let wanted = entry.only_files.as_ref().is_none_or(|part| matches(path, part));
        let unwanted = entry.without_files.as_ref().is_some_and(|part| matches(path, part));
        if !wanted || unwanted {
            fs::remove_file(path).expect("the workshop can be written");
        }
    }
}

/// Adds what the table says: folders, plain files, links, moves, copies; then modes.
fn add(root: &Path, name: &str, entry: &Entry) {
    entry.folders.iter().for_each(|path| folder(&below(root, path)));
    let own = super::sources().join("data/files").join(name);
    if own.exists() {
        overlay(&own, root);
    }
    for (path, target) in &entry.links {
        let path = below(root, path);
        folder(path.parent().expect("a link lies in a folder"));
        if !path.is_symlink() {
            symlink(target, &path).unwrap_or_else(|error| panic!("cannot make {}: {error}", path.display()));
        }
    }
    for (path, from) in &entry.moves {
        let (path, from) = (below(root, path), below(root, from));
        fs::rename(&from, path).unwrap_or_else(|error| panic!("cannot move {}: {error}", from.display()));
    }
    for (path, from) in &entry.copies {
        let content = fs::read(below(root, from)).unwrap_or_else(|error| panic!("cannot read {from}: {error}"));
        write(&below(root, path), &content, 0o644);
    }
    for (path, mode) in &entry.modes {
        chmod(&below(root, path), u32::from_str_radix(mode, 8).expect("modes are octal"));
    }
}

/// A path of the package below its build root.
pub(super) fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

/// Makes a folder and those above it, which all can enter, whatever this process's umask is.
pub(super) fn folder(path: &Path) {
    if path.is_dir() {
        return;
    }
    path.parent().into_iter().for_each(folder);
    fs::create_dir(path).unwrap_or_else(|error| panic!("cannot make {}: {error}", path.display()));
    chmod(path, 0o755);
}

/// Writes a file, and makes the folder for it.
pub(super) fn write(path: &Path, content: &[u8], mode: u32) {
    folder(path.parent().expect("a file lies in a folder"));
    fs::write(path, content).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
    chmod(path, mode);
}

fn chmod(path: &Path, mode: u32) {
    let permissions = Permissions::from_mode(mode);
    fs::set_permissions(path, permissions).unwrap_or_else(|error| panic!("cannot chmod {}: {error}", path.display()));
}

/// Copies plain files over a tree; those that can be run here can be run there.
pub(super) fn overlay(from: &Path, to: &Path) {
    for path in sorted(from) {
        let target = to.join(path.file_name().expect("it has a name"));
        if path.is_dir() {
            overlay(&path, &target);
        } else {
            let runs = path.metadata().expect("it is there").permissions().mode() & 0o100 != 0;
            write(&target, &fs::read(&path).expect("it can be read"), if runs { 0o755 } else { 0o644 });
        }
    }
}

/// What is in a folder, in order.
pub(in super::super) fn sorted(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("cannot list {}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("the folder can be listed").path()).collect();
    paths.sort();
    paths
}

/// Everything below a folder; a folder comes before what is in it.
pub(super) fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in sorted(folder) {
        let inside = if path.is_dir() && !path.is_symlink() { walk(&path) } else { Vec::new() };
        found.push(path);
        found.extend(inside);
    }
    found
}

/// Moves what lies in the root's own folders below /usr, and lets absolute links lead there.
fn merge_usr(root: &Path) {
    for name in MERGED {
        let from = root.join(name);
        if from.is_dir() && !from.is_symlink() {
            folder(&root.join("usr"));
            move_into(&from, &root.join("usr").join(name));
        }
    }
    for link in walk(root).iter().filter(|path| path.is_symlink()) {
        let target = fs::read_link(link).expect("it is a link");
        let first = target.to_str().and_then(|text| text.strip_prefix('/')).and_then(|text| text.split('/').next());
        if first.is_some_and(|first| MERGED.contains(&first)) {
            fs::remove_file(link).expect("the workshop can be written");
            symlink(format!("/usr{}", target.display()), link).expect("the workshop can be written");
        }
    }
}

fn move_into(from: &Path, to: &Path) {
    if !(to.is_dir() && from.is_dir()) || from.is_symlink() {
        return fs::rename(from, to).unwrap_or_else(|error| panic!("cannot move {}: {error}", from.display()));
    }
    for path in sorted(from) {
        move_into(&path, &to.join(path.file_name().expect("it has a name")));
    }
    fs::remove_dir(from).expect("it is empty");
}
