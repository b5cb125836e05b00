//! The `newc` archive that kernels unpack as an initramfs.
//!
//! [`CpioWriter`] numbers inodes itself, from 1, so that two files never become one because their 64-bit numbers
//! agree in the low half, and two packs of one tree are alike. It writes devices as 0:0 for the same reason. What
//! the format can not hold (4 GiB, xattrs) is the caller's to refuse or to list elsewhere.
//!
//! [`CpioReader`] lists an archive; tests compare with it.

use std::io::{self, Read, Write};

use crate::entry::{Attributes, DeviceNumber, Kind, Stamp};

/// A file must be smaller than this.
pub const FILE_LIMIT: u64 = 1 << 32;

const MAGIC: &[u8; 6] = b"070701";
const HEADER: usize = 110;
const TRAILER: &[u8] = b"TRAILER!!!";
/// Names longer than any kernel takes; a reader should not be talked into more.
const LONGEST_NAME: u32 = 1 << 20;

/// Which file a member is a name of: members with the same number are hard links to one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inode(u32);

/// One member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CpioMember {
    /// As in the archive; `.` for the root of the tree.
    pub name: Vec<u8>,
    /// What it is; a link's target is its content.
    pub kind: Kind,
    /// Owner, permissions, time in whole seconds.
    pub attributes: Attributes,
    /// The file it is a name of.
    pub inode: Inode,
    /// How many names this file has in the archive.
    pub nlink: u32,
    /// Length of the content that follows. Of several names of a file only the last has it, as GNU cpio does it:
    /// busybox resolves links no other way.
    pub size: u32,
}

/// Writes members to a stream.
#[derive(Debug)]
pub struct CpioWriter<W> {
    out: W,
    inodes: u32,
    written: u64,
    /// Content of the current member that is still to come.
    owed: u32,
}

impl<W: Write> CpioWriter<W> {
    /// Begins an archive.
    pub fn new(out: W) -> Self {
        CpioWriter { out, inodes: 0, written: 0, owed: 0 }
    }

    /// A number no other file of this archive has.
    pub fn new_inode(&mut self) -> Inode {
        self.inodes += 1;
        Inode(self.inodes)
    }

    /// Writes a member's header. Its `size` bytes of content must follow by [`CpioWriter::content`].
    pub fn begin(&mut self, member: &CpioMember) -> io::Result<()> {
        self.settled()?;
        let (kind_bits, device) = kind_bits(&member.kind);
        let target: &[u8] = if let Kind::Symlink(target) = &member.kind { target } else { b"" };
        let size = if target.is_empty() { member.size } else { target.len() as u32 };
        let fields = [
            member.inode.0,
            kind_bits | member.attributes.mode,
            member.attributes.uid,
            member.attributes.gid,
            member.nlink,
            mtime_field(member.attributes.mtime),
            size,
            0,
            0,
            device.major,
            device.minor,
            member.name.len() as u32 + 1,
            0,
        ];
        self.header(&fields, &member.name)?;
        if !target.is_empty() {
            self.put(target)?;
            return self.pad();
        }
        self.owed = size;
        Ok(())
    }

    /// Writes the next piece of the content of the member begun last.
    pub fn content(&mut self, bytes: &[u8]) -> io::Result<()> {
        let owed = u32::try_from(bytes.len()).ok().and_then(|length| self.owed.checked_sub(length));
        self.owed = owed.ok_or_else(|| io::Error::other("more content than the archive member has"))?;
        self.put(bytes)?;
        if self.owed == 0 { self.pad() } else { Ok(()) }
    }

    /// Ends the archive; gives back the stream and the length.
    pub fn finish(mut self) -> io::Result<(W, u64)> {
        self.settled()?;
        self.header(&[0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, TRAILER.len() as u32 + 1, 0], TRAILER)?;
        // GNU cpio's block size: boot loaders that concatenate archives rely on nothing more than 4.
        let rest = (512 - self.written % 512) % 512;
        self.put(&[0; 512][..rest as usize])?;
        Ok((self.out, self.written))
    }

    fn settled(&self) -> io::Result<()> {
        match self.owed {
            0 => Ok(()),
            _ => Err(io::Error::other("an archive member lacks content")),
        }
    }

    fn header(&mut self, fields: &[u32; 13], name: &[u8]) -> io::Result<()> {
        const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
        let mut header = [0u8; HEADER];
        header[..6].copy_from_slice(MAGIC);
        for (field, place) in fields.iter().zip(header[6..].chunks_exact_mut(8)) {
            for (digit, byte) in place.iter_mut().enumerate() {
                *byte = DIGITS[(field >> (28 - 4 * digit)) as usize & 15];
            }
        }
        self.put(&header)?;
        self.put(name)?;
        self.put(&[0])?;
        self.pad()
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.written += bytes.len() as u64;
        self.out.write_all(bytes)
    }

    fn pad(&mut self) -> io::Result<()> {
        let rest = padding(self.written);
        self.put(&[0; 4][..rest])
    }
}

fn padding(length: u64) -> usize {
    ((4 - length % 4) % 4) as usize
}

fn kind_bits(kind: &Kind) -> (u32, DeviceNumber) {
    let none = DeviceNumber { major: 0, minor: 0 };
    match kind {
        Kind::File => (0o100_000, none),
        Kind::Dir => (0o040_000, none),
        Kind::Symlink(_) => (0o120_000, none),
        Kind::Fifo => (0o010_000, none),
        Kind::Char(device) => (0o020_000, *device),
        Kind::Block(device) => (0o060_000, *device),
    }
}

/// The format counts from 1970 to 2106; times outside are brought to the nearest.
fn mtime_field(Stamp(seconds, _): Stamp) -> u32 {
    u32::try_from(seconds.max(0)).unwrap_or(u32::MAX)
}

/// Reads members from an uncompressed archive.
#[derive(Debug)]
pub struct CpioReader<R> {
    stream: R,
    read: u64,
    left: u32,
}

impl<R: Read> CpioReader<R> {
    /// Begins at the start of an archive.
    pub fn new(stream: R) -> Self {
        CpioReader { stream, read: 0, left: 0 }
    }

    /// The next member; `None` at the trailer. Content not read is skipped.
    pub fn next_member(&mut self) -> io::Result<Option<CpioMember>> {
        io::copy(self, &mut io::sink())?;
        self.skip_padding()?;
        let mut header = [0; HEADER];
        self.fill(&mut header)?;
        if header[..6] != *MAGIC {
            return Err(broken("no newc header where one should be"));
        }
        let mut fields = [0u32; 13];
        for (field, digits) in fields.iter_mut().zip(header[6..].chunks_exact(8)) {
            let text = std::str::from_utf8(digits).map_err(|_| broken("a field is no number"))?;
            *field = u32::from_str_radix(text, 16).map_err(|_| broken("a field is no number"))?;
        }
        let name = self.name(fields[11])?;
        if name == TRAILER {
            return Ok(None);
        }
        self.member(&fields, name).map(Some)
    }

    fn name(&mut self, length: u32) -> io::Result<Vec<u8>> {
        if length == 0 || length > LONGEST_NAME {
            return Err(broken("a name has no sensible length"));
        }
        let mut name = vec![0; length as usize];
        self.fill(&mut name)?;
        self.skip_padding()?;
        match name.pop() {
            Some(0) => Ok(name),
            _ => Err(broken("a name does not end")),
        }
    }

    fn member(&mut self, fields: &[u32; 13], name: Vec<u8>) -> io::Result<CpioMember> {
        let [inode, mode, uid, gid, nlink, mtime, size, _, _, major, minor, _, _] = *fields;
        let device = DeviceNumber { major, minor };
        let mut member_size = size;
        let kind = match mode & 0o170_000 {
            0o100_000 => Kind::File,
            0o040_000 => Kind::Dir,
            0o120_000 => {
                if size > LONGEST_NAME {
                    return Err(broken("a link has no sensible length"));
                }
                let mut target = vec![0; size as usize];
                self.fill(&mut target)?;
                member_size = 0;
                Kind::Symlink(target)
            }
            0o010_000 => Kind::Fifo,
            0o020_000 => Kind::Char(device),
            0o060_000 => Kind::Block(device),
            _ => return Err(broken("a member is of unknown kind")),
        };
        self.left = member_size;
        let attributes = Attributes { mode: mode & 0o7777, uid, gid, mtime: Stamp(i64::from(mtime), 0) };
        Ok(CpioMember { name, kind, attributes, inode: Inode(inode), nlink, size: member_size })
    }

    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        self.stream.read_exact(buffer)?;
        self.read += buffer.len() as u64;
        Ok(())
    }

    fn skip_padding(&mut self) -> io::Result<()> {
        let rest = padding(self.read);
        self.fill(&mut [0; 4][..rest])
    }
}

/// The content of the member given last.
impl<R: Read> Read for CpioReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let want = buffer.len().min(self.left as usize);
        if want == 0 {
            return Ok(0);
        }
        let got = self.stream.read(&mut buffer[..want])?;
        if got == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.read += got as u64;
        self.left -= got as u32;
        Ok(got)
    }
}

fn broken(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("cpio archive is damaged: {what}"))
}
