//! A tree with everything that has ever been lost on the way, and the tools to look at one from outside.

#![allow(unreachable_pub, dead_code, reason = "each test binary uses its part of this")]

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{CWD, FileType, Mode, OFlags, Timespec, Timestamps, XattrFlags};

/// `cap_net_raw=ep` as the kernel keeps it, version 2.
pub const CAP_NET_RAW: [u8; 20] = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Makes the tree at `root`, which must not exist.
pub fn plant(root: &Path) {
    fs::create_dir(root).unwrap();
    fs::set_permissions(root, Permissions::from_mode(0o755)).unwrap();
    fs::create_dir_all(root.join("usr/bin")).unwrap();
    fs::create_dir_all(root.join("usr/lib")).unwrap();
    symlink("usr/lib", root.join("lib")).unwrap();
    symlink("/nowhere/at all", root.join("dangling")).unwrap();
    fs::create_dir(root.join("empty")).unwrap();
    files(root);
    xattrs(root);
    nodes(root);
    links(root);
    sparse(root);
    deep(root, "abc");
    times(root);
}

fn files(root: &Path) {
    let write = |name: &[u8], content: &[u8], mode| {
        let path = root.join(OsStr::from_bytes(name));
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    };
    write(b"usr/bin/ping", b"\x7fELF ping", 0o755);
    write(b"usr/bin/su", b"\x7fELF su", 0o755);
    write(b"secret", b"nobody may read this", 0);
    write(b"new\nline", b"name of two lines", 0o644);
    write(b"latin-\xe9\xff", b"no UTF-8", 0o644);
    write(b" blank \\x41 'quoted' \"too\"", b"shell food", 0o644);
    write("\u{fc}ber".as_bytes(), b"UTF-8", 0o644);
    write(b"nothing", b"", 0o644);
    write(b"-rf", b"looks like an option", 0o644);
    write(b"exact", &[b'x'; 1024], 0o644);
    write(b"a-b", b"sorts between a and a/", 0o644);
    fs::create_dir(root.join("a")).unwrap();
    write(b"a/z", b"z", 0o640);
    std::os::unix::fs::chown(root.join("usr/bin/su"), Some(1), Some(4_000_000_000)).unwrap();
    fs::set_permissions(root.join("usr/bin/su"), Permissions::from_mode(0o6755)).unwrap();
    fs::create_dir(root.join("tmp")).unwrap();
    fs::set_permissions(root.join("tmp"), Permissions::from_mode(0o1777)).unwrap();
    fs::create_dir(root.join("readonly")).unwrap();
    write(b"readonly/file", b"in a folder without w", 0o444);
    fs::set_permissions(root.join("readonly"), Permissions::from_mode(0o2555)).unwrap();
}

fn set(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::lsetxattr(path, name, value, XattrFlags::empty()).unwrap();
}

fn xattrs(root: &Path) {
    set(&root.join("usr/bin/ping"), "security.capability", &CAP_NET_RAW);
    set(&root.join("a/z"), "user.note", b"line one\nline two = 100%\0");
    set(&root.join("a/z"), "user.odd=name%", b"");
    set(&root.join("a/z"), "trusted.mark", &[0, 255, 10]);
    set(&root.join("lib"), "trusted.on-a-link", b"yes");
    set(&root.join("a"), "user.large", &vec![b'v'; 3000]);
    for (acl, name) in [("u:1000:r--,g:1001:rw-", "a/z"), ("u:7:rwx", "a"), ("d:u:7:rwx,d:g:8:r-x", "a")] {
        run(Command::new("setfacl").args(["-m", acl]).arg(root.join(name)));
    }
}

fn nodes(root: &Path) {
    fs::create_dir(root.join("dev")).unwrap();
    let node = |name: &str, kind, mode, major, minor| {
        let device = rustix::fs::makedev(major, minor);
        rustix::fs::mknodat(CWD, root.join(name), kind, Mode::from_raw_mode(mode), device).unwrap();
        fs::set_permissions(root.join(name), Permissions::from_mode(mode)).unwrap();
    };
    node("dev/null", FileType::CharacterDevice, 0o666, 1, 3);
    node("dev/big", FileType::CharacterDevice, 0o600, 511, 1_000_000);
    node("dev/loop9", FileType::BlockDevice, 0o660, 7, 9);
    node("dev/pipe", FileType::Fifo, 0o622, 0, 0);
}

fn links(root: &Path) {
    fs::write(root.join("usr/lib/linked"), b"one file, three names").unwrap();
    fs::hard_link(root.join("usr/lib/linked"), root.join("another")).unwrap();
    fs::hard_link(root.join("usr/lib/linked"), root.join("usr/bin/third")).unwrap();
    fs::hard_link(root.join("nothing"), root.join("nothing-either")).unwrap();
    fs::hard_link(root.join("dangling"), root.join("dangling-too")).unwrap();
}

fn sparse(root: &Path) {
    let file = File::create(root.join("sparse")).unwrap();
    file.set_len(1 << 30).unwrap();
    file.write_all_at(b"in the middle", (1 << 29) + 123).unwrap();
    file.write_all_at(&[b'e'; 700], (1 << 30) - 700).unwrap();
    let file = File::create(root.join("sparse-tail")).unwrap();
    file.write_all_at(b"head", 0).unwrap();
    file.set_len(10_000_001).unwrap();
    File::create(root.join("all-hole")).unwrap().set_len(300_000).unwrap();
}

/// Folders in folders, each with a name of 255 bytes. With more than 16 the path is longer than `PATH_MAX`, which we
/// can do, but GNU tar and cpio can not.
pub fn deep(root: &Path, letters: &str) {
    let mut folder: OwnedFd = rustix::fs::open(root, OFlags::RDONLY, Mode::empty()).unwrap();
    for letter in letters.chars() {
        let name = letter.to_string().repeat(255);
        rustix::fs::mkdirat(&folder, &name[..], Mode::from_raw_mode(0o750)).unwrap();
        folder = rustix::fs::openat(&folder, &name[..], OFlags::RDONLY, Mode::empty()).unwrap();
    }
    let flags = OFlags::CREATE | OFlags::WRONLY;
    let file = rustix::fs::openat(&folder, "bottom", flags, Mode::from_raw_mode(0o600)).unwrap();
    rustix::io::write(&file, b"far down").unwrap();
}

fn times(root: &Path) {
    let mut number = 0;
    for name in ["usr/bin/ping", "a/z", "secret", "dev/null", "lib", "a", "usr", "empty"] {
        number += 1;
        stamp(&root.join(name), 1_000_000_000 + number, 123_456_789 + number as u32);
    }
    stamp(&root.join("exact"), -5, 250_000_000);
    stamp(&root.join("-rf"), 6_000_000_000, 0);
}

/// Sets the time of something, also of a link.
pub fn stamp(path: &Path, seconds: i64, nanos: u32) {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanos.into() };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, path, &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// Runs a tool that must succeed; gives its output.
pub fn run(command: &mut Command) -> Vec<u8> {
    let output = command.stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// A folder for one test, emptied by our own means, as only these reach all of a tree with such long names.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Scratch {
        Scratch(tempfile::Builder::new().prefix(&format!("rootfs-{name}-")).tempdir().unwrap().keep())
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let removed = rootfs::remove::remove_tree(&self.0);
        assert!(removed.is_ok() || std::thread::panicking(), "{removed:?}");
    }
}
