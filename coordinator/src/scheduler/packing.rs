//! Packing: a generation's tree becomes the archive that nodes boot, and the oldest generations go.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use model::build::{Artefact, Build, BuildEvent, Failure};
use model::generation::{GenerationRecord, GenerationState, generation_dir};
use model::id::{BuildId, Generation};
use model::osimage::Osimage;

use super::Command;
use super::beside::here;
use super::clip;
use super::desk::{Desk, Parts};
use crate::chain::chain;
use crate::clock::now_ms;
use crate::generation::layout::ARCHIVES;
use crate::generation::{Number, RootimgDir, retain};
use crate::osimage::{Site, resolve_with};
use crate::packimage::{self, Format, PackError, PackOrder, Packed};
use crate::store::StoreError;

/// An archive that is live.
#[derive(Debug)]
pub(super) struct PackedImage {
    packed: Packed,
    removed: Vec<Number>,
    /// Trees that a removed generation handed on, from and to.
    moved: Vec<(Number, Number)>,
}

impl Desk {
    /// Starts a build of packimage alone on the newest generation.
    pub(super) async fn pack_newest(&mut self, id: BuildId) -> Result<(), StoreError> {
        let Some(active) = self.active.get(&id) else { return Ok(()) };
        let dir = active.build.rootimgdir.clone();
        match self.parts.store.generations(&dir)?.last().map(|record| record.number) {
            Some(generation) => {
                if self.apply(id, BuildEvent::Packing { generation }, "").await?.is_ok() {
                    self.pack(id, generation);
                }
                Ok(())
            }
            None => {
                let cause = format!("{}/rootimg does not exist, run genimage first", dir.display());
                self.fail(id, here("packimage", cause, None)).await
            }
        }
    }

    pub(super) fn pack(&mut self, id: BuildId, generation: Generation) {
        let Some(active) = self.active.get_mut(&id) else { return };
        let cancel = Arc::new(AtomicBool::new(false));
        active.work = Some(cancel.clone());
        let (build, parts) = (active.build.clone(), self.parts.clone());
        let record = self.parts.store.generation(&build.rootimgdir, generation).ok().flatten();
        let owner = record.and_then(|record| record.tree_of).unwrap_or(generation);
        let tree = generation_dir(&build.rootimgdir, owner).join("rootimg");
        // The first words are xCAT's.
        let text = format!("Packing contents of {}/rootimg ({})", build.rootimgdir.display(), tree.display());
        self.note(&build, "packimage", &text);
        self.beside(
            cancel.clone(),
            move || {
                let result = pack_now(&parts, &build, generation, &cancel);
                Command::Packed { build: id, result }
            },
            move |failure| Command::Packed { build: id, result: Err(failure) },
        );
    }

    /// The archive is live, or what was served before still is.
    pub(super) async fn on_packed(
        &mut self,
        id: BuildId,
        result: Result<PackedImage, Failure>,
    ) -> Result<(), StoreError> {
        let Some(active) = self.active.get_mut(&id) else { return Ok(()) };
        active.work = None;
        let mut build = active.build.clone();
        let PackedImage { packed, removed, moved } = match result {
            Ok(image) => image,
            Err(failure) => {
                self.note(&build, "packimage", &failure.cause);
                return self.ended_badly(id, failure).await;
            }
        };
        let Some(number) = packed.generation.ours() else { return Ok(()) };
        let from = build.generation.or(packed.tree_of.and_then(Number::ours)).unwrap_or(number);
        let before = self.parts.store.generation(&build.rootimgdir, from)?;
        let record = before.map(|before| sealed(before, &build, number, &packed));
        let Ok(state) = build.state.on(BuildEvent::Finished) else { return Ok(()) };
        build.state = state;
        build.generation = Some(number);
        build.artefacts.clone_from(&packed.artefacts);
        if let Some(tree) = record.as_ref().and_then(|record| record.artefacts.iter().find(|one| one.name == "rootimg"))
        {
            build.artefacts.retain(|one| one.name != "rootimg");
            build.artefacts.push(tree.clone());
        }
        if let Some(warning) = not_served(&build.rootimgdir, &packed.switched.removed, &packed.artefacts) {
            self.note(&build, "packimage", &format!("warning: {warning}"));
            tracing::warn!(build = %build.id, "{warning}");
            build.warnings.push(warning);
        }
        build.ended_ms = now_ms();
        self.note(&build, "packimage", &format!("generation {number} is live, image UUID {}", packed.uuid));
        let build = clip::fitted(build);
        let removed: Vec<Generation> = removed.into_iter().filter_map(Number::ours).collect();
        let mut kept = self.parts.store.generations(&build.rootimgdir)?;
        kept.retain(|one| !removed.contains(&one.number) && Some(one.number) != record.as_ref().map(|new| new.number));
        // One that had to be packed as the next was sealed already, whatever its record says.
        for sealed in kept.iter_mut().filter(|one| number != from && one.number == from) {
            sealed.state = GenerationState::Packed;
        }
        kept.extend(record);
        hand_over(&mut kept, &moved);
        self.parts.store.save_generations(&build, &kept, &removed).await?;
        self.show(build);
        Ok(())
    }
}

/// Packs by the definition as it is now: its exlists and synclists may have been edited since genimage.
fn pack_now(parts: &Parts, build: &Build, number: Generation, cancel: &AtomicBool) -> Result<PackedImage, Failure> {
    let failed = |error: &dyn std::error::Error| here("packimage", chain(error), None);
    let osimage = parts.store.osimage(&build.osimage).map_err(|error| failed(&error))?;
    let gone = || here("packimage", format!("osimage `{}` was removed meanwhile", build.osimage), None);
    let record = parts.store.generation(&build.rootimgdir, number).map_err(|error| failed(&error))?;
    let recorded = record.map(|record| record.artefacts).unwrap_or_default();
    let order = PackOrder { recorded, ..pack_order(parts, build, &osimage.ok_or_else(gone)?)? };
    let dir = RootimgDir::open(&build.rootimgdir, &parts.config.install_dir).map_err(|error| failed(&error))?;
    let packed = packimage::pack(&order, &dir, number.into(), cancel).map_err(|error| pack_failure(&error))?;
    let (removed, moved) = prune(&dir, parts.config.keep_generations, packed.generation);
    Ok(PackedImage { packed, removed, moved })
}

/// Nodes go on asking for an archive by the name that they were told.
fn not_served(rootimgdir: &Path, removed: &[String], artefacts: &[Artefact]) -> Option<String> {
    let gone: Vec<&str> = ARCHIVES.into_iter().filter(|name| removed.iter().any(|one| one == name)).collect();
    // The archive is the last of them.
    let archive = artefacts.last().filter(|_| !gone.is_empty())?;
    let now = rootimgdir.join(&archive.name);
    Some(format!("`{}` is not served any more; nodes must be told imgurl=…{}", gone.join("`, `"), now.display()))
}

/// Old generations go. The image is live already, so what can't be removed is no failure of the build.
fn prune(dir: &RootimgDir, keep: usize, live: Number) -> (Vec<Number>, Vec<(Number, Number)>) {
    match retain(dir, keep, &[live]) {
        Ok(kept) => {
            for (path, error) in &kept.refused {
                tracing::warn!(path = %path.display(), %error, "an old generation can't be removed");
            }
            (kept.removed, kept.moved)
        }
        Err(error) => {
            tracing::warn!(rootimgdir = %dir.path().display(), error = chain(&error), "old generations can't be removed");
            (Vec::new(), Vec::new())
        }
    }
}

fn pack_order(parts: &Parts, build: &Build, osimage: &Osimage) -> Result<PackOrder, Failure> {
    // The packages are installed already.
    let site = Site { install_dir: parts.config.install_dir.clone(), indexes: None };
    // What was given for this build alone may name lists of its own.
    let resolved = resolve_with(osimage, &build.genimage, &site).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        here("packimage", lines.join("; "), Some("put the lists right, then `imgctl packimage`".into()))
    })?;
    let format = Format::parse(&build.pack.method, &build.pack.compress);
    let format = format.map_err(|error| here("packimage", error.to_string(), None))?;
    let plan = resolved.pack;
    Ok(PackOrder {
        osimage: build.osimage.clone(),
        excludes: plan.excludes.into_iter().map(|rule| rule.pattern).collect(),
        includes: plan.includes.into_iter().map(|rule| rule.pattern).collect(),
        copies: if build.pack.nosyncfiles { Vec::new() } else { plan.copies },
        format,
        root_hash: parts.config.root_password_hash.clone(),
        recorded: Vec::new(),
        threads: threads(parts.config.pack_threads),
    })
}

fn pack_failure(error: &PackError) -> Failure {
    let hint = matches!(error, PackError::Recorded(_))
        .then(|| "packimage can't make these; `imgctl build` makes a new generation".to_owned());
    here("packimage", chain(error), hint)
}

/// As many as asked for; 0 means one per processor.
pub(crate) fn threads(asked: usize) -> NonZeroUsize {
    NonZeroUsize::new(asked).or_else(|| std::thread::available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN)
}

fn sealed(before: GenerationRecord, build: &Build, number: Generation, packed: &Packed) -> GenerationRecord {
    let tree: Vec<Artefact> = before.artefacts.iter().filter(|one| one.name == "rootimg").cloned().collect();
    let artefacts = packed.artefacts.iter().filter(|one| one.name != "rootimg").cloned().chain(tree).collect();
    GenerationRecord {
        number,
        osimage: build.osimage.clone(),
        state: GenerationState::Packed,
        tree_of: packed.tree_of.and_then(Number::ours),
        packed_ms: now_ms(),
        artefacts,
        ..before
    }
}

/// A tree that moved has a new owner; the generations that share it say so.
fn hand_over(records: &mut [GenerationRecord], moved: &[(Number, Number)]) {
    for (from, to) in moved {
        let (Some(from), Some(to)) = (from.ours(), to.ours()) else { continue };
        for record in records.iter_mut().filter(|record| record.tree_of == Some(from)) {
            record.tree_of = (record.number != to).then_some(to);
        }
    }
    for record in records {
        let tree = record.tree_of.unwrap_or(record.number);
        let path = generation_dir(&record.rootimgdir, tree).join("rootimg");
        for artefact in record.artefacts.iter_mut().filter(|artefact| artefact.name == "rootimg") {
            artefact.path.clone_from(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_that_nodes_are_told_of_and_can_not_get_is_named_and_an_initrd_is_not() {
        let artefact = |name: &str| Artefact { name: name.into(), path: name.into(), bytes: 1, digest: None };
        let held = [artefact("kernel"), artefact("rootimg.cpio.xz")];
        let said = |removed: &[&str]| {
            let removed: Vec<String> = removed.iter().map(|name| (*name).to_owned()).collect();
            not_served(Path::new("/install/r"), &removed, &held)
        };
        assert_eq!(said(&[]), None);
        assert_eq!(said(&["initrd-statelite.gz"]), None);
        let expected =
            "`rootimg.cpio.gz` is not served any more; nodes must be told imgurl=…/install/r/rootimg.cpio.xz";
        assert_eq!(said(&["rootimg.cpio.gz"]).as_deref(), Some(expected));
    }
}
