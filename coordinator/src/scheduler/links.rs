//! The agents that the desk knows, and the way to each.

use std::collections::{BTreeMap, BTreeSet};

use model::agent::{AgentFacts, AgentRecord, AgentState};
use model::id::AttemptId;
use model::name::AgentName;
use tokio::sync::mpsc;
use tokio::time::{Duration, Instant};

/// Tells sessions of one agent apart: what an older one still says is not taken for the newer one's.
pub type SessionId = u64;

/// What the coordinator says to an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToAgent {
    /// Take this attempt on.
    Assign {
        /// Which.
        attempt: AttemptId,
        /// sha256 of the plan.
        plan: String,
        /// The folder to publish into, relative to the install root.
        staging: String,
        /// Of what, for messages.
        osimage: String,
    },
    /// The event is on disk.
    Ack(AttemptId, u64),
    /// End this attempt and clear it away.
    Drop(AttemptId, String),
}

/// One agent.
#[derive(Debug)]
pub(super) struct Link {
    /// What is recorded of it.
    pub(super) record: AgentRecord,
    /// Its newest session.
    pub(super) session: SessionId,
    /// The way to it while that session stands.
    pub(super) outbox: Option<mpsc::Sender<ToAgent>>,
    /// When it was last heard of, or when the coordinator started.
    pub(super) heard: Instant,
    /// Attempts that it was told to drop on this session and has not yet cleared away: they still take its slots.
    pub(super) dropping: BTreeSet<AttemptId>,
    /// It said that it is stopping.
    pub(super) leaving: bool,
}

/// All agents.
#[derive(Debug, Default)]
pub(super) struct Links {
    by_name: BTreeMap<AgentName, Link>,
    last_session: SessionId,
}

impl Links {
    /// Agents known from the store: nobody is judged silent before a full lease has passed since the start.
    pub(super) fn known(records: Vec<AgentRecord>, now: Instant) -> Self {
        let link = |record: AgentRecord| (record.name.clone(), Link::new(record, 0, None, now));
        Self { by_name: records.into_iter().map(link).collect(), last_session: 0 }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Link> {
        self.by_name.values()
    }

    /// The time starts anew for everybody.
    pub(super) fn all_heard(&mut self, now: Instant) {
        for link in self.by_name.values_mut() {
            link.heard = now;
        }
    }

    /// While the desk was busy nobody could be heard: that time doesn't count as silence.
    pub(super) fn excuse(&mut self, busy: Duration) {
        let now = Instant::now();
        for link in self.by_name.values_mut() {
            link.heard = (link.heard + busy).min(now);
        }
    }

    /// A new session of an agent replaces the one before it. `dropping` are the attempts in its hand that it is not
    /// to go on with.
    pub(super) fn open(
        &mut self,
        record: AgentRecord,
        outbox: mpsc::Sender<ToAgent>,
        dropping: BTreeSet<AttemptId>,
        now: Instant,
    ) -> SessionId {
        self.last_session += 1;
        let session = self.last_session;
        let link = Link { dropping, ..Link::new(record, session, Some(outbox), now) };
        self.by_name.insert(link.record.name.clone(), link);
        session
    }

    /// Something came from an agent on this session; false: the session is not its newest.
    pub(super) fn heard(&mut self, agent: &AgentName, session: SessionId, now: Instant) -> bool {
        match self.by_name.get_mut(agent) {
            Some(link) if link.session == session => {
                link.heard = now;
                true
            }
            _ => false,
        }
    }

    /// What an agent says of its scratch space between greetings.
    pub(super) fn note_scratch(&mut self, agent: &AgentName, free: u64) {
        let facts = self.by_name.get_mut(agent).and_then(|link| link.record.facts.as_mut());
        if let Some(facts) = facts {
            facts.scratch_free_bytes = free;
        }
    }

    /// An attempt that it was told to drop is gone.
    pub(super) fn dropped(&mut self, agent: &AgentName, attempt: AttemptId) {
        if let Some(link) = self.by_name.get_mut(agent) {
            link.dropping.remove(&attempt);
        }
    }

    /// It is stopping, and takes no more work on this session.
    pub(super) fn leaving(&mut self, agent: &AgentName, session: SessionId) {
        if let Some(link) = self.by_name.get_mut(agent).filter(|link| link.session == session) {
            link.leaving = true;
        }
    }

    /// Its session is over.
    pub(super) fn closed(&mut self, agent: &AgentName, session: SessionId) {
        if let Some(link) = self.by_name.get_mut(agent).filter(|link| link.session == session) {
            link.outbox = None;
        }
    }

    /// Says something to an agent. An agent that doesn't take what it is sent has its session ended: it comes back
    /// with a new one and hears it all again.
    pub(super) fn tell(&mut self, agent: &AgentName, message: ToAgent) {
        let Some(link) = self.by_name.get_mut(agent) else { return };
        if let ToAgent::Drop(attempt, _) = &message
            && link.outbox.is_some()
        {
            link.dropping.insert(*attempt);
        }
        let sent = link.outbox.as_ref().map(|outbox| outbox.try_send(message));
        if let Some(Err(error)) = sent {
            tracing::warn!(%agent, %error, "the session is stuck and is ended");
            link.outbox = None;
        }
    }

    /// Agents that have been silent for longer than the lease.
    pub(super) fn silent(&self, lease: Duration, now: Instant) -> Vec<AgentName> {
        let over = |link: &&Link| now.duration_since(link.heard) > lease;
        self.by_name.values().filter(over).map(|link| link.record.name.clone()).collect()
    }

    /// Gives up on the session of a silent agent.
    pub(super) fn cut(&mut self, agent: &AgentName) {
        if let Some(link) = self.by_name.get_mut(agent) {
            link.outbox = None;
        }
    }
}

impl Link {
    fn new(record: AgentRecord, session: SessionId, outbox: Option<mpsc::Sender<ToAgent>>, heard: Instant) -> Self {
        Self { record, session, outbox, heard, dropping: BTreeSet::new(), leaving: false }
    }

    /// Whether it can be reached.
    pub(super) fn state(&self, lease: Duration, now: Instant) -> AgentState {
        match (&self.outbox, now.duration_since(self.heard) > lease) {
            (Some(_), false) => AgentState::Connected,
            (None, false) if self.session > 0 => AgentState::Silent,
            _ => AgentState::Offline,
        }
    }

    /// What it says of its node.
    pub(super) fn facts(&self) -> Option<&AgentFacts> {
        self.record.facts.as_ref()
    }
}
