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

/// Steps that may wait. With the one under way and the one that is full these are the bytes by which packing may be ahead,
/// 128 MiB; they take a slow network a minute or two.
const STEPS_WAITING: usize = 6;

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
        Self::with(file, STEP, File::sync_data, log)
    }

    fn with(
        file: File,
        step: u64,
        sync: impl Fn(&File) -> io::Result<()> + Send + 'static,
        log: &'a StageLog<'a>,
    ) -> io::Result<Self> {
        let same = file.try_clone()?;
        let (full, steps) = sync_channel(STEPS_WAITING);
        let work = move || steps.iter().try_for_each(|()| sync(&same));
        let syncer = thread::Builder::new().name("writeback".to_owned()).spawn(work)?;
        Ok(Self { file, filled: 0, step, full, syncer: Some(syncer), log })
    }

    /// Why the syncer has ended early: the disk or server refused what it had.
    fn refusal(&mut self) -> io::Error {
        self.syncer.take().map_or(Ok(()), ended).err().unwrap_or_else(|| io::ErrorKind::WriteZero.into())
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
        // Seen at once: where the server is gone each further write to NFS takes the mount's whole limit.
        if self.syncer.as_ref().is_none_or(JoinHandle::is_finished) {
            return Err(self.refusal());
        }
        let written = self.file.write(bytes)?;
        self.filled += written as u64;
        if self.filled >= self.step {
            self.filled = 0;
            if self.full.send(()).is_err() {
                return Err(self.refusal());
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
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use model::stage::Stage;

    use super::*;
    use crate::worker::report::Reporter;

    const STEP: u64 = 10;
    const ONE_STEP: &[u8] = b"0123456789";

    fn with_log(test: impl FnOnce(&StageLog<'_>)) -> String {
        let (reports, says) = io::pipe().unwrap();
        let reporter = Reporter::new(says);
        test(&StageLog::new(Stage::Publish, &reporter));
        drop(reporter);
        io::read_to_string(reports).unwrap()
    }

    fn new<'a>(sync: impl Fn(&File) -> io::Result<()> + Send + 'static, log: &'a StageLog<'a>) -> Writeback<'a> {
        Writeback::with(tempfile::tempfile().unwrap(), STEP, sync, log).unwrap()
    }

    #[test]
    fn each_step_goes_to_the_disk_and_says_so() {
        let synced = Arc::new(AtomicUsize::new(0));
        let count = synced.clone();
        let sync = move |file: &File| {
            count.fetch_add(1, Ordering::SeqCst);
            file.sync_data()
        };
        let said = with_log(|log| {
            let mut file = new(sync, log);
            for _ in 0..50 {
                file.write_all(b"1234").unwrap();
            }
            let same = file.file.try_clone().unwrap();
            file.finish().unwrap();
            assert_eq!(same.metadata().unwrap().len(), 200);
        });
        // A step is three writes of four.
        assert_eq!(synced.load(Ordering::SeqCst), 16);
        assert!(said.contains("progress"), "{said}");
    }

    #[test]
    fn packing_is_never_further_ahead_than_the_steps_that_may_wait() {
        with_log(|log| {
            let (go, wait) = channel::<()>();
            let sync = move |_: &File| {
                let _ = wait.recv();
                Ok(())
            };
            let mut file = new(sync, log);
            // One may be under way as well.
            let full = STEPS_WAITING + 1;
            (0..full).for_each(|_| file.write_all(ONE_STEP).unwrap());
            let written = Arc::new(AtomicUsize::new(0));
            thread::scope(|scope| {
                scope.spawn(|| {
                    file.write_all(ONE_STEP).unwrap();
                    written.store(1, Ordering::SeqCst);
                });
                thread::sleep(Duration::from_millis(200));
                assert_eq!(written.load(Ordering::SeqCst), 0, "nothing was synced, and it takes more");
                drop(go);
            });
            assert_eq!(written.load(Ordering::SeqCst), 1);
        });
    }

    #[test]
    fn a_disk_that_refuses_a_step_ends_the_writing() {
        with_log(|log| {
            let mut file = new(|_| Err(io::ErrorKind::QuotaExceeded.into()), log);
            file.write_all(ONE_STEP).unwrap();
            // Long before the next step is full.
            let error = (0..1000).find_map(|_| {
                thread::sleep(Duration::from_millis(10));
                file.write(b"").err()
            });
            assert_eq!(error.expect("it takes all that it is given").kind(), io::ErrorKind::QuotaExceeded);
        });
    }

    /// The system tells of an error once: at the end it would say that all is well.
    #[test]
    fn a_disk_that_refused_the_last_step_fails_the_file() {
        with_log(|log| {
            let mut file = new(|_| Err(io::ErrorKind::QuotaExceeded.into()), log);
            file.write_all(ONE_STEP).unwrap();
            assert_eq!(file.finish().unwrap_err().kind(), io::ErrorKind::QuotaExceeded);
        });
    }
}
