//! Logs of attempts: append-only files of numbered lines, pushed by agents, read by any number of watchers.
//!
//! A line's number is its place in the file, from 1. What an agent sends again after a break is recognised by its
//! number and left out; a line without its end (a kill in the middle of a write) is cut off at the next open and
//! comes again. On disk a line is `<milliseconds> <stage> <text>`. A log that has ended is kept compressed.

use std::collections::{HashMap, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_compression::tokio::write::ZstdEncoder;
use model::id::{Attempt, AttemptId, BuildId};
use rootfs::compress::zstd_reader;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::watch;

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
    open: Mutex<HashMap<AttemptId, Arc<AttemptLog>>>,
}

/// The log of one attempt.
#[derive(Debug)]
pub struct AttemptLog {
    path: PathBuf,
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
        Ok(Self { dir: dir.to_owned(), open: Mutex::default() })
    }

    /// The log of an attempt, made if there is none yet. One opened at a start counts its lines once.
    pub fn attempt(&self, id: AttemptId) -> Result<Arc<AttemptLog>, LogError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(log) = open.get(&id) {
            return Ok(log.clone());
        }
        let path = self.path(id);
        let log = AttemptLog::open(&path).map_err(|source| LogError::File { path, source })?;
        let log = Arc::new(log);
        open.insert(id, log.clone());
        Ok(log)
    }

    /// Says that an attempt's log is whole: followers end, and the file is closed when they are done.
    pub fn end(&self, id: AttemptId) {
        let log = self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        let log = log.map_or_else(|| self.attempt(id).ok(), Some);
        if let Some(log) = log {
            log.head.send_modify(|head| head.ended = true);
            self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        }
    }

    /// The last lines of an attempt, at most `count`.
    pub fn tail(&self, id: AttemptId, count: usize) -> Vec<LogLine> {
        let Ok(mut reader) = LogReader::open(&self.path(id), 1) else { return Vec::new() };
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
        tokio::fs::remove_file(&plain).await
    }

    fn path(&self, id: AttemptId) -> PathBuf {
        self.dir.join(id.build.to_string()).join(format!("{}.log", id.attempt))
    }
}

fn sealed(plain: &Path) -> PathBuf {
    plain.with_extension("log.zst")
}

impl AttemptLog {
    fn open(path: &Path) -> io::Result<Self> {
        let sealed = sealed(path);
        if sealed.exists() {
            let mut reader = BufReader::with_capacity(READ_AHEAD, zstd_reader(File::open(&sealed)?)?);
            let head = Head { ended: true, ..count(&mut reader)? };
            return Ok(Self { path: path.to_owned(), file: Mutex::new(None), head: watch::Sender::new(head) });
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let file = OpenOptions::new().append(true).read(true).create(true).open(path)?;
        let head = count(&mut BufReader::with_capacity(READ_AHEAD, &file))?;
        file.set_len(head.bytes)?;
        Ok(Self { path: path.to_owned(), file: Mutex::new(Some(file)), head: watch::Sender::new(head) })
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
        let mut text = String::new();
        for line in &lines[skip..] {
            text.push_str(&render(line));
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
            head.last = lines.last().cloned();
        });
        Ok(wanted + added)
    }

    /// A place to read from line `from` on.
    pub fn reader(&self, from: u64) -> io::Result<LogReader> {
        LogReader::open(&self.path, from)
    }
}

/// Reads a log from a line on.
pub struct LogReader {
    lines: Box<dyn BufRead + Send>,
    /// The number of the next line.
    pub next: u64,
}

impl std::fmt::Debug for LogReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogReader").field("next", &self.next).finish_non_exhaustive()
    }
}

impl LogReader {
    /// Opens the log whose plain file is, or was, `path`.
    fn open(path: &Path, from: u64) -> io::Result<Self> {
        let lines: Box<dyn BufRead + Send> = match File::open(path) {
            Ok(plain) => Box::new(BufReader::new(plain)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Box::new(BufReader::new(zstd_reader(File::open(sealed(path))?)?))
            }
            Err(error) => return Err(error),
        };
        let mut reader = Self { lines, next: 1 };
        let mut line = Vec::new();
        while reader.next < from {
            line.clear();
            if reader.lines.read_until(b'\n', &mut line)? == 0 {
                break;
            }
            reader.next += 1;
        }
        Ok(reader)
    }

    /// The next lines, at most about 256 KiB of them and none beyond `lines`, with the number of the first.
    pub fn read(&mut self, lines: u64) -> io::Result<(u64, Vec<LogLine>)> {
        let (first, mut found, mut bytes) = (self.next, Vec::new(), 0);
        let mut line = Vec::new();
        while self.next <= lines && bytes < READ {
            line.clear();
            let read = self.lines.read_until(b'\n', &mut line)?;
            if read == 0 {
                break;
            }
            bytes += read as u64;
            self.next += 1;
            found.push(parse(line.strip_suffix(b"\n").unwrap_or(&line)).unwrap_or_else(unreadable));
        }
        Ok((first, found))
    }
}

fn count(reader: &mut impl BufRead) -> io::Result<Head> {
    let (mut head, mut line) = (Head::default(), Vec::new());
    loop {
        line.clear();
        let read = reader.read_until(b'\n', &mut line)?;
        let Some(whole) = line.strip_suffix(b"\n") else { return Ok(head) };
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
mod tests {
    use super::*;

    fn line(text: &str) -> LogLine {
        LogLine { time_ms: 5, stage: "packages".into(), text: text.into() }
    }

    fn id() -> AttemptId {
        attempt_id(BuildId::FIRST, Attempt::FIRST)
    }

    fn all(log: &AttemptLog) -> Vec<String> {
        let lines = log.head().borrow().lines;
        log.reader(1).unwrap().read(lines).unwrap().1.into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn lines_sent_twice_or_with_a_gap_stand_once_and_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let log = Logs::open(dir.path()).unwrap().attempt(id()).unwrap();
        assert_eq!(log.append(1, &[line("a"), line("b")]).unwrap(), 3);
        assert_eq!(log.append(2, &[line("b"), line("c")]).unwrap(), 4);
        assert_eq!(log.append(9, &[line("z")]).unwrap(), 4);
        assert_eq!(log.append(1, &[line("a")]).unwrap(), 4);
        assert_eq!(all(&log), ["a", "b", "c"]);
    }

    #[test]
    fn a_line_torn_by_a_kill_is_cut_off_and_taken_again() {
        let dir = tempfile::tempdir().unwrap();
        Logs::open(dir.path()).unwrap().attempt(id()).unwrap().append(1, &[line("a")]).unwrap();
        let path = dir.path().join("1/1.log");
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"5 packages hal").unwrap();
        let log = Logs::open(dir.path()).unwrap().attempt(id()).unwrap();
        assert_eq!(log.append(2, &[line("half no more")]).unwrap(), 3);
        assert_eq!(all(&log), ["a", "half no more"]);
    }

    #[test]
    fn a_reader_starts_at_any_line_and_stops_where_it_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let logs = Logs::open(dir.path()).unwrap();
        let log = logs.attempt(id()).unwrap();
        log.append(1, &["a", "b", "c", "d"].map(line)).unwrap();
        let (first, lines) = log.reader(2).unwrap().read(3).unwrap();
        assert_eq!((first, lines), (2, vec![line("b"), line("c")]));
        assert_eq!(logs.tail(id(), 2), [line("c"), line("d")]);
    }

    #[tokio::test]
    async fn a_compressed_log_reads_as_before_and_takes_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let logs = Logs::open(dir.path()).unwrap();
        logs.attempt(id()).unwrap().append(1, &["a", "b", "c"].map(line)).unwrap();
        logs.end(id());
        logs.compress(id()).await.unwrap();
        assert!(!dir.path().join("1/1.log").exists());
        let log = logs.attempt(id()).unwrap();
        assert!(log.head().borrow().ended);
        assert_eq!(log.append(4, &[line("d")]).unwrap(), 5);
        assert_eq!(all(&log), ["a", "b", "c"]);
        assert_eq!(logs.tail(id(), 1), [line("c")]);
        assert!(!dir.path().join("1/1.log").exists());
    }
}
