//! The child's side of `receive`: unpacks standard input into one folder, which is all it can reach.
//!
//! A process of its own, because a whole archive from another machine is parsed as root. It prints a [`Verdict`] and
//! does nothing else.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;

use rootfs::compress::zstd_reader;
use rootfs::digest::HashingReader;
use rootfs::manifest::{Manifest, Node};
use rootfs::path::TreePath;
use rootfs::unpack::{UnpackOptions, Unpacked, unpack};
use rustix::fs::{Mode, OFlags};
use serde::Deserialize;

use super::confine::{INSIDE, confine, die_with};
use super::verdict::{Outcome, Verdict, Why, judge, judge_io};
use crate::generation::layout::{BUILD, MANIFEST, TREE};

/// Bytes of the build's record that are read.
const MAX_RECORD: u64 = 64 << 20;
/// Bytes of a processor's name.
const MAX_NAME: usize = 64;

/// Unpacks standard input into the empty folder `dest` and prints the verdict. Ends with its `parent`. Must be called
/// before the process has threads.
pub fn run(dest: &Path, parent: u32) -> io::Result<()> {
    let verdict = match die_with(parent).and_then(|()| confine(dest)) {
        Ok(()) => take_in(standard_input()?),
        Err(error) => Verdict { digest: None, read: 0, outcome: Outcome::refused(Why::System, &error) },
    };
    let mut line = serde_json::to_vec(&verdict)?;
    line.push(b'\n');
    io::stdout().lock().write_all(&line)
}

/// Standard input without a buffer of its own.
fn standard_input() -> io::Result<File> {
    Ok(File::from(io::stdin().as_fd().try_clone_to_owned()?))
}

fn take_in(input: impl Read) -> Verdict {
    let mut input = HashingReader::new(input);
    let outcome = match unpack_all(&mut input) {
        Ok(unpacked) => write_manifest(unpacked.manifest),
        Err(refused) => refused,
    };
    // To the very end: only then does the digest say whether it is the archive that was announced.
    match input.finish() {
        Ok((digest, read)) => Verdict { digest: Some(digest), read, outcome },
        Err(error) => Verdict { digest: None, read: 0, outcome: Outcome::refused(Why::System, &error) },
    }
}

fn unpack_all(input: &mut impl Read) -> Result<Unpacked, Outcome> {
    let stream = zstd_reader(input).map_err(|error| Outcome::refused(Why::NotAnArchive, &error))?;
    unpack(stream, Path::new(INSIDE), UnpackOptions::default()).map_err(|error| Outcome::refused(judge(&error), &error))
}

/// Writes the manifest of the tree beside it. The parent looks at what else is there.
fn write_manifest(whole: Manifest) -> Outcome {
    let place = Path::new(INSIDE).join(MANIFEST);
    if place.symlink_metadata().is_ok() {
        let taken = io::Error::other(format!("the archive has a `{MANIFEST}` of its own"));
        return Outcome::refused(Why::NotAnArchive, &taken);
    }
    let manifest = of_tree(whole);
    let outcome = Outcome::Unpacked { tree_bytes: bytes(&manifest), tree_entries: manifest.entries.len() as u64 };
    match manifest.write(&place) {
        Ok(()) => outcome,
        Err(error) => {
            let system = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<io::Error>());
            Outcome::refused(system.map_or(Why::System, judge_io), &error)
        }
    }
}

/// The part of a manifest that is below the tree, seen from there.
fn of_tree(whole: Manifest) -> Manifest {
    let Manifest { complete, emulated_on: _, entries } = whole;
    let below = |path: &TreePath| {
        let inside = path.as_bytes().strip_prefix(TREE.as_bytes())?.strip_prefix(b"/")?;
        TreePath::parse(inside).ok()
    };
    let entries = entries.into_iter().filter_map(|mut entry| {
        entry.path = below(&entry.path)?;
        Some(entry)
    });
    Manifest { complete, emulated_on: emulated_on(&Path::new(INSIDE).join(BUILD)), entries: entries.collect() }
}

/// What the build's record says of emulation; what can't be read of it says nothing.
fn emulated_on(record: &Path) -> Option<String> {
    #[derive(Deserialize)]
    struct Record {
        emulation: Option<Emulation>,
    }
    #[derive(Deserialize)]
    struct Emulation {
        on: String,
    }
    // It comes out of the archive and may be anything.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    // A device may act on being opened, so it is looked at before.
    let looked =
        File::from(rustix::fs::open(record, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).ok()?);
    if !looked.metadata().ok()?.is_file() {
        return None;
    }
    let file = File::from(rustix::fs::open(record, flags, Mode::empty()).ok()?);
    let record: Record = serde_json::from_reader(BufReader::new(file.take(MAX_RECORD))).ok()?;
    record.emulation.map(|emulation| emulation.on).filter(|on| on.len() <= MAX_NAME)
}

fn bytes(manifest: &Manifest) -> u64 {
    let mut seen = HashSet::new();
    let sizes = manifest.entries.iter().filter_map(|entry| match entry.node {
        Node::File { size, .. } if entry.link.is_none_or(|link| seen.insert(link)) => Some(size),
        _ => None,
    });
    sizes.sum()
}
