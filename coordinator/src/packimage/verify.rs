//! [`verify`]: a look at a finished archive before nodes get it, cheap enough to be always done.
//!
//! xCAT's pipes once left tiny "good" files when the archiver had failed. Length, first and last bytes are compared
//! with what the packer says that it wrote; reading gigabytes again is for whoever wants to.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rootfs::compress::Compression;
use rootfs::pack::PackReport;

/// Header and trailer of the shortest gzip file.
const SHORTEST: u64 = 20;

/// Why an archive is not let out.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It can't be read back.
    #[error("cannot read back `{}`", path.display())]
    Read {
        /// The archive.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// It is not what was written.
    #[error("`{}` is damaged: {what}; check the disk and pack again", path.display())]
    Damaged {
        /// The archive.
        path: PathBuf,
        /// What does not fit.
        what: &'static str,
    },
}

pub(super) fn verify(path: &Path, compression: Compression, report: &PackReport) -> Result<(), VerifyError> {
    let look = || -> io::Result<Option<&'static str>> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        if length != report.bytes_out || length < SHORTEST {
            return Ok(Some("its length is not what was written"));
        }
        if report.entries == 0 {
            return Ok(Some("it has no entries"));
        }
        let (mut head, mut tail) = ([0; 4], [0; 4]);
        file.read_exact_at(&mut head, 0)?;
        file.read_exact_at(&mut tail, length - 4)?;
        Ok(match compression {
            Compression::Gzip(_) if head[..3] != [0x1f, 0x8b, 8] => Some("it does not begin as gzip does"),
            // The format keeps the length modulo 4 GiB.
            Compression::Gzip(_) if u32::from_le_bytes(tail) != report.bytes_in as u32 => {
                Some("its end does not give the length of what was packed")
            }
            Compression::Zstd(_) if head != [0x28, 0xb5, 0x2f, 0xfd] => Some("it does not begin as zstd does"),
            _ => None,
        })
    };
    match look() {
        Ok(None) => Ok(()),
        Ok(Some(what)) => Err(VerifyError::Damaged { path: path.to_owned(), what }),
        Err(source) => Err(VerifyError::Read { path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rootfs::filter::Filter;
    use rootfs::pack::{PackMethod, PackRecipe, pack};
    use std::num::NonZeroUsize;

    #[test]
    fn a_cut_padded_or_emptied_archive_is_found() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("tree")).unwrap();
        std::fs::write(dir.path().join("tree/f"), "x".repeat(5000)).unwrap();
        let out = dir.path().join("rootimg.cpio.gz");
        let recipe = PackRecipe {
            method: PackMethod::Cpio,
            compression: Compression::default(),
            threads: NonZeroUsize::MIN,
            filter: Filter::default(),
            overlays: Vec::new(),
            xattr_list: false,
        };
        let report = pack(&dir.path().join("tree"), &out, &recipe).unwrap();
        verify(&out, recipe.compression, &report).unwrap();
        let good = std::fs::read(&out).unwrap();
        let mut other_end = good.clone();
        *other_end.last_mut().unwrap() ^= 1;
        let mut other_head = good.clone();
        other_head[0] = b'B';
        for bad in [&good[..good.len() - 1], &[], &[&good[..], b"x"].concat(), &other_end, &other_head] {
            std::fs::write(&out, bad).unwrap();
            assert!(matches!(verify(&out, recipe.compression, &report), Err(VerifyError::Damaged { .. })));
        }
    }
}
