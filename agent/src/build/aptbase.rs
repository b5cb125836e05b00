//! The base system of a Debian or Ubuntu, by mmdebstrap or debootstrap, and what they leave to be cleared away.
//!
//! mmdebstrap makes the base and installs the first pass in one go, which is twice as fast as doing it one after
//! the other; later passes are transactions of their own, as the list says.

use model::plan::{PackageItem, Pass};

use super::aptroot::{Feed, explained};
use super::context::Context;
use super::failure::StageError;
use super::place::Place;
use crate::pkg::apt::{self, Bootstrap, Source};
use crate::pkg::names;
use crate::sys::exec::Cmd;
use crate::worker::report::StageLog;

/// Makes the base system; gives the passes that are left to do.
pub fn make(context: &Context<'_>, log: &StageLog<'_>, suite: &str, passes: &[Pass]) -> Result<Vec<Pass>, StageError> {
    let feed = Feed::new(context, context.plan.repositories.iter())?;
    let first = passes.first().cloned().unwrap_or_default();
    let mut left = if context.order.facts.has("mmdebstrap") {
        bootstrap(context, log, suite, &feed, &first)?
    } else {
        debootstrap(context, log, suite, &feed.sources[0])?;
        vec![first]
    };
    left.extend(passes.iter().skip(1).cloned());
    Ok(left)
}

/// mmdebstrap with the first pass; gives what of that pass is left to do.
fn bootstrap(
    context: &Context<'_>,
    log: &StageLog<'_>,
    suite: &str,
    feed: &Feed<'_>,
    first: &Pass,
) -> Result<Vec<Pass>, StageError> {
    // What is to go before anything is installed has to be there first: base system now, the pass after it.
    let split = !first.remove_before.is_empty();
    let items: &[PackageItem] = if split { &[] } else { &first.install };
    let include = names(items, apt::is_name)?;
    let (sources, options) = (feed.sources.as_slice(), feed.options.as_slice());
    let args =
        Bootstrap { arch: context.plan.arch, suite, include: &include, sources, options, root: &context.root }.args();
    let cmd = Cmd::new("mmdebstrap").args(args).envs(&context.package_environment(&first.environment));
    let cmd = cmd.env("TMPDIR", context.work.join("tmp"));
    log.run(&cmd).map_err(|error| explained(error, items))?;
    if split {
        return Ok(vec![first.clone()]);
    }
    if first.remove_after.is_empty() {
        return Ok(Vec::new());
    }
    Ok(vec![Pass {
        environment: first.environment.clone(),
        remove_after: first.remove_after.clone(),
        ..Pass::default()
    }])
}

/// The older tool knows one repository and no passes, so it makes the base system only.
fn debootstrap(context: &Context<'_>, log: &StageLog<'_>, suite: &str, base: &Source<'_>) -> Result<(), StageError> {
    let mut cmd = Cmd::new("debootstrap").args(["--variant=minbase", "--verbose"]);
    cmd = cmd.arg(format!("--arch={}", context.plan.arch.debian()));
    cmd = match &base.keyring {
        Some(keyring) => cmd.arg(format!("--keyring={}", keyring.display())),
        None => cmd.arg("--no-check-gpg"),
    };
    if !base.repository.components.is_empty() {
        cmd = cmd.arg(format!("--components={}", base.repository.components.join(",")));
    }
    let cmd = cmd.arg(suite).arg(&context.root).arg(&base.repository.url);
    let cmd = cmd.envs(&context.package_environment(&Default::default()));
    log.run(&cmd).map(|_| ()).map_err(|error| explained(error, &[]))
}

/// Takes away what only the build needed: downloads, lists, and the settings that mmdebstrap leaves.
pub fn clean(context: &Context<'_>) -> Result<(), StageError> {
    let place = Place::new(&context.root);
    for folder in
        ["var/cache/apt/archives", "var/cache/apt/archives/partial", "var/lib/apt/lists", "var/lib/apt/lists/partial"]
    {
        for name in place.names(folder, "") {
            let name = format!("{folder}/{name}");
            let path = place.at(&name).filter(|path| path.symlink_metadata().is_ok_and(|found| !found.is_dir()));
            if path.is_some() {
                place.remove(&name)?;
            }
        }
    }
    for name in [
        "var/cache/apt/pkgcache.bin",
        "var/cache/apt/srcpkgcache.bin",
        "etc/apt/apt.conf.d/99mmdebstrap",
        "etc/dpkg/dpkg.cfg.d/99mmdebstrap",
    ] {
        place.remove(name)?;
    }
    Ok(())
}
