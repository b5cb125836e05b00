//! Several repositories side by side, as a package manager sees them: what a name of a list stands for.

use std::collections::BTreeSet;

use rootfs::filter::matches;

use super::super::release::System;
use super::stock::{Package, Stock};

/// A package of one of the repositories.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub(super) stock: usize,
    pub(super) package: u32,
}

/// What a name stands for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// These packages, at least one.
    Packages(Vec<Place>),
    /// Something that isn't looked into (a task, a pattern of apt's).
    Taken,
    /// The package is there, but only in these versions.
    OtherVersions { name: String, there: Vec<String> },
    /// The module is there, but only with these streams.
    OtherStreams { module: String, there: Vec<String> },
    /// Nothing.
    Nothing,
}

/// Repositories side by side.
#[derive(Debug)]
pub(crate) struct Shelf<'a> {
    pub(super) stocks: Vec<&'a Stock>,
    system: System,
}

impl<'a> Shelf<'a> {
    pub(crate) fn new(stocks: impl IntoIterator<Item = &'a Stock>, system: System) -> Self {
        Self { stocks: stocks.into_iter().collect(), system }
    }

    /// What the package manager would take a name for.
    pub(crate) fn meaning(&self, name: &str) -> Meaning {
        let plain = self.chosen(name);
        if !plain.is_empty() {
            return Meaning::Packages(plain);
        }
        match self.system {
            System::Apt => self.apt(name),
            System::Dnf | System::Zypper => match name.strip_prefix('@') {
                Some(group) => self.group(group),
                None => self.rpm(name),
            },
        }
    }

    /// The packages of this name; those that provide it only if there are none, as package managers choose.
    fn chosen(&self, name: &str) -> Vec<Place> {
        let named = self.named(name);
        if named.is_empty() { self.providing(name) } else { named }
    }

    /// The packages of this name.
    pub(super) fn named(&self, name: &str) -> Vec<Place> {
        self.places(|stock| stock.named(name).iter())
    }

    /// The packages that provide this name.
    pub(super) fn providing(&self, name: &str) -> Vec<Place> {
        self.places(|stock| stock.providing(name).iter())
    }

    /// The packages of exactly this name, or that provide it.
    pub(super) fn called(&self, name: &str) -> Vec<Place> {
        [self.named(name), self.providing(name)].concat()
    }

    fn places<I: Iterator<Item = &'a u32>>(&self, of: impl Fn(&'a Stock) -> I) -> Vec<Place> {
        let of_one = |(stock, held): (usize, &&'a Stock)| {
            of(held).map(move |package| Place { stock, package: *package }).collect::<Vec<_>>()
        };
        self.stocks.iter().enumerate().flat_map(of_one).collect()
    }

    /// The packages that a test picks.
    fn picked(&self, test: impl Fn(&Stock, &Package) -> bool) -> Vec<Place> {
        let mut places = Vec::new();
        for (stock, held) in self.stocks.iter().enumerate() {
            let picked = (0u32..).zip(&held.packages).filter(|(_, package)| test(held, package));
            places.extend(picked.map(|(package, _)| Place { stock, package }));
        }
        places
    }

    /// The repository that a package is in, and the package.
    pub(super) fn at(&self, place: Place) -> (&'a Stock, &'a Package) {
        let stock = self.stocks[place.stock];
        (stock, stock.package(place.package))
    }

    /// The packages whose names pass a test, each with its name and its version, as kernels call themselves.
    pub(crate) fn versions_of(&self, test: impl Fn(&str) -> bool) -> Vec<(&'a str, String)> {
        let places = self.picked(|stock, package| test(stock.text(package.name)));
        let said = |place| {
            let (stock, package) = self.at(place);
            (stock.text(package.name), version_release_arch(stock, package))
        };
        places.into_iter().map(said).collect()
    }

    /// The names of all packages.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.stocks.iter().flat_map(|stock| stock.package_names())
    }

    /// `name.arch`, `name-version`, with release, with architecture, with epoch; each also with wildcards.
    fn rpm(&self, name: &str) -> Meaning {
        if let Some((front, _)) = name.split_once('=') {
            // No notation of dnf's own; zypper's habit. What stands in front decides.
            let front = front.trim_end_matches(['<', '>', ' ']);
            return if self.called(front).is_empty() { Meaning::Nothing } else { Meaning::Taken };
        }
        let fixed = literal(name);
        let wild = fixed.len() < name.len();
        let fits = |stock: &Stock, package: &Package| {
            let own = stock.text(package.name);
            let common = own.len().min(fixed.len());
            if own.as_bytes()[..common] != fixed.as_bytes()[..common] {
                return false;
            }
            forms(stock, package).iter().any(|form| if wild { glob(name, form) } else { form == name })
        };
        let places = self.picked(fits);
        if !places.is_empty() {
            return Meaning::Packages(places);
        }
        if wild {
            let provided = |stock: &&Stock| stock.provided_names().any(|provided| glob(name, provided));
            return if self.stocks.iter().any(provided) { Meaning::Taken } else { Meaning::Nothing };
        }
        self.other_versions(name, |own, rest| !own.is_empty() && rest.starts_with('-'))
    }

    /// `name=version`, `name:arch`, wildcards and regular expressions, tasks.
    fn apt(&self, name: &str) -> Meaning {
        if name.starts_with(['~', '?']) || name.ends_with('^') {
            return Meaning::Taken;
        }
        let (front, version) = name.split_once('=').map_or((name, None), |(front, version)| (front, Some(version)));
        let front = front.split_once(':').map_or(front, |(front, _)| front);
        if let Some(version) = version {
            let fits = |stock: &Stock, package: &Package| {
                stock.text(package.name) == front && glob(version, stock.text(package.version.version))
            };
            let places = self.picked(fits);
            return match places.is_empty() {
                false => Meaning::Packages(places),
                true => self.other_versions(name, |_, rest| rest.starts_with([':', '='])),
            };
        }
        let plain = self.chosen(front);
        let plain = if plain.is_empty() { self.chosen(front.trim_end_matches('+')) } else { plain };
        if !plain.is_empty() {
            return Meaning::Packages(plain);
        }
        self.apt_pattern(front)
    }

    /// apt tries a name that isn't there as a shell pattern, then as a regular expression, which may fit anywhere.
    fn apt_pattern(&self, name: &str) -> Meaning {
        let expression = format!("*{}*", name.replace('.', "?"));
        let fits = |own: &str| glob(name, own) || (name.contains('.') && glob(&expression, own));
        let places = self.picked(|stock, package| fits(stock.text(package.name)));
        if !places.is_empty() {
            return Meaning::Packages(places);
        }
        // Of others only what stands in front of the first special letter and its neighbour is sure.
        let fixed = literal(name);
        let sure = fixed.split('.').next().unwrap_or_default();
        let sure = &sure[..sure.len().saturating_sub(1)];
        let taken = fixed.len() < name.len() && self.names().any(|own| own.contains(sure));
        if taken { Meaning::Taken } else { Meaning::Nothing }
    }

    /// The versions of the package whose name a name begins with, if what follows looks like a version.
    fn other_versions(&self, name: &str, follows: impl Fn(&str, &str) -> bool) -> Meaning {
        let own = |own: &&str| {
            name.strip_prefix(*own).is_some_and(|rest| {
                follows(own, rest) && rest[1..].starts_with(|c: char| c.is_ascii_digit() || rest.starts_with(':'))
            })
        };
        let Some(own) = self.names().filter(own).max_by_key(|own| own.len()) else { return Meaning::Nothing };
        Meaning::OtherVersions { name: own.to_owned(), there: self.versions(own) }
    }

    /// The versions of a package.
    fn versions(&self, name: &str) -> Vec<String> {
        let places = self.named(name);
        let versions: BTreeSet<String> = places
            .into_iter()
            .map(|place| {
                let (stock, package) = self.at(place);
                match self.system {
                    System::Apt => stock.text(package.version.version).to_owned(),
                    System::Dnf | System::Zypper => version_release_arch(stock, package),
                }
            })
            .collect();
        versions.into_iter().collect()
    }
}

/// The ways to write a package.
fn forms(stock: &Stock, package: &Package) -> [String; 8] {
    let text = |id| stock.text(id);
    let (name, arch, version) = (text(package.name), text(package.arch), package.version);
    let (epoch, version, release) = (text(version.epoch), text(version.version), text(version.release));
    let epoch = if epoch.is_empty() { "0" } else { epoch };
    [
        name.to_owned(),
        format!("{name}.{arch}"),
        format!("{name}-{version}"),
        format!("{name}-{version}-{release}"),
        format!("{name}-{version}-{release}.{arch}"),
        format!("{name}-{epoch}:{version}"),
        format!("{name}-{epoch}:{version}-{release}"),
        format!("{name}-{epoch}:{version}-{release}.{arch}"),
    ]
}

/// As kernels call themselves.
fn version_release_arch(stock: &Stock, package: &Package) -> String {
    let text = |id| stock.text(id);
    format!("{}-{}.{}", text(package.version.version), text(package.version.release), text(package.arch))
}

/// What comes before the first wildcard.
fn literal(name: &str) -> &str {
    &name[..name.find(['*', '?', '[']).unwrap_or(name.len())]
}

pub(super) fn glob(pattern: &str, name: &str) -> bool {
    matches(pattern.as_bytes(), name.as_bytes())
}
