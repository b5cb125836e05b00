//! Stage `otherpkgs`: the otherpkgs passes, from their own repositories and those of the OS; then what only the build
//! needed is taken away, and an apt image gets its final list of sources.

use std::fs;

use model::plan::{PackageSystem, Update};

use super::Outcome;
use super::aptbase;
use super::aptroot::Feed;
use super::context::{Context, State};
use super::failure::StageError;
use super::place::Place;
use super::root::Root;
use crate::pkg::apt::kept_key;
use crate::worker::report::StageLog;

/// Installs what the distribution does not have.
pub fn run(context: &Context<'_>, state: &mut State, log: &StageLog<'_>) -> Result<Outcome, StageError> {
    let plan = context.plan;
    let repositories = || plan.repositories.iter().chain(&plan.other_repositories);
    if !plan.other_passes.is_empty() {
        let root = Root::open(context, log, repositories())?;
        state.warnings.extend_from_slice(root.warnings());
        for pass in &plan.other_passes {
            root.pass(pass)?;
            if plan.update != Update::No {
                root.update(&pass.environment)?;
            }
        }
        root.close()?;
    }
    if matches!(plan.packages, PackageSystem::Apt { .. }) {
        aptbase::clean(context)?;
        keep_sources(context, &Feed::new(context, repositories())?)?;
    }
    Ok(if plan.other_passes.is_empty() { Outcome::Skipped } else { Outcome::Done })
}

/// A booted node can go on installing from what it can reach.
fn keep_sources(context: &Context<'_>, feed: &Feed<'_>) -> Result<(), StageError> {
    let lines: String = feed.sources.iter().filter_map(|source| source.kept_line()).map(|line| line + "\n").collect();
    let place = Place::new(&context.root);
    if !place.has("etc/apt") {
        return Ok(());
    }
    place.write("etc/apt/sources.list", &format!("# From the osimage {}.\n{lines}", context.plan.osimage), 0o644)?;
    for source in feed.sources.iter().filter(|source| source.repository.local_path().is_none()) {
        let Some(key) = source.keyring.as_ref().filter(|key| key.starts_with(&context.work)) else { continue };
        let kept = place.spot(&kept_key(key).to_string_lossy())?;
        fs::copy(key, &kept).map_err(StageError::file("write", &kept))?;
    }
    Ok(())
}
