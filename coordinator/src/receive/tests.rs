use super::*;
use std::io::Write as _;
use std::os::unix::fs::{FileTypeExt, chown, symlink};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use model::id::{Attempt, BuildId};
use rootfs::compress::{Compression, Compressor, ZstdLevel};
use rootfs::edits::{Aspect, EditKind, edits};
use rootfs::manifest::Manifest;
use rootfs::tar::write_tar;
use rustix::fs::{CWD, FileType, XattrFlags};

use crate::generation::local_edits;

/// The unpacking child of these tests is this very program: see [`Site::order`].
#[test]
fn this_program_unpacks_when_it_is_run_as_the_child() {
    let args: Vec<_> = std::env::args().collect();
    let [.., dest, parent] = &args[..] else { return };
    let (true, Ok(parent)) = (dest.starts_with('/'), parent.parse()) else { return };
    // The harness leaves its line open.
    writeln!(std::io::stdout()).unwrap();
    unpack_here(Path::new(dest), parent).unwrap();
    std::process::exit(0);
}

/// The same for a child that only looks around.
#[test]
fn this_program_looks_around_when_it_is_run_as_the_child() {
    let args: Vec<_> = std::env::args().collect();
    let [.., dest, parent] = &args[..] else { return };
    let (true, Ok(parent)) = (dest.starts_with('/'), parent.parse()) else { return };
    confine::die_with(parent).and_then(|()| confine::confine(Path::new(dest))).unwrap();
    let names = |folder: &str| {
        let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        format!("{names:?}")
    };
    fs::write("/tree/mark", "").unwrap();
    let seen = [names("/"), names("/.."), names("/proc"), names("/proc/self")];
    let outcome = Outcome::refused(Why::Escape, &std::io::Error::other(seen.join(" ")));
    let verdict = Verdict { digest: None, read: 0, outcome };
    writeln!(std::io::stdout(), "\n{}", serde_json::to_string(&verdict).unwrap()).unwrap();
    std::process::exit(0);
}

struct Site {
    dir: tempfile::TempDir,
}

impl Site {
    fn new() -> Site {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["install/staging", "publish/rootimg/etc"] {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        for name in ["kernel", "initrd-stateless.gz", "initrd-statelite.gz", "build.json", "rootimg/etc/fstab"] {
            fs::write(dir.path().join("publish").join(name), name).unwrap();
        }
        Site { dir }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What an agent would publish of the folder `publish`.
    fn published(&self) -> ReceiveOrder {
        let mut tar = Vec::new();
        write_tar(&self.at("publish"), &mut tar).unwrap();
        self.order(&tar)
    }

    fn order(&self, tar: &[u8]) -> ReceiveOrder {
        let compression = Compression::Zstd(ZstdLevel::default());
        let mut stream = Compressor::new(Vec::new(), compression, std::num::NonZeroUsize::MIN).unwrap();
        stream.write_all(tar).unwrap();
        self.raw_order(&stream.finish().unwrap())
    }

    fn raw_order(&self, bytes: &[u8]) -> ReceiveOrder {
        let archive = self.at("install/staging/7.1.tar.zst");
        fs::write(&archive, bytes).unwrap();
        ReceiveOrder {
            archive,
            digest: Digest::of(bytes),
            bytes: bytes.len() as u64,
            rootimgdir: self.at("install/r"),
            install_dir: self.at("install"),
            attempt: AttemptId { build: BuildId::new(7).unwrap(), attempt: Attempt::FIRST },
            unpacker: this_program("this_program_unpacks_when_it_is_run_as_the_child"),
        }
    }

    fn dir(&self) -> RootimgDir {
        RootimgDir::open(&self.at("install/r"), &self.at("install")).unwrap()
    }

    /// What stands in the rootimgdir and among its generations.
    fn standing(&self) -> Vec<String> {
        let names = |folder: PathBuf| {
            let list = fs::read_dir(folder).into_iter().flatten();
            list.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>()
        };
        let mut all = [names(self.at("install/r")), names(self.at("install/r/.generations"))].concat();
        all.sort();
        all
    }
}

/// The command that comes to one of the tests above as the child.
fn this_program(test: &str) -> Vec<OsString> {
    let program = std::env::current_exe().unwrap().into_os_string();
    let test = format!("{}::{test}", module_path!().split_once("::").unwrap().1);
    [program, "--exact".into(), test.into(), "--nocapture".into()].to_vec()
}

fn run(order: &ReceiveOrder) -> Result<Received, ReceiveError> {
    receive(order, &AtomicBool::new(false))
}

/// Everything that a root image may hold and a careless transfer loses.
fn make_gnarly(root: &Path) {
    let at = |name: &str| root.join(name);
    fs::create_dir_all(at("usr/bin")).unwrap();
    fs::write(at("usr/bin/ping"), "ping").unwrap();
    chown(at("usr/bin/ping"), Some(12), Some(34)).unwrap();
    fs::set_permissions(at("usr/bin/ping"), Permissions::from_mode(0o4755)).unwrap();
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    rustix::fs::setxattr(at("usr/bin/ping"), "security.capability", &capability, XattrFlags::empty()).unwrap();
    fs::hard_link(at("usr/bin/ping"), at("usr/bin/ping6")).unwrap();
    symlink("/etc/shadow", at("usr/bin/abs")).unwrap();
    symlink("../../../../etc", at("usr/climb")).unwrap();
    fs::write(at(&"long".repeat(50)), "x").unwrap();
    fs::write(at("new\nline \\ ä"), "x").unwrap();
    File::create(at("sparse")).unwrap().set_len(50 << 20).unwrap();
    let mode = Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(CWD, at("null"), FileType::CharacterDevice, mode, rustix::fs::makedev(1, 3)).unwrap();
    rustix::fs::mknodat(CWD, at("pipe"), FileType::Fifo, mode, 0).unwrap();
    fs::create_dir(at("secret")).unwrap();
    fs::set_permissions(at("secret"), Permissions::from_mode(0o1700)).unwrap();
}

#[test]
fn a_gnarly_tree_arrives_as_it_was_and_goes_live() {
    let site = Site::new();
    make_gnarly(&site.at("publish/rootimg"));
    fs::set_permissions(site.at("publish/initrd-stateless.gz"), Permissions::from_mode(0o600)).unwrap();
    let received = run(&site.published()).unwrap();
    assert_eq!(received.generation, Generation::FIRST);
    let tree = received.path.join("rootimg");
    assert_eq!(edits(&Manifest::of_tree(&site.at("publish/rootimg")).unwrap(), &tree).unwrap(), []);
    assert_eq!(local_edits(&site.dir(), received.generation.into()).unwrap().unwrap(), []);
    assert!(tree.join("null").symlink_metadata().unwrap().file_type().is_char_device());
    let names: Vec<_> = received.artefacts.iter().map(|artefact| artefact.name.as_str()).collect();
    assert_eq!(names, ["kernel", "initrd-stateless.gz", "initrd-statelite.gz", "rootimg"]);
    assert_eq!(received.artefacts[0].digest, Some(Digest::of(b"kernel").to_string()));
    assert_eq!(received.tree_bytes, (50 << 20) + 17 + 4 + 2);
    assert_eq!(received.switched.unwrap().to, Number::from(Generation::FIRST));
    assert_eq!(fs::read_to_string(site.at("install/r/kernel")).unwrap(), "kernel");
    let initrd = site.at("install/r/initrd-stateless.gz").metadata().unwrap();
    assert_eq!(initrd.permissions().mode() & 0o7777, 0o644);
    assert_eq!(received.path.metadata().unwrap().permissions().mode() & 0o7777, 0o755);
    let links = ["current", "initrd-stateless.gz", "initrd-statelite.gz", "kernel", "rootimg"];
    assert_eq!(site.standing(), [&[".generations", "1"], &links[..]].concat());
}

#[test]
fn edits_made_after_receiving_are_listed() {
    let site = Site::new();
    let received = run(&site.published()).unwrap();
    let fstab = received.path.join("rootimg/etc/fstab");
    fs::write(&fstab, "edited").unwrap();
    fs::write(fstab.with_file_name("added"), "").unwrap();
    let edits = local_edits(&site.dir(), received.generation.into()).unwrap().unwrap();
    let found: Vec<_> = edits.iter().map(|edit| (edit.path.to_string(), edit.kind.clone())).collect();
    let changed = EditKind::Changed(vec![Aspect::Content]);
    assert_eq!(found, [("etc/added".to_owned(), EditKind::Added), ("etc/fstab".to_owned(), changed)]);
}

#[test]
fn numbers_go_on_and_what_was_left_of_an_earlier_try_goes() {
    let site = Site::new();
    fs::create_dir_all(site.at("install/r/.generations/4")).unwrap();
    fs::create_dir_all(site.at("install/r/.generations/.incoming-7.1/rootimg")).unwrap();
    fs::write(site.at("install/r/.generations/4/rootimg.cpio.gz"), "packed").unwrap();
    assert_eq!(run(&site.published()).unwrap().generation.get(), 5);
    let second = run(&site.published()).unwrap();
    assert_eq!((second.generation.get(), second.switched), (6, None));
    assert_eq!(fs::read_to_string(site.at("install/r/rootimg.cpio.gz")).unwrap(), "packed");
}

#[test]
fn what_is_mounted_in_an_image_or_in_what_an_earlier_try_left_survives_a_rebuild() {
    let site = Site::new();
    let order = site.published();
    let first = run(&order).unwrap();
    let left = site.at(&format!("install/r/.generations/.incoming-{}/rootimg/mnt", order.attempt));
    let points = [first.path.join("rootimg/etc/precious"), left];
    let precious = site.at("precious");
    fs::create_dir(&precious).unwrap();
    fs::write(precious.join("data"), "x").unwrap();
    let mounts = points.clone().map(|point| {
        fs::create_dir_all(&point).unwrap();
        rustix::mount::mount_bind(&precious, &point).expect("this test needs root");
        SmallDisk(point)
    });
    // The same attempt again, as after a restart, meets what is left; it says what stands in its way.
    let refused = crate::chain::chain(&run(&order).unwrap_err());
    assert!(refused.contains(points[1].to_str().unwrap()), "{refused}");
    let next = ReceiveOrder { attempt: AttemptId { attempt: order.attempt.attempt.next(), ..order.attempt }, ..order };
    assert_eq!(run(&next).unwrap().generation, first.generation.next());
    for folder in points.iter().chain([&precious]) {
        assert_eq!(fs::read_to_string(folder.join("data")).unwrap(), "x");
    }
    drop(mounts);
}

#[test]
fn what_xcat_left_becomes_generation_0_at_the_first_receive() {
    let site = Site::new();
    fs::create_dir_all(site.at("install/r/rootimg/etc")).unwrap();
    fs::write(site.at("install/r/rootimg.cpio.gz"), "xcat").unwrap();
    let received = run(&site.published()).unwrap();
    assert_eq!(received.adopted.unwrap().names, ["rootimg", "rootimg.cpio.gz"]);
    assert_eq!((received.generation.get(), received.switched), (1, None));
    assert_eq!(fs::read_to_string(site.at("install/r/rootimg.cpio.gz")).unwrap(), "xcat");
}

#[test]
fn other_bytes_than_announced_are_refused_and_leave_nothing() {
    let site = Site::new();
    run(&site.published()).unwrap();
    let before = site.standing();
    fs::write(site.at("publish/rootimg/big"), "0123456789".repeat(100_000)).unwrap();
    let good = site.published();
    let bytes = fs::read(&good.archive).unwrap();

    let mut other = good.clone();
    other.digest = Digest::of(b"other");
    assert!(matches!(run(&other), Err(ReceiveError::DigestMismatch { .. })));

    fs::write(&good.archive, [&bytes[..], b"tail"].concat()).unwrap();
    assert!(matches!(run(&good), Err(ReceiveError::DigestMismatch { .. })));

    let mut flipped = bytes.clone();
    flipped[bytes.len() / 2] ^= 0x10;
    fs::write(&good.archive, &flipped).unwrap();
    assert!(matches!(run(&good), Err(ReceiveError::DigestMismatch { .. })));

    fs::write(&good.archive, &bytes[..bytes.len() - 9]).unwrap();
    let cut = run(&good).unwrap_err();
    assert!(matches!(cut, ReceiveError::Truncated { .. }) && cut.is_transport(), "{cut}");

    // Cut short already when the agent measured it.
    let cut = site.raw_order(&bytes[..bytes.len() - 9]);
    assert!(matches!(run(&cut), Err(ReceiveError::NotAnArchive { .. })));
    assert!(matches!(run(&site.raw_order(&[7; 5000])), Err(ReceiveError::NotAnArchive { .. })));
    assert_eq!(site.standing(), before);
}

#[test]
fn what_is_no_file_is_not_opened() {
    let site = Site::new();
    let order = site.published();
    fs::rename(&order.archive, site.at("real")).unwrap();
    assert!(matches!(run(&order), Err(ReceiveError::Missing { .. })));
    symlink(site.at("real"), &order.archive).unwrap();
    assert!(matches!(run(&order), Err(ReceiveError::NotAFile { .. })));
    fs::remove_file(&order.archive).unwrap();
    rustix::fs::mknodat(CWD, &order.archive, FileType::Fifo, Mode::RUSR, 0).unwrap();
    assert!(matches!(run(&order), Err(ReceiveError::NotAFile { .. })));
}

#[test]
fn an_archive_with_too_much_or_too_little_at_its_top_is_refused_by_name() {
    let site = Site::new();
    let publish = site.at("publish");
    fs::remove_file(publish.join("initrd-statelite.gz")).unwrap();
    fs::write(publish.join("extra"), "").unwrap();
    fs::rename(publish.join("build.json"), publish.join("b")).unwrap();
    fs::create_dir(publish.join("build.json")).unwrap();
    let text = run(&site.published()).unwrap_err().to_string();
    for part in ["holds `extra`", "holds `b`", "lacks `initrd-statelite.gz`", "`build.json` as something else"] {
        assert!(text.contains(part), "{text}");
    }
    let site = Site::new();
    fs::write(site.at("publish/manifest.json"), "{}").unwrap();
    let error = run(&site.published()).unwrap_err();
    assert!(matches!(error, ReceiveError::NotAnArchive { .. }), "{error}");
    assert_eq!(site.standing(), [".generations"]);
}

/// A tar header as no agent of ours writes it.
fn member(name: &str, kind: u8, link: &str, content: &[u8]) -> Vec<u8> {
    let mut block = [0u8; 512];
    block[..name.len()].copy_from_slice(name.as_bytes());
    block[100..107].copy_from_slice(b"0000755");
    block[108..115].copy_from_slice(b"0000000");
    block[116..123].copy_from_slice(b"0000000");
    block[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
    block[136..147].copy_from_slice(b"00000000000");
    block[148..156].fill(b' ');
    block[156] = kind;
    block[157..157 + link.len()].copy_from_slice(link.as_bytes());
    block[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut member = [&block[..], content].concat();
    member.resize(member.len().next_multiple_of(512), 0);
    member
}

#[test]
fn an_archive_that_reaches_out_is_refused_and_reaches_nothing() {
    let site = Site::new();
    let precious = site.at("precious");
    fs::write(&precious, "precious").unwrap();
    let outside = site.dir.path().to_str().unwrap();
    let up = "../../../../precious";
    let cases: [(&str, Vec<Vec<u8>>); 6] = [
        ("parent", vec![member(up, b'0', "", b"evil")]),
        ("absolute", vec![member(&format!("{outside}/precious"), b'0', "", b"evil")]),
        (
            "through a link",
            vec![
                member("rootimg/", b'5', "", b""),
                member("rootimg/out", b'2', outside, b""),
                member("rootimg/out/precious", b'0', "", b"evil"),
            ],
        ),
        (
            "over a link",
            vec![member("kernel", b'2', precious.to_str().unwrap(), b""), member("kernel", b'0', "", b"evil")],
        ),
        ("hard link up", vec![member("kernel", b'1', up, b"")]),
        (
            "hard link through a link",
            vec![member("out", b'2', outside, b""), member("kernel", b'1', "out/precious", b"")],
        ),
    ];
    for (name, members) in cases {
        let tar = [members.concat(), vec![0; 1024]].concat();
        let error = run(&site.order(&tar)).unwrap_err();
        assert!(matches!(error, ReceiveError::Escape { .. }), "{name}: {error}");
        assert_eq!(fs::read_to_string(&precious).unwrap(), "precious", "{name}");
        assert_eq!(site.standing(), [".generations"], "{name}");
    }
}

#[test]
fn the_child_sees_nothing_but_its_folder() {
    let site = Site::new();
    let mut order = site.published();
    order.unpacker = this_program("this_program_looks_around_when_it_is_run_as_the_child");
    let error = run(&order).unwrap_err();
    let ReceiveError::Escape { message, .. } = &error else { panic!("{error}") };
    let root = r#"["proc", "tree"]"#;
    assert_eq!(*message, format!(r#"{root} {root} ["self"] ["fd"]"#));
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(site.dir.path().to_str().unwrap()));
    assert_eq!(site.standing(), [".generations"]);
}

/// Unmounts at the end of a test, however it ends.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: PathBuf, options: &std::ffi::CStr) -> SmallDisk {
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("imgctl-test", &at, "tmpfs", flags, Some(options)).expect("this test needs root");
        SmallDisk(at)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // The test has failed or passed already; a mount that is left shows by itself.
        let _ = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
    }
}

#[test]
fn a_full_disk_is_called_so_and_is_as_empty_as_before() {
    let site = Site::new();
    fs::write(site.at("publish/rootimg/big"), "0123456789".repeat(1_000_000)).unwrap();
    fs::create_dir_all(site.at("install/r")).unwrap();
    let _disk = SmallDisk::mount(site.at("install/r"), c"size=4m");
    let order = site.published();
    assert!(order.bytes < 1 << 20, "the archive alone fits");
    let error = run(&order).unwrap_err();
    assert!(matches!(error, ReceiveError::DiskFull { .. }), "{error}");
    assert_eq!(site.standing(), [".generations"]);
    let free = rustix::fs::statvfs(site.at("install/r")).unwrap();
    assert_eq!(free.f_bfree, free.f_blocks);
}

#[test]
fn cancelling_ends_the_child_and_leaves_nothing() {
    let site = Site::new();
    let mut order = site.published();
    let mark = site.at("pid");
    let script = format!("echo $$ > {}; sleep 60 & wait", mark.display());
    order.unpacker = ["/bin/sh", "-c", &script].map(OsString::from).to_vec();
    let cancel = AtomicBool::new(false);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while fs::read_to_string(&mark).unwrap_or_default().is_empty() {
                std::thread::sleep(Duration::from_millis(5));
            }
            cancel.store(true, Ordering::Relaxed);
        });
        assert!(matches!(receive(&order, &cancel), Err(ReceiveError::Child(ChildError::Cancelled))));
    });
    assert!(begun.elapsed() < Duration::from_secs(20));
    let pid = fs::read_to_string(&mark).unwrap();
    assert!(!Path::new("/proc").join(pid.trim()).exists());
    assert_eq!(site.standing(), [".generations"]);
}

#[test]
fn a_child_that_dies_without_a_word_is_reported_with_what_it_said() {
    let site = Site::new();
    let mut order = site.published();
    order.unpacker = ["/bin/sh", "-c", "echo oops >&2; exit 3"].map(OsString::from).to_vec();
    let text = run(&order).unwrap_err().to_string();
    assert!(text.contains("oops") && text.contains("exit status: 3"), "{text}");
    order.unpacker = vec!["/none/such".into()];
    assert!(run(&order).unwrap_err().to_string().contains("/none/such"));
}
