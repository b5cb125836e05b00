//! Cuts that are shorter than the lease: the attempt goes on, whatever it was at.
//!
//! Silence is counted from the last beat, up to 1.5 s before the cut, a dead connection is noticed within 10 s, and a new one
//! is tried for every second. The coordinator waits for a quarter of a lease longer than the lease of 15 s.

use std::time::Duration;

use crate::cut::Cut;
use crate::moment::MOMENTS;
use crate::site::{Plan, Site};

const LIMIT: Duration = Duration::from_secs(90);

/// Cuts an agent off at each moment of an attempt, for a second and for as long as may be.
fn every_moment(cut: Cut) {
    for moment in &MOMENTS {
        for length in [1, 9, 12, 14] {
            println!("{cut:?} for {length} s {}", moment.name);
            let mut site = Site::start(Plan::default());
            site.until(moment.name, LIMIT, moment.is_now);
            let (agent, runs) = (site.agent_of(1), site.runs.all().len());
            site.cut(&agent, cut);
            site.run_for(Duration::from_secs(length));
            assert!(runs > 0 || site.runs.all().is_empty(), "the assignment came through the cut");
            site.mend(&agent, cut);
            site.succeeds(1, 1, LIMIT);
        }
    }
}

#[test]
fn without_a_cut_a_build_is_one_attempt() {
    Site::start(Plan::default()).succeeds(1, 1, LIMIT);
}

#[test]
fn an_attempt_goes_on_after_a_cut_that_loses_everything() {
    every_moment(Cut::Lost);
}

#[test]
fn an_attempt_goes_on_after_a_cut_that_holds_everything_up() {
    every_moment(Cut::Held);
}

#[test]
fn an_attempt_goes_on_after_its_agent_was_not_heard() {
    every_moment(Cut::Unheard);
}

#[test]
fn an_attempt_goes_on_after_its_agent_could_not_hear() {
    every_moment(Cut::Deaf);
}
