//! The agents that the desk knows, and the way to each.

use std::collections::{BTreeMap, BTreeSet};

use model::agent::{AgentRecord, AgentState, Condition, Survey};
use model::id::AttemptId;
use model::name::AgentName;
use model::stage::Stage;
use tokio::sync::mpsc;
use tokio::time::{Duration, Instant};

use super::{Beat, clip};
use crate::clock::now_ms;
use crate::queue::Rest;

/// How long an agent gets nothing after it has lost an attempt; twice as long after each further one.
const REST: Duration = Duration::from_secs(5);
/// The longest that becomes.
const LONGEST_REST: Duration = Duration::from_secs(300);
/// How far the record of when an agent was last heard of may be behind, in milliseconds.
const NOTED_EVERY_MS: i64 = 60_000;
/// Characters of the reason for it that `explain` shows.
const LONGEST_WHY: usize = 200;

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
        /// How long each stage may be silent, in seconds.
        silence: Vec<(Stage, u32)>,
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
    /// When it was last heard of, or when the coordinator started, on the clock of [`Links::heard_time`].
    heard: Instant,
    /// The same as people read it, in milliseconds since 1970; 0: never.
    pub(super) seen_ms: i64,
    /// What it last said of its load.
    pub(super) load_hundredths: u32,
    /// Attempts that it was told to drop on this session and has not yet cleared away: they still take its slots.
    pub(super) dropping: BTreeSet<AttemptId>,
    /// It said that it is stopping.
    pub(super) leaving: bool,
    /// Attempts that it lost, one after the other, on this session.
    losses: u32,
    /// Until when it gets nothing for that, and what it lost the last one by.
    rests: Option<(Instant, String)>,
}

/// All agents.
#[derive(Debug, Default)]
pub(super) struct Links {
    by_name: BTreeMap<AgentName, Link>,
    last_session: SessionId,
    /// How long the desk was busy in all. Nobody could be heard then, so it doesn't count as silence.
    busy: Duration,
}

impl Links {
    /// Agents known from the store: nobody is judged silent before a full lease has passed since the start.
    pub(super) fn known(records: Vec<AgentRecord>, now: Instant) -> Self {
        let link = |record: AgentRecord| (record.name.clone(), Link::new(record, 0, None, now));
        Self { by_name: records.into_iter().map(link).collect(), last_session: 0, busy: Duration::ZERO }
    }

    pub(super) fn knows(&self, agent: &AgentName) -> bool {
        self.by_name.contains_key(agent)
    }

    /// What is recorded of an agent.
    pub(super) fn record(&self, agent: &AgentName) -> Option<&AgentRecord> {
        self.by_name.get(agent).map(|link| &link.record)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Link> {
        self.by_name.values()
    }

    /// The time starts anew for everybody.
    pub(super) fn all_heard(&mut self, now: Instant) {
        let heard = self.heard_time(now);
        for link in self.by_name.values_mut() {
            link.heard = heard;
        }
    }

    /// While the desk was busy nobody could be heard: that time doesn't count as silence.
    pub(super) fn excuse(&mut self, busy: Duration) {
        self.busy += busy;
    }

    /// A clock that stands still while the desk is busy.
    fn heard_time(&self, now: Instant) -> Instant {
        now.checked_sub(self.busy).unwrap_or(now)
    }

    fn silence(&self, link: &Link, now: Instant) -> Duration {
        self.heard_time(now).saturating_duration_since(link.heard)
    }

    /// Whether it can be reached.
    pub(super) fn state(&self, link: &Link, lease: Duration, now: Instant) -> AgentState {
        match (&link.outbox, self.silence(link, now) > lease) {
            // It has said that it is stopping.
            (Some(_), false) if link.leaving => AgentState::Silent,
            (Some(_), false) => AgentState::Connected,
            (None, false) if link.session > 0 => AgentState::Silent,
            _ => AgentState::Offline,
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
        let heard = self.heard_time(now);
        let link = Link { dropping, ..Link::new(record, session, Some(outbox), heard) };
        self.by_name.insert(link.record.name.clone(), link);
        session
    }

    /// Something came from an agent on this session; false: the session is not its newest.
    pub(super) fn heard(&mut self, agent: &AgentName, session: SessionId, now: Instant) -> bool {
        let heard = self.heard_time(now);
        match self.by_name.get_mut(agent) {
            Some(link) if link.session == session => {
                link.heard = heard;
                link.seen_ms = now_ms();
                true
            }
            _ => false,
        }
    }

    /// A sign of life, with what the agent says of its node between greetings.
    pub(super) fn beat(&mut self, agent: &AgentName, session: SessionId, beat: Beat, now: Instant) {
        if !self.heard(agent, session, now) {
            return;
        }
        let Some(link) = self.by_name.get_mut(agent) else { return };
        link.load_hundredths = beat.load_hundredths;
        if let Some(facts) = link.record.facts.as_mut() {
            facts.scratch_free_bytes = beat.scratch_free_bytes;
        }
    }

    /// What its preflight found; gives what it had found before. `None`: nothing new, or not said on its newest session.
    pub(super) fn survey(
        &mut self,
        agent: &AgentName,
        session: SessionId,
        survey: &Survey,
        now: Instant,
    ) -> Option<Vec<Condition>> {
        if !self.heard(agent, session, now) {
            return None;
        }
        let facts = self.by_name.get_mut(agent)?.record.facts.as_mut()?;
        if facts.install == survey.install && facts.conditions == survey.conditions {
            return None;
        }
        facts.install = survey.install;
        Some(std::mem::replace(&mut facts.conditions, survey.conditions.clone()))
    }

    /// It is drained, or no more. One that has never connected becomes known by it.
    pub(super) fn note_drained(&mut self, record: &AgentRecord, now: Instant) {
        let heard = self.heard_time(now);
        let known = self.by_name.entry(record.name.clone());
        known.or_insert_with(|| Link::new(record.clone(), 0, None, heard)).record.drained = record.drained.clone();
    }

    /// It is no agent any more; its session ends.
    pub(super) fn remove(&mut self, agent: &AgentName) {
        self.by_name.remove(agent);
    }

    /// An attempt that it was told to drop is gone.
    pub(super) fn dropped(&mut self, agent: &AgentName, attempt: AttemptId) {
        if let Some(link) = self.by_name.get_mut(agent) {
            link.dropping.remove(&attempt);
        }
    }

    /// It says that it lost an attempt: by a fault of its node (a full disk, say) that would take the next one as well.
    pub(super) fn lost(&mut self, agent: &AgentName, why: &str, now: Instant) {
        if let Some(link) = self.by_name.get_mut(agent) {
            let rest = REST.saturating_mul(1 << link.losses.min(10)).min(LONGEST_REST);
            link.losses += 1;
            link.rests = Some((now + rest, clip::clipped(why, LONGEST_WHY)));
        }
    }

    /// It has carried an attempt to its end, good or bad.
    pub(super) fn is_well(&mut self, agent: &AgentName) {
        if let Some(link) = self.by_name.get_mut(agent) {
            (link.losses, link.rests) = (0, None);
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

    /// Whose record is behind, at most so many: by a minute, or at all of those that have gone.
    pub(super) fn unnoted(&self, most: usize) -> Vec<(AgentName, i64)> {
        let behind = |link: &&Link| {
            let by = link.seen_ms - link.record.last_seen_ms;
            by >= NOTED_EVERY_MS || (by > 0 && link.outbox.is_none())
        };
        let links = self.by_name.values().filter(behind).take(most);
        links.map(|link| (link.record.name.clone(), link.seen_ms)).collect()
    }

    /// It is on disk when these were last heard of.
    pub(super) fn noted(&mut self, agents: &[AgentName], seen: &[(AgentName, i64)]) {
        for (agent, seen_ms) in seen.iter().filter(|(agent, _)| agents.contains(agent)) {
            if let Some(link) = self.by_name.get_mut(agent) {
                link.record.last_seen_ms = *seen_ms;
            }
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

    /// Whether an attempt can be given to it.
    pub(super) fn takes_work(&self, link: &Link, lease: Duration, now: Instant) -> bool {
        link.outbox.is_some() && !link.leaving && self.silence(link, now) <= lease
    }

    /// Agents that have been silent for longer than the lease.
    pub(super) fn silent(&self, lease: Duration, now: Instant) -> Vec<AgentName> {
        let over = |link: &&Link| self.silence(link, now) > lease;
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
    /// For how long it still gets nothing, and why.
    pub(super) fn resting(&self, now: Instant) -> Option<Rest<'_>> {
        let (until, why) = self.rests.as_ref()?;
        let left = until.checked_duration_since(now).filter(|left| !left.is_zero())?;
        Some(Rest { left, why })
    }

    fn new(record: AgentRecord, session: SessionId, outbox: Option<mpsc::Sender<ToAgent>>, heard: Instant) -> Self {
        let seen_ms = record.last_seen_ms;
        let dropping = BTreeSet::new();
        Self {
            record,
            session,
            outbox,
            heard,
            seen_ms,
            load_hundredths: 0,
            dropping,
            leaving: false,
            losses: 0,
            rests: None,
        }
    }
}
