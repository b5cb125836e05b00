//! A build node that builds nothing: a real identity, a real session over mTLS, and made-up attempts.

use std::time::{Duration, Instant};

use proto::tls::{Identity, NewKey, connect, connect_by_fingerprint};
use proto::v1;
use proto::v1::agent_message::Message as Say;
use proto::v1::coordinator_message::Message as Hear;
use tests::Site;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

/// A node with a session.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) channel: Channel,
    pub(crate) heartbeat: Duration,
    out: mpsc::Sender<v1::AgentMessage>,
    inbound: Streaming<v1::CoordinatorMessage>,
}

/// Joins under this name.
pub(crate) async fn join(site: &Site, name: &str) -> Identity {
    let admin = connect(&site.cli.coordinator, &Identity::load(&site.cli.identity).unwrap()).await.unwrap();
    let request = v1::CreateTokenRequest { agent: name.to_owned(), valid_seconds: 0 };
    let token = v1::agents_client::AgentsClient::new(admin).create_token(request).await.unwrap().into_inner();
    let key = NewKey::generate(name).unwrap();
    let stranger = connect_by_fingerprint(&site.cli.coordinator, &token.ca_fingerprint).await.unwrap();
    let request = v1::JoinRequest {
        token: token.token,
        agent: name.to_owned(),
        signing_request_pem: key.signing_request_pem.clone(),
    };
    let mut enrolment = v1::enrolment_client::EnrolmentClient::new(stranger);
    let answer = enrolment.join(request).await.unwrap().into_inner();
    Identity::new(answer.certificate_pem, key.key_pem, answer.ca_pem)
}

impl Node {
    /// Opens a session; `slots` attempts at once.
    pub(crate) async fn open(address: &str, identity: &Identity, slots: u32) -> Self {
        let channel = connect(address, identity).await.unwrap();
        let (out, outgoing) = mpsc::channel(256);
        let hello = v1::Hello {
            protocol: proto::SESSION_PROTOCOL,
            facts: Some(facts(slots)),
            instance: "bench".into(),
            running: Vec::new(),
            lost: Vec::new(),
        };
        out.send(v1::AgentMessage { message: Some(Say::Hello(hello)) }).await.unwrap();
        let mut client = v1::sessions_client::SessionsClient::new(channel.clone());
        let mut inbound = client.open(ReceiverStream::new(outgoing)).await.unwrap().into_inner();
        let Some(Hear::Welcome(welcome)) = inbound.message().await.unwrap().and_then(|first| first.message) else {
            panic!("a session begins with a welcome")
        };
        Self { channel, heartbeat: Duration::from_millis(welcome.heartbeat_ms.into()), out, inbound }
    }

    /// The next attempt that it is given; beats meanwhile. `None`: the session is over.
    pub(crate) async fn assigned(&mut self) -> Option<(v1::AttemptRef, Instant)> {
        loop {
            let said = match tokio::time::timeout(self.heartbeat, self.inbound.message()).await {
                Ok(said) => said.ok().flatten()?,
                Err(_) => {
                    let beat = v1::Heartbeat { scratch_free_bytes: 50 << 30, load_hundredths: 100 };
                    self.say(Say::Heartbeat(beat)).await;
                    continue;
                }
            };
            match said.message {
                Some(Hear::Assign(assign)) => return Some((assign.attempt?, Instant::now())),
                Some(Hear::Drop(drop)) => {
                    let event = v1::event::Event::Dropped(v1::Dropped {});
                    self.event(drop.attempt?, 1, event).await;
                }
                _ => {}
            }
        }
    }

    /// Begins the attempt.
    pub(crate) async fn begin(&self, attempt: v1::AttemptRef) {
        let stage = "prepare".to_owned();
        self.event(attempt, 1, v1::event::Event::StageStarted(v1::StageStarted { stage })).await;
    }

    /// Ends the attempt it began.
    pub(crate) async fn fail(&self, attempt: v1::AttemptRef) {
        let failure = v1::Failure { stage: "prepare".into(), cause: "a made-up build".into(), ..Default::default() };
        self.event(attempt, 2, v1::event::Event::Failed(failure)).await;
    }

    async fn event(&self, attempt: v1::AttemptRef, number: u64, event: v1::event::Event) {
        self.say(Say::Event(v1::Event { attempt: Some(attempt), number, time_ms: 1, event: Some(event) })).await;
    }

    async fn say(&self, message: Say) {
        // The session may be over.
        let _ = self.out.send(v1::AgentMessage { message: Some(message) }).await;
    }
}

fn facts(slots: u32) -> v1::AgentFacts {
    v1::AgentFacts {
        emulations: Vec::new(),
        emulated_on: String::new(),
        arch: tests::arch().to_owned(),
        os: "debian12".into(),
        kernel: "6.1".into(),
        package_systems: vec!["apt".into()],
        tools: vec!["mmdebstrap 1.3.5".into()],
        scratch_free_bytes: 50 << 30,
        scratch_total_bytes: 100 << 30,
        memory_bytes: 8 << 30,
        cpus: 2,
        install: "none".into(),
        slots,
        version: "0.1.0".into(),
        conditions: Vec::new(),
    }
}
