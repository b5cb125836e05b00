//! What local repositories hold, read from their indexes before anything is dispatched.
//!
//! [`Indexes`] reads a repository and keeps what it read for as long as the index is the same, because that of a real
//! one has 60 MB of XML. [`Shelf`] then says what a name of a list stands for, and [`Closure`] what may come with it.
//! Repositories behind a URL are never read, nor those that are packed in a way that isn't known here. It must be
//! called where blocking is allowed.

mod apt;
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
mod xml;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use model::arch::Arch;
use model::plan::Repository;
use model::problem::Problem;
use sha2::{Digest, Sha256};

pub(crate) use closure::Closure;
use file::{Checksum, Damage, Packing};
pub(crate) use shelf::{Meaning, Shelf};
pub(crate) use stock::Stock;

use super::apt_tree;
use super::release::System;

/// Two releases for two architectures, with their updates and additional packages.
const MAX_KEPT: usize = 16;
/// Packages in all that are kept: a hundred thousand take some hundred megabytes.
const MAX_KEPT_PACKAGES: usize = 150_000;

/// The indexes that were read last. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Indexes {
    kept: Arc<Mutex<Vec<Kept>>>,
}

/// One repository as it was read.
#[derive(Debug)]
struct Kept {
    key: Key,
    stock: Arc<Stock>,
}

/// What must be the same for an index to be the same.
#[derive(Debug, PartialEq, Eq)]
struct Key {
    arch: Arch,
    /// Of `repomd.xml` or `Release`.
    digest: Vec<u8>,
    /// The files that it leads to, with their sizes and times.
    files: Vec<(PathBuf, u64, Option<SystemTime>)>,
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
    /// What repositories hold, in their order, or what is wrong with them; `None` if one of them can't be looked into.
    pub(super) fn read(
        &self,
        repositories: &[Repository],
        system: System,
        arch: Arch,
    ) -> Result<Option<Vec<Arc<Stock>>>, Vec<Problem>> {
        let (mut stocks, mut problems) = (Vec::new(), Vec::new());
        for repository in repositories {
            let Some(directory) = repository.local_path() else { return Ok(None) };
            let read = match system {
                System::Apt => self.apt(directory, repository, arch),
                System::Dnf => self.rpm(directory, arch),
                System::Zypper => return Ok(None),
            };
            match read {
                Ok(Some(stock)) => stocks.push(stock),
                Ok(None) => return Ok(None),
                Err((path, damage)) => problems.push(Problem::new(format!(
                    "the repository `{}` is damaged: `{}` {}; copy it again from where it comes, or make its index again{}",
                    directory.display(),
                    path.display(),
                    crate::chain::chain(&damage),
                    if system == System::Dnf { " (`createrepo_c`)" } else { "" },
                ))),
            }
        }
        if problems.is_empty() { Ok(Some(stocks)) } else { Err(problems) }
    }

    fn rpm(&self, directory: &Path, arch: Arch) -> Result<Option<Arc<Stock>>, (PathBuf, Damage)> {
        let path = directory.join("repodata/repomd.xml");
        let at = |damage| (path.clone(), damage);
        let top = file::bytes(&path, &Checksum::None).map_err(at)?;
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
            Some(path) => file::bytes(&path, &Checksum::None).map_err(|damage| (path, damage))?,
            None => Vec::new(),
        };
        let release = apt::Release::read(&String::from_utf8_lossy(&top));
        let Some(indexes) = apt::indexes(&directory, &repository.components, arch, &release) else { return Ok(None) };
        let parts = indexes.into_iter().map(|(path, checksum)| Part { path, checksum, kind: Kind::Packages });
        self.kept_or_read(Contents { arch, top, parts: parts.collect() })
    }

    /// One repository is read at a time: what that takes in memory, it takes once.
    fn kept_or_read(&self, contents: Contents) -> Result<Option<Arc<Stock>>, (PathBuf, Damage)> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let key = contents.key();
        if let Some(position) = kept.iter().position(|one| one.key == key) {
            let again = kept.remove(position);
            let stock = again.stock.clone();
            kept.push(again);
            return Ok(Some(stock));
        }
        let Some(stock) = contents.read()? else { return Ok(None) };
        let stock = Arc::new(stock);
        kept.push(Kept { key, stock: stock.clone() });
        let too_many = |kept: &[Kept]| {
            kept.len() > MAX_KEPT || kept.iter().map(|one| one.stock.packages.len()).sum::<usize>() > MAX_KEPT_PACKAGES
        };
        while kept.len() > 1 && too_many(&kept) {
            kept.remove(0);
        }
        Ok(Some(stock))
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

    /// `None` if a part is packed in a way that isn't known here.
    fn read(&self) -> Result<Option<Stock>, (PathBuf, Damage)> {
        let mut stock = Stock::default();
        for part in &self.parts {
            let Some(packing) = Packing::of(&part.path.to_string_lossy()) else { return Ok(None) };
            part.read(packing, self.arch, &mut stock).map_err(|damage| (part.path.clone(), damage))?;
        }
        Ok(Some(stock))
    }
}

impl Part {
    fn read(&self, packing: Packing, arch: Arch, stock: &mut Stock) -> Result<(), Damage> {
        let bytes = file::bytes(&self.path, &self.checksum)?;
        let document = file::unpacked(packing, &bytes)?;
        match self.kind {
            Kind::Primary => primary::read(document, arch, stock),
            Kind::Comps => comps::read(document, &mut stock.groups),
            Kind::Modules => modules::read(document).map(|modules| stock.modules = modules),
            Kind::Packages => apt::read(document, arch, stock),
        }
    }
}

#[cfg(test)]
mod tests;
