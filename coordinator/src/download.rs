//! Trees that go out: to an agent that makes only initrds (`genimage --onlyinitrd`) for an image that is here already.
//!
//! The tree is archived and compressed as it is sent; nothing is kept of it. It goes by gRPC whether the agent sees the
//! install root or not: under root_squash a node can't read all of a tree, and NFS shows no file capabilities.

use std::io::{self, BufWriter, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use model::plan::BuildPlan;
use proto::{CHUNK, v1};
use rootfs::compress::{Compression, Compressor, ZstdLevel};
use rootfs::tar::{TarError, write_tar};
use tokio::sync::mpsc;
use tonic::Status;

use crate::chain::chain;
use crate::generation::RootimgDir;
use crate::generation::layout::TREE;
use crate::store::Store;

/// Chunks ahead of an agent that is slow to take them.
const AHEAD: usize = 8;
/// zstd's; others pack and receive at the same time.
const THREADS: NonZeroUsize = NonZeroUsize::MIN;

/// The tree that the attempt of this plan works on: that of the newest generation.
pub fn tree_for(plan: &[u8], install_dir: &Path, store: &Store) -> Result<PathBuf, Status> {
    let plan: BuildPlan = serde_json::from_slice(plan)
        .map_err(|error| Status::failed_precondition(format!("the attempt's plan can't be read: {error}")))?;
    if !plan.wish.only_initrd {
        return Err(Status::failed_precondition("the attempt builds its tree itself: it is not --onlyinitrd"));
    }
    let gone = |error: &dyn std::error::Error| Status::failed_precondition(chain(error));
    let newest = store.generations(&plan.rootimgdir)?.pop();
    let newest = newest.ok_or_else(|| {
        Status::failed_precondition(format!("{} has no generation any more", plan.rootimgdir.display()))
    })?;
    let dir = RootimgDir::open(&plan.rootimgdir, install_dir).map_err(|error| gone(&error))?;
    let owner = dir.tree_owner(newest.number.into()).map_err(|error| gone(&error))?;
    Ok(dir.generation(owner).join(TREE))
}

/// Sends a tree as tar.zst; `held` is asked between chunks: an attempt that lost its lease gets no more of it.
pub fn send(tree: PathBuf, held: impl Fn() -> bool + Send + 'static) -> mpsc::Receiver<Result<v1::Chunk, Status>> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    tokio::task::spawn_blocking(move || {
        let chunks = Chunks { sender: sender.clone(), held };
        if let Err(error) = archive(&tree, chunks) {
            // Nobody hears it where the agent has gone.
            let _ = sender.blocking_send(Err(status(&tree, &error)));
        }
    });
    receiver
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

/// The stream as something to write to.
struct Chunks<F> {
    sender: mpsc::Sender<Result<v1::Chunk, Status>>,
    held: F,
}

impl<F: Fn() -> bool> Write for Chunks<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !(self.held)() {
            return Err(io::Error::other("the attempt has lost its lease"));
        }
        let piece = &bytes[..bytes.len().min(CHUNK)];
        let chunk = v1::Chunk { data: piece.to_vec().into() };
        self.sender.blocking_send(Ok(chunk)).map_err(|_| io::Error::other("the agent takes no more"))?;
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use rootfs::compress::zstd_reader;
    use rootfs::unpack::{UnpackOptions, unpack};

    use super::*;

    async fn collected(mut receiver: mpsc::Receiver<Result<v1::Chunk, Status>>) -> Result<Vec<u8>, Status> {
        let mut bytes = Vec::new();
        while let Some(chunk) = receiver.recv().await {
            bytes.extend_from_slice(&chunk?.data);
        }
        Ok(bytes)
    }

    #[tokio::test]
    async fn a_tree_arrives_whole_and_stops_when_its_lease_is_lost() {
        let desk = tempfile::tempdir().unwrap();
        let (tree, to) = (desk.path().join("rootimg"), desk.path().join("to"));
        fs::create_dir_all(tree.join("etc")).unwrap();
        fs::create_dir(&to).unwrap();
        // More than one chunk, and nothing that can be compressed.
        let mut noise = vec![0; 3 * CHUNK];
        getrandom::fill(&mut noise).unwrap();
        fs::write(tree.join("etc/noise"), &noise).unwrap();
        let bytes = collected(send(tree.clone(), || true)).await.unwrap();
        unpack(zstd_reader(&bytes[..]).unwrap(), &to, UnpackOptions::default()).unwrap();
        assert!(fs::read(to.join("etc/noise")).unwrap() == noise);

        let asked = Arc::new(AtomicUsize::new(0));
        let counted = asked.clone();
        let refused = collected(send(tree, move || counted.fetch_add(1, Ordering::Relaxed) == 0)).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::PermissionDenied, "{refused}");
        let gone = collected(send(desk.path().join("nothing"), || true)).await.unwrap_err();
        assert!(gone.message().starts_with("cannot read the tree"), "{gone}");
    }
}
