//! The table of the distribution, `data/packages.toml`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// What the distribution consists of.
#[derive(Debug, Clone)]
pub(super) struct Table {
    /// The architecture, as the medium calls it.
    pub(super) arch: String,
    /// The Debian package of the kernel; empty before it is known.
    pub(super) kernel: String,
    pub(super) platform: Platform,
    content: Content,
    text: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    appstream: Vec<String>,
    distribution: Distribution,
    platform: BTreeMap<String, Platform>,
    debian: Debian,
    package: BTreeMap<String, Entry>,
}

/// The distribution's names for itself.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Distribution {
    pub(super) osver: String,
    pub(super) version: String,
    pub(super) dist: String,
}

/// Debian's side of an architecture.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Platform {
    /// The Debian whose packages are taken.
    pub(super) suite: String,
    /// Debian's name of it.
    pub(super) debian: String,
    /// Its packages come with Debian's updates, where this machine is of the same kind; else from the main suite alone.
    #[serde(default)]
    pub(super) updates: bool,
    /// The Debian package that depends on the newest kernel.
    pub(super) kernel: String,
    /// What the kernel's file is called in Debian's `/boot`, before its release.
    pub(super) image: String,
    /// Modules of the kernel that stay, with those that they need; none: all do.
    #[serde(default)]
    pub(super) modules: Vec<String>,
}

/// How dependencies of Debian packages are read.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Debian {
    /// Packages that are never taken; who depends on one does without.
    pub(super) never: Vec<String>,
    /// Which package stands for a virtual one.
    pub(super) instead: BTreeMap<String, String>,
}

/// One package.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Entry {
    /// Debian packages that are part of it; its version is that of the first.
    pub(super) debs: Vec<String>,
    /// A Debian package, another's part, of which it has some files.
    pub(super) shares: Option<String>,
    /// It has the version of this Debian package without having its files.
    pub(super) version_of: Option<String>,
    /// It has only files with this in their names.
    pub(super) only_files: Option<String>,
    /// It has no files with this in their names.
    pub(super) without_files: Option<String>,
    /// Debian dependencies that it does without.
    pub(super) without: Vec<String>,
    pub(super) provides: Vec<String>,
    pub(super) requires: Vec<String>,
    /// Users made before it is installed, each with a group of its name.
    pub(super) users: Vec<User>,
    /// Units that are enabled or disabled as the presets say, once it is installed.
    pub(super) presets: Vec<String>,
    pub(super) post: Option<String>,
    pub(super) posttrans: Option<String>,
    pub(super) folders: Vec<String>,
    /// Folders are part of the package, whatever is in them.
    pub(super) owns_folders: bool,
    /// Symbolic links and where they lead.
    pub(super) links: BTreeMap<String, String>,
    /// Files of other names than Debian's, and those.
    pub(super) moves: BTreeMap<String, String>,
    /// Copies of other files of the package.
    pub(super) copies: BTreeMap<String, String>,
    pub(super) modes: BTreeMap<String, String>,
    /// Mode, user and group of files that belong to one of its users.
    pub(super) attrs: BTreeMap<String, String>,
}

/// A user of the system.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) id: u32,
    pub(super) home: String,
    pub(super) comment: String,
}

impl Table {
    /// Reads the table for an architecture.
    pub(super) fn read(data: &Path, arch: &str) -> Self {
        let path = data.join("packages.toml");
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
        let content: Content = parse("packages.toml", &text);
        let platform = content.platform.get(arch).unwrap_or_else(|| panic!("packages.toml has no platform {arch}"));
        Self { arch: arch.to_owned(), kernel: String::new(), platform: platform.clone(), content, text }
    }

    /// The same, with the kernel's name where it belongs.
    pub(super) fn with_kernel(self, kernel: &str) -> Self {
        let text = self.text.replace("{kernel}", kernel).replace("{release}", release_of(kernel));
        let text = text.replace("{image}", &self.platform.image);
        Self { content: parse("packages.toml", &text), kernel: kernel.to_owned(), text, ..self }
    }

    /// The release of the kernel, as `uname -r` says.
    pub(super) fn kernel_release(&self) -> &str {
        release_of(&self.kernel)
    }

    pub(super) fn distribution(&self) -> &Distribution {
        &self.content.distribution
    }

    pub(super) fn debian(&self) -> &Debian {
        &self.content.debian
    }

    /// Every package with an entry of its own.
    pub(super) fn entries(&self) -> &BTreeMap<String, Entry> {
        &self.content.package
    }

    /// Packages of AppStream.
    pub(super) fn appstream(&self) -> &[String] {
        &self.content.appstream
    }

    /// The package that a Debian package is part of; its own name if none is.
    pub(super) fn package_of<'a>(&'a self, deb: &'a str) -> &'a str {
        let has = |entry: &Entry| entry.debs.iter().any(|name| name == deb);
        self.entries().iter().find(|(_, entry)| has(entry)).map_or(deb, |(name, _)| name)
    }

    /// What the table says of a package, which may be nothing.
    pub(super) fn entry(&self, name: &str) -> Entry {
        self.entries().get(name).cloned().unwrap_or_default()
    }

    /// The medium's folder below the install root.
    pub(super) fn tree(&self) -> String {
        format!("{}/{}", self.distribution().osver, self.arch)
    }

    /// Text with the medium's own names in it.
    pub(super) fn fill_in(&self, text: &str) -> String {
        text.replace("{osver}", &self.distribution().osver).replace("{arch}", &self.arch)
    }
}

fn release_of(kernel: &str) -> &str {
    kernel.strip_prefix("linux-image-").unwrap_or(kernel)
}

/// Reads a table; panics with the place of what is wrong in it.
pub(super) fn parse<T: DeserializeOwned>(name: &str, text: &str) -> T {
    toml::from_str(text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_users_have_one_id() {
        let data = crate::el9::make::sources().join("data");
        let table = Table::read(&data, "x86_64");
        for file in ["passwd", "group"] {
            let text = fs::read_to_string(data.join("files/setup/etc").join(file)).unwrap();
            let own = text.lines().map(|line| line.split(':').nth(2).unwrap().parse().unwrap());
            let made = table.entries().values().flat_map(|entry| entry.users.iter().map(|user| user.id));
            let ids: Vec<u32> = own.chain(made).collect();
            let mut different = ids.clone();
            different.sort_unstable();
            different.dedup();
            assert_eq!(different.len(), ids.len(), "{file}: {ids:?}");
        }
    }
}
