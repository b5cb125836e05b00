//! Networks that come and go, and slow ones.
//!
//! Here a cut that loses anything ends the connection, as turmoil sends nothing again; a real one often survives. It is
//! found dead after 10 s, so the times are such that the network is there at that moment.

use std::time::Duration;

use crate::cut::Cut;
use crate::site::{MN, Plan, Site};
use crate::worker::Script;

const LIMIT: Duration = Duration::from_secs(300);

/// Three minutes of work.
fn long() -> Plan {
    Plan { script: Script { lines: 50, pace: Duration::from_millis(500) }, ..Plan::default() }
}

fn flapping(cut: Cut, off: u64, on: u64) {
    let mut site = Site::start(long());
    site.until("work", LIMIT, |site| !site.runs.all().is_empty());
    let agent = site.agent_of(1);
    while site.build(1).attempts[0].published.is_none() && site.now() < LIMIT {
        site.cut(&agent, cut);
        site.run_for(Duration::from_secs(off));
        site.mend(&agent, cut);
        site.run_for(Duration::from_secs(on));
    }
    site.succeeds(1, 1, LIMIT);
}

#[test]
fn an_attempt_goes_on_while_its_network_comes_and_goes() {
    for (cut, off, on) in [(Cut::Lost, 2, 4), (Cut::Lost, 5, 10), (Cut::Unheard, 5, 10), (Cut::Deaf, 5, 10)] {
        println!("{cut:?} {off} s off, {on} s on");
        flapping(cut, off, on);
    }
}

#[test]
fn an_attempt_goes_on_while_its_network_stands_still_again_and_again() {
    for (off, on) in [(1, 1), (4, 2), (8, 3)] {
        println!("{off} s off, {on} s on");
        flapping(Cut::Held, off, on);
    }
}

#[test]
fn a_link_of_one_second_and_a_half_there_and_back_is_good_enough_from_the_start() {
    let mut site = Site::start(Plan::default());
    for agent in site.agents {
        site.sim().set_link_latency(*agent, MN, Duration::from_millis(750));
    }
    site.succeeds(1, 1, LIMIT);
}

#[test]
fn a_link_that_becomes_slow_keeps_its_session() {
    let mut site = Site::start(long());
    site.until("work", LIMIT, |site| !site.runs.all().is_empty());
    let agent = site.agent_of(1);
    for latency in [500, 2000, 100, 2000] {
        site.sim().set_link_latency(agent.as_str(), MN, Duration::from_millis(latency));
        site.run_for(Duration::from_secs(30));
    }
    site.succeeds(1, 1, LIMIT);
}
