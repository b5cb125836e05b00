//! Stage `otherpkgs`: the otherpkgs passes, from their own repositories and those of the OS; then the image's final
//! list of sources.

use std::fs;

use super::Outcome;
use super::aptroot::{AptRoot, Feed};
use super::context::{Context, State};
use super::failure::StageError;
use super::packages;
use crate::pkg::apt::kept_key;
use crate::worker::report::StageLog;

/// Installs what the distribution does not have.
pub fn run(context: &Context<'_>, _state: &mut State, log: &StageLog<'_>) -> Result<Outcome, StageError> {
    let plan = context.plan;
    let feed = Feed::new(context, plan.repositories.iter().chain(&plan.other_repositories))?;
    if !plan.other_passes.is_empty() {
        let apt = AptRoot::open(context, log, &feed)?;
        for pass in &plan.other_passes {
            apt.pass(pass)?;
        }
        apt.close()?;
    }
    packages::clean(context)?;
    keep_sources(context, &feed)?;
    Ok(if plan.other_passes.is_empty() { Outcome::Skipped } else { Outcome::Done })
}

/// A booted node can go on installing from what it can reach.
fn keep_sources(context: &Context<'_>, feed: &Feed<'_>) -> Result<(), StageError> {
    let lines: String = feed.sources.iter().filter_map(|source| source.kept_line()).map(|line| line + "\n").collect();
    let list = context.root.join("etc/apt/sources.list");
    if let Some(folder) = list.parent().filter(|folder| folder.is_dir()) {
        let text = format!("# From the osimage {}.\n{lines}", context.plan.osimage);
        fs::write(&list, text).map_err(StageError::file("write", &list))?;
        for source in feed.sources.iter().filter(|source| source.repository.local_path().is_none()) {
            let Some(key) = source.keyring.as_ref().filter(|key| key.starts_with(&context.work)) else { continue };
            let kept = context.root.join(kept_key(key).strip_prefix("/").unwrap_or(key));
            fs::create_dir_all(folder.join("keyrings")).map_err(StageError::file("make", folder))?;
            fs::copy(key, &kept).map_err(StageError::file("write", &kept))?;
        }
    }
    Ok(())
}
