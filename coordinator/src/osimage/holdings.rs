//! Whether the repositories hold what the lists name, where that can be told before dispatch: names, groups, module
//! streams, and the kernel of `kernelver`.
//!
//! Only if every repository that a pass sees is local and was understood. With a URL among them nothing is refused.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use model::arch::Arch;
use model::nearest::nearest;
use model::plan::{KernelChoice, PackageItem, Pass, Repository};
use model::problem::Problem;
use model::version::{dpkg_order, rpm_order};

use super::index::{Closure, Indexes, Meaning, Shelf, Stock};
use super::kernel::VERSIONED;
use super::lists::Lists;
use super::notes::Notes;
use super::release::System;

/// Versions that are listed beside one that isn't there.
const MAX_LISTED: usize = 12;
/// Names for which a similar one is looked for; each is held against all that there are.
const MAX_NEAREST: usize = 20;

/// What can be told of the packages that an image will have.
pub(super) enum Outlook {
    /// No more than what the lists say.
    Unread,
    /// What local repositories hold.
    Read {
        system: System,
        stocks: Vec<Arc<Stock>>,
        /// Whether these are all repositories and all lists; else more may come. A name that isn't looked into may
        /// bring more all the same.
        whole: bool,
    },
}

/// What is read and judged.
pub(super) struct Holdings<'a> {
    pub(super) indexes: &'a Indexes,
    pub(super) system: System,
    pub(super) arch: Arch,
    pub(super) lists: &'a Lists,
    pub(super) repositories: &'a [Repository],
    pub(super) other_repositories: &'a [Repository],
    pub(super) kernel: &'a KernelChoice,
}

impl Holdings<'_> {
    /// Reads the repositories and checks every name. `sound` says that no list and no repository is missing.
    pub(super) fn check(&self, sound: bool, notes: &mut Notes) -> Outlook {
        let local = |repositories: &[Repository]| {
            !repositories.is_empty() && repositories.iter().all(|one| one.local_path().is_some())
        };
        if !local(self.repositories) {
            return Outlook::Unread;
        }
        let Some(mut stocks) = self.read(self.repositories, notes) else { return Outlook::Unread };
        self.check_passes(&self.lists.os, &stocks, notes);
        let other = match self.other_repositories {
            [] => Some(Vec::new()),
            repositories if local(repositories) => self.read(repositories, notes),
            _ => None,
        };
        let whole = sound && other.is_some();
        if let Some(other) = other {
            stocks.extend(other);
            self.check_passes(&self.lists.other, &stocks, notes);
        }
        Outlook::Read { system: self.system, stocks, whole }
    }

    /// `None` if they can't be looked into, or if that is a problem of its own.
    fn read(&self, repositories: &[Repository], notes: &mut Notes) -> Option<Vec<Arc<Stock>>> {
        self.indexes.read(repositories, self.system, self.arch, notes)
    }

    fn check_passes(&self, passes: &[Pass], stocks: &[Arc<Stock>], notes: &mut Notes) {
        let shelf = Shelf::new(stocks.iter().map(Arc::as_ref), self.system);
        let items = || passes.iter().flat_map(|pass| &pass.install);
        let mut refused = 0;
        let kernelless = items().next().is_some() && self.lacks_kernel(&shelf, notes);
        // In the same words once, not for each package that kernelver names.
        for item in items().filter(|item| !kernelless || !self.is_versioned_kernel(item)) {
            let said = match shelf.meaning(&item.name) {
                Meaning::Packages(_) | Meaning::Taken => continue,
                Meaning::Nothing => self.nothing(&shelf, &item.name, refused < MAX_NEAREST),
                Meaning::OtherVersions { name, there } => {
                    format!("`{}` is in none of the repositories; of `{name}` there is {}", item.name, listed(&there))
                }
                Meaning::OtherStreams { module, there } => format!(
                    "module stream `{}` is in none of the repositories; of `{module}` there is {}",
                    item.name,
                    listed(&there)
                ),
            };
            refused += 1;
            notes.problems.push(Problem::at(&item.at, said));
        }
    }

    /// Whether the kernel of `kernelver` is not there, which is said.
    fn lacks_kernel(&self, shelf: &Shelf<'_>, notes: &mut Notes) -> bool {
        let KernelChoice::Exactly { version } = self.kernel else { return false };
        let lacks = !has_kernel(shelf, self.system, version);
        if lacks {
            notes.problem_once(no_kernel(shelf, self.system, version));
        }
        lacks
    }

    /// Whether `kernelver` made this name.
    fn is_versioned_kernel(&self, item: &PackageItem) -> bool {
        let KernelChoice::Exactly { version } = self.kernel else { return false };
        let name = item.name.strip_suffix(version.as_str()).and_then(|front| front.strip_suffix('-'));
        match self.system {
            System::Apt => name == Some("linux-image"),
            System::Dnf | System::Zypper => name.is_some_and(|name| VERSIONED.contains(&name)),
        }
    }

    fn nothing(&self, shelf: &Shelf<'_>, name: &str, suggest: bool) -> String {
        let (kind, similar) = match name.strip_prefix('@') {
            Some(_) if name.contains(':') => ("module stream ", None),
            Some(group) => {
                ("group ", near(group.trim_start_matches('^'), shelf.group_names()).map(|id| format!("@{id}")))
            }
            None => ("", near(name, shelf.names()).map(str::to_owned)),
        };
        match similar.filter(|_| suggest) {
            Some(similar) => format!("{kind}`{name}` is in none of the repositories; did you mean `{similar}`?"),
            None => format!(
                "{kind}`{name}` is in none of the repositories; check its spelling, or name the repository that has it for {} in pkgdir",
                match self.system {
                    System::Apt => self.arch.debian(),
                    System::Dnf | System::Zypper => self.arch.as_str(),
                }
            ),
        }
    }
}

/// The most similar of many names: only those of about the same length are looked at.
fn near<'a>(name: &str, all: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    nearest(name, all.filter(|other| other.len().abs_diff(name.len()) <= 2))
}

/// Some of a list, as words.
fn listed(all: &[String]) -> String {
    let more = all.len().saturating_sub(MAX_LISTED);
    let shown = all[more..].join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} older") }
}

/// The kernel packages that there are.
fn kernels(shelf: &Shelf<'_>, system: System) -> BTreeSet<String> {
    let is_kernel = |name: &str| match system {
        System::Apt => {
            name.strip_prefix("linux-image-").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        }
        System::Dnf | System::Zypper => {
            ["kernel", "kernel-core"].contains(&name)
                || (name.starts_with("kernel-") && (name.ends_with("-core") || name.matches('-').count() == 1))
                    && !["kernel-headers", "kernel-devel", "kernel-tools", "kernel-doc", "kernel-srpm"].contains(&name)
        }
    };
    let said = |(name, version): (&str, String)| match system {
        System::Apt => name.trim_start_matches("linux-image-").to_owned(),
        System::Dnf | System::Zypper => version,
    };
    shelf.versions_of(is_kernel).into_iter().map(said).collect()
}

/// Whether a kernel package of a version is among the repositories.
fn has_kernel(shelf: &Shelf<'_>, system: System, version: &str) -> bool {
    // `5.14.0-427.el9.aarch64+64k` is the same version of another package.
    let plain = version.split('+').next().unwrap_or(version);
    kernels(shelf, system).iter().any(|there| match system {
        System::Apt => there == version,
        System::Dnf | System::Zypper => {
            there == plain || there.rsplit_once('.').is_some_and(|(front, _)| front == plain)
        }
    })
}

/// xCAT's words, and what there is instead.
fn no_kernel(shelf: &Shelf<'_>, system: System, version: &str) -> String {
    let mut there: Vec<String> = kernels(shelf, system).into_iter().collect();
    there.sort_by(|a, b| match system {
        System::Apt => dpkg_order(b, a),
        System::Dnf | System::Zypper => rpm_order(b, a),
    });
    let there = if there.is_empty() { "no kernel at all".to_owned() } else { listed(&there) };
    format!(
        "Cannot find the kernel package with version {version}. The repositories hold {there}; set kernelver to one of these, or kerneldir to the repository that has it"
    )
}

/// What the lists of an image come to.
pub(super) struct Prospect<'a> {
    /// All that may be in it.
    pub(super) closure: Closure<'a>,
    /// Names that no repository has, and which are problems already.
    pub(super) missing: Vec<&'a str>,
    /// Whether nothing else can come.
    pub(super) whole: bool,
}

impl Outlook {
    /// Judges what an image of these passes may have; `None` if that can't be told.
    pub(super) fn judge<T>(&self, passes: &[&[Pass]], judge: impl FnOnce(&Prospect<'_>) -> T) -> Option<T> {
        let Self::Read { system, stocks, whole } = self else { return None };
        let shelf = Shelf::new(stocks.iter().map(Arc::as_ref), *system);
        let (mut seeds, mut missing, mut whole) = (HashSet::new(), Vec::new(), *whole);
        for item in passes.iter().flat_map(|passes| passes.iter()).flat_map(|pass| &pass.install) {
            match shelf.meaning(&item.name) {
                Meaning::Packages(places) => seeds.extend(places),
                // Whatever it stands for may bring anything.
                Meaning::Taken => whole = false,
                _ => missing.push(item.name.as_str()),
            }
        }
        Some(judge(&Prospect { closure: Closure::of(&shelf, seeds), missing, whole }))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use model::plan::RepositoryTrust;

    use super::*;

    /// What a list of these names comes to in a repository of apt's with one kernel.
    fn judged(names: &[&str]) -> (bool, bool) {
        let dir = tempfile::tempdir().unwrap();
        let packages =
            "Package: linux-image-6.1\nVersion: 1\nArchitecture: all\n\nPackage: curl\nVersion: 1\nArchitecture: all\n";
        fs::write(dir.path().join("Packages"), packages).unwrap();
        let repository = Repository {
            url: format!("file://{}", dir.path().display()),
            suite: "./".into(),
            components: Vec::new(),
            trust: RepositoryTrust::Unsigned,
            source: String::new(),
            subdir: None,
        };
        let mut notes = Notes::default();
        let stocks = Indexes::default().read(&[repository], System::Apt, Arch::X86_64, &mut notes).unwrap();
        let outlook = Outlook::Read { system: System::Apt, stocks, whole: true };
        let item = |name: &&str| PackageItem { name: (*name).to_owned(), subdir: None, at: String::new() };
        let pass = Pass { install: names.iter().map(item).collect(), ..Pass::default() };
        let kernel = |prospect: &Prospect<'_>| prospect.closure.has(|name| name.starts_with("linux-image-"));
        outlook.judge(&[&[pass]], |prospect| (prospect.whole, kernel(prospect))).unwrap()
    }

    #[test]
    fn what_a_name_may_bring_that_is_not_looked_into_leaves_the_outlook_open() {
        // Names; whether nothing else can come; whether the kernel is known to.
        let table: [(&[&str], bool, bool); 5] = [
            (&["curl"], true, false),
            (&["curl", "linux-image-6.1"], true, true),
            (&["curl", "nobody-has-this"], true, false),
            (&["curl", "linuxx*-image"], false, false),
            (&["curl", "task-of-kernels^"], false, false),
        ];
        for (names, whole, kernel) in table {
            assert_eq!(judged(names), (whole, kernel), "{names:?}");
        }
    }
}
