//! `generations …`: what builds left in rootimgdirs.

use model::name::ImageName;
use proto::v1;

use super::Context;
use crate::args::GenerationsVerb;
use crate::diff::DiffView;
use crate::failure::{Exit, Failure};
use crate::follow::report::artefacts;
use crate::format;
use crate::view::{GenerationView, taken, taken_all};

pub(super) async fn execute(verb: GenerationsVerb, context: &Context) -> Result<Exit, Failure> {
    match verb {
        GenerationsVerb::List { osimage } => list(osimage, context).await,
        GenerationsVerb::Show { osimage, number } => show(osimage, number.unwrap_or(0), context).await,
        GenerationsVerb::Activate { osimage, number } => activate(osimage, number, context).await,
        GenerationsVerb::Diff { osimage, from, to, files } => diff(osimage, (from, to), files, context).await,
    }
}

async fn list(osimage: ImageName, context: &Context) -> Result<Exit, Failure> {
    let request = v1::ListGenerationsRequest { osimage: osimage.to_string() };
    let answer = context.client.generations().list(request).await.map_err(|status| context.client.failure(&status))?;
    let generations: Vec<GenerationView> = taken_all(&context.client, answer.into_inner().generations)?;
    if context.printer.json() {
        context.printer.out_json(&generations)?;
        return Ok(Exit::Done);
    }
    let rows: Vec<_> = generations.iter().map(row).collect();
    let head = ["generation", "state", "osimage", "build", "built", "packed", "kernel", "agent"];
    context.table(&head, &rows, &format!("there are no generations of {osimage} yet"))?;
    Ok(Exit::Done)
}

fn row(view: &GenerationView) -> Vec<String> {
    let state = if view.live { format!("{}, live", view.state) } else { view.state.clone() };
    vec![
        view.number.to_string(),
        state,
        view.osimage.clone(),
        made_by(view),
        format::moment(view.built_ms),
        format::moment(view.packed_ms),
        format::or_nothing(&view.kernel_version).to_owned(),
        view.agent.clone().unwrap_or_else(|| format::NOTHING.to_owned()),
    ]
}

fn made_by(view: &GenerationView) -> String {
    view.build.map_or_else(|| "xCAT".to_owned(), |build| build.to_string())
}

async fn show(osimage: ImageName, number: u32, context: &Context) -> Result<Exit, Failure> {
    let request = v1::GetGenerationRequest { osimage: osimage.into(), number };
    let answer = context.client.generations().get(request).await;
    let wire = answer.map_err(|status| context.client.failure(&status))?.into_inner();
    let view: GenerationView = taken(&context.client, wire)?;
    if context.printer.json() {
        context.printer.out_json(&view)?;
        return Ok(Exit::Done);
    }
    let packages = if view.packages == 0 { String::new() } else { view.packages.to_string() };
    let fields = [
        ("state", if view.live { format!("{}, live", view.state) } else { view.state.clone() }),
        ("build", made_by(&view)),
        ("path", view.path.display().to_string()),
        ("tree of", view.tree_of.map(|number| format!("generation {number}")).unwrap_or_default()),
        ("built", format::moment(view.built_ms)),
        ("packed", format::moment(view.packed_ms)),
        ("kernel", view.kernel_version.clone()),
        ("agent", view.agent.clone().unwrap_or_default()),
        ("emulated on", view.emulated_on.clone().unwrap_or_default()),
        ("packages", packages),
    ];
    context.fields(&format!("generation {} of {}", view.number, view.osimage), &fields)?;
    if !view.artefacts.is_empty() {
        context.printer.out(&format!("\n{}", artefacts(&view.artefacts)))?;
    }
    if !view.edits.is_empty() {
        let lines: String = view.edits.iter().map(|edit| format!("  {}: {}\n", edit.path, edit.change)).collect();
        context.printer.out(&format!("\nedited since it was built:\n{lines}"))?;
    }
    Ok(Exit::Done)
}

async fn activate(osimage: ImageName, number: u32, context: &Context) -> Result<Exit, Failure> {
    let request = v1::ActivateGenerationRequest { osimage: osimage.to_string(), number };
    let answer = context.client.generations().activate(request).await;
    let v1::ActivateGenerationResponse { from, made, removed } =
        answer.map_err(|status| context.client.failure(&status))?.into_inner();
    let before = match from {
        Some(from) if from == number => "it was live before, too".to_owned(),
        Some(from) => format!("generation {from} was live before"),
        None => "none was live before".to_owned(),
    };
    context.printer.out(&format!("generation {number} of {osimage} is live; {before}"))?;
    let list = |names: Vec<String>| names.join(", ");
    if !removed.is_empty() {
        let instead = if made.is_empty() { String::new() } else { format!(" ({} instead)", list(made)) };
        context.printer.warning(&format!("not served any more: {}{instead}", list(removed)));
    }
    Ok(Exit::Done)
}

/// More than the coordinator puts into one answer.
const ALL_FILES: u32 = u32::MAX;
/// More than are shown.
const SOME_FILES: u32 = 100;

async fn diff(
    osimage: ImageName,
    (from, to): (Option<u32>, Option<u32>),
    files: bool,
    context: &Context,
) -> Result<Exit, Failure> {
    let request = v1::DiffGenerationsRequest {
        osimage: osimage.to_string(),
        from: from.unwrap_or(0),
        to: to.unwrap_or(0),
        max_files: if files { ALL_FILES } else { SOME_FILES },
    };
    let answer = context.client.generations().diff(request).await;
    let view = DiffView::from(answer.map_err(|status| context.client.failure(&status))?.into_inner());
    if context.printer.json() {
        context.printer.out_json(&view)?;
    } else {
        context.printer.out_spans(&view.text(osimage.as_str(), files))?;
    }
    Ok(Exit::Done)
}
