//! The store: whether it opens, and whether each record can be read.

use std::path::Path;

use model::id::BuildId;

use super::{Area, Look};
use crate::chain::chain;
use crate::store::Store;

const BACKUP: &str = "restore the state folder from a backup; move this one away, don't remove it";

pub(super) fn check(look: &mut Look<'_>) {
    let path = look.config.store_dir();
    // Opening would make one.
    if !path.is_dir() {
        if !look.config.logs_dir().exists() {
            return look.report.ok(Area::Store, &path, "there is none yet: no coordinator has run here");
        }
        let next = "restore it from a backup; a coordinator that starts now begins with an empty one";
        return look.report.error(Area::Store, &path, "there is no store", next);
    }
    let read = Store::open(&path).and_then(|(store, _failed)| Ok((store.contents()?, store)));
    let (contents, store) = match read {
        Ok(read) => read,
        Err(error) => return look.report.error(Area::Store, &path, chain(&error), BACKUP),
    };
    for record in &contents.unreadable {
        let next =
            "use the release that wrote it, or restore a backup; while it is there the coordinator may not start";
        look.report.error(
            Area::Store,
            Path::new(&record.key),
            format!("the record can't be read: {}", record.why),
            next,
        );
    }
    if !contents.unreadable.is_empty() {
        let what = "what no record names (staging folders, logs, generations), and what records name that is gone, \
                    may belong to what can't be read: none of it is judged or put right";
        look.report.warning(Area::Store, &path, what, "make every record readable, then check again");
    }
    let holes = holes(contents.builds.iter().map(|build| build.id), contents.next);
    if contents.unreadable.is_empty() && !holes.is_empty() {
        let next = "nothing; `imgctl builds` can't show what is gone";
        look.report.error(Area::Store, &path, format!("builds without a record: {}", holes.join(", ")), next);
    }
    let what = format!(
        "{} builds, {} generations, {} osimages, {} agents",
        contents.builds.len(),
        contents.generations.len(),
        contents.osimages.len(),
        contents.agents
    );
    look.report.ok(Area::Store, &path, what);
    (look.store, look.contents) = (Some(store), contents);
}

/// The numbers below `next` that no build has, and those from it on that one has.
fn holes(there: impl Iterator<Item = BuildId>, next: u64) -> Vec<String> {
    let there: std::collections::BTreeSet<u64> = there.map(BuildId::get).collect();
    let missing = (1..next).filter(|number| !there.contains(number)).map(|number| number.to_string());
    let beyond = there.range(next..).map(|number| format!("{number} (beyond the counter)"));
    missing.chain(beyond).take(20).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_and_builds_beyond_the_counter_are_named() {
        let of = |there: &[u64], next| holes(there.iter().filter_map(|number| BuildId::new(*number)), next);
        assert!(of(&[1, 2, 3], 4).is_empty());
        assert_eq!(of(&[1, 3, 4], 4), ["2", "4 (beyond the counter)"]);
    }
}
