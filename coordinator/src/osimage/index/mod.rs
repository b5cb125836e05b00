//! What local repositories hold, read from their indexes before anything is dispatched.
//!
//! [`Indexes`] reads a repository and keeps what it read for as long as the index is the same ([`cache`]), because that
//! of a real one has 60 MB of XML. What it reads may be hostile or broken: everything has a limit ([`weight`], [`file`]).
//! [`Shelf`] then says what a name of a list stands for, and [`Closure`] what may come with it.
//! Repositories behind a URL are never read, nor those that are packed in a way that isn't known here. It must be
//! called where blocking is allowed.

mod apt;
mod cache;
mod closure;
mod comps;
mod debversion;
mod file;
mod groups;
mod modules;
mod primary;
mod repomd;
mod shelf;
mod stock;
mod weight;
mod xml;

use std::fs;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use model::arch::Arch;
use model::plan::Repository;
use sha2::{Digest, Sha256};

use cache::{Cache, Key};
pub(crate) use closure::Closure;
use file::{Checksum, Damage, Packing};
pub(crate) use shelf::{Meaning, Shelf};
pub(crate) use stock::Stock;
use weight::{Living, TooMuch, Weight};

use super::apt_tree;
use super::notes::Notes;
use super::release::System;

/// The indexes that were read last. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Indexes {
    cache: Arc<Cache>,
    /// What all take that are in memory.
    living: Living,
    /// Held while one index is unpacked, whose window may be large; what is read from a disk was read before.
    unpacking: Arc<Mutex<()>>,
}

/// What is to be read of a repository.
struct Contents {
    arch: Arch,
    top: Vec<u8>,
    parts: Vec<Part>,
}

/// One index file.
struct Part {
    path: PathBuf,
    checksum: Checksum,
    kind: Kind,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Primary,
    Comps,
    Modules,
    Packages,
}

impl Indexes {
    /// What repositories hold, in their order; `None` if one of them can't be looked into. What is wrong with one is a
    /// problem; that there is no memory left for it is a warning, for it was looked into only to know earlier.
    pub(super) fn read(
        &self,
        repositories: &[Repository],
        system: System,
        arch: Arch,
        notes: &mut Notes,
    ) -> Option<Vec<Arc<Stock>>> {
        let (mut stocks, mut damaged) = (Vec::new(), false);
        for repository in repositories {
            let directory = repository.local_path()?;
            let read = match system {
                System::Apt => self.apt(directory, repository, arch),
                System::Dnf => self.rpm(directory, arch),
                System::Zypper => return None,
            };
            match read {
                Ok(stock) => stocks.push(stock?),
                Err((_, Damage::TooMuch(crowded @ TooMuch::Crowded(_)))) => {
                    notes.warn_once(not_looked_into(directory, crowded));
                    return None;
                }
                Err((path, damage)) => {
                    damaged = true;
                    notes.problem_once(said(directory, &path, &damage, system));
                }
            }
        }
        (!damaged).then_some(stocks)
    }

    fn rpm(&self, directory: &Path, arch: Arch) -> Result<Option<Arc<Stock>>, (PathBuf, Damage)> {
        let path = directory.join("repodata/repomd.xml");
        let at = |damage| (path.clone(), damage);
        let top = file::top(&path).map_err(at)?;
        let entries = repomd::read(top.as_slice()).map_err(at)?;
        let first = |kinds: &[&str]| {
            let of_kind = |kind: &&str| entries.iter().find(|entry| entry.kind == *kind);
            kinds.iter().find_map(of_kind)
        };
        let primary = first(&["primary"]);
        let primary = primary.ok_or_else(|| at(Damage::Content("it names no primary index".to_owned())))?;
        let groups = ["group", "group_gz", "group_xz", "group_zst"];
        let named =
            [(Kind::Primary, Some(primary)), (Kind::Comps, first(&groups)), (Kind::Modules, first(&["modules"]))];
        if named.iter().filter_map(|(_, entry)| *entry).any(|entry| entry.elsewhere) {
            return Ok(None);
        }
        let parts = named.into_iter().filter_map(|(kind, entry)| {
            entry.map(|entry| Part { path: directory.join(&entry.place), checksum: entry.checksum.clone(), kind })
        });
        self.kept_or_read(Contents { arch, top, parts: parts.collect() })
    }

    fn apt(&self, tree: &Path, repository: &Repository, arch: Arch) -> Result<Option<Arc<Stock>>, (PathBuf, Damage)> {
        let directory = apt_tree::suite_directory(tree, &repository.suite);
        let path = ["InRelease", "Release"].map(|name| directory.join(name)).into_iter().find(|path| path.is_file());
        // A flat repository that is trusted needs none.
        let top = match path {
            Some(path) => file::top(&path).map_err(|damage| (path, damage))?,
            None => Vec::new(),
        };
        let text = String::from_utf8_lossy(&top);
        let release = apt::Release::read(&text);
        let Some(indexes) = apt::indexes(&directory, &repository.components, arch, &release) else { return Ok(None) };
        let parts = indexes.into_iter().map(|(path, checksum)| Part { path, checksum, kind: Kind::Packages });
        let parts = parts.collect();
        self.kept_or_read(Contents { arch, top, parts })
    }

    fn kept_or_read(&self, contents: Contents) -> Result<Option<Arc<Stock>>, (PathBuf, Damage)> {
        self.cache.get(contents.key(), || {
            let mut stock = Stock::among(&self.living);
            for part in &contents.parts {
                let Some(packing) = Packing::of(&part.path.to_string_lossy()) else { return Ok(None) };
                let read = self.add(part, packing, contents.arch, &mut stock);
                read.map_err(|damage| (part.path.clone(), damage))?;
            }
            Ok(Some(stock))
        })
    }

    /// Reads a part from its disk, and then, one at a time, what is packed in it.
    fn add(&self, part: &Part, packing: Packing, arch: Arch, stock: &mut Stock) -> Result<(), Damage> {
        let mut weight = Weight::of(&self.living);
        let bytes = file::bytes(&part.path, &part.checksum, &mut weight)?;
        let _one = self.unpacking.lock().unwrap_or_else(PoisonError::into_inner);
        part.kind.read(file::unpacked(packing, &bytes)?, arch, stock)
    }
}

impl Contents {
    fn key(&self) -> Key {
        let stamp = |part: &Part| {
            let metadata = fs::metadata(&part.path).ok();
            let len = metadata.as_ref().map_or(0, fs::Metadata::len);
            (part.path.clone(), len, metadata.and_then(|metadata| metadata.modified().ok()))
        };
        Key {
            arch: self.arch,
            digest: Sha256::digest(&self.top).to_vec(),
            files: self.parts.iter().map(stamp).collect(),
        }
    }
}

impl Kind {
    fn read(self, document: impl BufRead, arch: Arch, stock: &mut Stock) -> Result<(), Damage> {
        match self {
            Self::Primary => primary::read(document, arch, stock),
            Self::Comps => comps::read(document, stock),
            Self::Modules => modules::read(document, stock),
            Self::Packages => apt::read(document, arch, stock),
        }
    }
}

fn said(repository: &Path, path: &Path, damage: &Damage, system: System) -> String {
    format!(
        "the repository `{}` is damaged: `{}` {}; copy it again from where it comes, or make its index again{}",
        repository.display(),
        path.display(),
        crate::chain::chain(damage),
        if system == System::Dnf { " (`createrepo_c`)" } else { "" },
    )
}

fn not_looked_into(repository: &Path, crowded: TooMuch) -> String {
    format!(
        "what `{}` holds was not looked into, for {crowded}: whether the lists name what there is shows in the build",
        repository.display()
    )
}

#[cfg(test)]
mod tests;
