//! The site under test: daemons that are killed and started again, networks and disks that break and heal.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tests::{AgentOptions, Cli, Daemon, Site, SiteOptions};

use crate::disk::Disk;
use crate::fault::{Cause, End, Place};
use crate::proxy::{Proxy, Weather};
use crate::story::Story;

/// Short, so that faults of seconds are noticed.
const LEASE: &str = "lease_seconds = 3\nmax_attempts = 5\nkeep_generations = 1\n";

/// What a build of the run needs at most; a scratch disk that is full has less.
const SCRATCH_FREE: &str = "min_scratch_free = 629145600\n";

/// How long a daemon that was told to end may take; a coordinator lets what it packs end.
const PATIENCE: Duration = Duration::from_secs(90);

/// When one that ended by itself is started again, as systemd would.
const AGAIN: Duration = Duration::from_secs(1);

/// One build node.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) name: String,
    proxy: Proxy,
    state: Disk,
    scratch: Disk,
    life: Life,
}

/// Whether a daemon runs.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Life {
    Up,
    /// Stopped by SIGSTOP.
    Frozen,
    /// Told to end, and when; and how long it is to be down.
    Ending(Instant, Duration),
    /// To be started at this time.
    Down(Instant),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Cluster {
    site: Site,
    coordinator: Life,
    pub(crate) nodes: Vec<Node>,
    users: Proxy,
    state: Disk,
    install: Disk,
    folder: PathBuf,
    story: Story,
}

impl Cluster {
    /// Starts everything below `folder`.
    pub(crate) fn start(folder: &Path, story: &Story) -> Self {
        let state = Disk::mount(&folder.join("coordinator"), 1024);
        let install = Disk::mount(&folder.join("install"), 8 * 1024);
        let options = SiteOptions { config: LEASE.into(), folder: Some(folder.to_owned()), ..SiteOptions::default() };
        let site = Site::start_with(options);
        let users = Proxy::start(&site.cli.coordinator);
        let (nodes, coordinator, story) = (Vec::new(), Life::Up, story.clone());
        let mut cluster = Self { site, coordinator, nodes, users, state, install, folder: folder.to_owned(), story };
        for (name, how, slots) in [("n1", "local", 1), ("n2", "local", 2), ("n3", "none", 1)] {
            cluster.add(name, how, slots);
        }
        cluster
    }

    fn add(&mut self, name: &str, install: &'static str, slots: u16) {
        let (state, scratch) = (self.folder.join(name), self.folder.join(format!("{name}-scratch")));
        let (state, scratch_disk) = (Disk::mount(&state, 1024), Disk::mount(&scratch, 2048));
        let proxy = Proxy::start(&self.site.cli.coordinator);
        let config = format!("slots = {slots}\n{SCRATCH_FREE}");
        let coordinator = Some(proxy.address().to_owned());
        self.site
            .agent_with(name, AgentOptions { install, scratch: Some(scratch), coordinator, config, program: None });
        let node = Node { name: name.to_owned(), proxy, state, scratch: scratch_disk, life: Life::Up };
        self.nodes.push(node);
    }

    /// The CLI of an admin whose network may break.
    pub(crate) fn users(&self) -> Cli {
        Cli { coordinator: self.users.address().to_owned(), ..self.site.cli.clone() }
    }

    /// The site, to look at it.
    pub(crate) fn site(&self) -> &Site {
        &self.site
    }

    /// Everything's folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The names of the nodes.
    pub(crate) fn names(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.name.clone()).collect()
    }

    /// The coordinator's process, and then the agents'.
    pub(crate) fn pids(&mut self) -> Vec<(String, u32)> {
        let mut found = vec![("the coordinator".to_owned(), self.site.coordinator().pid())];
        for name in self.names() {
            let pid = self.site.agent_daemon(&name).pid();
            found.push((name, pid));
        }
        found
    }

    /// Ends the coordinator; false: it isn't there to be ended.
    pub(crate) fn end_coordinator(&mut self, end: End, down: Duration) -> bool {
        if self.coordinator != Life::Up {
            return false;
        }
        self.story.begins(Cause::Coordinator);
        self.coordinator = ended(self.site.coordinator(), end, down);
        true
    }

    /// Ends an agent; false: it isn't there to be ended.
    pub(crate) fn end_agent(&mut self, at: usize, end: End, down: Duration) -> bool {
        let node = &mut self.nodes[at];
        if node.life != Life::Up {
            return false;
        }
        self.story.begins(Cause::Agent(node.name.clone()));
        node.life = ended(self.site.agent_daemon(&node.name), end, down);
        true
    }

    /// Stops an agent where it is; false: it isn't running.
    pub(crate) fn freeze(&mut self, at: usize) -> bool {
        let node = &mut self.nodes[at];
        if node.life != Life::Up {
            return false;
        }
        self.story.begins(Cause::Agent(node.name.clone()));
        self.site.agent_daemon(&node.name).signal(Signal::STOP);
        node.life = Life::Frozen;
        true
    }

    /// Lets a stopped agent go on.
    pub(crate) fn thaw(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        if node.life == Life::Frozen {
            self.site.agent_daemon(&node.name).signal(Signal::CONT);
            node.life = Life::Up;
            self.story.ends(&Cause::Agent(node.name.clone()));
        }
    }

    /// Changes the network of a node, or of the users.
    pub(crate) fn set_weather(&self, agent: Option<usize>, weather: Weather) {
        let (proxy, cause) = match agent {
            Some(at) => (&self.nodes[at].proxy, Cause::Network(self.nodes[at].name.clone())),
            None => (&self.users, Cause::Users),
        };
        match weather {
            Weather::Fair => self.story.ends(&cause),
            _ => self.story.begins(cause),
        }
        proxy.set(weather);
    }

    /// Leaves no room on a disk.
    pub(crate) fn fill(&self, place: &Place) {
        self.story.begins(Cause::Disk(place.clone()));
        self.disk(place).fill();
    }

    /// Gives it back.
    pub(crate) fn free(&self, place: &Place) {
        self.disk(place).free();
        self.story.ends(&Cause::Disk(place.clone()));
    }

    fn disk(&self, place: &Place) -> &Disk {
        let node = |name: &String| self.nodes.iter().find(|node| node.name == *name).expect("it is one of ours");
        match place {
            Place::Coordinator => &self.state,
            Place::Install => &self.install,
            Place::State(name) => &node(name).state,
            Place::Scratch(name) => &node(name).scratch,
        }
    }

    /// Notices who has ended and starts whose time has come.
    pub(crate) fn tick(&mut self) {
        let (life, started) = next(self.coordinator, self.site.coordinator(), "the coordinator", None, &self.story);
        self.coordinator = life;
        if started {
            self.site.launch_coordinator();
            self.story.ends(&Cause::Coordinator);
        }
        for node in &mut self.nodes {
            let disk = Cause::Disk(Place::State(node.name.clone()));
            let (life, started) =
                next(node.life, self.site.agent_daemon(&node.name), &node.name, Some(disk), &self.story);
            node.life = life;
            if started {
                self.site.launch_agent(&node.name);
                self.story.ends(&Cause::Agent(node.name.clone()));
            }
        }
    }

    /// Whether every daemon runs.
    pub(crate) fn is_up(&self) -> bool {
        self.coordinator == Life::Up && self.nodes.iter().all(|node| node.life == Life::Up)
    }

    /// Everything that was broken is whole again, at once.
    pub(crate) fn heal(&mut self) {
        for place in [Place::Coordinator, Place::Install] {
            self.free(&place);
        }
        self.set_weather(None, Weather::Fair);
        for at in 0..self.nodes.len() {
            let name = self.nodes[at].name.clone();
            self.free(&Place::State(name.clone()));
            self.free(&Place::Scratch(name));
            self.set_weather(Some(at), Weather::Fair);
            self.thaw(at);
        }
    }
}

fn ended(daemon: &mut Daemon, end: End, down: Duration) -> Life {
    match end {
        End::Kill => {
            daemon.kill();
            Life::Down(Instant::now() + down)
        }
        End::Term => {
            daemon.signal(Signal::TERM);
            Life::Ending(Instant::now(), down)
        }
    }
}

/// What becomes of a daemon, and whether it is to be started now. It may end by itself while `excuse` goes on, if at all.
fn next(life: Life, daemon: &mut Daemon, name: &str, excuse: Option<Cause>, story: &Story) -> (Life, bool) {
    match life {
        Life::Up => match daemon.ended() {
            None => (Life::Up, false),
            Some(status) => {
                let last = daemon.log().lines().last().unwrap_or_default().to_owned();
                let what = format!("{name} ended by itself with {status}: {last}");
                // An agent that can't keep its state may end, and is started again; the coordinator may not.
                let is_excused =
                    |cause| story.spells().iter().any(|spell| spell.cause == cause && spell.is_about_now());
                let may = excuse.is_some_and(is_excused);
                if may {
                    story.tell(what)
                } else {
                    story.wrong(what)
                }
                (Life::Down(Instant::now() + AGAIN), false)
            }
        },
        Life::Ending(since, down) => match daemon.ended() {
            Some(_) => (Life::Down(Instant::now() + down), false),
            None if since.elapsed() > PATIENCE => {
                story.wrong(format!("{name} has not ended {PATIENCE:?} after SIGTERM"));
                daemon.kill();
                (Life::Down(Instant::now()), false)
            }
            None => (life, false),
        },
        Life::Down(until) if Instant::now() >= until => (Life::Up, true),
        Life::Frozen | Life::Down(_) => (life, false),
    }
}
