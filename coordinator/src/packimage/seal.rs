//! [`Place`]: where an archive is written, and how its generation is sealed.
//!
//! In a generation that is only built, the archive is written under a hidden name, and one rename seals it. For one
//! that is sealed, a hidden folder is made with everything but the archive, and one rename makes it the next
//! generation.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use model::build::Artefact;
use model::id::Generation;
use rootfs::digest::HashingReader;
use rootfs::pack::PackReport;
use rootfs::remove::remove_tree;

use super::{Format, PackError};
use crate::generation::atomic::{FileError, failed, remove_if_there, rename_new, sync_dir};
use crate::generation::layout::{BOOT, BUILD, MANIFEST, TREE};
use crate::generation::retain::PACKING;
use crate::generation::{Number, RootimgDir};

/// Where an archive is made.
#[derive(Debug)]
pub(super) enum Place {
    /// In a generation that is not sealed yet.
    Within { number: Number, archive: PathBuf, sealed: PathBuf },
    /// In a new one.
    Beside { next: Generation, folder: PathBuf, archive: PathBuf },
}

impl Place {
    /// Finds the place for an archive of generation `number`, whose tree lies in `owner`.
    pub(super) fn prepare(dir: &RootimgDir, number: Number, owner: Number, format: Format) -> Result<Place, PackError> {
        let folder = dir.existing(number)?;
        let name = format.archive_name();
        if !dir.is_packed(number) {
            let archive = folder.join(format!(".{name}.unsealed"));
            return Ok(Place::Within { number, archive, sealed: folder.join(name) });
        }
        let next = dir.next_number()?;
        let beside = dir.generations().join(format!("{PACKING}{next}"));
        if beside.symlink_metadata().is_ok() {
            remove_tree(&beside).map_err(|error| failed("remove", &beside)(io::Error::other(error)))?;
        }
        let place = Place::Beside { next, archive: beside.join(name), folder: beside };
        if let Err(error) = place.fill(&folder, owner) {
            place.give_up();
            return Err(error.into());
        }
        Ok(place)
    }

    /// Everything but the archive, without copying what need not be copied.
    fn fill(&self, from: &Path, owner: Number) -> Result<(), FileError> {
        let Place::Beside { folder, .. } = self else { return Ok(()) };
        fs::create_dir(folder).map_err(failed("create folder", folder))?;
        for name in BOOT.into_iter().chain([BUILD, MANIFEST]) {
            let (source, link) = (from.join(name), folder.join(name));
            // xCAT leaves neither manifest nor always both initrds.
            if source.symlink_metadata().is_ok() {
                fs::hard_link(&source, &link)
                    .or_else(|_| fs::copy(&source, &link).map(|_| ()))
                    .map_err(failed("copy", &source))?;
            }
        }
        let tree = folder.join(TREE);
        let target = Path::new("..").join(owner.to_string()).join(TREE);
        symlink(target, &tree).map_err(failed("make link", &tree))
    }

    /// Where the archive is written.
    pub(super) fn archive(&self) -> &Path {
        match self {
            Place::Within { archive, .. } | Place::Beside { archive, .. } => archive,
        }
    }

    /// Makes the archive part of its generation, which it gives.
    pub(super) fn seal(&self, dir: &RootimgDir) -> Result<Number, PackError> {
        match self {
            Place::Within { number, archive, sealed } => {
                fs::rename(archive, sealed).map_err(failed("seal with", sealed))?;
                sync_dir(&dir.generation(*number))?;
                Ok(*number)
            }
            Place::Beside { next, folder, .. } => {
                sync_dir(folder)?;
                let number = Number::from(*next);
                let sealed = dir.generation(number);
                if !rename_new(folder, &sealed)? {
                    let taken = io::Error::from(io::ErrorKind::AlreadyExists);
                    return Err(failed("make generation", &sealed)(taken).into());
                }
                sync_dir(&dir.generations())?;
                Ok(number)
            }
        }
    }

    /// Leaves nothing behind.
    pub(super) fn give_up(&self) {
        let done = match self {
            Place::Within { archive, .. } => remove_if_there(archive).map_err(|error| error.to_string()),
            Place::Beside { folder, .. } => remove_tree(folder).map_err(|error| error.to_string()),
        };
        if let Err(error) = done {
            tracing::warn!(path = %self.archive().display(), error, "an unfinished archive is left");
        }
    }
}

/// What a sealed generation holds for nodes.
pub(super) fn artefacts(folder: &Path, format: Format, report: &PackReport) -> Result<Vec<Artefact>, FileError> {
    let mut artefacts = Vec::new();
    for name in BOOT {
        let path = folder.join(name);
        if path.exists() {
            let hash = || HashingReader::new(File::open(&path)?).finish();
            let (digest, bytes) = hash().map_err(failed("read", &path))?;
            artefacts.push(Artefact { name: name.to_owned(), path, bytes, digest: Some(digest.to_string()) });
        }
    }
    let name = format.archive_name();
    let (path, digest) = (folder.join(&name), Some(report.digest.to_string()));
    artefacts.push(Artefact { name, path, bytes: report.bytes_out, digest });
    Ok(artefacts)
}
