//! [`TarReader`]: members of a tar stream, one after the other, with their PAX records applied.
//!
//! Reads what [`super::write`] writes and what GNU tar and others write of the same kinds. It believes nothing:
//! checksums, lengths and maps are checked, buffers are bounded, and a kind it does not know is refused rather than
//! skipped, because a file missing from a root image is found on the booted node.

use std::io::{self, Read};

use tar::{EntryType, Header};
use thiserror::Error;

use super::extended::{Extended, SparseFile};
use super::padding;
use super::sparse::{Extent, read_map};
use crate::entry::{Attributes, DeviceNumber, Stamp, Xattr};
use crate::escape::{Blanks, escape};
use crate::path::{PathError, TreePath};

/// Names and xattrs of one member: 64 KiB for each xattr value is the kernel's limit, few have more than one.
const LARGEST_EXTENDED_HEADER: u64 = 4 * 1024 * 1024;

/// Why a stream is not an archive that can be unpacked.
#[derive(Debug, Error)]
pub enum TarReadError {
    /// The stream ended or failed.
    #[error("cannot read archive after `{after}`")]
    Stream {
        /// The last name seen.
        after: String,
        /// What the stream says.
        #[source]
        source: io::Error,
    },
    /// A block is not what the format says.
    #[error("archive is damaged after `{after}`: {what}")]
    Damaged {
        /// The last name seen.
        after: String,
        /// What is wrong.
        what: &'static str,
    },
    /// The name leads out of the tree.
    #[error("archive member is refused")]
    Name(#[from] PathError),
    /// A kind of member that has no place in a root image.
    #[error("archive member `{name}` is of unknown kind `{kind}`")]
    UnknownKind {
        /// Its name.
        name: String,
        /// The type byte, escaped.
        kind: String,
    },
}

/// What a member makes.
#[derive(Debug)]
pub(crate) enum MemberKind {
    /// A file of this size, whose content is in these extents, in ascending order; the rest is holes.
    File {
        size: u64,
        extents: Vec<Extent>,
    },
    Dir,
    Symlink(Vec<u8>),
    /// A further name of an earlier member.
    HardLink(TreePath),
    Fifo,
    Char(DeviceNumber),
    Block(DeviceNumber),
}

/// One member of an archive, without its content.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) path: TreePath,
    pub(crate) kind: MemberKind,
    pub(crate) attributes: Attributes,
    pub(crate) xattrs: Vec<Xattr>,
}

/// Reads members from a stream; the content of a file is read through it before the next member.
#[derive(Debug)]
pub(crate) struct TarReader<R> {
    stream: R,
    after: String,
    /// Content of the current member not yet read, and the padding after it.
    left: u64,
    pad: usize,
}

impl<R: Read> TarReader<R> {
    pub(crate) fn new(stream: R) -> Self {
        TarReader { stream, after: "the start".to_owned(), left: 0, pad: 0 }
    }

    /// The next member; `None` at the end mark. A stream that ends without one is an error.
    pub(crate) fn next(&mut self) -> Result<Option<Member>, TarReadError> {
        self.skip_rest()?;
        let mut extended = Extended::default();
        while let Some(header) = self.block()? {
            let size = header.entry_size().map_err(|_| self.damaged("the size is no number"))?;
            match header.entry_type() {
                EntryType::XHeader => {
                    let bytes = self.small(size)?;
                    extended.apply(&bytes).map_err(|what| self.damaged(what))?;
                }
                EntryType::GNULongName => extended.path = Some(until_nul(self.small(size)?)),
                EntryType::GNULongLink => extended.link = Some(until_nul(self.small(size)?)),
                _ => return self.member(&header, size, extended).map(Some),
            }
        }
        Ok(None)
    }

    /// Reads content of the current file, as many bytes as `buffer` has.
    pub(crate) fn content(&mut self, buffer: &mut [u8]) -> Result<(), TarReadError> {
        self.left = self.left.checked_sub(buffer.len() as u64).ok_or_else(|| self.damaged("a file is too short"))?;
        self.fill(buffer)
    }

    /// Reads to the end of the stream, so that a checksum behind the archive is verified.
    pub(crate) fn drain(mut self) -> Result<(), TarReadError> {
        let copied = io::copy(&mut self.stream, &mut io::sink());
        copied.map(|_| ()).map_err(|source| TarReadError::Stream { after: self.after, source })
    }

    fn member(&mut self, header: &Header, size: u64, mut extended: Extended) -> Result<Member, TarReadError> {
        let sparse = extended.sparse.take();
        let named = sparse.as_ref().and_then(|sparse| sparse.name.clone());
        let name = named.or(extended.path.take()).unwrap_or_else(|| header.path_bytes().into_owned());
        self.after = escape(&name, Blanks::Keep);
        let path = TreePath::parse(&name)?;
        let stored = extended.size.unwrap_or(size);
        let link =
            || extended.link.clone().unwrap_or_else(|| header.link_name_bytes().unwrap_or_default().into_owned());
        let kind = match header.entry_type() {
            EntryType::Regular | EntryType::Continuous => {
                self.left = stored;
                self.pad = padding(stored);
                self.file(stored, sparse)?
            }
            EntryType::Directory => MemberKind::Dir,
            EntryType::Symlink => MemberKind::Symlink(link()),
            EntryType::Link => MemberKind::HardLink(TreePath::parse(link())?),
            EntryType::Fifo => MemberKind::Fifo,
            EntryType::Char => MemberKind::Char(self.device(header)?),
            EntryType::Block => MemberKind::Block(self.device(header)?),
            other => {
                let kind = escape(&[other.as_byte()], Blanks::Keep);
                return Err(TarReadError::UnknownKind { name: self.after.clone(), kind });
            }
        };
        if !matches!(kind, MemberKind::File { .. }) && stored != 0 {
            return Err(self.damaged("a member that is no file has content"));
        }
        let attributes = self.attributes(header, &extended)?;
        extended.xattrs.sort();
        Ok(Member { path, kind, attributes, xattrs: extended.xattrs })
    }

    fn attributes(&self, header: &Header, extended: &Extended) -> Result<Attributes, TarReadError> {
        let id = |known: Option<u32>, read: io::Result<u64>| match (known, read.map(u32::try_from)) {
            (Some(id), _) | (None, Ok(Ok(id))) => Ok(id),
            _ => Err(self.damaged("the owner is no number")),
        };
        let seconds = || match header.mtime().map(i64::try_from) {
            Ok(Ok(seconds)) => Ok(Stamp(seconds, 0)),
            _ => Err(self.damaged("the time is no number")),
        };
        Ok(Attributes {
            mode: header.mode().map_err(|_| self.damaged("the mode is no number"))? & 0o7777,
            uid: id(extended.uid, header.uid())?,
            gid: id(extended.gid, header.gid())?,
            mtime: extended.mtime.map_or_else(seconds, Ok)?,
        })
    }

    fn device(&self, header: &Header) -> Result<DeviceNumber, TarReadError> {
        match (header.device_major(), header.device_minor()) {
            (Ok(Some(major)), Ok(Some(minor))) => Ok(DeviceNumber { major, minor }),
            _ => Err(self.damaged("the device has no number")),
        }
    }

    fn file(&mut self, stored: u64, sparse: Option<SparseFile>) -> Result<MemberKind, TarReadError> {
        let Some(sparse) = sparse else {
            let extents = Vec::from_iter((stored > 0).then_some(Extent { offset: 0, length: stored }));
            return Ok(MemberKind::File { size: stored, extents });
        };
        if (sparse.major, sparse.minor) != (Some(1), Some(0)) {
            return Err(self.damaged("a sparse file is not in format 1.0"));
        }
        let size = sparse.size.ok_or_else(|| self.damaged("a sparse file has no size"))?;
        let extents = read_map(self, size)?;
        let total: u64 = extents.iter().map(|extent| extent.length).sum();
        if total != self.left {
            return Err(self.damaged("a sparse file's map and content differ"));
        }
        Ok(MemberKind::File { size, extents })
    }

    /// The next header block; `None` at the first empty one, which ends the archive.
    fn block(&mut self) -> Result<Option<Header>, TarReadError> {
        let mut header = Header::new_old();
        self.fill(header.as_mut_bytes())?;
        if header.as_bytes().iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let stated = header.cksum().ok();
        let blanked = header.as_bytes().iter().enumerate();
        let sum: u32 = blanked.map(|(at, byte)| u32::from(if (148..156).contains(&at) { b' ' } else { *byte })).sum();
        if stated != Some(sum) {
            return Err(self.damaged("a header's checksum is wrong"));
        }
        Ok(Some(header))
    }

    /// The whole content of a header that stands before a member.
    fn small(&mut self, size: u64) -> Result<Vec<u8>, TarReadError> {
        if size > LARGEST_EXTENDED_HEADER {
            return Err(self.damaged("an extended header is too large"));
        }
        let mut bytes = vec![0; size as usize + padding(size)];
        self.fill(&mut bytes)?;
        bytes.truncate(size as usize);
        Ok(bytes)
    }

    fn skip_rest(&mut self) -> Result<(), TarReadError> {
        let mut left = self.left + self.pad as u64;
        (self.left, self.pad) = (0, 0);
        let mut sink = [0; 8192];
        while left > 0 {
            let take = left.min(sink.len() as u64) as usize;
            self.fill(&mut sink[..take])?;
            left -= take as u64;
        }
        Ok(())
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), TarReadError> {
        let read = self.stream.read_exact(buffer);
        read.map_err(|source| TarReadError::Stream { after: self.after.clone(), source })
    }

    pub(super) fn damaged(&self, what: &'static str) -> TarReadError {
        TarReadError::Damaged { after: self.after.clone(), what }
    }
}

fn until_nul(mut name: Vec<u8>) -> Vec<u8> {
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    name.truncate(end);
    name
}
