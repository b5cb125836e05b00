//! Extended attributes of anything, including symbolic links and devices, without opening it.
//!
//! There is no `listxattrat` on the kernels we run on, so entries are named through `/proc/self/fd`, which also
//! keeps long paths short. ACLs and file capabilities are xattrs like the others here.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::fs::{XattrFlags, lgetxattr, llistxattr, lsetxattr};
use rustix::io::Errno;

use crate::entry::Xattr;

/// The kernel's limit for one value and for one list of names.
const LARGEST: usize = 64 * 1024;

/// Reads all attributes of `name` in `dir` that can be carried to another file system, sorted by name.
pub(crate) fn read(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<Vec<Xattr>> {
    let path = proc_path(dir, name);
    let mut small = [0u8; 512];
    let length = match llistxattr(&path[..], &mut small[..]) {
        Ok(length) => length,
        Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        Err(Errno::RANGE) => return read_names(&path, &list_long(&path)?),
        Err(error) => return Err(error.into()),
    };
    read_names(&path, &small[..length])
}

fn list_long(path: &[u8]) -> io::Result<Vec<u8>> {
    let mut names = vec![0; LARGEST];
    let length = llistxattr(path, &mut names[..])?;
    names.truncate(length);
    Ok(names)
}

fn read_names(path: &[u8], names: &[u8]) -> io::Result<Vec<Xattr>> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let mut value = vec![0; LARGEST];
    let mut found = Vec::new();
    for name in names.split(|byte| *byte == 0).filter(|name| is_portable(name)) {
        match lgetxattr(path, name, &mut value[..]) {
            Ok(length) => found.push(Xattr { name: name.to_vec(), value: value[..length].to_vec() }),
            // Listed, but this kernel or module does not give it: there is nothing to carry.
            Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error.into()),
        }
    }
    found.sort();
    Ok(found)
}

/// Views that a file system gives of its own business (NFSv4 ACLs, btrfs properties) do not belong in an image.
fn is_portable(name: &[u8]) -> bool {
    [&b"security."[..], b"user.", b"trusted.", b"system.posix_acl_"].iter().any(|space| name.starts_with(space))
}

/// Sets one attribute of `name` in `dir`, not following a symbolic link.
pub(crate) fn write(dir: BorrowedFd<'_>, name: &[u8], xattr: &Xattr) -> Result<(), Errno> {
    lsetxattr(&proc_path(dir, name)[..], &xattr.name[..], &xattr.value, XattrFlags::empty())
}

fn proc_path(dir: BorrowedFd<'_>, name: &[u8]) -> Vec<u8> {
    let mut path = format!("/proc/self/fd/{}/", dir.as_raw_fd()).into_bytes();
    path.extend_from_slice(name);
    path
}
