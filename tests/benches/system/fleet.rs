//! Many agents and many waiting builds: what the coordinator needs for them, and how that grows.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use proto::tls::{Identity, connect};
use proto::v1;
use proto::v1::builds_client::BuildsClient;
use tests::{Site, arch, debian, mirrors};
use tokio::task::JoinSet;

use crate::figures::{Samples, cpu_seconds, peak_mb, resident_mb};
use crate::node::{Node, join};

const BUILDS: usize = 10_000;
/// Osimages in one file, and builds in one submission: their answer must fit in a message.
const TOGETHER: usize = 500;
/// How long agents do nothing but live.
const IDLE: Duration = Duration::from_secs(20);
/// How long they work at each pace.
const WORK: Duration = Duration::from_secs(20);
/// How long an agent has a build where the coordinator is not to be the limit, and where it is.
const PACES: [Duration; 2] = [Duration::from_secs(5), Duration::ZERO];

pub(crate) fn run() {
    println!("{BUILDS} builds wait; an agent has one slot; it keeps a build for 5 s, then (in brackets) for no time");
    for agents in [10, 100, 1000] {
        let mut site = Site::start();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        println!("{}", runtime.block_on(of(&mut site, agents)));
        runtime.shutdown_timeout(Duration::from_secs(1));
    }
}

async fn of(site: &mut Site, count: usize) -> String {
    let pid = site.coordinator().pid();
    let mut identities = Vec::new();
    for number in 0..count {
        identities.push(join(site, &format!("n{number}")).await);
    }
    let nodes = sessions(site, &identities).await;
    let mut said = format!("{count} agents\n  idle: {}", idle(pid, nodes).await);
    osimages(site);
    submit(site).await;
    let _ = write!(said, "\n  {BUILDS} builds waiting: {:.0} MB", resident_mb(pid));
    let began = Instant::now();
    let mut nodes = sessions(site, &identities).await;
    for pace in PACES {
        let before = cpu_seconds(pid);
        let (ended, gaps);
        (nodes, ended, gaps) = work(nodes, pace).await;
        let (cpu, rate) = (cpu_seconds(pid) - before, ended as f64 / WORK.as_secs_f64());
        let each = cpu * 1000.0 / ended.max(1) as f64;
        let _ = write!(said, "\n  {} s a build: {rate:.0} builds/s, {each:.2} CPU ms a build", pace.as_secs());
        let _ = write!(said, ", agent free to next build {}", gaps.summary());
    }
    let _ = write!(said, "\n  peak {:.0} MB, {:.0} s in all", peak_mb(pid), began.elapsed().as_secs_f64());
    said
}

async fn sessions(site: &Site, identities: &[Identity]) -> Vec<Node> {
    let mut nodes = Vec::new();
    for identity in identities {
        nodes.push(Node::open(&site.cli.coordinator, identity, 1).await);
    }
    nodes
}

/// What agents cost that only live.
async fn idle(pid: u32, nodes: Vec<Node>) -> String {
    let beats = nodes.len() as f64 * IDLE.as_secs_f64() / nodes[0].heartbeat.as_secs_f64();
    let mut living: JoinSet<()> = JoinSet::new();
    for mut node in nodes {
        living.spawn(async move {
            node.assigned().await;
        });
    }
    let before = cpu_seconds(pid);
    tokio::time::sleep(IDLE).await;
    let cpu = cpu_seconds(pid) - before;
    let share = cpu / IDLE.as_secs_f64() * 100.0;
    format!("{share:.1} % of a core, {:.0} us a heartbeat, {:.0} MB", cpu * 1e6 / beats, resident_mb(pid))
}

/// An osimage for each build: one rootimgdir is worked on by one build at a time.
fn osimages(site: &Site) {
    let list = site.write("lists/bench.pkglist", "linux-image-cloud-amd64\ndracut\ndracut-network\nsystemd\nudev\n");
    let ((_, version), mirrors) = (debian(), mirrors());
    for first in (0..BUILDS).step_by(TOGETHER) {
        let mut stanzas = String::new();
        for number in first..first + TOGETHER {
            let _ = write!(
                stanzas,
                "b{number}:\n    objtype=osimage\n    provmethod=netboot\n    osvers=debian{version}\n    osarch={}\n    \
                 profile=b{number}\n    pkgdir={mirrors}\n    pkglist={}\n\n",
                arch(),
                list.display()
            );
        }
        site.cli.run_args(&["osimage", "import", "-"], stanzas.as_bytes()).succeeded();
    }
}

async fn submit(site: &Site) {
    let channel = connect(&site.cli.coordinator, &Identity::load(&site.cli.identity).unwrap()).await.unwrap();
    let mut builds = BuildsClient::new(channel);
    for first in (0..BUILDS).step_by(TOGETHER) {
        let names = (first..first + TOGETHER).map(|number| format!("b{number}")).collect();
        let request = v1::SubmitRequest { names, part: v1::Part::Genimage.into(), ..Default::default() };
        let answer = builds.submit(request).await.unwrap().into_inner();
        assert_eq!(answer.builds.len(), TOGETHER, "{:?}", answer.problems);
    }
}

/// All nodes work for a while; gives them back with the number of builds that ended, and how long each waited for
/// its next one.
async fn work(nodes: Vec<Node>, pace: Duration) -> (Vec<Node>, usize, Samples) {
    let until = Instant::now() + WORK;
    let mut working: JoinSet<(Node, Vec<Duration>)> = JoinSet::new();
    for mut node in nodes {
        working.spawn(async move {
            let (mut gaps, mut free) = (Vec::new(), None);
            while let Ok(Some((attempt, at))) = tokio::time::timeout_at(until.into(), node.assigned()).await {
                gaps.extend(free.map(|free| at - free));
                node.begin(attempt).await;
                tokio::time::sleep(pace).await;
                free = Some(Instant::now());
                node.fail(attempt).await;
            }
            (node, gaps)
        });
    }
    let (mut nodes, mut gaps) = (Vec::new(), Vec::new());
    while let Some(Ok((node, waited))) = working.join_next().await {
        nodes.push(node);
        gaps.extend(waited);
    }
    (nodes, gaps.len(), Samples::new(gaps))
}
