//! A network that swallows packets without a word, shorter than the lease: the session, the log and the upload notice,
//! and go on over another connection. Needs root.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod peer;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use peer::{Peer, Script};
use proto::v1::event::Event as Wire;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Stands between agent and coordinator. Once cut, a connection stays open and nothing more comes through.
#[derive(Debug, Clone)]
struct Wall {
    address: SocketAddr,
    cuts: watch::Sender<u32>,
    /// Bytes that may still go to the coordinator before the next cut.
    left: Arc<AtomicU64>,
}

impl Wall {
    async fn before(coordinator: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let wall = Self { address, cuts: watch::channel(0).0, left: Arc::new(AtomicU64::new(u64::MAX)) };
        tokio::spawn(wall.clone().stand(listener, coordinator));
        wall
    }

    async fn stand(self, listener: TcpListener, coordinator: String) {
        while let Ok((agent, _)) = listener.accept().await {
            let coordinator = TcpStream::connect(&coordinator).await.unwrap();
            let (agent, coordinator) = (agent.into_split(), coordinator.into_split());
            tokio::spawn(self.clone().forward(agent.0, coordinator.1, true));
            tokio::spawn(self.clone().forward(coordinator.0, agent.1, false));
        }
    }

    async fn forward(self, mut from: impl AsyncReadExt + Unpin, mut to: impl AsyncWriteExt + Unpin, counted: bool) {
        let mut cut = self.cuts.subscribe();
        let mut buffer = vec![0; 64 << 10];
        loop {
            let read = tokio::select! {
                _ = cut.changed() => std::future::pending().await,
                read = from.read(&mut buffer) => read.unwrap_or(0),
            };
            if counted && self.left.load(Ordering::SeqCst) != u64::MAX {
                let before = self.left.fetch_sub(read as u64, Ordering::SeqCst);
                if before < read as u64 {
                    self.left.store(u64::MAX, Ordering::SeqCst);
                    self.cut();
                    continue;
                }
            }
            if read == 0 || to.write_all(&buffer[..read]).await.is_err() {
                return;
            }
        }
    }

    /// Every connection that stands is dead from now on; a new one is not.
    fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    fn cut_after(&self, bytes: u64) {
        self.left.store(bytes, Ordering::SeqCst);
    }

    fn number(&self) -> u32 {
        *self.cuts.borrow()
    }
}

const LINES: usize = 60;

/// Stands in for the worker: lines for some seconds, and an archive that takes a while to upload.
const WORKER: &str = r#"#!/bin/sh
echo '{"report":"stage_started","stage":"packages","time_ms":1}'
i=1; while test $i -le 60; do echo '{"report":"line","t":1,"s":"packages","x":"line '$i'"}'; i=$((i+1)); sleep 0.1; done
archive=$(sed 's/.*"archive":"\([^"]*\)".*/\1/' "$3")
head -c 20000000 /dev/urandom > "$archive"
digest=$(sha256sum "$archive" | cut -d' ' -f1)
echo '{"report":"stage_started","stage":"publish","time_ms":1}'
echo '{"report":"finished","archive":"'"$archive"'","digest":"sha256:'"$digest"'","bytes":20000000,"kernel_version":"6.1","packages":3,"initrds":[],"warnings":[]}'
"#;

#[tokio::test]
async fn what_is_cut_without_a_word_goes_on_over_another_connection() {
    let mut peer = Peer::start(Script { plan: "{}".to_owned(), ..Script::default() }).await;
    peer.work_by(WORKER);
    let wall = Wall::before(peer.config.coordinator.clone()).await;
    peer.config.coordinator = wall.address.to_string();
    let agent = peer.agent(CancellationToken::new());
    let first = peer.next_hello().await;
    peer.until_stage("packages").await;
    peer.settled(|_| peer.log().len() > 5).await;
    wall.cut();
    let second = peer.next_hello().await;
    assert_eq!((second.instance, second.running.len()), (first.instance, 1));
    // The next cut is in the middle of the archive.
    wall.cut_after(10_000_000);
    let events = peer.events_to_the_last().await;
    let Some(Wire::Published(published)) = &events.last().unwrap().event else { panic!("{:?}", events.last()) };
    assert_eq!((published.bytes, peer.uploaded().len(), wall.number()), (20_000_000, 20_000_000, 2));
    let lines: Vec<String> = peer.log().into_iter().filter(|line| line.starts_with("line ")).collect();
    assert_eq!(lines, (1..=LINES).map(|number| format!("line {number}")).collect::<Vec<_>>());
    agent.abort();
}
