//! The repositories of the system: `pkgdir`, read entry by entry (XCAT.md 1.2, 6.3, 6.9).
//!
//! A local directory is looked into: apt's suites and components are found there; what is rpm's is in
//! `rpm_repositories.rs`. A URL is taken as it is. What is unsigned is refused unless the definition says
//! `[trusted=yes]`.

use std::path::Path;

use model::osimage::repository::split_repositories;
use model::osimage::{Location, RepositoryEntry};
use model::plan::{Content, Repository, RepositoryTrust};

use super::apt_tree::{self, Shape};
use super::files::{MAX_KEY, read_regular, reason};
use super::notes::Notes;
use super::release::System;
use super::rpm_repositories;
use super::target::Target;

/// What `pkgdir` comes to.
#[derive(Debug, Default)]
pub(super) struct Repositories {
    /// In order; the first is the base.
    pub(super) repositories: Vec<Repository>,
    /// apt: the suite of the base.
    pub(super) suite: String,
    /// `pkgdir` as used, for scripts.
    pub(super) pkgdir: String,
}

pub(super) fn read(target: &Target<'_>, notes: &mut Notes) -> Repositories {
    let mut found = Repositories::default();
    if let Some(value) = target.osimage.get("pkgdir") {
        notes.given("pkgdir", value);
        found.pkgdir = value.to_owned();
    } else if target.value("osvers").is_empty() || target.value("osarch").is_empty() {
        return found;
    } else {
        found.pkgdir = target.default_directory("").display().to_string();
        notes.defaulted("pkgdir", &found.pkgdir, "<install root>/<osvers>/<osarch>");
        if !Path::new(&found.pkgdir).is_dir() {
            notes.problem(format!(
                "pkgdir is not set, and its default `{}` does not exist; set pkgdir to the repositories of the system",
                found.pkgdir
            ));
            return found;
        }
    }
    // Entries that can't be read have been reported by the check of the definition.
    let entries = split_repositories(&found.pkgdir).into_iter().filter_map(|entry| entry.parse().ok());
    found.repositories = entries.flat_map(|entry: RepositoryEntry| from_entry(target, &entry, notes)).collect();
    found.suite = base_suite(target, &found.repositories, notes);
    found
}

/// The suite to bootstrap: the release's own name where a repository has it, wherever that stands; else that of the
/// first repository.
fn base_suite(target: &Target<'_>, repositories: &[Repository], notes: &mut Notes) -> String {
    let Some(release) = target.release.as_ref().filter(|release| release.system() == System::Apt) else {
        return String::new();
    };
    if let Some(base) = repositories.iter().find(|repository| Some(repository.suite.as_str()) == release.codename()) {
        return base.suite.clone();
    }
    let first = repositories.first().map(|base| base.suite.as_str()).filter(|suite| !suite.ends_with('/'));
    match (first, release.codename()) {
        (Some(suite), Some(codename)) if suite != codename && !["stable", "oldstable", "testing"].contains(&suite) => {
            notes.warn(format!("the first repository has suite `{suite}`, but {} is `{codename}`", release.osvers()));
            suite.to_owned()
        }
        (Some(suite), _) => suite.to_owned(),
        (None, Some(codename)) => codename.to_owned(),
        (None, None) => {
            if !repositories.is_empty() {
                notes.problem(format!(
                    "the suite of {} is not known; name it in the first entry of pkgdir: `/path suite component…`",
                    release.osvers()
                ));
            }
            String::new()
        }
    }
}

/// The repositories that one entry comes to.
pub(super) fn from_entry(target: &Target<'_>, entry: &RepositoryEntry, notes: &mut Notes) -> Vec<Repository> {
    let Some(release) = &target.release else { return Vec::new() };
    match (&entry.location, release.system()) {
        (Location::Url(url), System::Apt) => apt_url(entry, url, notes),
        (Location::Local(path), System::Apt) => apt_local(target, entry, path, notes),
        (_, System::Dnf | System::Zypper) if entry.suite.is_some() => {
            let message = format!("`{}`: suites and components are apt's; {} has none", entry.source, release.osvers());
            notes.problem(message);
            Vec::new()
        }
        (_, System::Dnf | System::Zypper) => rpm_repositories::from_entry(target, entry, notes),
    }
}

fn apt_url(entry: &RepositoryEntry, url: &str, notes: &mut Notes) -> Vec<Repository> {
    match &entry.suite {
        Some(suite) if suite.ends_with('/') || !entry.components.is_empty() => {
            repository(entry, url.to_owned(), suite, entry.components.clone(), notes).into_iter().collect()
        }
        _ => {
            notes.problem(format!("`{}` lacks its suite or components; write `{url} suite component…`, or `{url} ./` for a flat repository", entry.source));
            Vec::new()
        }
    }
}

fn apt_local(target: &Target<'_>, entry: &RepositoryEntry, path: &Path, notes: &mut Notes) -> Vec<Repository> {
    if !is_usable(target, path, notes) {
        return Vec::new();
    }
    let suites = match (&entry.suite, apt_tree::shape(path)) {
        (Some(suite), _) => vec![suite.clone()],
        (None, Shape::Flat) => vec!["./".to_owned()],
        (None, Shape::Dists(suites)) => match choose_suites(target, suites, path, notes) {
            Some(suites) => suites,
            None => return Vec::new(),
        },
        (None, Shape::None) => {
            let message =
                format!("`{}` is no apt repository: it has neither dists/<suite>/Release nor Packages", path.display());
            notes.problem(message);
            return Vec::new();
        }
    };
    suites.iter().filter_map(|suite| apt_suite(target, entry, path, suite, notes)).collect()
}

/// Of several suites those of the release: `bookworm`, then `bookworm-updates` and its like.
fn choose_suites(target: &Target<'_>, suites: Vec<String>, path: &Path, notes: &mut Notes) -> Option<Vec<String>> {
    let codename = target.release.as_ref().and_then(|release| release.codename());
    let of_release = |suite: &&String| {
        codename
            .is_some_and(|name| suite.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('-')))
    };
    let mut chosen: Vec<String> = suites.iter().filter(of_release).cloned().collect();
    chosen.sort_by_key(String::len);
    match (chosen.is_empty(), suites.as_slice()) {
        (false, _) => Some(chosen),
        (true, [only]) => Some(vec![only.clone()]),
        (true, _) => {
            notes.problem(format!(
                "`{}` holds the suites {}; say which: `{0} suite component…`",
                path.display(),
                suites.join(", ")
            ));
            None
        }
    }
}

fn apt_suite(
    target: &Target<'_>,
    entry: &RepositoryEntry,
    tree: &Path,
    suite: &str,
    notes: &mut Notes,
) -> Option<Repository> {
    let directory = apt_tree::suite_directory(tree, suite);
    let flat = suite.ends_with('/');
    if !flat && !apt_tree::has_release(&directory) {
        notes.problem(format!("`{}`: there is no `{}/Release`", entry.source, directory.display()));
        return None;
    }
    let arch = target.arch?;
    let mut components = entry.components.clone();
    if !flat {
        if components.is_empty() {
            components = apt_tree::components(&directory, arch);
        }
        let missing: Vec<_> =
            components.iter().filter(|name| !apt_tree::has_component(&directory, name, arch)).collect();
        if let Some(missing) = missing.first() {
            notes.problem(format!(
                "`{}`: component `{missing}` has no packages for {}",
                directory.display(),
                arch.debian()
            ));
            return None;
        }
        if components.is_empty() {
            notes.problem(format!("`{}` has no packages for {}", directory.display(), arch.debian()));
            return None;
        }
    }
    if (!entry.trusted || entry.signed_by.is_some()) && !apt_tree::is_signed(&directory) {
        notes.problem(format!("`{}` is not signed (no InRelease, no Release.gpg) and apt would refuse it; if you trust it, write `[trusted=yes] {}`", directory.display(), entry.source));
        return None;
    }
    repository(entry, local_url(tree, notes), suite, components, notes)
}

/// Whether a local directory exists and agents can see it.
pub(super) fn is_usable(target: &Target<'_>, path: &Path, notes: &mut Notes) -> bool {
    if !path.is_dir() {
        notes.problem(format!(
            "the repository `{}` does not exist; copy the medium there, or correct pkgdir, otherpkgdir or kerneldir, \
             whichever names it",
            path.display()
        ));
        return false;
    }
    if !path.starts_with(target.install_dir) {
        notes.problem(format!(
            "the repository `{}` lies outside the install root `{}`, which is all that agents see; serve it by http or move it",
            path.display(),
            target.install_dir.display()
        ));
        return false;
    }
    true
}

/// The URL of a local directory, which is also a reason to need the install root.
pub(super) fn local_url(path: &Path, notes: &mut Notes) -> String {
    notes.needs_install(format!("the repository `{}` is on the install root", path.display()));
    format!("file://{}", path.display())
}

/// Puts a repository together; `None` when its key can't be read.
fn repository(
    entry: &RepositoryEntry,
    url: String,
    suite: &str,
    components: Vec<String>,
    notes: &mut Notes,
) -> Option<Repository> {
    let trust = said_trust(entry, notes)?;
    Some(Repository { url, suite: suite.to_owned(), components, trust, source: entry.source.clone(), subdir: None })
}

/// The trust that an entry asks for, the distribution's own if it says nothing; `None` when its key can't be read.
pub(super) fn said_trust(entry: &RepositoryEntry, notes: &mut Notes) -> Option<RepositoryTrust> {
    let Some(path) = &entry.signed_by else {
        return Some(if entry.trusted { RepositoryTrust::Unsigned } else { RepositoryTrust::Distribution });
    };
    if entry.trusted {
        notes.warn(format!("`{}` has a key and trusted=yes; the key is used", entry.source));
    }
    match key_bytes(path) {
        Ok(bytes) => Some(RepositoryTrust::Key { path: path.clone(), content: Content::from_bytes(bytes) }),
        Err(error) => {
            notes.problem(format!("{error} (the key of `{}`)", entry.source));
            None
        }
    }
}

/// The bytes of a file that looks like an OpenPGP public key, or why it can't be one.
pub(super) fn key_bytes(path: &Path) -> Result<Vec<u8>, String> {
    let bytes = read_regular(path, MAX_KEY)
        .map_err(|error| format!("cannot read the key `{}`: {}", path.display(), reason(&error)))?;
    let armoured = bytes.starts_with(b"-----BEGIN PGP PUBLIC KEY BLOCK-----");
    if !armoured && bytes.first().is_none_or(|first| first & 0x80 == 0) {
        return Err(format!("`{}` is not an OpenPGP public key; export one with `gpg --export`", path.display()));
    }
    Ok(bytes)
}
