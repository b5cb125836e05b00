//! Opening driver disks and driver packages, with the modules in them, into folders of the attempt. Whatever comes out
//! of a file is bounded (see [`super::watch`]), and nothing is written outside those folders.

use std::fs;
use std::path::{Path, PathBuf};

use super::image::{self, Kind};
use super::watch::{Limit, Watch};
use crate::build::failure::StageError;
use crate::sys::exec::SEARCH_PATH;
use crate::worker::report::StageLog;

/// One of these stands at the top of every driver disk, of either format.
const MARKS: [&str; 5] = ["rhdd", "rhdd3", "modinfo", "modules.dep", "modules.cgz"];
/// The modules of disks of the older format.
const OLD_MODULES: &str = "modules.cgz";

/// The first that the node has opens packages.
const PACKAGE_TOOLS: [&str; 2] = ["rpm2archive", "bsdtar"];

/// What a disk turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Disk {
    /// The folders that hold its content.
    Content(Vec<PathBuf>),
    /// No driver disk, and why.
    NotOne(&'static str),
}

/// Unpacks a disk below `desk`; a folder stays where it is.
pub(super) fn disk(path: &Path, desk: &Path, log: &StageLog<'_>) -> Result<Disk, StageError> {
    if path.is_dir() {
        return content(path, path, desk, log);
    }
    // Whoever opens a pipe waits for its other end.
    if !is_file(path)? {
        return Ok(Disk::NotOne("it is neither a file nor a folder"));
    }
    let folder = desk.join("content");
    made(&folder)?;
    let watch = Watch::new(path, &folder, Limit::SOURCE, log);
    let image = match image::kind(path)? {
        Kind::Gzip => gunzip(path, &desk.join("image"), &watch)?,
        _ => path.to_owned(),
    };
    if !image::extract(&image, &watch)? {
        return Ok(Disk::NotOne("it is no image of ISO 9660, ext2 to ext4, FAT or cpio, nor one of these in gzip"));
    }
    content(path, &folder, desk, log)
}

fn content(path: &Path, folder: &Path, desk: &Path, log: &StageLog<'_>) -> Result<Disk, StageError> {
    if !is_disk(folder) {
        return Ok(Disk::NotOne("its top folder holds none of rhdd3, rhdd, modinfo, modules.dep and modules.cgz"));
    }
    let mut folders = vec![folder.to_owned()];
    let is_modules =
        |path: &PathBuf| is_called(path, OLD_MODULES) && path.symlink_metadata().is_ok_and(|meta| meta.is_file());
    // Unpacked beside the rest: the disk may hold links, and nothing is to be written through one. Or pipes.
    if let Some(modules) = entries(folder).find(is_modules) {
        let apart = made(&desk.join("apart"))?;
        let watch = Watch::new(path, &apart, Limit::SOURCE, log);
        let unzipped = gunzip(&modules, &desk.join("modules"), &watch)?;
        if !image::extract(&unzipped, &watch)? {
            return Err(watch.damaged("its modules.cgz is no cpio archive"));
        }
        folders.push(apart);
    }
    Ok(Disk::Content(folders))
}

/// What the plan names may be a link to one.
fn is_file(path: &Path) -> Result<bool, StageError> {
    Ok(fs::metadata(path).map_err(StageError::file("look at", path))?.is_file())
}

fn is_disk(folder: &Path) -> bool {
    entries(folder).any(|path| MARKS.iter().any(|mark| is_called(&path, mark)))
}

/// As ISO 9660 without extensions spells it, too.
fn is_called(path: &Path, name: &str) -> bool {
    path.file_name().is_some_and(|found| found.eq_ignore_ascii_case(name))
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}

fn made(folder: &Path) -> Result<PathBuf, StageError> {
    fs::create_dir_all(folder).map_err(StageError::file("make", folder))?;
    Ok(folder.to_owned())
}

/// Unpacks an rpm into a new folder.
pub(super) fn package(path: &Path, folder: &Path, log: &StageLog<'_>) -> Result<(), StageError> {
    let program = tool(&PACKAGE_TOOLS, path, "install rpm (it has rpm2archive) or bsdtar on the node")?;
    package_by(program, path, folder, log)
}

fn package_by(program: &str, path: &Path, folder: &Path, log: &StageLog<'_>) -> Result<(), StageError> {
    made(folder)?;
    let watch = Watch::new(path, folder, Limit::SOURCE, log);
    if !is_file(path)? {
        return Err(watch.damaged("it is no file"));
    }
    watch.limit.of_file(path)?;
    if program == "bsdtar" {
        watch.run(program, |cmd| cmd.arg("-xf").arg(path).arg("-C").arg(folder))?;
        // It ends well over a package that is cut short in its header.
        return match entries(folder).next() {
            Some(_) => Ok(()),
            None => Err(watch.damaged("nothing is in it")),
        };
    }
    // It writes beside its input, and the install root is read-only.
    let desk = made(&folder.with_extension("archive"))?;
    let (own, archive) = (desk.join("package.rpm"), desk.join("package.rpm.tgz"));
    fs::copy(path, &own).map_err(StageError::file("copy", path))?;
    Watch { folder: &desk, ..watch }.run(program, |cmd| cmd.arg(&own))?;
    let tar = ["--extract", "--gzip", "--file"];
    watch.run("tar", |cmd| cmd.args(tar).arg(&archive).arg("--directory").arg(folder))?;
    for file in [own, archive] {
        fs::remove_file(&file).map_err(StageError::file("remove", &file))?;
    }
    Ok(())
}

/// The bytes of a module, whatever it is compressed with.
pub(super) fn module(path: &Path, desk: &Path, log: &StageLog<'_>) -> Result<Vec<u8>, StageError> {
    let packer = PACKERS.iter().find(|packer| path.extension().is_some_and(|end| end == packer.ending));
    let folder = desk.join("module");
    let plain = match packer {
        Some(packer) => {
            made(&folder)?;
            packer.unpack(path, &Watch::new(path, &folder, Limit::MODULE, log))?
        }
        None => path.to_owned(),
    };
    Limit::MODULE.of_file(&plain)?;
    let bytes = fs::read(&plain).map_err(StageError::file("read", &plain))?;
    if packer.is_some() {
        fs::remove_file(&plain).map_err(StageError::file("remove", &plain))?;
    }
    Ok(bytes)
}

/// A program that takes a file in place of which it leaves the unpacked one.
struct Packer {
    program: &'static str,
    args: &'static [&'static str],
    ending: &'static str,
    hint: &'static str,
}

const GZIP: Packer = Packer { program: "gzip", args: &["-d"], ending: "gz", hint: "install gzip on the node" };
/// xz takes as much memory as a file asks for, unless told; `-9` needs 65 MiB.
const PACKERS: [Packer; 3] = [
    GZIP,
    Packer {
        program: "xz",
        args: &["-d", "-M", "512MiB"],
        ending: "xz",
        hint: "install xz (Debian: xz-utils) on the node",
    },
    Packer { program: "zstd", args: &["-d", "-q", "--rm"], ending: "zst", hint: "install zstd on the node" },
];

impl Packer {
    /// Unpacks a copy of a file into the watched folder; gives its path.
    fn unpack(&self, file: &Path, watch: &Watch<'_>) -> Result<PathBuf, StageError> {
        tool(&[self.program], watch.source, self.hint)?;
        watch.limit.of_file(file)?;
        let plain = watch.folder.join("plain");
        let packed = plain.with_extension(self.ending);
        fs::copy(file, &packed).map_err(StageError::file("copy", file))?;
        watch.run(self.program, |cmd| cmd.args(self.args).arg(&packed))?;
        Ok(plain)
    }
}

fn gunzip(file: &Path, folder: &Path, watch: &Watch<'_>) -> Result<PathBuf, StageError> {
    GZIP.unpack(file, &Watch { folder: &made(folder)?, ..*watch })
}

/// The first of some programs that this node has.
pub(super) fn tool(names: &[&'static str], path: &Path, hint: &str) -> Result<&'static str, StageError> {
    let has = |name: &&&str| SEARCH_PATH.split(':').any(|folder| Path::new(folder).join(name).is_file());
    names.iter().find(has).copied().ok_or_else(|| {
        let cause = format!("this node can't open `{}`: it has none of {}", path.display(), names.join(", "));
        StageError::node(cause, hint)
    })
}

#[cfg(test)]
mod tests;
