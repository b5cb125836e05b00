//! What changed between two sights of a build, as plain lines. Pure: a watcher may miss states in between, and
//! the lines must tell of them all the same.

use model::build::{AttemptRecord, BuildState};
use model::stage::StageStatus;

use crate::format;
use crate::view::BuildView;

/// What a change is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// A stage, which the log tells of as well.
    Stage,
    /// The end, which a report follows.
    End,
    /// Anything else.
    Course,
}

/// One line about a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What it is about.
    pub topic: Topic,
    /// The line.
    pub text: String,
}

/// The lines to print when `after` is seen, `before` having been seen last.
pub fn changes(before: Option<&BuildView>, after: &BuildView) -> Vec<Change> {
    let mut lines = Vec::new();
    for (at, attempt) in after.build.attempts.iter().enumerate() {
        let known = before.and_then(|before| before.build.attempts.get(at));
        attempt_changes(known, attempt, &mut lines);
    }
    let same = before.is_some_and(|before| before.build.state == after.build.state);
    let same_wait = before.is_some_and(|before| before.waiting_for == after.waiting_for);
    match &after.build.state {
        BuildState::Queued => match &after.waiting_for {
            Some(why) if !same_wait || !same => lines.push(course(format!("waiting: {why}"))),
            None if !same => lines.push(course("queued")),
            _ => {}
        },
        // Said by the attempt and its stages.
        BuildState::Leased { .. } | BuildState::Running { .. } => {}
        _ if same => {}
        BuildState::Received { generation } => lines.push(course(format!("received as generation {generation}"))),
        BuildState::Packing { generation } => lines.push(course(format!("packimage: packing generation {generation}"))),
        BuildState::Succeeded => lines.push(course("succeeded")),
        BuildState::Failed { failure } => lines.push(course(format!("failed in {}: {}", failure.stage, failure.cause))),
        BuildState::Cancelled { by } => lines.push(course(format!("cancelled by {by}"))),
    }
    if after.build.state.is_final() {
        let rest = lines.iter_mut().filter(|line| line.topic == Topic::Course);
        rest.for_each(|line| line.topic = Topic::End);
    }
    lines
}

fn attempt_changes(known: Option<&AttemptRecord>, attempt: &AttemptRecord, lines: &mut Vec<Change>) {
    if known.is_none() {
        lines.push(course(format!("attempt {} on {}", attempt.attempt, attempt.agent)));
    }
    for (at, record) in attempt.stages.iter().enumerate() {
        let was = known.and_then(|known| known.stages.get(at)).map_or(StageStatus::Pending, |known| known.status);
        if was == record.status {
            continue;
        }
        let mut line = format!("stage {}: {}", record.stage, record.status.as_str());
        if matches!(record.status, StageStatus::Done | StageStatus::Failed) {
            line += &format!(" ({})", format::duration(record.ended_ms - record.started_ms));
        }
        lines.push(Change { topic: Topic::Stage, text: line });
    }
    if let (None, Some(outcome)) = (known.and_then(|known| known.outcome.as_ref()), &attempt.outcome) {
        lines.push(course(format!("attempt {}: {outcome}", attempt.attempt)));
    }
}

fn course(text: impl Into<String>) -> Change {
    Change { topic: Topic::Course, text: text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::follow::samples::{attempt, build, failure, generation, queued, with_stage};
    use model::stage::Stage;

    fn texts(before: Option<&BuildView>, after: &BuildView) -> Vec<String> {
        changes(before, after).into_iter().map(|change| change.text).collect()
    }

    #[test]
    fn every_stage_change_is_one_line_even_when_states_in_between_were_missed() {
        let waiting = BuildView { waiting_for: Some("no agent of ppc64le".into()), ..queued() };
        assert_eq!(texts(None, &queued()), ["queued"]);
        assert_eq!(texts(Some(&queued()), &waiting), ["waiting: no agent of ppc64le"]);
        assert!(texts(Some(&waiting), &waiting).is_empty());

        let packages = with_stage(attempt(), Stage::Packages);
        let running = build(BuildState::Queued, vec![packages.clone()]);
        assert_eq!(
            texts(Some(&waiting), &running)[..3],
            ["attempt 1 on n1", "stage prepare: done (1s)", "stage packages: running"]
        );
        let initrd =
            build(BuildState::Received { generation: generation() }, vec![with_stage(attempt(), Stage::Initrd)]);
        assert_eq!(
            texts(Some(&running), &initrd),
            [
                "stage packages: done (1s)",
                "stage otherpkgs: done (1s)",
                "stage configure: done (1s)",
                "stage postinstall: done (1s)",
                "stage initrd: running",
                "received as generation 7",
            ]
        );
    }

    #[test]
    fn the_end_is_said_once() {
        let failed = build(BuildState::Failed { failure: failure() }, vec![]);
        assert_eq!(texts(Some(&queued()), &failed), ["failed in packages: no package `x`"]);
        assert!(texts(Some(&failed), &failed).is_empty());
    }

    #[test]
    fn a_lost_attempt_and_the_next_one_are_told_apart() {
        let mut lost = with_stage(attempt(), Stage::Packages);
        let before = build(BuildState::Queued, vec![lost.clone()]);
        lost.outcome = Some("lost: n1 fell silent".into());
        let mut second = attempt();
        second.attempt = second.attempt.next();
        let after = build(BuildState::Queued, vec![lost, second]);
        assert_eq!(texts(Some(&before), &after), ["attempt 1: lost: n1 fell silent", "attempt 2 on n1"]);
    }
}
