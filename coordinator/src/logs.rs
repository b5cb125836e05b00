//! Logs of attempts: append-only files of numbered lines, pushed by agents, read by any number of watchers.
//!
//! A line's number is its place in the file, from 1. What an agent sends again after a break is recognised by its
//! number and left out; a line without its end (a kill in the middle of a write) is cut off at the next open and
//! comes again. On disk a line is `<milliseconds> <stage> <text>`. A log that has ended is kept compressed.
//!
//! Who writes opens a log, and it stays open until its attempt ends. Who reads opens nothing and makes nothing: a
//! log that nobody has written to yet is empty.

use std::collections::{HashMap, VecDeque};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufRead, BufReader, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};

use async_compression::tokio::write::ZstdEncoder;
use model::id::{Attempt, AttemptId, BuildId};
use rootfs::compress::zstd_reader;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::watch;

/// Bytes of one log. Beyond it lines are counted, so that their numbers go on, and their text is dropped.
const LONGEST: u64 = 256 << 20;
const TOO_LONG: &str = "(the log is over 256 MiB: the text of further lines is not kept)";

/// One line of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// When the worker saw it, in milliseconds since 1970.
    pub time_ms: i64,
    /// The stage it belongs to.
    pub stage: String,
    /// The text, printable, without its end.
    pub text: String,
}

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
}

/// All logs.
#[derive(Debug)]
pub struct Logs {
    dir: PathBuf,
    longest: u64,
    open: Mutex<HashMap<AttemptId, Arc<Slot>>>,
}

/// A log that is written to, or the wait for its lines to be counted.
type Slot = Mutex<Option<Arc<AttemptLog>>>;

/// The log of one attempt, open for writing.
#[derive(Debug)]
pub struct AttemptLog {
    path: PathBuf,
    longest: u64,
    /// None once it is compressed: nothing can be added.
    file: Mutex<Option<File>>,
    head: watch::Sender<Head>,
}

/// The largest part of a file that is read at once for a watcher, in bytes.
const READ: u64 = 256 << 10;
/// The part of a file that is read at once when its lines are counted, in bytes.
const READ_AHEAD: usize = 1 << 20;

impl Logs {
    /// Opens the folder, making it if there is none.
    pub fn open(dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        fs::set_permissions(dir, Permissions::from_mode(0o700))?;
        Ok(Self { dir: dir.to_owned(), longest: LONGEST, open: Mutex::default() })
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
        let opened = AttemptLog::open(&path, self.longest).map_err(|source| LogError::File { path, source });
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
            log.head.send_modify(|head| head.ended = true);
        }
    }

    /// Nothing that waits may be done in here.
    fn with_open<T>(&self, act: impl FnOnce(&mut HashMap<AttemptId, Arc<Slot>>) -> T) -> T {
        act(&mut self.open.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The last lines of an attempt, at most `count`.
    pub fn tail(&self, id: AttemptId, count: usize) -> Vec<LogLine> {
        let mut reader = self.read(id, 1);
        let mut last = VecDeque::with_capacity(count);
        while let Ok((_, lines)) = reader.read(u64::MAX) {
            if lines.is_empty() {
                break;
            }
            last.extend(lines);
            last.drain(..last.len().saturating_sub(count));
        }
        last.into()
    }

    /// Compresses the log of an attempt that has ended. The plain file goes when the compressed one is on disk.
    pub async fn compress(&self, id: AttemptId) -> io::Result<()> {
        let plain = self.path(id);
        let (aside, sealed) = (plain.with_extension("log.zst.new"), sealed(&plain));
        let mut from = tokio::fs::File::open(&plain).await?;
        let mut to = ZstdEncoder::new(tokio::fs::File::create(&aside).await?);
        tokio::io::copy(&mut from, &mut to).await?;
        to.shutdown().await?;
        to.into_inner().sync_all().await?;
        tokio::fs::rename(&aside, &sealed).await?;
        tokio::fs::remove_file(&plain).await?;
        // A push that was on its way when the attempt ended may have opened it again.
        self.end(id);
        Ok(())
    }

    fn path(&self, id: AttemptId) -> PathBuf {
        self.dir.join(id.build.to_string()).join(format!("{}.log", id.attempt))
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

fn sealed(plain: &Path) -> PathBuf {
    plain.with_extension("log.zst")
}

impl AttemptLog {
    fn open(path: &Path, longest: u64) -> io::Result<Self> {
        let new = |file, head| Self {
            path: path.to_owned(),
            longest,
            file: Mutex::new(file),
            head: watch::Sender::new(head),
        };
        let sealed = sealed(path);
        if sealed.exists() {
            let mut reader = BufReader::with_capacity(READ_AHEAD, zstd_reader(File::open(&sealed)?)?);
            return Ok(new(None, Head { ended: true, ..count(&mut reader, longest)? }));
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let file = OpenOptions::new().append(true).read(true).create(true).open(path)?;
        let head = count(&mut BufReader::with_capacity(READ_AHEAD, &file), longest)?;
        file.set_len(head.bytes)?;
        Ok(new(Some(file), head))
    }

    /// How far it has come, now and at every change.
    pub fn head(&self) -> watch::Receiver<Head> {
        self.head.subscribe()
    }

    /// Appends lines that begin with number `first`; those that are there already are left out. Returns the number
    /// of the next line wanted: less than what was sent if there is a gap before it. Blocking.
    pub fn append(&self, first: u64, lines: &[LogLine]) -> Result<u64, LogError> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let head = self.head.borrow().clone();
        let wanted = head.lines + 1;
        let Some(file) = file.as_mut() else { return Ok(first.saturating_add(lines.len() as u64)) };
        let skip = usize::try_from(wanted.saturating_sub(first)).unwrap_or(usize::MAX);
        if first > wanted || skip >= lines.len() {
            return Ok(wanted);
        }
        let (mut text, mut full) = (String::new(), head.full);
        for line in &lines[skip..] {
            if head.bytes + (text.len() as u64) < self.longest {
                text.push_str(&render(line));
                continue;
            }
            let kept = if full { "" } else { TOO_LONG };
            text.push_str(&render(&LogLine { text: kept.into(), ..line.clone() }));
            full = true;
        }
        let written = file.write_all(text.as_bytes());
        if let Err(source) = written {
            // A full disk may have taken half a line: back to the last whole one.
            if let Err(error) = file.set_len(head.bytes) {
                tracing::error!(path = %self.path.display(), %error, "a log can't be cut back to its last whole line");
            }
            return Err(LogError::File { path: self.path.clone(), source });
        }
        let added = (lines.len() - skip) as u64;
        self.head.send_modify(|head| {
            head.lines += added;
            head.bytes += text.len() as u64;
            head.full = full;
            head.last = lines.last().cloned();
        });
        Ok(wanted + added)
    }
}

/// Reads a log from a line on. It knows whole lines alone, so it may read while others write.
pub struct LogReader {
    /// The plain file, or where it was.
    path: PathBuf,
    from: u64,
    /// The number of the next line.
    pub next: u64,
    /// None while there is no file.
    lines: Option<Lines>,
}

enum Lines {
    Plain { file: BufReader<File>, at: u64 },
    Compressed(Box<dyn BufRead + Send>),
}

impl std::fmt::Debug for LogReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogReader").field("next", &self.next).finish_non_exhaustive()
    }
}

impl LogReader {
    fn new(path: PathBuf, from: u64) -> Self {
        Self { path, from, next: 1, lines: None }
    }

    /// The next lines, at most about 256 KiB of them and none beyond `lines`, with the number of the first. None at
    /// the end of what there is now. Blocking.
    pub fn read(&mut self, lines: u64) -> io::Result<(u64, Vec<LogLine>)> {
        let (mut found, mut bytes, mut line) = (Vec::new(), 0, Vec::new());
        if self.lines.is_none() {
            self.lines = Lines::open(&self.path)?;
        }
        let Some(source) = &mut self.lines else { return Ok((self.next, found)) };
        while self.next <= lines && bytes < READ && source.whole_line(&mut line)? {
            self.next += 1;
            if self.next > self.from {
                bytes += line.len() as u64;
                found.push(parse(line.strip_suffix(b"\n").unwrap_or(&line)).unwrap_or_else(unreadable));
            }
        }
        source.forget_ahead()?;
        Ok((self.next - found.len() as u64, found))
    }
}

impl Lines {
    fn open(path: &Path) -> io::Result<Option<Self>> {
        match File::open(path) {
            Ok(plain) => return Ok(Some(Self::Plain { file: BufReader::new(plain), at: 0 })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        match File::open(sealed(path)) {
            Ok(file) => Ok(Some(Self::Compressed(Box::new(BufReader::new(zstd_reader(file)?))))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads a line with its end; false if there is no whole one.
    fn whole_line(&mut self, line: &mut Vec<u8>) -> io::Result<bool> {
        line.clear();
        let whole = |line: &[u8]| line.ends_with(b"\n");
        match self {
            Self::Compressed(lines) => Ok(lines.read_until(b'\n', line).map(|_| whole(line))?),
            Self::Plain { file, at } => {
                let read = file.read_until(b'\n', line)?;
                *at += if whole(line) { read as u64 } else { 0 };
                Ok(whole(line))
            }
        }
    }

    /// What was read beyond the last whole line may be cut off or go on by the time of the next read.
    fn forget_ahead(&mut self) -> io::Result<()> {
        match self {
            Self::Plain { file, at } => file.seek(SeekFrom::Start(*at)).map(|_| ()),
            Self::Compressed(_) => Ok(()),
        }
    }
}

fn count(reader: &mut impl BufRead, longest: u64) -> io::Result<Head> {
    let (mut head, mut line) = (Head::default(), Vec::new());
    loop {
        line.clear();
        let read = reader.read_until(b'\n', &mut line)?;
        let Some(whole) = line.strip_suffix(b"\n") else { return Ok(head) };
        head.full |= head.bytes >= longest;
        head.lines += 1;
        head.bytes += read as u64;
        head.last = parse(whole);
    }
}

fn render(line: &LogLine) -> String {
    let text = line.text.replace('\n', "\\x0a");
    let stage = if line.stage.is_empty() { "-" } else { line.stage.as_str() };
    format!("{} {} {text}\n", line.time_ms, stage.replace([' ', '\n'], "_"))
}

fn parse(line: &[u8]) -> Option<LogLine> {
    let line = String::from_utf8_lossy(line);
    let mut parts = line.splitn(3, ' ');
    let time_ms = parts.next()?.parse().ok()?;
    Some(LogLine { time_ms, stage: parts.next()?.to_owned(), text: parts.next().unwrap_or_default().to_owned() })
}

fn unreadable() -> LogLine {
    LogLine { time_ms: 0, stage: "-".into(), text: "(this line of the log can't be read)".into() }
}

/// The identity of an attempt's log.
pub fn attempt_id(build: BuildId, attempt: Attempt) -> AttemptId {
    AttemptId { build, attempt }
}

#[cfg(test)]
mod tests;
