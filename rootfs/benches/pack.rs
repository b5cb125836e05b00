//! How fast a root tree is packed: `cargo bench -p rootfs --bench pack -- /path/to/root [threads]`.
//!
//! Prints wall-clock and CPU seconds. To compare, run in the tree:
//! `time (find . -print0 | cpio -o -H newc -0 | pigz -6 > /tmp/x.gz)`.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Instant;

use rootfs::compress::{Compression, Compressor, ZstdLevel, zstd_reader};
use rootfs::filter::Filter;
use rootfs::manifest::Manifest;
use rootfs::pack::{PackMethod, PackRecipe, pack};
use rootfs::remove::remove_tree;
use rootfs::tar::write_tar;
use rootfs::unpack::{UnpackOptions, unpack};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    let root = args.next().or_else(|| std::env::var("ROOTFS_BENCH_TREE").ok());
    let Some(root) = root else {
        println!("no tree given: pass one, or set ROOTFS_BENCH_TREE");
        return Ok(());
    };
    let root = Path::new(&root);
    let threads = match args.next() {
        Some(number) => number.parse()?,
        None => std::thread::available_parallelism()?,
    };
    let scratch = tempfile::tempdir()?;
    measure("walk", || Ok(rootfs::walk::Walk::new(root)?.count() as u64))?;
    measure("cpio, no compression", || packed(root, scratch.path(), Compression::None, threads))?;
    measure("cpio, gzip 6", || packed(root, scratch.path(), Compression::default(), threads))?;
    let zstd = Compression::Zstd(ZstdLevel::default());
    measure("cpio, zstd 3", || packed(root, scratch.path(), zstd, threads))?;
    let archive = scratch.path().join("tree.tar.zst");
    measure("tar, zstd 3", || {
        let mut out = Compressor::new(std::fs::File::create(&archive)?, zstd, threads)?;
        write_tar(root, &mut out)?;
        Ok(out.finish()?.metadata()?.len())
    })?;
    let tree = scratch.path().join("tree");
    std::fs::create_dir(&tree)?;
    let mut manifest = Manifest::default();
    measure("unpack with manifest", || {
        let unpacked = unpack(zstd_reader(std::fs::File::open(&archive)?)?, &tree, UnpackOptions::default())?;
        manifest = unpacked.manifest;
        Ok(unpacked.bytes)
    })?;
    measure("edits of an unchanged tree", || Ok(rootfs::edits::edits(&manifest, &tree)?.len() as u64))?;
    measure("remove", || Ok(remove_tree(&tree).map(|()| 0)?))?;
    Ok(())
}

fn packed(
    root: &Path,
    scratch: &Path,
    compression: Compression,
    threads: NonZeroUsize,
) -> Result<u64, Box<dyn std::error::Error>> {
    let recipe = PackRecipe {
        method: PackMethod::Cpio,
        compression,
        threads,
        filter: Filter::default(),
        overlays: Vec::new(),
        xattr_list: true,
    };
    Ok(pack(root, &scratch.join("rootimg"), &recipe)?.bytes_out)
}

fn measure(
    what: &str,
    act: impl FnOnce() -> Result<u64, Box<dyn std::error::Error>>,
) -> Result<(), Box<dyn std::error::Error>> {
    let (start, cpu) = (Instant::now(), cpu_seconds());
    let result = act()?;
    let (wall, cpu) = (start.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    println!("{what:28} {wall:7.2} s wall {cpu:7.2} s cpu   {result}");
    Ok(())
}

fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
