//! The boundary to the database engine: keys and values, compare-and-commit, scans. Shaped like etcd's
//! transactions, so that another store can stand behind it. The only file that names sled.
//!
//! sled 0.34 needs five precautions (DEPS.md section 2): it is created aside and renamed into place, since a kill
//! in the middle of creation leaves a store that won't open; left-over snapshot files are removed before an open,
//! since it takes a half-written one for the newest; its flush doesn't reach the disk, so the file is synced by
//! our own descriptor before anything is acknowledged; and values stay small, since large ones go to files that
//! it never syncs. And it doesn't survive a full disk, so room is set aside for it
//! ([`Reserve`]).

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::StoreError;
use super::reserve::Reserve;

/// The largest value in bytes (DEPS.md section 2: under 16 KiB).
pub const MAX_VALUE: usize = 16 << 10;
/// Memory for the engine's cache in bytes; our records are small and few.
const CACHE: u64 = 16 << 20;
/// How the engine says that its file is held.
const LOCKED: &str = "could not acquire lock";
/// How long its own threads may hold it.
const FREE_AFTER: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// The engine's one data file.
const DATA: &str = "db";

/// What must hold for a commit to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guard {
    /// The record looked at.
    pub key: Vec<u8>,
    /// Its value now; `None`: there is none.
    pub expected: Option<Vec<u8>>,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Write.
    Put {
        /// The record.
        key: Vec<u8>,
        /// Its new value.
        value: Vec<u8>,
    },
    /// Remove.
    Delete {
        /// The record.
        key: Vec<u8>,
    },
}

impl Op {
    fn bytes(&self) -> u64 {
        match self {
            Self::Put { key, value } => (key.len() + value.len()) as u64,
            Self::Delete { key } => key.len() as u64,
        }
    }
}

/// A key with its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// The engine.
#[derive(Debug)]
pub struct Journal {
    db: sled::Db,
    data: File,
    dir: PathBuf,
    reserve: Mutex<Reserve>,
}

fn engine(error: sled::Error) -> StoreError {
    StoreError::Engine(Box::new(error))
}

impl Journal {
    /// Opens the engine's folder, making it if there is none.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let failed =
            |source: Box<dyn std::error::Error + Send + Sync>| StoreError::Open { path: dir.to_owned(), source };
        Reserve::open_up(dir).map_err(|error| failed(error.into()))?;
        if !dir.exists() {
            create_aside(dir).map_err(failed)?;
        }
        remove_half_snapshots(dir).map_err(|error| failed(error.into()))?;
        let db = open_when_free(dir).map_err(|error| failed(error.into()))?;
        let open = || Ok((File::open(dir.join(DATA))?, OpenOptions::new().write(true).open(dir.join(DATA))?));
        let (data, to_reserve) = open().map_err(|error: io::Error| failed(error.into()))?;
        let reserve = Mutex::new(Reserve::new(dir, to_reserve));
        Ok(Self { db, data, dir: dir.to_owned(), reserve })
    }

    /// The value of a key.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.db.get(key).map_err(engine)?.map(|value| value.to_vec()))
    }

    /// Every key below `prefix`, in order.
    pub fn scan(&self, prefix: &[u8]) -> Result<Vec<Pair>, StoreError> {
        let pairs = self.db.scan_prefix(prefix);
        pairs.map(|pair| pair.map(|(key, value)| (key.to_vec(), value.to_vec())).map_err(engine)).collect()
    }

    /// Where it lies.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether the disk is so full that the room set aside can't be kept up.
    pub(super) fn is_short(&self) -> bool {
        self.reserve().is_short()
    }

    /// Sees to it that `ops` can be written whatever else fills the disk. False: not now; writing them would be the
    /// end of the engine.
    pub(super) fn make_room(&self, ops: &[Op]) -> bool {
        self.reserve().make_room(ops.iter().map(Op::bytes).sum())
    }

    /// Sets room aside again that was used.
    pub(super) fn renew_room(&self) {
        self.reserve().renew();
    }

    fn reserve(&self) -> MutexGuard<'_, Reserve> {
        self.reserve.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies all of `ops` at once and brings them to the disk. Called by the one writer alone.
    pub(super) fn apply(&self, ops: &[Op]) -> Result<(), StoreError> {
        let mut batch = sled::Batch::default();
        for op in ops {
            match op {
                Op::Put { key, value } => batch.insert(key.as_slice(), value.as_slice()),
                Op::Delete { key } => batch.remove(key.as_slice()),
            }
        }
        self.db.apply_batch(batch).map_err(engine)?;
        self.db.flush().map_err(engine)?;
        self.data.sync_data().map_err(|error| StoreError::Engine(error.into()))
    }
}

fn settings(dir: &Path) -> sled::Config {
    sled::Config::new().path(dir).cache_capacity(CACHE).mode(sled::Mode::LowSpace)
}

/// A thread of the engine may hold its file a moment longer than the engine itself, as after a creation. That nobody
/// else has it is the daemon's own lock's to see to.
fn open_when_free(dir: &Path) -> sled::Result<sled::Db> {
    let begun = Instant::now();
    loop {
        match settings(dir).open() {
            Err(sled::Error::Io(error)) if error.to_string().contains(LOCKED) && begun.elapsed() < FREE_AFTER => {
                std::thread::sleep(LOOK_AGAIN);
            }
            opened => return opened,
        }
    }
}

fn create_aside(dir: &Path) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let parent = dir.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(parent)?;
    let mut name = dir.file_name().unwrap_or_default().to_owned();
    name.push(".creating");
    let aside: PathBuf = parent.join(name);
    if aside.exists() {
        // Left by a kill in the middle of creation: it never held anything.
        rootfs::remove::remove_tree(&aside)?;
    }
    drop(settings(&aside).open().and_then(|db| db.flush().map(|_| db))?);
    for entry in fs::read_dir(&aside)? {
        File::open(entry?.path())?.sync_all()?;
    }
    File::open(&aside)?.sync_all()?;
    fs::rename(&aside, dir)?;
    File::open(parent)?.sync_all()?;
    Ok(())
}

fn remove_half_snapshots(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_earlier_engine_still_holds_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let first = Journal::open(&path).unwrap();
        std::thread::scope(|scope| {
            let second = scope.spawn(|| Journal::open(&path).unwrap().get(b"a").unwrap());
            std::thread::sleep(Duration::from_millis(100));
            first.apply(&[put("a", "1")]).unwrap();
            drop(first);
            assert_eq!(second.join().unwrap(), Some(b"1".to_vec()));
        });
    }

    fn put(key: &str, value: &str) -> Op {
        Op::Put { key: key.into(), value: value.into() }
    }

    #[test]
    fn a_half_written_snapshot_does_not_hide_the_store() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        Journal::open(&path).unwrap().apply(&[put("a", "1")]).unwrap();
        fs::write(path.join("snap.00000000000FFFFF.generating"), b"").unwrap();
        assert_eq!(Journal::open(&path).unwrap().get(b"a").unwrap(), Some(b"1".to_vec()));
    }

    #[test]
    fn what_a_killed_creation_left_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        fs::create_dir(dir.path().join("db.creating")).unwrap();
        fs::write(dir.path().join("db.creating/conf"), b"torn").unwrap();
        let journal = Journal::open(&path).unwrap();
        assert_eq!(journal.get(b"a").unwrap(), None);
        assert!(!dir.path().join("db.creating").exists());
    }
}
