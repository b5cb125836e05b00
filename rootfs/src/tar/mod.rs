//! The transfer archive: a POSIX tar with PAX headers, which carries all that a root image has.
//!
//! Written here rather than by the `tar` crate, whose blocks we use, because that crate writes no hard links and
//! no PAX headers, reads sparse files only in the old format, and splits PAX records at newlines, which file names
//! and capabilities may contain. GNU tar reads what we write (`--xattrs --xattrs-include='*' --acls`).
//!
//! - times with nanoseconds, long names, large numbers: PAX records
//! - xattrs, with capabilities and ACLs among them: `SCHILY.xattr.*`; ACLs once more as text for GNU tar
//! - sparse files: PAX sparse format 1.0, holes neither read nor sent
//! - hard links: the first name has the content, later ones point to it

mod acl;
mod block;
mod extended;
mod pax;
mod read;
mod sparse;
mod write;

pub use read::TarReadError;
pub(crate) use read::{Member, MemberKind, TarReader};
pub(crate) use sparse::Extent;
pub use write::{TarError, Totals, write_tar};

/// Everything in a tar is a multiple of this.
const BLOCK: usize = 512;

/// How many zero bytes follow `length` bytes to fill the block.
fn padding(length: u64) -> usize {
    ((BLOCK as u64 - length % BLOCK as u64) % BLOCK as u64) as usize
}
