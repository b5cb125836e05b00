use super::*;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rootfs::edits::{Aspect, Edit, EditKind};
use rootfs::manifest::Manifest;

use crate::generation::local_edits;

struct Site {
    dir: tempfile::TempDir,
}

impl Site {
    /// A rootimgdir with generation 1, built.
    fn new() -> Site {
        let dir = tempfile::tempdir().unwrap();
        let site = Site { dir };
        let folder = site.at("r/.generations/1");
        for name in ["rootimg/etc", "rootimg/usr/lib", "rootimg/boot"] {
            fs::create_dir_all(folder.join(name)).unwrap();
        }
        for name in ["kernel", "initrd-stateless.gz", "initrd-statelite.gz", "build.json", "rootimg/boot/vmlinuz"] {
            fs::write(folder.join(name), name).unwrap();
        }
        fs::write(folder.join("rootimg/etc/fstab"), "as built\n").unwrap();
        fs::write(folder.join("rootimg/etc/shadow"), "root::1:::::\nbin:*:2:::::\n").unwrap();
        fs::set_permissions(folder.join("rootimg/etc/shadow"), fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::chown(folder.join("rootimg/etc/shadow"), Some(0), Some(42)).unwrap();
        symlink("usr/lib", folder.join("rootimg/lib")).unwrap();
        Manifest::of_tree(&folder.join("rootimg")).unwrap().write(&folder.join("manifest.json")).unwrap();
        fs::create_dir(site.at("mn")).unwrap();
        fs::write(site.at("mn/hosts"), "synced\n").unwrap();
        site
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn dir(&self) -> RootimgDir {
        RootimgDir::open(&self.at("r"), self.dir.path()).unwrap()
    }

    fn order(&self) -> PackOrder {
        PackOrder {
            osimage: "debian12-x86_64-netboot-compute".parse().unwrap(),
            excludes: vec!["./boot*".to_owned()],
            includes: Vec::new(),
            copies: Vec::new(),
            format: Format::default(),
            root_hash: None,
            recorded: Vec::new(),
            threads: NonZeroUsize::MIN,
        }
    }

    fn copy(&self, source: &str, target: &str) -> CopyLine {
        CopyLine {
            sources: vec![self.at(source).to_str().unwrap().to_owned()],
            target: target.to_owned(),
            into_directory: target.ends_with('/'),
            at: "/install/custom/synclist:3".to_owned(),
        }
    }

    fn pack(&self, order: &PackOrder, number: usize) -> Result<Packed, PackError> {
        let numbers = self.dir().numbers().unwrap();
        pack(order, &self.dir(), numbers[number], &AtomicBool::new(false))
    }

    /// What a node gets, unpacked.
    fn served(&self) -> tempfile::TempDir {
        extract(&self.at("r/rootimg.cpio.gz"))
    }
}

fn extract(archive: &Path) -> tempfile::TempDir {
    assert!(Command::new("gzip").arg("-t").arg(archive).status().unwrap().success());
    let to = tempfile::tempdir().unwrap();
    let mut gunzip = Command::new("gzip").arg("-dc").arg(archive).stdout(Stdio::piped()).spawn().unwrap();
    let stdin = gunzip.stdout.take().unwrap();
    let cpio = Command::new("cpio").args(["-idm", "--quiet"]).current_dir(to.path()).stdin(stdin).output().unwrap();
    gunzip.wait().unwrap();
    assert!(cpio.status.success() && cpio.stderr.is_empty(), "{cpio:?}");
    to
}

fn read(folder: &tempfile::TempDir, name: &str) -> String {
    fs::read_to_string(folder.path().join(name)).unwrap()
}

#[test]
fn the_archive_holds_the_tree_what_is_put_in_and_not_what_is_excluded() {
    let site = Site::new();
    let mut order = site.order();
    order.copies = vec![site.copy("mn/hosts", "/etc/"), site.copy("mn/hosts", "/lib/site/hosts")];
    let packed = site.pack(&order, 0).unwrap();
    assert_eq!((packed.generation.to_string().as_str(), packed.tree_of), ("1", None));
    let served = site.served();
    assert_eq!(read(&served, "etc/hosts"), "synced\n");
    assert_eq!(read(&served, "usr/lib/site/hosts"), "synced\n");
    assert_eq!(read(&served, "etc/shadow"), "root:*:13880:0:99999:7:::\nbin:*:2:::::\n");
    let shadow = served.path().join("etc/shadow").metadata().unwrap();
    assert_eq!((shadow.mode() & 0o7777, shadow.uid(), shadow.gid()), (0o640, 0, 42));
    let info = read(&served, "opt/xcat/xcatinfo");
    let start = format!("IMAGENAME='debian12-x86_64-netboot-compute'\nIMAGEUUID='{}'\nTIMESTAMP='", packed.uuid);
    assert!(info.starts_with(&start), "{info}");
    assert!(served.path().join(".imgctl/xattrs").exists());
    assert!(!served.path().join("boot").exists());
    assert_eq!(site.at("r/rootimg.cpio.gz").metadata().unwrap().mode() & 0o7777, 0o644);
    let names: Vec<_> = packed.artefacts.iter().map(|artefact| artefact.name.as_str()).collect();
    assert_eq!(names, ["kernel", "initrd-stateless.gz", "initrd-statelite.gz", "rootimg.cpio.gz"]);
}

#[test]
fn the_tree_is_never_touched() {
    let site = Site::new();
    let tree = site.at("r/.generations/1/rootimg");
    let before = Manifest::of_tree(&tree).unwrap();
    let root_before = tree.metadata().unwrap();
    let mut order = site.order();
    order.copies = vec![site.copy("mn/hosts", "/etc/fstab"), site.copy("mn/hosts", "/opt/new/")];
    order.root_hash = Some("$6$a$b".to_owned());
    site.pack(&order, 0).unwrap();
    site.pack(&order, 0).unwrap();
    // Equal in every time stamp, those of folders and of inodes too.
    assert_eq!(Manifest::of_tree(&tree).unwrap(), before);
    let root_after = tree.metadata().unwrap();
    let times = |metadata: &fs::Metadata| (metadata.mtime_nsec(), metadata.ctime_nsec());
    assert_eq!(times(&root_after), times(&root_before));
    assert_eq!(local_edits(&site.dir(), site.dir().numbers().unwrap()[0]).unwrap().unwrap(), []);
    assert!(read(&site.served(), "etc/shadow").starts_with("root:$6$a$b:13880:"));
}

#[test]
fn an_edit_of_the_tree_is_listed_and_packed() {
    let site = Site::new();
    fs::write(site.at("r/.generations/1/rootimg/etc/fstab"), "proc /proc proc\n").unwrap();
    let edits = local_edits(&site.dir(), site.dir().numbers().unwrap()[0]).unwrap().unwrap();
    let fstab = TreePath::parse("etc/fstab").unwrap();
    assert_eq!(edits, [Edit { path: fstab, kind: EditKind::Changed(vec![Aspect::Content]) }]);
    site.pack(&site.order(), 0).unwrap();
    assert_eq!(read(&site.served(), "etc/fstab"), "proc /proc proc\n");
}

#[test]
fn packing_a_sealed_generation_makes_the_next_with_the_same_tree() {
    let site = Site::new();
    let first = site.pack(&site.order(), 0).unwrap();
    let old = fs::read(site.at("r/.generations/1/rootimg.cpio.gz")).unwrap();
    fs::write(site.at("r/rootimg/etc/fstab"), "edited\n").unwrap();
    let mut order = site.order();
    order.format = Format::parse("cpio", "zstd").unwrap();
    let second = site.pack(&order, 0).unwrap();
    assert_eq!((second.generation.to_string().as_str(), second.tree_of), ("2", Some(first.generation)));
    assert_ne!(first.uuid, second.uuid);
    assert_eq!(second.switched.removed, ["rootimg.cpio.gz"]);
    assert!(site.at("r/rootimg.cpio.zst").exists());
    assert_eq!(fs::read_link(site.at("r/.generations/2/rootimg")).unwrap(), Path::new("../1/rootimg"));
    assert_eq!(fs::read(site.at("r/.generations/1/rootimg.cpio.gz")).unwrap(), old);
    // The owner of the tree is found through one that shares it.
    let third = site.pack(&site.order(), 1).unwrap();
    assert_eq!((third.generation.to_string().as_str(), third.tree_of), ("3", Some(first.generation)));
    assert_eq!(read(&site.served(), "etc/fstab"), "edited\n");
    let edits = local_edits(&site.dir(), third.generation).unwrap().unwrap();
    assert_eq!(edits.len(), 1);
    assert_eq!(fs::read_to_string(site.at("r/.generations/3/kernel")).unwrap(), "kernel");
}

#[test]
fn a_failure_leaves_what_was_served_and_no_half_file() {
    let site = Site::new();
    site.pack(&site.order(), 0).unwrap();
    let served = fs::read(site.at("r/rootimg.cpio.gz")).unwrap();
    let standing = || {
        let folders = ["r", "r/.generations", "r/.generations/1"].map(|name| site.at(name));
        let entries = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap());
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        names.sort();
        names
    };
    let before = standing();
    let mut order = site.order();
    order.copies = vec![site.copy("mn/none", "/etc/")];
    let text = site.pack(&order, 0).unwrap_err().to_string();
    assert!(text.contains("/install/custom/synclist:3: ") && text.contains("mn/none` is not there"), "{text}");
    // A file where the image has a folder: only the packer finds out.
    order.copies = vec![site.copy("mn/hosts", "/etc/fstab/hosts")];
    assert!(matches!(site.pack(&order, 0), Err(PackError::Pack(_))));
    let cancelled = pack(&site.order(), &site.dir(), site.dir().numbers().unwrap()[0], &AtomicBool::new(true));
    assert!(matches!(cancelled, Err(PackError::Cancelled)));
    assert_eq!(standing(), before);
    assert_eq!(fs::read(site.at("r/rootimg.cpio.gz")).unwrap(), served);
}

#[test]
fn a_failed_first_pack_leaves_the_generation_editable() {
    let site = Site::new();
    // Two files of 4 GiB and more can't be packed; they take no room.
    let huge = fs::File::create(site.at("r/.generations/1/rootimg/huge")).unwrap();
    huge.set_len(5 << 30).unwrap();
    assert!(matches!(site.pack(&site.order(), 0), Err(PackError::Pack(_))));
    let number = site.dir().numbers().unwrap()[0];
    assert!(!site.dir().is_packed(number));
    let names = fs::read_dir(site.at("r/.generations/1")).unwrap().count();
    assert_eq!(names, 6);
}

#[test]
fn a_reader_never_finds_the_image_missing_or_broken() {
    let site = Site::new();
    fs::write(site.at("r/.generations/1/rootimg/big"), "0123456789".repeat(50_000)).unwrap();
    site.pack(&site.order(), 0).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut reads = 0;
            while !done.load(Ordering::Relaxed) {
                let bytes = fs::read(site.at("r/rootimg.cpio.gz")).expect("served at every moment");
                assert!(bytes.len() > 100 && bytes[..2] == [0x1f, 0x8b]);
                assert!(site.at("r/kernel").exists());
                reads += 1;
            }
            reads
        });
        let round = |_| {
            site.pack(&site.order(), 0)?;
            Ok(crate::generation::retain(&site.dir(), 3, &[]).map_or(usize::MAX, |retained| retained.refused.len()))
        };
        let refused: Result<Vec<usize>, PackError> = (0..20).map(round).collect();
        // Before anything is asserted, or the reader would never end.
        done.store(true, Ordering::Relaxed);
        assert!(reader.join().unwrap() > 20);
        assert_eq!(refused.unwrap(), [0; 20]);
    });
    assert_eq!(site.dir().numbers().unwrap().len(), 3);
}

#[test]
fn what_xcat_left_is_packed_as_generation_0() {
    let site = Site::new();
    let xcat = site.at("x");
    fs::create_dir_all(xcat.join("rootimg/etc")).unwrap();
    fs::write(xcat.join("kernel"), "k").unwrap();
    let dir = RootimgDir::open(&xcat, site.dir.path()).unwrap();
    let packed = pack(&site.order(), &dir, Number::XCAT, &AtomicBool::new(false)).unwrap();
    assert_eq!(packed.generation, Number::XCAT);
    assert_eq!(read(&extract(&xcat.join("rootimg.cpio.gz")), "etc/shadow"), "root:*:13880:0:99999:7:::\n");
    let again = pack(&site.order(), &dir, Number::XCAT, &AtomicBool::new(false)).unwrap();
    assert_eq!((again.generation.to_string().as_str(), again.tree_of), ("1", Some(Number::XCAT)));
    assert_eq!(local_edits(&dir, again.generation).unwrap(), None);
}

#[test]
fn a_sealed_generation_without_the_kernel_of_its_build_makes_no_new_one() {
    let site = Site::new();
    let packed = site.pack(&site.order(), 0).unwrap();
    let kernel = site.at("r/.generations/1/kernel");
    let recorded = PackOrder { recorded: packed.artefacts, ..site.order() };
    let refused = |what: &str| {
        let error = site.pack(&recorded, 0).unwrap_err();
        assert!(matches!(error, PackError::Recorded(_)) && error.to_string().contains(what), "{error}");
        assert_eq!(site.dir().numbers().unwrap().len(), 1);
    };
    fs::write(&kernel, "kernel and more").unwrap();
    refused("15 bytes, its record says 6");
    fs::write(&kernel, "KERNEL").unwrap();
    refused("digest");
    fs::remove_file(&kernel).unwrap();
    refused("missing");
    fs::write(&kernel, "kernel").unwrap();
    assert_eq!(site.pack(&recorded, 0).unwrap().generation.to_string(), "2");
}
