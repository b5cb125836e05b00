//! `/etc/shadow` of the archive: the tree's, with root's entry as configured.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;

use rootfs::entry::{Attributes, Stamp};
use rootfs::pack::{Overlay, OverlayContent};

use super::PackError;
use super::in_image::InImage;

/// Where it stands in the image.
const PLACE: &str = "/etc/shadow";
/// The fields behind the password, as xCAT writes them.
const AGEING: &str = "13880:0:99999:7:::";
/// What no password matches.
const LOCKED: &str = "*";

pub(super) fn overlay(image: &InImage, root_hash: Option<&str>, now: Stamp) -> Result<Overlay, PackError> {
    let path = image.place(PLACE);
    let failed = |source| PackError::Overlay { path: path.clone(), source };
    let (old, mode, uid, gid) = read(image).map_err(failed)?;
    let content = OverlayContent::Bytes(with_root(&old, root_hash.unwrap_or(LOCKED)));
    // Where a link leads elsewhere, the archive gets a file in its place, as an editor would make.
    Ok(Overlay { path: path.clone(), content, attributes: Attributes { mode, uid, gid, mtime: now } })
}

/// The tree's own, with mode and owner; one that isn't there is empty and for root alone.
fn read(image: &InImage) -> io::Result<(Vec<u8>, u32, u32, u32)> {
    let Some(path) = image.find(PLACE) else {
        return Ok((Vec::new(), 0o600, 0, 0));
    };
    let metadata = path.symlink_metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is no regular file in the tree"));
    }
    Ok((fs::read(path)?, metadata.mode() & 0o7777, metadata.uid(), metadata.gid()))
}

/// Root's entry first, then all others as they stand.
fn with_root(old: &[u8], hash: &str) -> Vec<u8> {
    let mut new = format!("root:{hash}:{AGEING}\n").into_bytes();
    for line in old.split_inclusive(|byte| *byte == b'\n').filter(|line| !line.starts_with(b"root:")) {
        new.extend_from_slice(line);
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_roots_entry_changes() {
        let table: [(&[u8], &str); 4] = [
            (b"", "root:*:13880:0:99999:7:::\n"),
            (b"root::1:::::\nbin:*:2:::::\n", "root:*:13880:0:99999:7:::\nbin:*:2:::::\n"),
            (b"bin:*:2:::::\nroot:$6$x:1:::::", "root:*:13880:0:99999:7:::\nbin:*:2:::::\n"),
            (b"rooty:x:1:::::\n", "root:*:13880:0:99999:7:::\nrooty:x:1:::::\n"),
        ];
        for (old, new) in table {
            assert_eq!(String::from_utf8(with_root(old, LOCKED)).unwrap(), new);
        }
        assert!(with_root(b"", "$6$salt$hash").starts_with(b"root:$6$salt$hash:13880:"));
    }
}
