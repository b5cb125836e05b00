//! `explain`: why a build waits or why it failed.

use model::emulation::SLOWER;
use model::id::BuildId;
use proto::v1;

use super::Context;
use crate::failure::{Exit, Failure};
use crate::follow::report::last_lines;
use crate::view::{BuildView, Explanation, Verdict, some_text, taken};

pub(super) async fn explain(build: BuildId, context: &Context) -> Result<Exit, Failure> {
    let answer = context.client.builds().explain(v1::ExplainRequest { id: build.get() }).await;
    let v1::ExplainResponse { build, summary, agents, hint } =
        answer.map_err(|status| context.client.failure(&status))?.into_inner();
    let view: BuildView = taken(&context.client, build.unwrap_or_default())?;
    let agents: Vec<Verdict> = agents.into_iter().map(Into::into).collect();
    let hint = some_text(hint);
    if context.printer.json() {
        context.printer.out_json(&Explanation { build: view.json()?, summary, agents, hint })?;
        return Ok(Exit::Done);
    }
    context.printer.out(&summary)?;
    if !agents.is_empty() {
        verdicts(&agents, context)?;
    }
    if let Some(failure) = view.failure() {
        context.printer.out_spans(&last_lines(&failure.last_lines))?;
    }
    if let Some(hint) = hint {
        context.printer.out(&format!("hint: {hint}"))?;
    }
    Ok(Exit::Done)
}

/// Each agent, and what it lacks.
pub(super) fn verdicts(agents: &[Verdict], context: &Context) -> Result<(), Failure> {
    let rows: Vec<_> = agents.iter().map(|verdict| vec![verdict.agent.clone(), fits(verdict)]).collect();
    context.table(&["agent", "verdict"], &rows, "no agent has joined")
}

fn fits(verdict: &Verdict) -> String {
    match verdict.lacks.as_slice() {
        [] if verdict.emulated_on.is_some() => {
            let on = verdict.emulated_on.as_deref().unwrap_or_default();
            format!("fits, under emulation on {on} ({SLOWER} as long)")
        }
        [] => "fits".to_owned(),
        lacks => format!("lacks: {}", lacks.join("; ")),
    }
}
