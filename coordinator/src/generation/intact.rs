//! Whether an artefact is still what its record says: there, of that size and, when asked for, with that digest.
//!
//! `check` looks at all of them, packimage before it lets a new generation share some, `activate` before nodes get them.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use model::build::Artefact;
use rootfs::digest::HashingReader;

/// How closely to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// At the size alone.
    Size,
    /// At every byte.
    Digest,
}

/// What is wrong with an artefact that should lie at `path`; nothing: it is as recorded.
pub fn wrong(path: &Path, artefact: &Artefact, look: Look) -> Option<String> {
    wrong_unless_stopped(path, artefact, look, &AtomicBool::new(false))
}

/// The same; that it was stopped while it was read counts as wrong.
pub fn wrong_unless_stopped(path: &Path, artefact: &Artefact, look: Look, stop: &AtomicBool) -> Option<String> {
    let found = match path.metadata() {
        Ok(found) => found,
        Err(error) => return Some(format!("an artefact is missing: {error}")),
    };
    if found.len() != artefact.bytes {
        return Some(format!("the artefact has {} bytes, its record says {}", found.len(), artefact.bytes));
    }
    let expected = artefact.digest.as_ref().filter(|_| look == Look::Digest)?;
    match File::open(path).and_then(|file| HashingReader::new(Stoppable { file, stop }).finish()) {
        Ok((digest, _)) if digest.to_string() == *expected => None,
        Ok((digest, _)) => Some(format!("the artefact has digest {digest}, its record says {expected}")),
        Err(error) => Some(format!("the artefact can't be read: {error}")),
    }
}

/// A file that ends in an error once the flag is set.
struct Stoppable<'a> {
    file: File,
    stop: &'a AtomicBool,
}

impl Read for Stoppable<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(io::Error::other("reading it was stopped"));
        }
        self.file.read(buffer)
    }
}
