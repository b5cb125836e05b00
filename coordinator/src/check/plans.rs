//! Build plans: one file per digest, whole, for every build that names one.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use model::build::Build;
use sha2::{Digest as _, Sha256};

use super::finding::counted;
use super::{Area, Look};

pub(super) fn check(look: &mut Look<'_>) {
    let dir = look.config.plans_dir();
    let mut users: BTreeMap<String, Vec<Build>> = BTreeMap::new();
    for build in &look.contents.builds {
        if let Some(digest) = &build.plan {
            users.entry(digest.clone()).or_default().push(build.clone());
        }
    }
    for (digest, builds) in &users {
        let path = dir.join(digest);
        if let Some(what) = wrong(&path, digest) {
            say(look, &path, &what, builds);
        }
    }
    left_over(look, &dir);
    look.report.ok(
        Area::Plans,
        &dir,
        format!("{} of {}", counted(users.len(), "plan"), counted(look.contents.builds.len(), "build")),
    );
}

fn wrong(path: &Path, digest: &str) -> Option<String> {
    match fs::read(path) {
        Ok(bytes) if hex::encode(Sha256::digest(&bytes)) == digest => None,
        Ok(_) => Some("the plan is not what its digest says".into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Some("the plan is missing".into()),
        Err(error) => Some(format!("the plan can't be read: {error}")),
    }
}

fn say(look: &mut Look<'_>, path: &Path, what: &str, builds: &[Build]) {
    let (active, ended): (Vec<_>, Vec<_>) = builds.iter().partition(|build| !build.state.is_final());
    let named = |builds: &[&Build]| builds.iter().map(|build| build.id.to_string()).collect::<Vec<_>>().join(", ");
    if active.is_empty() {
        let what = format!("{what}; builds {} were made by it and have ended", named(&ended));
        return look.report.warning(
            Area::Plans,
            path,
            what,
            "nothing, unless a backup has it: it is kept for the record",
        );
    }
    let what = format!("{what}; builds {} need it", named(&active));
    look.report.error(Area::Plans, path, what, "cancel these builds and submit them again");
}

/// What a kill in the middle of a write leaves: `.<digest>.<uuid>`.
fn left_over(look: &mut Look<'_>, dir: &Path) {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with('.')) {
        let path = entry.path();
        look.report.repairable(Area::Plans, &path, "a half-written plan", "remove it", || Ok(fs::remove_file(&path)?));
    }
}
