//! A build in full, for people: how it stands, its attempts and stages, what it left, what to do next.

use model::build::{Artefact, Build, BuildState, Part};
use model::initrd::InitrdReport;
use model::stage::{StageRecord, StageStatus};

use crate::format;
use crate::output::Style;
use crate::view::BuildView;

/// Text in several styles.
pub type Text = Vec<(Style, String)>;

/// What a report holds beside the head and the artefacts.
#[derive(Debug, Clone, Copy)]
pub struct Detail {
    /// Attempts and stages.
    pub stages: bool,
    /// Why it failed; where that is said elsewhere it is left out.
    pub failure: bool,
}

/// The report of one build.
pub fn report(view: &BuildView, now_ms: i64, detail: Detail) -> Text {
    let build = &view.build;
    let mut text = head(view, now_ms);
    if detail.stages {
        stages(build, now_ms, &mut text);
    }
    if !build.artefacts.is_empty() {
        text.push((Style::Plain, "\n".to_owned()));
        text.push((Style::Plain, artefacts(&build.artefacts)));
    }
    if detail.stages {
        text.extend(build.initrds.iter().map(initrd));
    }
    if let Some(failure) = view.failure().filter(|_| detail.failure) {
        text.push((Style::Bad, format!("\n✗ failed in {}", failure.stage)));
        text.push((Style::Plain, format!(": {}\n", failure.cause)));
        if let Some(hint) = &failure.hint {
            text.push((Style::Plain, format!("hint: {hint}\n")));
        }
        text.extend(last_lines(&failure.last_lines));
    }
    if detail.stages && !build.warnings.is_empty() {
        text.push((Style::Warn, "\nwarnings:\n".to_owned()));
        text.extend(build.warnings.iter().map(|warning| (Style::Plain, format!("  {warning}\n"))));
    }
    if let Some(next) = next(build) {
        text.push((Style::Bold, "\nnext:".to_owned()));
        text.push((Style::Plain, format!(" {next}\n")));
    }
    text
}

/// The end of the log of a build that failed.
pub fn last_lines(lines: &[String]) -> Text {
    let mut text = Text::new();
    if !lines.is_empty() {
        text.push((Style::Plain, "the log ended with:\n".to_owned()));
        text.extend(lines.iter().map(|line| (Style::Dim, format!("  | {}\n", line.replace('\n', "\\n")))));
    }
    text
}

fn head(view: &BuildView, now_ms: i64) -> Text {
    let build = &view.build;
    let took = format::span(build.submitted_ms, build.ended_ms, now_ms);
    let (style, words) = match &build.state {
        BuildState::Succeeded => (Style::Good, format!("✓ succeeded in {took}")),
        BuildState::Failed { .. } => (Style::Bad, format!("✗ failed after {took}")),
        BuildState::Cancelled { by } => (Style::Warn, format!("✗ cancelled by {by} after {took}")),
        BuildState::Queued => (Style::Plain, format!("queued for {took}")),
        BuildState::Leased { agent, .. } => (Style::Plain, format!("given to {agent}")),
        BuildState::Running { agent, stage, .. } => (Style::Plain, format!("running {stage} on {agent}")),
        BuildState::Received { .. } => (Style::Plain, "received, waits for packimage".to_owned()),
        BuildState::Packing { .. } => (Style::Plain, "packing".to_owned()),
    };
    let generation = build.generation.map(|number| format!(", generation {number}")).unwrap_or_default();
    let mut text = vec![
        (Style::Bold, format!("build {} of {} ({})", build.id, build.osimage, build.arch)),
        (Style::Plain, ": ".to_owned()),
        (style, words),
        (Style::Plain, format!("{generation}\n")),
    ];
    for (name, value) in [("waiting", &view.waiting_for), ("doing", &view.activity)] {
        if let Some(value) = value.as_ref().filter(|_| !build.state.is_final()) {
            text.push((Style::Plain, format!("  {name}: {value}\n")));
        }
    }
    text
}

fn stages(build: &Build, now_ms: i64, text: &mut Text) {
    for (at, attempt) in build.attempts.iter().enumerate() {
        let last = at + 1 == build.attempts.len();
        let emulated = attempt.emulated_on.as_ref().map(|on| format!(", under emulation on {on}")).unwrap_or_default();
        if build.attempts.len() > 1 || attempt.outcome.is_some() {
            let outcome = attempt.outcome.as_ref().map(|outcome| format!(": {outcome}")).unwrap_or_default();
            text.push((
                Style::Plain,
                format!("\nattempt {} on {}{emulated}{outcome}\n", attempt.attempt, attempt.agent),
            ));
        } else {
            text.push((Style::Plain, format!("\non {}{emulated}\n", attempt.agent)));
        }
        if last {
            text.extend(attempt.stages.iter().flat_map(|record| stage(record, now_ms)));
        }
    }
}

fn stage(record: &StageRecord, now_ms: i64) -> Text {
    let (style, mark) = match record.status {
        StageStatus::Pending => (Style::Dim, " "),
        StageStatus::Running => (Style::Plain, "▸"),
        StageStatus::Done => (Style::Good, "✓"),
        StageStatus::Skipped => (Style::Dim, "-"),
        StageStatus::Failed => (Style::Bad, "✗"),
    };
    let took = match record.status {
        StageStatus::Pending | StageStatus::Skipped => String::new(),
        _ => format!("  {:>7}", format::span(record.started_ms, record.ended_ms, now_ms)),
    };
    let name = if took.is_empty() { record.stage.to_string() } else { format!("{:<11}", record.stage) };
    vec![(style, format!("  {mark} {:<8}", record.status.as_str())), (Style::Plain, format!(" {name}{took}\n"))]
}

/// One line each: name, size, digest, path.
pub fn artefacts(artefacts: &[Artefact]) -> String {
    let folder = artefacts.first().and_then(|artefact| artefact.path.parent());
    let name = artefacts.iter().map(|artefact| artefact.name.len()).max().unwrap_or(0);
    let digest = artefacts.iter().filter_map(|artefact| artefact.digest.as_ref()).map(String::len).max().unwrap_or(0);
    let line = |artefact: &Artefact| {
        let size = format::size(artefact.bytes);
        let digest_text = artefact.digest.as_deref().unwrap_or(format::NOTHING);
        // A tree that another generation lent says where it is; the rest lies together.
        let elsewhere = artefact.path.parent().filter(|parent| Some(*parent) != folder);
        let elsewhere = elsewhere.map(|_| format!("  in {}", artefact.path.display())).unwrap_or_default();
        let line = format!("  {:<name$}  {size:>9}  {digest_text:<digest$}{elsewhere}", artefact.name);
        format!("{}\n", line.trim_end())
    };
    let heading = folder.map(|folder| format!("in {}:\n", folder.display())).unwrap_or_default();
    artefacts.iter().map(line).fold(heading, |text, line| text + &line)
}

/// What an initrd can drive.
fn initrd(initrd: &InitrdReport) -> (Style, String) {
    let InitrdReport { name, modules, drivers, missing } = initrd;
    let missing = if missing.is_empty() { String::new() } else { format!("\n  not in it: {}", missing.join(" ")) };
    (Style::Plain, format!("\n{name}: {modules} modules\n  drivers: {}{missing}\n", drivers.join(" ")))
}

fn next(build: &Build) -> Option<String> {
    let name = &build.osimage;
    match (&build.state, build.part) {
        (BuildState::Succeeded, Part::Genimage) => {
            let tree = build.artefacts.iter().find(|artefact| artefact.name == "rootimg");
            let tree = tree.map_or_else(|| build.rootimgdir.join("rootimg"), |artefact| artefact.path.clone());
            Some(format!("edit the tree `{}` if you like, then `imgctl packimage {name}`", tree.display()))
        }
        (BuildState::Succeeded, _) => {
            let dir = build.rootimgdir.display();
            let archive = build.artefacts.iter().find(|artefact| artefact.name.starts_with("rootimg."))?;
            Some(format!("nodes boot `{dir}/kernel` with its initrd and imgurl=http://SERVER{dir}/{}", archive.name))
        }
        (BuildState::Failed { .. }, _) => Some(format!(
            "`imgctl builds logs {0}` shows the whole log, `imgctl builds retry {0}` tries again",
            build.id
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::follow::samples::{attempt, build, failure, generation, with_stage};
    use model::stage::Stage;

    fn text(view: &BuildView, detail: Detail) -> String {
        report(view, 90_000, detail).into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn a_success_names_what_it_left_and_what_comes_next() {
        let mut view = build(BuildState::Succeeded, vec![with_stage(attempt(), Stage::Publish)]);
        view.build.ended_ms = 73_000;
        view.build.generation = Some(generation());
        view.build.artefacts = vec![
            Artefact {
                name: "kernel".into(),
                path: "/x/kernel".into(),
                bytes: 12_300_000,
                digest: Some("sha256:ab".into()),
            },
            Artefact { name: "rootimg.cpio.gz".into(), path: "/x/rootimg.cpio.gz".into(), bytes: 2, digest: None },
            Artefact { name: "rootimg".into(), path: "/y/rootimg".into(), bytes: 1, digest: None },
        ];
        let expected = "build 12 of compute (x86_64): ✓ succeeded in 1m 12s, generation 7\n\
            \nin /x:\n  kernel             12.3 MB  sha256:ab\n  rootimg.cpio.gz        2 B  -\n  \
            rootimg                1 B  -          in /y/rootimg\n\nnext: nodes boot `/install/netboot/compute/kernel` \
            with its initrd and imgurl=http://SERVER/install/netboot/compute/rootimg.cpio.gz\n";
        assert_eq!(text(&view, Detail { stages: false, failure: true }), expected);
    }

    #[test]
    fn a_failure_says_stage_cause_hint_and_last_lines() {
        let mut attempt = with_stage(attempt(), Stage::Packages);
        attempt.stages[1].status = StageStatus::Failed;
        attempt.stages[1].ended_ms = 3000;
        let mut view = build(BuildState::Failed { failure: failure() }, vec![attempt]);
        view.build.ended_ms = 3000;
        let text = text(&view, Detail { stages: true, failure: true });
        for part in [
            "✗ failed after 2s\n",
            "\non n1\n  ✓ done     prepare           1s\n  ✗ failed   packages          2s\n    pending  otherpkgs\n",
            "\n✗ failed in packages: no package `x`\nhint: it stands at /a:3\nthe log ended with:\n  | E: Unable to locate",
            "`imgctl builds retry 12` tries again",
        ] {
            assert!(text.contains(part), "{part:?} in {text}");
        }
    }
}
