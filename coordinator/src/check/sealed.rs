//! What a recorded generation must hold: its artefacts, of the size and, when asked for, with the digest that the record
//! says; and a manifest that can be read.

use std::path::Path;

use model::generation::{GenerationRecord, GenerationState};
use rootfs::manifest::Manifest;

use super::{Area, Look};
use crate::chain::chain;
use crate::generation::layout::{ARCHIVES, MANIFEST, TREE};
use crate::generation::{RootimgDir, intact};

const PACK: &str =
    "`imgctl packimage` makes it again; `imgctl generations activate` puts another generation live till then";
const BUILD: &str = "`imgctl build` makes a new generation; packimage can't make these; \
     `imgctl generations activate` puts another one live till then";

/// packimage makes archives; the rest comes from a build.
fn next(path: &str) -> &'static str {
    let name = Path::new(path).file_name().unwrap_or_default();
    if ARCHIVES.iter().any(|archive| name == *archive) { PACK } else { BUILD }
}

pub(super) fn check(look: &mut Look<'_>) {
    let closely = if look.wanted.digests { intact::Look::Digest } else { intact::Look::Size };
    for record in look.contents.generations.clone() {
        let Ok(Some(dir)) = RootimgDir::find(&record.rootimgdir, &look.config.install_dir) else { continue };
        let number = record.number.into();
        // One without a folder was named already.
        let Ok(folder) = dir.existing(number) else { continue };
        for (path, what) in wrong(&dir, &record, closely) {
            let next = next(&path);
            look.report.error(Area::Artefacts, Path::new(&path), what, next);
        }
        let manifest = folder.join(MANIFEST);
        if let Err(error) = Manifest::read(&manifest) {
            let next = "nothing; edits of its tree can't be told any more";
            look.report.warning(Area::Artefacts, &manifest, chain(&error), next);
        }
    }
}

fn wrong(dir: &RootimgDir, record: &GenerationRecord, closely: intact::Look) -> Vec<(String, String)> {
    let folder = dir.generation(record.number.into());
    let mut found = Vec::new();
    let mut say = |path: &Path, what: String| found.push((path.display().to_string(), what));
    if record.state == GenerationState::Packed && !dir.is_packed(record.number.into()) {
        // Named as the archive would be: packing is what helps.
        say(&folder.join(ARCHIVES[0]), "recorded as packed, and there is no archive in it".into());
    }
    if let Err(error) = dir.tree_owner(record.number.into()) {
        say(&folder.join(TREE), chain(&error));
    }
    for artefact in record.artefacts.iter().filter(|artefact| artefact.name != TREE) {
        let path = folder.join(&artefact.name);
        if let Some(what) = intact::wrong(&path, artefact, closely) {
            say(&path, what);
        }
    }
    found
}
