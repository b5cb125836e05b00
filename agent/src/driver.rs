//! The owner of every attempt in hand: hears the session and the attempts' tasks, and alone decides what follows.
//!
//! An attempt is in hand from its assignment until the coordinator has its last event. Each event is in the
//! journal before it is sent, and sent again after a break until it is acknowledged.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::id::AttemptId;
use proto::v1;
use proto::v1::coordinator_message::Message as FromCoordinator;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::attempt::{Attempt, clear};
use crate::build::failure::chain;
use crate::config::Config;
use crate::event::{self, Event, What, reference};
use crate::inspect::Facts;
use crate::journal::{Entry, Journal, JournalError};
use crate::link::Link;
use crate::log_push::LogPush;
use crate::spool;

/// Messages waiting for the driver; every sender waits its turn.
const INBOX: usize = 256;

/// How long killed workers may take to go when the agent stops.
const STOPPING: Duration = Duration::from_secs(8);

/// How long the coordinator may take to hear of it.
const FAREWELL: Duration = Duration::from_secs(2);

/// What the driver hears.
#[derive(Debug)]
pub enum Message {
    /// A session is about to open: what should it say first?
    Hello(oneshot::Sender<v1::Hello>),
    /// It stands; events go to `out`.
    Welcome {
        /// The coordinator's answer.
        welcome: v1::Welcome,
        /// To the coordinator.
        out: mpsc::Sender<v1::AgentMessage>,
    },
    /// The coordinator said something.
    Said(FromCoordinator),
    /// The session is over.
    Closed,
    /// Something happened in an attempt.
    Happened(AttemptId, What),
    /// An attempt's task is at its end, and its scratch folder is gone.
    Ended(AttemptId),
}

/// An attempt in hand.
#[derive(Debug)]
struct Hand {
    entry: Entry,
    /// Its task has not ended.
    running: bool,
    cancel: CancellationToken,
    forget: CancellationToken,
    leaving: Option<Leaving>,
}

/// Why an attempt is being ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaving {
    /// The coordinator asked, and hears when it is done.
    Dropped,
    /// The coordinator knows nothing of it.
    Unknown,
    /// The agent is stopping.
    Stopped,
}

/// See the module.
#[derive(Debug)]
pub struct Driver {
    config: Arc<Config>,
    facts: Arc<Facts>,
    journal: Journal,
    /// New each time the agent starts.
    instance: String,
    hands: BTreeMap<AttemptId, Hand>,
    /// What an earlier run left behind.
    lost: Vec<AttemptId>,
    out: Option<mpsc::Sender<v1::AgentMessage>>,
    link: Link,
    inbox: mpsc::Receiver<Message>,
    tell: mpsc::Sender<Message>,
    tasks: JoinSet<()>,
}

impl Driver {
    /// A driver that takes over what the journal says; gives the way to it as well.
    pub fn new(
        config: Arc<Config>,
        facts: Arc<Facts>,
        journal: Journal,
        link: Link,
        instance: String,
    ) -> Result<(Self, mpsc::Sender<Message>), JournalError> {
        let (over, lost): (Vec<_>, Vec<_>) = journal.load()?.into_iter().partition(Entry::is_over);
        let (tell, inbox) = mpsc::channel(INBOX);
        let hands = over.into_iter().map(|entry| (entry.attempt, Hand::at_rest(entry))).collect();
        let lost = lost.into_iter().map(|entry| entry.attempt).collect();
        let (out, tasks) = (None, JoinSet::new());
        let driver =
            Self { config, facts, journal, instance, hands, lost, out, link, inbox, tell: tell.clone(), tasks };
        Ok((driver, tell))
    }

    /// Which attempts' spool must stay: their last event is still to be sent.
    pub fn kept(&self) -> Vec<AttemptId> {
        self.hands.keys().copied().collect()
    }

    /// Works until `shutdown`, then ends every attempt and tells the coordinator.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), JournalError> {
        self.push_leftover_logs();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return self.stop().await,
                Some(message) = self.inbox.recv() => self.hear(message).await?,
                Some(ended) = self.tasks.join_next() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "the task of an attempt failed");
                    }
                }
            }
        }
    }

    async fn hear(&mut self, message: Message) -> Result<(), JournalError> {
        match message {
            Message::Hello(answer) => {
                // The session may have given up.
                let _ = answer.send(self.hello());
                Ok(())
            }
            Message::Welcome { welcome, out } => self.welcome(welcome, out).await,
            Message::Said(said) => self.said(said).await,
            Message::Closed => {
                self.out = None;
                Ok(())
            }
            Message::Happened(attempt, what) => self.happened(attempt, what).await,
            Message::Ended(attempt) => self.ended(attempt).await,
        }
    }

    fn hello(&self) -> v1::Hello {
        v1::Hello {
            protocol: proto::SESSION_PROTOCOL,
            facts: Some(self.facts.to_wire(&self.config)),
            instance: self.instance.clone(),
            running: self.hands.keys().copied().map(reference).collect(),
            lost: self.lost.iter().copied().map(reference).collect(),
        }
    }

    async fn welcome(&mut self, welcome: v1::Welcome, out: mpsc::Sender<v1::AgentMessage>) -> Result<(), JournalError> {
        for attempt in std::mem::take(&mut self.lost) {
            self.forget(attempt).await?;
        }
        let resumed: BTreeMap<AttemptId, u64> =
            welcome.resume.into_iter().filter_map(|ack| Some((event::attempt(ack.attempt)?, ack.number))).collect();
        for attempt in self.hands.keys().copied().collect::<Vec<_>>() {
            match resumed.get(&attempt) {
                Some(number) => self.acknowledged(attempt, *number).await?,
                None => self.leave(attempt, Leaving::Unknown).await?,
            }
        }
        self.out = Some(out);
        for hand in self.hands.values() {
            hand.entry.unacknowledged.iter().for_each(|event| self.send(hand.entry.attempt, event));
        }
        Ok(())
    }

    async fn said(&mut self, said: FromCoordinator) -> Result<(), JournalError> {
        match said {
            FromCoordinator::Welcome(_) => tracing::warn!("the coordinator said welcome twice"),
            FromCoordinator::Assign(assign) => self.assign(assign).await?,
            FromCoordinator::Ack(ack) => {
                if let Some(attempt) = event::attempt(ack.attempt) {
                    self.acknowledged(attempt, ack.number).await?;
                }
            }
            FromCoordinator::Drop(drop) => {
                if let Some(attempt) = event::attempt(drop.attempt) {
                    tracing::info!(%attempt, reason = drop.reason, "attempt dropped");
                    self.leave(attempt, Leaving::Dropped).await?;
                }
            }
        }
        Ok(())
    }

    async fn assign(&mut self, assign: v1::Assign) -> Result<(), JournalError> {
        let Some(id) = event::attempt(assign.attempt) else { return Ok(()) };
        // Said twice; an attempt is never run twice.
        if self.hands.contains_key(&id) {
            return Ok(());
        }
        let busy = self.hands.values().filter(|hand| hand.running).count();
        let mut hand = Hand::at_rest(Entry::new(id, assign.osimage.clone()));
        hand.running = busy < usize::from(self.config.slots);
        let (running, cancel, forget) = (hand.running, hand.cancel.clone(), hand.forget.clone());
        // On disk before anything of it is done.
        self.write(&hand.entry).await?;
        self.hands.insert(id, hand);
        if !running {
            return self
                .happened(id, What::Lost { reason: format!("all {} slots of the agent are taken", self.config.slots) })
                .await;
        }
        tracing::info!(attempt = %id, osimage = assign.osimage, "attempt assigned");
        let attempt = Attempt {
            id,
            plan_digest: assign.plan_digest,
            staging: assign.staging,
            config: self.config.clone(),
            facts: self.facts.clone(),
            link: self.link.clone(),
            tell: self.tell.clone(),
            cancel,
            forget,
        };
        self.tasks.spawn(attempt.run());
        Ok(())
    }

    async fn happened(&mut self, attempt: AttemptId, what: What) -> Result<(), JournalError> {
        let Some(hand) = self.hands.get_mut(&attempt) else { return Ok(()) };
        if what.is_final() {
            tracing::info!(%attempt, "{}", summary(&what));
        }
        let Some(event) = hand.entry.record(what).cloned() else { return Ok(()) };
        let entry = hand.entry.clone();
        self.write(&entry).await?;
        self.send(attempt, &event);
        Ok(())
    }

    /// Sends an event, or leaves it for the next session.
    fn send(&self, attempt: AttemptId, event: &Event) {
        let Some(out) = &self.out else { return };
        if let Err(error) = out.try_send(event.to_wire(attempt)) {
            // The session ends itself when it can't keep up, and the next one begins with what is unacknowledged.
            tracing::debug!(%attempt, %error, "an event waits for the next session");
        }
    }

    async fn acknowledged(&mut self, attempt: AttemptId, number: u64) -> Result<(), JournalError> {
        let Some(hand) = self.hands.get_mut(&attempt) else { return Ok(()) };
        if hand.entry.acknowledge(number) {
            hand.forget.cancel();
            if !hand.running {
                self.hands.remove(&attempt);
                return self.forget(attempt).await;
            }
            // Its task still clears up. After a crash here, the coordinator knows that the attempt is over.
            return Ok(());
        }
        let entry = hand.entry.clone();
        self.write(&entry).await
    }

    /// Ends an attempt; what follows comes with [`Message::Ended`].
    async fn leave(&mut self, attempt: AttemptId, why: Leaving) -> Result<(), JournalError> {
        let Some(hand) = self.hands.get_mut(&attempt) else {
            if why == Leaving::Dropped {
                self.send(attempt, &Event { number: 1, time_ms: crate::worker::report::now_ms(), what: What::Dropped });
            }
            return Ok(());
        };
        hand.leaving = Some(why);
        hand.cancel.cancel();
        if hand.running { Ok(()) } else { self.left(attempt, why).await }
    }

    async fn ended(&mut self, attempt: AttemptId) -> Result<(), JournalError> {
        let Some(hand) = self.hands.get_mut(&attempt) else { return Ok(()) };
        hand.running = false;
        match hand.leaving {
            Some(why) => self.left(attempt, why).await,
            None if hand.forget.is_cancelled() => {
                self.hands.remove(&attempt);
                self.forget(attempt).await
            }
            None => Ok(()),
        }
    }

    async fn left(&mut self, attempt: AttemptId, why: Leaving) -> Result<(), JournalError> {
        match why {
            Leaving::Stopped => self.happened(attempt, What::Lost { reason: "the agent was stopped".to_owned() }).await,
            Leaving::Dropped if self.hands.get(&attempt).is_some_and(|hand| !hand.entry.is_over()) => {
                self.happened(attempt, What::Dropped).await
            }
            Leaving::Dropped | Leaving::Unknown => {
                if let Some(hand) = self.hands.remove(&attempt) {
                    hand.forget.cancel();
                }
                if why == Leaving::Dropped {
                    // The coordinator counts it as a taken slot until it hears this.
                    self.send(
                        attempt,
                        &Event { number: 1, time_ms: crate::worker::report::now_ms(), what: What::Dropped },
                    );
                }
                self.forget(attempt).await
            }
        }
    }

    /// Nothing of the attempt is wanted any more.
    async fn forget(&self, attempt: AttemptId) -> Result<(), JournalError> {
        if let Err(error) = clear(spool::folder(&self.config.spool(), attempt)).await {
            tracing::warn!(%attempt, "{}", chain(&*error));
        }
        self.journal.remove(attempt)
    }

    async fn write(&self, entry: &Entry) -> Result<(), JournalError> {
        let (journal, entry) = (self.journal.clone(), entry.clone());
        let written = tokio::task::spawn_blocking(move || journal.write(&entry)).await;
        written.unwrap_or(Ok(()))
    }

    /// Logs of attempts whose last event an earlier run of the agent could not get acknowledged.
    fn push_leftover_logs(&mut self) {
        for hand in self.hands.values() {
            let path = spool::log(&spool::folder(&self.config.spool(), hand.entry.attempt));
            let (extent_sender, extent) = watch::channel(spool::extent_of(&path));
            let push = LogPush { attempt: hand.entry.attempt, path, extent, link: self.link.clone() };
            let forget = hand.forget.clone();
            self.tasks.spawn(async move {
                let _open = extent_sender;
                forget.run_until_cancelled(push.run()).await;
            });
        }
    }

    /// Takes no more work, ends what runs, and gives the coordinator a moment to hear of it. What it does not hear
    /// now it hears from the journal, at the next start.
    async fn stop(mut self) -> Result<(), JournalError> {
        if let Some(out) = &self.out {
            let leaving = v1::agent_message::Message::Leaving(v1::Leaving {});
            // No room: then the session is stuck, and its end says the same.
            let _ = out.try_send(v1::AgentMessage { message: Some(leaving) });
        }
        for attempt in self.hands.iter().filter(|(_, hand)| hand.running).map(|(id, _)| *id).collect::<Vec<_>>() {
            self.leave(attempt, Leaving::Stopped).await?;
        }
        let deadline = tokio::time::Instant::now() + STOPPING;
        while self.hands.values().any(|hand| hand.running) {
            match tokio::time::timeout_at(deadline, self.inbox.recv()).await {
                Ok(Some(Message::Said(FromCoordinator::Assign(_)))) => {}
                Ok(Some(message)) => self.hear(message).await?,
                Ok(None) | Err(_) => break,
            }
        }
        let deadline = tokio::time::Instant::now() + FAREWELL;
        while self.out.is_some() && self.hands.values().any(|hand| !hand.entry.unacknowledged.is_empty()) {
            match tokio::time::timeout_at(deadline, self.inbox.recv()).await {
                Ok(Some(Message::Said(FromCoordinator::Assign(_)))) => {}
                Ok(Some(message)) => self.hear(message).await?,
                Ok(None) | Err(_) => break,
            }
        }
        Ok(())
    }
}

impl Hand {
    /// An attempt without a task.
    fn at_rest(entry: Entry) -> Self {
        let (cancel, forget) = (CancellationToken::new(), CancellationToken::new());
        Self { entry, running: false, cancel, forget, leaving: None }
    }
}

fn summary(what: &What) -> String {
    match what {
        What::Published(published) => format!("published {}", published.digest),
        What::Failed(failure) => format!("failed in {}: {}", failure.stage, failure.cause),
        What::Lost { reason } => format!("lost: {reason}"),
        What::Dropped => "dropped".to_owned(),
        What::StageStarted(stage) | What::StageEnded(stage, _) => stage.to_string(),
    }
}
