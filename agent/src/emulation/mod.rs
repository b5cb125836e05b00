//! Building for an architecture that this node's processor hasn't, through qemu-user.
//!
//! What the administrator allows by name (`allow_emulation`) is tried out at the agent's start, which the coordinator is
//! told of, and again in stage `prepare` of each build, before anything is fetched: a program of the architecture
//! ([`target`]) is run. Only if that fails does the kernel's list of interpreters ([`binfmt`]) matter: it tells why.

pub mod binfmt;
pub mod own;
pub mod target;
pub mod trial;

use std::path::Path;

use model::agent::{Condition, Effect};
use model::arch::Arch;
use model::emulation::{Emulation, EmulationFault};

use crate::inspect::Facts;
use binfmt::PLACE;
use trial::Fault;

/// Tries out what is allowed. Runs programs in `folder`, so it belongs on a blocking thread.
pub fn look(allowed: &[Arch], folder: &Path) -> Vec<Emulation> {
    let mut found: Vec<Emulation> = Vec::new();
    for arch in allowed {
        if found.iter().any(|known| known.arch == *arch) {
            continue;
        }
        let fault = trial::run(*arch, folder, || PLACE.into()).err();
        if let Some(fault) = &fault {
            tracing::warn!("images of {arch} can't be built under emulation: {fault}; {}", fault.remedy());
        }
        found.push(Emulation { arch: *arch, fault: fault.map(|fault| told(&fault)) });
    }
    found
}

fn told(fault: &Fault) -> EmulationFault {
    EmulationFault { name: fault.name().to_owned(), cause: fault.to_string(), remedy: fault.remedy() }
}

/// What is to be known of it, for the coordinator's list of conditions. It keeps the node from no other build.
pub fn conditions(facts: &Facts) -> Vec<Condition> {
    let faults = facts.emulations.iter().filter_map(|one| one.fault.clone());
    let faults = faults.map(|EmulationFault { name, cause, remedy }| (name, cause, remedy));
    let own = facts.emulated_on.as_ref().map(|on| {
        let Facts { arch, .. } = facts;
        let detail = format!("the agent is a program of {arch} that runs under emulation on {on}, and builds slowly");
        let remedy =
            format!("run the agent of {on} on this node, and give builds of {arch} to a node of that architecture");
        ("node-is-emulated".to_owned(), detail, remedy)
    });
    let condition = |(name, detail, remedy)| Condition { name, effect: Effect::Note, detail, remedy };
    own.into_iter().chain(faults).map(condition).collect()
}
