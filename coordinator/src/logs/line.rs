//! One line of a log, and how it lies on disk: `<milliseconds> <stage> <text>`.

use std::fmt::Write as _;
use std::io::{self, BufRead};

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

/// What there is of a log.
#[derive(Debug, Default)]
pub struct Counted {
    /// Whole lines.
    pub lines: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// The last of them.
    pub last: Option<LogLine>,
    /// Where it begins.
    pub last_at: u64,
}

/// Counts the whole lines.
pub(crate) fn count(reader: &mut impl BufRead) -> io::Result<Counted> {
    let (mut counted, mut line, mut last) = (Counted::default(), Vec::new(), Vec::new());
    loop {
        line.clear();
        let read = reader.read_until(b'\n', &mut line)?;
        if !line.ends_with(b"\n") {
            counted.last = LogLine::parse(last.strip_suffix(b"\n").unwrap_or(&last));
            return Ok(counted);
        }
        counted.lines += 1;
        counted.last_at = counted.bytes;
        counted.bytes += read as u64;
        std::mem::swap(&mut line, &mut last);
    }
}

impl LogLine {
    /// Adds it to what is to be written, with `text` for its own.
    pub(super) fn render(&self, text: &str, to: &mut String) {
        let stage = if self.stage.is_empty() { "-" } else { self.stage.as_str() };
        let stage = stage.chars().map(|c| if matches!(c, ' ' | '\n') { '_' } else { c });
        // Writing to a string never fails.
        let _ = write!(to, "{} ", self.time_ms);
        to.extend(stage);
        to.push(' ');
        for (at, part) in text.split('\n').enumerate() {
            to.push_str(if at == 0 { "" } else { "\\x0a" });
            to.push_str(part);
        }
        to.push('\n');
    }

    /// Reads one, without its end.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        let line = String::from_utf8_lossy(line);
        let mut parts = line.splitn(3, ' ');
        let time_ms = parts.next()?.parse().ok()?;
        Some(Self { time_ms, stage: parts.next()?.to_owned(), text: parts.next().unwrap_or_default().to_owned() })
    }

    /// Reads one that there is.
    pub(super) fn read(line: &[u8]) -> Self {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let unreadable = || Self { time_ms: 0, stage: "-".into(), text: "(this line of the log can't be read)".into() };
        Self::parse(line).unwrap_or_else(unreadable)
    }
}
