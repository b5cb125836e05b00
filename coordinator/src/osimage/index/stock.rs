//! What one repository holds: packages with what they provide and need, groups, and module streams.
//!
//! A real repository has ten thousand packages that name each other a million times, so every name is kept once and
//! everything else is a number. There are limits, beyond which a repository is refused rather than read.

use std::collections::HashMap;
use std::sync::Arc;

/// Debian's main has 70,000 packages, and a hundred thousand more in its other components.
const MAX_PACKAGES: usize = 250_000;
/// Distinct names, with those of files and libraries.
const MAX_NAMES: usize = 4_000_000;
/// Times that names stand in dependencies.
const MAX_LINKS: usize = 16_000_000;

/// More than any repository has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it holds more packages or names than a repository can have")]
pub(super) struct TooMany;

/// The number of a name within its repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Id(u32);

/// A package.
#[derive(Debug)]
pub(super) struct Package {
    pub(super) name: Id,
    pub(super) version: Version,
    pub(super) arch: Id,
    /// Its own name is not among them; files are.
    pub(super) provides: Box<[Id]>,
    pub(super) needs: Needs,
}

/// A package's version; apt keeps all of it in the middle part.
#[derive(Debug, Clone, Copy)]
pub(super) struct Version {
    pub(super) epoch: Id,
    pub(super) version: Id,
    pub(super) release: Id,
}

/// What a package asks for beside itself.
#[derive(Debug)]
pub(super) enum Needs {
    /// rpm: every name that it requires or recommends; whoever provides one may come with it.
    Names(Box<[Id]>),
    /// apt: dependencies, of each of which the first alternative that there is comes with it.
    Choices(Box<[Box<[Alternative]>]>),
}

/// One of several packages that meet a dependency.
#[derive(Debug)]
pub(super) struct Alternative {
    pub(super) name: Id,
    /// `>=` and a version, if it asks for one.
    pub(super) relation: Option<(Relation, Id)>,
}

/// How a version must compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relation {
    Earlier,
    AtMost,
    Exactly,
    AtLeast,
    Later,
}

/// A group, or an environment of groups.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) id: String,
    /// In English and in translations.
    pub(super) names: Vec<String>,
    /// Packages that come with it.
    pub(super) packages: Vec<String>,
    /// The ids of an environment's groups.
    pub(super) groups: Vec<String>,
}

/// A module stream.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Stream {
    pub(super) module: String,
    pub(super) stream: String,
    /// Whatever its document lists: packages by name, or with version and architecture, and other words.
    pub(super) words: Vec<String>,
}

/// The module streams of a repository.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Modules {
    Known(Vec<Stream>),
    /// There are some, written in a way that isn't understood.
    Unknown,
}

impl Default for Modules {
    fn default() -> Self {
        Self::Known(Vec::new())
    }
}

/// All of it.
#[derive(Debug, Default)]
pub(crate) struct Stock {
    names: HashMap<Arc<str>, Id>,
    texts: Vec<Arc<str>>,
    links: usize,
    pub(super) packages: Vec<Package>,
    by_name: HashMap<Id, Vec<u32>>,
    by_provided: HashMap<Id, Vec<u32>>,
    /// apt: packages that are in every image.
    pub(super) base: Vec<u32>,
    pub(super) groups: Vec<Group>,
    pub(super) modules: Modules,
}

impl Stock {
    /// The number of a name, a new one if need be.
    pub(super) fn name(&mut self, text: &str) -> Result<Id, TooMany> {
        self.links += 1;
        if let Some(id) = self.names.get(text) {
            return if self.links > MAX_LINKS { Err(TooMany) } else { Ok(*id) };
        }
        let id = u32::try_from(self.texts.len()).ok().filter(|_| self.texts.len() < MAX_NAMES).ok_or(TooMany)?;
        let text: Arc<str> = text.into();
        self.texts.push(text.clone());
        self.names.insert(text, Id(id));
        Ok(Id(id))
    }

    /// Adds a package.
    pub(super) fn add(&mut self, mut package: Package) -> Result<u32, TooMany> {
        let number = u32::try_from(self.packages.len()).ok().filter(|_| self.packages.len() < MAX_PACKAGES);
        let number = number.ok_or(TooMany)?;
        let name = package.name;
        package.provides = package.provides.iter().copied().filter(|id| *id != name).collect();
        self.by_name.entry(name).or_default().push(number);
        for id in &package.provides {
            self.by_provided.entry(*id).or_default().push(number);
        }
        self.packages.push(package);
        Ok(number)
    }

    /// A name by its number.
    pub(super) fn text(&self, id: Id) -> &str {
        &self.texts[id.0 as usize]
    }

    /// A package by its number.
    pub(super) fn package(&self, number: u32) -> &Package {
        &self.packages[number as usize]
    }

    /// The packages of a name.
    pub(super) fn named(&self, name: &str) -> &[u32] {
        self.names.get(name).and_then(|id| self.by_name.get(id)).map_or(&[], Vec::as_slice)
    }

    /// The packages that provide a name, or have a file of it, under a name of their own.
    pub(super) fn providing(&self, name: &str) -> &[u32] {
        self.names.get(name).and_then(|id| self.by_provided.get(id)).map_or(&[], Vec::as_slice)
    }

    /// The names of all packages, each once.
    pub(super) fn package_names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(|id| self.text(*id))
    }

    /// The names that packages provide, each once.
    pub(super) fn provided_names(&self) -> impl Iterator<Item = &str> {
        self.by_provided.keys().map(|id| self.text(*id))
    }
}
