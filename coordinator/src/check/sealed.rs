//! What a recorded generation must hold: its artefacts, of the size and, when asked for, with the digest that the record
//! says; and a manifest that can be read.

use std::fs::File;
use std::path::Path;

use model::build::Artefact;
use model::generation::{GenerationRecord, GenerationState};
use rootfs::digest::HashingReader;
use rootfs::manifest::Manifest;

use super::{Area, Look};
use crate::chain::chain;
use crate::generation::RootimgDir;
use crate::generation::layout::{MANIFEST, TREE};

const AGAIN: &str =
    "`imgctl packimage` packs its tree again, `imgctl build` makes a new one; put another live till then";

pub(super) fn check(look: &mut Look<'_>) {
    let digests = look.wanted.digests;
    for record in look.contents.generations.clone() {
        let Ok(Some(dir)) = RootimgDir::find(&record.rootimgdir, &look.config.install_dir) else { continue };
        let number = record.number.into();
        // One without a folder was named already.
        let Ok(folder) = dir.existing(number) else { continue };
        for (path, what) in wrong(&dir, &record, digests) {
            look.report.error(Area::Artefacts, Path::new(&path), what, AGAIN);
        }
        let manifest = folder.join(MANIFEST);
        if let Err(error) = Manifest::read(&manifest) {
            let next = "nothing; edits of its tree can't be told any more";
            look.report.warning(Area::Artefacts, &manifest, chain(&error), next);
        }
    }
}

fn wrong(dir: &RootimgDir, record: &GenerationRecord, digests: bool) -> Vec<(String, String)> {
    let folder = dir.generation(record.number.into());
    let mut found = Vec::new();
    let mut say = |path: &Path, what: String| found.push((path.display().to_string(), what));
    if record.state == GenerationState::Packed && !dir.is_packed(record.number.into()) {
        say(&folder, "recorded as packed, and there is no archive in it".into());
    }
    if let Err(error) = dir.tree_owner(record.number.into()) {
        say(&folder.join(TREE), chain(&error));
    }
    for artefact in record.artefacts.iter().filter(|artefact| artefact.name != TREE) {
        let path = folder.join(&artefact.name);
        if let Some(what) = wrong_artefact(&path, artefact, digests) {
            say(&path, what);
        }
    }
    found
}

fn wrong_artefact(path: &Path, artefact: &Artefact, digests: bool) -> Option<String> {
    let found = match path.metadata() {
        Ok(found) => found,
        Err(error) => return Some(format!("an artefact is missing: {error}")),
    };
    if found.len() != artefact.bytes {
        return Some(format!("the artefact has {} bytes, its record says {}", found.len(), artefact.bytes));
    }
    let expected = artefact.digest.as_ref().filter(|_| digests)?;
    match File::open(path).and_then(|file| HashingReader::new(file).finish()) {
        Ok((digest, _)) if digest.to_string() == *expected => None,
        Ok((digest, _)) => Some(format!("the artefact has digest {digest}, its record says {expected}")),
        Err(error) => Some(format!("the artefact can't be read: {error}")),
    }
}
