//! Archives that come by upload: from agents that don't see the install root.

use std::path::Path;

use model::id::AttemptId;
use proto::v1;
use proto::v1::upload_message::Message;
use sha2::{Digest as _, Sha256};
use tokio::fs::OpenOptions;
use tokio::io::AsyncWriteExt as _;
use tonic::{Status, Streaming};

/// The attempt that an upload is for.
pub fn header(first: Option<v1::UploadMessage>) -> Result<AttemptId, Status> {
    match first.and_then(|first| first.message) {
        Some(Message::Header(v1::UploadHeader { attempt })) => Ok(AttemptId::try_from(attempt.unwrap_or_default())?),
        _ => Err(Status::invalid_argument("an upload begins with its header")),
    }
}

/// Writes what comes to `path`, from the start; returns its size and digest when it is on disk. `held` is asked
/// between chunks: an attempt that lost its lease stops writing.
pub async fn write(
    path: &Path,
    mut inbound: Streaming<v1::UploadMessage>,
    held: impl Fn() -> bool,
) -> Result<(u64, String), Status> {
    let failed = |error: std::io::Error| {
        Status::resource_exhausted(format!("cannot write the archive below the install root: {error}"))
    };
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path).await.map_err(failed)?;
    let (mut bytes, mut digest) = (0u64, Sha256::new());
    while let Some(message) = inbound.message().await? {
        let Some(Message::Data(data)) = message.message else {
            return Err(Status::invalid_argument("after its header an upload has data alone"));
        };
        if !held() {
            return Err(Status::permission_denied("the attempt has lost its lease"));
        }
        file.write_all(&data).await.map_err(failed)?;
        digest.update(&data);
        bytes += data.len() as u64;
    }
    file.flush().await.map_err(failed)?;
    file.sync_all().await.map_err(failed)?;
    Ok((bytes, format!("sha256:{}", hex::encode(digest.finalize()))))
}
