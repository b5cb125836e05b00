//! The moments of an attempt at which something can go wrong.

use crate::site::Site;

/// A moment, and how it is told that it has come for build 1.
pub(crate) struct Moment {
    pub(crate) name: &'static str,
    pub(crate) is_now: fn(&Site) -> bool,
}

/// In their order. Whatever is under way between the two hosts at a moment is met by the cut.
pub(crate) const MOMENTS: [Moment; 6] = [
    Moment {
        name: "before the assignment arrives",
        is_now: |site| site.build(1).state.word() == "leased" && site.runs.all().is_empty(),
    },
    Moment { name: "when its work has just begun", is_now: |site| !site.runs.all().is_empty() },
    Moment { name: "between two events", is_now: |site| said(site) == 5 },
    Moment { name: "in the middle of its log", is_now: |site| said(site) == 14 },
    Moment { name: "while it publishes", is_now: |site| site.runs.all().iter().any(|run| run.finished) },
    Moment { name: "before its last event is acknowledged", is_now: published },
];

/// Lines that the newest worker has said.
fn said(site: &Site) -> usize {
    site.runs.all().last().map_or(0, |run| run.said)
}

/// The coordinator has the last event, and nobody knows that it does.
fn published(site: &Site) -> bool {
    site.build(1).attempts.last().is_some_and(|record| record.published.is_some())
}
