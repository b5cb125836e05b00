//! Which waiting build goes to which agent, and why one waits. Pure: no clock, no locks, no store.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::time::Duration;

use model::agent::{AgentRecord, Condition, Drained, Effect, InstallView};
use model::arch::Arch;
use model::build::{Build, Needs, Part};
use model::emulation::{EmulationFault, Means};
use model::id::BuildId;
use model::name::AgentName;
use model::plan::RpmDatabase;

use crate::generation::Number;

mod native;

pub use native::{emulates, native, outlook};

/// No root image fits in less scratch space than this, in bytes.
const LEAST_SCRATCH: u64 = 256 << 20;

/// An agent as a place to build.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// What is recorded of it.
    pub record: &'a AgentRecord,
    /// Whether it has a session now.
    pub connected: bool,
    /// Attempts that it has in hand.
    pub in_hand: usize,
    /// Set while it gets nothing, as it has just lost an attempt by its own word.
    pub resting: Option<Rest<'a>>,
}

/// Why and for how long an agent gets nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rest<'a> {
    /// How much of it is left.
    pub left: Duration,
    /// What it said that it lost its last attempt by.
    pub why: &'a str,
}

impl Candidate<'_> {
    fn slots(&self) -> usize {
        self.record.facts.as_ref().map_or(0, |facts| facts.slots as usize)
    }

    fn has_room(&self) -> bool {
        self.connected && self.record.drained.is_none() && self.resting.is_none() && self.in_hand < self.slots()
    }
}

/// What an agent lacks to take a build on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack<'a> {
    /// The build asks for another one.
    Wanted(&'a AgentName),
    /// It has never said anything of its node.
    Unknown,
    /// Its node's architecture, and the image's.
    Arch(Arch, Arch),
    /// It may emulate the image's architecture, and that doesn't work there.
    Emulation(Arch, &'a EmulationFault),
    /// It runs under emulation itself, on this processor, and is not allowed to build so.
    UnderEmulation(Arch, &'a str),
    /// It would emulate, and this agent needn't.
    Native(&'a AgentName),
    /// The tools that are asked for, and those that it has.
    Tools(&'a str, &'a [String]),
    /// Its rpm can't write databases in the format that the image's reads.
    RpmDatabase(RpmDatabase),
    /// It doesn't see the install root: why it must, and what its preflight found.
    Install(&'a str, Option<&'a Condition>),
    /// Its preflight found that nothing can be built there.
    Unfit(&'a Condition),
    /// Scratch space: what is free in bytes.
    Scratch(u64),
    /// An administrator keeps work from it.
    Drained(&'a AgentName, &'a Drained),
    /// It has just lost an attempt, and gets nothing for a while.
    Resting(Rest<'a>),
    /// It has no session.
    Session,
    /// Every slot is taken: in hand, and slots.
    Slots(usize, usize),
}

impl Lack<'_> {
    /// Whether no waiting would help: the node is another one.
    fn is_lasting(self) -> bool {
        match self {
            Self::Wanted(_) | Self::Unknown | Self::Arch(..) | Self::Tools(..) | Self::RpmDatabase(_) => true,
            Self::Install(..) | Self::Emulation(..) | Self::UnderEmulation(..) => true,
            Self::Native(_) | Self::Unfit(_) | Self::Scratch(_) | Self::Drained(..) => false,
            Self::Resting(_) | Self::Session | Self::Slots(..) => false,
        }
    }
}

impl fmt::Display for Lack<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wanted(agent) => write!(f, "the build asks for agent {agent}"),
            Self::Unknown => f.write_str("it has never connected"),
            Self::Arch(has, wanted) => write!(f, "it is {has}, the image is {wanted}"),
            Self::Emulation(arch, EmulationFault { cause, remedy, .. }) => {
                write!(f, "it may build {arch} under emulation and can't: {cause}; {remedy}")
            }
            Self::UnderEmulation(arch, on) => write!(
                f,
                "it runs under emulation on {on} itself; `allow_emulation = [\"{arch}\"]` in its agent.toml lets it build so"
            ),
            Self::Native(agent) => write!(
                f,
                "it would build under emulation, which is for when there is no native agent, and there is {agent}; \
                 --agent asks for it all the same"
            ),
            Self::Tools(system, []) => {
                write!(f, "it has no tools for {system} (it has nothing); {}", tools_for(system))
            }
            Self::Tools(system, has) => {
                write!(f, "it has no tools for {system} (it has {}); {}", has.join(", "), tools_for(system))
            }
            Self::RpmDatabase(format) => write!(
                f,
                "its rpm can't write a database that the image's rpm could read ({}); use a node with a release near the image's",
                format.backend()
            ),
            Self::Install(why, None) => write!(f, "it doesn't see the install root, and {why}"),
            Self::Install(why, Some(Condition { name, detail, remedy, .. })) => {
                write!(f, "it doesn't see the install root ({name}: {detail}; {remedy}), and {why}")
            }
            Self::Unfit(Condition { name, detail, remedy, .. }) => write!(f, "{name}: {detail}; {remedy}"),
            Self::Scratch(free) => write!(f, "its scratch disk has only {} MB free", free / 1_000_000),
            Self::Drained(agent, Drained { by, reason, .. }) => {
                let reason = if reason.is_empty() { String::new() } else { format!(" ({reason})") };
                write!(f, "it is drained by {by}{reason}; `imgctl agents undrain {agent}` gives it work again")
            }
            Self::Resting(Rest { left, why }) => {
                write!(f, "it rests for {} s since it lost its last attempt ({why})", left.as_secs() + 1)
            }
            Self::Session => f.write_str("it is not connected"),
            Self::Slots(in_hand, slots) => write!(f, "it is busy ({in_hand} of {slots} in hand)"),
        }
    }
}

fn tools_for(system: &str) -> &'static str {
    match system {
        "apt" => "install mmdebstrap on the node",
        "dnf" => "install dnf on the node",
        "yum" => "install dnf or yum on the node",
        _ => "install zypper on the node",
    }
}

/// What an agent lacks to take this build on; empty: nothing. `native` is the fleet's native agent for it
/// ([`native()`]), which goes before all that would emulate.
pub fn lacks<'a>(build: &'a Build, agent: &Candidate<'a>, native: Option<&'a AgentName>) -> Vec<Lack<'a>> {
    let mut lacks = Vec::new();
    if let Some(wanted) = build.needs.agent.as_ref().filter(|wanted| **wanted != agent.record.name) {
        lacks.push(Lack::Wanted(wanted));
    }
    let Some(facts) = &agent.record.facts else {
        lacks.push(Lack::Unknown);
        return lacks;
    };
    lacks.extend(match facts.means(build.arch) {
        Means::Native => None,
        Means::Emulated(_) => native.map(Lack::Native),
        Means::Faulty(fault) => Some(Lack::Emulation(build.arch, fault)),
        Means::NotAllowed(on) => Some(Lack::UnderEmulation(build.arch, on)),
        Means::Foreign => Some(Lack::Arch(facts.arch, build.arch)),
    });
    let system = &build.needs.package_system;
    let has = |wanted: &str| facts.package_systems.iter().any(|word| word == wanted);
    if !has(system) {
        lacks.push(Lack::Tools(system, &facts.package_systems));
    } else if let Some(database) = build.needs.rpm_database.filter(|database| !has(database.capability())) {
        lacks.push(Lack::RpmDatabase(database));
    }
    if let Some(why) = build.needs.install.first().filter(|_| facts.install == InstallView::None) {
        lacks.push(Lack::Install(why, facts.condition(Effect::NoInstall)));
    }
    if let Some(condition) = facts.condition(Effect::NoBuilds) {
        lacks.push(Lack::Unfit(condition));
    } else if facts.scratch_free_bytes < LEAST_SCRATCH {
        lacks.push(Lack::Scratch(facts.scratch_free_bytes));
    }
    if let Some(drained) = &agent.record.drained {
        lacks.push(Lack::Drained(&agent.record.name, drained));
    }
    if let Some(rest) = agent.resting {
        lacks.push(Lack::Resting(rest));
    }
    if !agent.connected {
        lacks.push(Lack::Session);
    } else if agent.in_hand >= agent.slots() {
        lacks.push(Lack::Slots(agent.in_hand, agent.slots()));
    }
    lacks
}

/// Whether the agent could not run it even if it were idle, connected and had room on its disk.
pub fn never_fits(build: &Build, agent: &Candidate<'_>) -> bool {
    lacks(build, agent, None).into_iter().any(Lack::is_lasting)
}

/// What builds of one kind have in common: the same agents fit them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind<'a> {
    arch: Arch,
    package_system: &'a str,
    rpm_database: Option<RpmDatabase>,
    osvers: &'a str,
    agent: Option<&'a AgentName>,
    install: Option<&'a str>,
}

impl<'a> Kind<'a> {
    /// The kind of a build.
    pub fn of(build: &'a Build) -> Self {
        let Needs { package_system, rpm_database, osvers, install, agent } = &build.needs;
        let install = install.first().map(String::as_str);
        let rpm_database = *rpm_database;
        Self { arch: build.arch, package_system, rpm_database, osvers, agent: agent.as_ref(), install }
    }
}

/// Who works on a rootimgdir.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// A build.
    Build(BuildId),
    /// Nobody's build: this generation is being put live by hand.
    Activation(Number),
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
/// can start its agent. `busy` are the rootimgdirs that are being worked on. A build that can't start holds nobody
/// back: neither another architecture nor a later one of its own rootimgdir, which may ask for another agent.
///
/// Its cost grows with the builds that wait plus, for each that starts and each kind that can't, the agents.
pub fn assign(waiting: &[&Build], agents: &mut [Candidate<'_>], busy: &BTreeMap<&Path, Holder>) -> Vec<Start> {
    let mut packs = waiting.iter().filter(|build| build.part == Part::Packimage).count();
    let mut room = agents.iter().filter(|agent| agent.has_room()).count();
    let mut order = waiting.to_vec();
    order.sort_by_key(|build| (Reverse(build.priority), build.id));
    let (mut taken, mut without_agent) = (BTreeSet::new(), BTreeSet::new());
    let mut starts = Vec::new();
    for build in order {
        if room == 0 && packs == 0 {
            break;
        }
        let is_pack = build.part == Part::Packimage;
        packs -= usize::from(is_pack);
        let kind = Kind::of(build);
        if !is_pack && (room == 0 || without_agent.contains(&kind)) {
            continue;
        }
        let dir = build.rootimgdir.as_path();
        if busy.contains_key(dir) || taken.contains(dir) {
            continue;
        }
        if is_pack {
            starts.push(Start::Pack(build.id));
        } else if let Some(agent) = best(build, agents) {
            agent.in_hand += 1;
            room -= usize::from(!agent.has_room());
            starts.push(Start::On(build.id, agent.record.name.clone()));
        } else {
            // Room only shrinks in here.
            without_agent.insert(kind);
            continue;
        }
        taken.insert(dir);
    }
    starts
}

fn best<'a, 'b>(build: &Build, agents: &'b mut [Candidate<'a>]) -> Option<&'b mut Candidate<'a>> {
    let native = native(build, agents);
    let fits = agents.iter_mut().filter(|agent| agent.has_room() && lacks(build, agent, native).is_empty());
    fits.min_by_key(|agent| {
        let os = agent.record.facts.as_ref().map_or("", |facts| facts.os.as_str());
        (distance(&build.needs.osvers, os), agent.in_hand, &agent.record.name)
    })
}

/// How far an agent's OS is from the image's: the same release, the same distribution, or another.
fn distance(wanted: &str, has: &str) -> u32 {
    let ((wanted, its_major), (has, major)) = (family(wanted), family(has));
    match () {
        () if wanted == has && its_major == major => 0,
        () if wanted == has => 1,
        () => 2,
    }
}

/// The words of the builds of one source, as `osvers` and os-release have them.
const EL: [&str; 11] =
    ["rhels", "rhel", "rhelhpc", "rh", "centos", "centos-stream", "rocky", "alma", "almalinux", "ol", "SL"];

/// Distribution and major release; those that are made from one source count as one.
fn family(os: &str) -> (&str, &str) {
    let (word, version) = os.split_at(os.find(|c: char| c.is_ascii_digit()).unwrap_or(os.len()));
    let word = if EL.contains(&word) { "el" } else { word };
    (word, version.split('.').next().unwrap_or(version))
}

/// Why a build that could start as far as its rootimgdir goes waits, in one line: the agent that lacks least.
pub fn waiting_for(build: &Build, agents: &[Candidate<'_>]) -> String {
    let native = native(build, agents);
    if let Some(wanted) = &build.needs.agent {
        let asked = agents.iter().find(|agent| agent.record.name == *wanted).map(|agent| lacks(build, agent, native));
        return match asked.as_deref() {
            Some([]) => "its turn".to_owned(),
            Some(lacks) => format!("agent {wanted}, which it asks for: {}", words(lacks)),
            None => format!(
                "agent {wanted}, which it asks for: there is none of that name (removed, or never connected); \
                 cancel it and build again without --agent"
            ),
        };
    }
    let nearest =
        agents.iter().map(|agent| (lacks(build, agent, native), agent)).filter(|(lacks, _)| !lacks.is_empty());
    // What a native agent lacks is why it waits; that another must leave it to that one is not. Waiting helps with some of
    // it, and least where the node is of another architecture.
    let far = |lacks: &[Lack<'_>]| {
        let leaves = lacks.iter().any(|lack| matches!(lack, Lack::Native(_)));
        let other = lacks.iter().any(|lack| matches!(lack, Lack::Arch(..)));
        (leaves, other, lacks.iter().filter(|lack| lack.is_lasting()).count(), lacks.len())
    };
    match nearest.min_by_key(|(lacks, agent)| (far(lacks), &agent.record.name)) {
        Some((lacks, agent)) => {
            format!("an agent ({}: {})", agent.record.name, words(&lacks))
        }
        None if agents.is_empty() => "an agent; none has joined yet".to_owned(),
        None => "its turn".to_owned(),
    }
}

fn words(lacks: &[Lack<'_>]) -> String {
    lacks.iter().map(Lack::to_string).collect::<Vec<_>>().join("; ")
}

/// Why a build waits whose rootimgdir is worked on.
pub fn waiting_behind(build: &Build, holder: Holder) -> String {
    let place = build.rootimgdir.display();
    match holder {
        Holder::Build(other) => format!("build {other}, which is working on {place}"),
        Holder::Activation(number) => format!("generation {number}, which is being put live in {place}"),
    }
}

#[cfg(test)]
mod tests;
