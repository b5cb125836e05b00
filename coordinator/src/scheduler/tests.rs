//! The desk over its command channel, with a real store and scripted agents.

use std::sync::Arc;
use std::time::Duration;

use model::agent::{Condition, Effect, InstallView, Survey};
use model::arch::Arch;
use model::build::{Build, BuildEvent, BuildState, Failure, Needs, PackWish, Part};
use model::id::{Attempt, AttemptId, Generation};
use model::name::AgentName;
use model::stage::Stage;
use model::wish::GenimageWish;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{AgentEvent, Beat, Desk, Greeting, NewBuild, Parts, Scheduler, SessionId, ToAgent, Welcome, What};
use crate::config::Config;
use crate::logs::Logs;
use crate::plans::Plans;
use crate::samples;
use crate::store::Store;

mod activate;

/// Longer than anything here takes, shorter than a wait for ever.
const PATIENCE: Duration = Duration::from_secs(10);

struct Site {
    _dir: tempfile::TempDir,
    parts: Parts,
    scheduler: Scheduler,
    stop: CancellationToken,
    desk: tokio::task::JoinHandle<Result<(), crate::store::StoreError>>,
}

fn parts(dir: &std::path::Path) -> Parts {
    let config = Config {
        state_dir: dir.to_owned(),
        install_dir: dir.join("install"),
        lease_seconds: 2,
        max_wait_seconds: 3,
        ..Config::default()
    };
    let (store, _failed) = Store::open(&config.store_dir()).unwrap();
    let logs = Arc::new(Logs::open(&config.logs_dir()).unwrap());
    let plans = Plans::open(&config.plans_dir()).unwrap();
    Parts { config: Arc::new(config), store, logs, plans }
}

impl Site {
    /// A desk that starts with these builds in its store.
    async fn start(builds: &[Build]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let parts = parts(dir.path());
        let record = samples::agent(agent().as_str());
        parts.store.save_agent(&record).await.unwrap();
        for build in builds {
            parts.store.save_build(build).await.unwrap();
        }
        let (desk, scheduler) = Desk::new(parts.clone()).unwrap();
        let stop = CancellationToken::new();
        let desk = tokio::spawn(desk.run(stop.clone()));
        Self { _dir: dir, parts, scheduler, stop, desk }
    }

    async fn greet(&self, running: Vec<AttemptId>) -> (Welcome, mpsc::Receiver<ToAgent>) {
        let (outbox, orders) = mpsc::channel(16);
        let greeting = Greeting { agent: agent(), facts: samples::facts(), running, lost: Vec::new(), outbox };
        (self.scheduler.greet(greeting).await.unwrap(), orders)
    }

    async fn submit(&self) -> Build {
        self.scheduler.submit(vec![wanted(&self.parts)], Vec::new(), String::new()).await.unwrap().remove(0)
    }

    async fn say(&self, session: SessionId, attempt: AttemptId, number: u64, what: What) {
        let event = AgentEvent { attempt, number, time_ms: 1, what };
        self.scheduler.event(agent(), session, event).await.unwrap();
    }

    fn state(&self, id: u64) -> BuildState {
        self.parts.store.build(model::id::BuildId::new(id).unwrap()).unwrap().unwrap().state
    }

    async fn until(&self, id: u64, what: &str, holds: impl Fn(&BuildState) -> bool) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !holds(&self.state(id)) {
            assert!(tokio::time::Instant::now() < deadline, "never {what}: {:?}", self.state(id));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn end(self) {
        self.stop.cancel();
        self.desk.await.unwrap().unwrap();
    }
}

fn agent() -> AgentName {
    "n1".parse().unwrap()
}

fn attempt(number: u32) -> AttemptId {
    AttemptId { build: model::id::BuildId::FIRST, attempt: Attempt::new(number).unwrap() }
}

fn wanted(parts: &Parts) -> NewBuild {
    NewBuild {
        osimage: "compute".parse().unwrap(),
        revision: 1,
        arch: Arch::X86_64,
        needs: Needs { package_system: "apt".into(), osvers: "debian12".into(), ..Needs::default() },
        rootimgdir: parts.config.install_dir.join("netboot/compute"),
        part: Part::Both,
        pack: PackWish::default(),
        genimage: GenimageWish::default(),
        submitted_by: "root".parse().unwrap(),
        plan: Some("0".repeat(64)),
        warnings: Vec::new(),
        priority: 0,
    }
}

async fn order(orders: &mut mpsc::Receiver<ToAgent>) -> ToAgent {
    tokio::time::timeout(PATIENCE, orders.recv()).await.expect("an order comes").expect("the session stands")
}

fn assigned(order: &ToAgent) -> Option<AttemptId> {
    match order {
        ToAgent::Assign { attempt, .. } => Some(*attempt),
        _ => None,
    }
}

#[tokio::test]
async fn a_returning_agent_gets_the_next_attempt_only_when_the_old_one_is_gone() {
    let site = Site::start(&[]).await;
    let (_, mut orders) = site.greet(Vec::new()).await;
    site.submit().await;
    assert_eq!(assigned(&order(&mut orders).await), Some(attempt(1)));
    // Cut off for longer than its lease, it comes back with the old attempt still in hand.
    site.until(1, "queued again", |state| *state == BuildState::Queued).await;
    let (welcome, mut orders) = site.greet(vec![attempt(1)]).await;
    assert_eq!(welcome.resume, []);
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(orders.try_recv().is_err(), "its only slot is still taken");
    site.say(welcome.session, attempt(1), 1, What::Dropped).await;
    let mut next = order(&mut orders).await;
    while assigned(&next).is_none() {
        next = order(&mut orders).await;
    }
    assert_eq!(assigned(&next), Some(attempt(2)));
    site.end().await;
}

#[tokio::test]
async fn a_node_that_loses_an_attempt_does_not_swallow_the_next_ones_at_once() {
    let site = Site::start(&[]).await;
    let (welcome, mut orders) = site.greet(Vec::new()).await;
    site.submit().await;
    assert_eq!(assigned(&order(&mut orders).await), Some(attempt(1)));
    site.say(welcome.session, attempt(1), 1, What::Lost("no space left on its disk".into())).await;
    site.until(1, "queued again", |state| *state == BuildState::Queued).await;
    while let Ok(Some(next)) = tokio::time::timeout(Duration::from_millis(900), orders.recv()).await {
        assert_eq!(assigned(&next), None, "it got the next attempt at once");
    }
    site.end().await;
}

#[tokio::test]
async fn a_removal_that_a_kill_interrupted_is_carried_on_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let mut build = super::desk::queued(model::id::BuildId::FIRST, wanted(&parts(dir.path())));
    let gone: AgentName = "gone".parse().unwrap();
    let leased = BuildEvent::Leased { agent: gone.clone(), attempt: Attempt::FIRST };
    build.state = build.state.on(leased).unwrap();
    build.attempts = vec![samples::attempt(gone)];
    let site = Site::start(&[build]).await;
    site.until(1, "queued again", |state| *state == BuildState::Queued).await;
    site.end().await;
}

#[tokio::test]
async fn a_cancel_during_packing_is_not_forgotten_by_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let mut build = super::desk::queued(model::id::BuildId::FIRST, wanted(&parts(dir.path())));
    build.state = BuildState::Packing { generation: Generation::FIRST };
    build.cancel_by = Some("root".parse().unwrap());
    let site = Site::start(&[build]).await;
    site.until(1, "cancelled", |state| matches!(state, BuildState::Cancelled { .. })).await;
    site.end().await;
}

#[tokio::test]
async fn what_a_preflight_finds_keeps_builds_away_until_it_is_mended() {
    let site = Site::start(&[]).await;
    let (welcome, mut orders) = site.greet(Vec::new()).await;
    let broken = Condition {
        name: "scratch-option".into(),
        effect: Effect::NoBuilds,
        detail: "`/s` is mounted with `nodev`".into(),
        remedy: "mount it without".into(),
    };
    let survey = |conditions| Survey { install: InstallView::Nfs, conditions };
    let said = |session, conditions| site.scheduler.surveyed(agent(), session, survey(conditions));
    said(welcome.session, vec![broken.clone()]).await.unwrap();
    // Another session's word is no news.
    said(welcome.session + 1, Vec::new()).await.unwrap();
    site.submit().await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(site.state(1), BuildState::Queued);
    let why = site.scheduler.watch(model::id::BuildId::FIRST).await.unwrap().unwrap().borrow().waiting_for.clone();
    assert!(why.contains("`/s` is mounted with `nodev`; mount it without"), "{why}");
    let recorded = site.parts.store.agent(&agent()).unwrap().unwrap().facts.unwrap();
    assert_eq!((recorded.install, recorded.conditions), (InstallView::Nfs, vec![broken]));
    said(welcome.session, Vec::new()).await.unwrap();
    assert!(assigned(&order(&mut orders).await).is_some());
    site.end().await;
}

#[tokio::test]
async fn a_build_that_is_queued_again_has_its_whole_wait_before_it() {
    let site = Site::start(&[]).await;
    let (welcome, mut orders) = site.greet(Vec::new()).await;
    site.submit().await;
    order(&mut orders).await;
    // It runs for longer than it may wait, and then the only agent that could run it is removed.
    for _ in 0..7 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let beat = Beat { scratch_free_bytes: u64::MAX, load_hundredths: 0 };
        site.scheduler.heartbeat(agent(), welcome.session, beat).await.unwrap();
    }
    site.scheduler.remove(agent()).await.unwrap();
    assert_eq!(site.state(1), BuildState::Queued);
    site.until(1, "given up", |state| matches!(state, BuildState::Failed { .. })).await;
    let build = site.parts.store.build(model::id::BuildId::FIRST).unwrap().unwrap();
    let waited = build.ended_ms - build.attempts[0].ended_ms;
    assert!(waited >= 3000, "it waited for {waited} ms only: {build:?}");
    site.end().await;
}

#[tokio::test]
async fn a_broken_install_root_stops_the_queue_and_costs_no_build() {
    let site = Site::start(&[]).await;
    let (_, mut orders) = site.greet(Vec::new()).await;
    let root = site.parts.config.install_dir.clone();
    std::fs::write(&root, "no folder").unwrap();
    site.submit().await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(site.state(1), BuildState::Queued);
    let why = site.scheduler.watch(model::id::BuildId::FIRST).await.unwrap().unwrap().borrow().waiting_for.clone();
    assert!(why.contains("no staging folder can be made"), "{why}");
    std::fs::remove_file(&root).unwrap();
    assert!(assigned(&order(&mut orders).await).is_some());
    site.end().await;
}

#[tokio::test]
async fn an_old_attempt_changes_nothing_and_is_told_to_end() {
    let site = Site::start(&[]).await;
    let (welcome, mut orders) = site.greet(Vec::new()).await;
    site.submit().await;
    order(&mut orders).await;
    site.say(welcome.session, attempt(7), 1, What::StageStarted(Stage::Prepare)).await;
    assert!(matches!(order(&mut orders).await, ToAgent::Drop(dropped, _) if dropped == attempt(7)));
    assert!(matches!(site.state(1), BuildState::Leased { .. }));
    site.end().await;
}

#[tokio::test]
async fn an_event_that_comes_twice_is_taken_once_and_acknowledged_twice() {
    let site = Site::start(&[]).await;
    let (welcome, mut orders) = site.greet(Vec::new()).await;
    site.submit().await;
    order(&mut orders).await;
    let began = || {
        let build = site.parts.store.build(model::id::BuildId::FIRST).unwrap().unwrap();
        build.attempts[0].stages.iter().find(|stage| stage.stage == Stage::Packages).unwrap().started_ms
    };
    let mut first = 0;
    for _ in 0..2 {
        site.say(welcome.session, attempt(1), 1, What::StageStarted(Stage::Packages)).await;
        assert_eq!(order(&mut orders).await, ToAgent::Ack(attempt(1), 1));
        first = if first == 0 { began() } else { first };
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(began(), first, "it began once");
    // One too far: something is missing, so it is not acknowledged.
    site.say(welcome.session, attempt(1), 3, What::StageStarted(Stage::Initrd)).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(orders.try_recv().is_err());
    site.end().await;
}

#[tokio::test]
async fn a_failure_of_any_size_is_kept_and_the_desk_lives_on() {
    let site = Site::start(&[]).await;
    let (welcome, mut orders) = site.greet(Vec::new()).await;
    site.submit().await;
    order(&mut orders).await;
    let wide = "━\"\\".repeat(5000);
    let failure = Failure {
        stage: "postinstall".into(),
        cause: wide.clone(),
        hint: Some(wide.clone()),
        last_lines: vec![wide; 40],
    };
    site.say(welcome.session, attempt(1), 1, What::Failed(failure)).await;
    assert_eq!(order(&mut orders).await, ToAgent::Ack(attempt(1), 1));
    assert!(matches!(site.state(1), BuildState::Failed { .. }));
    site.submit().await;
    assert!(assigned(&order(&mut orders).await).is_some());
    site.end().await;
}

#[tokio::test]
async fn a_build_that_was_received_before_a_crash_goes_on_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut build = super::desk::queued(model::id::BuildId::FIRST, wanted(&parts(dir.path())));
    build.state = BuildState::Received { generation: Generation::FIRST };
    build.generation = Some(Generation::FIRST);
    build.part = Part::Genimage;
    let site = Site::start(&[build]).await;
    site.until(1, "finished", |state| *state == BuildState::Succeeded).await;
    site.end().await;
}

#[tokio::test]
async fn nobody_is_judged_silent_before_the_coordinator_was_up_for_a_lease() {
    let dir = tempfile::tempdir().unwrap();
    let mut build = super::desk::queued(model::id::BuildId::FIRST, wanted(&parts(dir.path())));
    build.state = BuildState::Running { agent: agent(), attempt: Attempt::FIRST, stage: Stage::Packages };
    let site = Site::start(&[build]).await;
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert!(matches!(site.state(1), BuildState::Running { .. }), "{:?}", site.state(1));
    site.end().await;
}

#[tokio::test]
async fn when_an_agent_was_last_heard_of_is_on_disk_soon_after_it_has_gone() {
    let site = Site::start(&[]).await;
    let (welcome, _orders) = site.greet(Vec::new()).await;
    let seen = || site.parts.store.agent(&agent()).unwrap().unwrap().last_seen_ms;
    let greeted = seen();
    tokio::time::sleep(Duration::from_millis(20)).await;
    let beat = Beat { scratch_free_bytes: 1 << 40, load_hundredths: 0 };
    site.scheduler.heartbeat(agent(), welcome.session, beat).await.unwrap();
    site.scheduler.closed(agent(), welcome.session).await.unwrap();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while seen() == greeted {
        assert!(tokio::time::Instant::now() < deadline, "it is never noted");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    site.end().await;
}
