//! `--dryrun`: what would be queued, shown and not queued.

use proto::v1;

use super::Context;
use super::explain::verdicts;
use super::resolve::{page, strange};
use crate::failure::{Exit, Failure};
use crate::view::{DryRunView, Verdict};

/// Shows each plan and who could carry it out now.
pub(super) fn show(runs: Vec<v1::DryRun>, context: &Context) -> Result<Exit, Failure> {
    if context.printer.json() {
        let views: Vec<DryRunView> = runs.into_iter().map(view).collect::<Result<_, _>>()?;
        context.printer.out_json(&views)?;
        return Ok(Exit::Done);
    }
    for run in runs {
        // Its warnings came with the answer and have been told.
        page(&run.plan_json, &run.pack_json, context)?;
        context.printer.out("\nagents")?;
        let agents: Vec<Verdict> = run.agents.into_iter().map(Into::into).collect();
        verdicts(&agents, context)?;
    }
    context.printer.note("nothing was queued (--dryrun)");
    Ok(Exit::Done)
}

fn view(run: v1::DryRun) -> Result<DryRunView, Failure> {
    let v1::DryRun { osimage, plan_json, pack_json, agents } = run;
    Ok(DryRunView {
        osimage,
        plan: serde_json::from_slice(&plan_json).map_err(strange)?,
        packimage: serde_json::from_slice(&pack_json).map_err(strange)?,
        agents: agents.into_iter().map(Into::into).collect(),
    })
}
