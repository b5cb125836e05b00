//! The service behind `imgctl build`, `builds` and `explain`.

use std::sync::Arc;

use model::build::{Build, BuildState, PackWish, Part};
use model::id::BuildId;
use model::name::AgentName;
use model::role::Caller;
use proto::v1;
use proto::violation::{FieldViolation, OfField};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::auth::caller;
use super::status::internal;
use crate::audit::Audit;
use crate::logs::Logs;
use crate::plans;
use crate::scheduler::{Scheduler, Verdict};
use crate::store::Store;
use crate::submit::{DryRun, EditedTree, Submission, Submitted, Submitter};
use crate::watching::{follow_build, follow_logs};

/// Builds shown when no number is asked for.
const LIST: usize = 50;
/// The most that can be asked for.
const LONGEST_LIST: usize = 10_000;

/// What can be asked for.
const PRIORITIES: std::ops::RangeInclusive<i32> = -100..=100;

/// Builds over the wire.
#[derive(Debug, Clone)]
pub struct Builds {
    /// Takes submissions.
    pub submitter: Arc<Submitter>,
    /// Records.
    pub store: Store,
    /// Builds that have not ended.
    pub scheduler: Scheduler,
    /// Logs of attempts.
    pub logs: Arc<Logs>,
    /// Where changes are noted.
    pub audit: Arc<Audit>,
}

#[tonic::async_trait]
impl v1::builds_server::Builds for Builds {
    type WatchStream = ReceiverStream<Result<v1::Build, Status>>;
    type LogsStream = ReceiverStream<Result<v1::LogLines, Status>>;

    async fn submit(&self, request: Request<v1::SubmitRequest>) -> Result<Response<v1::SubmitResponse>, Status> {
        let who = caller(&request)?;
        let submission = submission(request.into_inner(), &who)?;
        if !submission.dry_run {
            let saves = if submission.save { submission.genimage.set.as_slice() } else { &[] };
            let said: Vec<&str> = submission.names.iter().chain(saves).map(String::as_str).collect();
            self.audit.note(&who, "build", &said.join(" "));
        }
        self.queue(submission).await
    }

    async fn list(&self, request: Request<v1::ListBuildsRequest>) -> Result<Response<v1::ListBuildsResponse>, Status> {
        let v1::ListBuildsRequest { osimage, active, limit } = request.into_inner();
        let limit = if limit == 0 { LIST } else { (limit as usize).min(LONGEST_LIST) };
        let store = self.store.clone();
        // Few that fit may lie far apart.
        let builds = tokio::task::spawn_blocking(move || {
            store.newest_builds(limit, |build| {
                (osimage.is_empty() || build.osimage.as_str() == osimage) && !(active && build.state.is_final())
            })
        });
        let builds = builds.await.map_err(|error| internal(&error))??;
        Ok(Response::new(v1::ListBuildsResponse { builds: builds.into_iter().map(Into::into).collect() }))
    }

    async fn get(&self, request: Request<v1::GetBuildRequest>) -> Result<Response<v1::Build>, Status> {
        let id = build_id(request.into_inner().id)?;
        let mut wire: v1::Build = self.build(id)?.into();
        if let Some(view) = self.scheduler.watch(id).await? {
            wire = crate::watching::shown(&view.borrow(), None);
        }
        Ok(Response::new(wire))
    }

    async fn watch(&self, request: Request<v1::WatchBuildRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let build = self.build(build_id(request.into_inner().id)?)?;
        Ok(Response::new(follow_build(build, self.scheduler.clone(), self.store.clone(), self.logs.clone())))
    }

    async fn logs(&self, request: Request<v1::LogsRequest>) -> Result<Response<Self::LogsStream>, Status> {
        let request = request.into_inner();
        let build = self.build(build_id(request.build)?)?;
        let lines = follow_logs(build, request, self.scheduler.clone(), self.store.clone(), self.logs.clone())?;
        Ok(Response::new(lines))
    }

    async fn cancel(&self, request: Request<v1::CancelBuildRequest>) -> Result<Response<v1::Build>, Status> {
        let who = caller(&request)?;
        let id = build_id(request.into_inner().id)?;
        self.audit.note(&who, "cancel", &id.to_string());
        Ok(Response::new(self.scheduler.cancel(id, who.name).await?.into()))
    }

    async fn retry(&self, request: Request<v1::RetryBuildRequest>) -> Result<Response<v1::SubmitResponse>, Status> {
        let who = caller(&request)?;
        let v1::RetryBuildRequest { id, discard_edits } = request.into_inner();
        let build = self.build(build_id(id)?)?;
        if !build.state.is_final() {
            return Err(Status::failed_precondition(format!("build {id} has not ended; cancel it first")));
        }
        self.audit.note(&who, "retry", &id.to_string());
        self.queue(again(build, discard_edits, &who)).await
    }

    async fn explain(&self, request: Request<v1::ExplainRequest>) -> Result<Response<v1::ExplainResponse>, Status> {
        let id = build_id(request.into_inner().id)?;
        let build = self.build(id)?;
        let explanation = self.scheduler.explain(id).await?;
        let waiting_for = explanation.as_ref().map(|found| found.waiting_for.as_str()).unwrap_or_default();
        let (summary, hint) = summary(&build, waiting_for);
        let queued = build.state == BuildState::Queued;
        let agents = explanation.filter(|_| queued).map(|found| found.agents).unwrap_or_default();
        let agents = agents.into_iter().map(verdict).collect();
        Ok(Response::new(v1::ExplainResponse { build: Some(build.into()), summary, agents, hint }))
    }
}

impl Builds {
    async fn queue(&self, submission: Submission) -> Result<Response<v1::SubmitResponse>, Status> {
        let mut response = v1::SubmitResponse::default();
        match self.submitter.clone().submit(submission).await? {
            Submitted::Queued { builds, warnings, notes } => {
                response.builds = builds.into_iter().map(Into::into).collect();
                response.warnings = warnings;
                response.notes = notes;
            }
            Submitted::DryRun { runs, warnings, notes } => {
                response.dry_runs = runs.into_iter().map(dry_run).collect::<Result<_, _>>()?;
                response.warnings = warnings;
                response.notes = notes;
            }
            Submitted::Problems(problems) => response.problems = problems.into_iter().map(Into::into).collect(),
            Submitted::Edited(edited) => response.edited = edited.into_iter().map(edited_tree).collect(),
        }
        Ok(Response::new(response))
    }

    fn build(&self, id: BuildId) -> Result<Build, Status> {
        let missing = || Status::not_found(format!("there is no build {id}; `imgctl builds list` shows them"));
        self.store.build(id)?.ok_or_else(missing)
    }
}

fn build_id(number: u64) -> Result<BuildId, Status> {
    Ok(BuildId::new(number).of_field("id")?)
}

fn submission(wire: v1::SubmitRequest, who: &Caller) -> Result<Submission, Status> {
    let part = wire.part();
    let v1::SubmitRequest {
        names,
        arches,
        agent,
        discard_edits,
        all,
        method,
        compress,
        nosyncfiles,
        request_id,
        priority,
        genimage,
        save,
        dry_run,
        part: _,
    } = wire;
    if !PRIORITIES.contains(&priority) {
        return Err(Status::invalid_argument("a priority is a number from -100 to 100; 0 is usual, higher goes first"));
    }
    let arches: Result<Vec<_>, _> = arches.iter().map(|arch| arch.parse().of_field("arches")).collect();
    let agent: Option<AgentName> = (!agent.is_empty()).then(|| agent.parse()).transpose().of_field("agent")?;
    Ok(Submission {
        names,
        arches: arches?,
        agent,
        part: Part::try_from(part).of_field("part")?,
        pack: PackWish { method, compress, nosyncfiles },
        genimage: genimage.unwrap_or_default().try_into().map_err(|error: FieldViolation| error.scope("genimage"))?,
        save,
        dry_run,
        discard_edits,
        all,
        priority,
        request: request_id,
        by: who.name.clone(),
    })
}

fn again(build: Build, discard_edits: bool, who: &Caller) -> Submission {
    Submission {
        names: vec![build.osimage.to_string()],
        arches: Vec::new(),
        agent: build.needs.agent,
        part: build.part,
        pack: build.pack,
        genimage: build.genimage,
        save: false,
        dry_run: false,
        discard_edits,
        all: false,
        priority: build.priority,
        request: String::new(),
        by: who.name.clone(),
    }
}

fn edited_tree(tree: EditedTree) -> v1::EditedTree {
    let EditedTree { osimage, generation, packed, edits } = tree;
    let edits = edits.into_iter().map(|(path, change)| v1::TreeEdit { path, change }).collect();
    v1::EditedTree { osimage: osimage.into(), generation, edits, packed }
}

fn verdict(Verdict { agent, lacks, emulated_on }: Verdict) -> v1::AgentVerdict {
    v1::AgentVerdict { agent: agent.into(), lacks, emulated_on: emulated_on.unwrap_or_default() }
}

fn dry_run(run: DryRun) -> Result<v1::DryRun, Status> {
    let DryRun { osimage, found, agents } = run;
    Ok(v1::DryRun {
        osimage: osimage.into(),
        plan_json: plans::to_json(&found.plan).map_err(|error| internal(&error))?.into(),
        pack_json: serde_json::to_vec_pretty(&found.pack).map_err(|error| internal(&error))?.into(),
        agents: agents.into_iter().map(verdict).collect(),
    })
}

/// One sentence on how a build stands, and what to do next.
fn summary(build: &Build, waiting_for: &str) -> (String, String) {
    let id = build.id;
    match &build.state {
        BuildState::Queued => (
            format!("build {id} waits for {}", if waiting_for.is_empty() { "its turn" } else { waiting_for }),
            String::new(),
        ),
        BuildState::Leased { agent, attempt } => {
            (format!("build {id} was given to agent {agent} as attempt {attempt} and has not begun"), String::new())
        }
        BuildState::Running { agent, attempt, stage } => (
            format!("build {id} runs on agent {agent}, attempt {attempt}, stage {stage}"),
            format!("`imgctl builds logs -f {id}` follows it"),
        ),
        BuildState::Received { generation } => {
            (format!("build {id} was received as generation {generation} and goes on to packimage"), String::new())
        }
        BuildState::Packing { generation } => (format!("build {id} packs generation {generation}"), String::new()),
        BuildState::Succeeded => (format!("build {id} succeeded"), String::new()),
        BuildState::Failed { failure } => (
            format!("build {id} failed in stage {}: {}", failure.stage, failure.cause),
            failure.hint.clone().unwrap_or_else(|| format!("`imgctl builds logs {id}` shows the whole log")),
        ),
        BuildState::Cancelled { by } => {
            (format!("build {id} was cancelled by {by}"), format!("`imgctl builds retry {id}` starts it again"))
        }
    }
}
