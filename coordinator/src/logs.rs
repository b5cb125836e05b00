//! Logs of attempts: append-only files of numbered lines, pushed by agents, read by any number of watchers.
//!
//! A line's number is its place in the file, from 1. What an agent sends again after a break is recognised by its
//! number and left out; a line without its end (a kill in the middle of a write) is cut off at the next open and
//! comes again. On disk a line is `<milliseconds> <stage> <text>`. A log that has ended is kept compressed.
//!
//! Who writes opens a log, and it stays open until its attempt ends. Who reads opens nothing and makes nothing: a
//! log that nobody has written to yet is empty.

mod line;
mod reader;
mod seal;
mod tail;

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};

use model::id::{Attempt, AttemptId, BuildId};
use rootfs::compress::zstd_reader;
use tokio::sync::watch;

use crate::clock::now_ms;
use crate::room::{self, Full};
pub(crate) use line::count;
pub use line::{Counted, LogLine};
pub use reader::LogReader;
pub(crate) use seal::sealed;

/// Bytes of one log. Beyond it lines are counted, so that their numbers go on, and their text is dropped.
const LONGEST: u64 = 256 << 20;
const TOO_LONG: &str = "(the log is over 256 MiB: the text of further lines is not kept)";
const CUT_SHORT: &str = "(the rest of the log is missing: the coordinator's disk was full)";

/// How far a log has come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Head {
    /// Lines on disk.
    pub lines: u64,
    /// Bytes of them.
    bytes: u64,
    /// The line that says that the log is too long is among them.
    full: bool,
    /// The newest line, for progress displays.
    pub last: Option<LogLine>,
    /// No more will come.
    pub ended: bool,
}

/// Why an append was not made.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file can't be read or written.
    #[error("cannot use the log `{}`", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The rest of the disk is the store's.
    #[error("the log takes no lines at present")]
    Full(#[source] Full),
}

/// All logs.
#[derive(Debug)]
pub struct Logs {
    dir: PathBuf,
    longest: u64,
    /// So many bytes of the disk are left to others.
    left: u64,
    open: Mutex<HashMap<AttemptId, Arc<Slot>>>,
    /// Those that are being compressed.
    compressing: Mutex<HashSet<AttemptId>>,
}

/// A log that is written to, or the wait for its lines to be counted.
type Slot = Mutex<Option<Arc<AttemptLog>>>;

/// The log of one attempt, open for writing.
#[derive(Debug)]
pub struct AttemptLog {
    path: PathBuf,
    longest: u64,
    left: u64,
    /// None once it has its last line or is compressed: nothing can be added.
    file: Mutex<Option<Open>>,
    head: watch::Sender<Head>,
}

#[derive(Debug)]
struct Open {
    file: File,
    /// Lines were refused and have not come again.
    behind: bool,
}

/// The part of a file that is read at once when its lines are counted, in bytes.
const READ_AHEAD: usize = 1 << 20;

impl Logs {
    /// Opens the folder, making it if there is none.
    pub fn open(dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        fs::set_permissions(dir, Permissions::from_mode(0o700))?;
        Ok(Self {
            dir: dir.to_owned(),
            longest: LONGEST,
            left: room::FOR_LOGS,
            open: Mutex::default(),
            compressing: Mutex::default(),
        })
    }

    /// The same, leaving so many bytes of the disk to others.
    #[must_use]
    pub fn leaving(self, left: u64) -> Self {
        Self { left, ..self }
    }

    /// The log of an attempt for who writes it, made if there is none yet. One opened after a start counts its lines
    /// once; only who wants this log waits for that. Blocking.
    pub fn attempt(&self, id: AttemptId) -> Result<Arc<AttemptLog>, LogError> {
        let slot = self.with_open(|open| open.entry(id).or_default().clone());
        let mut held = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(log) = &*held {
            return Ok(log.clone());
        }
        let path = self.path(id);
        let opened = AttemptLog::open(&path, self.longest, self.left).map_err(|source| LogError::File { path, source });
        match opened {
            Ok(log) if !log.head.borrow().ended => Ok(held.insert(Arc::new(log)).clone()),
            // Nothing can be added to it, or it can't be used: no reason to keep it.
            other => {
                self.with_open(|open| open.remove(&id));
                other.map(Arc::new)
            }
        }
    }

    /// The log of an attempt if it is being written to, for who waits for its lines.
    pub fn written(&self, id: AttemptId) -> Option<Arc<AttemptLog>> {
        let slot = self.with_open(|open| open.get(&id).cloned())?;
        held(&slot)
    }

    /// A place to read an attempt's log from line `from` on, whether it is written to, has ended or isn't there yet.
    pub fn read(&self, id: AttemptId, from: u64) -> LogReader {
        LogReader::new(self.path(id), from)
    }

    /// Says that an attempt's log is whole: followers end, and the file is closed when they are done.
    pub fn end(&self, id: AttemptId) {
        let slot = self.with_open(|open| open.remove(&id));
        if let Some(log) = slot.and_then(|slot| held(&slot)) {
            if let Some(open) = &mut *log.file.lock().unwrap_or_else(PoisonError::into_inner) {
                log.say_what_is_missing(open);
            }
            log.head.send_modify(|head| head.ended = true);
        }
    }

    /// Nothing that waits may be done in here.
    fn with_open<T>(&self, act: impl FnOnce(&mut HashMap<AttemptId, Arc<Slot>>) -> T) -> T {
        act(&mut self.open.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The last lines of an attempt, at most `count`, and of them what the end of the file has. Cheap however long the
    /// log is, until it is compressed. Blocking.
    pub fn tail(&self, id: AttemptId, count: usize) -> Vec<LogLine> {
        // What can't be read has no end to be shown.
        tail::of(&self.path(id), count).unwrap_or_default()
    }

    /// Compresses the log of an attempt that has ended. The plain file goes when the compressed one is on disk; it
    /// stays when there is no room for that one. While it is at work, a second call for the same log does nothing: an
    /// attempt may end and be the last of its build that does, and two would write into each other's file.
    pub async fn compress(&self, id: AttemptId) -> io::Result<()> {
        let Some(_alone) = Alone::with(&self.compressing, id) else { return Ok(()) };
        seal::compress(&self.path(id), self.left).await?;
        // A push that was on its way when the attempt ended may have opened it again.
        self.end(id);
        Ok(())
    }

    fn path(&self, id: AttemptId) -> PathBuf {
        self.dir.join(id.build.to_string()).join(format!("{}.log", id.attempt))
    }
}

/// Whoever holds it is the only one to compress this log.
struct Alone<'a> {
    all: &'a Mutex<HashSet<AttemptId>>,
    id: AttemptId,
}

impl<'a> Alone<'a> {
    fn with(all: &'a Mutex<HashSet<AttemptId>>, id: AttemptId) -> Option<Self> {
        let is_new = all.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        is_new.then(|| Self { all, id })
    }
}

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

/// The log in a slot; none while it is being opened.
fn held(slot: &Slot) -> Option<Arc<AttemptLog>> {
    match slot.try_lock() {
        Ok(log) => log.clone(),
        Err(TryLockError::Poisoned(log)) => log.into_inner().clone(),
        Err(TryLockError::WouldBlock) => None,
    }
}

impl AttemptLog {
    fn open(path: &Path, longest: u64, left: u64) -> io::Result<Self> {
        let new = |file: Option<File>, counted: Counted| Self {
            path: path.to_owned(),
            longest,
            left,
            head: watch::Sender::new(Head::of(counted, file.is_none(), longest)),
            file: Mutex::new(file.map(|file| Open { file, behind: false })),
        };
        let sealed = sealed(path);
        if sealed.exists() {
            let mut reader = BufReader::with_capacity(READ_AHEAD, zstd_reader(File::open(&sealed)?)?);
            return Ok(new(None, count(&mut reader)?));
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let file = OpenOptions::new().append(true).read(true).create(true).open(path)?;
        let counted = count(&mut BufReader::with_capacity(READ_AHEAD, &file))?;
        file.set_len(counted.bytes)?;
        Ok(new(Some(file), counted))
    }

    /// How far it has come, now and at every change.
    pub fn head(&self) -> watch::Receiver<Head> {
        self.head.subscribe()
    }

    /// Appends lines that begin with number `first`; those that are there already are left out. Returns the number
    /// of the next line wanted: less than what was sent if there is a gap before it. Blocking.
    pub fn append(&self, first: u64, lines: &[LogLine]) -> Result<u64, LogError> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(open) = file.as_mut() else { return Ok(first.saturating_add(lines.len() as u64)) };
        let wanted = self.head.borrow().lines + 1;
        let skip = usize::try_from(wanted.saturating_sub(first)).unwrap_or(usize::MAX);
        if first > wanted || skip >= lines.len() {
            return Ok(wanted);
        }
        let written = if room::free_beside(&open.file) < self.left {
            Err(LogError::Full(Full(self.path.clone())))
        } else {
            self.write(open, &lines[skip..])
        };
        open.behind = written.is_err();
        written.map(|()| wanted + (lines.len() - skip) as u64)
    }

    /// Appends a line of the coordinator's own, after all that its agent had to say. Blocking.
    pub fn note(&self, line: LogLine) -> Result<(), LogError> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(open) = file.as_mut() else { return Ok(()) };
        self.say_what_is_missing(open);
        self.write(open, &[line])
    }

    /// Appends a last line, if there are any before it: a line that is still on its way counts as taken and goes nowhere.
    /// Blocking.
    pub fn conclude(&self, line: LogLine) -> Result<(), LogError> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(mut open) = file.take_if(|_| self.head.borrow().lines > 0) else { return Ok(()) };
        self.say_what_is_missing(&mut open);
        self.write(&mut open, &[line])
    }

    /// All of the lines, or none.
    fn write(&self, open: &mut Open, lines: &[LogLine]) -> Result<(), LogError> {
        let (bytes, mut full) = (self.head.borrow().bytes, self.head.borrow().full);
        let mut text = String::with_capacity(lines.iter().map(|line| line.text.len() + 40).sum());
        for line in lines {
            if bytes + (text.len() as u64) < self.longest {
                line.render(&line.text, &mut text);
            } else {
                line.render(if full { "" } else { TOO_LONG }, &mut text);
                full = true;
            }
        }
        if let Err(source) = open.file.write_all(text.as_bytes()) {
            // A full disk may have taken half a line: back to the last whole one.
            if let Err(error) = open.file.set_len(bytes) {
                tracing::error!(path = %self.path.display(), %error, "a log can't be cut back to its last whole line");
            }
            return Err(LogError::File { path: self.path.clone(), source });
        }
        self.head.send_modify(|head| {
            head.lines += lines.len() as u64;
            head.bytes += text.len() as u64;
            head.full = full;
            head.last = lines.last().cloned();
        });
        Ok(())
    }

    /// For a log that ends while lines are missing that the disk had no room for: its reader must not think it whole.
    fn say_what_is_missing(&self, open: &mut Open) {
        if !open.behind {
            return;
        }
        let line = LogLine { time_ms: now_ms(), stage: "-".into(), text: CUT_SHORT.into() };
        // From the room that is left to others: it is one line.
        match self.write(open, &[line]) {
            Ok(()) => open.behind = false,
            Err(error) => tracing::warn!(%error, "a log is not whole and can't say so"),
        }
    }
}

impl Head {
    fn of(Counted { lines, bytes, last, last_at }: Counted, ended: bool, longest: u64) -> Self {
        // The first line that begins beyond the limit says so.
        Self { lines, bytes, full: lines > 0 && last_at >= longest, last, ended }
    }
}

/// The identity of an attempt's log.
pub fn attempt_id(build: BuildId, attempt: Attempt) -> AttemptId {
    AttemptId { build, attempt }
}

#[cfg(test)]
mod tests;
