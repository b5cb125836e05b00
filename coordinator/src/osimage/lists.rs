//! The lists that a definition names: packages, exclusions, synchronised files (XCAT.md 3, 4, 5.2).

use std::path::{Path, PathBuf};

use model::pkglist::{self, List, PackageLists};
use model::plan::Pass;
use model::problem::Problem;
use model::{exlist, synclist};

use super::files::{MAX_LIST, read_regular};
use super::notes::Notes;
use super::pack::PackPlan;
use super::release::System;
use super::search::{self, DefaultFile, default_files};
use super::target::Target;

/// What the lists say.
#[derive(Debug, Default)]
pub(super) struct Lists {
    /// The pkglist passes.
    pub(super) os: Vec<Pass>,
    /// The otherpkglist passes.
    pub(super) other: Vec<Pass>,
    /// `pkglist` as used, for scripts.
    pub(super) pkglist: String,
    /// What packimage needs.
    pub(super) pack: PackPlan,
}

pub(super) fn read(target: &Target<'_>, notes: &mut Notes) -> Lists {
    let (files, pkglist) = pkglist_files(target, notes);
    let os = packages(target, List::Os, &files, notes);
    if !files.is_empty() && os.is_empty() && notes.problems.is_empty() {
        notes.warn("the pkglist names no package at all");
    }
    let other = packages(target, List::Other, &given(target, "otherpkglist", notes), notes);
    Lists { os, other, pkglist, pack: pack(target, notes) }
}

/// The files of an attribute that has no default.
fn given(target: &Target<'_>, name: &str, notes: &mut Notes) -> Vec<PathBuf> {
    if let Some(value) = target.osimage.get(name) {
        notes.given(name, value);
    }
    target.paths(name)
}

/// `pkglist` is required; if it is not set, a default file is searched for.
fn pkglist_files(target: &Target<'_>, notes: &mut Notes) -> (Vec<PathBuf>, String) {
    if let Some(value) = target.osimage.get("pkglist") {
        return (given(target, "pkglist", notes), value.to_owned());
    }
    let name = &target.osimage.name;
    let missing = format!("A .pkglist file must be specified for image '{name}' in the linuximage table.");
    let Some(release) = &target.release else {
        notes.problem(missing);
        return Default::default();
    };
    let (profile, arch) = (target.value("profile"), target.value("osarch"));
    let found = default_files(target.install_dir, profile, release, arch);
    let Some(DefaultFile { path, .. }) = found.into_iter().find(|file| file.attribute == "pkglist") else {
        let directory = search::directory(target.install_dir, release);
        notes.problem(format!(
            "{missing} Set pkglist; no default file for profile `{profile}` is in `{}`",
            directory.display()
        ));
        return Default::default();
    };
    let value = path.display().to_string();
    notes.searched("pkglist", &value, &path.file_name().unwrap_or_default().to_string_lossy());
    (vec![path], value)
}

fn read_list(path: &Path) -> std::io::Result<Vec<u8>> {
    read_regular(path, MAX_LIST)
}

fn packages(target: &Target<'_>, list: List, files: &[PathBuf], notes: &mut Notes) -> Vec<Pass> {
    let (PackageLists { passes, warnings, .. }, problems) =
        pkglist::read_sound(list, files, &target.environment, &mut read_list);
    notes.warnings.extend(warnings);
    notes.problems.extend(problems);
    refuse_groups(target, &passes, notes);
    passes
}

/// Groups are rpm's; apt would look for a package of that name (XCAT.md 3.2).
fn refuse_groups(target: &Target<'_>, passes: &[Pass], notes: &mut Notes) {
    if target.release.as_ref().is_none_or(|release| release.system() != System::Apt) {
        return;
    }
    let items = passes.iter().flat_map(|pass| pass.remove_before.iter().chain(&pass.install).chain(&pass.remove_after));
    for item in items.filter(|item| item.name.starts_with('@')) {
        let message = format!("`{}` is a group, which apt doesn't have; name packages or a metapackage", item.name);
        notes.problems.push(Problem::at(&item.at, message));
    }
}

fn pack(target: &Target<'_>, notes: &mut Notes) -> PackPlan {
    let (exlists, synclists) = (given(target, "exlist", notes), given(target, "synclists", notes));
    let excluded = notes.take(exlist::read(&exlists, &mut read_list));
    let synced = notes.take(synclist::read(&synclists, &target.environment, &mut read_list));
    notes.warnings.extend(excluded.warnings.into_iter().chain(synced.warnings));
    for copy in &synced.copies {
        check_sources(copy, notes);
    }
    PackPlan {
        excludes: excluded.excludes,
        includes: excluded.includes,
        copies: synced.copies,
        on_node: synced.on_node,
    }
}

/// What a synclist copies may still change until the image is packed, so a source that is missing now is a warning.
fn check_sources(copy: &synclist::CopyLine, notes: &mut Notes) {
    for source in copy.sources.iter().filter(|source| !source.contains(['*', '?', '['])) {
        if !Path::new(source).exists() {
            let message = format!("`{source}` does not exist; packimage will not find it");
            notes.warnings.push(Problem::at(&copy.at, message));
        }
    }
}
