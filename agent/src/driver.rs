//! The owner of every attempt in hand: hears the session and the attempts' tasks, and alone decides what follows.
//!
//! An attempt is in hand from its assignment until the coordinator has its last event. Each event is in the
//! journal before it is sent, and sent again after a break until it is acknowledged. Where the journal can't be
//! written, the attempt ends, lost, and is reported from memory; the agent lives on.

mod leftovers;
mod stopping;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use model::agent::Survey;
use model::id::AttemptId;
use proto::supervision::Pulse;
use proto::v1;
use proto::v1::agent_message::Message as ToCoordinator;
use proto::v1::coordinator_message::Message as FromCoordinator;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::attempt::{Attempt, clear};
use crate::build::failure::chain;
use crate::config::Config;
use crate::emulation;
use crate::event::{self, Event, What, reference};
use crate::hands::{Admission, Hand, Hands, Leaving};
use crate::inspect::Facts;
use crate::install_root::{Found, InstallRoot, Looker};
use crate::journal::{Entry, Journal, JournalError};
use crate::link::Link;
use crate::preflight::conditions::COORDINATOR_CLOCK;
use crate::silence::Budgets;
use crate::spool;
use crate::worker::handle::Workers;
use crate::worker::report::now_ms;

/// The coordinator's clock may differ by so much before we say so: certificates depend on it.
const CLOCK_LIMIT_MS: i64 = 60_000;

/// Messages waiting for the driver; every sender waits its turn.
const INBOX: usize = 256;

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
    /// The coordinator says that this is no agent of its any more.
    Removed,
    /// Something happened in an attempt.
    Happened(AttemptId, What),
    /// An attempt was ended from here: nothing of it runs any more, and its scratch folder is still to be cleared.
    Stopped(AttemptId),
    /// An attempt's task is at its end, and its scratch folder is gone.
    Ended(AttemptId),
    /// The log that an earlier run of the agent left of an attempt is with the coordinator, or never will be.
    LogArrived(AttemptId),
    /// What an earlier run of the agent left is gone, or will not go.
    Cleared,
}

/// See the module.
#[derive(Debug)]
pub struct Driver {
    config: Arc<Config>,
    facts: Arc<Facts>,
    workers: Workers,
    journal: Journal,
    /// New each time the agent starts.
    instance: String,
    hands: Hands,
    /// What an earlier run left behind.
    lost: Vec<AttemptId>,
    out: Option<mpsc::Sender<v1::AgentMessage>>,
    link: Link,
    inbox: mpsc::Receiver<Message>,
    tell: mpsc::Sender<Message>,
    tasks: JoinSet<()>,
    /// Which attempt a task carries out.
    carried: HashMap<Id, AttemptId>,
    /// Folders that an earlier run left, until they are being cleared.
    leftovers: Vec<PathBuf>,
    /// The MN's install root, as this node gets at it.
    root: InstallRoot,
    /// To tell it what the coordinator says.
    offered: watch::Sender<v1::InstallOffer>,
    /// What was found of it, and of the scratch folder.
    found: Found,
    /// By how many ms our clock is ahead of the coordinator's, where that matters.
    clock: Option<i64>,
    /// What the service manager is told.
    pulse: Pulse,
}

/// By how many ms our clock is ahead, if it is more than it may. `theirs_ms` is 0 where the coordinator didn't say.
fn apart(ours_ms: i64, theirs_ms: i64) -> Option<i64> {
    let by = ours_ms.saturating_sub(theirs_ms);
    (theirs_ms != 0 && by.saturating_abs() > CLOCK_LIMIT_MS).then_some(by)
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
        let leftover = |entry: Entry| {
            let log = spool::log(&spool::folder(&config.spool(), entry.attempt));
            // How many lines it has is counted beside everything else.
            let log_behind = log.metadata().is_ok_and(|log| log.len() > 0);
            Hand { log_behind, ..Hand::at_rest(entry) }
        };
        let mut hands = Hands::new(config.slots, over.into_iter().map(leftover).collect());
        // The spool of an attempt whose last event is still to be sent stays.
        let leftovers = leftovers::find(&config, &hands.named());
        hands.hold(!leftovers.is_empty());
        let lost = lost.into_iter().map(|entry| entry.attempt).collect();
        let (root, offered) = InstallRoot::new(config.clone());
        let driver = Self {
            pulse: Pulse::new(config.manager.clone()),
            config,
            facts,
            workers: Workers::default(),
            journal,
            instance,
            hands,
            lost,
            out: None,
            link,
            inbox,
            tell: tell.clone(),
            tasks: JoinSet::new(),
            carried: HashMap::new(),
            leftovers,
            root,
            offered,
            found: Found::nothing(),
            clock: None,
        };
        Ok((driver, tell))
    }

    /// The same, with another kind of workers.
    pub fn with(self, workers: Workers) -> Self {
        Self { workers, ..self }
    }

    /// Works until `shutdown`, then ends every attempt and tells the coordinator.
    pub async fn run(mut self, shutdown: CancellationToken) {
        self.push_leftover_logs();
        self.clear_leftovers();
        self.begin_to_look();
        // The first thing that is said to the coordinator tells what was found.
        shutdown.run_until_cancelled(self.found.first()).await;
        self.pulse.ready();
        loop {
            self.pulse.status(self.in_a_sentence());
            tokio::select! {
                () = shutdown.cancelled() => return self.stop().await,
                () = self.pulse.due() => self.pulse.beat(),
                Some(message) = self.inbox.recv() => self.hear(message).await,
                () = self.found.changed() => self.send_survey(),
                Some(ended) = self.tasks.join_next_with_id() => self.task_ended(ended),
            }
        }
    }

    /// What the agent is at, as `systemctl status` shows it.
    fn in_a_sentence(&self) -> String {
        let link = if self.out.is_some() { "connected to" } else { "waiting for" };
        let work = match self.hands.iter().filter(|hand| hand.running).count() {
            0 => "nothing to build".to_owned(),
            running => format!("building {running}"),
        };
        format!("{link} the coordinator at {}; {work}", self.config.coordinator)
    }

    async fn hear(&mut self, message: Message) {
        match message {
            Message::Hello(answer) => {
                // The session may have given up.
                let _ = answer.send(self.hello());
            }
            Message::Welcome { welcome, out } => self.welcome(welcome, out).await,
            Message::Said(said) => self.said(said).await,
            Message::Closed => self.out = None,
            Message::Removed => self.removed().await,
            Message::Happened(attempt, what) => self.happened(attempt, what).await,
            Message::Stopped(attempt) => self.stopped(attempt).await,
            Message::Ended(attempt) => self.ended(attempt).await,
            Message::LogArrived(attempt) => self.log_arrived(attempt),
            Message::Cleared => {
                self.hands.hold(false);
                self.start_waiting().await;
            }
        }
    }

    /// A task that panicked has not said that it ended: its attempt is lost, and the slot is given back once the rest
    /// of it is cleared away. Its worker went with it.
    fn task_ended(&mut self, ended: Result<(Id, ()), JoinError>) {
        let error = match ended {
            Ok((id, ())) => {
                self.carried.remove(&id);
                return;
            }
            Err(error) => error,
        };
        tracing::error!(%error, "a task of the agent failed");
        let Some(attempt) = self.carried.remove(&error.id()) else { return };
        if let Some(hand) = self.hands.get_mut(attempt) {
            hand.end(Leaving::Lost(format!("a fault of imgctl: the agent's own work on it ended early ({error})")));
        }
        let (scratch, tell) = (self.config.scratch().join(attempt.to_string()), self.tell.clone());
        self.tasks.spawn(async move {
            if let Err(error) = clear(scratch).await {
                tracing::warn!(%attempt, "{}", chain(&*error));
            }
            // The driver outlives its tasks.
            let _ = tell.send(Message::Ended(attempt)).await;
        });
    }

    fn begin_to_look(&mut self) {
        let (looker, found) = Looker::new(self.root.clone());
        self.found = found;
        self.tasks.spawn(looker.run());
    }

    /// What the preflight found, of everything.
    fn survey(&self) -> Survey {
        let Survey { install, conditions: found } = self.found.now();
        let clock = self.clock.map(|by| {
            COORDINATOR_CLOCK.found(format!("this node's clock differs from the coordinator's by {} s", by / 1000))
        });
        let conditions = emulation::conditions(&self.facts).into_iter().chain(found).chain(clock).collect();
        Survey { install, conditions }
    }

    fn send_survey(&self) {
        let Some(out) = &self.out else { return };
        let message = v1::AgentMessage { message: Some(ToCoordinator::Survey(self.survey().into())) };
        // A session that can't keep up ends, and the next one begins with it.
        let _ = out.try_send(message);
    }

    fn hello(&self) -> v1::Hello {
        let v1::Survey { install, conditions } = self.survey().into();
        v1::Hello {
            protocol: proto::SESSION_PROTOCOL,
            facts: Some(v1::AgentFacts { install, conditions, ..self.facts.to_wire(&self.config) }),
            instance: self.instance.clone(),
            running: self.hands.named().into_iter().map(reference).collect(),
            lost: self.lost.iter().copied().map(reference).collect(),
        }
    }

    async fn welcome(&mut self, welcome: v1::Welcome, out: mpsc::Sender<v1::AgentMessage>) {
        for attempt in std::mem::take(&mut self.lost) {
            self.forget(attempt).await;
        }
        let resumed: BTreeMap<AttemptId, u64> =
            welcome.resume.into_iter().filter_map(|ack| Some((event::attempt(ack.attempt)?, ack.number))).collect();
        self.out = Some(out);
        self.clock = apart(now_ms(), welcome.time_ms);
        // Also for what was found since the Hello.
        self.send_survey();
        self.offered.send_if_modified(|last| {
            let offer = welcome.install.unwrap_or_default();
            std::mem::replace(last, offer.clone()) != offer
        });
        for attempt in self.hands.named() {
            match resumed.get(&attempt) {
                Some(number) => self.acknowledged(attempt, *number).await,
                None => self.leave(attempt, Leaving::Unknown).await,
            }
        }
        self.hands.iter().for_each(|hand| self.send_all(hand));
    }

    /// Its attempts are another agent's by now, so nothing of them is of use. Said again at every try to be let in.
    async fn removed(&mut self) {
        for attempt in self.hands.named() {
            if self.hands.get_mut(attempt).is_none_or(|hand| hand.leaving != Some(Leaving::Unknown)) {
                tracing::warn!(%attempt, "attempt dropped: this is no agent of the coordinator any more");
                self.leave(attempt, Leaving::Unknown).await;
            }
        }
    }

    async fn said(&mut self, said: FromCoordinator) {
        match said {
            FromCoordinator::Welcome(_) => tracing::warn!("the coordinator said welcome twice"),
            FromCoordinator::Assign(assign) => self.assign(assign).await,
            FromCoordinator::Ack(ack) => {
                if let Some(attempt) = event::attempt(ack.attempt) {
                    self.acknowledged(attempt, ack.number).await;
                }
            }
            FromCoordinator::Drop(drop) => {
                if let Some(attempt) = event::attempt(drop.attempt) {
                    tracing::info!(%attempt, reason = drop.reason, "attempt dropped");
                    self.leave(attempt, Leaving::Dropped).await;
                }
            }
        }
    }

    async fn assign(&mut self, assign: v1::Assign) {
        let Some(id) = event::attempt(assign.attempt) else { return };
        self.judge_clock(assign.time_ms);
        match self.hands.admit(id) {
            Admission::Known => {}
            Admission::Start => self.start(id, assign).await,
            Admission::Wait => {
                tracing::info!(attempt = %id, osimage = assign.osimage, "attempt waits for a slot");
                self.hands.wait(id, assign);
            }
            Admission::Refuse => {
                let reason = format!("all {} slots of the agent are taken", self.config.slots);
                self.refuse(id, assign.osimage, reason).await;
            }
        }
    }

    /// A clock that went astray, or was set right, while the session stood.
    fn judge_clock(&mut self, theirs_ms: i64) {
        let judged = apart(now_ms(), theirs_ms);
        // The way takes a moment, which is no reason to say it again.
        let differs = judged.unwrap_or_default().saturating_sub(self.clock.unwrap_or_default());
        if theirs_ms != 0 && differs.saturating_abs() > CLOCK_LIMIT_MS {
            self.clock = judged;
            self.send_survey();
        }
    }

    async fn start(&mut self, id: AttemptId, assign: v1::Assign) {
        let mut hand = Hand::at_rest(Entry::new(id, assign.osimage.clone()));
        // On disk before anything of it is done.
        if let Err(error) = self.write(&hand.entry).await {
            return self.refuse(id, assign.osimage, chain(&error)).await;
        }
        tracing::info!(attempt = %id, osimage = assign.osimage, "attempt assigned");
        hand.running = true;
        let attempt = Attempt {
            id,
            plan_digest: assign.plan_digest,
            staging: assign.staging,
            silence: Budgets::new(assign.silence.iter().map(|limit| (limit.stage.as_str(), limit.seconds))),
            config: self.config.clone(),
            facts: self.facts.clone(),
            workers: self.workers.clone(),
            link: self.link.clone(),
            root: self.root.clone(),
            tell: self.tell.clone(),
            cancel: hand.cancel.clone(),
            forget: hand.forget.clone(),
        };
        self.hands.insert(hand);
        let task = self.tasks.spawn(attempt.run());
        self.carried.insert(task.id(), id);
    }

    /// Reports an attempt lost that was never started.
    async fn refuse(&mut self, id: AttemptId, osimage: String, reason: String) {
        self.hands.insert(Hand::at_rest(Entry::new(id, osimage)));
        self.happened(id, What::Lost { reason }).await;
    }

    async fn happened(&mut self, attempt: AttemptId, what: What) {
        let Some(hand) = self.hands.get_mut(attempt) else { return };
        let is_final = what.is_final();
        if is_final {
            tracing::info!(%attempt, "{}", summary(&what));
        }
        let Some(event) = hand.entry.record(what).cloned() else { return };
        let entry = hand.entry.clone();
        let written = self.write(&entry).await;
        self.send(attempt, &event);
        let Err(error) = written else { return };
        tracing::error!(%attempt, "{}", chain(&error));
        // What is over goes from memory. After a crash it would count as lost, which the coordinator takes no heed of
        // once it has the event.
        if let Some(hand) = self.hands.get_mut(attempt).filter(|_| !is_final) {
            hand.end(Leaving::Lost(chain(&error)));
        }
    }

    /// Sends everything that is to be sent again on a new session.
    fn send_all(&self, hand: &Hand) {
        if !hand.log_behind && hand.leaving != Some(Leaving::Unknown) {
            hand.entry.unacknowledged.iter().for_each(|event| self.send(hand.entry.attempt, event));
        }
    }

    fn log_arrived(&mut self, attempt: AttemptId) {
        if let Some(hand) = self.hands.get_mut(attempt) {
            hand.log_behind = false;
        }
        self.hands.iter().filter(|hand| hand.entry.attempt == attempt).for_each(|hand| self.send_all(hand));
    }

    /// Sends an event, or leaves it for the next session.
    fn send(&self, attempt: AttemptId, event: &Event) {
        let Some(out) = &self.out else { return };
        if let Err(error) = out.try_send(event.to_wire(attempt)) {
            // The session ends itself when it can't keep up, and the next one begins with what is unacknowledged.
            tracing::debug!(%attempt, %error, "an event waits for the next session");
        }
    }

    /// The coordinator counts an attempt's slot as taken until it hears this.
    fn send_dropped(&self, attempt: AttemptId) {
        self.send(attempt, &Event { number: 1, time_ms: now_ms(), what: What::Dropped });
    }

    async fn acknowledged(&mut self, attempt: AttemptId, number: u64) {
        let Some(hand) = self.hands.get_mut(attempt) else { return };
        if hand.entry.acknowledge(number) {
            hand.forget.cancel();
            // A task that still clears up ends later. After a crash here, the coordinator knows that the attempt is over.
            if !hand.running {
                self.hands.remove(attempt);
                self.forget(attempt).await;
            }
            return;
        }
        let entry = hand.entry.clone();
        if let Err(error) = self.write(&entry).await {
            // After a crash the coordinator would hear again what it knows.
            tracing::warn!(%attempt, "{}", chain(&error));
        }
    }

    /// Ends an attempt; what follows comes with [`Message::Ended`].
    async fn leave(&mut self, attempt: AttemptId, why: Leaving) {
        self.hands.stop_waiting(attempt);
        match self.hands.get_mut(attempt) {
            Some(hand) => {
                hand.end(why.clone());
                if !hand.running {
                    self.left(attempt, why).await;
                }
            }
            None => self.send_dropped(attempt),
        }
    }

    /// What the agent itself gives up is told before it is cleared away: an agent that is stopped may not have the time
    /// to. What was dropped is told when it is gone.
    async fn stopped(&mut self, attempt: AttemptId) {
        let hand = self.hands.get_mut(attempt).filter(|hand| !hand.forget.is_cancelled());
        let leaving = hand.and_then(|hand| hand.leaving.clone());
        if let Some(Leaving::Lost(reason)) = leaving {
            self.happened(attempt, What::Lost { reason }).await;
        }
    }

    async fn ended(&mut self, attempt: AttemptId) {
        let Some(hand) = self.hands.get_mut(attempt) else { return };
        hand.running = false;
        match hand.leaving.clone() {
            // The coordinator has the last event.
            None | Some(Leaving::Lost(_)) if hand.forget.is_cancelled() => {
                self.hands.remove(attempt);
                self.forget(attempt).await;
            }
            None => {}
            Some(why) => self.left(attempt, why).await,
        }
        self.start_waiting().await;
    }

    async fn start_waiting(&mut self) {
        while let Some((id, assign)) = self.hands.next_to_start() {
            self.start(id, assign).await;
        }
    }

    async fn left(&mut self, attempt: AttemptId, why: Leaving) {
        let over = self.hands.get_mut(attempt).is_none_or(|hand| hand.entry.is_over());
        match why {
            Leaving::Lost(reason) => self.happened(attempt, What::Lost { reason }).await,
            Leaving::Dropped if !over => self.happened(attempt, What::Dropped).await,
            Leaving::Dropped | Leaving::Unknown => {
                self.hands.remove(attempt);
                self.send_dropped(attempt);
                self.forget(attempt).await;
            }
        }
    }

    /// Nothing of the attempt is wanted any more.
    async fn forget(&self, attempt: AttemptId) {
        if let Err(error) = clear(spool::folder(&self.config.spool(), attempt)).await {
            tracing::warn!(%attempt, "{}", chain(&*error));
        }
        if let Err(error) = self.journal.remove(attempt) {
            // The next run of the agent finds it and asks the coordinator about it once more.
            tracing::warn!(%attempt, "{}", chain(&error));
        }
    }

    async fn write(&self, entry: &Entry) -> Result<(), JournalError> {
        let (journal, entry) = (self.journal.clone(), entry.clone());
        let written = tokio::task::spawn_blocking(move || journal.write(&entry)).await;
        written.unwrap_or(Ok(()))
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
