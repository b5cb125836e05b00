//! The log of an attempt on this node's disk: one JSON line each, in order, until the coordinator has it.
//!
//! Line N of the file is line N of the log, so nothing else has to be kept to send it from any line on.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use model::id::AttemptId;
use proto::v1;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::watch;

use crate::worker::report::Line;

/// A batch no larger than this; a single line may be 16 KiB, and escaped four times that.
const BATCH_BYTES: usize = 64 << 10;
/// Nor of more lines than this.
const BATCH_LINES: usize = 256;

/// Bytes of one log. The coordinator keeps less than this, and the spool shares its disk with the journal; so a worker
/// that says more is heard for its result alone.
const LONGEST: u64 = 512 << 20;
/// The line after which the rest is left out.
const TOO_LONG: &str = "(the log is over 512 MiB: further lines are left out)";

/// The folder of an attempt in the spool.
pub fn folder(spool: &Path, attempt: AttemptId) -> PathBuf {
    spool.join(attempt.to_string())
}

/// The log in that folder.
pub fn log(folder: &Path) -> PathBuf {
    folder.join("log")
}

/// Makes the folder of an attempt.
pub fn make(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// How far a log is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extent {
    /// Complete lines.
    pub lines: u64,
    /// No more will come.
    pub closed: bool,
}

/// The writing end.
#[derive(Debug)]
pub struct LogWriter {
    file: File,
    /// Bytes that it may still take; 0 when the line that says so is written.
    room: u64,
    extent: watch::Sender<Extent>,
}

impl LogWriter {
    /// Begins the log at `path`.
    pub fn create(path: &Path) -> io::Result<(Self, watch::Receiver<Extent>)> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let (extent, reader) = watch::channel(Extent::default());
        Ok((Self { file, room: LONGEST, extent }, reader))
    }

    /// Adds a line, as long as the log isn't too long.
    pub fn append(&mut self, line: &Line) -> io::Result<()> {
        if self.room == 0 {
            return Ok(());
        }
        let mut bytes = serde_json::to_vec(line)?;
        self.room = self.room.saturating_sub(bytes.len() as u64 + 1);
        if self.room == 0 {
            bytes = serde_json::to_vec(&Line { text: TOO_LONG.to_owned(), ..line.clone() })?;
        }
        bytes.push(b'\n');
        self.file.write_all(&bytes)?;
        self.extent.send_modify(|extent| extent.lines += 1);
        Ok(())
    }

    /// No more will come; says how many there are.
    pub fn close(self) -> u64 {
        self.extent.send_modify(|extent| extent.closed = true);
        self.extent.borrow().lines
    }
}

/// The extent of a log that an earlier run of the agent wrote; a torn last line doesn't count. Reads all of it, so it
/// belongs on a blocking thread.
pub fn extent_of(path: &Path) -> Extent {
    // What can't be read can't be sent either.
    let lines = File::open(path).and_then(line_ends).unwrap_or_default();
    Extent { lines, closed: true }
}

fn line_ends(mut log: impl Read) -> io::Result<u64> {
    let mut buffer = vec![0; BATCH_BYTES];
    let mut lines = 0;
    loop {
        match log.read(&mut buffer) {
            Ok(0) => return Ok(lines),
            Ok(count) => lines += buffer[..count].iter().filter(|byte| **byte == b'\n').count() as u64,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The reading end: complete lines from any line on.
#[derive(Debug)]
pub struct LogReader {
    reader: BufReader<tokio::fs::File>,
    path: PathBuf,
    /// The line that comes next.
    next: u64,
}

impl LogReader {
    /// Opens a log at its first line.
    pub async fn open(path: &Path) -> io::Result<Self> {
        let reader = BufReader::new(tokio::fs::File::open(path).await?);
        Ok(Self { reader, path: path.to_owned(), next: 1 })
    }

    /// The line that comes next.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Goes to a line, which must have been written.
    pub async fn seek(&mut self, line: u64) -> io::Result<()> {
        if line < self.next {
            *self = Self::open(&self.path).await?;
        }
        let mut passed = Vec::new();
        while self.next < line {
            passed.clear();
            if self.reader.read_until(b'\n', &mut passed).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.next += 1;
        }
        Ok(())
    }

    /// Some of the lines up to `last`, as they are sent.
    pub async fn batch(&mut self, attempt: AttemptId, last: u64) -> io::Result<v1::LogPush> {
        let first_line = self.next;
        let (mut lines, mut bytes, mut text) = (Vec::new(), 0, Vec::new());
        while self.next <= last && lines.len() < BATCH_LINES && bytes < BATCH_BYTES {
            text.clear();
            bytes += self.reader.read_until(b'\n', &mut text).await?;
            let line: Line = serde_json::from_slice(&text)?;
            lines.push(v1::LogLine { time_ms: line.time_ms, stage: line.stage.to_string(), text: line.text });
            self.next += 1;
        }
        Ok(v1::LogPush { attempt: Some(crate::event::reference(attempt)), first_line, lines })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::stage::Stage;

    #[tokio::test]
    async fn a_log_that_is_too_long_says_so_once_and_grows_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = log(folder.path());
        let (mut writer, extent) = LogWriter::create(&path).unwrap();
        writer.room = 100_000;
        for number in 1..=10_000 {
            writer.append(&Line { time_ms: number, stage: Stage::Packages, text: format!("line {number}") }).unwrap();
        }
        let lines = extent.borrow().lines;
        assert!((1000..5000).contains(&lines), "{lines}");
        assert!(std::fs::metadata(&path).unwrap().len() < 100_200);
        let mut reader = LogReader::open(&path).await.unwrap();
        reader.seek(lines - 1).await.unwrap();
        let batch = reader.batch(crate::journal::parse_attempt("1.1").unwrap(), lines).await.unwrap();
        let texts: Vec<_> = batch.lines.iter().map(|line| line.text.clone()).collect();
        assert_eq!(texts, [format!("line {}", lines - 1), TOO_LONG.to_owned()]);
        assert_eq!(extent_of(&path).lines, lines);
    }

    #[tokio::test]
    async fn lines_are_read_from_anywhere_in_batches() {
        let folder = tempfile::tempdir().unwrap();
        let path = log(folder.path());
        let (mut writer, extent) = LogWriter::create(&path).unwrap();
        for number in 1..=300 {
            writer.append(&Line { time_ms: number, stage: Stage::Packages, text: format!("line {number}") }).unwrap();
        }
        assert_eq!(*extent.borrow(), Extent { lines: 300, closed: false });
        assert_eq!(writer.close(), 300);
        assert_eq!(extent_of(&path), Extent { lines: 300, closed: true });
        let mut reader = LogReader::open(&path).await.unwrap();
        let attempt = crate::journal::parse_attempt("1.1").unwrap();
        let batch = reader.batch(attempt, 300).await.unwrap();
        assert_eq!((batch.first_line, batch.lines.len()), (1, BATCH_LINES));
        for line in [290, 3] {
            reader.seek(line).await.unwrap();
            let batch = reader.batch(attempt, 300).await.unwrap();
            assert_eq!((batch.first_line, batch.lines[0].text.clone()), (line, format!("line {line}")));
        }
        assert!(reader.seek(400).await.is_err());
    }
}
