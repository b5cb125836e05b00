//! Pushes the log of one attempt to the coordinator: from the spool, as it is written, over as many connections as
//! it takes. The coordinator says how far it has it; after a break it goes on from there.

use std::path::PathBuf;
use std::time::Duration;

use model::id::AttemptId;
use proto::v1;
use proto::v1::sessions_client::SessionsClient;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use crate::link::Link;
use crate::spool::{Extent, LogReader};

/// Batches on their way: enough to keep a link busy, and little to send again after a break.
const IN_FLIGHT: usize = 8;

/// After a broken push; the session has its own, growing pause.
const PAUSE: Duration = Duration::from_secs(1);

/// A connection that stands for so long without taking a line has no use for the rest: the coordinator can't write
/// it, or we can't read it. The attempt's last event must not wait for it for ever.
const STALLED: Duration = Duration::from_secs(30);

/// What one push needs.
#[derive(Debug)]
pub struct LogPush {
    /// Whose log.
    pub attempt: AttemptId,
    /// The log's file.
    pub path: PathBuf,
    /// How far it is written.
    pub extent: watch::Receiver<Extent>,
    /// The way to the coordinator.
    pub link: Link,
}

#[derive(Debug)]
enum Ended {
    /// The coordinator has every line, or wants none.
    Finished,
    Broken,
}

/// The coordinator's view: the next line that it wants.
type Cursor = u64;

/// A push on a task of its own.
#[derive(Debug)]
pub struct Pushing {
    task: JoinHandle<()>,
    progress: watch::Receiver<Cursor>,
    link: Link,
}

impl Pushing {
    /// Returns when the log is closed and the coordinator has every line or wants none; or, with `false`, when it
    /// takes none though the connection stands. The coordinator closes a log with the attempt's last event, so that
    /// one waits for this.
    pub async fn arrived(mut self) -> bool {
        loop {
            tokio::select! {
                _ = &mut self.task => return true,
                Ok(()) = self.progress.changed() => {}
                () = self.link.stood(STALLED) => return false,
            }
        }
    }
}

impl LogPush {
    /// Pushes on a task of its own, until `forget` at the latest.
    pub fn start(self, forget: CancellationToken) -> Pushing {
        let (cursor, progress) = watch::channel(1);
        let link = self.link.clone();
        let task = tokio::spawn(async move {
            forget.run_until_cancelled(self.run(cursor)).await;
        });
        Pushing { task, progress, link }
    }

    async fn run(mut self, progress: watch::Sender<Cursor>) {
        loop {
            let channel = self.link.channel().await;
            match self.push(channel, &progress).await {
                Ok(Ended::Finished) => return,
                Ok(Ended::Broken) => {}
                Err(error) => tracing::debug!(attempt = %self.attempt, %error, "the log goes on after a pause"),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn push(
        &mut self,
        channel: Channel,
        cursor: &watch::Sender<Cursor>,
    ) -> Result<Ended, Box<dyn std::error::Error + Send + Sync>> {
        let mut reader = LogReader::open(&self.path).await?;
        let wanted = *cursor.borrow();
        reader.seek(wanted).await?;
        let (sender, outgoing) = mpsc::channel(IN_FLIGHT);
        // The first goes before the answer is waited for: the coordinator wants to know whose log it is.
        let written = *self.extent.borrow_and_update();
        sender.try_send(reader.batch(self.attempt, written.lines).await?)?;
        let mut client = SessionsClient::new(channel);
        let mut acks = client.push_log(ReceiverStream::new(outgoing)).await?.into_inner();
        loop {
            let written = *self.extent.borrow_and_update();
            if written.closed && *cursor.borrow() > written.lines {
                return Ok(Ended::Finished);
            }
            let more = reader.next() <= written.lines;
            tokio::select! {
                ack = acks.next() => match self.hear(ack, &mut reader, cursor).await? {
                    Some(ended) => return Ok(ended),
                    None => continue,
                },
                permit = sender.reserve(), if more => {
                    permit?.send(reader.batch(self.attempt, written.lines).await?);
                }
                changed = self.extent.changed(), if !more && !written.closed => changed?,
            }
        }
    }

    async fn hear(
        &self,
        ack: Option<Result<v1::LogAck, tonic::Status>>,
        reader: &mut LogReader,
        cursor: &watch::Sender<Cursor>,
    ) -> Result<Option<Ended>, Box<dyn std::error::Error + Send + Sync>> {
        let Some(ack) = ack.transpose()? else { return Ok(Some(Ended::Broken)) };
        if ack.refused {
            return Ok(Some(Ended::Finished));
        }
        let wanted = ack.next_line.max(1);
        cursor.send_if_modified(|cursor| std::mem::replace(cursor, wanted) < wanted);
        if wanted > reader.next() {
            // It had more from an earlier connection than it could tell us.
            reader.seek(wanted).await?;
        }
        Ok(None)
    }
}
