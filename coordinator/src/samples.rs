//! What the unit tests of several modules start from: a build and an agent of the usual kind.

use std::path::PathBuf;

use model::agent::{AgentFacts, AgentRecord, InstallView};
use model::arch::Arch;
use model::build::{AttemptRecord, Build, BuildState, Needs, PackWish, Part};
use model::id::{Attempt, BuildId};
use model::name::AgentName;
use model::stage::StageRecord;
use model::wish::GenimageWish;

/// A queued build of `compute`, which any agent of [`facts`] can run.
pub(crate) fn build(id: u64) -> Build {
    Build {
        id: BuildId::new(id).unwrap(),
        osimage: "compute".parse().unwrap(),
        revision: 1,
        arch: Arch::X86_64,
        needs: Needs { package_system: "apt".into(), osvers: "debian12.5".into(), ..Needs::default() },
        rootimgdir: "/install/r".into(),
        part: Part::Both,
        pack: PackWish::default(),
        genimage: GenimageWish::default(),
        submitted_by: "root".parse().unwrap(),
        submitted_ms: 0,
        ended_ms: 0,
        priority: 0,
        plan: None,
        state: BuildState::Queued,
        attempts: Vec::new(),
        generation: None,
        artefacts: Vec::new(),
        warnings: Vec::new(),
        initrds: Vec::new(),
        cancel_by: None,
    }
}

/// A first attempt that has just been given out.
pub(crate) fn attempt(agent: AgentName) -> AttemptRecord {
    AttemptRecord {
        attempt: Attempt::FIRST,
        agent,
        started_ms: 1,
        ended_ms: 0,
        stages: StageRecord::pending(),
        outcome: None,
        last_event: 0,
        staging: PathBuf::new(),
        published: None,
        emulated_on: None,
    }
}

/// An agent that has joined and said nothing yet.
pub(crate) fn agent(name: &str) -> AgentRecord {
    AgentRecord {
        name: name.parse().unwrap(),
        joined_ms: 0,
        certificate_sha256: String::new(),
        certificate_expires_ms: 0,
        facts: None,
        last_seen_ms: 0,
        drained: None,
    }
}

/// A Debian node with room for one attempt.
pub(crate) fn facts() -> AgentFacts {
    AgentFacts {
        arch: Arch::X86_64,
        os: "debian12".into(),
        kernel: "6.1".into(),
        package_systems: vec!["apt".into()],
        tools: Vec::new(),
        scratch_free_bytes: 50 << 30,
        scratch_total_bytes: 100 << 30,
        memory_bytes: 8 << 30,
        cpus: 2,
        install: InstallView::Nfs,
        slots: 1,
        version: "1".into(),
        conditions: Vec::new(),
        emulations: Vec::new(),
        emulated_on: None,
    }
}
