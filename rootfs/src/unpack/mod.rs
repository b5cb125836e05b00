//! [`unpack`]: a transfer archive into a folder that it can not leave.
//!
//! The coordinator runs it on what an agent sent, as root, so the archive is believed nothing: names with `..` or from
//! the root are refused; every folder on the way is opened without following links; nothing that exists is
//! replaced, so no link can be slipped under a later name; kinds that are unknown are refused. What has been
//! unpacked before an error stays for the caller to remove, inside the folder like everything else.

mod settle;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ftruncate, linkat, makedev, mkdirat, mknodat, openat, symlinkat};
use rustix::io::Errno;
use thiserror::Error;

use crate::beneath::Beneath;
use crate::digest::Hasher;
use crate::entry::{Attributes, Xattr};
use crate::manifest::{Manifest, ManifestEntry, Node};
use crate::path::TreePath;
use crate::tar::{Extent, Member, MemberKind, TarReadError, TarReader};
use crate::walk::list;

/// What to do with an xattr that the file system does not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RefusedXattrs {
    /// Stop: an image without its capabilities is not the image.
    #[default]
    Fail,
    /// Go on, and say so in [`Unpacked::refused_xattrs`]; the manifest then lists what the tree has.
    Note,
}

/// How to unpack.
#[derive(Debug, Clone, Copy)]
pub struct UnpackOptions {
    /// On NFS, `security.*` is always refused.
    pub refused_xattrs: RefusedXattrs,
    /// Stop when files are longer than this together, counting holes: a small archive can claim any length.
    pub limit: u64,
}

impl Default for UnpackOptions {
    /// All xattrs must be kept; 1 TiB.
    fn default() -> Self {
        UnpackOptions { refused_xattrs: RefusedXattrs::Fail, limit: 1 << 40 }
    }
}

/// What was unpacked.
#[derive(Debug)]
pub struct Unpacked {
    /// All of it, with digests.
    pub manifest: Manifest,
    /// Length of all files together, holes included.
    pub bytes: u64,
    /// Xattrs that the file system did not take, by entry and name.
    pub refused_xattrs: Vec<(TreePath, Vec<u8>)>,
}

/// Why an archive was not unpacked, or not to its end.
#[derive(Debug, Error)]
pub enum UnpackError {
    /// The folder is not there or has something in it.
    #[error("cannot unpack into `{}`", path.display())]
    Destination {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The archive is damaged, cut short, or has members that are refused by name or kind.
    #[error(transparent)]
    Archive(#[from] TarReadError),
    /// The member would reach through a link, or its folder is not in the archive before it.
    #[error("archive member `{path}` is refused: its folder is not a folder of this archive")]
    NotInFolder {
        /// The member.
        path: TreePath,
    },
    /// The name is taken.
    #[error("archive member `{path}` is refused: the archive has that name already")]
    Duplicate {
        /// The member.
        path: TreePath,
    },
    /// A hard link to something that is no earlier file of the archive.
    #[error("archive member `{path}` is refused: it is a hard link to `{target}`, which is no earlier file")]
    LinkTarget {
        /// The member.
        path: TreePath,
        /// What it would be a name of.
        target: TreePath,
    },
    /// Too much.
    #[error("archive member `{path}` is refused: files would be longer than {limit} bytes together")]
    TooLarge {
        /// The member.
        path: TreePath,
        /// What was allowed.
        limit: u64,
    },
    /// The system refused.
    #[error("cannot {doing} `{path}` while unpacking")]
    Failed {
        /// What was tried.
        doing: &'static str,
        /// The member.
        path: TreePath,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

/// Unpacks a tar stream (not compressed: see [`crate::compress::zstd_reader`]) into the empty folder `dest`.
/// The stream is read to its very end, so a checksum behind the archive is verified.
pub fn unpack(reader: impl Read, dest: &Path, options: UnpackOptions) -> Result<Unpacked, UnpackError> {
    let open = || -> io::Result<Beneath> {
        let tree = Beneath::open(dest)?;
        match list(tree.root())?.is_empty() {
            true => Ok(tree),
            false => Err(io::ErrorKind::DirectoryNotEmpty.into()),
        }
    };
    let tree = open().map_err(|source| UnpackError::Destination { path: dest.to_owned(), source })?;
    let mut archive = TarReader::new(reader);
    let mut unpacker = Unpacker {
        tree,
        options,
        links: HashMap::new(),
        folders: Vec::new(),
        done: Unpacked { manifest: Manifest::default(), bytes: 0, refused_xattrs: Vec::new() },
        buffer: vec![0; 256 * 1024],
    };
    while let Some(member) = archive.next()? {
        if !member.path.is_root() {
            unpacker.add(&mut archive, member)?;
        }
    }
    archive.drain()?;
    unpacker.finish()
}

struct Unpacker {
    tree: Beneath,
    options: UnpackOptions,
    /// Where each name that could get a hard link stands in the manifest.
    links: HashMap<TreePath, usize>,
    /// Folders by their place in the manifest: their attributes are due at the end.
    folders: Vec<usize>,
    done: Unpacked,
    buffer: Vec<u8>,
}

impl Unpacker {
    fn add<R: Read>(&mut self, archive: &mut TarReader<R>, member: Member) -> Result<(), UnpackError> {
        let Member { path, kind, attributes, xattrs } = member;
        match kind {
            MemberKind::File { size, extents } => {
                let (node, file) = self.file(archive, &path, size, &extents)?;
                let xattrs = self.settle_file(&file, &path, attributes, xattrs)?;
                self.record(path, node, attributes, xattrs);
            }
            MemberKind::Dir => {
                self.make(&path, "create folder", |folder, name| mkdirat(folder, name, Mode::RWXU))?;
                self.folders.push(self.done.manifest.entries.len());
                self.record(path, Node::Dir, attributes, xattrs);
            }
            MemberKind::HardLink(target) => self.hard_link(path, target)?,
            other => {
                let node = self.special(&path, other)?;
                let xattrs = self.settle_by_name(&path, &node, attributes, xattrs)?;
                self.record(path, node, attributes, xattrs);
            }
        }
        Ok(())
    }

    fn file<R: Read>(
        &mut self,
        archive: &mut TarReader<R>,
        path: &TreePath,
        size: u64,
        extents: &[Extent],
    ) -> Result<(Node, File), UnpackError> {
        self.done.bytes = self.done.bytes.saturating_add(size);
        if self.done.bytes > self.options.limit {
            return Err(UnpackError::TooLarge { path: path.clone(), limit: self.options.limit });
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let create = |folder: BorrowedFd<'_>, name: &[u8]| openat(folder, name, flags, Mode::RUSR | Mode::WUSR);
        let mut file = File::from(self.make(path, "create", create)?);
        let mut hasher = Hasher::new();
        let mut end = 0;
        for extent in extents {
            hasher.update_zeros(extent.offset - end);
            if extent.offset != end {
                rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(extent.offset))
                    .map_err(|error| failed("seek in", path, error))?;
            }
            self.copy(archive, &mut file, &mut hasher, extent.length, path)?;
            end = extent.offset + extent.length;
        }
        if end < size {
            hasher.update_zeros(size - end);
            ftruncate(&file, size).map_err(|error| failed("set the length of", path, error))?;
        }
        Ok((Node::File { size, digest: hasher.finish() }, file))
    }

    fn copy<R: Read>(
        &mut self,
        archive: &mut TarReader<R>,
        file: &mut File,
        hasher: &mut Hasher,
        mut left: u64,
        path: &TreePath,
    ) -> Result<(), UnpackError> {
        while left > 0 {
            let take = left.min(self.buffer.len() as u64) as usize;
            let piece = &mut self.buffer[..take];
            archive.content(piece)?;
            hasher.update(piece);
            let written = file.write_all(piece);
            written.map_err(|source| UnpackError::Failed { doing: "write", path: path.clone(), source })?;
            left -= take as u64;
        }
        Ok(())
    }

    /// Makes what has no content and no entries.
    fn special(&mut self, path: &TreePath, kind: MemberKind) -> Result<Node, UnpackError> {
        let (file_type, device, node) = match kind {
            MemberKind::Symlink(target) => {
                self.make(path, "create link", |folder, name| symlinkat(&target[..], folder, name))?;
                return Ok(Node::Symlink { target });
            }
            MemberKind::Char(device) => (FileType::CharacterDevice, Some(device), Node::Char(device)),
            MemberKind::Block(device) => (FileType::BlockDevice, Some(device), Node::Block(device)),
            _ => (FileType::Fifo, None, Node::Fifo),
        };
        let number = device.map_or(0, |device| makedev(device.major, device.minor));
        let mode = Mode::RUSR | Mode::WUSR;
        self.make(path, "create device", |folder, name| mknodat(folder, name, file_type, mode, number))?;
        Ok(node)
    }

    fn hard_link(&mut self, path: TreePath, target: TreePath) -> Result<(), UnpackError> {
        let Some(&first) = self.links.get(&target) else {
            return Err(UnpackError::LinkTarget { path, target });
        };
        let (target_folder, target_name) = split(&target);
        let from = self.tree.folder(&target_folder).map_err(|error| failed("open folder of", &target, error))?;
        // The chain of open folders moves on to the new name's.
        let from = from.try_clone_to_owned();
        let from = from.map_err(|source| UnpackError::Failed { doing: "link", path: path.clone(), source })?;
        self.make(&path, "link", |folder, name| linkat(&from, target_name, folder, name, AtFlags::empty()))?;
        let group = self.done.manifest.entries[first].link.get_or_insert(first as u32);
        let group = *group;
        self.links.insert(path.clone(), first);
        let entry = ManifestEntry { path, link: Some(group), ..self.done.manifest.entries[first].clone() };
        self.done.manifest.entries.push(entry);
        Ok(())
    }

    /// Does one thing in the folder of `path` that must make a new name there.
    fn make<T>(
        &mut self,
        path: &TreePath,
        doing: &'static str,
        act: impl FnOnce(BorrowedFd<'_>, &[u8]) -> Result<T, Errno>,
    ) -> Result<T, UnpackError> {
        let (parent, name) = split(path);
        let folder = match self.tree.folder(&parent) {
            Ok(folder) => folder,
            Err(Errno::NOTDIR | Errno::LOOP | Errno::NOENT) => {
                return Err(UnpackError::NotInFolder { path: path.clone() });
            }
            Err(error) => return Err(failed("open folder of", path, error)),
        };
        act(folder, name).map_err(|error| match error {
            Errno::EXIST => UnpackError::Duplicate { path: path.clone() },
            error => failed(doing, path, error),
        })
    }

    fn record(&mut self, path: TreePath, node: Node, attributes: Attributes, xattrs: Vec<Xattr>) {
        let Attributes { mut mode, uid, gid, mtime } = attributes;
        match node {
            Node::Dir => {}
            // A link has no mode of its own; the system shows this one.
            Node::Symlink { .. } => mode = 0o777,
            _ => {}
        }
        if node != Node::Dir {
            self.links.insert(path.clone(), self.done.manifest.entries.len());
        }
        self.done.manifest.entries.push(ManifestEntry { path, node, mode, uid, gid, mtime, link: None, xattrs });
    }
}

fn split(path: &TreePath) -> (TreePath, &[u8]) {
    path.split().expect("the root of an archive is never unpacked")
}

fn failed(doing: &'static str, path: &TreePath, error: Errno) -> UnpackError {
    UnpackError::Failed { doing, path: path.clone(), source: error.into() }
}
