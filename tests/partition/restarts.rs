//! A coordinator or an agent that dies, with and without a cut.

use std::time::Duration;

use crate::cut::Cut;
use crate::moment::{MOMENTS, Moment};
use crate::site::{Plan, Site};

const LIMIT: Duration = Duration::from_secs(120);

fn at(moment: &Moment) -> Site {
    println!("{}", moment.name);
    let mut site = Site::start(Plan::default());
    site.until(moment.name, LIMIT, moment.is_now);
    site
}

#[test]
fn a_coordinator_that_is_killed_at_any_moment_goes_on_where_it_was() {
    for moment in &MOMENTS {
        for away in [1, 20] {
            let mut site = at(moment);
            site.crash_coordinator();
            site.run_for(Duration::from_secs(away));
            site.start_coordinator();
            site.succeeds(1, 1, LIMIT);
        }
    }
}

#[test]
fn a_coordinator_that_comes_back_during_a_cut_waits_for_a_whole_lease() {
    for moment in &MOMENTS[1..5] {
        let mut site = at(moment);
        let agent = site.agent_of(1);
        site.cut(&agent, Cut::Lost);
        site.run_for(Duration::from_secs(8));
        site.crash_coordinator();
        site.run_for(Duration::from_secs(2));
        site.start_coordinator();
        // The cut lasts for 18 s, and for 8 s of the new coordinator's time.
        site.run_for(Duration::from_secs(8));
        site.mend(&agent, Cut::Lost);
        site.succeeds(1, 1, LIMIT);
    }
}

#[test]
fn a_coordinator_that_comes_back_takes_an_attempt_from_an_agent_that_does_not() {
    let mut site = at(&MOMENTS[2]);
    let agent = site.agent_of(1);
    site.cut(&agent, Cut::Lost);
    site.crash_coordinator();
    site.start_coordinator();
    let back = site.now();
    let lost = site.until("lost", LIMIT, |site| site.build(1).attempts[0].outcome.is_some()) - back;
    assert!((18.75..19.75).contains(&lost.as_secs_f64()), "lost after {lost:?}");
    site.until("the next attempt", LIMIT, |site| site.build(1).attempts.len() == 2);
    site.mend(&agent, Cut::Lost);
    site.succeeds(1, 2, LIMIT);
    assert_ne!(site.agent_of(1), agent);
}

#[test]
fn an_agent_that_is_killed_loses_its_attempt_as_soon_as_it_is_back() {
    for moment in &MOMENTS[1..4] {
        let mut site = at(moment);
        let agent = site.agent_of(1);
        site.sim().crash(agent.as_str());
        site.run_for(Duration::from_secs(2));
        assert!(site.build(1).attempts[0].outcome.is_none(), "its lease still runs");
        site.sim().bounce(agent.as_str());
        let back = site.now();
        let lost = site.until("lost", LIMIT, |site| site.build(1).attempts[0].outcome.is_some()) - back;
        assert!(lost < Duration::from_secs(5), "it says so itself: {lost:?}");
        site.succeeds(1, 2, LIMIT);
    }
}

#[test]
fn an_agent_that_is_killed_before_its_first_event_is_heard_does_not_begin_again() {
    let mut site = at(&MOMENTS[1]);
    let agent = site.agent_of(1);
    site.cut(&agent, Cut::Lost);
    site.run_for(Duration::from_secs(1));
    site.sim().crash(agent.as_str());
    site.sim().bounce(agent.as_str());
    site.run_for(Duration::from_secs(1));
    site.mend(&agent, Cut::Lost);
    assert_eq!(site.build(1).attempts[0].last_event, 0, "the coordinator can't know that it had begun");
    site.succeeds(1, 2, LIMIT);
}

#[test]
fn an_agent_that_is_killed_after_its_last_event_says_it_again() {
    // Once with a coordinator that has not heard it, once with one that has.
    for cut_at in [&MOMENTS[4], &MOMENTS[5]] {
        let mut site = at(cut_at);
        let agent = site.agent_of(1);
        site.until("its last event is in the journal", LIMIT, |site| site.has_last_event(&agent));
        site.cut(&agent, Cut::Lost);
        site.sim().crash(agent.as_str());
        site.run_for(Duration::from_secs(3));
        site.sim().bounce(agent.as_str());
        site.run_for(Duration::from_secs(3));
        site.mend(&agent, Cut::Lost);
        site.succeeds(1, 1, LIMIT);
    }
}

impl Site {
    /// Whether the agent's journal has an event that nothing comes after.
    fn has_last_event(&self, agent: &str) -> bool {
        let journal = agent::journal::Journal::open(&crate::prepare::agent(self.folder(), agent).journal());
        journal.expect("a journal").load().expect("it can be read").iter().any(agent::journal::Entry::is_over)
    }
}
