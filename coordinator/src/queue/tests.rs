use model::agent::{AgentFacts, Drained};
use model::plan::RpmDatabase;

use super::*;
use crate::samples;

fn build(id: u64, arch: Arch, dir: &str) -> Build {
    Build { arch, rootimgdir: dir.into(), ..samples::build(id) }
}

/// An agent that owns its record, for tests that spoil it.
#[derive(Debug, Clone)]
struct Node {
    record: AgentRecord,
    connected: bool,
    in_hand: usize,
    resting: Option<Rest<'static>>,
}

impl Node {
    fn facts(&mut self) -> &mut AgentFacts {
        self.record.facts.as_mut().unwrap()
    }

    fn candidate(&self) -> Candidate<'_> {
        let Self { record, connected, in_hand, resting } = self;
        Candidate { record, connected: *connected, in_hand: *in_hand, resting: *resting }
    }
}

fn agent(name: &str, arch: Arch, os: &str) -> Node {
    let facts = AgentFacts { arch, os: os.into(), ..samples::facts() };
    Node {
        record: AgentRecord { facts: Some(facts), ..samples::agent(name) },
        connected: true,
        in_hand: 0,
        resting: None,
    }
}

/// A condition that is called like its effect.
fn condition(effect: Effect) -> Condition {
    Condition { name: effect.as_str().into(), effect, detail: "a detail".into(), remedy: "a remedy".into() }
}

fn words(build: &Build, node: &Node) -> Vec<String> {
    lacks(build, &node.candidate(), None).iter().map(ToString::to_string).collect()
}

fn on(id: u64, agent: &str) -> Start {
    Start::On(BuildId::new(id).unwrap(), agent.parse().unwrap())
}

fn assigned(builds: &[Build], agents: &[Node]) -> Vec<Start> {
    let mut agents: Vec<Candidate<'_>> = agents.iter().map(Node::candidate).collect();
    assign(&builds.iter().collect::<Vec<_>>(), &mut agents, &BTreeMap::new())
}

const RESTING: Rest<'static> = Rest { left: Duration::from_millis(4200), why: "the agent was stopped" };

#[test]
fn a_build_that_asks_for_an_agent_waits_for_that_one_alone() {
    let mut wanted = build(1, Arch::X86_64, "/i/a");
    wanted.needs.agent = Some("n2".parse().unwrap());
    let (mut busy, mut away) = (agent("n1", Arch::X86_64, "debian12"), agent("n2", Arch::X86_64, "debian12"));
    busy.in_hand = 1;
    let why = |nodes: &[&Node]| waiting_for(&wanted, &nodes.iter().map(|node| node.candidate()).collect::<Vec<_>>());
    assert_eq!(why(&[&busy, &away]), "its turn");
    away.connected = false;
    away.record.drained = Some(drained());
    let said = why(&[&busy, &away]);
    assert!(
        said.starts_with("agent n2, which it asks for: it is drained by root") && said.ends_with("it is not connected"),
        "{said}"
    );
    let said = why(&[&busy]);
    assert!(said.contains("agent n2, which it asks for: there is none of that name"), "{said}");
    assert!(said.contains("without --agent"), "{said}");
}

#[test]
fn each_thing_that_an_agent_lacks_is_named() {
    let mut wanted = build(1, Arch::X86_64, "/i/a");
    wanted.needs.install = vec!["postinstall script `x` reads /install".into()];
    type Spoil = fn(&mut Node, &mut Build);
    let cases: [(Spoil, &str); 13] = [
        (|_, b| b.arch = Arch::Ppc64le, "it is x86_64, the image is ppc64le"),
        (|a, _| a.facts().package_systems = vec!["dnf".into()], "no tools for apt (it has dnf)"),
        (
            |_, b| b.needs.rpm_database = Some(RpmDatabase::Bdb),
            "its rpm can't write a database that the image's rpm could",
        ),
        (|a, _| a.facts().install = InstallView::None, "postinstall script `x` reads /install"),
        (
            |a, _| {
                a.facts().install = InstallView::None;
                a.facts().conditions = vec![condition(Effect::Note), condition(Effect::NoInstall)];
            },
            "it doesn't see the install root (no-install: a detail; a remedy), and postinstall script `x` reads /install",
        ),
        (|a, _| a.facts().conditions = vec![condition(Effect::NoBuilds)], "no-builds: a detail; a remedy"),
        (|a, _| a.facts().scratch_free_bytes = 1 << 20, "only 1 MB free"),
        (|a, _| a.connected = false, "not connected"),
        (|a, _| a.record.drained = Some(drained()), "it is drained by root (repair); `imgctl agents undrain n1`"),
        (|a, _| a.resting = Some(RESTING), "it rests for 5 s since it lost its last attempt (the agent was stopped)"),
        (|a, _| a.in_hand = 1, "busy (1 of 1"),
        (|a, _| a.record.facts = None, "never connected"),
        (|_, b| b.needs.agent = Some("n9".parse().unwrap()), "asks for agent n9"),
    ];
    assert_eq!(words(&wanted, &agent("n1", Arch::X86_64, "debian12")), Vec::<String>::new());
    for (spoil, expected) in cases {
        let (mut agent, mut build) = (agent("n1", Arch::X86_64, "debian12"), wanted.clone());
        spoil(&mut agent, &mut build);
        let lacks = words(&build, &agent);
        assert!(lacks.len() == 1 && lacks[0].contains(expected), "{expected}: {lacks:?}");
    }
}

#[test]
fn the_nearest_os_wins_and_then_the_least_loaded() {
    let builds = [build(1, Arch::X86_64, "/i/a")];
    let other = agent("a-other", Arch::X86_64, "ubuntu24.04");
    let older = agent("b-older", Arch::X86_64, "debian11");
    let mut same = agent("c-same", Arch::X86_64, "debian12");
    assert_eq!(assigned(&builds, &[other.clone(), older.clone(), same.clone()]), [on(1, "c-same")]);
    assert_eq!(assigned(&builds, &[other.clone(), older]), [on(1, "b-older")]);
    same.facts().slots = 2;
    same.in_hand = 1;
    let idle = agent("d-idle", Arch::X86_64, "debian12");
    assert_eq!(assigned(&builds, &[same, idle]), [on(1, "d-idle")]);
}

#[test]
fn rpm_databases_are_matched_and_builds_of_one_source_are_near() {
    let mut el9 = build(1, Arch::X86_64, "/i/a");
    el9.needs = Needs {
        package_system: "dnf".into(),
        rpm_database: Some(RpmDatabase::Sqlite),
        osvers: "rhels9.4".into(),
        ..Needs::default()
    };
    let mut el8 = el9.clone();
    el8.needs.rpm_database = Some(RpmDatabase::Bdb);
    let node = |name: &str, os: &str, words: &[&str]| {
        let mut node = agent(name, Arch::X86_64, os);
        node.facts().package_systems = words.iter().map(|word| (*word).to_owned()).collect();
        node
    };
    let debian = node("a", "debian12", &["apt", "dnf", "yum", "rpmdb-sqlite"]);
    let rocky = node("b", "rocky9.2", &["dnf", "yum", "rpmdb-sqlite"]);
    let old = node("c", "almalinux8.9", &["dnf", "yum", "rpmdb-bdb"]);
    let nodes = [debian, rocky, old];
    assert_eq!(assigned(&[el9], &nodes), [on(1, "b")]);
    assert_eq!(assigned(&[el8], &nodes), [on(1, "c")]);
}

#[test]
fn a_build_without_an_agent_holds_no_other_architecture_back() {
    let builds = [build(1, Arch::Ppc64le, "/i/p"), build(2, Arch::X86_64, "/i/x")];
    assert_eq!(assigned(&builds, &[agent("n1", Arch::X86_64, "debian12")]), [on(2, "n1")]);
}

#[test]
fn one_rootimgdir_is_worked_on_by_one_build_in_order() {
    let builds = [build(2, Arch::X86_64, "/i/a"), build(1, Arch::X86_64, "/i/a")];
    let agents = [agent("n1", Arch::X86_64, "debian12"), agent("n2", Arch::X86_64, "debian12")];
    assert_eq!(assigned(&builds, &agents), [on(1, "n1")]);
    let busy = BTreeMap::from([(Path::new("/i/a"), Holder::Build(BuildId::new(9).unwrap()))]);
    let refs: Vec<&Build> = builds.iter().collect();
    assert_eq!(assign(&refs, &mut agents.iter().map(Node::candidate).collect::<Vec<_>>(), &busy), []);
}

#[test]
fn a_build_that_waits_for_its_agent_is_overtaken_by_a_later_one_of_the_same_rootimgdir() {
    let mut pinned = build(1, Arch::X86_64, "/i/a");
    pinned.needs.agent = Some("away".parse().unwrap());
    let builds = [pinned, build(2, Arch::X86_64, "/i/a")];
    assert_eq!(assigned(&builds, &[agent("n1", Arch::X86_64, "debian12")]), [on(2, "n1")]);
}

#[test]
fn priority_goes_before_submission_and_packing_needs_no_agent() {
    let (first, mut urgent) = (build(1, Arch::X86_64, "/i/a"), build(2, Arch::X86_64, "/i/b"));
    urgent.priority = 5;
    let mut pack = build(3, Arch::Ppc64le, "/i/c");
    pack.part = Part::Packimage;
    let starts = assigned(&[first, urgent, pack], &[agent("n1", Arch::X86_64, "debian12")]);
    assert_eq!(starts, [on(2, "n1"), Start::Pack(BuildId::new(3).unwrap())]);
}

#[test]
fn a_waiting_build_names_the_agent_that_lacks_least() {
    let wanted = build(1, Arch::Ppc64le, "/i/p");
    let mut offline = agent("p1", Arch::Ppc64le, "debian12");
    offline.connected = false;
    let far = agent("n1", Arch::X86_64, "debian12");
    let agents = [far.candidate(), offline.candidate()];
    assert_eq!(waiting_for(&wanted, &agents), "an agent (p1: it is not connected)");
    offline.record.facts = None;
    let agents = [far.candidate(), offline.candidate()];
    assert_eq!(waiting_for(&wanted, &agents), "an agent (p1: it has never connected)", "it may be one of ppc64le");
    assert_eq!(waiting_for(&wanted, &[]), "an agent; none has joined yet");
    assert!(waiting_behind(&wanted, Holder::Build(BuildId::new(7).unwrap())).starts_with("build 7"));
    assert!(waiting_behind(&wanted, Holder::Activation(Number::XCAT)).starts_with("generation 0"));
}

#[test]
fn a_node_that_lost_an_attempt_is_passed_over_for_another_while_it_rests() {
    let builds = [build(1, Arch::X86_64, "/i/a")];
    let mut sick = agent("a-sick", Arch::X86_64, "debian12");
    sick.resting = Some(RESTING);
    assert_eq!(assigned(&builds, &[sick.clone()]), []);
    assert_eq!(assigned(&builds, &[sick, agent("b-well", Arch::X86_64, "debian11")]), [on(1, "b-well")]);
}

#[test]
fn a_drained_agent_gets_nothing_and_is_no_reason_to_give_up() {
    let builds = [build(1, Arch::X86_64, "/i/a")];
    let mut node = agent("n1", Arch::X86_64, "debian12");
    node.record.drained = Some(drained());
    assert_eq!(assigned(&builds, &[node.clone()]), []);
    assert!(!never_fits(&builds[0], &node.candidate()));
    node.record.drained = None;
    assert_eq!(assigned(&builds, &[node]), [on(1, "n1")]);
}

#[test]
fn many_of_one_architecture_leave_the_other_its_agents() {
    let mut builds: Vec<Build> = (1..=50).map(|id| build(id, Arch::Ppc64le, &format!("/i/p{id}"))).collect();
    builds.push(build(51, Arch::X86_64, "/i/x"));
    builds[9].priority = 1;
    let agents = [agent("p1", Arch::Ppc64le, "debian12"), agent("n1", Arch::X86_64, "debian12")];
    assert_eq!(assigned(&builds, &agents), [on(10, "p1"), on(51, "n1")]);
}

fn drained() -> Drained {
    Drained { by: "root".parse().unwrap(), since_ms: 1, reason: "repair".into() }
}
