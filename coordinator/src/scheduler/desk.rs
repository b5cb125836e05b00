//! The desk: the one task that owns every build that has not ended.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use model::build::{Build, BuildEvent, BuildState, Failure, Refusal};
use model::id::{Attempt, AttemptId, BuildId};
use model::name::UserName;
use model::stage::StageStatus;
use proto::supervision::Pulse;
use tokio::sync::{mpsc, watch};
use tokio::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::activate::Switching;
use super::clip;
use super::links::Links;
use super::{Answer, BuildView, COMMANDS, Command, Lease, Leases, NewBuild, Refused, Scheduler, ToAgent};
use crate::clock::now_ms;
use crate::config::Config;
use crate::logs::{LogLine, Logs};
use crate::plans::Plans;
use crate::store::osimages::OsimageWrite;
use crate::store::{Store, StoreError};

/// How often leases and waiting builds are looked at.
const TICK: Duration = Duration::from_millis(500);
/// Commands that are done before it is looked at what can start.
const TURN: usize = 64;
/// Receives and packings at one time: both are bound by the disk or take every core.
pub(super) const HEAVY: usize = 2;

/// What the desk works with.
#[derive(Debug, Clone)]
pub struct Parts {
    /// Settings.
    pub config: Arc<Config>,
    /// Records.
    pub store: Store,
    /// Logs of attempts.
    pub logs: Arc<Logs>,
    /// Build plans.
    pub plans: Plans,
}

/// A build in hand.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) build: Build,
    pub(super) waiting_for: String,
    /// Since when there has been no agent that could ever run it.
    pub(super) hopeless_since: Option<Instant>,
    /// Receive or packing is under way beside the desk; setting it ends that soon.
    pub(super) work: Option<Arc<AtomicBool>>,
    view: watch::Sender<BuildView>,
}

/// The owner of all builds.
#[derive(Debug)]
pub struct Desk {
    pub(super) parts: Parts,
    pub(super) active: BTreeMap<BuildId, Active>,
    pub(super) links: Links,
    /// The rootimgdirs in which a generation is being put live by hand.
    pub(super) switching: BTreeMap<PathBuf, Switching>,
    pub(super) next_id: BuildId,
    pub(super) tasks: TaskTracker,
    pub(super) heavy: Arc<tokio::sync::Semaphore>,
    pub(super) to_self: mpsc::Sender<Command>,
    /// Why no attempt can be given out at the moment: the install root takes no staging folder.
    pub(super) no_staging: Option<String>,
    /// Told to stop: nothing new is begun.
    pub(super) stopping: bool,
    /// What the service manager is told.
    pub(super) pulse: Pulse,
    leases: watch::Sender<Leases>,
    commands: mpsc::Receiver<Command>,
}

impl Desk {
    /// Takes up what the store says has not ended.
    pub fn new(parts: Parts) -> Result<(Self, Scheduler), StoreError> {
        let (to_self, commands) = mpsc::channel(COMMANDS);
        let leases = watch::Sender::new(Leases::default());
        let scheduler = Scheduler { commands: to_self.clone(), leases: leases.subscribe() };
        let now = Instant::now();
        let desk = Self {
            active: parts.store.active_builds()?.into_iter().map(|build| (build.id, Active::new(build))).collect(),
            links: Links::known(parts.store.agents()?, now),
            switching: BTreeMap::new(),
            next_id: parts.store.next_build_id()?,
            tasks: TaskTracker::new(),
            heavy: Arc::new(tokio::sync::Semaphore::new(HEAVY)),
            to_self,
            no_staging: None,
            stopping: false,
            pulse: Pulse::new(parts.config.manager.clone()),
            leases,
            commands,
            parts,
        };
        Ok((desk, scheduler))
    }

    /// Works until told to stop; then lets what runs beside it come to a safe end.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), StoreError> {
        self.pulse.beat();
        self.leases.send_replace(self.active.values().filter_map(|active| lease_of(&active.build)).collect());
        self.resume_work().await?;
        // Only now can anybody be heard.
        self.links.all_heard(Instant::now());
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let command = tokio::select! {
                // Time goes on however many commands there are.
                biased;
                () = stop.cancelled() => break,
                _ = tick.tick() => None,
                command = self.commands.recv() => command,
            };
            let began = Instant::now();
            match command {
                Some(command) => self.turn(command).await?,
                None => self.tick().await?,
            }
            self.links.excuse(began.elapsed());
        }
        self.pulse.stopping();
        self.finish().await
    }

    /// What has come in meanwhile is done before it is looked at what can start, which takes longer.
    async fn turn(&mut self, first: Command) -> Result<(), StoreError> {
        let (mut next, mut starts, mut done) = (Some(first), false, 0);
        while let Some(command) = next {
            starts |= command.may_start();
            self.handle(command).await?;
            done += 1;
            next = if done < TURN { self.commands.try_recv().ok() } else { None };
        }
        if starts { self.start_once(Instant::now()).await } else { Ok(()) }
    }

    async fn tick(&mut self) -> Result<(), StoreError> {
        let now = Instant::now();
        self.pulse.beat();
        self.pulse.status(self.in_a_sentence(now));
        // What waits in the queue may be the sign of life of whoever seems silent.
        for _ in 0..self.commands.len() {
            let Ok(command) = self.commands.try_recv() else { break };
            self.handle(command).await?;
        }
        self.stop_unheard();
        self.expire_once(now).await?;
        self.start_once(now).await?;
        self.note_waiting(now).await?;
        self.note_seen().await
    }

    /// Ends what runs beside the desk and still takes its outcome, so that nothing is done twice after the restart.
    async fn finish(mut self) -> Result<(), StoreError> {
        self.stopping = true;
        self.active.values().for_each(Active::stop_work);
        self.switching.values().for_each(Switching::stop);
        self.tasks.close();
        loop {
            let command = tokio::select! {
                biased;
                command = self.commands.recv() => command,
                () = self.tasks.wait() => self.commands.try_recv().ok(),
            };
            match command {
                Some(outcome) if outcome.is_outcome() => self.handle(outcome).await?,
                // Its sender hears that the coordinator is stopping.
                Some(_) => {}
                None => return Ok(()),
            }
        }
    }

    async fn handle(&mut self, command: Command) -> Result<(), StoreError> {
        match command {
            Command::Submit { builds, definitions, request, answer } => {
                let queued = self.submit(builds, &definitions, &request).await;
                reply(answer, queued)
            }
            Command::Judge { build, answer } => {
                // The caller may have gone away.
                let _ = answer.send(self.judge(*build));
                Ok(())
            }
            Command::Cancel { id, by, answer } => {
                let cancelled = self.cancel(id, by).await;
                reply(answer, cancelled)
            }
            Command::Agents { answer } => reply(answer, Ok(self.agent_views())),
            Command::Drain { agent, drained, answer } => {
                let view = self.drain(&agent, drained).await;
                reply(answer, view)
            }
            Command::Remove { agent, answer } => {
                let work = self.remove(&agent).await;
                reply(answer, work)
            }
            Command::Activate { rootimgdir, number, answer } => self.activate(rootimgdir, number, answer),
            Command::Greet { greeting, answer } => {
                let welcome = self.greet(greeting).await;
                reply(answer, welcome)
            }
            Command::Watch { id, answer } => {
                // The caller may have gone away.
                let _ = answer.send(self.active.get(&id).map(|active| active.view.subscribe()));
                Ok(())
            }
            Command::Explain { id, answer } => {
                let _ = answer.send(self.explain(id));
                Ok(())
            }
            Command::Heartbeat { agent, session, beat } => {
                self.links.beat(&agent, session, beat, Instant::now());
                Ok(())
            }
            Command::Surveyed { agent, session, survey } => self.surveyed(&agent, session, survey).await,
            Command::Event { agent, session, event } => self.on_event(agent, session, event).await,
            Command::Leaving { agent, session } => {
                self.links.leaving(&agent, session);
                Ok(())
            }
            Command::Closed { agent, session } => {
                self.links.closed(&agent, session);
                Ok(())
            }
            Command::Received { attempt, result } => self.on_received(attempt, result).await,
            Command::Packed { build, result } => self.on_packed(build, result).await,
            Command::Activated { rootimgdir, result } => self.on_activated(&rootimgdir, result),
        }
    }

    async fn submit(
        &mut self,
        wanted: Vec<NewBuild>,
        definitions: &[OsimageWrite],
        request: &str,
    ) -> Result<Vec<Build>, Refused> {
        if !request.is_empty()
            && let Some(ids) = self.parts.store.builds_of_request(request)?
        {
            let known = ids.into_iter().filter_map(|id| self.parts.store.build(id).transpose());
            return Ok(known.collect::<Result<_, _>>()?);
        }
        let mut id = self.next_id;
        let mut builds = Vec::with_capacity(wanted.len());
        for wanted in wanted {
            builds.push(clip::fitted(queued(id, wanted)));
            id = id.next();
        }
        self.parts.store.add_builds(&builds, definitions, request).await?;
        self.next_id = id;
        for build in &builds {
            tracing::info!(build = %build.id, osimage = %build.osimage, by = %build.submitted_by, "queued");
            self.active.insert(build.id, Active::new(build.clone()));
        }
        Ok(builds)
    }

    async fn cancel(&mut self, id: BuildId, by: UserName) -> Result<Build, Refused> {
        let Some(active) = self.active.get(&id) else {
            let known = self.parts.store.build(id)?;
            return Err(known.map_or(Refused::NoBuild(id), |_| Refused::Ended(id)));
        };
        if active.work.is_some() {
            // Its rootimgdir is being worked on and stays taken until that has ended.
            let build = Build { cancel_by: Some(by), ..active.build.clone() };
            self.save(build.clone()).await?;
            // The wish is on disk: after a kill it is not begun again.
            self.active.get(&id).into_iter().for_each(Active::stop_work);
            return Ok(build);
        }
        let lease = active.build.state.lease().map(|(agent, attempt)| (agent.clone(), attempt));
        self.apply(id, BuildEvent::Cancelled { by }, "cancelled").await?.map_err(|_| Refused::Ended(id))?;
        if let Some((agent, attempt)) = lease {
            self.links.tell(&agent, ToAgent::Drop(AttemptId { build: id, attempt }, "the build was cancelled".into()));
        }
        self.parts.store.build(id)?.ok_or(Refused::NoBuild(id))
    }

    /// Applies an event to a build: the new state is on disk before it shows. `outcome` ends the attempt's record
    /// when the event takes its lease away. A refusal is the inner error and changes nothing.
    pub(super) async fn apply(
        &mut self,
        id: BuildId,
        event: BuildEvent,
        outcome: &str,
    ) -> Result<Result<(), Refusal>, StoreError> {
        let Some(active) = self.active.get(&id) else { return Ok(Err(Refusal::Final)) };
        let mut build = active.build.clone();
        let state = match build.state.on(event) {
            Ok(state) => state,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let had_lease = build.state.lease().is_some();
        build.state = state;
        if had_lease && build.state.lease().is_none() {
            end_attempt(&mut build, outcome);
        }
        self.save(build).await?;
        Ok(Ok(()))
    }

    /// Writes a build and shows it; one that has ended leaves the desk.
    pub(super) async fn save(&mut self, build: Build) -> Result<(), StoreError> {
        self.save_all(vec![build]).await
    }

    /// The same for several in one write.
    pub(super) async fn save_all(&mut self, builds: Vec<Build>) -> Result<(), StoreError> {
        let builds: Vec<Build> = builds.into_iter().map(|build| clip::fitted(dated(build))).collect();
        self.parts.store.save_builds(&builds).await?;
        for build in builds {
            self.show(build);
        }
        Ok(())
    }

    /// Shows a build that is on disk.
    pub(super) fn show(&mut self, build: Build) {
        let (id, ended) = (build.id, build.state.is_final());
        let Some(active) = self.active.get_mut(&id) else { return };
        let (before, now) = (lease_of(&active.build), lease_of(&build));
        if active.build.state.word() != build.state.word() {
            tracing::info!(build = %id, osimage = %build.osimage, state = build.state.word(), "state");
        }
        active.build = build;
        if ended || !matches!(active.build.state, BuildState::Queued) {
            active.waiting_for.clear();
        }
        active.publish();
        if before != now {
            self.leases.send_modify(|leases| {
                before.map(|(attempt, _)| leases.remove(&attempt));
                leases.extend(now);
            });
        }
        // From here on its agent adds nothing to the log.
        if ended && let Some(active) = self.active.remove(&id) {
            let last = active.build.attempts.last().map_or(Attempt::FIRST, |record| record.attempt);
            let last = AttemptId { build: id, attempt: last };
            if let (BuildState::Cancelled { by }, Some(log)) = (&active.build.state, self.parts.logs.written(last)) {
                let text = format!("cancelled by {by}");
                let written = log.conclude(LogLine { time_ms: now_ms(), stage: "coordinator".into(), text });
                let _ = written.inspect_err(|error| tracing::debug!(attempt = %last, %error, "its log doesn't say so"));
            }
            self.end_log(last);
            self.clear_staging(&active.build);
        }
    }

    /// Ends a build on the coordinator's own account.
    pub(super) async fn fail(&mut self, id: BuildId, failure: Failure) -> Result<(), StoreError> {
        let failure = clip::failure(failure);
        // Refused only if it has ended already.
        let _ = self.apply(id, BuildEvent::Failed { attempt: None, failure }, "failed").await?;
        Ok(())
    }
}

/// The lease of a build that is still out: one whose archive was published is over for everything but receiving.
fn lease_of(build: &Build) -> Option<(AttemptId, Lease)> {
    let (agent, attempt) = build.state.lease()?;
    let record = build.attempts.last().filter(|record| record.published.is_none())?;
    let plan = build.plan.clone().unwrap_or_default();
    let lease = Lease { agent: agent.clone(), plan, staging: record.staging.clone() };
    Some((AttemptId { build: build.id, attempt }, lease))
}

/// A build that has ended says when.
fn dated(build: Build) -> Build {
    let ended_ms = if build.state.is_final() && build.ended_ms == 0 { now_ms() } else { build.ended_ms };
    Build { ended_ms, ..build }
}

impl Active {
    fn new(build: Build) -> Self {
        let view = watch::Sender::new(BuildView { build: build.clone(), waiting_for: String::new() });
        Self { build, waiting_for: String::new(), hopeless_since: None, work: None, view }
    }

    pub(super) fn publish(&self) {
        self.view.send_replace(BuildView { build: self.build.clone(), waiting_for: self.waiting_for.clone() });
    }

    pub(super) fn stop_work(&self) {
        if let Some(stop) = &self.work {
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    }
}

/// Answers a caller. A refusal is the caller's; a store that can't be written ends the desk.
pub(super) fn reply<T>(answer: Answer<T>, result: Result<T, Refused>) -> Result<(), StoreError> {
    let failed = matches!(result, Err(Refused::Store(StoreError::Engine(_) | StoreError::Closed)));
    // The caller may have gone away.
    let _ = answer.send(result);
    if failed { Err(StoreError::Closed) } else { Ok(()) }
}

pub(super) fn queued(id: BuildId, wanted: NewBuild) -> Build {
    let NewBuild {
        osimage,
        revision,
        arch,
        needs,
        rootimgdir,
        part,
        pack,
        genimage,
        submitted_by,
        plan,
        warnings,
        priority,
    } = wanted;
    Build {
        id,
        osimage,
        revision,
        arch,
        needs,
        rootimgdir,
        part,
        pack,
        genimage,
        submitted_by,
        submitted_ms: now_ms(),
        ended_ms: 0,
        priority,
        plan,
        state: BuildState::Queued,
        attempts: Vec::new(),
        generation: None,
        artefacts: Vec::new(),
        warnings: clip::warnings(&warnings),
        initrds: Vec::new(),
        cancel_by: None,
    }
}

pub(super) fn end_attempt(build: &mut Build, outcome: &str) {
    if let Some(record) = build.attempts.last_mut() {
        record.ended_ms = now_ms();
        for stage in record.stages.iter_mut().filter(|stage| stage.status == StageStatus::Running) {
            stage.status = StageStatus::Failed;
            stage.ended_ms = record.ended_ms;
        }
        record.outcome = Some(clip::clipped(outcome, clip::OUTCOME));
    }
}
