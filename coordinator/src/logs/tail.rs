//! The end of a log: what is kept with a failure.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use super::{LogLine, LogReader};

/// Bytes of a file that are looked at; a line is at most some ten KiB.
const END: u64 = 256 << 10;

/// The last whole lines of the log at `path`, at most `count`.
pub(super) fn of(path: &Path, count: usize) -> io::Result<Vec<LogLine>> {
    match File::open(path) {
        Ok(file) => of_plain(file, count),
        Err(error) if error.kind() == io::ErrorKind::NotFound => of_compressed(path, count),
        Err(error) => Err(error),
    }
}

fn of_plain(mut file: File, count: usize) -> io::Result<Vec<LogLine>> {
    let len = file.metadata()?.len();
    let from = file.seek(SeekFrom::Start(len.saturating_sub(END)))?;
    let mut end = Vec::new();
    file.take(END).read_to_end(&mut end)?;
    // A line without its beginning, or without its end, is none.
    let begin = if from == 0 { 0 } else { end.iter().position(|byte| *byte == b'\n').map_or(end.len(), |at| at + 1) };
    let over = end.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let whole = end.get(begin..over).unwrap_or_default();
    let mut last: Vec<LogLine> =
        whole.split_inclusive(|byte| *byte == b'\n').rev().take(count).map(LogLine::read).collect();
    last.reverse();
    Ok(last)
}

/// A stream has no end to begin at; nobody who is in a hurry asks for this one.
fn of_compressed(path: &Path, count: usize) -> io::Result<Vec<LogLine>> {
    let mut reader = LogReader::new(path.to_owned(), 1);
    let mut last = VecDeque::with_capacity(count);
    loop {
        let (_, lines) = reader.read(u64::MAX)?;
        if lines.is_empty() {
            return Ok(last.into());
        }
        last.extend(lines);
        last.drain(..last.len().saturating_sub(count));
    }
}
