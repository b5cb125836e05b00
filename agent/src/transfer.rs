//! The large things of an attempt, each by a call of its own: its plan comes, and for `--onlyinitrd` its tree; its
//! archive goes.
//!
//! Called by [`crate::attempt`]. A call that broke is made again from its start; one that the coordinator refused
//! is not, and one that it fails at is only a few times.

use std::error::Error as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::id::AttemptId;
use proto::v1;
use proto::v1::sessions_client::SessionsClient;
use rootfs::digest::Hasher;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, watch};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::AbortOnDropHandle;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::event::reference;
use crate::link::Link;
use crate::silence::words;
use crate::worker::report::Product;

/// Chunks of an upload on their way.
const CHUNKS_IN_FLIGHT: usize = 8;
/// After a call that broke; the session has its own, growing pause.
const PAUSE: Duration = Duration::from_secs(1);
/// A coordinator that could not say what went wrong may find its feet within seconds; one that fails more often in a
/// row has a fault that no waiting mends.
const UNEXPLAINED: u32 = 5;
/// How long the next piece of a plan or tree may take.
const UNANSWERED: Duration = Duration::from_secs(30);

/// Why something did not get across.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// It will be the same another time.
    #[error("the coordinator refused {what}: {}", status.message())]
    Refused {
        /// The plan, the tree, or the archive.
        what: &'static str,
        /// In its own words.
        status: Status,
    },
    /// It was asked often enough.
    #[error("the coordinator fails over {what} again and again: {}", status.message())]
    Failing {
        /// The plan, the tree, or the archive.
        what: &'static str,
        /// In its own words.
        status: Status,
    },
    /// The connection stands, and not a byte goes over it.
    #[error("the coordinator has taken nothing of the archive for {}", words(*limit))]
    Still {
        /// How long it may be so.
        limit: Duration,
    },
    /// Damaged on the way, or on its disk.
    #[error("what the coordinator sent as the plan does not have the digest that it named")]
    WrongPlan,
    /// The node's own disk.
    #[error("cannot write the tree to `{}`", path.display())]
    Disk {
        /// Where to.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// It could not be read to its end here, or was not written to its end there.
    #[error("the coordinator took in {taken} of the archive's {bytes} bytes")]
    WrongUpload {
        /// Its size.
        bytes: u64,
        /// What the coordinator has of it.
        taken: u64,
    },
}

/// Fetches the plan with the digest that the coordinator named.
pub async fn plan(mut link: Link, attempt: AttemptId, digest: &str) -> Result<Vec<u8>, TransferError> {
    let mut tries = Tries::new("the plan");
    loop {
        let channel = link.channel().await;
        match fetch(channel, attempt).await {
            Ok(bytes) => {
                let mut hasher = Hasher::new();
                hasher.update(&bytes);
                let named = digest.trim_start_matches("sha256:");
                return if hasher.finish().to_hex() == named { Ok(bytes) } else { Err(TransferError::WrongPlan) };
            }
            Err(status) => tries.again(status)?,
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Fetches the tree that the attempt makes initrds for into the file `path`; gives its length. Whether it is whole is
/// for the reader to see: the archive has a checksum.
pub async fn tree(mut link: Link, attempt: AttemptId, path: &Path) -> Result<u64, TransferError> {
    let mut tries = Tries::new("the tree");
    loop {
        let channel = link.channel().await;
        match fetch_tree(channel, attempt, path).await {
            Ok(bytes) => return Ok(bytes),
            Err(Fetch::Disk(source)) => return Err(TransferError::Disk { path: path.to_owned(), source }),
            Err(Fetch::Call(status)) => tries.again(status)?,
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Why one try ended.
enum Fetch {
    Call(Status),
    Disk(std::io::Error),
}

impl From<Status> for Fetch {
    fn from(status: Status) -> Self {
        Self::Call(status)
    }
}

async fn fetch_tree(channel: Channel, attempt: AttemptId, path: &Path) -> Result<u64, Fetch> {
    let mut file = tokio::fs::File::create(path).await.map_err(Fetch::Disk)?;
    let mut client = SessionsClient::new(channel);
    let mut chunks = answered(client.fetch_tree(reference(attempt))).await??.into_inner();
    let mut bytes = 0;
    while let Some(chunk) = answered(chunks.next()).await? {
        let data = chunk?.data;
        file.write_all(&data).await.map_err(Fetch::Disk)?;
        bytes += data.len() as u64;
    }
    file.flush().await.map_err(Fetch::Disk)?;
    Ok(bytes)
}

/// Uploads the archive; `begins` is called before each try. Fails when in one of them nothing moves for `limit`; without
/// a connection it waits, which the coordinator's lease limits.
pub async fn archive(
    mut link: Link,
    attempt: AttemptId,
    product: &Product,
    limit: Option<Duration>,
    mut begins: impl FnMut(),
) -> Result<(), TransferError> {
    let mut tries = Tries::new("the archive");
    loop {
        let channel = link.channel().await;
        begins();
        let (moved, movement) = watch::channel(());
        let answer = tokio::select! {
            answer = upload(channel, attempt, &product.archive, moved) => answer,
            limit = stands_still(movement, limit) => return Err(TransferError::Still { limit }),
        };
        match answer {
            Ok(answer) if answer.bytes == product.bytes => return Ok(()),
            Ok(answer) => return Err(TransferError::WrongUpload { bytes: product.bytes, taken: answer.bytes }),
            Err(status) => {
                tracing::info!(%attempt, error = status.message(), "the upload broke off");
                tries.again(status)?;
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Counts how often a call has failed for no reason given.
#[derive(Debug)]
struct Tries {
    what: &'static str,
    unexplained: u32,
}

impl Tries {
    fn new(what: &'static str) -> Self {
        Self { what, unexplained: 0 }
    }

    /// Whether the call that ended so is worth making again.
    fn again(&mut self, status: Status) -> Result<(), TransferError> {
        let what = self.what;
        // What broke on the way has the connection's error beneath it, under whatever code.
        let broke = status.source().is_some();
        match status.code() {
            Code::Unavailable | Code::Cancelled | Code::DeadlineExceeded | Code::Aborted => self.unexplained = 0,
            Code::Unknown | Code::Internal if broke => self.unexplained = 0,
            Code::Unknown | Code::Internal if self.unexplained < UNEXPLAINED => self.unexplained += 1,
            Code::Unknown | Code::Internal => return Err(TransferError::Failing { what, status }),
            _ => return Err(TransferError::Refused { what, status }),
        }
        Ok(())
    }
}

async fn fetch(channel: Channel, attempt: AttemptId) -> Result<Vec<u8>, Status> {
    let mut client = SessionsClient::new(channel);
    let mut chunks = answered(client.fetch_plan(reference(attempt))).await??.into_inner();
    let mut bytes = Vec::new();
    while let Some(chunk) = answered(chunks.next()).await? {
        bytes.extend_from_slice(&chunk?.data);
    }
    Ok(bytes)
}

/// A connection that is cut is found out by its keep-alive; this is for a coordinator that lives and does not answer.
async fn answered<F: IntoFuture>(answer: F) -> Result<F::Output, Status> {
    let late = |_| Status::unknown(format!("no answer for {} s", UNANSWERED.as_secs()));
    tokio::time::timeout(UNANSWERED, answer).await.map_err(late)
}

/// Returns when nothing has moved for the limit. When all is sent, the answer may take as long.
async fn stands_still(mut movement: watch::Receiver<()>, limit: Option<Duration>) -> Duration {
    let Some(limit) = limit else { return std::future::pending().await };
    while let Ok(Ok(())) = tokio::time::timeout(limit, movement.changed()).await {}
    if movement.has_changed().is_err() {
        tokio::time::sleep(limit).await;
    }
    limit
}

async fn upload(
    channel: Channel,
    attempt: AttemptId,
    path: &Path,
    moved: watch::Sender<()>,
) -> Result<v1::UploadResponse, Status> {
    let file = tokio::fs::File::open(path).await.map_err(|error| Status::failed_precondition(error.to_string()))?;
    let (sender, outgoing) = mpsc::channel(CHUNKS_IN_FLIGHT);
    let _reading = AbortOnDropHandle::new(tokio::spawn(read_chunks(file, attempt, sender, moved)));
    let answer = SessionsClient::new(channel).upload(ReceiverStream::new(outgoing)).await;
    answer.map(tonic::Response::into_inner)
}

/// An archive that can't be read ends the stream early, which is seen as the coordinator tells how much it has. There is room
/// for a chunk only as it takes earlier ones, by the windows of HTTP/2.
async fn read_chunks(
    mut file: tokio::fs::File,
    attempt: AttemptId,
    sender: mpsc::Sender<v1::UploadMessage>,
    moved: watch::Sender<()>,
) {
    use v1::upload_message::Message;
    let header = Message::Header(v1::UploadHeader { attempt: Some(reference(attempt)) });
    let mut next = Some(header);
    while let Some(message) = next {
        if sender.send(v1::UploadMessage { message: Some(message) }).await.is_err() {
            return;
        }
        moved.send_replace(());
        let mut chunk = Vec::with_capacity(proto::CHUNK);
        next = match (&mut file).take(proto::CHUNK as u64).read_to_end(&mut chunk).await {
            Ok(1..) => Some(Message::Data(chunk.into())),
            Ok(0) | Err(_) => None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken() -> Status {
        Status::from_error(Box::new(std::io::Error::other("connection reset")))
    }

    #[test]
    fn what_broke_on_the_way_is_sent_again_for_as_long_as_it_takes() {
        let mut tries = Tries::new("the archive");
        for _ in 0..100 {
            tries.again(Status::unavailable("restarting")).unwrap();
            assert_eq!(broken().code(), Code::Unknown);
            tries.again(broken()).unwrap();
        }
    }

    #[test]
    fn a_coordinator_that_fails_without_reason_is_asked_five_times_more() {
        for fault in [Status::internal("internal error"), Status::unknown("internal error")] {
            let mut tries = Tries::new("the plan");
            for _ in 0..4 {
                tries.again(fault.clone()).unwrap();
            }
            // In a row: a broken connection in between begins anew.
            tries.again(broken()).unwrap();
            for _ in 0..5 {
                tries.again(fault.clone()).unwrap();
            }
            let error = tries.again(fault).unwrap_err();
            assert_eq!(error.to_string(), "the coordinator fails over the plan again and again: internal error");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_coordinator_that_lives_and_does_not_answer_fails_for_no_reason_given() {
        let status = answered(std::future::pending::<()>()).await.unwrap_err();
        let mut tries = Tries::new("the plan");
        for _ in 0..UNEXPLAINED {
            tries.again(status.clone()).unwrap();
        }
        let error = tries.again(status).unwrap_err();
        assert_eq!(error.to_string(), "the coordinator fails over the plan again and again: no answer for 30 s");
    }

    #[test]
    fn what_is_refused_once_is_refused() {
        let refused = Tries::new("the plan").again(Status::permission_denied("not leased"));
        assert!(matches!(refused, Err(TransferError::Refused { .. })));
    }
}
