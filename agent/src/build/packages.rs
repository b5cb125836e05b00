//! Stage `packages`: the base system and the pkglist passes, by the package system of the distribution.

use model::plan::{PackageSystem, Update};

use super::Outcome;
use super::context::{Context, State};
use super::failure::StageError;
use super::kernel::available;
use super::root::{Root, installed};
use super::{aptbase, dnfroot};
use crate::worker::report::StageLog;

/// Fills the tree.
pub fn run(context: &Context<'_>, _state: &mut State, log: &StageLog<'_>) -> Result<Outcome, StageError> {
    let plan = context.plan;
    if plan.repositories.is_empty() {
        return Err(StageError::build("the osimage names no repository to install from", "set pkgdir"));
    }
    available::check(context, log)?;
    let left = match &plan.packages {
        PackageSystem::Apt { suite } => aptbase::make(context, log, suite, &plan.passes)?,
        PackageSystem::Dnf { .. } => {
            dnfroot::make(context)?;
            plan.passes.clone()
        }
        PackageSystem::Zypper => return Err(Root::unknown(context)),
    };
    let update = plan.update == Update::All;
    if !left.is_empty() || update {
        let root = Root::open(context, log, plan.repositories.iter())?;
        available::check_with(context, &root)?;
        for pass in &left {
            root.pass(pass)?;
        }
        if update {
            root.update(&Default::default())?;
        }
        root.close()?;
    }
    log.say(format!("{} packages are installed", installed(context)?.len()));
    Ok(Outcome::Done)
}
