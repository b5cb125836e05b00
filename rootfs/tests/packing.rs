//! A tree packed for booting, looked at with GNU cpio and gzip, as the nodes' side would.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod gnarly;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use gnarly::{Scratch, plant, run};
use rootfs::compress::{Compression, ZstdLevel};
use rootfs::cpio::{CpioMember, CpioReader};
use rootfs::digest::{Digest, HashingReader};
use rootfs::entry::{Attributes, Kind, Stamp};
use rootfs::filter::Filter;
use rootfs::gzip::GzipLevel;
use rootfs::manifest::{Manifest, Node};
use rootfs::pack::{
    Overlay, OverlayContent, OverlayError, PackError, PackMethod, PackRecipe, PackReport, archive_name, pack,
};
use rootfs::path::TreePath;

fn recipe() -> PackRecipe {
    PackRecipe {
        method: PackMethod::Cpio,
        compression: Compression::default(),
        threads: NonZeroUsize::new(2).unwrap(),
        filter: Filter::default(),
        overlays: Vec::new(),
        xattr_list: false,
    }
}

fn unpack_by_gnu(archive: &Path, dest: &Path) {
    fs::create_dir(dest).unwrap();
    run(Command::new("gzip").arg("-t").arg(archive));
    let plain = dest.with_extension("cpio");
    let gunzip = Command::new("gzip").arg("-dc").arg(archive).stdout(File::create(&plain).unwrap()).status();
    assert!(gunzip.unwrap().success());
    let mut cpio = Command::new("cpio");
    run(cpio.args(["-idmu", "--quiet", "--sparse", "-F"]).arg(&plain).current_dir(dest).env("LC_ALL", "C"));
}

/// What a cpio archive can hold of a manifest.
fn comparable(tree: &Path) -> Manifest {
    let mut manifest = Manifest::of_tree(tree).unwrap();
    for entry in &mut manifest.entries {
        entry.xattrs.clear();
        // Whole seconds after 1970.
        entry.mtime = Stamp(entry.mtime.0.clamp(0, u32::MAX.into()), 0);
    }
    manifest
}

/// Members by name, with their content.
fn members(archive: &Path) -> BTreeMap<String, (CpioMember, Vec<u8>)> {
    let plain = run(Command::new("gzip").arg("-dc").arg(archive));
    let mut reader = CpioReader::new(&plain[..]);
    let mut members = BTreeMap::new();
    while let Some(member) = reader.next_member().unwrap() {
        let mut content = Vec::new();
        reader.read_to_end(&mut content).unwrap();
        let name = String::from_utf8_lossy(&member.name).into_owned();
        assert!(members.insert(name.clone(), (member, content)).is_none(), "`{name}` is there twice");
    }
    members
}

#[test]
fn gnu_cpio_unpacks_the_same_tree() {
    let scratch = Scratch::new("packcpio");
    let (tree, out, copy) = (scratch.join("tree"), scratch.join("rootimg.cpio.gz"), scratch.join("copy"));
    plant(&tree);
    // GNU cpio makes a hard link to a link anew. A gigabyte of zeros takes time in a format without holes.
    fs::remove_file(tree.join("dangling-too")).unwrap();
    File::options().write(true).open(tree.join("sparse")).unwrap().set_len(60_000_000).unwrap();
    let report = pack(&tree, &out, &recipe()).unwrap();
    unpack_by_gnu(&out, &copy);
    let (ours, theirs) = (comparable(&tree), comparable(&copy));
    // GNU cpio does not restore a link's own time, and changes a folder's by filling it later.
    for (ours, theirs) in ours.entries.iter().zip(&theirs.entries) {
        let ours = if matches!(ours.node, Node::Symlink { .. } | Node::Dir) {
            rootfs::manifest::ManifestEntry { mtime: theirs.mtime, ..ours.clone() }
        } else {
            ours.clone()
        };
        assert_eq!(ours, *theirs);
    }
    assert_eq!(ours.entries.len(), theirs.entries.len());
    assert_eq!(report.entries, ours.entries.len() as u64 + 1);
    assert_eq!(report.hard_links, 3);
    assert_eq!(fs::metadata(copy.join("another")).unwrap().nlink(), 3);

    let metadata = fs::metadata(&out).unwrap();
    assert_eq!((metadata.permissions().mode() & 0o7777, metadata.len()), (0o644, report.bytes_out));
    let (digest, _) = HashingReader::new(File::open(&out).unwrap()).finish().unwrap();
    assert_eq!(digest, report.digest);
    let listed = run(Command::new("sh").arg("-c").arg(format!("gzip -dc '{}' | cpio -t --quiet -0", out.display())));
    assert_eq!(listed.split(|byte| *byte == 0).filter(|name| !name.is_empty()).count() as u64, report.entries);
}

/// busybox and the kernel are stricter than GNU cpio, which makes do with content anywhere.
#[test]
fn of_several_names_the_last_has_the_content_and_no_two_files_share_a_number() {
    let scratch = Scratch::new("packlinks");
    let (tree, out) = (scratch.join("tree"), scratch.join("out"));
    plant(&tree);
    fs::remove_file(tree.join("sparse")).unwrap();
    pack(&tree, &out, &recipe()).unwrap();
    let plain = run(Command::new("gzip").arg("-dc").arg(&out));
    let mut reader = CpioReader::new(&plain[..]);
    let mut in_order = Vec::new();
    while let Some(member) = reader.next_member().unwrap() {
        in_order.push(member);
    }
    let names = [&b"another"[..], b"usr/bin/third", b"usr/lib/linked"];
    let (linked, others): (Vec<_>, Vec<_>) = in_order.iter().partition(|member| names.contains(&&member.name[..]));
    assert_eq!(linked.iter().map(|member| &member.name[..]).collect::<Vec<_>>(), names);
    assert_eq!(linked.iter().map(|member| member.size).collect::<Vec<_>>(), [0, 0, 21]);
    assert!(linked.iter().all(|member| member.nlink == 3 && member.inode == linked[0].inode));
    let single: Vec<_> = others.iter().filter(|member| member.nlink == 1 || member.kind == Kind::Dir).collect();
    for (number, member) in single.iter().enumerate() {
        assert!(single[..number].iter().all(|other| other.inode != member.inode), "{member:?}");
        assert!(member.inode != linked[0].inode, "{member:?}");
    }
}

#[test]
fn the_archive_depends_on_tree_and_recipe_only() {
    let scratch = Scratch::new("packsame");
    let tree = scratch.join("tree");
    plant(&tree);
    // A gigabyte of zeros takes time in a format without holes.
    fs::remove_file(tree.join("sparse")).unwrap();
    let digest = |name: &str, threads: usize, compression| -> Digest {
        let recipe = PackRecipe { threads: NonZeroUsize::new(threads).unwrap(), compression, ..recipe() };
        pack(&tree, &scratch.join(name), &recipe).unwrap().digest
    };
    let gzip = Compression::Gzip(GzipLevel::new(1));
    assert_eq!(digest("one", 1, gzip), digest("four", 4, gzip));
    let zstd = Compression::Zstd(ZstdLevel::default());
    assert_eq!(digest("z-one", 1, zstd), digest("z-four", 4, zstd));
    // A copy has other inodes, devices and listing order.
    run(Command::new("cp").arg("-a").arg(&tree).arg(scratch.join("copied")));
    let recipe = PackRecipe { compression: gzip, ..recipe() };
    assert_eq!(pack(&scratch.join("copied"), &scratch.join("c"), &recipe).unwrap().digest, digest("again", 2, gzip));
}

#[test]
fn an_exlist_leaves_what_find_would_and_the_folders_above() {
    let scratch = Scratch::new("packfilter");
    let (tree, out) = (scratch.join("tree"), scratch.join("out"));
    for file in ["boot/vmlinuz", "usr/share/zoneinfo/UTC", "usr/share/zoneinfo/CET", "usr/share/doc/a", "tmp/x"] {
        fs::create_dir_all(tree.join(file).parent().unwrap()).unwrap();
        fs::write(tree.join(file), file).unwrap();
    }
    fs::set_permissions(tree.join("usr/share/zoneinfo"), fs::Permissions::from_mode(0o711)).unwrap();
    let excludes = ["./boot*", "./usr/share*", "./tmp", "./never/matches"];
    let filter = Filter::new(excludes, ["./usr/share/zoneinfo/UTC"]);
    let report = pack(&tree, &out, &PackRecipe { filter, ..recipe() }).unwrap();
    let found = members(&out);
    let names: Vec<_> = found.keys().map(String::as_str).collect();
    let expected = [".", "tmp", "tmp/x", "usr", "usr/share", "usr/share/zoneinfo", "usr/share/zoneinfo/UTC"];
    assert_eq!(names, expected);
    assert_eq!(found["usr/share/zoneinfo"].0.attributes.mode, 0o711);
    assert_eq!(report.excluded, 5, "boot, boot/vmlinuz, CET, doc, doc/a");
    assert_eq!(report.rules.last().unwrap().hits, 0);
}

fn overlay(path: &str, content: OverlayContent) -> Overlay {
    let attributes = Attributes { mode: 0o600, uid: 5, gid: 6, mtime: Stamp(7, 0) };
    Overlay { path: TreePath::in_image(path).unwrap(), content, attributes }
}

#[test]
fn overlays_go_in_where_the_image_would_find_them_and_the_tree_stays() {
    let scratch = Scratch::new("packoverlay");
    let (tree, out) = (scratch.join("tree"), scratch.join("out"));
    plant(&tree);
    // A gigabyte of zeros takes time in a format without holes.
    fs::remove_file(tree.join("sparse")).unwrap();
    let before = Manifest::of_tree(&tree).unwrap();
    fs::write(scratch.join("source"), "from a file").unwrap();
    let bytes = |text: &str| OverlayContent::Bytes(text.into());
    let overlays = vec![
        overlay("/lib/modules/list", bytes("at usr/lib")),
        overlay("/another", bytes("no longer a link")),
        overlay("/etc/deep/er/file", OverlayContent::File(scratch.join("source"))),
        overlay("/etc/localtime", OverlayContent::Symlink(b"../usr/share/zoneinfo/UTC".to_vec())),
        overlay("/empty", OverlayContent::Dir),
        overlay("/dangling", bytes("replaces the link")),
    ];
    let filter = Filter::new(["./usr/lib/*", "./etc*", "./empty"], []);
    let recipe = PackRecipe { overlays, filter, xattr_list: true, ..recipe() };
    let report = pack(&tree, &out, &recipe).unwrap();
    let found = members(&out);
    assert_eq!(found["usr/lib/modules/list"].1, b"at usr/lib");
    assert_eq!(found["usr/lib/modules"].0.attributes.mode, 0o755);
    let file = &found["etc/deep/er/file"];
    assert_eq!((&file.1[..], file.0.attributes), (&b"from a file"[..], recipe.overlays[0].attributes));
    assert_eq!(found["etc/localtime"].0.kind, Kind::Symlink(b"../usr/share/zoneinfo/UTC".to_vec()));
    assert_eq!(found["empty"].0.attributes.uid, 5);
    assert_eq!(found["dangling"].1, b"replaces the link");
    assert!(matches!(found["lib"].0.kind, Kind::Symlink(_)));
    // Of three names one is replaced and one excluded: what is left is a file of its own, with its content.
    assert_eq!(found["another"].1, b"no longer a link");
    assert!(!found.contains_key("usr/lib/linked"));
    assert_eq!((found["usr/bin/third"].0.nlink, found["usr/bin/third"].1.len()), (1, 21));

    let list = String::from_utf8(found[".imgctl/xattrs"].1.clone()).unwrap();
    let ping = "/usr/bin/ping security.capability 0x0100000200200000000000000000000000000000\n";
    assert!(list.contains(ping), "{list}");
    assert!(list.contains("/a/z user.odd=name% 0x\n"), "{list}");
    assert!(list.lines().skip(1).all(|line| line.split(' ').count() == 3), "{list}");
    assert_eq!(report.xattrs.len(), 4, "a, a/z, lib, ping");
    assert_eq!(Manifest::of_tree(&tree).unwrap().entries, before.entries, "packing changed the tree");
}

#[test]
fn an_overlay_with_no_place_is_refused() {
    let scratch = Scratch::new("packnoplace");
    let (tree, out) = (scratch.join("tree"), scratch.join("out"));
    fs::create_dir_all(tree.join("dir")).unwrap();
    fs::write(tree.join("file"), "").unwrap();
    symlink("/", tree.join("dir/up")).unwrap();
    let bytes = || OverlayContent::Bytes(Vec::new());
    let refusal = |overlays: Vec<Overlay>| match pack(&tree, &out, &PackRecipe { overlays, ..recipe() }) {
        Err(PackError::Overlay(error)) => error,
        other => panic!("{other:?}"),
    };
    assert!(matches!(refusal(vec![overlay("/dir", bytes())]), OverlayError::ReplacesFolder { .. }));
    assert!(matches!(refusal(vec![overlay("/file/x", bytes())]), OverlayError::NotAFolder { .. }));
    let twice = vec![overlay("/x", bytes()), overlay("/dir/up/x", bytes())];
    assert!(matches!(refusal(twice), OverlayError::Twice { .. }));
    let file_above = vec![overlay("/new", bytes()), overlay("/new/x", bytes())];
    assert!(matches!(refusal(file_above), OverlayError::NotAFolder { .. }));
    assert!(!out.exists());
}

/// Asserts that packing fails, that the old archive stands and that nothing lies beside it.
#[track_caller]
fn assert_fails_cleanly(tree: &Path, folder: &Path, recipe: &PackRecipe, named: &str) {
    let out = folder.join("rootimg.cpio.gz");
    fs::write(&out, "old").unwrap();
    let before = fs::read_dir(folder).unwrap().count();
    let error = pack(tree, &out, recipe).map(|_: PackReport| ()).unwrap_err();
    let text = format!("{error}: {:?}", std::error::Error::source(&error).map(ToString::to_string));
    assert!(text.contains(named), "{text}");
    assert_eq!(fs::read(&out).unwrap(), b"old");
    assert_eq!(fs::read_dir(folder).unwrap().count(), before, "something was left");
}

#[test]
fn a_failed_pack_leaves_the_old_archive_and_nothing_else() {
    let scratch = Scratch::new("packfail");
    let (tree, shelf) = (scratch.join("tree"), scratch.join("shelf"));
    fs::create_dir(&tree).unwrap();
    fs::create_dir(&shelf).unwrap();
    fs::write(tree.join("small"), "x").unwrap();

    File::create(tree.join("zzz large")).unwrap().set_len(1 << 32).unwrap();
    assert_fails_cleanly(&tree, &shelf, &recipe(), "`zzz large` has 4294967296 bytes");
    let filter = Filter::new(["./zzz*"], []);
    let without = PackRecipe { filter, ..recipe() };
    pack(&tree, &scratch.join("fine"), &without).unwrap();

    let missing = vec![overlay("/zz", OverlayContent::File(scratch.join("none")))];
    assert_fails_cleanly(&tree, &shelf, &PackRecipe { overlays: missing, ..without.clone() }, "none` for overlay `zz`");
    let device = vec![overlay("/zz", OverlayContent::File("/dev/null".into()))];
    assert_fails_cleanly(&tree, &shelf, &PackRecipe { overlays: device, ..without.clone() }, "not a regular file");
    assert_fails_cleanly(&scratch.join("nowhere"), &shelf, &without, "nowhere");
}

#[test]
fn a_full_disk_is_told_and_leaves_the_old_archive() {
    let scratch = Scratch::new("packfull");
    let (tree, tiny) = (scratch.join("tree"), scratch.join("tiny"));
    fs::create_dir(&tree).unwrap();
    fs::create_dir(&tiny).unwrap();
    let mut noise = vec![0; 8_000_000];
    File::open("/dev/urandom").unwrap().read_exact(&mut noise).unwrap();
    fs::write(tree.join("noise"), noise).unwrap();
    run(Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tiny"]).arg(&tiny));
    let result = std::panic::catch_unwind(|| {
        for compression in [Compression::default(), Compression::Zstd(ZstdLevel::default()), Compression::None] {
            assert_fails_cleanly(&tree, &tiny, &PackRecipe { compression, ..recipe() }, "No space left");
        }
    });
    run(Command::new("umount").arg("--lazy").arg(&tiny));
    result.unwrap();
}

#[test]
fn sockets_and_mounts_are_noted_and_not_packed() {
    let scratch = Scratch::new("packmount");
    let (tree, out, precious) = (scratch.join("tree"), scratch.join("out"), scratch.join("precious"));
    fs::create_dir_all(tree.join("proc")).unwrap();
    fs::create_dir(&precious).unwrap();
    fs::write(precious.join("secret"), "").unwrap();
    fs::write(tree.join("resolv.conf"), "").unwrap();
    fs::write(tree.join("two words"), "").unwrap();
    let socket = std::os::unix::net::UnixListener::bind(tree.join("socket")).unwrap();
    // Bind mounts of the same file system, which `st_dev` does not tell.
    run(Command::new("mount").arg("--bind").arg(&precious).arg(tree.join("proc")));
    run(Command::new("mount").arg("--bind").arg(precious.join("secret")).arg(tree.join("two words")));
    let result = std::panic::catch_unwind(|| pack(&tree, &out, &recipe()).unwrap());
    run(Command::new("umount").arg(tree.join("proc")));
    run(Command::new("umount").arg(tree.join("two words")));
    drop(socket);
    let report = result.unwrap();
    let found = members(&out);
    assert_eq!(found.keys().map(String::as_str).collect::<Vec<_>>(), [".", "proc", "resolv.conf"]);
    let notes: Vec<_> = report.notes.iter().map(|note| note.path.as_path().as_os_str().as_bytes()).collect();
    assert_eq!(notes, [&b"proc"[..], b"socket", b"two words"]);
}

#[test]
fn archives_have_the_names_that_boot_servers_look_for() {
    assert_eq!(archive_name(PackMethod::Cpio, Compression::default()), "rootimg.cpio.gz");
    assert_eq!(archive_name(PackMethod::Cpio, Compression::None), "rootimg.cpio");
}
