//! The faults of a run: begun one after the other, each healed when its time is over.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::cluster::Cluster;
use crate::dice::Dice;
use crate::fault::{Cause, Fault, Place, pause};
use crate::processes;
use crate::proxy::Weather;
use crate::story::Story;

/// How often daemons and faults are looked after.
const TICK: Duration = Duration::from_millis(50);

/// How long something to kill is waited for.
const TRIES: Duration = Duration::from_secs(5);

/// What ends a fault.
#[derive(Debug)]
enum Heal {
    Thaw(usize),
    Clear(Option<usize>),
    Free(Place),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Storm<'a> {
    cluster: &'a mut Cluster,
    story: Story,
    healing: Vec<(Instant, Heal)>,
}

impl<'a> Storm<'a> {
    /// Calm as yet.
    pub(crate) fn new(cluster: &'a mut Cluster, story: &Story) -> Self {
        Self { cluster, story: story.clone(), healing: Vec::new() }
    }

    /// Rages for some time; then everything is healed and every daemon up.
    pub(crate) fn rage(mut self, mut dice: Dice, length: Duration) {
        let (end, names) = (Instant::now() + length, self.cluster.names());
        let mut next = Instant::now() + Duration::from_secs(3);
        while Instant::now() < end {
            if Instant::now() >= next {
                let fault = Fault::draw(&mut dice, &names);
                next += pause(&mut dice);
                self.begin(fault);
            }
            self.tick();
        }
        self.cluster.heal();
        while !self.cluster.is_up() {
            self.tick();
        }
        self.story.tell("everything is healed");
    }

    fn tick(&mut self) {
        self.cluster.tick();
        let now = Instant::now();
        let (over, left) = std::mem::take(&mut self.healing).into_iter().partition(|(at, _)| *at <= now);
        self.healing = left;
        let over: Vec<(Instant, Heal)> = over;
        over.into_iter().for_each(|(_, heal)| self.heal(heal));
        std::thread::sleep(TICK);
    }

    fn heal(&mut self, heal: Heal) {
        match heal {
            Heal::Thaw(agent) => self.cluster.thaw(agent),
            Heal::Clear(agent) => self.cluster.set_weather(agent, Weather::Fair),
            Heal::Free(place) => self.cluster.free(&place),
        }
    }

    fn begin(&mut self, fault: Fault) {
        let cluster = &mut self.cluster;
        let name = |agent: usize| cluster.nodes[agent].name.clone();
        match fault {
            Fault::Coordinator { end, down } => {
                let said = format!("fault: {end:?} the coordinator, down {down:?}");
                let done = cluster.end_coordinator(end, down);
                self.tell(said, done);
            }
            Fault::Agent { agent, end, down } => {
                let said = format!("fault: {end:?} {}, down {down:?}", name(agent));
                let done = cluster.end_agent(agent, end, down);
                self.tell(said, done);
            }
            Fault::Freeze { agent, length } => {
                let said = format!("fault: {} stands still for {length:?}", name(agent));
                let done = cluster.freeze(agent);
                self.tell(said, done);
                self.later(length, Heal::Thaw(agent), done);
            }
            Fault::Worker { agent, outermost, pick } => self.kill_worker(agent, outermost, pick),
            Fault::Receiver => self.kill_receiver(),
            Fault::Network { agent, weather, length } => {
                let whose = agent.map_or_else(|| "the users".to_owned(), name);
                self.story.tell(format!("fault: the network of {whose} is {weather:?} for {length:?}"));
                cluster.set_weather(agent, weather);
                self.later(length, Heal::Clear(agent), true);
            }
            Fault::Full { place, length } => {
                self.story.tell(format!("fault: {place} is full for {length:?}"));
                cluster.fill(&place);
                self.later(length, Heal::Free(place), true);
            }
        }
    }

    fn kill_worker(&mut self, agent: usize, outermost: bool, pick: u64) {
        let name = self.cluster.nodes[agent].name.clone();
        let daemon = self.cluster.pids()[agent + 1].1;
        // The first descendants are the agent's own children.
        let all = processes::descendants(daemon);
        let choice = if outermost { &all[..all.len().min(1)] } else { &all[..] };
        let Some(index) = pick.checked_rem(choice.len() as u64) else { return };
        let pid = choice[usize::try_from(index).expect("it is below the length")];
        self.kill(pid, &name, &Cause::Worker(name.clone()));
    }

    /// Receiving takes a second or two, so it is waited for a little.
    fn kill_receiver(&mut self) {
        let deadline = Instant::now() + TRIES;
        while Instant::now() < deadline {
            let daemon = self.cluster.pids()[0].1;
            if let Some(pid) = processes::descendants(daemon).first() {
                return self.kill(*pid, "the coordinator", &Cause::Receiver);
            }
            self.tick();
        }
    }

    fn kill(&self, pid: u32, below: &str, cause: &Cause) {
        let words: String = processes::words(pid).chars().take(60).collect();
        self.story.tell(format!("fault: kill process {pid} below {below}: {words}"));
        self.story.begins(cause.clone());
        if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
            // It may have ended since.
            let _ = kill_process(pid, Signal::KILL);
        }
        self.story.ends(cause);
    }

    fn tell(&self, what: String, done: bool) {
        if done {
            self.story.tell(what);
        }
    }

    fn later(&mut self, length: Duration, heal: Heal, done: bool) {
        if done {
            self.healing.push((Instant::now() + length, heal));
        }
    }
}
