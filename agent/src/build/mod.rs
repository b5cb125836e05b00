//! genimage: the recipe of one attempt, carried out in its worker.
//!
//! [`run`] reads like the manual: each stage is a file of its own, takes the [`Context`] and leaves its work in the
//! attempt's scratch folder. What the stages learn for one another stands in [`State`].

pub mod aptbase;
pub mod aptroot;
pub mod configure;
pub mod context;
pub mod dnfroot;
pub mod drivers;
pub mod emulated;
pub mod failure;
pub mod initrd;
pub mod inside;
pub mod kernel;
pub mod otherpkgs;
pub mod packages;
pub mod place;
pub mod postinstall;
pub mod prepare;
pub mod publish;
pub mod redhat;
pub mod root;
pub mod rpmdb;
pub mod tree;
pub mod view;

use model::plan::BuildPlan;
use model::stage::{Stage, StageStatus};

use crate::worker::order::Order;
use crate::worker::report::{Failure, Product, Report, Reporter, StageLog, now_ms};
use context::{Context, State};
use failure::StageError;

/// How a stage ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It did its work.
    Done,
    /// It had nothing to do.
    Skipped,
}

type StageFn = fn(&Context<'_>, &mut State, &StageLog<'_>) -> Result<Outcome, StageError>;

type Recipe = [(Stage, StageFn); 6];

/// The stages that come after `prepare`, which makes what the others stand on.
const WHOLE: Recipe = [
    (Stage::Packages, packages::run),
    (Stage::Otherpkgs, otherpkgs::run),
    (Stage::Configure, configure::run),
    (Stage::Postinstall, postinstall::run),
    (Stage::Initrd, initrd::run),
    (Stage::Publish, publish::run),
];

/// `--onlyinitrd`: nothing is installed, nothing is run on the tree that is there (XCAT.md 6.1).
const INITRDS: Recipe = [
    (Stage::Packages, tree::run),
    (Stage::Otherpkgs, skip),
    (Stage::Configure, configure::only_kernel),
    (Stage::Postinstall, skip),
    (Stage::Initrd, initrd::run),
    (Stage::Publish, publish::run),
];

fn skip(_: &Context<'_>, _: &mut State, _: &StageLog<'_>) -> Result<Outcome, StageError> {
    Ok(Outcome::Skipped)
}

/// Carries out an order from its plan to the archive.
pub fn run(order: &Order, reporter: &Reporter) -> Result<Product, Failure> {
    let mut prepared = None;
    stage(Stage::Prepare, reporter, |log| {
        prepared = Some(prepare::run(order, log)?);
        Ok(Outcome::Done)
    })?;
    let Some((plan, mut state)) = prepared else { return Err(unfinished(Stage::Prepare)) };
    let context = Context::new(order, &plan);
    for (name, run) in if plan.wish.only_initrd { INITRDS } else { WHOLE } {
        stage(name, reporter, |log| run(&context, &mut state, log))?;
    }
    state.product.ok_or_else(|| unfinished(Stage::Publish))
}

/// Runs one stage and tells of its beginning and end.
fn stage(
    stage: Stage,
    reporter: &Reporter,
    work: impl FnOnce(&StageLog<'_>) -> Result<Outcome, StageError>,
) -> Result<(), Failure> {
    reporter.send(&Report::StageStarted { stage, time_ms: now_ms() });
    let log = StageLog::new(stage, reporter);
    let outcome = work(&log);
    let status = match &outcome {
        Ok(Outcome::Done) => StageStatus::Done,
        Ok(Outcome::Skipped) => StageStatus::Skipped,
        Err(_) => StageStatus::Failed,
    };
    if let Err(error) = &outcome {
        log.say(format!("{stage} failed: {}", error.cause));
        if !error.hint.is_empty() {
            log.say(format!("hint: {}", error.hint));
        }
    }
    reporter.send(&Report::StageEnded { stage, status, time_ms: now_ms() });
    outcome.map(|_| ()).map_err(|error| error.at(stage, log.last_lines()))
}

fn unfinished(stage: Stage) -> Failure {
    StageError::node("the worker lost track of its own work", "report this as a fault of imgctl").at(stage, Vec::new())
}

/// Whether the plan's document is one that this agent can carry out.
fn readable(plan: &BuildPlan) -> Result<(), StageError> {
    if plan.version == model::plan::PLAN_VERSION {
        return Ok(());
    }
    Err(StageError::build(
        format!(
            "the plan has version {}, and this agent carries out version {}",
            plan.version,
            model::plan::PLAN_VERSION
        ),
        "install the same release of imgctl on the coordinator and on this node",
    ))
}
