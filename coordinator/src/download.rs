//! Trees that go out: to an agent that makes only initrds (`genimage --onlyinitrd`) for an image that is here already.
//!
//! The tree is archived and compressed as it is sent; nothing is kept of it. It goes by gRPC whether the agent sees the
//! install root or not: under root_squash a node can't read all of a tree, and NFS shows no file capabilities. Each
//! takes a thread and a compressor, so few go at a time, one of an attempt, and one that nobody takes ends.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::id::AttemptId;
use model::plan::BuildPlan;
use proto::{CHUNK, v1};
use rootfs::compress::{Compression, Compressor, ZstdLevel};
use rootfs::tar::{TarError, write_tar};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::chain::chain;
use crate::generation::RootimgDir;
use crate::generation::layout::TREE;
use crate::store::Store;

/// Trees that are sent at a time.
const AT_A_TIME: usize = 3;
/// How long a call waits for its turn; the agent asks again.
const TURN: Duration = Duration::from_secs(15);
/// Chunks ahead of an agent that is slow to take them.
const AHEAD: usize = 8;
/// How long an agent may take no chunk, and how often it is looked meanwhile whether it still may.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_secs(2);
/// zstd's; others pack and receive at the same time.
const THREADS: NonZeroUsize = NonZeroUsize::MIN;

type Sender = mpsc::Sender<Result<v1::Chunk, Status>>;
type Receiver = mpsc::Receiver<Result<v1::Chunk, Status>>;

/// One that is going, until this goes.
#[derive(Debug)]
struct Going {
    of: Arc<Mutex<BTreeMap<AttemptId, CancellationToken>>>,
    attempt: AttemptId,
    stop: CancellationToken,
}

impl Drop for Going {
    fn drop(&mut self) {
        let mut going = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        // Else a later one has its place.
        if !self.stop.is_cancelled() {
            going.remove(&self.attempt);
        }
    }
}

/// The sending end of all of them.
#[derive(Debug, Clone)]
pub struct Trees {
    install_dir: PathBuf,
    store: Store,
    places: Arc<Semaphore>,
    /// What ends the tree that goes to an attempt.
    going: Arc<Mutex<BTreeMap<AttemptId, CancellationToken>>>,
}

impl Trees {
    /// Of the generations below `install_dir` that `store` knows.
    pub fn new(install_dir: PathBuf, store: Store) -> Self {
        let places = Arc::new(Semaphore::new(AT_A_TIME));
        Self { install_dir, store, places, going: Arc::default() }
    }

    /// Sends the tree that the attempt of this plan works on: that of the newest generation. `held` is asked now and
    /// then: an attempt that lost its lease gets no more of it. A call for an attempt ends an earlier one.
    pub async fn send(
        &self,
        attempt: AttemptId,
        plan: &[u8],
        held: impl Fn() -> bool + Send + 'static,
    ) -> Result<Receiver, Status> {
        let plan: BuildPlan = serde_json::from_slice(plan)
            .map_err(|error| Status::failed_precondition(format!("the attempt's plan can't be read: {error}")))?;
        if !plan.wish.only_initrd {
            return Err(Status::failed_precondition("the attempt builds its tree itself: it is not --onlyinitrd"));
        }
        let going = self.begin(attempt);
        let place = timeout(TURN, self.places.clone().acquire_owned()).await;
        let Ok(Ok(place)) = place else {
            return Err(Status::unavailable("other trees are being sent; this one's turn comes"));
        };
        let (sender, receiver) = mpsc::channel(AHEAD);
        let chunks = Chunks { sender: sender.clone(), held, stop: going.stop.clone() };
        let (this, runtime) = (self.clone(), Handle::current());
        let work = tokio::task::spawn_blocking(move || this.work(&plan.rootimgdir, Paced { chunks, runtime }, place));
        tokio::spawn(async move {
            // A thread that panicked must not look like the end of a tree.
            let result = work.await.unwrap_or_else(|_| Err(Status::internal("sending the tree ended in a panic")));
            drop(going);
            if let Err(status) = result {
                // Nobody hears it where the agent has gone.
                let _ = timeout(PATIENCE, sender.send(Err(status))).await;
            }
        });
        Ok(receiver)
    }

    /// Ends an earlier call for the attempt.
    fn begin(&self, attempt: AttemptId) -> Going {
        let stop = CancellationToken::new();
        let mut going = self.going.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(earlier) = going.insert(attempt, stop.clone()) {
            // Under the lock, as the end of a call goes by it.
            earlier.cancel();
        }
        Going { of: self.going.clone(), attempt, stop }
    }

    /// Blocking; the place is given back when it ends.
    fn work<F: Fn() -> bool>(
        &self,
        rootimgdir: &Path,
        to: Paced<F>,
        _place: OwnedSemaphorePermit,
    ) -> Result<(), Status> {
        let tree = self.newest(rootimgdir)?;
        archive(&tree, to).map_err(|error| status(&tree, &error))
    }

    fn newest(&self, rootimgdir: &Path) -> Result<PathBuf, Status> {
        let gone = |error: &dyn std::error::Error| Status::failed_precondition(chain(error));
        let none = || Status::failed_precondition(format!("{} has no generation any more", rootimgdir.display()));
        let newest = self.store.generations(rootimgdir)?.pop().ok_or_else(none)?;
        let dir = RootimgDir::find(rootimgdir, &self.install_dir).map_err(|error| gone(&error))?.ok_or_else(none)?;
        let owner = dir.tree_owner(newest.number.into()).map_err(|error| gone(&error))?;
        Ok(dir.generation(owner).join(TREE))
    }
}

fn archive(tree: &Path, chunks: impl Write) -> Result<(), TarError> {
    let failed = |source| TarError::Write { path: rootfs::path::TreePath::root(), source };
    let out = BufWriter::with_capacity(CHUNK, chunks);
    let mut packed = Compressor::new(out, Compression::Zstd(ZstdLevel::default()), THREADS).map_err(failed)?;
    write_tar(tree, &mut packed)?;
    packed.finish().and_then(|mut out| out.flush()).map_err(failed)
}

/// A lost lease is for the agent to know, all else for the administrator.
fn status(tree: &Path, error: &TarError) -> Status {
    if let TarError::Write { source, .. } = error {
        return Status::permission_denied(source.to_string());
    }
    tracing::error!(tree = %tree.display(), error = chain(error), "a tree can't be sent");
    Status::failed_precondition(format!("cannot read the tree `{}`: {}", tree.display(), chain(error)))
}

/// The way of the chunks.
struct Chunks<F> {
    sender: Sender,
    held: F,
    stop: CancellationToken,
}

impl<F: Fn() -> bool> Chunks<F> {
    async fn send(&self, chunk: v1::Chunk) -> io::Result<()> {
        let mut waited = Duration::ZERO;
        loop {
            if !(self.held)() {
                return Err(io::Error::other("the attempt has lost its lease"));
            }
            let room = tokio::select! {
                // Else a call that has ended goes on by chance where there is room.
                biased;
                () = self.stop.cancelled() => return Err(io::Error::other("the attempt has asked for its tree again")),
                room = timeout(LOOK, self.sender.reserve()) => room,
            };
            match room {
                Ok(Ok(room)) => {
                    room.send(Ok(chunk));
                    return Ok(());
                }
                Ok(Err(_)) => return Err(io::Error::other("the agent takes no more")),
                Err(_) if waited >= PATIENCE => {
                    return Err(io::Error::other(format!("the agent took nothing for {} s", PATIENCE.as_secs())));
                }
                Err(_) => waited += LOOK,
            }
        }
    }
}

/// The stream as something to write to, from a thread of its own.
struct Paced<F> {
    chunks: Chunks<F>,
    runtime: Handle,
}

impl<F: Fn() -> bool> Write for Paced<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = &bytes[..bytes.len().min(CHUNK)];
        self.runtime.block_on(self.chunks.send(v1::Chunk { data: piece.to_vec().into() }))?;
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use rootfs::compress::zstd_reader;
    use rootfs::unpack::{UnpackOptions, unpack};

    use super::*;

    /// Sends a tree as [`Trees`] does, without a store.
    fn sent(tree: &Path, held: impl Fn() -> bool + Send + 'static, stop: &CancellationToken) -> Receiver {
        let (sender, receiver) = mpsc::channel(AHEAD);
        let chunks = Chunks { sender: sender.clone(), held, stop: stop.clone() };
        let (tree, runtime) = (tree.to_owned(), Handle::current());
        tokio::task::spawn_blocking(move || {
            let done =
                archive(&tree, Paced { chunks, runtime: runtime.clone() }).map_err(|error| status(&tree, &error));
            if let Err(status) = done {
                let _ = runtime.block_on(sender.send(Err(status)));
            }
        });
        receiver
    }

    async fn collected(mut receiver: Receiver) -> Result<Vec<u8>, Status> {
        let mut bytes = Vec::new();
        while let Some(chunk) = receiver.recv().await {
            bytes.extend_from_slice(&chunk?.data);
        }
        Ok(bytes)
    }

    async fn refusal(receiver: Receiver) -> Status {
        collected(receiver).await.map(|bytes| bytes.len()).unwrap_err()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_tree_arrives_whole_and_stops_when_it_must() {
        let desk = tempfile::tempdir().unwrap();
        let (tree, to) = (desk.path().join("rootimg"), desk.path().join("to"));
        fs::create_dir_all(tree.join("etc")).unwrap();
        fs::create_dir(&to).unwrap();
        // More chunks than may be ahead, and nothing that can be compressed.
        let mut noise = vec![0; (AHEAD + 4) * CHUNK];
        getrandom::fill(&mut noise).unwrap();
        fs::write(tree.join("etc/noise"), &noise).unwrap();
        let free = CancellationToken::new();
        let bytes = collected(sent(&tree, || true, &free)).await.unwrap();
        unpack(zstd_reader(&bytes[..]).unwrap(), &to, UnpackOptions::default()).unwrap();
        assert!(fs::read(to.join("etc/noise")).unwrap() == noise);

        let asked = Arc::new(AtomicUsize::new(0));
        let counted = asked.clone();
        let held = move || counted.fetch_add(1, Ordering::Relaxed) == 0;
        let no_lease = refusal(sent(&tree, held, &free)).await;
        assert!(no_lease.message().contains("lost its lease"), "{no_lease}");
        // A call that nobody reads is ended by the next one.
        let stop = CancellationToken::new();
        let unread = sent(&tree, || true, &stop);
        tokio::time::sleep(Duration::from_millis(300)).await;
        stop.cancel();
        let ended = refusal(unread).await;
        assert!(ended.message().contains("asked for its tree again"), "{ended}");
        let gone = refusal(sent(&desk.path().join("nothing"), || true, &free)).await;
        assert!(gone.message().starts_with("cannot read the tree"), "{gone}");
    }
}
