//! What every attempt here publishes: a small archive that the coordinator can take in, made once.

use std::io::Write as _;
use std::num::NonZeroUsize;
use std::sync::OnceLock;

use rootfs::compress::{Compression, Compressor, ZstdLevel};
use rootfs::tar::write_tar;

/// Bytes of its largest file, which can't be compressed: an upload takes several messages.
const KERNEL: usize = 1 << 20;

/// The archive.
pub(crate) fn archive() -> &'static [u8] {
    static ARCHIVE: OnceLock<Vec<u8>> = OnceLock::new();
    ARCHIVE.get_or_init(make)
}

fn make() -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir_all(folder.path().join("rootimg/etc")).expect("a folder");
    for name in ["initrd-stateless.gz", "initrd-statelite.gz", "build.json", "rootimg/etc/fstab"] {
        std::fs::write(folder.path().join(name), name).expect("a file");
    }
    std::fs::write(folder.path().join("kernel"), noise(KERNEL)).expect("a file");
    let mut tar = Vec::new();
    write_tar(folder.path(), &mut tar).expect("a tar");
    let compression = Compression::Zstd(ZstdLevel::default());
    let mut stream = Compressor::new(Vec::new(), compression, NonZeroUsize::MIN).expect("a compressor");
    stream.write_all(&tar).and_then(|()| stream.finish()).expect("an archive")
}

fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..bytes).map(|_| next()).collect()
}
