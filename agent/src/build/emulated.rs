//! Part of stage `prepare`: whether the image's programs run here, before anything is fetched.

use std::fs;
use std::path::{Path, PathBuf};

use model::arch::Arch;
use model::plan::BuildPlan;
use rustix::mount::MountFlags;

use super::failure::StageError;
use crate::emulation::binfmt::PLACE;
use crate::emulation::trial;
use crate::sys::mount::Mounts;
use crate::worker::order::Order;

/// The processor's architecture, if the image's programs are emulated on it; none if they are its own.
pub fn check(order: &Order, plan: &BuildPlan) -> Result<Option<String>, StageError> {
    if !is_emulated(order, plan) {
        return Ok(None);
    }
    let facts = &order.facts;
    let on = facts.emulated_on.as_ref().unwrap_or(&facts.arch);
    if !facts.emulations.iter().any(|one| one.arch == plan.arch) {
        return Err(not_allowed(plan.arch, on));
    }
    // It worked when the agent was started; since then somebody may have taken it away.
    trial::run(plan.arch, &order.scratch, || list(&order.scratch))
        .map_err(|fault| StageError::node(fault.to_string(), fault.remedy()))?;
    Ok(Some(on.clone()))
}

/// Whether the image's programs are of another architecture than the node's processor.
pub fn is_emulated(order: &Order, plan: &BuildPlan) -> bool {
    order.facts.emulated_on.is_some() || order.facts.arch.parse() != Ok(plan.arch)
}

fn not_allowed(arch: Arch, on: &str) -> StageError {
    StageError::node(
        format!("the image is of {arch}, the node's processor is {on}, and its agent is not allowed to emulate"),
        format!(
            "build it on a node of {arch}, or set `allow_emulation = [\"{arch}\"]` in agent.toml and restart the agent"
        ),
    )
}

/// The kernel's list of interpreters. The worker's own `/proc` has none mounted, so it is mounted in its scratch folder,
/// until the namespace ends.
fn list(scratch: &Path) -> PathBuf {
    let place = scratch.join("binfmt_misc");
    let mut mounts = Mounts::default();
    let mounted = fs::create_dir(&place).is_ok()
        && mounts.special("binfmt_misc", &place, MountFlags::NOSUID | MountFlags::NOEXEC, None).is_ok();
    mounts.keep();
    if mounted { place } else { PLACE.into() }
}
