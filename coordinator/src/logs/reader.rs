//! Reading a log from any line on, whether it is written to or compressed.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use rootfs::compress::zstd_reader;

use super::LogLine;
use super::seal::sealed;

/// The largest part of a file that is read at once for a watcher, in bytes.
const READ: u64 = 256 << 10;

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
    pub(super) fn new(path: PathBuf, from: u64) -> Self {
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
                found.push(LogLine::read(&line));
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
