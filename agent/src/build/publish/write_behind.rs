//! The archive's file: a thread writes it while more is packed.
//!
//! A write to NFS waits now and then until the server has what was written before, and all that the page cache holds goes to
//! it when the file is closed. So packing and the wire would take turns, and several GB would go in one long silence.

use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use crate::worker::report::StageLog;

/// Sequential writes this large suit a disk and NFS alike.
const PIECE: usize = 1 << 20;

/// Pieces that may wait: by these packing may be ahead of the disk or server, 64 MiB of memory.
const PIECES_WAITING: usize = 64;

/// Pieces after which it is waited until the disk or server has them: few enough to leave a short rest at the end, many
/// enough that a server's own disk isn't asked to be safe all the time.
const STEP: usize = 16;

/// See the module.
#[derive(Debug)]
pub(super) struct WriteBehind<'a> {
    /// Shared, so that the thread's end doesn't close it: where the server is gone that takes the mount's whole limit.
    _file: Arc<File>,
    filling: Vec<u8>,
    pieces: SyncSender<Vec<u8>>,
    /// None once its end was seen.
    writer: Option<JoinHandle<io::Result<()>>>,
    log: &'a StageLog<'a>,
}

impl<'a> WriteBehind<'a> {
    /// Takes over an open file, from where it stands.
    pub(super) fn new(file: File, log: &'a StageLog<'a>) -> io::Result<Self> {
        Self::with(file, File::sync_data, log)
    }

    fn with(
        file: File,
        sync: impl Fn(&File) -> io::Result<()> + Send + 'static,
        log: &'a StageLog<'a>,
    ) -> io::Result<Self> {
        let file = Arc::new(file);
        let same = file.clone();
        let (pieces, inbox) = sync_channel(PIECES_WAITING);
        let work = move || write_all(&same, inbox, sync);
        let writer = thread::Builder::new().name("write-behind".to_owned()).spawn(work)?;
        Ok(Self { _file: file, filling: Vec::with_capacity(PIECE), pieces, writer: Some(writer), log })
    }

    /// Waits for the rest of it. On NFS this is where a full server or a lost connection shows.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.pass_on()?;
        let Self { _file, pieces, writer, .. } = self;
        drop(pieces);
        writer.map_or(Ok(()), ended)
    }

    fn pass_on(&mut self) -> io::Result<()> {
        let piece = std::mem::replace(&mut self.filling, Vec::with_capacity(PIECE));
        if self.pieces.send(piece).is_err() {
            // It ends early only when the disk or server refused what it had.
            let error = self.writer.take().map_or(Ok(()), ended).err();
            return Err(error.unwrap_or_else(|| io::ErrorKind::WriteZero.into()));
        }
        // The compressor's own end writes without anybody saying so.
        self.log.moves();
        Ok(())
    }
}

fn write_all(mut file: &File, pieces: Receiver<Vec<u8>>, sync: impl Fn(&File) -> io::Result<()>) -> io::Result<()> {
    for (number, piece) in (1..).zip(pieces) {
        file.write_all(&piece)?;
        if number % STEP == 0 {
            sync(file)?;
        }
    }
    sync(file)
}

fn ended(writer: JoinHandle<io::Result<()>>) -> io::Result<()> {
    writer.join().unwrap_or_else(|_| Err(io::Error::other("a thread of the agent's own failed")))
}

impl Write for WriteBehind<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(PIECE - self.filling.len());
        self.filling.extend_from_slice(&bytes[..taken]);
        if self.filling.len() == PIECE {
            self.pass_on()?;
        }
        Ok(taken)
    }

    /// What is whole goes by itself; the rest goes at the end.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Seek as _};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use model::stage::Stage;

    use super::*;
    use crate::worker::report::Reporter;

    fn with_log(test: impl FnOnce(&StageLog<'_>)) -> String {
        let (reports, says) = io::pipe().unwrap();
        let reporter = Reporter::new(says);
        let reading = thread::spawn(move || io::read_to_string(reports).unwrap());
        test(&StageLog::new(Stage::Publish, &reporter));
        drop(reporter);
        reading.join().unwrap()
    }

    fn refusing(log: &StageLog<'_>, test: impl FnOnce(WriteBehind<'_>) -> io::Error) {
        let sync = |_: &File| Err(io::ErrorKind::QuotaExceeded.into());
        let error = test(WriteBehind::with(tempfile::tempfile().unwrap(), sync, log).unwrap());
        assert_eq!(error.kind(), io::ErrorKind::QuotaExceeded);
    }

    #[test]
    fn all_of_it_is_written_in_its_order_and_synced_step_by_step() {
        let bytes: Vec<u8> = (0..(2 * STEP * PIECE + 12_345)).map(|at| (at / 1000 % 251) as u8).collect();
        let synced = Arc::new(AtomicUsize::new(0));
        let count = synced.clone();
        let sync = move |file: &File| {
            count.fetch_add(1, Ordering::SeqCst);
            file.sync_data()
        };
        let mut file = tempfile::tempfile().unwrap();
        let same = file.try_clone().unwrap();
        let said = with_log(|log| {
            let mut behind = WriteBehind::with(same, sync, log).unwrap();
            bytes.chunks(777_777).for_each(|chunk| behind.write_all(chunk).unwrap());
            behind.flush().unwrap();
            behind.finish().unwrap();
        });
        file.rewind().unwrap();
        let mut back = Vec::new();
        file.read_to_end(&mut back).unwrap();
        assert!(back == bytes, "{} bytes of {}", back.len(), bytes.len());
        // After each step, and at the end.
        assert_eq!(synced.load(Ordering::SeqCst), 3);
        assert!(said.contains("progress"), "{said}");
    }

    #[test]
    fn packing_is_never_further_ahead_than_the_pieces_that_may_wait() {
        with_log(|log| {
            let (go, wait) = channel::<()>();
            let sync = move |_: &File| {
                let _ = wait.recv();
                Ok(())
            };
            let mut behind = WriteBehind::with(tempfile::tempfile().unwrap(), sync, log).unwrap();
            let piece = vec![0; PIECE];
            // The first step is under way, and no more of it goes before it is synced.
            (0..STEP + PIECES_WAITING).for_each(|_| behind.write_all(&piece).unwrap());
            let written = AtomicUsize::new(0);
            thread::scope(|scope| {
                scope.spawn(|| {
                    behind.write_all(&piece).unwrap();
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
    fn a_disk_that_refuses_ends_the_writing() {
        with_log(|log| {
            refusing(log, |mut behind| {
                let piece = vec![0; PIECE];
                let error = (0..STEP + PIECES_WAITING + 2).find_map(|_| behind.write_all(&piece).err());
                error.expect("it takes all that it is given")
            });
        });
    }

    /// The system tells of an error once: at the end it would say that all is well.
    #[test]
    fn a_disk_that_refuses_the_rest_fails_the_file() {
        with_log(|log| {
            refusing(log, |mut behind| {
                behind.write_all(b"a few").unwrap();
                behind.finish().unwrap_err()
            });
        });
    }
}
