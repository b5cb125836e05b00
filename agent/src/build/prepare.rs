//! Stage `prepare`: the plan is read, the scratch folder is proven fit, the MN's install root comes into view.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;

use model::emulation;
use model::plan::BuildPlan;
use rustix::mount::{UnmountFlags, unmount};

use super::context::{Context, State};
use super::emulated;
use super::failure::{StageError, chain};
use crate::preflight::conditions::INSTALL_MOUNT_FAILED;
use crate::sys::exec::CmdError;
use crate::sys::mount::Mounts;
use crate::sys::probe::{self, human};
use crate::worker::order::Order;
use crate::worker::report::StageLog;

/// Makes everything ready, or says why this node can't carry the plan out.
pub fn run(order: &Order, log: &StageLog<'_>) -> Result<(BuildPlan, State), StageError> {
    let text = fs::read(&order.plan).map_err(StageError::file("read the plan", &order.plan))?;
    let plan: BuildPlan = serde_json::from_slice(&text).map_err(|error| {
        StageError::build(format!("the plan can't be read: {error}"), "install the same release of imgctl everywhere")
    })?;
    super::readable(&plan)?;
    let facts = &order.facts;
    log.say(format!("attempt {} of {} on {} {} {}", order.attempt, plan.osimage, facts.os, facts.arch, facts.kernel));
    plan.warnings.iter().for_each(|warning| log.say(format!("warning: {warning}")));
    for condition in &order.conditions {
        log.say(format!("{condition}; {}", condition.remedy));
    }
    fits(order, &plan)?;
    let emulated_on = emulated::check(order, &plan)?;
    let told = emulated_on.as_deref().map(|on| emulation::told(&plan.osarch, on));
    told.iter().for_each(|text| log.say(format!("warning: {text}")));
    probe::probe(&order.scratch, order.min_scratch_free)?;
    let (free, _) = probe::space(&order.scratch).map_err(StageError::file("measure", &order.scratch))?;
    log.say(format!("scratch folder {} with {} free", order.scratch.display(), human(free)));
    let context = Context::new(order, &plan);
    folders(&context)?;
    mount_install(order, log)?;
    // While the install root can still be written to: `show_install` makes it read-only for all that comes.
    let archive = File::create(&order.archive).map_err(|source| {
        let cause = format!("cannot write the archive `{}`: {source}", order.archive.display());
        StageError::node(
            cause,
            "see that the node mounts the coordinator's install root read-write, and that its disk has room",
        )
    })?;
    show_install(order, &plan, log)?;
    let warnings = told.into_iter().collect();
    Ok((plan, State { archive: Some(archive), emulated_on, warnings, ..State::default() }))
}

/// Whether this node is one for the plan.
fn fits(order: &Order, plan: &BuildPlan) -> Result<(), StageError> {
    let system = plan.packages.name();
    if !order.facts.package_systems.iter().any(|known| known == system) {
        let cause = format!("this node can't build with {system}");
        let hint = match system {
            "apt" => "install mmdebstrap or debootstrap, and apt, on the node",
            _ => "install dnf and rpm on the node",
        };
        return Err(StageError::node(cause, hint));
    }
    let has = |word: &str| order.facts.package_systems.iter().any(|known| known == word);
    if let Some(database) = plan.packages.database().filter(|database| !has(database.capability())) {
        let cause =
            format!("this node's rpm can't write the database that the image's rpm reads ({})", database.backend());
        return Err(StageError::node(cause, "build it on a node whose release is near the image's"));
    }
    match (&order.install, plan.needs_install.first()) {
        (None, Some(reason)) => Err(StageError::node(
            format!(
                "the build needs the coordinator's {}, which this node doesn't see: {reason}",
                plan.install_dir.display()
            ),
            order.conditions.first().map_or("see `imgctl agents show`", |condition| condition.remedy.as_str()),
        )),
        _ => Ok(()),
    }
}

fn folders(context: &Context<'_>) -> Result<(), StageError> {
    // Open to `_apt`, which fetches packages without being root.
    for (folder, mode) in [(&context.out, 0o755), (&context.work, 0o711), (&context.work.join("tmp"), 0o700)] {
        DirBuilder::new().mode(mode).create(folder).map_err(StageError::file("make", folder))?;
    }
    Ok(())
}

/// Mounts the MN's install root where the node itself doesn't have it, until the namespace ends.
fn mount_install(order: &Order, log: &StageLog<'_>) -> Result<(), StageError> {
    let (Some(export), Some(point)) = (&order.mount, &order.install) else { return Ok(()) };
    fs::create_dir_all(point).map_err(StageError::file("make", point))?;
    let failed = |error: CmdError| {
        let words = error.lines().last().cloned().unwrap_or_else(|| chain(&error));
        StageError::node(format!("cannot mount {}: {words}", export.source), INSTALL_MOUNT_FAILED.remedy)
    };
    export.mount(point).map_err(failed)?;
    log.say(format!("mounted {} with {}", export.source, export.options));
    Ok(())
}

/// Shows the MN's install root at the path that the plan knows it by, read-only.
fn show_install(order: &Order, plan: &BuildPlan, log: &StageLog<'_>) -> Result<(), StageError> {
    let Some(seen) = &order.install else {
        log.say("this node does not see the install root; the archive will be uploaded");
        return Ok(());
    };
    if !plan.install_dir.exists() {
        fs::create_dir_all(&plan.install_dir).map_err(StageError::file("make", &plan.install_dir))?;
    }
    let mut mounts = Mounts::default();
    mounts.bind_read_only(seen, &plan.install_dir)?;
    // It stays until the namespace ends.
    mounts.keep();
    if order.mount.is_some() {
        // Read-write it is only under the archive, which is open already.
        unmount(seen, UnmountFlags::DETACH).map_err(|errno| StageError::file("unmount", seen)(errno.into()))?;
    }
    log.say(format!("install root {} in view, read-only", plan.install_dir.display()));
    Ok(())
}
