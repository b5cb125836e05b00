//! Where the medium is kept: outside the checkout, under the digest of all that it is made of.
//!
//! `$IMGCTL_TEST_CACHE`, else `~/.cache/imgctl-tests`, holds one folder a medium (`el9-<digest>`), the Debian packages of
//! each architecture (`debs-amd64`), what apt knows of those that are not this machine's (`apt-…`), and a lock, under which one process makes while the others wait. A medium is made beside its name and renamed
//! when it is complete. To find the digest takes a second, for apt's lists must be read: a note (`el9-note-<digest>`) says
//! which medium belongs to which state of apt's lists.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rootfs::remove::remove_tree;
use rustix::fs::{FlockOperation, flock};
use sha2::{Digest, Sha256};

use super::make::{self, Ingredients};
use super::medium::Medium;
use crate::wait::eventually;

/// How long another process may take to make it: a minute or two, and far longer on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(30 * 60);

/// Media that are kept: several checkouts of the project, of two architectures each, may take turns on one machine.
const KEPT: usize = 6;

/// In each medium; held shared by who uses it, so that nobody removes it meanwhile.
const IN_USE: &str = ".in-use";

/// The medium of an architecture, which is made if it is not there.
pub(super) fn open(arch: &str) -> Medium {
    let folder = folder();
    fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("cannot make {}: {error}", folder.display()));
    let note = folder.join(format!("el9-note-{}", digest_of_lists(arch)));
    if let Some(medium) = noted(&folder, &note) {
        return medium;
    }
    let lock = File::create(folder.join("lock")).expect("the cache can be written");
    eventually("whoever makes the medium", PATIENCE, || flock(&lock, FlockOperation::NonBlockingLockExclusive).ok());
    // Whoever had the lock may have made it.
    if let Some(medium) = noted(&folder, &note) {
        return medium;
    }
    let ingredients = make::ingredients(arch, &folder);
    let name = format!("el9-{}", digest(&ingredients));
    let place = folder.join(&name);
    if !place.exists() {
        make_at(&folder, &place, &ingredients);
    }
    fs::write(&note, &name).expect("the cache can be written");
    let medium = noted(&folder, &note).expect("the medium was just made");
    prune(&folder, KEPT);
    medium
}

/// Where what tests make once a machine is kept.
pub fn folder() -> PathBuf {
    if let Some(folder) = std::env::var_os("IMGCTL_TEST_CACHE") {
        return PathBuf::from(folder);
    }
    let home = std::env::var_os("HOME").expect("HOME is set; or set IMGCTL_TEST_CACHE to a folder for test data");
    Path::new(&home).join(".cache/imgctl-tests")
}

/// The medium that a note names, if both are there.
fn noted(folder: &Path, note: &Path) -> Option<Medium> {
    let place = folder.join(fs::read_to_string(note).ok()?);
    let in_use = File::options().write(true).open(place.join(IN_USE)).ok()?;
    // Only who is about to remove it holds this lock alone.
    flock(&in_use, FlockOperation::NonBlockingLockShared).ok()?;
    // The one that was used longest ago is removed first.
    in_use.set_modified(SystemTime::now()).ok()?;
    place.exists().then(|| Medium::open(&place, in_use))
}

/// Makes the medium beside its place and moves it there.
fn make_at(folder: &Path, place: &Path, ingredients: &Ingredients) {
    let making = folder.join(".making");
    if making.exists() {
        remove_tree(&making).unwrap_or_else(|error| panic!("{error}"));
    }
    fs::create_dir(&making).expect("the cache can be written");
    let made = making.join("medium");
    make::make(ingredients, &made, &making, &folder.join(format!("debs-{}", ingredients.debian())));
    File::create(made.join(IN_USE)).expect("the cache can be written");
    fs::rename(&made, place).expect("the medium can be renamed");
    remove_tree(&making).unwrap_or_else(|error| panic!("{error}"));
}

/// Removes all media but the `kept` that were used last, and notes that lead nowhere. What is in use stays.
fn prune(folder: &Path, kept: usize) {
    let entries = || fs::read_dir(folder).expect("the cache can be read").flatten().map(|entry| entry.path());
    let used = |path: &Path| path.join(IN_USE).metadata().and_then(|data| data.modified()).ok();
    let mut media: Vec<(SystemTime, PathBuf)> = entries().filter_map(|path| Some((used(&path)?, path))).collect();
    media.sort();
    let surplus = media.len().saturating_sub(kept);
    for (_, place) in &media[..surplus] {
        let Ok(in_use) = File::open(place.join(IN_USE)) else { continue };
        if flock(&in_use, FlockOperation::NonBlockingLockExclusive).is_err() {
            continue;
        }
        let trash = folder.join(".making");
        fs::rename(place, &trash).expect("the medium can be renamed");
        remove_tree(&trash).unwrap_or_else(|error| panic!("{error}"));
    }
    for note in entries().filter(|path| path.to_string_lossy().contains("/el9-note-")) {
        let leads = fs::read_to_string(&note).is_ok_and(|name| folder.join(name).exists());
        if !leads {
            // It costs a second at worst.
            let _ = fs::remove_file(&note);
        }
    }
}

/// Of what makes the medium: code, data, and name and version of each Debian package.
fn digest(ingredients: &Ingredients) -> String {
    let mut digest = digest_of_sources();
    digest.update(ingredients.arch());
    for line in ingredients.versions() {
        digest.update(line);
        digest.update("\n");
    }
    short(digest)
}

/// Of code, data, and the state of apt's lists, by name, size and time.
fn digest_of_lists(arch: &str) -> String {
    let mut digest = digest_of_sources();
    digest.update(arch);
    let lists = fs::read_dir("/var/lib/apt/lists").expect("this machine has apt");
    let mut lists: Vec<String> = lists
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().contains("_Packages"))
        .filter_map(|entry| {
            let data = entry.metadata().ok()?;
            Some(format!("{:?} {} {:?}\n", entry.file_name(), data.len(), data.modified().ok()?))
        })
        .collect();
    lists.sort();
    lists.iter().for_each(|line| digest.update(line));
    short(digest)
}

/// Of the files that say how it is made.
fn digest_of_sources() -> Sha256 {
    let mut digest = Sha256::new();
    for folder in ["make", "data"] {
        add(&mut digest, &make::sources().join(folder));
    }
    digest
}

fn add(digest: &mut Sha256, path: &Path) {
    digest.update(path.file_name().map(|name| name.as_encoded_bytes().to_owned()).unwrap_or_default());
    if path.is_dir() {
        for inside in make::tree::sorted(path) {
            add(digest, &inside);
        }
        return;
    }
    digest.update(fs::read(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display())));
}

fn short(digest: Sha256) -> String {
    hex::encode(&digest.finalize()[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_that_nobody_uses_are_removed_from_the_oldest_on() {
        let folder = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let names = ["oldest", "in-use", "older", "newer", "newest"];
        for (name, age) in names.iter().zip([500, 400, 300, 200, 100]) {
            let medium = folder.path().join(name);
            fs::create_dir_all(medium.join("install")).unwrap();
            let in_use = File::create(medium.join(IN_USE)).unwrap();
            in_use.set_modified(now - Duration::from_secs(age)).unwrap();
            fs::write(folder.path().join(format!("el9-note-{name}")), name).unwrap();
        }
        let held = File::open(folder.path().join("in-use").join(IN_USE)).unwrap();
        flock(&held, FlockOperation::NonBlockingLockShared).unwrap();
        prune(folder.path(), 3);
        let left = |prefix: &str| {
            let there = |name: &&str| folder.path().join(format!("{prefix}{name}")).exists();
            names.into_iter().filter(there).collect::<Vec<_>>()
        };
        assert_eq!(left(""), ["in-use", "older", "newer", "newest"]);
        assert_eq!(left("el9-note-"), left(""));
        drop(held);
        prune(folder.path(), 3);
        assert_eq!(left(""), ["older", "newer", "newest"]);
    }

    #[test]
    fn a_note_that_leads_nowhere_names_no_medium() {
        let folder = tempfile::tempdir().unwrap();
        let note = folder.path().join("el9-note-1");
        assert!(noted(folder.path(), &note).is_none());
        fs::write(&note, "el9-gone").unwrap();
        assert!(noted(folder.path(), &note).is_none());
    }
}
