//! Archives that try to get out of their folder, or to confuse: each is refused by name, and nothing outside changes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod gnarly;

use std::fs;
use std::io::Write;
use std::path::Path;

use gnarly::{Scratch, run};
use rootfs::tar::write_tar;
use rootfs::unpack::{UnpackError, UnpackOptions, Unpacked, unpack};
use tar::{EntryType, Header};

/// An archive made by hand, with names as raw bytes that no library would write.
#[derive(Default)]
struct Evil(Vec<u8>);

impl Evil {
    fn add(mut self, kind: u8, name: &str, link: &str, content: &[u8]) -> Evil {
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::new(kind));
        header.set_mode(0o777);
        header.set_size(content.len() as u64);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1);
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn pax(self, records: &[(&str, &str)]) -> Evil {
        let mut body = String::new();
        for (key, value) in records {
            let bare = key.len() + value.len() + 3;
            let length = (1..=7).map(|digits| bare + digits).find(|n| n.to_string().len() + bare == *n).unwrap();
            body.push_str(&format!("{length} {key}={value}\n"));
        }
        self.add(b'x', "pax", "", body.as_bytes())
    }

    fn file(self, name: &str) -> Evil {
        self.add(b'0', name, "", b"evil")
    }

    fn link(self, name: &str, target: &str) -> Evil {
        self.add(b'2', name, target, b"")
    }

    fn hard(self, name: &str, target: &str) -> Evil {
        self.add(b'1', name, target, b"")
    }

    fn dir(self, name: &str) -> Evil {
        self.add(b'5', name, "", b"")
    }

    fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }
}

/// What is outside: a file that must not change and a folder that must stay empty.
struct Outside {
    scratch: Scratch,
}

impl Outside {
    fn new(name: &str) -> Outside {
        let scratch = Scratch::new(name);
        fs::create_dir(scratch.join("dest")).unwrap();
        fs::create_dir(scratch.join("outside")).unwrap();
        fs::write(scratch.join("victim"), "precious").unwrap();
        Outside { scratch }
    }

    fn unpack(&self, archive: &[u8]) -> Result<Unpacked, UnpackError> {
        let dest = self.scratch.join("dest");
        rootfs::remove::remove_tree(&dest).unwrap();
        fs::create_dir(&dest).unwrap();
        let options = UnpackOptions { limit: 1 << 30, ..UnpackOptions::default() };
        unpack(archive, &dest, options)
    }

    fn assert_untouched(&self, case: &str) {
        assert_eq!(fs::read(self.scratch.join("victim")).unwrap(), b"precious", "{case}");
        assert_eq!(fs::read_dir(self.scratch.join("outside")).unwrap().count(), 0, "{case}");
        assert_eq!(fs::read_dir(self.scratch.path()).unwrap().count(), 3, "{case}");
        let metadata = fs::metadata(self.scratch.join("victim")).unwrap();
        use std::os::unix::fs::MetadataExt;
        assert_eq!((metadata.nlink(), metadata.mode() & 0o777, metadata.mtime() > 1), (1, 0o644, true), "{case}");
    }
}

fn whole_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

#[test]
fn evil_archives_are_refused_and_nothing_outside_is_touched() {
    let outside = Outside::new("evil");
    let there = outside.scratch.path().to_str().unwrap().to_owned();
    let (victim, folder) = (format!("{there}/victim"), format!("{there}/outside"));
    let evil = Evil::default;
    let sparse = |map: &str, size: &str| {
        let mut content = map.as_bytes().to_vec();
        content.resize(512, 0);
        content.extend_from_slice(b"data");
        let records = [
            ("GNU.sparse.major", "1"),
            ("GNU.sparse.minor", "0"),
            ("GNU.sparse.name", "s"),
            ("GNU.sparse.realsize", size),
        ];
        evil().pax(&records).add(b'0', "x", "", &content)
    };
    let cases = [
        ("parent", evil().file("../victim"), "../victim"),
        ("parent inside", evil().dir("a").file("a/../../victim"), "a/../../victim"),
        ("parent by pax", evil().pax(&[("path", "../victim")]).file("good"), "../victim"),
        ("absolute", evil().file(&victim), &victim),
        ("absolute folder", evil().dir("/"), "`/`"),
        ("nul in pax", evil().pax(&[("path", "a\0b")]).file("good"), "a\\x00b"),
        ("through a link", evil().link("l", &folder).file("l/x"), "`l/x`"),
        ("through a relative link", evil().link("l", "../outside").file("l/x"), "`l/x`"),
        ("folder through a link", evil().link("l", &folder).dir("l/sub"), "`l/sub`"),
        ("over a link", evil().link("l", &victim).file("l"), "`l`"),
        ("folder over a link", evil().link("l", &folder).dir("l").file("l/x"), "`l`"),
        ("link over a folder", evil().dir("d").link("d", &folder).file("d/x"), "`d`"),
        ("link through a link", evil().link("a", &folder).link("a/b", "x"), "`a/b`"),
        ("file over a file", evil().file("f").file("f"), "`f`"),
        ("folder twice", evil().dir("d").dir("d"), "`d`"),
        ("hard link out", evil().hard("h", "../victim"), "../victim"),
        ("hard link to absolute", evil().hard("h", &victim), &victim),
        ("hard link by pax", evil().pax(&[("linkpath", "../victim")]).hard("h", "good"), "../victim"),
        ("hard link through a link", evil().link("l", "..").hard("h", "l/victim"), "`l/victim`"),
        ("hard link to nothing", evil().hard("h", "none"), "`none`"),
        ("hard link to a folder", evil().dir("d").hard("h", "d"), "`d`"),
        ("hard link over a file", evil().file("f").file("g").hard("g", "f"), "`g`"),
        ("file as folder", evil().file("f").file("f/x"), "`f/x`"),
        ("no folder", evil().file("missing/x"), "`missing/x`"),
        ("unknown kind", evil().add(b'V', "label", "", b""), "label"),
        ("old sparse", evil().add(b'S', "s", "", b""), "`s`"),
        ("global header", evil().add(b'g', "g", "", b""), "`g`"),
        ("long component", evil().pax(&[("path", &"n".repeat(256))]).file("x"), "nnnn"),
        ("size claims", evil().pax(&[("size", "4294967296")]).file("big"), "`big`"),
        ("sparse bomb", sparse("1\n1099511627772\n4\n", "1099511627776"), "`s`"),
        ("sparse order", sparse("2\n512\n512\n0\n4\n", "2000"), "out of order"),
        ("sparse beyond", sparse("1\n0\n4\n", "3"), "out of order"),
        ("sparse overflow", sparse("1\n18446744073709551615\n4\n", "2000"), "out of order"),
        ("sparse lies", sparse("1\n0\n5\n", "2000"), "differ"),
        ("sparse garbage", sparse("x\n", "2000"), "no number"),
        ("sparse count", sparse("9999999999\n", "2000"), "too many"),
        ("bad record", evil().add(b'x', "pax", "", b"99 path=x\n").file("x"), "record"),
        ("content of a folder", evil().add(b'5', "d", "", b"content"), "content"),
    ];
    for (case, archive, named) in cases {
        let error = outside.unpack(&archive.end()).map(|_| ()).expect_err(case);
        let text = whole_chain(&error);
        assert!(text.contains(named), "{case}: {text}");
        outside.assert_untouched(case);
    }
}

#[test]
fn what_only_looks_evil_is_unpacked() {
    let outside = Outside::new("harmless");
    let archive = Evil::default().dir("a").link("a/l", "/etc/passwd").link("a/up", "../../..").hard("h", "a/l");
    let unpacked = outside.unpack(&archive.file("...").dir("a/..b").end()).unwrap();
    assert_eq!(unpacked.manifest.entries.len(), 6);
    outside.assert_untouched("harmless");
}

#[test]
fn a_cut_archive_is_an_error_wherever_it_is_cut() {
    let outside = Outside::new("cut");
    let whole = Evil::default().dir("d").file("d/f").link("l", "d").pax(&[("path", "long")]).file("x").end();
    assert!(outside.unpack(&whole).is_ok());
    for cut in (0..whole.len() - 512).step_by(64) {
        // One empty block is all the end mark that we ask for.
        assert!(outside.unpack(&whole[..cut]).is_err(), "cut at {cut}");
    }
}

#[test]
fn flipped_header_bits_are_errors_or_harmless() {
    let outside = Outside::new("flip");
    let whole = Evil::default().dir("d").file("d/f").link("l", "d").hard("h", "d/f").end();
    for at in (0..whole.len() - 1024).step_by(3) {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        let _ = outside.unpack(&flipped);
        outside.assert_untouched("flip");
    }
}

#[test]
fn a_folder_that_is_not_empty_or_not_there_is_refused() {
    let scratch = Scratch::new("notempty");
    fs::write(scratch.join("file"), "").unwrap();
    let archive = Evil::default().file("x").end();
    for dest in [scratch.path(), &scratch.join("none")] {
        let error = unpack(&archive[..], dest, UnpackOptions::default()).map(|_| ()).unwrap_err();
        assert!(matches!(error, UnpackError::Destination { .. }), "{error}");
    }
}

#[test]
fn a_full_file_system_is_told_by_name() {
    let scratch = Scratch::new("full");
    let (tree, tiny) = (scratch.join("tree"), scratch.join("tiny"));
    fs::create_dir(&tree).unwrap();
    fs::create_dir(&tiny).unwrap();
    fs::File::create(tree.join("large")).unwrap().write_all(&vec![b'x'; 3_000_000]).unwrap();
    let mut archive = Vec::new();
    write_tar(&tree, &mut archive).unwrap();
    let result = on_tiny_tmpfs(&tiny, || unpack(&archive[..], &tiny, UnpackOptions::default()));
    let error = result.map(|_| ()).unwrap_err();
    assert!(whole_chain(&error).contains("cannot write `large` while unpacking: No space left"), "{error}");
}

fn on_tiny_tmpfs<T>(place: &Path, act: impl FnOnce() -> T) -> T {
    run(std::process::Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tiny"]).arg(place));
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(act));
    run(std::process::Command::new("umount").arg(place));
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
