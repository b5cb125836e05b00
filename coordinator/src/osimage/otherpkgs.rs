//! The repositories that otherpkgs passes add: `otherpkgdir` and every sub-directory that a name stands in.
//!
//! A bare name may also come from the repositories of the system, so `otherpkgdir` itself is one only if it has an
//! index; a sub-directory that is named must have one (XCAT.md 3.5, 6.9).

use std::path::Path;

use model::osimage::repository::split_repositories;
use model::osimage::{Location, RepositoryEntry};
use model::plan::{PackageItem, Pass, Repository};
use model::problem::Problem;

use super::apt_tree::{self, Shape};
use super::notes::Notes;
use super::release::System;
use super::repositories::{from_entry, is_usable, local_url};
use super::rpm_repositories;
use super::rpm_tree::{has_repodata, no_repodata};
use super::target::Target;

/// `otherpkgdir` as used: given, else its default.
pub(super) fn directory(target: &Target<'_>) -> String {
    let default = || target.default_directory("post/otherpkgs").display().to_string();
    target.osimage.get("otherpkgdir").map_or_else(default, str::to_owned)
}

/// The sub-directories that installed packages are named with, each with the first item that names it.
fn subdirectories(passes: &[Pass]) -> (Vec<(&str, &PackageItem)>, bool) {
    let (mut named, mut bare) = (Vec::<(&str, &PackageItem)>::new(), false);
    for item in passes.iter().flat_map(|pass| &pass.install) {
        match item.subdir.as_deref() {
            None => bare = true,
            Some(subdir) if named.iter().any(|(known, _)| *known == subdir) => {}
            Some(subdir) => named.push((subdir, item)),
        }
    }
    (named, bare)
}

pub(super) fn repositories(target: &Target<'_>, passes: &[Pass], notes: &mut Notes) -> Vec<Repository> {
    let Some(release) = &target.release else { return Vec::new() };
    if passes.is_empty() {
        return Vec::new();
    }
    let value = directory(target);
    match target.osimage.get("otherpkgdir") {
        Some(given) => notes.given("otherpkgdir", given),
        None => notes.defaulted("otherpkgdir", &value, "<install root>/post/otherpkgs/<osvers>/<osarch>"),
    }
    let entries: Vec<RepositoryEntry> =
        split_repositories(&value).into_iter().filter_map(|entry| entry.parse().ok()).collect();
    let (named, bare) = subdirectories(passes);
    let mut found = Vec::new();
    for (subdir, item) in &named {
        must_be_somewhere(&entries, subdir, item, notes);
    }
    for entry in &entries {
        match &entry.location {
            Location::Local(path) if entry.suite.is_none() => {
                let search = Search { target, entry, path };
                for (subdir, item) in &named {
                    found.extend(search.named(subdir, item, notes).into_iter().map(|one| within(one, subdir)));
                }
                found.extend(bare.then(|| search.itself(notes)).into_iter().flatten());
            }
            Location::Url(url) if release.system() != System::Apt => {
                for (subdir, _) in &named {
                    let url = format!("{}/{subdir}", url.trim_end_matches('/'));
                    found.extend(rpm_repositories::at(target, entry, url, &[], notes).map(|one| within(one, subdir)));
                }
                found.extend(bare.then(|| rpm_repositories::at(target, entry, url.clone(), &[], notes)).flatten());
            }
            _ => found.extend(from_entry(target, entry, notes)),
        }
    }
    found
}

fn within(repository: Repository, subdir: &str) -> Repository {
    Repository { subdir: Some(subdir.to_owned()), ..repository }
}

/// A sub-directory that a name stands in must be in one of the local directories, unless a URL may have it.
fn must_be_somewhere(entries: &[RepositoryEntry], subdir: &str, item: &PackageItem, notes: &mut Notes) {
    let (mut missing, mut elsewhere) = (Vec::new(), false);
    for entry in entries {
        match &entry.location {
            Location::Url(_) => elsewhere = true,
            Location::Local(path) if path.join(subdir).is_dir() => return,
            Location::Local(path) => missing.push(format!("`{}`", path.join(subdir).display())),
        }
    }
    if !missing.is_empty() {
        let message = format!("`{subdir}/{}`: there is no directory {}", item.name, missing.join(" or "));
        let place = if elsewhere { &mut notes.warnings } else { &mut notes.problems };
        place.push(Problem::at(&item.at, message));
    }
}

/// Looking below one local `otherpkgdir`.
struct Search<'a> {
    target: &'a Target<'a>,
    entry: &'a RepositoryEntry,
    path: &'a Path,
}

impl Search<'_> {
    fn named(&self, subdir: &str, item: &PackageItem, notes: &mut Notes) -> Vec<Repository> {
        let directory = self.path.join(subdir);
        if !directory.is_dir() {
            return Vec::new();
        }
        let before = notes.problems.len();
        let found = self.at(&directory, notes);
        for problem in &mut notes.problems[before..] {
            problem.at.get_or_insert_with(|| item.at.clone());
        }
        found
    }

    /// The directory itself, if it is a repository.
    fn itself(&self, notes: &mut Notes) -> Vec<Repository> {
        let indexed = match self.system() {
            System::Apt => apt_tree::shape(self.path) != Shape::None,
            System::Dnf | System::Zypper => has_repodata(self.path),
        };
        if indexed { self.at(self.path, notes) } else { Vec::new() }
    }

    fn at(&self, directory: &Path, notes: &mut Notes) -> Vec<Repository> {
        if self.system() == System::Apt {
            let options = if self.entry.trusted { "[trusted=yes] " } else { "" };
            let location = Location::Local(directory.to_owned());
            let source = format!("{options}{}", directory.display());
            let entry = RepositoryEntry { location, source, ..self.entry.clone() };
            return from_entry(self.target, &entry, notes);
        }
        if !is_usable(self.target, directory, notes) {
            return Vec::new();
        }
        if !has_repodata(directory) {
            notes.problem(no_repodata(directory));
            return Vec::new();
        }
        let url = local_url(directory, notes);
        let found = rpm_repositories::at(self.target, self.entry, url, &[directory, self.path], notes);
        let mut checkable =
            |one: &Repository| rpm_repositories::can_be_checked(self.target, self.entry, &one.trust, directory, notes);
        found.filter(|one| checkable(one)).into_iter().collect()
    }

    fn system(&self) -> System {
        self.target.release.as_ref().map_or(System::Dnf, |release| release.system())
    }
}
