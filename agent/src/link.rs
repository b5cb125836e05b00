//! The connection to the coordinator as everything but the session sees it: there, or to be waited for.

use tokio::sync::watch;
use tonic::transport::Channel;

/// A view of the connection.
#[derive(Debug, Clone)]
pub struct Link {
    channel: watch::Receiver<Option<Channel>>,
}

impl Link {
    /// A link and the end that the session sets.
    pub fn new() -> (watch::Sender<Option<Channel>>, Self) {
        let (sender, channel) = watch::channel(None);
        (sender, Self { channel })
    }

    /// The connection, as soon as there is one. Never returns once the agent ends.
    pub async fn channel(&mut self) -> Channel {
        loop {
            if let Some(channel) = self.channel.borrow_and_update().clone() {
                return channel;
            }
            if self.channel.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}
