//! Whether packages carry a signature at all, as the header in front of each says. Nothing is verified here, dnf does
//! that; but a vendor's unsigned repository is better told of at once than in the middle of a build.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::files::open_regular;

/// What stands in front of the signature header.
const LEAD: [u8; 4] = [0xed, 0xab, 0xee, 0xdb];
const LEAD_LENGTH: usize = 96;
/// What every header begins with.
const HEADER: [u8; 3] = [0x8e, 0xad, 0xe8];
/// Magic and version, four bytes in reserve, count of entries, length of their data.
const HEADER_LENGTH: usize = 16;
/// Tag, kind, place and count.
const ENTRY_LENGTH: usize = 16;
/// Signature headers have about ten entries.
const MAX_ENTRIES: u32 = 256;
/// DSA, RSA and OpenPGP of the header; PGP and GPG of header and payload.
const SIGNATURES: [u32; 5] = [267, 268, 278, 1002, 1005];
/// Names looked at for a package; media keep them one or two folders down.
const MAX_NAMES: usize = 10_000;
const MAX_DEPTH: usize = 3;

/// The first package of a repository, if it has no signature. `None` too where there is none or it can't be read: that
/// is for dnf to say.
pub(super) fn unsigned_package(repository: &Path) -> Option<PathBuf> {
    let package = first_package(repository, MAX_DEPTH)?;
    matches!(is_signed(&package), Ok(false)).then_some(package)
}

/// By name, files before folders, so that the same one is found each time.
fn first_package(folder: &Path, depth: usize) -> Option<PathBuf> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder).ok()?.filter_map(Result::ok).map(|entry| entry.path()).take(MAX_NAMES).collect();
    paths.sort();
    let is_package = |path: &&PathBuf| path.extension().is_some_and(|end| end == "rpm") && path.is_file();
    if let Some(package) = paths.iter().find(is_package) {
        return Some(package.clone());
    }
    let below = |path: &PathBuf| if path.is_dir() { first_package(path, depth - 1) } else { None };
    if depth == 0 { None } else { paths.iter().find_map(below) }
}

fn is_signed(package: &Path) -> io::Result<bool> {
    let mut file = open_regular(package)?;
    let mut front = [0; LEAD_LENGTH + HEADER_LENGTH];
    file.read_exact(&mut front)?;
    let header = &front[LEAD_LENGTH..];
    let count = u32::from_be_bytes([header[8], header[9], header[10], header[11]]);
    if !front.starts_with(&LEAD) || !header.starts_with(&HEADER) || count > MAX_ENTRIES {
        return Err(io::Error::other("it is no rpm"));
    }
    let mut entry = [0; ENTRY_LENGTH];
    for _ in 0..count {
        file.read_exact(&mut entry)?;
        if SIGNATURES.contains(&u32::from_be_bytes([entry[0], entry[1], entry[2], entry[3]])) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The front of an rpm with these tags in its signature header.
    fn package(tags: &[u32]) -> Vec<u8> {
        let mut bytes = LEAD.to_vec();
        bytes.resize(LEAD_LENGTH, 0);
        bytes.extend(HEADER);
        bytes.extend([1, 0, 0, 0, 0]);
        bytes.extend(u32::try_from(tags.len()).unwrap().to_be_bytes());
        bytes.extend([0; 4]);
        for tag in tags {
            bytes.extend(tag.to_be_bytes());
            bytes.extend([0; 12]);
        }
        bytes
    }

    #[test]
    fn a_package_is_signed_by_one_of_its_tags() {
        let dir = tempfile::tempdir().unwrap();
        let found = |bytes: &[u8]| {
            let path = dir.path().join("Packages/a/a-1.rpm");
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
            unsigned_package(dir.path()).map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        };
        // Digests and sizes alone sign nothing.
        assert_eq!(found(&package(&[62, 269, 273, 1000, 1004])), Some("a-1.rpm".to_owned()));
        for tag in SIGNATURES {
            assert_eq!(found(&package(&[62, 269, tag])), None, "{tag}");
        }
        let whole = package(&[62, 269]);
        for broken in [b"no rpm".as_slice(), b"", &whole[..whole.len() - 1], &[0; 200]] {
            assert_eq!(found(broken), None);
        }
    }

    #[test]
    fn the_first_package_by_name_is_looked_at_and_none_is_no_fault() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(unsigned_package(dir.path()), None);
        assert_eq!(unsigned_package(&dir.path().join("gone")), None);
        for (name, tags) in [("b.rpm", [268].as_slice()), ("c.rpm", &[62])] {
            fs::write(dir.path().join(name), package(tags)).unwrap();
        }
        assert_eq!(unsigned_package(dir.path()), None);
        fs::write(dir.path().join("a.rpm"), package(&[62])).unwrap();
        assert_eq!(unsigned_package(dir.path()), Some(dir.path().join("a.rpm")));
    }
}
