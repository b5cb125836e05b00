//! Room on the disk that is the store's own, so that a full disk never takes a write away from the engine, which
//! would not survive that.
//!
//! Two reserves, since the engine gives the first one back whenever it shortens its file: blocks beyond the end of the
//! data file, which its next writes fill, and a file of nothing beside it, given up piece by piece when the first can't
//! be renewed. While the second isn't whole the store is short of room and takes nothing new (`Store::room_for_more`).
//! When both are used up, writes wait. A file system that can't set blocks aside has no reserve; that is said once.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use crate::room;

/// Blocks that are set aside beyond the end of the data file, in bytes.
const AHEAD: u64 = 16 << 20;
/// They are renewed when less is left: a batch rewrites pages of up to some ten KiB for each of its records, and each
/// part of the log that the engine begins has 512 KiB.
const LOW: u64 = 8 << 20;
/// With less than this no write is made.
const LEAST: u64 = 4 << 20;
/// The second reserve.
const BALLAST: u64 = 32 << 20;
/// It is given up in pieces of this size.
const PIECE: u64 = 8 << 20;
/// The size of a block in `stat`.
const BLOCK: u64 = 512;

/// What is set aside for one store.
#[derive(Debug)]
pub(super) struct Reserve {
    data: File,
    ballast: Ballast,
    supported: bool,
}

/// The file of nothing.
#[derive(Debug)]
struct Ballast {
    path: PathBuf,
    file: Option<File>,
}

impl Reserve {
    /// Makes room for the opening of the engine in `dir`, which writes before anything can be set aside for it. To be
    /// called first.
    pub(super) fn open_up(dir: &Path) -> io::Result<()> {
        let ballast = Ballast::beside(dir);
        if ballast.path.exists() && room::free_at(dir) < BALLAST {
            tracing::warn!(store = %dir.display(), "the disk is nearly full; the store is opened from its reserve");
            OpenOptions::new().write(true).open(&ballast.path)?.set_len(0)?;
        }
        Ok(())
    }

    /// Sets room aside for the engine's data file in `dir`.
    pub(super) fn new(dir: &Path, data: File) -> Self {
        let mut reserve = Self { data, ballast: Ballast::beside(dir), supported: true };
        // What was given up for the opening first of all, as others might take it.
        reserve.renew_beside(0);
        if !reserve.supported {
            tracing::warn!(store = %dir.display(), "its file system can't set room aside; a full disk ends the coordinator");
        }
        reserve
    }

    /// Whether the second reserve is not whole though it could be, so that nothing new should be taken on.
    pub(super) fn is_short(&self) -> bool {
        self.supported && self.ballast.len() < BALLAST
    }

    /// Sees to it that `bytes` of records can be written. False: not now.
    pub(super) fn make_room(&mut self, bytes: u64) -> bool {
        // Their pages come on top; see `LOW`.
        let wanted = LOW + bytes.saturating_mul(4);
        loop {
            if !self.supported || self.ahead() >= wanted || self.set_ahead(wanted.max(AHEAD)) {
                return true;
            }
            if !self.ballast.give_piece() {
                return self.ahead() >= LEAST + bytes.saturating_mul(4);
            }
        }
    }

    /// Makes both reserves whole again, as far as there is room.
    pub(super) fn renew(&mut self) {
        // The rest of the disk is others' too: it isn't taken at the first chance.
        self.renew_beside(room::FOR_NEW);
    }

    fn renew_beside(&mut self, left: u64) {
        if self.supported && (self.ahead() >= LOW || self.set_ahead(AHEAD)) && self.is_short() {
            self.ballast.fill(left);
        }
    }

    /// Blocks of the data file beyond its end.
    fn ahead(&self) -> u64 {
        self.data.metadata().map_or(0, |found| (found.blocks() * BLOCK).saturating_sub(found.len()))
    }

    /// Also fills holes of the file, as the engine doesn't write it in order. False if the disk is full.
    fn set_ahead(&mut self, bytes: u64) -> bool {
        let len = self.data.metadata().map_or(0, |found| found.len());
        match fallocate(&self.data, FallocateFlags::KEEP_SIZE, 0, len + bytes) {
            Err(Errno::NOSPC | Errno::DQUOT) => false,
            Ok(()) => true,
            Err(error) => {
                tracing::debug!(%error, "no room can be set aside");
                self.supported = false;
                true
            }
        }
    }
}

impl Ballast {
    fn beside(dir: &Path) -> Self {
        let mut name = dir.file_name().unwrap_or_default().to_owned();
        name.push(".reserve");
        let path = dir.with_file_name(name);
        let file = OpenOptions::new().write(true).open(&path).ok();
        Self { path, file }
    }

    fn len(&self) -> u64 {
        let found = self.file.as_ref().and_then(|file| file.metadata().ok());
        found.map_or(0, |found| found.len().min(found.blocks() * BLOCK))
    }

    /// Gives up a piece; false if there is none.
    fn give_piece(&mut self) -> bool {
        let len = self.len();
        let Some(file) = self.file.as_ref().filter(|_| len > 0) else { return false };
        file.set_len(len.saturating_sub(PIECE)).is_ok()
    }

    /// Adds pieces until it is whole, as long as `left` bytes of the disk are left to others.
    fn fill(&mut self, left: u64) {
        if self.file.is_none() {
            let made = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&self.path);
            self.file = made.ok();
        }
        let mut len = self.len();
        let Some(file) = &self.file else { return };
        while len < BALLAST && room::free_beside(file) >= PIECE.saturating_add(left) {
            if fallocate(file, FallocateFlags::empty(), len, PIECE).is_err() {
                // A part of it may have been set aside nevertheless; if it stays, it does no harm.
                let _ = file.set_len(len);
                return;
            }
            len += PIECE;
        }
    }
}
