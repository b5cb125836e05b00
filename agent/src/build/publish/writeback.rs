//! The archive's file: a disk or a server takes in what is written while more is packed.
//!
//! Left to the page cache, an archive reaches an NFS server when the file is closed: packing and the wire would take turns,
//! and several GB would go in one long silence.

use std::fs::File;
use std::io::{self, Write};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use crate::worker::report::StageLog;

/// Bytes after which they are to be on their way: little enough to leave a short rest at the end, much enough that a
/// server's own disk isn't asked to be safe all the time.
const STEP: u64 = 16 << 20;

/// Steps that may wait. With the one under way these are the bytes by which packing may be ahead; they take a slow network
/// a minute or two.
const STEPS_AHEAD: usize = 7;

/// A file that is never far ahead of the disk or server that it lies on.
#[derive(Debug)]
pub(super) struct Writeback<'a> {
    file: File,
    /// Bytes of the step that is being filled.
    filled: u64,
    step: u64,
    /// Says that a step is full; waits while too many are.
    full: SyncSender<()>,
    /// None once its end was seen.
    syncer: Option<JoinHandle<io::Result<()>>>,
    log: &'a StageLog<'a>,
}

impl<'a> Writeback<'a> {
    /// Takes over an open file, from where it stands.
    pub(super) fn new(file: File, log: &'a StageLog<'a>) -> io::Result<Self> {
        Self::with_steps(file, STEP, log)
    }

    fn with_steps(file: File, step: u64, log: &'a StageLog<'a>) -> io::Result<Self> {
        let same = file.try_clone()?;
        let (full, steps) = sync_channel(STEPS_AHEAD);
        let sync = move || steps.iter().try_for_each(|()| same.sync_data());
        let syncer = thread::Builder::new().name("writeback".to_owned()).spawn(sync)?;
        Ok(Self { file, filled: 0, step, full, syncer: Some(syncer), log })
    }

    /// Waits for the rest of it. On NFS this is where a full server or a lost connection shows.
    pub(super) fn finish(self) -> io::Result<()> {
        let Self { file, full, syncer, .. } = self;
        drop(full);
        syncer.map_or(Ok(()), ended)?;
        file.sync_all()
    }
}

fn ended(syncer: JoinHandle<io::Result<()>>) -> io::Result<()> {
    syncer.join().unwrap_or_else(|_| Err(io::Error::other("a thread of the agent's own failed")))
}

impl Write for Writeback<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.filled += written as u64;
        if self.filled >= self.step {
            self.filled = 0;
            if self.full.send(()).is_err() {
                // It ends early only when the disk or server refused what it had.
                self.syncer.take().map_or(Ok(()), ended)?;
                return Err(io::ErrorKind::WriteZero.into());
            }
            // The compressor's own end writes without anybody saying so.
            self.log.moves();
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;
    use std::time::{Duration, Instant};

    use model::stage::Stage;

    use super::*;
    use crate::worker::report::Reporter;

    fn with_log(test: impl FnOnce(&StageLog<'_>)) -> String {
        let (reports, says) = io::pipe().unwrap();
        let reporter = Reporter::new(says);
        test(&StageLog::new(Stage::Publish, &reporter));
        drop(reporter);
        io::read_to_string(reports).unwrap()
    }

    #[test]
    fn what_is_written_goes_to_the_disk_step_by_step_and_says_so() {
        let said = with_log(|log| {
            let mut file = Writeback::with_steps(tempfile::tempfile().unwrap(), 10, log).unwrap();
            let same = file.file.try_clone().unwrap();
            for _ in 0..50 {
                file.write_all(b"1234").unwrap();
                assert!(file.filled < 10);
            }
            assert_eq!(file.filled, 8);
            file.finish().unwrap();
            assert_eq!(same.metadata().unwrap().len(), 200);
        });
        assert!(said.contains("progress"), "{said}");
    }

    #[test]
    fn a_disk_that_refuses_ends_the_writing_while_it_goes_on() {
        with_log(|log| {
            // A pipe can't be synced, and says so when it is asked to.
            let (mut reader, writer) = io::pipe().unwrap();
            let mut file = Writeback::with_steps(File::from(OwnedFd::from(writer)), 10, log).unwrap();
            let deadline = Instant::now() + Duration::from_secs(20);
            let error = loop {
                assert!(Instant::now() < deadline, "it takes all that it is given");
                match file.write_all(b"0123456789") {
                    Ok(()) => io::Read::read_exact(&mut reader, &mut [0; 10]).unwrap(),
                    Err(error) => break error,
                }
            };
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        });
    }

    #[test]
    fn a_disk_that_refuses_the_last_step_fails_the_file() {
        with_log(|log| {
            let (_reader, writer) = io::pipe().unwrap();
            let mut file = Writeback::with_steps(File::from(OwnedFd::from(writer)), 10, log).unwrap();
            file.write_all(b"0123456789").unwrap();
            assert_eq!(file.finish().unwrap_err().kind(), io::ErrorKind::InvalidInput);
        });
    }
}
