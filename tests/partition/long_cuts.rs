//! Cuts that are longer than the lease: the attempt is lost, the build goes to another agent, and whatever the old one
//! still says or sends is refused.

use std::time::Duration;

use crate::cut::Cut;
use crate::moment::{MOMENTS, Moment};
use crate::prepare;
use crate::site::{Plan, Site};

const LIMIT: Duration = Duration::from_secs(120);
/// The lease, and a quarter of it to come back in.
const LEASE: f64 = 18.75;
/// Silence is counted from the last beat before the cut.
const BEAT: f64 = 1.5;
/// An agent that hears nothing takes its connection for dead after so long, and is heard until then.
const UNTIL_DEAF: f64 = 10.5;
/// The desk looks twice a second.
const LOOK: f64 = 0.6;
/// From the cut to the lease of the next attempt.
const NEXT: f64 = 20.0;

/// Whatever the old attempt is at when it is cut off, and longer.
fn every_moment(cut: Cut) {
    for moment in &MOMENTS[..5] {
        for length in [20, 40] {
            println!("{cut:?} for {length} s {}", moment.name);
            taken_over(moment, cut, Duration::from_secs(length));
        }
    }
}

fn taken_over(moment: &Moment, cut: Cut, length: Duration) {
    let mut site = Site::start(Plan::default());
    site.until(moment.name, LIMIT, moment.is_now);
    let (old, begun) = (site.agent_of(1), site.now());
    site.cut(&old, cut);
    site.run_for(length);
    let lost = site.lost_at(1, 1);
    site.mend(&old, cut);
    let lost = lost.or_else(|| site.lost_at(1, 1)).unwrap_or_else(|| panic!("never lost\n{}", site.ledger));
    in_time(cut, (lost - begun).as_secs_f64());
    let log = site.log(1, 1);
    site.succeeds(1, 2, LIMIT);
    let next = site.ledger.since(1, "leased", 2).expect("it was leased again");
    assert!(cut == Cut::Deaf || (next - begun).as_secs_f64() < NEXT, "{}", site.ledger);
    assert_ne!(site.agent_of(1), old, "given to the one that was silent");
    assert_eq!(site.log(1, 1), log, "the log of a lost attempt went on");
    assert!(site.build(1).attempts[0].published.is_none(), "a lost attempt has published");
}

/// The attempt is lost when the lease is over, and not before.
fn in_time(cut: Cut, lost: f64) {
    let earliest = LEASE - BEAT - LOOK;
    let latest = LEASE + LOOK + if cut == Cut::Deaf { UNTIL_DEAF } else { 0.0 };
    assert!((earliest..latest).contains(&lost), "lost {lost:.2} s after the cut, not in {earliest}..{latest}");
}

impl Site {
    /// When an attempt was seen lost.
    fn lost_at(&self, build: u64, attempt: usize) -> Option<Duration> {
        self.ledger.since(build, "queued", attempt).or_else(|| self.ledger.since(build, "leased", attempt + 1))
    }

    fn log(&self, build: u64, attempt: u32) -> Vec<String> {
        crate::verdict::log_of(&prepare::coordinator(self.folder()), build, attempt)
    }
}

#[test]
fn an_attempt_is_lost_when_everything_is_lost_for_longer_than_the_lease() {
    every_moment(Cut::Lost);
}

#[test]
fn an_attempt_is_lost_when_everything_is_held_up_for_longer_than_the_lease() {
    every_moment(Cut::Held);
}

#[test]
fn an_attempt_is_lost_when_its_agent_is_not_heard_for_longer_than_the_lease() {
    every_moment(Cut::Unheard);
}

#[test]
fn an_attempt_is_lost_when_its_agent_can_not_hear_for_longer_than_the_lease() {
    for moment in &MOMENTS[1..4] {
        taken_over(moment, Cut::Deaf, Duration::from_secs(40));
    }
}

#[test]
fn an_attempt_that_has_published_needs_its_agent_no_more() {
    for cut in [Cut::Lost, Cut::Held, Cut::Unheard, Cut::Deaf] {
        let mut site = Site::start(Plan::default());
        site.until("published", LIMIT, MOMENTS[5].is_now);
        let agent = site.agent_of(1);
        site.cut(&agent, cut);
        site.run_for(Duration::from_secs(40));
        assert_eq!(site.build(1).state.word(), "succeeded", "{cut:?}");
        site.mend(&agent, cut);
        site.succeeds(1, 1, LIMIT);
    }
}
