//! Log lines: how long one takes from a worker to a reader's terminal, and how many there can be.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant, SystemTime};

use proto::v1;
use proto::v1::sessions_client::SessionsClient;
use tests::Site;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;

use crate::figures::{Samples, cpu_seconds, peak_mb};
use crate::node::{Node, join};

/// Lines that tell when they were written, one every ten milliseconds.
const STAMPED: usize = 1000;
/// Lines at full speed.
const MANY: usize = 1_000_000;
/// Builds at once, of made-up agents, and lines of each.
const BUILDS: usize = 50;
const EACH: u64 = 20_000;
/// Lines of one push.
const BATCH: u64 = 500;

pub(crate) fn run() {
    one();
    fifty();
}

/// A real worker's postinstall writes; a real `imgctl builds logs -f` reads.
fn one() {
    let mut site = Site::start();
    site.agent("n1");
    let script = format!(
        "#!/bin/bash\nfor n in $(seq {STAMPED}); do echo \"stamp $EPOCHREALTIME\"; sleep 0.01; done\nseq -f 'many %.0f' {MANY}\n"
    );
    let path = site.write("scripts/chatty", &script);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let packages = "linux-image-cloud-amd64\ndracut\ndracut-network\nsystemd\nudev\n";
    site.osimage("a", packages, &[format!("postinstall={}", path.display())]);
    site.cli.ok("genimage a --detach");
    let mut reader = follow(&site, 1);
    let lines = BufReader::new(reader.stdout.take().unwrap()).lines();
    let (mut delays, mut first_of_many, mut many) = (Vec::new(), None, 0);
    for line in lines.map_while(Result::ok) {
        if let Some((_, stamp)) = line.split_once("stamp ") {
            delays.extend(stamp.parse().ok().map(since));
        } else if line.contains("many ") {
            many += 1;
            first_of_many.get_or_insert_with(Instant::now);
            if many == MANY {
                break;
            }
        }
    }
    let took = first_of_many.map_or(0.0, |first| first.elapsed().as_secs_f64());
    println!("worker's echo to reader's line: {}", Samples::new(delays).summary());
    println!("one build: {many} lines in {took:.1} s at the reader, {:.0} lines/s", many as f64 / took);
    let (coordinator, agent) = (site.coordinator().pid(), site.agent_daemon("n1").pid());
    println!(
        "  coordinator {:.1} CPU s, peak {:.0} MB; agent {:.1} CPU s, peak {:.0} MB",
        cpu_seconds(coordinator),
        peak_mb(coordinator),
        cpu_seconds(agent),
        peak_mb(agent)
    );
    site.cli.run("builds cancel 1");
    // It ends with the build.
    let _ = reader.wait();
}

fn follow(site: &Site, build: u64) -> Child {
    let mut command = site.cli.command(&["builds", "logs", "-f", &build.to_string()]);
    command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

fn since(seconds: f64) -> Duration {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    now.saturating_sub(Duration::from_secs_f64(seconds))
}

/// As many made-up agents push at once; nobody reads.
fn fifty() {
    let mut site = Site::start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut nodes = Vec::new();
        for number in 0..BUILDS {
            let identity = join(&site, &format!("n{number}")).await;
            nodes.push(Node::open(&site.cli.coordinator, &identity, 1).await);
        }
        for number in 0..BUILDS {
            let name = format!("b{number}");
            site.osimage(&name, "linux-image-cloud-amd64\ndracut\ndracut-network\nsystemd\nudev\n", &[]);
            site.cli.ok(&format!("genimage {name} --detach"));
        }
        let mut ready = Vec::new();
        for mut node in nodes {
            let (attempt, _) = node.assigned().await.unwrap();
            ready.push((node, attempt));
        }
        let pid = site.coordinator().pid();
        let (began, before) = (Instant::now(), cpu_seconds(pid));
        let mut pushing = JoinSet::new();
        for (node, attempt) in ready {
            pushing.spawn(async move {
                node.begin(attempt).await;
                push(&node, attempt).await;
                node
            });
        }
        let nodes = pushing.join_all().await;
        let (took, cpu) = (began.elapsed().as_secs_f64(), cpu_seconds(pid) - before);
        let lines = nodes.len() as f64 * EACH as f64;
        println!(
            "{BUILDS} builds at once: {:.0} lines/s in all, coordinator {:.1} CPU us a line, peak {:.0} MB",
            lines / took,
            cpu * 1e6 / lines,
            peak_mb(pid)
        );
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
}

async fn push(node: &Node, attempt: v1::AttemptRef) {
    let (sender, outgoing) = mpsc::channel(8);
    let feed = async move {
        for first_line in (1..=EACH).step_by(BATCH as usize) {
            let lines = (first_line..first_line + BATCH).map(line).collect();
            sender.send(v1::LogPush { attempt: Some(attempt), first_line, lines }).await.unwrap();
        }
    };
    let written = async {
        let mut sessions = SessionsClient::new(node.channel.clone());
        let mut acks = sessions.push_log(ReceiverStream::new(outgoing)).await.unwrap().into_inner();
        while acks.message().await.unwrap().is_some_and(|ack| ack.next_line <= EACH) {}
    };
    tokio::join!(feed, written);
}

fn line(number: u64) -> v1::LogLine {
    let text = format!("Setting up package-{number} (1.2.3-{number}+deb12u1) ...");
    v1::LogLine { time_ms: 1, stage: "packages".into(), text }
}
