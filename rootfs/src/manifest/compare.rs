//! [`differences`]: what changed from one manifest to another, without looking at a tree.

use std::cmp::Ordering;

use super::{Manifest, ManifestEntry, Node};
use crate::edits::{Aspect, Edit, EditKind};

/// What `after` has, lacks or holds otherwise than `before`, by path. Times don't count, nor do numbers of hard links.
pub fn differences(before: &Manifest, after: &Manifest) -> Vec<Edit> {
    let (mut old, mut new) = (before.entries.iter().peekable(), after.entries.iter().peekable());
    let mut found = Vec::new();
    let edit = |entry: &ManifestEntry, kind| Edit { path: entry.path.clone(), kind };
    // Both are sorted by path.
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return found,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => old.path.cmp(&new.path),
        };
        let gone = if order.is_le() { old.next() } else { None };
        let come = if order.is_ge() { new.next() } else { None };
        match (gone, come) {
            (Some(gone), Some(come)) => {
                let aspects = aspects(gone, come);
                if !aspects.is_empty() {
                    found.push(edit(come, EditKind::Changed(aspects)));
                }
            }
            (Some(gone), None) => found.push(edit(gone, EditKind::Removed)),
            (None, Some(come)) => found.push(edit(come, EditKind::Added)),
            (None, None) => {}
        }
    }
}

fn aspects(old: &ManifestEntry, new: &ManifestEntry) -> Vec<Aspect> {
    let node = match (&old.node, &new.node) {
        (same, other) if same == other => None,
        (Node::File { .. }, Node::File { .. }) => Some(Aspect::Content),
        (Node::Symlink { .. }, Node::Symlink { .. }) => Some(Aspect::Target),
        (Node::Char(_), Node::Char(_)) | (Node::Block(_), Node::Block(_)) => Some(Aspect::Device),
        _ => Some(Aspect::Kind),
    };
    let mode = (old.mode != new.mode).then_some(Aspect::Mode);
    let owner = ((old.uid, old.gid) != (new.uid, new.gid)).then_some(Aspect::Owner);
    let xattrs = (old.xattrs != new.xattrs).then_some(Aspect::Xattrs);
    node.into_iter().chain(mode).chain(owner).chain(xattrs).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::entry::{DeviceNumber, Stamp, Xattr};
    use crate::path::TreePath;

    fn entry(path: &str, node: Node) -> ManifestEntry {
        let path = TreePath::parse(path).unwrap();
        ManifestEntry { path, node, mode: 0o755, uid: 0, gid: 0, mtime: Stamp(1, 0), link: None, xattrs: Vec::new() }
    }

    fn file(path: &str, content: &str) -> ManifestEntry {
        entry(path, Node::File { size: content.len() as u64, digest: Digest::of(content.as_bytes()) })
    }

    fn manifest(entries: &[ManifestEntry]) -> Manifest {
        Manifest { complete: Stamp(9, 9), emulated_on: None, entries: entries.to_vec() }
    }

    #[test]
    fn what_came_went_and_changed_is_told_by_path() {
        let mut owned = file("d", "same");
        owned.uid = 7;
        owned.xattrs = vec![Xattr { name: b"user.x".to_vec(), value: vec![1] }];
        let mut touched = file("e", "same");
        touched.mtime = Stamp(77, 7);
        touched.link = Some(3);
        let null = |minor| Node::Char(DeviceNumber { major: 1, minor });
        let before = manifest(&[
            file("a", "1"),
            file("b", "1"),
            file("c", "1"),
            file("d", "same"),
            file("e", "same"),
            entry("f", Node::Symlink { target: b"x".to_vec() }),
            entry("null", null(3)),
        ]);
        let after = manifest(&[
            file("a/new", "1"),
            file("b", "2"),
            entry("c", Node::Dir),
            owned,
            touched,
            entry("f", Node::Symlink { target: b"y".to_vec() }),
            entry("null", null(5)),
            file("z", ""),
        ]);
        let told: Vec<String> = differences(&before, &after).iter().map(ToString::to_string).collect();
        let expected = [
            "a removed",
            "a/new added",
            "b changed: content",
            "c changed: kind",
            "d changed: owner, xattrs",
            "f changed: target",
            "null changed: device",
            "z added",
        ];
        assert_eq!(told, expected);
        assert!(differences(&after, &after).is_empty());
        assert_eq!(differences(&Manifest::default(), &after).len(), 8);
    }
}
