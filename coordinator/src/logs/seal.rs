//! The compressed form of a log that has ended.

use std::io;
use std::path::{Path, PathBuf};

use async_compression::tokio::write::ZstdEncoder;
use tokio::io::AsyncWriteExt as _;

use crate::room;

/// Where the compressed log stands.
pub(crate) fn sealed(plain: &Path) -> PathBuf {
    plain.with_extension("log.zst")
}

/// Where it stands while it is made.
pub(crate) fn aside(plain: &Path) -> PathBuf {
    plain.with_extension("log.zst.new")
}

/// Makes it and removes the plain one; on any error that one stays and nothing else. `left` bytes of the disk are left
/// to others.
pub(super) async fn compress(plain: &Path, left: u64) -> io::Result<()> {
    let aside = aside(plain);
    let from = tokio::fs::File::open(plain).await?;
    if room::free_at(plain) < left {
        return Err(io::ErrorKind::StorageFull.into());
    }
    if let Err(error) = write(from, &aside).await {
        // Gone already, or found by the next who compresses it.
        let _ = tokio::fs::remove_file(&aside).await;
        return Err(error);
    }
    tokio::fs::rename(&aside, sealed(plain)).await?;
    tokio::fs::remove_file(plain).await
}

async fn write(mut from: tokio::fs::File, aside: &Path) -> io::Result<()> {
    let mut to = ZstdEncoder::new(tokio::fs::File::create(aside).await?);
    tokio::io::copy(&mut from, &mut to).await?;
    to.shutdown().await?;
    to.into_inner().sync_all().await
}
