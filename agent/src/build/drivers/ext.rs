//! ext2, ext3 and ext4 images, by debugfs of e2fsprogs. It ends well whatever happens, writes where a damaged folder's
//! names lead, and fills holes; so every folder is listed and judged before anything is taken out.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::path::Path;

use super::watch::{Limit, Watch};
use crate::build::failure::StageError;

/// Always the root's inode.
const ROOT: u64 = 2;
/// No driver disk has more; each is one run of debugfs.
const FOLDERS: usize = 1000;

/// Takes everything out of an image.
pub(super) fn extract(image: &Path, watch: &Watch<'_>) -> Result<(), StageError> {
    judge(image, watch)?;
    // In quotes, for debugfs takes its request apart at spaces.
    let request = format!("rdump / \"{}\"", watch.folder.display());
    let said = watch.run("debugfs", |cmd| cmd.arg("-R").arg(request).arg(image))?;
    match said.iter().find(|line| !is_banner(line)) {
        Some(line) => Err(watch.damaged(line)),
        None => Ok(()),
    }
}

fn judge(image: &Path, watch: &Watch<'_>) -> Result<(), StageError> {
    let Limit { bytes: mut room, entries } = watch.limit;
    let (mut seen, mut waiting, mut count) = (HashSet::from([ROOT]), vec![ROOT], 0);
    while let Some(folder) = waiting.pop() {
        for entry in list(image, folder, watch)? {
            count += 1;
            let left = if entry.is_file() { room.checked_sub(entry.size) } else { Some(room) };
            room = left
                .filter(|_| count <= entries && seen.len() <= FOLDERS)
                .ok_or_else(|| watch.limit.error(watch.source))?;
            if entry.is_folder() {
                if !seen.insert(entry.inode) {
                    return Err(watch.damaged(&format!("its folder `{}` is in it twice", entry.name)));
                }
                waiting.push(entry.inode);
            }
        }
    }
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
struct Entry {
    inode: u64,
    mode: u32,
    name: String,
    size: u64,
}

impl Entry {
    fn is_folder(&self) -> bool {
        self.mode & 0o170_000 == 0o040_000
    }

    fn is_file(&self) -> bool {
        self.mode & 0o170_000 == 0o100_000
    }
}

fn list(image: &Path, folder: u64, watch: &Watch<'_>) -> Result<Vec<Entry>, StageError> {
    let (mut entries, mut names, mut strange) = (Vec::new(), HashSet::new(), None);
    let request = format!("ls -p <{folder}>");
    watch.hear("debugfs", |cmd| cmd.arg("-R").arg(request).arg(image), &mut |line| {
        // An inode of 0 is room in the folder that nothing is in.
        if is_banner(line) || line.starts_with("/0/") || strange.is_some() || entries.len() as u64 > watch.limit.entries
        {
            return ControlFlow::Continue(());
        }
        match entry(line) {
            Some(Entry { name, .. }) if name == "." || name == ".." => {}
            // The second of a name would be written through the first, if that is a link.
            Some(entry) if names.insert(entry.name.clone()) => entries.push(entry),
            _ => strange = Some(line.to_owned()),
        }
        ControlFlow::Continue(())
    })?;
    match strange {
        Some(line) => Err(watch.damaged(&line)),
        None => Ok(entries),
    }
}

/// `/12/040755/0/0/lib//`: inode, mode, owner, group, name, length. Anything else is an error's text, or has a name that
/// no kernel would have made.
fn entry(line: &str) -> Option<Entry> {
    let parts: Vec<&str> = line.strip_prefix('/')?.strip_suffix('/')?.split('/').collect();
    let [inode, mode, _, _, name, size] = parts.as_slice() else { return None };
    let size = if size.is_empty() { 0 } else { size.parse().ok()? };
    let mode = u32::from_str_radix(mode, 8).ok()?;
    (!name.is_empty()).then_some(Entry { inode: inode.parse().ok()?, mode, name: (*name).to_owned(), size })
}

fn is_banner(line: &str) -> bool {
    line.trim().is_empty() || line.starts_with("debugfs 1.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_name() {
        let file = Entry { inode: 17, mode: 0o100644, name: "a b.ko".to_owned(), size: 300 };
        assert_eq!(entry("/17/100644/0/0/a b.ko/300/"), Some(file));
        assert_eq!(entry("/12/040755/0/0/lib//").map(|entry| (entry.is_folder(), entry.size)), Some((true, 0)));
        for other in
            ["/17/100644/0/0/../../etc/x/300/", "/17/100644/0/0/a", "ls: Corrupt directory", "/17/100644/0/0//3/"]
        {
            assert_eq!(entry(other), None, "{other}");
        }
    }
}
