//! What `osvers` says: the distribution, its version, its package system and the names that apt knows it by.
//!
//! `rhels9.4`, `rocky9.3`, `sle15.6`, `leap15.6`, `ubuntu24.04.1`, `debian12.5` (XCAT.md 1.1, 2.2, 2.5).

use std::str::FromStr;

use model::plan::RpmDatabase;

/// Distribution words that xCAT or its users write, with the directory of their default files and the system.
const WORDS: &[(&str, &str, System)] = &[
    ("rhels", "rh", System::Dnf),
    ("rhel", "rh", System::Dnf),
    ("rhelhpc", "rh", System::Dnf),
    ("rh", "rh", System::Dnf),
    ("centos", "centos", System::Dnf),
    ("centos-stream", "centos", System::Dnf),
    ("rocky", "rocky", System::Dnf),
    ("alma", "alma", System::Dnf),
    ("ol", "ol", System::Dnf),
    ("SL", "SL", System::Dnf),
    ("fedora", "fedora", System::Dnf),
    ("sles", "sles", System::Zypper),
    ("sle", "sles", System::Zypper),
    ("leap", "sles", System::Zypper),
    ("ubuntu", "ubuntu", System::Apt),
    ("debian", "debian", System::Apt),
];

/// Versions and what apt calls them (XCAT.md 6.9, with Debian's).
const CODENAMES: &[(&str, &str, &str)] = &[
    ("debian", "10", "buster"),
    ("debian", "11", "bullseye"),
    ("debian", "12", "bookworm"),
    ("debian", "13", "trixie"),
    ("ubuntu", "18.04", "bionic"),
    ("ubuntu", "20.04", "focal"),
    ("ubuntu", "22.04", "jammy"),
    ("ubuntu", "24.04", "noble"),
    ("ubuntu", "26.04", "resolute"),
];

/// Higher components than this are no versions; counting down from them would list files for ever.
const MAX_COUNTDOWN: u32 = 99;

/// The package system of a distribution, before its details are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum System {
    /// dpkg and apt.
    Apt,
    /// rpm and dnf or yum.
    Dnf,
    /// rpm and zypper.
    Zypper,
}

/// A distribution in one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    osvers: String,
    word: &'static str,
    directory: &'static str,
    version: String,
    system: System,
}

/// Not a distribution that we know how to build.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "osvers `{0}` names no distribution that can be built; it is written as a word and a version, and the words are rhels, centos, centos-stream, rocky, alma, ol, SL, fedora, sles, sle, leap, ubuntu and debian"
)]
pub struct UnknownRelease(pub String);

impl FromStr for Release {
    type Err = UnknownRelease;

    fn from_str(osvers: &str) -> Result<Self, Self::Err> {
        let unknown = || UnknownRelease(osvers.to_owned());
        let digits = osvers.find(|c: char| c.is_ascii_digit()).ok_or_else(unknown)?;
        let (word, version) = osvers.split_at(digits);
        let &(word, directory, system) = WORDS.iter().find(|(known, ..)| *known == word).ok_or_else(unknown)?;
        let version = version.split('-').next().unwrap_or_default();
        if version.split('.').any(|part| part.is_empty() || !part.chars().all(|c| c.is_ascii_digit())) {
            return Err(unknown());
        }
        Ok(Self { osvers: osvers.to_owned(), word, directory, version: version.to_owned(), system })
    }
}

impl Release {
    /// `osvers` as the definition spells it.
    pub fn osvers(&self) -> &str {
        &self.osvers
    }

    /// The name of its directory of default files: `rh`, `sles`, `debian`.
    pub fn directory(&self) -> &'static str {
        self.directory
    }

    /// Its package system.
    pub fn system(&self) -> System {
        self.system
    }

    /// The version's first number: `9` of `rhels9.4`.
    pub fn major(&self) -> &str {
        self.version.split('.').next().unwrap_or_default()
    }

    /// rpm: what module streams are made for, the format of the image's rpm database, and where its rpm looks for it.
    pub fn rpm(&self) -> (Option<String>, RpmDatabase, &'static str) {
        let major: u32 = self.major().parse().unwrap_or(u32::MAX);
        let fedora = self.word == "fedora";
        let (modules, sqlite, moved) = if fedora { (29, 33, 36) } else { (8, 9, 10) };
        let letter = if fedora { "f" } else { "el" };
        let platform = (major >= modules).then(|| format!("platform:{letter}{major}"));
        let database = if major >= sqlite { RpmDatabase::Sqlite } else { RpmDatabase::Bdb };
        (platform, database, if major >= moved { "/usr/lib/sysimage/rpm" } else { "/var/lib/rpm" })
    }

    /// apt's name for it, where we know it.
    pub fn codename(&self) -> Option<&'static str> {
        let known = |version: &str| self.version == version || self.version.starts_with(&format!("{version}."));
        CODENAMES.iter().find(|(word, version, _)| *word == self.word && known(version)).map(|(.., name)| *name)
    }

    /// The generic name under which the Red Hat family shares default files: `rhels9`.
    pub fn genos(&self) -> Option<String> {
        (self.system == System::Dnf && self.word != "fedora").then(|| format!("rhels{}", self.major()))
    }

    /// The names that default files of this version may carry, nearest first (XCAT.md 2.5): a suffix is cut, then
    /// the last component counts down to 0, then goes. A component with a leading zero stays and ends the list.
    pub fn fallbacks(&self) -> Vec<String> {
        let mut names = countdown(self.word, &self.version);
        if self.word == "leap" && self.major() == "15" {
            names.push("sle15".to_owned());
        }
        names
    }
}

fn countdown(word: &str, version: &str) -> Vec<String> {
    let mut parts: Vec<&str> = version.split('.').collect();
    let mut names = Vec::new();
    while let Some(last) = parts.pop() {
        let front: String = parts.iter().map(|part| format!("{part}.")).collect();
        names.push(format!("{word}{front}{last}"));
        if last.len() > 1 && last.starts_with('0') {
            break;
        }
        let number = last.parse().ok().filter(|&number: &u32| number <= MAX_COUNTDOWN && !parts.is_empty());
        names.extend((0..number.unwrap_or(0)).rev().map(|lower| format!("{word}{front}{lower}")));
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(osvers: &str) -> Release {
        osvers.parse().unwrap()
    }

    #[test]
    fn versions_fall_back_as_the_specification_shows() {
        let table = [
            ("rocky9.2", "rocky9.2 rocky9.1 rocky9.0 rocky9"),
            ("ol8.4.1", "ol8.4.1 ol8.4.0 ol8.4 ol8.3 ol8.2 ol8.1 ol8.0 ol8"),
            ("ubuntu24.04.2", "ubuntu24.04.2 ubuntu24.04.1 ubuntu24.04.0 ubuntu24.04"),
            ("leap15.1", "leap15.1 leap15.0 leap15 sle15"),
            ("debian12", "debian12"),
            ("rhels9.1-beta", "rhels9.1 rhels9.0 rhels9"),
            ("debian12.4000000", "debian12.4000000 debian12"),
        ];
        for (osvers, expected) in table {
            assert_eq!(release(osvers).fallbacks().join(" "), expected, "{osvers}");
        }
    }

    #[test]
    fn a_distribution_has_a_system_a_directory_and_generic_names() {
        let table = [
            ("rhels9.4", System::Dnf, "rh", Some("rhels9"), None),
            ("centos-stream9", System::Dnf, "centos", Some("rhels9"), None),
            ("fedora40", System::Dnf, "fedora", None, None),
            ("sle15.6", System::Zypper, "sles", None, None),
            ("leap15.6", System::Zypper, "sles", None, None),
            ("debian12.5", System::Apt, "debian", None, Some("bookworm")),
            ("ubuntu24.04.1", System::Apt, "ubuntu", None, Some("noble")),
            ("ubuntu26.04", System::Apt, "ubuntu", None, Some("resolute")),
            ("ubuntu24.10", System::Apt, "ubuntu", None, None),
        ];
        for (osvers, system, directory, genos, codename) in table {
            let found = release(osvers);
            let generic = found.genos();
            assert_eq!((found.system(), found.directory()), (system, directory), "{osvers}");
            assert_eq!((generic.as_deref(), found.codename()), (genos, codename), "{osvers}");
        }
        for (osvers, platform, database, folder) in [
            ("centos7.9", None, RpmDatabase::Bdb, "/var/lib/rpm"),
            ("rhels8.10", Some("platform:el8"), RpmDatabase::Bdb, "/var/lib/rpm"),
            ("ol9.4", Some("platform:el9"), RpmDatabase::Sqlite, "/var/lib/rpm"),
            ("alma10.0", Some("platform:el10"), RpmDatabase::Sqlite, "/usr/lib/sysimage/rpm"),
            ("fedora41", Some("platform:f41"), RpmDatabase::Sqlite, "/usr/lib/sysimage/rpm"),
        ] {
            assert_eq!(release(osvers).rpm(), (platform.map(str::to_owned), database, folder), "{osvers}");
        }
        for bad in ["", "debian", "12", "windows11", "debian12..1", "debian12.x", "Debian12"] {
            assert!(bad.parse::<Release>().is_err(), "{bad}");
        }
    }
}
