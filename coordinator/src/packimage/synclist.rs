//! The copy lines of synclists, as overlays of the archive (XCAT.md 5.2 and 5.3).
//!
//! Like `rsync -rLptgo` in what is copied: links are followed, owners, modes and times kept, folders taken with all
//! that is in them. Bettered: whether the target is a directory is asked of the image, not of the MN; and a source
//! that is missing is a problem, with all others in all lines, where xCAT packs an image without it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use model::problem::Problem;
use model::synclist::CopyLine;
use rootfs::entry::{Attributes, Stamp};
use rootfs::filter::matches;
use rootfs::pack::{Overlay, OverlayContent};
use rootfs::path::TreePath;

use super::in_image::InImage;

/// What all lines put into the image, or every problem of all of them. A later line wins over an earlier one.
pub(super) fn overlays(image: &InImage, copies: &[CopyLine]) -> Result<BTreeMap<TreePath, Overlay>, Vec<Problem>> {
    let mut copying = Copying { image, overlays: BTreeMap::new() };
    let mut problems = Vec::new();
    for line in copies {
        if let Err(messages) = copying.line(line) {
            problems.extend(messages.into_iter().map(|message| Problem::at(&line.at, message)));
        }
    }
    if problems.is_empty() { Ok(copying.overlays) } else { Err(problems) }
}

struct Copying<'a> {
    image: &'a InImage,
    overlays: BTreeMap<TreePath, Overlay>,
}

impl Copying<'_> {
    fn line(&mut self, line: &CopyLine) -> Result<(), Vec<String>> {
        let sources = expand_all(&line.sources)?;
        let into = line.into_directory || line.target.ends_with('/') || sources.len() > 1 || self.is_dir(&line.target);
        let mut problems = Vec::new();
        for source in sources {
            let target = if into { self.inside(&line.target, &source) } else { self.image.place(&line.target) };
            problems.extend(self.copy(&source, target, &mut Vec::new()).err());
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// A folder of the image, or one that an earlier line made.
    fn is_dir(&self, target: &str) -> bool {
        let is_folder = |overlay: &Overlay| matches!(overlay.content, OverlayContent::Dir);
        let place = self.image.place(target);
        match self.overlays.get(&place) {
            Some(overlay) => is_folder(overlay),
            None => {
                let is_below = |path: &TreePath| *path != place && path.as_path().starts_with(place.as_path());
                self.overlays.keys().any(is_below) || self.image.is_dir(target)
            }
        }
    }

    fn inside(&self, target: &str, source: &Path) -> TreePath {
        let folder = self.image.folder(target);
        below(&folder, source.file_name().unwrap_or_default())
    }

    /// Copies one source; `above` are the folders that it was reached through, to see a circle of links.
    fn copy(&mut self, source: &Path, target: TreePath, above: &mut Vec<(u64, u64)>) -> Result<(), String> {
        let unreadable = |error: io::Error| format!("cannot read `{}`: {error}", source.display());
        let metadata = fs::metadata(source).map_err(unreadable)?;
        if metadata.is_file() {
            self.put(target, OverlayContent::File(source.to_owned()), &metadata);
            return Ok(());
        }
        if !metadata.is_dir() {
            return Err(format!("`{}` is neither a file nor a directory and can't be copied", source.display()));
        }
        let identity = (metadata.dev(), metadata.ino());
        if above.contains(&identity) {
            return Err(format!("`{}` leads back to a directory that it is in", source.display()));
        }
        if !target.is_root() {
            self.put(target.clone(), OverlayContent::Dir, &metadata);
        }
        above.push(identity);
        let list = || fs::read_dir(source)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>();
        for name in list().map_err(unreadable)? {
            self.copy(&source.join(&name), below(&target, &name), above)?;
        }
        above.pop();
        Ok(())
    }

    fn put(&mut self, path: TreePath, content: OverlayContent, metadata: &Metadata) {
        let mtime = Stamp(metadata.mtime(), u32::try_from(metadata.mtime_nsec()).unwrap_or_default());
        let attributes = Attributes { mode: metadata.mode() & 0o7777, uid: metadata.uid(), gid: metadata.gid(), mtime };
        self.overlays.insert(path.clone(), Overlay { path, content, attributes });
    }
}

fn below(folder: &TreePath, name: &OsStr) -> TreePath {
    TreePath::parse(folder.as_path().join(name).as_os_str().as_bytes())
        .expect("a name in a directory is neither empty nor `..`")
}

/// All sources of a line with their wildcards expanded, or one message for each that is not there.
fn expand_all(sources: &[String]) -> Result<Vec<PathBuf>, Vec<String>> {
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for source in sources {
        match expand(Path::new(source)) {
            paths if paths.is_empty() => missing.push(format!(
                "`{source}` is not there on the management node, so nothing is packed; put it there or remove the line"
            )),
            paths => found.extend(paths),
        }
    }
    if missing.is_empty() { Ok(found) } else { Err(missing) }
}

/// What a shell makes of an absolute path: sorted, and names with a leading dot only where the dot is written.
fn expand(pattern: &Path) -> Vec<PathBuf> {
    let mut paths = vec![PathBuf::from("/")];
    for part in pattern.components().skip(1) {
        let part = part.as_os_str();
        let wild = part.as_bytes().iter().any(|byte| b"*?[".contains(byte));
        paths = match wild {
            true => paths.iter().flat_map(|folder| matching(folder, part)).collect(),
            false => paths.into_iter().map(|folder| folder.join(part)).collect(),
        };
    }
    paths.retain(|path| path.symlink_metadata().is_ok());
    paths
}

fn matching(folder: &Path, part: &OsStr) -> Vec<PathBuf> {
    // A folder that can't be listed has no matches, as in a shell; the line is then a problem.
    let names = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let hidden = part.as_bytes().starts_with(b".");
    let fits = |name: &std::ffi::OsString| {
        (hidden || !name.as_bytes().starts_with(b".")) && matches(part.as_bytes(), name.as_bytes())
    };
    let mut paths: Vec<_> = names.filter(fits).map(|name| folder.join(name)).collect();
    paths.sort();
    paths
}

#[cfg(test)]
mod tests;
