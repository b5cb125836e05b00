//! Generations on disk and their records, each without the other; and what was left half done beside them.

use std::collections::BTreeSet;
use std::path::Path;

use model::generation::GenerationRecord;

use super::{Area, Look};
use crate::chain::chain;
use crate::generation::retain::{INCOMING, PACKING, PRUNED};
use crate::generation::{Number, RootimgDir, sweep};

pub(super) fn check(look: &mut Look<'_>) {
    for path in look.rootimgdirs() {
        let records: Vec<GenerationRecord> =
            look.contents.generations.iter().filter(|record| record.rootimgdir == path).cloned().collect();
        match RootimgDir::find(&path, &look.config.install_dir) {
            Ok(Some(dir)) => one(look, &dir, &records),
            Ok(None) if records.is_empty() => {}
            Ok(None) => {
                let what = format!("{} generations are recorded, and there is no folder of generations", records.len());
                let next = "is its disk mounted? if it is gone for good, genimage makes a new one";
                look.report.error(Area::Generations, &path, what, next);
            }
            Err(error) => {
                look.report.error(Area::Generations, &path, chain(&error), "put that right, then check again")
            }
        }
    }
}

fn one(look: &mut Look<'_>, dir: &RootimgDir, records: &[GenerationRecord]) {
    let numbers = match dir.numbers() {
        Ok(numbers) => numbers,
        Err(error) => {
            return look.report.error(Area::Generations, dir.path(), chain(&error), "look at the disk");
        }
    };
    half_done(look, dir);
    let recorded: BTreeSet<Number> = records.iter().map(|record| record.number.into()).collect();
    let unrecorded = |number: &&Number| number.ours().is_some() && !recorded.contains(number);
    for number in numbers.iter().filter(unrecorded).filter(|_| look.contents.unreadable.is_empty()) {
        let what = "a generation without a record, as a stop in the wrong moment leaves it; \
                    it is passed over, and goes when older ones are pruned";
        look.report.ok(Area::Generations, &dir.generation(*number), what);
    }
    for record in records.iter().filter(|record| !numbers.contains(&record.number.into())) {
        without_folder(look, dir, record, numbers.is_empty());
    }
    let what = format!("{} generations, {} records", numbers.len(), records.len());
    look.report.ok(Area::Generations, dir.path(), what);
}

fn without_folder(look: &mut Look<'_>, dir: &RootimgDir, record: &GenerationRecord, all_gone: bool) {
    let path = dir.generation(record.number.into());
    let used = look.contents.builds.iter().any(|build| {
        !build.state.is_final() && build.rootimgdir == record.rootimgdir && build.generation == Some(record.number)
    });
    if all_gone || used || !look.knows_all() {
        let next = match (used, all_gone) {
            (true, _) => "cancel the build that is at work on it",
            (false, true) => "is its disk mounted?",
            (false, false) => "make every record readable: a build that can't be read may be at work on it",
        };
        return look.report.error(Area::Generations, &path, "a record without its folder", next);
    }
    let (store, runtime) = (look.store.clone(), &look.runtime);
    let fix = || {
        let store = store.ok_or("the store is not open")?;
        Ok(runtime.block_on(store.forget_generation(&record.rootimgdir, record.number))?)
    };
    look.report.repairable(Area::Generations, &path, "a record without its folder", "forget the record", fix);
}

/// Folders that were being received, packed or removed. No build that goes on needs them: it begins again.
fn half_done(look: &mut Look<'_>, dir: &RootimgDir) {
    let half = |name: &String| [INCOMING, PACKING, PRUNED].iter().any(|prefix| name.starts_with(prefix));
    let names: Vec<String> = dir.names().unwrap_or_default().into_iter().filter(half).collect();
    if names.is_empty() {
        return;
    }
    let what = format!("left half done: {}", names.join(", "));
    let fix = || -> Result<(), Box<dyn std::error::Error>> {
        match sweep(dir)?.refused.into_iter().next() {
            // It names the mount that stands in the way.
            Some((_, error)) => Err(error.into()),
            None => Ok(()),
        }
    };
    look.report.repairable(Area::Generations, Path::new(&dir.generations()), what, "remove them", fix);
}
