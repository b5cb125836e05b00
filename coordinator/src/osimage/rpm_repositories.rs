//! rpm repositories of `pkgdir`, `otherpkgdir` and `kerneldir`, and the keys that their packages are checked with.
//!
//! xCAT checks nothing. Here an entry is checked with the key that it names (`[signed-by=…]`), else with those that
//! lie at its top (`RPM-GPG-KEY-*`, as on every medium), else with those of the local pkgdirs; a URL may at last be
//! checked with the keys of the build node. Only `[trusted=yes]` means unchecked.

use std::fs;
use std::path::{Path, PathBuf};

use model::osimage::repository::split_repositories;
use model::osimage::{Location, RepositoryEntry};
use model::plan::{Content, KeyFile, Repository, RepositoryTrust};

use super::notes::Notes;
use super::release::System;
use super::repositories::{is_usable, key_bytes, local_url, said_trust};
use super::rpm_signature::unsigned_package;
use super::rpm_tree;
use super::target::Target;

/// What the names of a medium's keys begin with.
const KEY_PREFIX: &str = "RPM-GPG-KEY";
/// Media have one to three keys.
const MAX_KEYS: usize = 16;

/// The repositories that one entry comes to: a URL as it is, a directory for every `repodata` at or below it.
pub(super) fn from_entry(target: &Target<'_>, entry: &RepositoryEntry, notes: &mut Notes) -> Vec<Repository> {
    match &entry.location {
        Location::Url(url) => at(target, entry, url.clone(), &[], notes).into_iter().collect(),
        Location::Local(path) => local(target, entry, path, notes),
    }
}

fn local(target: &Target<'_>, entry: &RepositoryEntry, path: &Path, notes: &mut Notes) -> Vec<Repository> {
    if !is_usable(target, path, notes) {
        return Vec::new();
    }
    let found = rpm_tree::repodata_below(path);
    if found.is_empty() {
        notes.problem(rpm_tree::no_repodata(path));
        return Vec::new();
    }
    let Some(trust) = trust(target, entry, &[path], notes) else { return Vec::new() };
    let checkable = |directory: &PathBuf| can_be_checked(target, entry, &trust, directory, notes);
    let found: Vec<PathBuf> = found.into_iter().filter(checkable).collect();
    found.into_iter().map(|directory| made(entry, local_url(&directory, notes), trust.clone())).collect()
}

/// One repository; `tops` are the local folders that its keys may lie in. `None` when there is no way to check it.
pub(super) fn at(
    target: &Target<'_>,
    entry: &RepositoryEntry,
    url: String,
    tops: &[&Path],
    notes: &mut Notes,
) -> Option<Repository> {
    trust(target, entry, tops, notes).map(|trust| made(entry, url, trust))
}

/// Whether a local repository's packages have signatures, where they are to be checked.
pub(super) fn can_be_checked(
    target: &Target<'_>,
    entry: &RepositoryEntry,
    trust: &RepositoryTrust,
    directory: &Path,
    notes: &mut Notes,
) -> bool {
    if *trust == RepositoryTrust::Unsigned || !is_dnf(target) {
        return true;
    }
    let Some(package) = unsigned_package(directory) else { return true };
    notes.problem(format!(
        "`{}`: its packages are not signed (`{}` is not), so they can't be checked; if you trust them, write `[trusted=yes] {}`",
        directory.display(),
        package.file_name().unwrap_or_default().to_string_lossy(),
        entry.source
    ));
    false
}

fn is_dnf(target: &Target<'_>) -> bool {
    target.release.as_ref().is_some_and(|release| release.system() == System::Dnf)
}

fn made(entry: &RepositoryEntry, url: String, trust: RepositoryTrust) -> Repository {
    let source = entry.source.clone();
    Repository { url, suite: String::new(), components: Vec::new(), trust, source, subdir: None }
}

fn trust(target: &Target<'_>, entry: &RepositoryEntry, tops: &[&Path], notes: &mut Notes) -> Option<RepositoryTrust> {
    if entry.trusted || entry.signed_by.is_some() || !is_dnf(target) {
        return said_trust(entry, notes);
    }
    let own = keys_in(tops.iter().copied(), notes);
    let keys = if own.is_empty() { keys_of_media(target, notes) } else { own };
    match &entry.location {
        _ if !keys.is_empty() => Some(RepositoryTrust::Medium { keys }),
        Location::Url(_) => Some(RepositoryTrust::Distribution),
        Location::Local(path) => {
            notes.problem_once(no_key(path, entry));
            None
        }
    }
}

fn no_key(path: &Path, entry: &RepositoryEntry) -> String {
    let source = &entry.source;
    format!(
        "`{}`: there is no key to check its packages with (no `{KEY_PREFIX}-*` lies in it, nor in a pkgdir); write `[signed-by=/path/key] {source}`, or, if you trust it unchecked, `[trusted=yes] {source}`",
        path.display()
    )
}

/// The keys at the tops of all local pkgdirs.
fn keys_of_media(target: &Target<'_>, notes: &mut Notes) -> Vec<KeyFile> {
    let default = || target.default_directory("").display().to_string();
    let pkgdir = target.osimage.get("pkgdir").map_or_else(default, str::to_owned);
    let entries = split_repositories(&pkgdir).into_iter().filter_map(|entry| entry.parse::<RepositoryEntry>().ok());
    let tops: Vec<PathBuf> = entries
        .filter_map(|entry| match entry.location {
            Location::Local(path) => Some(path),
            Location::Url(_) => None,
        })
        .collect();
    keys_in(tops.iter().map(PathBuf::as_path), notes)
}

fn keys_in<'a>(tops: impl Iterator<Item = &'a Path>, notes: &mut Notes) -> Vec<KeyFile> {
    let mut keys: Vec<KeyFile> = Vec::new();
    for path in tops.flat_map(key_paths) {
        match key_bytes(&path) {
            _ if keys.iter().any(|key| key.path == path) => {}
            Ok(bytes) => keys.push(KeyFile { path, content: Content::from_bytes(bytes) }),
            Err(error) => notes.warn_once(format!("{error}; it is passed over")),
        }
    }
    keys
}

fn key_paths(top: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(top) else { return Vec::new() };
    let is_key = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(KEY_PREFIX));
    let mut paths: Vec<PathBuf> =
        entries.filter_map(Result::ok).map(|entry| entry.path()).filter(is_key).take(MAX_KEYS).collect();
    paths.sort();
    paths
}
