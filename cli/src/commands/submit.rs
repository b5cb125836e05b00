//! Queueing builds, and what may stand in the way: problems of definitions, edited trees, a lost answer.

use std::time::Duration;

use proto::v1;
use tonic::Status;
use uuid::Uuid;

use super::{Context, dry_run};
use crate::failure::{Exit, Failure, is_broken_connection};
use crate::follow::attached::attach;
use crate::view::{BuildView, EditView, taken_all};

/// How often a submission is sent again when its answer was lost; the request's id keeps it from counting twice.
const RESENDS: u32 = 5;
const RESEND_WAIT: Duration = Duration::from_secs(1);

/// What is asked of the coordinator.
#[derive(Debug, Clone)]
pub(crate) enum Order {
    /// New builds.
    Submit(v1::SubmitRequest),
    /// An old build again.
    Retry(v1::RetryBuildRequest),
}

/// Queues builds and follows them, or not.
pub(crate) async fn submit(mut order: Order, detach: bool, context: &Context) -> Result<Exit, Failure> {
    let mut response = order.send(context).await?;
    context.refuse_problems(std::mem::take(&mut response.problems))?;
    if order.is_dry() {
        context.warn(&response.warnings);
        response.notes.iter().for_each(|note| context.printer.note(note));
        return dry_run::show(response.dry_runs, context);
    }
    if !response.edited.is_empty() {
        confirm_discard(&response.edited, context).await?;
        order.discard_edits();
        response = order.send(context).await?;
        context.refuse_problems(std::mem::take(&mut response.problems))?;
    }
    context.warn(&response.warnings);
    response.notes.iter().for_each(|note| context.printer.note(note));
    let builds: Vec<BuildView> = taken_all(&context.client, response.builds)?;
    match detach {
        true => queued(&builds, context),
        false => {
            for view in &builds {
                let BuildView { build, .. } = view;
                context.printer.note(&format!("build {} of {} ({}) is queued", build.id, build.osimage, build.arch));
            }
            attach(&context.client, &context.printer, builds).await
        }
    }
}

impl Order {
    async fn send(&self, context: &Context) -> Result<v1::SubmitResponse, Failure> {
        let mut resends = 0;
        loop {
            match self.send_once(context).await {
                Ok(response) => return Ok(response),
                Err(status) if self.may_resend() && resends < RESENDS && is_broken_connection(&status) => {
                    resends += 1;
                    context.printer.note("the answer was lost; asking again (nothing is queued twice)");
                    tokio::time::sleep(RESEND_WAIT).await;
                }
                Err(status) => return Err(context.client.failure(&status)),
            }
        }
    }

    async fn send_once(&self, context: &Context) -> Result<v1::SubmitResponse, Status> {
        let mut builds = context.client.builds();
        match self {
            Self::Submit(request) => Ok(builds.submit(request.clone()).await?.into_inner()),
            Self::Retry(request) => Ok(builds.retry(*request).await?.into_inner()),
        }
    }

    /// A retry carries no id that would make it count once.
    fn may_resend(&self) -> bool {
        matches!(self, Self::Submit(_))
    }

    fn is_dry(&self) -> bool {
        matches!(self, Self::Submit(request) if request.dry_run)
    }

    fn discard_edits(&mut self) {
        match self {
            Self::Submit(request) => {
                request.discard_edits = true;
                request.request_id = new_request_id();
            }
            Self::Retry(request) => request.discard_edits = true,
        }
    }
}

/// An id for a new submission.
pub(crate) fn new_request_id() -> String {
    Uuid::new_v4().to_string()
}

/// Shows the edits that would be lost, and asks.
async fn confirm_discard(edited: &[v1::EditedTree], context: &Context) -> Result<(), Failure> {
    for tree in edited {
        let v1::EditedTree { osimage, generation, edits, packed: _ } = tree;
        context.printer.warning(&format!(
            "the tree of {osimage} (generation {generation}) was edited by hand; a new build starts from a fresh tree and would lose:"
        ));
        for edit in edits {
            let EditView { path, change } = edit.clone().into();
            context.printer.usage(&format!("  {path}: {change}"));
        }
    }
    let refused = || Failure::refused("nothing was queued: local edits would be lost").hint(edits_hint(edited));
    if !context.printer.can_ask() {
        return Err(refused());
    }
    match context.printer.ask("discard these edits and rebuild? [y/N]").await.as_deref() {
        Some("y" | "Y" | "yes") => Ok(()),
        _ => Err(refused()),
    }
}

/// What is packed already need not be packed again to be kept.
fn edits_hint(edited: &[v1::EditedTree]) -> &'static str {
    if edited.iter().all(|tree| tree.packed) {
        "edits from before it was packed are in its archive, later ones in none until `imgctl packimage`; a new build would have neither: --discard-edits builds anew; a postinstall script keeps an edit for good"
    } else {
        "--discard-edits builds anew all the same; `imgctl packimage` packs the edited tree"
    }
}

fn queued(builds: &[BuildView], context: &Context) -> Result<Exit, Failure> {
    if context.printer.json() {
        let documents: Vec<_> = builds.iter().map(BuildView::json).collect::<Result<_, _>>()?;
        context.printer.out_json(&documents)?;
        return Ok(Exit::Done);
    }
    for BuildView { build, .. } in builds {
        context.printer.out(&format!("build {} of {} ({}) is queued", build.id, build.osimage, build.arch))?;
    }
    match builds {
        [view] => context.printer.note(&format!("`imgctl builds logs -f {}` follows it", view.id())),
        _ => context.printer.note("`imgctl builds list --active` shows them, `imgctl builds logs -f ID` follows one"),
    }
    Ok(Exit::Done)
}
