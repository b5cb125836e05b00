//! What one repository holds: packages with what they provide and need, groups, and module streams.
//!
//! A real repository has ten thousand packages that name each other a million times, so every name is kept once and
//! everything else is a number. Whatever is added is weighed, and a repository beyond the limits of [`super::weight`]
//! is refused rather than read.

use std::collections::HashMap;
use std::sync::Arc;

use super::weight::{Living, PIECE, TooMuch, Weight};

/// Debian's main has 70,000 packages, and a hundred thousand more in its other components.
const MAX_PACKAGES: usize = 250_000;
/// Bytes of one name; paths are the longest.
pub(super) const MAX_NAME: usize = 4 << 10;
/// A new name beside its bytes: two counters, and places in the list and in the map, which grow by doubling.
const NAME: usize = PIECE + 2 * size_of::<usize>() + 2 * size_of::<Arc<str>>() + 2 * size_of::<(Arc<str>, Id)>();
/// Once more a name that is there, in the list of what a package provides or needs.
const LINK: usize = 2 * size_of::<Id>();
/// A package beside its names, with its two lists, and its entry under its name.
const PACKAGE: usize = 2 * size_of::<Package>() + 2 * PIECE + LINK;
/// The first package under a name.
const UNDER: usize = 2 * size_of::<(Id, Vec<u32>)>() + PIECE + 4 * size_of::<u32>();
/// A dependency with alternatives, beside these.
const CHOICE: usize = 2 * size_of::<Box<[Alternative]>>() + PIECE;
/// A text of a group or a module stream, beside its bytes.
const TEXT: usize = 2 * size_of::<String>() + PIECE;

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
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Alternative {
    pub(super) name: Id,
    /// `>=` and a version, if it asks for one.
    pub(super) relation: Option<(Relation, Id)>,
}

/// How a version must compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
    weight: Weight,
    pub(super) packages: Vec<Package>,
    by_name: HashMap<Id, Vec<u32>>,
    by_provided: HashMap<Id, Vec<u32>>,
    /// apt: packages that are in every image.
    pub(super) base: Vec<u32>,
    pub(super) groups: Vec<Group>,
    pub(super) modules: Modules,
}

impl Stock {
    /// An empty one, whose weight counts with that of all others.
    pub(super) fn among(living: &Living) -> Self {
        Self { weight: Weight::of(living), ..Self::default() }
    }

    /// The bytes of memory that it takes.
    pub(super) fn weight(&self) -> usize {
        self.weight.held()
    }

    /// The number of a name, a new one if need be. Each call stands for one that is kept.
    pub(super) fn name(&mut self, text: &str) -> Result<Id, TooMuch> {
        if let Some(id) = self.names.get(text) {
            self.weight.hold(LINK)?;
            return Ok(*id);
        }
        if text.len() > MAX_NAME {
            return Err(TooMuch::Name(MAX_NAME));
        }
        self.weight.hold(NAME + LINK + text.len())?;
        let id = u32::try_from(self.texts.len()).map_err(|_| TooMuch::Held(self.weight.held()))?;
        let text: Arc<str> = text.into();
        self.texts.push(text.clone());
        self.names.insert(text, Id(id));
        Ok(Id(id))
    }

    /// One of several packages that meet a dependency.
    pub(super) fn alternative(
        &mut self,
        name: &str,
        version: Option<(Relation, &str)>,
    ) -> Result<Alternative, TooMuch> {
        self.weight.hold(2 * size_of::<Alternative>())?;
        let relation = version.map(|(relation, version)| self.name(version).map(|id| (relation, id))).transpose()?;
        Ok(Alternative { name: self.name(name)?, relation })
    }

    /// A dependency that any of these meets.
    pub(super) fn choice(&mut self, alternatives: Vec<Alternative>) -> Result<Box<[Alternative]>, TooMuch> {
        self.weight.hold(CHOICE)?;
        Ok(alternatives.into())
    }

    /// A text of a group or a module stream.
    pub(super) fn owned(&mut self, text: &str) -> Result<String, TooMuch> {
        if text.len() > MAX_NAME {
            return Err(TooMuch::Name(MAX_NAME));
        }
        self.weight.hold(TEXT + text.len())?;
        Ok(text.to_owned())
    }

    /// Adds a package.
    pub(super) fn add(&mut self, mut package: Package) -> Result<u32, TooMuch> {
        let number = u32::try_from(self.packages.len()).ok().filter(|_| self.packages.len() < MAX_PACKAGES);
        let number = number.ok_or(TooMuch::Packages)?;
        let name = package.name;
        package.provides = package.provides.iter().copied().filter(|id| *id != name).collect();
        self.weight.hold(PACKAGE)?;
        put(&mut self.by_name, name, number, &mut self.weight)?;
        for id in &package.provides {
            put(&mut self.by_provided, *id, number, &mut self.weight)?;
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

/// Adds a package under a name, weighed.
fn put(names: &mut HashMap<Id, Vec<u32>>, name: Id, number: u32, weight: &mut Weight) -> Result<(), TooMuch> {
    weight.hold(if names.contains_key(&name) { LINK } else { UNDER })?;
    names.entry(name).or_default().push(number);
    Ok(())
}
