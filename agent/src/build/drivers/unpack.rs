//! Opening driver disks and driver packages by the tools that a node has. Nothing is mounted: a loop device would
//! outlive the build's namespaces.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::build::failure::StageError;
use crate::sys::exec::{Cmd, SEARCH_PATH};
use crate::worker::report::StageLog;

/// One of these stands at the top of every driver disk, of either format.
const MARKS: [&str; 5] = ["rhdd", "rhdd3", "modinfo", "modules.dep", "modules.cgz"];

/// What a file is, by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Iso,
    Ext,
    Cpio,
    Gzip,
    Unknown,
}

/// Unpacks a disk; its content, or none if it is no driver disk.
pub(super) fn disk(path: &Path, desk: &Path, log: &StageLog<'_>) -> Result<Option<PathBuf>, StageError> {
    if path.is_dir() {
        return Ok(is_disk(path).then(|| path.to_owned()));
    }
    let content = desk.join("content");
    fs::create_dir_all(&content).map_err(StageError::file("make", &content))?;
    let mut image = path.to_owned();
    if kind(&image)? == Kind::Gzip {
        image = unzipped(&image, &desk.join("image"))?;
    }
    let image_text = image.display().to_string();
    match kind(&image)? {
        Kind::Iso => iso(&image, &content, log)?,
        Kind::Ext => {
            let program = tool(&["debugfs"], path, "install e2fsprogs on the node")?;
            log.run(&Cmd::new(program).args(["-R", &format!("rdump / {}", content.display()), &image_text]))?;
        }
        Kind::Cpio => cpio(&image, &content, log)?,
        Kind::Gzip | Kind::Unknown => return Ok(None),
    }
    if !is_disk(&content) {
        return Ok(None);
    }
    let modules = content.join("modules.cgz");
    if modules.is_file() {
        // Beside the rest: the disk may hold links, and nothing is to be written through one.
        let apart = desk.join("apart");
        fs::create_dir(&apart).map_err(StageError::file("make", &apart))?;
        cpio(&unzipped(&modules, &desk.join("modules"))?, &apart, log)?;
        let beside = content.join("imgctl-modules");
        fs::rename(&apart, &beside).map_err(StageError::file("make", &beside))?;
    }
    Ok(Some(content))
}

fn is_disk(folder: &Path) -> bool {
    let names = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.file_name());
    // ISO 9660 without extensions has capitals only.
    names.into_iter().any(|name| MARKS.contains(&name.to_string_lossy().to_lowercase().as_str()))
}

fn iso(image: &Path, content: &Path, log: &StageLog<'_>) -> Result<(), StageError> {
    let hint = "install bsdtar (Debian: libarchive-tools), 7z or xorriso on the node";
    let program = tool(&["bsdtar", "7z", "xorriso"], image, hint)?;
    let cmd = match program {
        "bsdtar" => Cmd::new(program).arg("-xf").arg(image).arg("-C").arg(content),
        "7z" => Cmd::new(program).args(["x", "-y"]).arg(format!("-o{}", content.display())).arg(image),
        _ => Cmd::new(program).args(["-osirrox", "on", "-indev"]).arg(image).args(["-extract", "/"]).arg(content),
    };
    log.run(&cmd).map(|_| ()).map_err(Into::into)
}

fn cpio(archive: &Path, content: &Path, log: &StageLog<'_>) -> Result<(), StageError> {
    let args = ["--extract", "--make-directories", "--no-absolute-filenames", "--quiet", "--file"];
    let program = tool(&["cpio"], archive, "install cpio on the node")?;
    log.run(&Cmd::new(program).args(args).arg(archive).directory(content)).map(|_| ()).map_err(Into::into)
}

/// Unpacks an rpm into a new folder.
pub(super) fn package(path: &Path, folder: &Path, log: &StageLog<'_>) -> Result<(), StageError> {
    fs::create_dir_all(folder).map_err(StageError::file("make", folder))?;
    let tool = tool(&["rpm2archive", "bsdtar"], path, "install rpm (it has rpm2archive) on the node")?;
    if tool == "bsdtar" {
        return log.run(&Cmd::new(tool).arg("-xf").arg(path).arg("-C").arg(folder)).map(|_| ()).map_err(Into::into);
    }
    // It writes beside its input, and the install root is read-only.
    let (own, archive) = (folder.with_extension("rpm"), folder.with_extension("rpm.tgz"));
    fs::copy(path, &own).map_err(StageError::file("copy", path))?;
    log.run(&Cmd::new(tool).arg(&own))?;
    log.run(&Cmd::new("tar").args(["--extract", "--gzip", "--file"]).arg(&archive).arg("--directory").arg(folder))?;
    for file in [own, archive] {
        fs::remove_file(&file).map_err(StageError::file("remove", &file))?;
    }
    Ok(())
}

/// The bytes of a module, whatever it is compressed with.
pub(super) fn module(path: &Path) -> Result<Vec<u8>, StageError> {
    let program = match path.extension().and_then(|end| end.to_str()) {
        Some("gz") => "gzip",
        Some("xz") => "xz",
        Some("zst") => "zstd",
        _ => return fs::read(path).map_err(StageError::file("read", path)),
    };
    Cmd::new(program).arg("-dc").arg(path).capture().map_err(Into::into)
}

fn unzipped(path: &Path, to: &Path) -> Result<PathBuf, StageError> {
    let bytes = Cmd::new("gzip").arg("-dc").arg(path).capture()?;
    fs::write(to, bytes).map_err(StageError::file("write", to))?;
    Ok(to.to_owned())
}

/// The first of some programs that this node has.
fn tool(names: &[&'static str], path: &Path, hint: &str) -> Result<&'static str, StageError> {
    let has = |name: &&&str| SEARCH_PATH.split(':').any(|folder| Path::new(folder).join(name).is_file());
    names.iter().find(has).copied().ok_or_else(|| {
        let cause = format!("this node can't open `{}`: it has none of {}", path.display(), names.join(", "));
        StageError::node(cause, hint)
    })
}

fn kind(path: &Path) -> Result<Kind, StageError> {
    let mut head = Vec::new();
    let read = File::open(path).and_then(|file| file.take(40 << 10).read_to_end(&mut head));
    read.map_err(StageError::file("read", path))?;
    Ok(recognise(&head))
}

fn recognise(head: &[u8]) -> Kind {
    let has = |at: usize, mark: &[u8]| head.get(at..at + mark.len()) == Some(mark);
    match () {
        () if has(32769, b"CD001") => Kind::Iso,
        () if has(1080, &[0x53, 0xef]) => Kind::Ext,
        () if has(0, b"07070") => Kind::Cpio,
        () if has(0, &[0x1f, 0x8b]) => Kind::Gzip,
        () => Kind::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_known_by_their_bytes() {
        let at = |offset: usize, mark: &[u8]| [vec![0; offset], mark.to_vec()].concat();
        assert_eq!(recognise(&at(32769, b"CD001")), Kind::Iso);
        assert_eq!(recognise(&at(1080, &[0x53, 0xef])), Kind::Ext);
        assert_eq!(recognise(b"070701000"), Kind::Cpio);
        assert_eq!(recognise(&[0x1f, 0x8b, 8]), Kind::Gzip);
        for other in [&b""[..], b"hello", &[0xed, 0xab, 0xee, 0xdb]] {
            assert_eq!(recognise(other), Kind::Unknown);
        }
    }

    #[test]
    fn a_folder_is_a_driver_disk_by_its_mark_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.ko"), "").unwrap();
        assert!(!is_disk(dir.path()));
        fs::write(dir.path().join("RHDD3"), "").unwrap();
        assert!(is_disk(dir.path()));
    }
}
