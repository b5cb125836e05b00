//! The attempts in hand, and the few that wait for a slot: what may start and what must wait, without any I/O.
//!
//! The [`crate::driver`] alone has them. The coordinator may give a slot away that an old attempt still clears up in,
//! so an assignment that finds none free waits here. It is then in hand for the coordinator, but nothing of it is done.

use std::collections::{BTreeMap, VecDeque};

use model::id::AttemptId;
use proto::v1;
use tokio_util::sync::CancellationToken;

use crate::journal::Entry;

/// An attempt in hand.
#[derive(Debug)]
pub struct Hand {
    /// What the journal has of it.
    pub entry: Entry,
    /// Its task has not ended.
    pub running: bool,
    /// An earlier run of the agent left a log that the coordinator may not have: the last event goes after it.
    pub log_behind: bool,
    /// Ends its work.
    pub cancel: CancellationToken,
    /// Ends the pushing of its log.
    pub forget: CancellationToken,
    /// Set when it is being ended from here.
    pub leaving: Option<Leaving>,
}

/// Why an attempt is being ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leaving {
    /// The coordinator asked, and hears when it is done.
    Dropped,
    /// The coordinator knows nothing of it; it hears as well, because it counts the slot.
    Unknown,
    /// The agent can't go on with it, for this reason: it is stopping, or has no room for the journal.
    Lost(String),
}

impl Hand {
    /// An attempt without a task.
    pub fn at_rest(entry: Entry) -> Self {
        let (cancel, forget) = (CancellationToken::new(), CancellationToken::new());
        Self { entry, running: false, log_behind: false, cancel, forget, leaving: None }
    }

    /// Begins to end it. What the coordinator wants goes before what happens here.
    pub fn end(&mut self, why: Leaving) {
        self.cancel.cancel();
        if !matches!(why, Leaving::Lost(_)) {
            // Nobody wants the rest of its log.
            self.forget.cancel();
            self.leaving = Some(why);
        } else if self.leaving.is_none() {
            self.leaving = Some(why);
        }
    }
}

/// What becomes of an assignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It was said twice; an attempt is never run twice.
    Known,
    /// There is a slot.
    Start,
    /// There will be one.
    Wait,
    /// The coordinator has lost count.
    Refuse,
}

/// All of them.
#[derive(Debug)]
pub struct Hands {
    slots: usize,
    held: bool,
    all: BTreeMap<AttemptId, Hand>,
    waiting: VecDeque<(AttemptId, v1::Assign)>,
}

impl Hands {
    /// None of them running.
    pub fn new(slots: u16, all: Vec<Hand>) -> Self {
        let all = all.into_iter().map(|hand| (hand.entry.attempt, hand)).collect();
        Self { slots: slots.into(), held: false, all, waiting: VecDeque::new() }
    }

    /// While held, nothing may start: what an earlier run left still takes up space.
    pub fn hold(&mut self, held: bool) {
        self.held = held;
    }

    /// Judges an assignment.
    pub fn admit(&self, attempt: AttemptId) -> Admission {
        if self.all.contains_key(&attempt) || self.waiting.iter().any(|(waiting, _)| *waiting == attempt) {
            Admission::Known
        } else if self.has_free_slot() {
            Admission::Start
        } else if self.waiting.len() < self.slots {
            Admission::Wait
        } else {
            Admission::Refuse
        }
    }

    fn has_free_slot(&self) -> bool {
        !self.held && self.all.values().filter(|hand| hand.running).count() < self.slots
    }

    /// Lets an assignment wait.
    pub fn wait(&mut self, attempt: AttemptId, assign: v1::Assign) {
        self.waiting.push_back((attempt, assign));
    }

    /// The assignment that has waited longest, if there is a slot for it now.
    pub fn next_to_start(&mut self) -> Option<(AttemptId, v1::Assign)> {
        if self.has_free_slot() { self.waiting.pop_front() } else { None }
    }

    /// It need not wait any more.
    pub fn stop_waiting(&mut self, attempt: AttemptId) {
        self.waiting.retain(|(waiting, _)| *waiting != attempt);
    }

    /// Nothing waits any more; gives what did.
    pub fn take_waiting(&mut self) -> VecDeque<(AttemptId, v1::Assign)> {
        std::mem::take(&mut self.waiting)
    }

    /// Every attempt in hand or waiting: what the coordinator hears of.
    pub fn named(&self) -> Vec<AttemptId> {
        self.all.keys().copied().chain(self.waiting.iter().map(|(attempt, _)| *attempt)).collect()
    }

    /// Takes an attempt in hand.
    pub fn insert(&mut self, hand: Hand) {
        self.all.insert(hand.entry.attempt, hand);
    }

    /// Lets go of it.
    pub fn remove(&mut self, attempt: AttemptId) -> Option<Hand> {
        self.all.remove(&attempt)
    }

    /// One in hand.
    pub fn get_mut(&mut self, attempt: AttemptId) -> Option<&mut Hand> {
        self.all.get_mut(&attempt)
    }

    /// All in hand.
    pub fn iter(&self) -> impl Iterator<Item = &Hand> {
        self.all.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> AttemptId {
        crate::journal::parse_attempt(text).unwrap()
    }

    fn running(text: &str) -> Hand {
        Hand { running: true, ..Hand::at_rest(Entry::new(id(text), String::new())) }
    }

    #[test]
    fn as_many_wait_as_there_are_slots_and_start_in_order() {
        let mut hands = Hands::new(2, vec![running("1.1")]);
        assert_eq!(hands.admit(id("1.1")), Admission::Known);
        assert_eq!(hands.admit(id("2.1")), Admission::Start);
        hands.insert(running("2.1"));
        for waiting in ["9.1", "3.1"] {
            assert_eq!(hands.admit(id(waiting)), Admission::Wait);
            hands.wait(id(waiting), v1::Assign::default());
            assert_eq!(hands.admit(id(waiting)), Admission::Known);
        }
        assert_eq!(hands.admit(id("4.1")), Admission::Refuse);
        assert_eq!(hands.named(), [id("1.1"), id("2.1"), id("9.1"), id("3.1")]);
        assert_eq!(hands.next_to_start(), None);
        // At rest, with its last event still unheard, it takes no slot.
        hands.get_mut(id("1.1")).unwrap().running = false;
        assert_eq!(hands.next_to_start().unwrap().0, id("9.1"));
        hands.stop_waiting(id("3.1"));
        assert_eq!(hands.next_to_start(), None);
    }

    #[test]
    fn nothing_starts_while_left_overs_are_cleared() {
        let mut hands = Hands::new(1, Vec::new());
        hands.hold(true);
        assert_eq!(hands.admit(id("1.1")), Admission::Wait);
        hands.wait(id("1.1"), v1::Assign::default());
        assert_eq!(hands.admit(id("2.1")), Admission::Refuse);
        assert_eq!(hands.next_to_start(), None);
        hands.hold(false);
        assert_eq!(hands.next_to_start().unwrap().0, id("1.1"));
    }

    #[test]
    fn what_the_coordinator_wants_goes_before_what_happens_here() {
        let mut hand = running("1.1");
        hand.end(Leaving::Lost("no room".to_owned()));
        assert!(hand.cancel.is_cancelled() && !hand.forget.is_cancelled());
        hand.end(Leaving::Dropped);
        assert!(hand.forget.is_cancelled());
        hand.end(Leaving::Lost("the agent was stopped".to_owned()));
        assert_eq!(hand.leaving, Some(Leaving::Dropped));
    }
}
