//! The session: one stream to the coordinator, opened from here and opened again whenever it breaks.
//!
//! It carries messages and decides nothing: what to say first, and what follows from what is heard, is the
//! [`crate::driver`]'s.

use std::sync::Arc;
use std::time::Duration;

use proto::tls::net::Dial;
use proto::tls::{self, Identity, TlsError};
use proto::v1;
use proto::v1::agent_message::Message as ToCoordinator;
use proto::v1::coordinator_message::Message as FromCoordinator;
use proto::v1::sessions_client::SessionsClient;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

use crate::build::failure::chain;
use crate::config::Config;
use crate::driver::Message;
use crate::inspect::load_hundredths;
use crate::sys::probe;

/// Events that wait to be sent. An attempt has some sixteen; when there is no room, the session starts anew.
const OUT: usize = 256;
/// The first pause after a break, doubled up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// Well within the quarter of a lease that a cut agent has to come back in.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How long the coordinator may take to say welcome.
const WELCOME_LIMIT: Duration = Duration::from_secs(10);

/// Why a session could not be opened, or broke.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// No identity, or no connection.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The coordinator knows us, and not as one of its agents.
    #[error(
        "the coordinator refuses this agent: {0}; it drops what it has in hand and goes on trying to be let in; join again with a new token"
    )]
    Removed(String),
    /// The coordinator doesn't want us now.
    #[error(
        "the coordinator refuses this agent: {0}; it goes on trying to be let in; if its certificate ran out, join again"
    )]
    Refused(String),
    /// The stream broke.
    #[error("the session broke: {0}")]
    Broken(String),
    /// The coordinator said nothing.
    #[error("the coordinator does not answer")]
    Silent,
    /// The agent is ending.
    #[error("the agent is stopping")]
    Stopping,
}

impl From<Status> for SessionError {
    fn from(status: Status) -> Self {
        match status.code() {
            Code::PermissionDenied => Self::Removed(status.message().to_owned()),
            Code::Unauthenticated | Code::FailedPrecondition => Self::Refused(status.message().to_owned()),
            _ => Self::Broken(status.message().to_owned()),
        }
    }
}

/// Opens sessions, one after the other.
#[derive(Debug)]
pub struct Session<N> {
    /// What it connects over.
    pub net: N,
    /// How the agent works.
    pub config: Arc<Config>,
    /// To the driver.
    pub driver: mpsc::Sender<Message>,
    /// Where the rest of the agent finds the connection.
    pub link: watch::Sender<Option<Channel>>,
}

impl<N: Dial> Session<N> {
    /// Keeps a session open until it is dropped.
    pub async fn run(self) {
        let mut pause = FIRST_PAUSE;
        let mut said = String::new();
        loop {
            let mut stood = false;
            let error = match self.once(&mut stood).await {
                Ok(never) => match never {},
                Err(error) => error,
            };
            self.link.send_replace(None);
            if stood {
                (pause, said) = (FIRST_PAUSE, String::new());
                // The driver ends after the session.
                let _ = self.driver.send(Message::Closed).await;
            }
            if matches!(error, SessionError::Removed(_)) {
                // As above.
                let _ = self.driver.send(Message::Removed).await;
            }
            let text = chain(&error);
            // The same trouble is told once, however long it lasts.
            if text == said {
                tracing::debug!("{text}")
            } else {
                tracing::warn!("{text}")
            }
            said = text;
            tokio::time::sleep(jittered(pause)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// One session; `stood` becomes true when the coordinator has said welcome.
    async fn once(&self, stood: &mut bool) -> Result<std::convert::Infallible, SessionError> {
        // Read anew each time, so that a renewed certificate is used without a restart.
        let identity = Identity::load(&self.config.identity())?;
        let channel = tls::connect_over(self.net.clone(), &self.config.coordinator, &identity).await?;
        let (answer, hello) = oneshot::channel();
        self.driver.send(Message::Hello(answer)).await.map_err(|_| SessionError::Stopping)?;
        let hello = hello.await.map_err(|_| SessionError::Stopping)?;
        let (out, outgoing) = mpsc::channel(OUT);
        let first = v1::AgentMessage { message: Some(ToCoordinator::Hello(hello)) };
        out.try_send(first).map_err(|_| SessionError::Silent)?;
        let open = async {
            let mut client = SessionsClient::new(channel.clone()).max_decoding_message_size(proto::MAX_MESSAGE);
            let mut incoming = client.open(ReceiverStream::new(outgoing)).await?.into_inner();
            let welcome = welcome(incoming.next().await)?;
            Ok::<_, SessionError>((incoming, welcome))
        };
        let (incoming, welcome) =
            tokio::time::timeout(WELCOME_LIMIT, open).await.map_err(|_| SessionError::Silent)??;
        *stood = true;
        tracing::info!(coordinator = self.config.coordinator, "connected");
        let beat = Duration::from_millis(u64::from(welcome.heartbeat_ms.max(100)));
        self.driver.send(Message::Welcome { welcome, out: out.clone() }).await.map_err(|_| SessionError::Stopping)?;
        self.link.send_replace(Some(channel));
        self.carry(incoming, out, beat).await
    }

    async fn carry(
        &self,
        mut incoming: Streaming<v1::CoordinatorMessage>,
        out: mpsc::Sender<v1::AgentMessage>,
        beat: Duration,
    ) -> Result<std::convert::Infallible, SessionError> {
        let mut beats = tokio::time::interval(beat);
        beats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                said = incoming.next() => {
                    let said = said.ok_or_else(|| SessionError::Broken("the coordinator ended it".to_owned()))??;
                    if let Some(message) = said.message {
                        self.driver.send(Message::Said(message)).await.map_err(|_| SessionError::Stopping)?;
                    }
                }
                _ = beats.tick() => {
                    // No room: nothing has gone out for long, and what did not fit must be sent again.
                    out.try_send(self.heartbeat()).map_err(|error| SessionError::Broken(error.to_string()))?;
                }
            }
        }
    }

    fn heartbeat(&self) -> v1::AgentMessage {
        let scratch_free_bytes = probe::space(&self.config.scratch()).unwrap_or_default().0;
        let beat = v1::Heartbeat { scratch_free_bytes, load_hundredths: load_hundredths() };
        v1::AgentMessage { message: Some(ToCoordinator::Heartbeat(beat)) }
    }
}

fn welcome(first: Option<Result<v1::CoordinatorMessage, Status>>) -> Result<v1::Welcome, SessionError> {
    match first.transpose()?.and_then(|message| message.message) {
        Some(FromCoordinator::Welcome(welcome)) => Ok(welcome),
        _ => Err(SessionError::Broken("the coordinator did not say welcome".to_owned())),
    }
}

/// Between half and all of it, so that a fleet does not come back in step.
fn jittered(pause: Duration) -> Duration {
    let mut byte = [0];
    // Without randomness the pause is only less even.
    let _ = getrandom::fill(&mut byte);
    pause / 2 + pause.mul_f64(f64::from(byte[0]) / 510.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_stay_in_their_bounds() {
        for _ in 0..100 {
            let pause = jittered(LONGEST_PAUSE);
            assert!(pause >= LONGEST_PAUSE / 2 && pause <= LONGEST_PAUSE, "{pause:?}");
        }
    }
}
