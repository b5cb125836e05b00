//! Native before emulated: an agent that would emulate gets a build only where the fleet knows no native agent for it.
//!
//! One that is busy, away or drained counts, as waiting for it is nearly always the shorter way; one that could never run
//! the build doesn't. Whoever knows better asks for the emulating agent by its name.

use model::agent::AgentRecord;
use model::build::{Build, Part};
use model::emulation::{Means, SLOWER};
use model::name::AgentName;

use super::{Candidate, Lack, lacks, never_fits};

/// The native agent that emulating ones leave this build to: the one that lacks least.
pub fn native<'a>(build: &'a Build, agents: &[Candidate<'a>]) -> Option<&'a AgentName> {
    if !agents.iter().any(|agent| emulates(build, agent.record).is_some()) {
        // Nobody is to be held back.
        return None;
    }
    let native = agents.iter().filter(|agent| is_able(build, agent));
    native.map(|agent| (lacks(build, agent, None).len(), &agent.record.name)).min().map(|(_, name)| name)
}

fn is_native(build: &Build, record: &AgentRecord) -> bool {
    record.facts.as_ref().is_some_and(|facts| facts.means(build.arch) == Means::Native)
}

/// The processor that an agent would emulate on, if it would.
pub fn emulates<'a>(build: &Build, record: &'a AgentRecord) -> Option<&'a str> {
    match record.facts.as_ref()?.means(build.arch) {
        Means::Emulated(on) => Some(on),
        _ => None,
    }
}

/// What is to be known before a build begins: that nobody is there to build it but by emulation.
pub fn outlook(build: &Build, agents: &[Candidate<'_>]) -> Option<String> {
    if build.part == Part::Packimage {
        return None;
    }
    if native(build, agents).is_some() || agents.iter().any(|agent| is_able(build, agent)) {
        return None;
    }
    let emulating = agents.iter().filter(|agent| !never_fits(build, agent));
    let emulating = emulating.filter_map(|agent| Some((&agent.record.name, emulates(build, agent.record)?)));
    let (name, on) = emulating.min()?;
    let (osimage, arch) = (&build.osimage, build.arch);
    Some(format!(
        "{osimage}: no native agent of {arch} is known; {name} would build it under emulation on {on}, which takes {SLOWER} as long"
    ))
}

fn is_able(build: &Build, agent: &Candidate<'_>) -> bool {
    // An install root that its preflight doesn't see now may be back in a minute.
    let lasting = |lack: &Lack<'_>| lack.is_lasting() && !matches!(lack, Lack::Install(_, Some(_)));
    is_native(build, agent.record) && !lacks(build, agent, None).iter().any(lasting)
}

#[cfg(test)]
mod tests {
    use model::agent::AgentFacts;
    use model::arch::Arch;
    use model::emulation::{Emulation, EmulationFault};

    use super::super::{Start, assign, waiting_for};
    use super::*;
    use crate::samples;

    fn ppc64le() -> Build {
        Build { arch: Arch::Ppc64le, ..samples::build(1) }
    }

    fn agent(name: &str, change: impl FnOnce(&mut AgentFacts)) -> AgentRecord {
        let mut facts = samples::facts();
        change(&mut facts);
        AgentRecord { facts: Some(facts), ..samples::agent(name) }
    }

    fn emulating(facts: &mut AgentFacts) {
        facts.emulations.push(Emulation { arch: Arch::Ppc64le, fault: None });
    }

    fn at(record: &AgentRecord, connected: bool) -> Candidate<'_> {
        Candidate { record, connected, in_hand: 0, resting: None }
    }

    fn goes_to(build: &Build, agents: &[Candidate<'_>]) -> Option<String> {
        let starts = assign(&[build], &mut agents.to_vec(), &std::collections::BTreeMap::new());
        starts.into_iter().next().map(|start| match start {
            Start::On(_, agent) => agent.to_string(),
            Start::Pack(_) => unreachable!("it is no packing"),
        })
    }

    fn said(build: &Build, agents: &[Candidate<'_>], of: usize) -> String {
        let native = native(build, agents);
        let lacks = lacks(build, &agents[of], native);
        assert_eq!(lacks.len(), 1, "{lacks:?}");
        lacks[0].to_string()
    }

    #[test]
    fn a_native_agent_wins_and_is_waited_for() {
        let build = ppc64le();
        let (x1, p1) = (agent("a-x1", emulating), agent("p1", |facts| facts.arch = Arch::Ppc64le));
        assert_eq!(goes_to(&build, &[at(&x1, true), at(&p1, true)]).as_deref(), Some("p1"));
        let away = [at(&x1, true), at(&p1, false)];
        assert_eq!(goes_to(&build, &away), None);
        assert_eq!(waiting_for(&build, &away), "an agent (p1: it is not connected)");
        let words = said(&build, &away, 0);
        assert!(words.contains("there is p1") && words.contains("--agent"), "{words}");
        assert_eq!(goes_to(&build, &[at(&x1, true)]).as_deref(), Some("a-x1"));
    }

    #[test]
    fn an_agent_that_could_never_run_it_holds_nobody_back_nor_does_one_that_was_not_asked_for() {
        let mut build = ppc64le();
        let x1 = agent("x1", emulating);
        let no_tools = agent("p1", |facts| (facts.arch, facts.package_systems) = (Arch::Ppc64le, Vec::new()));
        assert_eq!(goes_to(&build, &[at(&x1, true), at(&no_tools, true)]).as_deref(), Some("x1"));
        let p2 = agent("p2", |facts| facts.arch = Arch::Ppc64le);
        build.needs.agent = Some("x1".parse().unwrap());
        assert_eq!(goes_to(&build, &[at(&x1, true), at(&p2, true)]).as_deref(), Some("x1"));
    }

    #[test]
    fn one_that_is_not_allowed_or_not_able_to_emulate_gets_nothing_and_says_why() {
        let build = ppc64le();
        let plain = agent("x1", |_| {});
        assert_eq!(goes_to(&build, &[at(&plain, true)]), None);
        assert_eq!(said(&build, &[at(&plain, true)], 0), "it is x86_64, the image is ppc64le");
        let broken = agent("x2", |facts| {
            emulating(facts);
            let (name, cause, remedy) = ("n".into(), "there is no F flag".into(), "register it with F".into());
            facts.emulations[0].fault = Some(EmulationFault { name, cause, remedy });
        });
        assert_eq!(goes_to(&build, &[at(&broken, true)]), None);
        let words = said(&build, &[at(&broken, true)], 0);
        assert!(words.ends_with("can't: there is no F flag; register it with F"), "{words}");
        let emulated = agent("x3", |facts| (facts.arch, facts.emulated_on) = (Arch::Ppc64le, Some("x86_64".into())));
        assert_eq!(goes_to(&build, &[at(&emulated, true)]), None);
        let words = said(&build, &[at(&emulated, true)], 0);
        assert!(words.contains("allow_emulation = [\"ppc64le\"]"), "{words}");
    }

    #[test]
    fn an_agent_under_emulation_goes_behind_a_native_one() {
        let build = ppc64le();
        let emulated = agent("a", |facts| {
            emulating(facts);
            (facts.arch, facts.emulated_on) = (Arch::Ppc64le, Some("x86_64".into()));
        });
        let native = agent("b", |facts| facts.arch = Arch::Ppc64le);
        assert_eq!(goes_to(&build, &[at(&emulated, true), at(&native, true)]).as_deref(), Some("b"));
        assert_eq!(goes_to(&build, &[at(&emulated, true), at(&native, false)]), None);
        assert_eq!(goes_to(&build, &[at(&emulated, true)]).as_deref(), Some("a"));
    }

    #[test]
    fn it_is_told_before_it_begins_that_only_emulation_is_left() {
        let build = ppc64le();
        let (x1, p1) = (agent("x1", emulating), agent("p1", |facts| facts.arch = Arch::Ppc64le));
        let told = outlook(&build, &[at(&x1, false)]).unwrap();
        let expected = "compute: no native agent of ppc64le is known; x1 would build it under emulation on x86_64";
        assert!(told.starts_with(expected), "{told}");
        assert_eq!(outlook(&build, &[at(&x1, true), at(&p1, false)]), None);
        assert_eq!(outlook(&build, &[at(&p1, true)]), None);
        assert_eq!(outlook(&build, &[at(&agent("x2", |_| {}), true)]), None);
    }
}
