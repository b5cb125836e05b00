//! [`write_tar`]: a folder's content into one stream, in the order of a walk.
//!
//! The agent publishes with it: the folder holds the root tree, the kernel and the initrds, and names in the archive
//! are relative to the folder. The folder itself is not in the archive.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::Path;

use tar::EntryType;
use thiserror::Error;

use super::block::Draft;
use super::pax::Records;
use super::{BLOCK, padding, sparse};
use crate::entry::{Attributes, Entry, FileId, Kind, Stamp};
use crate::path::TreePath;
use crate::walk::{Note, Walk, WalkError};

/// Why an archive was not finished.
#[derive(Debug, Error)]
pub enum TarError {
    /// The tree can not be read.
    #[error(transparent)]
    Walk(#[from] WalkError),
    /// A file's content can not be read.
    #[error("cannot read `{path}` for the archive")]
    Read {
        /// The file.
        path: TreePath,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// A file became shorter while it was read.
    #[error("`{path}` changed while it was archived")]
    Changed {
        /// The file.
        path: TreePath,
    },
    /// The archive can not be written.
    #[error("cannot write archive at `{path}`")]
    Write {
        /// The entry being written.
        path: TreePath,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

/// What an archive holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Members, hard links among them.
    pub entries: u64,
    /// Members that are a further name of an earlier one.
    pub hard_links: u64,
    /// Bytes of file content in the archive, without holes.
    pub content_bytes: u64,
    /// Bytes of the archive.
    pub archive_bytes: u64,
    /// What the walk left out.
    pub notes: Vec<Note>,
}

/// Archives everything below `dir`.
pub fn write_tar(dir: &Path, out: impl Write) -> Result<Totals, TarError> {
    let mut writer = TarWriter { out, links: HashMap::new(), totals: Totals::default(), buffer: vec![0; 256 * 1024] };
    let mut walk = Walk::new(dir)?;
    let mut last = TreePath::root();
    while let Some(entry) = walk.next().transpose()? {
        if !entry.path.is_root() {
            writer.add(&walk, &entry)?;
            last = entry.path;
        }
    }
    writer.end().map_err(|source| TarError::Write { path: last, source })?;
    writer.totals.notes = walk.notes().to_vec();
    Ok(writer.totals)
}

struct TarWriter<W> {
    out: W,
    links: HashMap<FileId, TreePath>,
    totals: Totals,
    buffer: Vec<u8>,
}

impl<W: Write> TarWriter<W> {
    fn add(&mut self, walk: &Walk, entry: &Entry) -> Result<(), TarError> {
        self.totals.entries += 1;
        if entry.is_linked() {
            if let Some(first) = self.links.get(&entry.id).cloned() {
                self.totals.hard_links += 1;
                return self.hard_link(entry, &first).map_err(|source| failed(entry, source));
            }
            self.links.insert(entry.id, entry.path.clone());
        }
        match &entry.kind {
            Kind::File => self.file(walk, entry),
            _ => self.node(entry).map_err(|source| failed(entry, source)),
        }
    }

    /// A further name needs no attributes of its own: they belong to the file.
    fn hard_link(&mut self, entry: &Entry, first: &TreePath) -> io::Result<()> {
        let mut draft = draft(entry, EntryType::Link);
        draft.link = first.as_bytes();
        self.header(&draft, Records::default())
    }

    /// All that has no content.
    fn node(&mut self, entry: &Entry) -> io::Result<()> {
        let name;
        let mut draft = draft(entry, EntryType::Directory);
        match &entry.kind {
            Kind::Dir => {
                name = [entry.path.as_bytes(), b"/"].concat();
                draft.name = &name;
            }
            Kind::Symlink(target) => {
                draft.kind = EntryType::Symlink;
                draft.link = target;
            }
            Kind::Fifo => draft.kind = EntryType::Fifo,
            Kind::Char(device) => {
                draft.kind = EntryType::Char;
                draft.device = Some(*device);
            }
            Kind::Block(device) => {
                draft.kind = EntryType::Block;
                draft.device = Some(*device);
            }
            Kind::File => unreachable!("files have content and their own method"),
        }
        self.header(&draft, records_of(entry))
    }

    fn file(&mut self, walk: &Walk, entry: &Entry) -> Result<(), TarError> {
        let mut draft = draft(entry, EntryType::Regular);
        let records = records_of(entry);
        if entry.size == 0 {
            return self.header(&draft, records).map_err(|source| failed(entry, source));
        }
        let mut file = walk.open(entry)?;
        let extents = if entry.sparse { sparse::data_extents(&file, entry.size) } else { Ok(None) };
        match extents.map_err(|error| unreadable(entry, error.into()))? {
            Some(extents) => self.sparse_file(file, entry, records, &extents),
            None => {
                draft.size = entry.size;
                self.header(&draft, records).map_err(|source| failed(entry, source))?;
                self.content(&mut file, entry, entry.size)?;
                self.pad(entry.size).map_err(|source| failed(entry, source))
            }
        }
    }

    fn sparse_file(
        &mut self,
        mut file: File,
        entry: &Entry,
        mut records: Records,
        extents: &[(u64, u64)],
    ) -> Result<(), TarError> {
        let map = sparse::write_map(extents, entry.size);
        let stored: u64 = extents.iter().map(|(_, length)| length).sum();
        let name = sparse::stand_in_name(entry);
        let mut draft = draft(entry, EntryType::Regular);
        (draft.name, draft.size) = (&name, map.len() as u64 + stored);
        records.push("GNU.sparse.major", b"1");
        records.push("GNU.sparse.minor", b"0");
        records.push("GNU.sparse.name", entry.path.as_bytes());
        records.push("GNU.sparse.realsize", entry.size.to_string().as_bytes());
        self.header(&draft, records).and_then(|()| self.put(&map)).map_err(|source| failed(entry, source))?;
        for (offset, length) in extents {
            file.seek(io::SeekFrom::Start(*offset)).map_err(|source| unreadable(entry, source))?;
            self.content(&mut file, entry, *length)?;
        }
        self.pad(stored).map_err(|source| failed(entry, source))
    }

    fn content(&mut self, file: &mut File, entry: &Entry, mut left: u64) -> Result<(), TarError> {
        self.totals.content_bytes += left;
        while left > 0 {
            let want = left.min(self.buffer.len() as u64) as usize;
            let got = file.read(&mut self.buffer[..want]).map_err(|source| unreadable(entry, source))?;
            if got == 0 {
                return Err(TarError::Changed { path: entry.path.clone() });
            }
            self.out.write_all(&self.buffer[..got]).map_err(|source| failed(entry, source))?;
            self.totals.archive_bytes += got as u64;
            left -= got as u64;
        }
        Ok(())
    }

    fn header(&mut self, draft: &Draft<'_>, mut records: Records) -> io::Result<()> {
        let header = draft.block(&mut records);
        if !records.as_bytes().is_empty() {
            let extended = Draft {
                name: b"././@PaxHeader",
                kind: EntryType::XHeader,
                attributes: Attributes { mode: 0o644, uid: 0, gid: 0, mtime: Stamp(0, 0) },
                size: records.as_bytes().len() as u64,
                link: b"",
                device: None,
            };
            self.put(extended.block(&mut Records::default()).as_bytes())?;
            self.put(records.as_bytes())?;
            self.pad(records.as_bytes().len() as u64)?;
        }
        self.put(header.as_bytes())
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.totals.archive_bytes += bytes.len() as u64;
        self.out.write_all(bytes)
    }

    fn pad(&mut self, length: u64) -> io::Result<()> {
        self.put(&[0; BLOCK][..padding(length)])
    }

    /// Two empty blocks tell a whole archive from one cut short.
    fn end(&mut self) -> io::Result<()> {
        self.put(&[0; 2 * BLOCK])?;
        self.out.flush()
    }
}

fn draft(entry: &Entry, kind: EntryType) -> Draft<'_> {
    let (name, attributes) = (entry.path.as_bytes(), entry.attributes);
    Draft { name, kind, attributes, size: 0, link: b"", device: None }
}

fn records_of(entry: &Entry) -> Records {
    let mut records = Records::default();
    for xattr in &entry.xattrs {
        records.push_xattr(&xattr.name, &xattr.value);
        let acl = super::acl::record_key(&xattr.name).zip(super::acl::text(&xattr.value));
        if let Some((key, text)) = acl {
            records.push(key, text.as_bytes());
        }
    }
    records
}

fn failed(entry: &Entry, source: io::Error) -> TarError {
    TarError::Write { path: entry.path.clone(), source }
}

fn unreadable(entry: &Entry, source: io::Error) -> TarError {
    TarError::Read { path: entry.path.clone(), source }
}
