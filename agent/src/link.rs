//! The connection to the coordinator as everything but the session sees it: there, or to be waited for.

use std::time::Duration;

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

    /// Returns when the connection has stood for `time` without a break.
    pub async fn stood(&mut self, time: Duration) {
        loop {
            self.channel().await;
            // Another one, or none: the time begins anew. A session that has ended for good changes nothing any more.
            if !matches!(tokio::time::timeout(time, self.channel.changed()).await, Ok(Ok(()))) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_break_begins_the_time_anew() {
        let time = Duration::from_secs(1);
        let connected = || Some(Channel::from_static("http://[::1]:1").connect_lazy());
        let (sender, mut link) = Link::new();
        let begun = tokio::time::Instant::now();
        let breaks = async {
            for _ in 0..3 {
                sender.send_replace(connected());
                tokio::time::sleep(time / 2).await;
                sender.send_replace(None);
                tokio::time::sleep(time / 2).await;
            }
            sender.send_replace(connected());
        };
        tokio::join!(link.stood(time), breaks);
        assert!(begun.elapsed() >= time * 4, "{:?}", begun.elapsed());
    }
}
