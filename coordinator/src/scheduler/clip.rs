//! Keeps records small enough for the store: whatever agents and resolvers say is cut to a budget of bytes.

use model::agent::{AgentFacts, Condition};
use model::build::{Build, Failure, PublishedArchive};
use model::initrd::InitrdReport;

use crate::store::builds::fits;

/// A failure's parts, in bytes.
const STAGE: usize = 64;
const CAUSE: usize = 2048;
const HINT: usize = 512;
const LINE: usize = 300;
const LINES: usize = 3072;
/// How an attempt ended, in bytes.
pub(super) const OUTCOME: usize = 200;
/// What the resolver wants to be known: so many, of so many bytes each.
const WARNINGS: usize = 10;
const WARNING: usize = 200;
/// What is told of initrds: there are two, with the drivers that a plan lists.
const INITRDS: usize = 4;
const DRIVERS: usize = 60;
const NAME: usize = 40;
/// What an agent's preflight found: so many, and of each the detail and the remedy in bytes.
const CONDITIONS: usize = 12;
const DETAIL: usize = 250;
const REMEDY: usize = 300;

/// The text, cut to at most `bytes` at a character's end.
pub(super) fn clipped(text: &str, bytes: usize) -> String {
    if text.len() <= bytes {
        return text.to_owned();
    }
    let mut cut = bytes.saturating_sub('…'.len_utf8());
    while !text.is_char_boundary(cut) {
        cut -= 1;
    }
    format!("{}…", &text[..cut])
}

/// Conditions within their budget.
pub(super) fn conditions(conditions: Vec<Condition>) -> Vec<Condition> {
    let clip = |Condition { name, effect, detail, remedy }| Condition {
        name: clipped(&name, NAME),
        effect,
        detail: clipped(&detail, DETAIL),
        remedy: clipped(&remedy, REMEDY),
    };
    conditions.into_iter().take(CONDITIONS).map(clip).collect()
}

/// Facts whose free texts are within their budget.
pub(super) fn facts(facts: AgentFacts) -> AgentFacts {
    let mut facts = AgentFacts { conditions: conditions(facts.conditions), ..facts };
    facts.emulations.truncate(CONDITIONS);
    for fault in facts.emulations.iter_mut().filter_map(|emulation| emulation.fault.as_mut()) {
        fault.name = clipped(&fault.name, NAME);
        fault.cause = clipped(&fault.cause, DETAIL);
        fault.remedy = clipped(&fault.remedy, REMEDY);
    }
    facts.emulated_on = facts.emulated_on.map(|on| clipped(&on, NAME));
    facts
}

/// A failure within its budget; of the lines the last ones stay.
pub(super) fn failure(failure: Failure) -> Failure {
    let Failure { stage, cause, hint, last_lines } = failure;
    let mut left = LINES;
    let mut kept: Vec<String> = Vec::new();
    for line in last_lines.iter().rev().map(|line| clipped(line, LINE)) {
        let Some(rest) = left.checked_sub(line.len()) else { break };
        left = rest;
        kept.push(line);
    }
    kept.reverse();
    Failure {
        stage: clipped(&stage, STAGE),
        cause: clipped(&cause, CAUSE),
        hint: hint.map(|hint| clipped(&hint, HINT)),
        last_lines: kept,
    }
}

/// Warnings within their budget, the last of them a count of those left out.
pub(super) fn warnings(warnings: &[String]) -> Vec<String> {
    let mut kept: Vec<String> = warnings.iter().take(WARNINGS).map(|warning| clipped(warning, WARNING)).collect();
    if warnings.len() > WARNINGS {
        kept.push(format!("… and {} more; the log has them all", warnings.len() - WARNINGS));
    }
    kept
}

/// What an agent says it has published.
pub(super) fn published(archive: PublishedArchive) -> PublishedArchive {
    let names = |names: Vec<String>| names.iter().take(DRIVERS).map(|name| clipped(name, NAME)).collect();
    let initrds = archive.initrds.into_iter().take(INITRDS).map(|one| InitrdReport {
        name: clipped(&one.name, NAME),
        drivers: names(one.drivers),
        missing: names(one.missing),
        ..one
    });
    PublishedArchive {
        digest: clipped(&archive.digest, 100),
        kernel_version: clipped(&archive.kernel_version, 100),
        initrds: initrds.collect(),
        warnings: warnings(&archive.warnings),
        ..archive
    }
}

/// The build as the store takes it. The budgets above leave room; what escaping still makes too long loses its
/// least important parts.
pub(super) fn fitted(mut build: Build) -> Build {
    if fits(&build) {
        return build;
    }
    build.warnings.clear();
    build.initrds.clear();
    for archive in build.attempts.iter_mut().filter_map(|attempt| attempt.published.as_mut()) {
        (archive.initrds, archive.warnings) = (Vec::new(), Vec::new());
    }
    build.needs.install.truncate(1);
    for attempt in &mut build.attempts {
        attempt.outcome = attempt.outcome.as_deref().map(|outcome| clipped(outcome, OUTCOME / 4));
    }
    if let model::build::BuildState::Failed { failure } = &mut build.state {
        failure.cause = clipped(&failure.cause, CAUSE / 2);
        failure.last_lines.clear();
    }
    build
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_in_bytes_and_never_inside_a_character() {
        for (text, bytes, expected) in
            [("abc", 3, "abc"), ("abcd", 3, "…"), ("abcdef", 5, "ab…"), ("━━━", 8, "━…"), ("━━━", 9, "━━━")]
        {
            let cut = clipped(text, bytes);
            assert_eq!(cut, expected);
            assert!(cut.len() <= bytes);
        }
    }

    #[test]
    fn a_failure_full_of_wide_characters_stays_in_its_budget() {
        let wide = "━".repeat(1000);
        let failure = failure(Failure {
            stage: wide.clone(),
            cause: wide.repeat(5),
            hint: Some(wide.clone()),
            last_lines: (0..20).map(|number| format!("{number} {wide}")).collect(),
        });
        let size = failure.stage.len()
            + failure.cause.len()
            + failure.hint.as_ref().map_or(0, String::len)
            + failure.last_lines.iter().map(String::len).sum::<usize>();
        assert!(size <= STAGE + CAUSE + HINT + LINES, "{size}");
        assert!(failure.last_lines.last().is_some_and(|line| line.starts_with("19 ")), "the last lines stay");
    }
}
