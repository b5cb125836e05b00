//! Staging folders: one for each attempt that is out, and no others.
//!
//! A folder may hold the archive of a running build. It is removed only if every record can be read and none names it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::{Area, Look};
use crate::staging::{self, STAGING};

pub(super) fn check(look: &mut Look<'_>) {
    let install_dir = look.config.install_dir.clone();
    let folder = install_dir.join(STAGING);
    let active = look.contents.builds.iter().filter(|build| !build.state.is_final());
    let known: BTreeSet<PathBuf> =
        active.clone().flat_map(|build| build.attempts.iter().map(|record| record.staging.clone())).collect();
    let mut lost = Vec::new();
    for build in active.filter(|build| build.state.lease().is_some()) {
        lost.extend(build.attempts.last().filter(|record| !install_dir.join(&record.staging).is_dir()).map(|record| {
            (
                install_dir.join(&record.staging),
                format!("build {} is out with attempt {} and can't publish", build.id, record.attempt),
            )
        }));
    }
    for (path, what) in lost {
        look.report.error(Area::Staging, &path, what, "cancel the build and submit it again");
    }
    let known_all = look.knows_all();
    let entries = fs::read_dir(&folder).into_iter().flatten().flatten().filter(|_| known_all);
    for relative in entries.map(|entry| Path::new(STAGING).join(entry.file_name())) {
        if !known.contains(&relative) {
            let path = install_dir.join(&relative);
            let fix = || {
                staging::remove(&install_dir, &relative);
                if path.exists() { Err("something keeps it, perhaps a mount in it".into()) } else { Ok(()) }
            };
            look.report.repairable(Area::Staging, &path, "no build that is out uses it", "remove it", fix);
        }
    }
    look.report.ok(Area::Staging, &folder, format!("{} attempts of builds that have not ended", known.len()));
}
