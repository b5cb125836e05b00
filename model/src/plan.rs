//! The build plan: all that an agent needs for one attempt, fully resolved.
//!
//! The coordinator makes it from an osimage (`coordinator/src/osimage/resolve.rs`); `imgctl resolve` prints it;
//! the agent carries it out and asks for nothing else. It is a document of its own with a version, kept and
//! sent as JSON under its digest, so that what is printed is to the byte what is built from.

mod drivers;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use self::drivers::{DriverSource, Drivers, SourceKind, Take};
use crate::arch::Arch;
use crate::name::ImageName;
use crate::wish::GenimageWish;

/// The version of the plan document that this code writes and the only one that it carries out.
pub const PLAN_VERSION: u32 = 3;

/// Everything that an agent needs to build one root image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildPlan {
    /// [`PLAN_VERSION`] of the writer.
    pub version: u32,
    /// The osimage that it was made from.
    pub osimage: ImageName,
    /// The revision of that definition.
    pub revision: u64,
    /// `osvers` as the definition spells it.
    pub osvers: String,
    /// `osarch` as the definition spells it; paths and scripts see this.
    pub osarch: String,
    /// The architecture for matching agents.
    pub arch: Arch,
    /// `profile`.
    pub profile: String,
    /// `provmethod`: `netboot` or `statelite`.
    pub provmethod: String,
    /// Where the MN keeps the generations; scripts see `<rootimgdir>/rootimg`.
    pub rootimgdir: PathBuf,
    /// The MN's install root (`/install`), which scripts may name.
    pub install_dir: PathBuf,
    /// What kind of package manager the distribution needs.
    pub packages: PackageSystem,
    /// The repositories of the OS, in order; the first is the base (`pkgdir`).
    pub repositories: Vec<Repository>,
    /// The repositories that the otherpkgs passes add (`otherpkgdir`, with every sub-directory that is named).
    pub other_repositories: Vec<Repository>,
    /// The pkglist passes, in order.
    pub passes: Vec<Pass>,
    /// The otherpkgs passes, in order.
    pub other_passes: Vec<Pass>,
    /// Whether everything is brought up to date, and when (`update`).
    #[serde(default)]
    pub update: Update,
    /// rpm: packages whose scriptlets may fail and be no more than a warning (`scriptletsmayfail`).
    #[serde(default)]
    pub scriptlets_may_fail: Vec<String>,
    /// `environvar`, exported to package managers and scripts.
    pub environment: BTreeMap<String, String>,
    /// The kernel to put in the image.
    pub kernel: KernelChoice,
    /// Drivers for the initrds (`netdrivers` and the default list of XCAT.md 6.7), and where newer ones come from.
    pub drivers: Drivers,
    /// What was asked for this build alone.
    #[serde(default)]
    pub wish: GenimageWish,
    /// The postinstall scripts, in order.
    pub postinstall: Vec<Script>,
    /// Network interfaces that xCAT's `nodebootif` and `otherifce` bake in.
    pub interfaces: Interfaces,
    /// statelite: the mode of `/.statelite`, where a booted node mounts what is its own (`permission`).
    #[serde(default)]
    pub statelite_mode: Option<u32>,
    /// `IMG_*` variables of the postinstall contract (XCAT.md 5.1) that are known before the build.
    pub script_environment: BTreeMap<String, String>,
    /// Why an agent must see the MN's install root, if it must: one plain sentence each.
    pub needs_install: Vec<String>,
    /// Every attribute with the value used and where that came from.
    pub attributes: Vec<ResolvedAttribute>,
    /// What the resolver wants the user to know though it doesn't stop the build.
    pub warnings: Vec<String>,
}

/// The package system of a distribution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum PackageSystem {
    /// dpkg and apt; a root is bootstrapped from a suite.
    Apt {
        /// The suite of the first repository: `bookworm`.
        suite: String,
    },
    /// rpm with dnf or yum.
    Dnf {
        /// The major release: `9`.
        releasever: String,
        /// What module streams are made for: `platform:el9`; none where there are no modules (EL 7), and yum will do.
        platform: Option<String>,
        /// The format of the rpm database that the image's own rpm reads.
        database: RpmDatabase,
        /// The folder where the image's own rpm looks for it: `/var/lib/rpm`.
        database_dir: PathBuf,
    },
    /// rpm with zypper.
    Zypper,
}

impl PackageSystem {
    /// The name that agents report as a capability.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Apt { .. } => "apt",
            Self::Dnf { platform: Some(_), .. } => "dnf",
            // What yum can build dnf can, so a node with dnf offers both.
            Self::Dnf { platform: None, .. } => "yum",
            Self::Zypper => "zypper",
        }
    }

    /// The format that the node's rpm must be able to write.
    pub fn database(&self) -> Option<RpmDatabase> {
        match self {
            Self::Dnf { database, .. } => Some(*database),
            Self::Apt { .. } | Self::Zypper => None,
        }
    }
}

/// The format of an rpm database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RpmDatabase {
    /// Berkeley DB: up to EL 8 and Fedora 32.
    Bdb,
    /// SQLite: EL 9, Fedora 33 and later.
    Sqlite,
}

impl RpmDatabase {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Bdb, Self::Sqlite];

    /// What rpm calls it (`%_db_backend`).
    pub fn backend(self) -> &'static str {
        match self {
            Self::Bdb => "bdb",
            Self::Sqlite => "sqlite",
        }
    }

    /// The word by which an agent says that its node's rpm can write it.
    pub fn capability(self) -> &'static str {
        match self {
            Self::Bdb => "rpmdb-bdb",
            Self::Sqlite => "rpmdb-sqlite",
        }
    }
}

/// Whether everything in the image is brought up to what the repositories have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Update {
    /// Never.
    #[default]
    No,
    /// After each otherpkgs pass, as xCAT does.
    Otherpkgs,
    /// After the pkglist passes too.
    All,
}

impl Update {
    /// The values of the attribute `update`.
    pub const WORDS: &'static [&'static str] = &["no", "otherpkgs", "all"];

    /// What a value of the attribute means; unset means no, and so does what no check would let through.
    pub fn from_word(word: &str) -> Self {
        match word {
            "all" => Self::All,
            "otherpkgs" => Self::Otherpkgs,
            _ => Self::No,
        }
    }
}

/// One place to take packages from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repository {
    /// `http://…`, `https://…` or a path below the install root written as `file:///…`.
    pub url: String,
    /// apt: the suite; empty for rpm.
    pub suite: String,
    /// apt: the components; `suite` ending in `/` has none.
    pub components: Vec<String>,
    /// Whether signatures are checked.
    pub trust: RepositoryTrust,
    /// The osimage's own words for it, for messages.
    pub source: String,
    /// rpm: the sub-directory of otherpkgdir that it is. One of several otherpkgdirs may lack it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subdir: Option<String>,
}

impl Repository {
    /// Whether it lies on the MN's install root and not behind a URL.
    pub fn local_path(&self) -> Option<&std::path::Path> {
        self.url.strip_prefix("file://").map(std::path::Path::new)
    }
}

/// How the signatures of a repository are treated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum RepositoryTrust {
    /// Checked with the distribution's own keys.
    Distribution,
    /// Checked with this key file, carried in the plan.
    Key {
        /// The key's path on the MN, for messages.
        path: PathBuf,
        /// An OpenPGP public key, binary or armoured.
        content: Content,
    },
    /// rpm: checked with the keys that lie on the definition's own media, carried in the plan.
    Medium {
        /// Each `RPM-GPG-KEY-*`.
        keys: Vec<KeyFile>,
    },
    /// Not checked; only where the definition says so (`[trusted=yes]`).
    Unsigned,
}

/// A key file of a medium.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyFile {
    /// Its path on the MN, for messages.
    pub path: PathBuf,
    /// An OpenPGP public key, binary or armoured.
    pub content: Content,
}

/// One transaction of the package manager (XCAT.md 3.4).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pass {
    /// Environment of this pass's package manager (`#ENV:…#`).
    pub environment: BTreeMap<String, String>,
    /// Removed before anything is installed (`-name`).
    pub remove_before: Vec<PackageItem>,
    /// Installed in one transaction.
    pub install: Vec<PackageItem>,
    /// Removed when that is done (`--name`).
    pub remove_after: Vec<PackageItem>,
}

/// One name of a package list, with the line that it stands on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageItem {
    /// The package, in the package manager's own notation (`foo=1.2`, `@group`), without its sub-directory.
    pub name: String,
    /// otherpkgs: the sub-directory of `otherpkgdir` that it was named with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subdir: Option<String>,
    /// `file:line` where it stands.
    pub at: String,
}

/// Which kernel goes into the image (XCAT.md 6.6, bettered: by version, never the node's own).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum KernelChoice {
    /// The only one in the root image; which of several is for the user to say.
    Only,
    /// This one, in `uname -r` form.
    Exactly {
        /// `kernelver`.
        version: String,
    },
}

/// A postinstall script, inline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Script {
    /// Its path on the MN.
    pub path: PathBuf,
    /// The user's arguments, after the four of the contract.
    pub args: Vec<String>,
    /// The script itself.
    pub content: Content,
}

/// `nodebootif` and `otherifce`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interfaces {
    /// The boot interface, which the initrd has already configured.
    pub boot: Option<String>,
    /// Further interfaces to configure by DHCP.
    pub others: Vec<String>,
}

/// Bytes of a file, readable in JSON where they are text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Content {
    /// UTF-8 text as it stands.
    Text(String),
    /// Anything else, in lower-case hexadecimal.
    Hex(String),
}

impl Content {
    /// Wraps the bytes of a file.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        String::from_utf8(bytes).map_or_else(|error| Self::Hex(encode_hex(error.as_bytes())), Self::Text)
    }

    /// The bytes again; `None` if the hexadecimal form is damaged.
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        match self {
            Self::Text(text) => Some(text.clone().into_bytes()),
            Self::Hex(hex) => decode_hex(hex),
        }
    }
}

fn encode_hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

fn decode_hex(hex: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        hex.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    Some(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

/// An attribute as the build uses it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolvedAttribute {
    /// xCAT's attribute name.
    pub name: String,
    /// The value used.
    pub value: String,
    /// Where it came from.
    pub origin: Origin,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Origin {
    /// The definition says it.
    Given,
    /// The command line says it, for this build alone.
    Once,
    /// The rule that supplied it.
    Default {
        /// The rule in a few words.
        rule: String,
    },
    /// A default file found by the search of XCAT.md 2.5.
    Searched {
        /// The pattern that hit, such as `compute.debian12.x86_64.pkglist`.
        rule: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_keeps_bytes_that_are_not_text() {
        for bytes in [b"#!/bin/sh\n".to_vec(), vec![0xff, 0x00, 0x7f, 0x80], Vec::new()] {
            let content = Content::from_bytes(bytes.clone());
            let json = serde_json::to_string(&content).unwrap();
            let back: Content = serde_json::from_str(&json).unwrap();
            assert_eq!(back.to_bytes(), Some(bytes));
        }
        assert_eq!(Content::Hex("abc".into()).to_bytes(), None);
        assert_eq!(Content::Hex("zz".into()).to_bytes(), None);
    }
}
