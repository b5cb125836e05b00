//! Which waiting build goes to which agent, and why one waits. Pure: no clock, no locks, no store.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use model::agent::{AgentFacts, InstallView};
use model::build::{Build, Part};
use model::id::BuildId;
use model::name::AgentName;

/// No root image fits in less scratch space than this, in bytes.
const LEAST_SCRATCH: u64 = 256 << 20;

/// An agent as a place to build.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Its name.
    pub name: AgentName,
    /// What it said of its node.
    pub facts: Option<AgentFacts>,
    /// Whether it has a session now.
    pub connected: bool,
    /// Attempts that it has in hand.
    pub in_hand: usize,
}

/// What an agent lacks to take this build on; empty: nothing.
pub fn lacks(build: &Build, agent: &Candidate) -> Vec<String> {
    let mut lacks = Vec::new();
    if let Some(wanted) = build.needs.agent.as_ref().filter(|wanted| **wanted != agent.name) {
        lacks.push(format!("the build asks for agent {wanted}"));
    }
    let Some(facts) = &agent.facts else {
        lacks.push("it has never connected".to_owned());
        return lacks;
    };
    if facts.arch != build.arch {
        lacks.push(format!("it is {}, the image is {}", facts.arch, build.arch));
    }
    let system = &build.needs.package_system;
    if !facts.package_systems.contains(system) {
        let has =
            if facts.package_systems.is_empty() { "nothing".to_owned() } else { facts.package_systems.join(", ") };
        lacks.push(format!("it has no tools for {system} (it has {has}); {}", tools_for(system)));
    }
    if let Some(why) = build.needs.install.first().filter(|_| facts.install == InstallView::None) {
        lacks.push(format!("it doesn't see the install root, and {why}"));
    }
    if facts.scratch_free_bytes < LEAST_SCRATCH {
        lacks.push(format!("its scratch disk has only {} MiB free", facts.scratch_free_bytes >> 20));
    }
    if !agent.connected {
        lacks.push("it is not connected".to_owned());
    } else if agent.in_hand >= facts.slots as usize {
        lacks.push(format!("it is busy ({} of {} in hand)", agent.in_hand, facts.slots));
    }
    lacks
}

fn tools_for(system: &str) -> &'static str {
    match system {
        "apt" => "install mmdebstrap on the node",
        "dnf" => "install dnf on the node",
        _ => "install zypper on the node",
    }
}

/// Whether the agent could not run it even if it were idle and connected.
pub fn never_fits(build: &Build, agent: &Candidate) -> bool {
    let mut idle = Candidate { connected: true, in_hand: 0, ..agent.clone() };
    if let Some(facts) = &mut idle.facts {
        // A full disk is emptied some day.
        facts.scratch_free_bytes = u64::MAX;
    }
    !lacks(build, &idle).is_empty()
}

/// What can start now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// genimage on an agent.
    On(BuildId, AgentName),
    /// packimage, here.
    Pack(BuildId),
}

/// Goes through the waiting builds, higher priority first and then in order of submission, and gives each one that
/// can start its agent. `busy` are the rootimgdirs that a build is working on. A build that can't start holds nobody
/// back: neither another architecture nor a later one of its own rootimgdir, which may ask for another agent.
pub fn assign(waiting: &[&Build], agents: &mut [Candidate], busy: &BTreeSet<PathBuf>) -> Vec<Start> {
    let mut order = waiting.to_vec();
    order.sort_by_key(|build| (Reverse(build.priority), build.id));
    let mut taken: BTreeSet<&Path> = busy.iter().map(PathBuf::as_path).collect();
    let mut starts = Vec::new();
    for build in order {
        if taken.contains(build.rootimgdir.as_path()) {
            continue;
        }
        if build.part == Part::Packimage {
            starts.push(Start::Pack(build.id));
        } else if let Some(agent) = best(build, agents) {
            agent.in_hand += 1;
            starts.push(Start::On(build.id, agent.name.clone()));
        } else {
            continue;
        }
        taken.insert(&build.rootimgdir);
    }
    starts
}

fn best<'a>(build: &Build, agents: &'a mut [Candidate]) -> Option<&'a mut Candidate> {
    let fits = agents.iter_mut().filter(|agent| lacks(build, agent).is_empty());
    fits.min_by_key(|agent| {
        let os = agent.facts.as_ref().map_or("", |facts| facts.os.as_str());
        (distance(&build.needs.osvers, os), agent.in_hand, agent.name.clone())
    })
}

/// How far an agent's OS is from the image's: the same release, the same distribution, or another.
fn distance(wanted: &str, has: &str) -> u32 {
    let distro = |text: &str| text.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.').to_owned();
    match () {
        () if major(wanted) == major(has) => 0,
        () if distro(wanted) == distro(has) => 1,
        () => 2,
    }
}

fn major(os: &str) -> &str {
    os.split('.').next().unwrap_or(os)
}

/// Why a build waits, in one line.
pub fn waiting_for(build: &Build, agents: &[Candidate], holder: Option<BuildId>) -> String {
    if let Some(holder) = holder {
        return format!("build {holder}, which is working on {}", build.rootimgdir.display());
    }
    let mut reasons: Vec<(usize, String)> = agents
        .iter()
        .map(|agent| (agent, lacks(build, agent)))
        .filter(|(_, lacks)| !lacks.is_empty())
        .map(|(agent, lacks)| (lacks.len(), format!("{}: {}", agent.name, lacks.join("; "))))
        .collect();
    reasons.sort();
    match reasons.into_iter().map(|(_, text)| text).next() {
        Some(nearest) => format!("an agent ({nearest})"),
        None if agents.is_empty() => "an agent; none has joined yet".to_owned(),
        None => "its turn".to_owned(),
    }
}

#[cfg(test)]
mod tests;
