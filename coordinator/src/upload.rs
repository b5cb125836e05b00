//! Archives that come by upload: from agents that don't see the install root.
//!
//! The folder is writable by all, and the agent knows its name: whatever stands in it may be a trap. So bytes go to
//! a new file whose name nobody can know beforehand, and only a whole archive gets the name that is received.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use model::id::AttemptId;
use proto::v1::upload_message::Message;
use proto::{CHUNK, v1};
use tokio::fs::{File, OpenOptions};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc;
use tokio_stream::{Stream, StreamExt as _};
use tokio_util::task::AbortOnDropHandle;
use tonic::Status;

/// Chunks that may wait for the disk, 8 MiB of memory.
const AHEAD: usize = 32;

/// Bytes after which it is waited until the disk has them: else all of it would be left for the end.
const STEP: usize = 8 << 20;

/// The attempt that an upload is for.
pub fn header(first: Option<v1::UploadMessage>) -> Result<AttemptId, Status> {
    match first.and_then(|first| first.message) {
        Some(Message::Header(v1::UploadHeader { attempt })) => Ok(AttemptId::try_from(attempt.unwrap_or_default())?),
        _ => Err(Status::invalid_argument("an upload begins with its header")),
    }
}

/// Writes what comes, from the start, and calls it `path` when it is on disk; returns its size; its digest is compared when it is received.
/// `held` is asked between chunks: an attempt that lost its lease stops writing. Each call writes a file of its own, as the
/// handler of a broken connection may still be at work when the agent tries again.
pub async fn write(
    path: &Path,
    inbound: impl Stream<Item = Result<v1::UploadMessage, Status>> + Unpin,
    held: impl Fn() -> bool,
) -> Result<u64, Status> {
    let (file, aside) = Aside::create(path).await.map_err(failed)?;
    let bytes = fill(file, inbound, &held).await?;
    if !held() {
        return Err(lost());
    }
    aside.put(path).await.map_err(failed)?;
    Ok(bytes)
}

/// The disk has its share while more comes.
async fn fill(
    file: File,
    inbound: impl Stream<Item = Result<v1::UploadMessage, Status>> + Unpin,
    held: &impl Fn() -> bool,
) -> Result<u64, Status> {
    let (chunks, inbox) = mpsc::channel(AHEAD);
    let writing = AbortOnDropHandle::new(tokio::spawn(write_all(file, inbox)));
    let bytes = pass_on(chunks, inbound, held).await?;
    writing.await.map_err(|_| Status::internal("writing the archive was broken off"))?.map_err(failed)?;
    Ok(bytes)
}

async fn pass_on(
    chunks: mpsc::Sender<Vec<u8>>,
    mut inbound: impl Stream<Item = Result<v1::UploadMessage, Status>> + Unpin,
    held: &impl Fn() -> bool,
) -> Result<u64, Status> {
    let mut bytes = 0;
    while let Some(message) = inbound.next().await {
        let Some(Message::Data(data)) = message?.message else {
            return Err(Status::invalid_argument("after its header an upload has data alone"));
        };
        if data.len() > CHUNK {
            return Err(Status::invalid_argument(format!("a chunk of an upload has at most {CHUNK} bytes")));
        }
        if !held() {
            return Err(lost());
        }
        bytes += data.len() as u64;
        // A copy: what was received may be a small part of a large message, all of which it would keep.
        if chunks.send(data.to_vec()).await.is_err() {
            // The disk refused what it had, of which the writing's end tells.
            break;
        }
    }
    Ok(bytes)
}

async fn write_all(mut file: File, mut chunks: mpsc::Receiver<Vec<u8>>) -> io::Result<()> {
    let mut unsynced = 0;
    while let Some(chunk) = chunks.recv().await {
        file.write_all(&chunk).await?;
        unsynced += chunk.len();
        if unsynced >= STEP {
            // Syncing alone would not tell that the last write failed, which a thread does.
            file.flush().await?;
            file.sync_data().await?;
            unsynced = 0;
        }
    }
    file.flush().await?;
    file.sync_all().await
}

fn failed(error: io::Error) -> Status {
    Status::resource_exhausted(format!("cannot write the archive below the install root: {error}"))
}

fn lost() -> Status {
    Status::permission_denied("the attempt has lost its lease")
}

/// A file under a name of its own; it goes again unless it is put where it belongs, also when its upload is dropped.
struct Aside(PathBuf);

impl Aside {
    /// Makes it beside `path`; refuses any name that is there already, and with it every link.
    async fn create(path: &Path) -> io::Result<(File, Self)> {
        let aside = path.with_file_name(format!(".upload-{}", uuid::Uuid::new_v4()));
        let no_links = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
        let file =
            OpenOptions::new().write(true).create_new(true).custom_flags(no_links).mode(0o600).open(&aside).await?;
        Ok((file, Self(aside)))
    }

    /// Gives it its name. A link of that name is replaced itself, not what it points to.
    async fn put(self, path: &Path) -> io::Result<()> {
        tokio::fs::rename(&self.0, path).await?;
        if let Some(folder) = path.parent() {
            File::open(folder).await?.sync_all().await?;
        }
        Ok(())
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        // Gone already if it was put; what can't be removed goes with the attempt's folder.
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn data(text: &str) -> Result<v1::UploadMessage, Status> {
        Ok(v1::UploadMessage { message: Some(Message::Data(text.to_owned().into())) })
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn a_link_in_the_archives_place_is_replaced_and_what_it_points_to_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (precious, staging) = (dir.path().join("precious"), dir.path().join("staging"));
        fs::write(&precious, "precious").unwrap();
        fs::create_dir(&staging).unwrap();
        let path = staging.join("1.1.tar.zst");
        symlink(&precious, &path).unwrap();
        let inbound = tokio_stream::iter([data("new "), data("bytes")]);
        let bytes = write(&path, inbound, || true).await.unwrap();
        assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
        assert_eq!((bytes, fs::read_to_string(&path).unwrap().as_str()), (9, "new bytes"));
        assert!(path.symlink_metadata().unwrap().is_file());
        assert_eq!(names(&staging), ["1.1.tar.zst"]);
    }

    #[tokio::test]
    async fn a_disk_that_refuses_fails_an_upload_at_its_end_or_before() {
        for chunks in [1, usize::MAX] {
            let file = File::open(tempfile::NamedTempFile::new().unwrap().path()).await.unwrap(); // For reading alone.
            let inbound = tokio_stream::iter(std::iter::repeat_with(|| data("more")).take(chunks));
            let refused = fill(file, inbound, &|| true).await.unwrap_err();
            assert_eq!(refused.code(), tonic::Code::ResourceExhausted, "{chunks}");
            assert!(refused.message().starts_with("cannot write the archive below the install root: "), "{refused}");
        }
    }

    #[tokio::test]
    async fn all_of_it_is_written_in_its_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("1.1.tar.zst");
        let chunks = (3 * STEP).div_ceil(CHUNK) + AHEAD;
        let texts: Vec<String> = (0..chunks).map(|number| number.to_string().repeat(CHUNK / 4)).collect();
        let inbound = tokio_stream::iter(texts.iter().map(|text| data(text)).collect::<Vec<_>>());
        let bytes = write(&path, inbound, || true).await.unwrap();
        let written = fs::read_to_string(&path).unwrap();
        assert_eq!(bytes, written.len() as u64);
        assert!(written == texts.concat(), "{bytes} bytes came in another order");
    }

    #[tokio::test]
    async fn chunks_that_are_too_large_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("1.1.tar.zst");
        for (bytes, taken) in [(CHUNK, true), (CHUNK + 1, false)] {
            let inbound = tokio_stream::iter([data(&"a".repeat(bytes))]);
            assert_eq!(write(&path, inbound, || true).await.is_ok(), taken, "{bytes} bytes");
        }
    }

    #[tokio::test]
    async fn two_uploads_of_one_attempt_never_mix() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("1.1.tar.zst");
        let (first, broken) = tokio::sync::mpsc::channel(1);
        let stream = tokio_stream::wrappers::ReceiverStream::new(broken);
        let old = tokio::spawn({
            let path = path.clone();
            async move { write(&path, stream, || true).await }
        });
        first.send(data("half an")).await.unwrap();
        first.reserve().await.unwrap().send(data(" old")); // The first chunk is taken.
        write(&path, tokio_stream::iter([data("a whole new one")]), || true).await.unwrap();
        first.send(Err(Status::unavailable("broken"))).await.unwrap();
        assert!(old.await.unwrap().is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "a whole new one");
        assert_eq!(names(dir.path()), ["1.1.tar.zst"]);
    }

    #[tokio::test]
    async fn an_upload_that_fails_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("1.1.tar.zst");
        let broken = tokio_stream::iter([data("half"), Err(Status::unavailable("broken"))]);
        assert!(write(&path, broken, || true).await.is_err());
        let late = write(&path, tokio_stream::iter([data("late")]), || false).await.unwrap_err();
        assert_eq!(late.code(), tonic::Code::PermissionDenied);
        let waiting = write(&path, tokio_stream::pending(), || true);
        assert!(tokio::time::timeout(std::time::Duration::from_millis(50), waiting).await.is_err());
        assert!(names(dir.path()).is_empty());
    }
}
