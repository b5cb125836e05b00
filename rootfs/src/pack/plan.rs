//! [`Plan`]: all that will be in an archive, in order, decided before the first byte is written.
//!
//! So a file the format can not hold is named at once, the last of several hard links is known, and folders above
//! something an exlist saved can be put back.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::PackError;
use super::overlay::{Overlay, OverlayContent, OverlayError, Placed};
use crate::entry::{Attributes, Entry, FileId, Kind, Stamp};
use crate::filter::{Filter, Verdict};
use crate::path::TreePath;
use crate::walk::{Note, Walk};

/// One entry of the archive to be.
#[derive(Debug)]
pub(super) enum Item {
    /// From the tree.
    Tree(Entry),
    /// Put in.
    Overlay(Overlay),
}

/// What to write, by path.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) items: BTreeMap<TreePath, Item>,
    /// How many names each hard-linked file has in the archive.
    pub(super) links: HashMap<FileId, u32>,
    pub(super) excluded: u64,
    pub(super) notes: Vec<Note>,
}

/// Walks the tree once and decides over each entry.
pub(super) fn plan(walk: &mut Walk, filter: &mut Filter, placed: Placed) -> Result<Plan, PackError> {
    let mut plan = Plan { items: BTreeMap::new(), links: HashMap::new(), excluded: 0, notes: Vec::new() };
    // Excluded folders on the way to the current entry: they come back if anything below them is saved.
    let mut doubtful: Vec<Entry> = Vec::new();
    while let Some(entry) = walk.next().transpose()? {
        while doubtful.last().is_some_and(|folder| !is_within(&entry.path, &folder.path)) {
            doubtful.pop();
            plan.excluded += 1;
        }
        if let Some(overlay) = placed.overlays.get(&entry.path) {
            check_replaced(&entry, overlay)?;
            continue;
        }
        let verdict = match filter.judge(&entry.path) {
            Verdict::Goes if placed.folders.contains(&entry.path) => Verdict::Saved,
            verdict => verdict,
        };
        match verdict {
            Verdict::Goes if entry.kind == Kind::Dir => doubtful.push(entry),
            Verdict::Goes => plan.excluded += 1,
            // What stands in an excluded folder brings it back, with its own owner and mode: an initramfs can not
            // make a file whose folder is missing.
            Verdict::Stays | Verdict::Saved => {
                doubtful.drain(..).for_each(|folder| plan.keep(folder));
                plan.keep(entry);
            }
        }
    }
    plan.excluded += doubtful.len() as u64;
    plan.notes = walk.notes().to_vec();
    plan.put_in(placed);
    Ok(plan)
}

fn is_within(path: &TreePath, folder: &TreePath) -> bool {
    let rest = path.as_bytes().strip_prefix(folder.as_bytes());
    folder.is_root() || rest.is_some_and(|rest| rest.first() == Some(&b'/'))
}

fn check_replaced(entry: &Entry, overlay: &Overlay) -> Result<(), OverlayError> {
    match (&entry.kind, &overlay.content) {
        (Kind::Dir, OverlayContent::Dir) => Ok(()),
        (Kind::Dir, _) => Err(OverlayError::ReplacesFolder { path: overlay.path.clone() }),
        _ => Ok(()),
    }
}

impl Plan {
    fn keep(&mut self, entry: Entry) {
        if entry.is_linked() {
            *self.links.entry(entry.id).or_default() += 1;
        }
        self.items.insert(entry.path.clone(), Item::Tree(entry));
    }

    fn put_in(&mut self, placed: Placed) {
        for path in placed.folders {
            let made_up = || Item::Overlay(folder(path.clone()));
            self.items.entry(path.clone()).or_insert_with(made_up);
        }
        for (path, overlay) in placed.overlays {
            self.items.insert(path, Item::Overlay(overlay));
        }
    }

    /// The first file of the tree that is too large for the archive, if there is one.
    pub(super) fn too_large(&self, limit: u64) -> Option<&Entry> {
        self.items.values().find_map(|item| match item {
            Item::Tree(entry) if entry.size >= limit => Some(entry),
            _ => None,
        })
    }

    /// Entries of the tree that have extended attributes.
    pub(super) fn with_xattrs(&self) -> impl Iterator<Item = &Entry> {
        let mut seen = HashSet::new();
        self.items.values().filter_map(move |item| match item {
            // One name of a hard-linked file is enough: the attributes are the file's.
            Item::Tree(entry) if !entry.xattrs.is_empty() && (!entry.is_linked() || seen.insert(entry.id)) => {
                Some(entry)
            }
            _ => None,
        })
    }
}

/// A folder that the tree does not have.
fn folder(path: TreePath) -> Overlay {
    let attributes = Attributes { mode: 0o755, uid: 0, gid: 0, mtime: Stamp(0, 0) };
    Overlay { path, content: OverlayContent::Dir, attributes }
}
