//! A build to be stored.

use model::arch::Arch;
use model::build::{Build, BuildState, Needs, PackWish, Part};
use model::id::BuildId;
use model::wish::GenimageWish;

/// A queued build of which nothing is known but its number.
pub(crate) fn build(id: BuildId) -> Build {
    Build {
        id,
        osimage: "compute".parse().unwrap(),
        revision: 1,
        arch: Arch::X86_64,
        needs: Needs { package_system: "apt".into(), osvers: "debian12".into(), ..Needs::default() },
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
