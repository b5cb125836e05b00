//! Whether the repositories have the kernel that is named (`kernelver`, `-k`), asked before anything is installed.

use std::fs;

use model::plan::{KernelChoice, PackageSystem};

use super::{Order, order};
use crate::build::aptroot::Feed;
use crate::build::context::Context;
use crate::build::failure::StageError;
use crate::build::root::Root;
use crate::pkg::apt;
use crate::sys::exec::Cmd;
use crate::worker::report::StageLog;

/// What Debian and Ubuntu call their kernels' packages.
const APT_KERNEL: &str = "linux-image-";
/// How many of the releases that there are go into a message.
const SHOWN: usize = 12;

/// Asks apt, before there is an image to ask in.
pub fn check(context: &Context<'_>, log: &StageLog<'_>) -> Result<(), StageError> {
    match (&context.plan.kernel, &context.plan.packages) {
        (KernelChoice::Exactly { version }, PackageSystem::Apt { .. }) => check_apt(context, log, version),
        _ => Ok(()),
    }
}

/// Asks the package manager of an image that is still empty.
pub fn check_with(context: &Context<'_>, root: &Root<'_>) -> Result<(), StageError> {
    let KernelChoice::Exactly { version } = &context.plan.kernel else { return Ok(()) };
    match root.kernels()? {
        Some(there) => judge(version, there, order(&context.plan.packages)),
        None => Ok(()),
    }
}

/// From lists of its own that go with the attempt.
fn check_apt(context: &Context<'_>, log: &StageLog<'_>, version: &str) -> Result<(), StageError> {
    let feed = Feed::new(context, context.plan.repositories.iter())?;
    let desk = context.work.join("kernel");
    for folder in ["var/lib/apt/lists/partial", "var/cache/apt/archives/partial", "var/lib/dpkg", "etc/apt"] {
        let folder = desk.join(folder);
        fs::create_dir_all(&folder).map_err(StageError::file("make", &folder))?;
    }
    // Nothing of this is kept, so apt need not change to its own user, who can't write here.
    let more = [feed.options.as_slice(), &["APT::Sandbox::User \"root\";".to_owned()]].concat();
    let config = desk.join("apt.conf");
    for (path, text) in [
        (desk.join("var/lib/dpkg/status"), String::new()),
        (desk.join("sources.list"), feed.list()),
        (config.clone(), apt::config(&desk, &desk, context.plan.arch, &more)),
    ] {
        fs::write(&path, text).map_err(StageError::file("write", &path))?;
    }
    log.run(&Cmd::new("apt-get").arg("update").env("APT_CONFIG", &config))?;
    let search = ["search", "--names-only"];
    let found =
        Cmd::new("apt-cache").args(search).arg(format!("^{APT_KERNEL}")).env("APT_CONFIG", &config).capture()?;
    judge(version, apt_releases(&String::from_utf8_lossy(&found)), order(&context.plan.packages))
}

/// The releases in what `apt-cache search` prints: a name, then a dash, then what it is.
fn apt_releases(text: &str) -> Vec<String> {
    let names = text.lines().filter_map(|line| line.split_once(" - ")).map(|(name, _)| name);
    let releases = names.filter_map(|name| name.strip_prefix(APT_KERNEL));
    // Not the packages that stand for the newest of a flavour, those with symbols, those before their signing.
    let is_other = |rest: &str| ["-dbg", "-unsigned"].iter().any(|end| rest.ends_with(end));
    let real = releases.filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()) && !is_other(rest));
    real.map(str::to_owned).collect()
}

/// Whether the release is among those that there are.
fn judge(version: &str, mut there: Vec<String>, order: Order) -> Result<(), StageError> {
    if there.iter().any(|release| release == version) {
        return Ok(());
    }
    there.sort_by(|a, b| order(b, a));
    there.dedup();
    let rest = there.len().saturating_sub(SHOWN);
    there.truncate(SHOWN);
    let list = match (there.is_empty(), rest) {
        (true, _) => "The repositories have none at all".to_owned(),
        (false, 0) => format!("The repositories have {}", there.join(", ")),
        (false, rest) => format!("The repositories have {} and {rest} older ones", there.join(", ")),
    };
    Err(StageError::build(
        format!("Cannot find the kernel package with version {version}. {list}"),
        "correct kernelver (-k), or name a repository that has it with kerneldir (--kerneldir)",
    ))
}

#[cfg(test)]
mod tests {
    use model::version::dpkg_order;

    use super::*;

    #[test]
    fn a_release_that_is_not_there_is_answered_with_those_that_are() {
        let text = "linux-image-6.1.0-9-amd64 - Linux 6.1 for 64-bit PCs (signed)\n\
            linux-image-amd64 - Linux for 64-bit PCs (meta-package)\n\
            linux-image-6.1.0-10-amd64-dbg - Debug symbols for linux-image-6.1.0-10-amd64\n\
            linux-image-6.1.0-10-amd64-unsigned - Linux 6.1 for 64-bit PCs\n\
            linux-image-6.1.0-10-amd64 - Linux 6.1 for 64-bit PCs (signed)\n";
        let there = apt_releases(text);
        assert_eq!(there, ["6.1.0-9-amd64", "6.1.0-10-amd64"]);
        assert!(judge("6.1.0-9-amd64", there.clone(), dpkg_order).is_ok());
        let error = judge("6.1.0-1-amd64", there, dpkg_order).unwrap_err();
        let list = "The repositories have 6.1.0-10-amd64, 6.1.0-9-amd64";
        assert_eq!(error.cause, format!("Cannot find the kernel package with version 6.1.0-1-amd64. {list}"));
        let many = (1..30).map(|number| format!("6.1.0-{number}-amd64")).collect();
        assert!(judge("7", many, dpkg_order).unwrap_err().cause.ends_with("6.1.0-18-amd64 and 17 older ones"));
        assert!(judge("7", Vec::new(), dpkg_order).unwrap_err().cause.ends_with("none at all"));
    }
}
