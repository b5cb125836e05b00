//! Writes a plan as a cpio archive.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use rustix::fs::{Mode, openat};

use super::PackError;
use super::overlay::{Overlay, OverlayContent};
use super::plan::{Item, Plan};
use crate::beneath::{Beneath, CONTENT};
use crate::cpio::{CpioMember, CpioWriter, Inode};
use crate::entry::{Entry, FileId, Kind};
use crate::path::TreePath;

/// The stream with a whole archive in it.
pub(super) struct Written<W> {
    pub(super) stream: W,
    pub(super) bytes: u64,
}

/// Writes all of `plan` to `stream`; `out` names the file in errors.
pub(super) fn cpio<W: Write>(plan: &Plan, tree: &mut Beneath, stream: W, out: &Path) -> Result<Written<W>, PackError> {
    let mut writer =
        Writer { cpio: CpioWriter::new(stream), out, tree, links: HashMap::new(), buffer: vec![0; 256 * 1024] };
    for item in plan.items.values() {
        match item {
            Item::Tree(entry) => writer.entry(plan, entry)?,
            Item::Overlay(overlay) => writer.overlay(overlay)?,
        }
    }
    let (stream, bytes) = writer.cpio.finish().map_err(|source| PackError::Output { path: out.to_owned(), source })?;
    Ok(Written { stream, bytes })
}

struct Writer<'a, W> {
    cpio: CpioWriter<W>,
    out: &'a Path,
    tree: &'a mut Beneath,
    /// The number of each hard-linked file, and how many of its names are still to come.
    links: HashMap<FileId, (Inode, u32)>,
    buffer: Vec<u8>,
}

impl<W: Write> Writer<'_, W> {
    fn entry(&mut self, plan: &Plan, entry: &Entry) -> Result<(), PackError> {
        let (inode, nlink, is_last) = self.names(plan, entry);
        let size = if is_last { self.length(&entry.path, entry.size)? } else { 0 };
        self.begin(&CpioMember {
            name: member_name(&entry.path),
            kind: entry.kind.clone(),
            attributes: entry.attributes,
            inode,
            nlink,
            size,
        })?;
        if size == 0 {
            return Ok(());
        }
        let (parent, name) = entry.path.split().expect("the root of a tree has no content");
        let open = self.tree.folder(&parent).and_then(|folder| openat(folder, name, CONTENT, Mode::empty()));
        let unreadable = |source: io::Error| PackError::Read { path: entry.path.clone(), source };
        let mut file = File::from(open.map_err(|error| unreadable(error.into()))?);
        self.content(&mut file, size, &entry.path, &unreadable)
    }

    /// The number of the file, how many names it has in the archive, and whether this is the last.
    fn names(&mut self, plan: &Plan, entry: &Entry) -> (Inode, u32, bool) {
        let count = if entry.is_linked() { plan.links.get(&entry.id).copied().unwrap_or(1) } else { 1 };
        if count == 1 {
            let nlink = if entry.kind == Kind::Dir { 2 } else { 1 };
            return (self.cpio.new_inode(), nlink, true);
        }
        let cpio = &mut self.cpio;
        let (inode, left) = self.links.entry(entry.id).or_insert_with(|| (cpio.new_inode(), count));
        *left -= 1;
        (*inode, count, *left == 0)
    }

    fn overlay(&mut self, overlay: &Overlay) -> Result<(), PackError> {
        let mut source = None;
        let (kind, length) = match &overlay.content {
            OverlayContent::Bytes(bytes) => (Kind::File, bytes.len() as u64),
            OverlayContent::File(path) => {
                let (file, length) = open_source(path).map_err(|error| unreadable_source(overlay, path, error))?;
                source = Some((file, path));
                (Kind::File, length)
            }
            OverlayContent::Symlink(target) => (Kind::Symlink(target.clone()), 0),
            OverlayContent::Dir => (Kind::Dir, 0),
        };
        let size = self.length(&overlay.path, length)?;
        let nlink = if kind == Kind::Dir { 2 } else { 1 };
        let inode = self.cpio.new_inode();
        let attributes = overlay.attributes;
        self.begin(&CpioMember { name: member_name(&overlay.path), kind, attributes, inode, nlink, size })?;
        match (&overlay.content, source) {
            (OverlayContent::Bytes(bytes), _) => self.put(bytes),
            (_, Some((mut file, path))) => {
                self.content(&mut file, size, &overlay.path, &|error| unreadable_source(overlay, path, error))
            }
            _ => Ok(()),
        }
    }

    fn content(
        &mut self,
        file: &mut File,
        size: u32,
        path: &TreePath,
        unreadable: &dyn Fn(io::Error) -> PackError,
    ) -> Result<(), PackError> {
        let mut left = size as usize;
        while left > 0 {
            let want = left.min(self.buffer.len());
            let got = file.read(&mut self.buffer[..want]).map_err(unreadable)?;
            if got == 0 {
                return Err(PackError::Changed { path: path.clone() });
            }
            self.cpio.content(&self.buffer[..got]).map_err(|source| failed(self.out, source))?;
            left -= got;
        }
        Ok(())
    }

    fn begin(&mut self, member: &CpioMember) -> Result<(), PackError> {
        self.cpio.begin(member).map_err(|source| failed(self.out, source))
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), PackError> {
        self.cpio.content(bytes).map_err(|source| failed(self.out, source))
    }

    fn length(&self, path: &TreePath, size: u64) -> Result<u32, PackError> {
        u32::try_from(size).map_err(|_| PackError::TooLarge { path: path.clone(), size })
    }
}

fn failed(out: &Path, source: io::Error) -> PackError {
    PackError::Output { path: out.to_owned(), source }
}

fn open_source(path: &Path) -> io::Result<(File, u64)> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    match metadata.is_file() {
        true => Ok((file, metadata.len())),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")),
    }
}

fn unreadable_source(overlay: &Overlay, path: &Path, source: io::Error) -> PackError {
    PackError::Source { path: overlay.path.clone(), source_file: path.to_owned(), source }
}

/// The root is `.`, as in what `find .` gives to cpio.
fn member_name(path: &TreePath) -> Vec<u8> {
    if path.is_root() { b".".to_vec() } else { path.as_bytes().to_vec() }
}
