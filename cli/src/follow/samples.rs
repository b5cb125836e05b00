//! Builds in the states that tests of this folder need.

use model::arch::Arch;
use model::build::{AttemptRecord, Build, BuildState, Failure, Needs, PackWish, Part};
use model::id::{Attempt, BuildId, Generation};
use model::stage::{Stage, StageRecord, StageStatus};
use model::wish::GenimageWish;

use crate::view::BuildView;

pub(crate) fn generation() -> Generation {
    Generation::new(7).unwrap()
}

pub(crate) fn attempt() -> AttemptRecord {
    AttemptRecord {
        attempt: Attempt::FIRST,
        agent: "n1".parse().unwrap(),
        started_ms: 1000,
        ended_ms: 0,
        stages: StageRecord::pending(),
        outcome: None,
        last_event: 0,
        staging: "".into(),
        published: None,
        emulated_on: None,
    }
}

/// An attempt whose stages up to this one are done, one second each, and that runs this one.
pub(crate) fn with_stage(mut attempt: AttemptRecord, running: Stage) -> AttemptRecord {
    for record in &mut attempt.stages {
        record.started_ms = 1000;
        match record.stage.cmp(&running) {
            std::cmp::Ordering::Less => (record.status, record.ended_ms) = (StageStatus::Done, 2000),
            std::cmp::Ordering::Equal => record.status = StageStatus::Running,
            std::cmp::Ordering::Greater => record.started_ms = 0,
        }
    }
    attempt
}

pub(crate) fn failure() -> Failure {
    Failure {
        stage: "packages".into(),
        cause: "no package `x`".into(),
        hint: Some("it stands at /a:3".into()),
        last_lines: vec!["E: Unable to locate package x".into()],
    }
}

pub(crate) fn build(state: BuildState, attempts: Vec<AttemptRecord>) -> BuildView {
    let build = Build {
        id: BuildId::new(12).unwrap(),
        osimage: "compute".parse().unwrap(),
        revision: 3,
        arch: Arch::X86_64,
        needs: Needs::default(),
        rootimgdir: "/install/netboot/compute".into(),
        part: Part::Both,
        pack: PackWish::default(),
        genimage: GenimageWish::default(),
        submitted_by: "ann".parse().unwrap(),
        submitted_ms: 1000,
        ended_ms: 0,
        priority: 0,
        plan: None,
        state,
        attempts,
        generation: None,
        artefacts: Vec::new(),
        warnings: Vec::new(),
        initrds: Vec::new(),
        cancel_by: None,
    };
    BuildView { build, waiting_for: None, activity: None }
}

pub(crate) fn queued() -> BuildView {
    build(BuildState::Queued, Vec::new())
}
