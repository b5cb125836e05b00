//! A site in simulated time: the coordinator `mn` and its agents as hosts of one simulation.
//!
//! Everything that waits in the daemons waits in simulated time, except the store's thread. So after each step the
//! simulation stands until that thread has written all it was given: a sync takes one step at most, however slow the disk
//! is. What runs on tokio's blocking threads holds simulated time up by itself.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use coordinator::store::Store;
use model::build::Build;
use model::id::BuildId;
use tokio_util::sync::CancellationToken;
use turmoil::Sim;

use crate::ledger::Ledger;
use crate::net::Port;
use crate::prepare;
use crate::worker::{Runs, Script, workers};

/// The coordinator's host.
pub(crate) const MN: &str = "mn";
/// How far simulated time goes in one step.
const STEP: Duration = Duration::from_millis(10);
/// Steps from one look at the records to the next: reading them is what takes longest.
const LOOK: u32 = 5;
/// Longer than any test, in simulated time.
const LIFE: Duration = Duration::from_secs(24 * 3600);

/// How a site is made.
pub(crate) struct Plan {
    pub(crate) agents: &'static [&'static str],
    pub(crate) builds: u64,
    pub(crate) script: Script,
    /// The network's seed.
    pub(crate) seed: u64,
}

impl Default for Plan {
    /// Two agents and one build of 14 s.
    fn default() -> Self {
        let script = Script { lines: 4, pace: Duration::from_millis(500) };
        Self { agents: &["a", "b"], builds: 1, script, seed: 1 }
    }
}

/// The store of the coordinator that runs; none between its crash and its next start.
type Current = Rc<RefCell<Option<Store>>>;

pub(crate) struct Site {
    sim: Sim<'static>,
    folder: tempfile::TempDir,
    store: Current,
    pub(crate) builds: u64,
    pub(crate) agents: &'static [&'static str],
    pub(crate) runs: Runs,
    pub(crate) ledger: Ledger,
    /// Waits for the store's thread.
    outside: tokio::runtime::Runtime,
    steps: u32,
}

impl Site {
    pub(crate) fn start(plan: Plan) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let outside = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        outside.block_on(prepare::site(folder.path(), plan.agents, plan.builds));
        let mut sim = turmoil::Builder::new()
            .simulation_duration(LIFE)
            .tick_duration(STEP)
            .min_message_latency(Duration::from_millis(1))
            .max_message_latency(Duration::from_millis(20))
            .rng_seed(plan.seed)
            .build();
        let (store, runs) = (Current::default(), Runs::default());
        host_coordinator(&mut sim, folder.path(), &store);
        for name in plan.agents {
            host_agent(&mut sim, folder.path(), name, plan.script, &runs);
        }
        let mut site = Self {
            sim,
            folder,
            store,
            builds: plan.builds,
            agents: plan.agents,
            runs,
            ledger: Ledger::default(),
            outside,
            steps: 0,
        };
        // From here on there is a coordinator.
        site.step();
        site
    }

    /// Simulated time since the start.
    pub(crate) fn now(&self) -> Duration {
        self.sim.elapsed()
    }

    /// The network, to be cut.
    pub(crate) fn sim(&mut self) -> &mut Sim<'static> {
        &mut self.sim
    }

    pub(crate) fn step(&mut self) {
        self.sim.step().expect("no daemon ends by itself");
        let store = self.store.borrow().clone();
        if let Some(store) = store {
            // What is written last is written after everything else.
            self.outside.block_on(store.commit(Vec::new(), Vec::new())).expect("the store takes it");
            self.steps += 1;
            if self.steps.is_multiple_of(LOOK) {
                let builds: Vec<Build> = (1..=self.builds).map(|number| record(&store, number)).collect();
                self.ledger.look(self.sim.elapsed(), &builds, &self.runs.all());
            }
        }
    }

    pub(crate) fn run_for(&mut self, time: Duration) {
        let end = self.now() + time;
        while self.now() < end {
            self.step();
        }
    }

    /// Runs until something holds; says when that was.
    pub(crate) fn until(&mut self, what: &str, limit: Duration, holds: impl Fn(&Self) -> bool) -> Duration {
        let end = self.now() + limit;
        while !holds(self) {
            assert!(self.now() < end, "{limit:?} passed without: {what}\n{}", self.ledger);
            self.step();
        }
        self.now()
    }

    /// Build `number` as the coordinator has it on disk.
    pub(crate) fn build(&self, number: u64) -> Build {
        record(self.store.borrow().as_ref().expect("the coordinator runs"), number)
    }

    /// Who holds build `number`, or held it last.
    pub(crate) fn agent_of(&self, number: u64) -> String {
        self.build(number).attempts.last().expect("it was leased").agent.to_string()
    }

    /// Kills the coordinator.
    pub(crate) fn crash_coordinator(&mut self) {
        self.store.replace(None);
        self.sim.crash(MN);
    }

    /// Starts it again; returns when it has its store.
    pub(crate) fn start_coordinator(&mut self) {
        self.sim.bounce(MN);
        self.step();
    }

    /// The site's folder.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Something of the coordinator's store.
    pub(crate) fn ask<T>(&self, question: impl FnOnce(&Store) -> T) -> T {
        question(self.store.borrow().as_ref().expect("the coordinator runs"))
    }
}

fn record(store: &Store, number: u64) -> Build {
    let id = BuildId::new(number).expect("from 1");
    store.build(id).expect("the store can be read").expect("the build is there")
}

fn host_coordinator(sim: &mut Sim<'static>, folder: &Path, store: &Current) {
    let (config, store) = (prepare::coordinator(folder), store.clone());
    sim.host(MN, move || {
        let (config, store) = (config.clone(), store.clone());
        async move {
            let opened = prepare::open(&config);
            store.replace(Some(opened.0.clone()));
            let port = Port::bind(7443).await?;
            Ok(coordinator::serve::serve(config, opened, port, CancellationToken::new()).await?)
        }
    });
}

fn host_agent(sim: &mut Sim<'static>, folder: &Path, name: &'static str, script: Script, runs: &Runs) {
    let (config, workers) = (prepare::agent(folder, name), workers(name, script, runs.clone()));
    sim.host(name, move || {
        let (config, workers) = (config.clone(), workers.clone());
        async move { Ok(prepare::run_agent(config, workers).await?) }
    });
}
