//! [`diff`]: what changed from one generation to another: packages, files, capabilities.
//!
//! Everything comes from what was recorded when the generations were received; no tree is looked at, so edits by hand
//! are not in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use model::package::Installed;
use rootfs::capability;
use rootfs::edits::Edit;
use rootfs::manifest::{Manifest, ManifestError, differences};
use serde::Deserialize;

use super::layout::{BUILD, LayoutError, MANIFEST, Number, RootimgDir};

/// What changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// How many packages there were and are.
    pub packages_count: (usize, usize),
    /// By name and architecture.
    pub packages: Vec<PackageChange>,
    /// By path.
    pub files: Vec<Edit>,
    /// By path; also those of files that came or went.
    pub capabilities: Vec<CapabilityChange>,
}

/// A package that came, went or has another version. Several versions of one (kernels) stand together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageChange {
    /// Its name.
    pub name: String,
    /// Its architecture.
    pub arch: String,
    /// The versions that were; empty if it came.
    pub before: Vec<String>,
    /// The versions that are; empty if it went.
    pub after: Vec<String>,
}

/// A file whose capabilities are others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapabilityChange {
    /// In the tree.
    pub path: String,
    /// In the words of `getcap(8)`; none if it had none or was not there.
    pub before: Option<String>,
    /// The same, now.
    pub after: Option<String>,
}

/// Why two generations can't be compared.
#[derive(Debug, thiserror::Error)]
pub enum DiffError {
    /// One isn't there.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// It was made by xCAT, or its record went.
    #[error("generation {number} has no `{name}` to compare with: imgctl did not build it")]
    NoRecord {
        /// Which.
        number: Number,
        /// What it lacks.
        name: &'static str,
    },
    /// The manifest can't be read.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The list of packages can't be read.
    #[error("cannot read the packages from `{}`", path.display())]
    Record {
        /// The record.
        path: PathBuf,
        /// What the system or the reader says.
        #[source]
        source: std::io::Error,
    },
}

/// The part of `build.json` that is needed here.
#[derive(Deserialize)]
struct Record {
    packages: Vec<Installed>,
}

/// Compares two generations of a rootimgdir. Blocking; reads two manifests.
pub fn diff(dir: &RootimgDir, before: Number, after: Number) -> Result<Diff, DiffError> {
    let (old, new) = (packages(dir, before)?, packages(dir, after)?);
    let count = (old.len(), new.len());
    let packages = package_changes(old, new);
    let (old, new) = (manifest(dir, before)?, manifest(dir, after)?);
    let files = differences(&old, &new);
    Ok(Diff { packages_count: count, packages, files, capabilities: capability_changes(&old, &new) })
}

fn recorded(dir: &RootimgDir, number: Number, name: &'static str) -> Result<PathBuf, DiffError> {
    let path = dir.existing(number)?.join(name);
    if path.is_file() { Ok(path) } else { Err(DiffError::NoRecord { number, name }) }
}

fn packages(dir: &RootimgDir, number: Number) -> Result<Vec<Installed>, DiffError> {
    let path = recorded(dir, number, BUILD)?;
    let read = |path: &Path| Ok(serde_json::from_slice::<Record>(&fs::read(path)?)?.packages);
    read(&path).map_err(|source| DiffError::Record { path, source })
}

fn manifest(dir: &RootimgDir, number: Number) -> Result<Manifest, DiffError> {
    Ok(Manifest::read(&recorded(dir, number, MANIFEST)?)?)
}

fn package_changes(before: Vec<Installed>, after: Vec<Installed>) -> Vec<PackageChange> {
    let mut versions: BTreeMap<(String, String), [BTreeSet<String>; 2]> = BTreeMap::new();
    for (side, packages) in [before, after].into_iter().enumerate() {
        for Installed { name, version, arch } in packages {
            versions.entry((name, arch)).or_default()[side].insert(version);
        }
    }
    let changed = versions.into_iter().filter(|(_, [before, after])| before != after);
    let list = |versions: BTreeSet<String>| versions.into_iter().collect();
    changed
        .map(|((name, arch), [before, after])| PackageChange { name, arch, before: list(before), after: list(after) })
        .collect()
}

fn capability_changes(before: &Manifest, after: &Manifest) -> Vec<CapabilityChange> {
    let mut found: BTreeMap<String, [Option<String>; 2]> = BTreeMap::new();
    for (side, manifest) in [before, after].into_iter().enumerate() {
        for entry in &manifest.entries {
            if let Some(xattr) = entry.xattrs.iter().find(|xattr| xattr.name == capability::XATTR) {
                found.entry(entry.path.to_string()).or_default()[side] = Some(capability::text(&xattr.value));
            }
        }
    }
    let changed = found.into_iter().filter(|(_, [before, after])| before != after);
    changed.map(|(path, [before, after])| CapabilityChange { path, before, after }).collect()
}

#[cfg(test)]
mod tests {
    use rootfs::entry::{Stamp, Xattr};
    use rootfs::manifest::{ManifestEntry, Node};
    use rootfs::path::TreePath;

    use super::*;

    fn package(name: &str, version: &str, arch: &str) -> Installed {
        Installed { name: name.into(), version: version.into(), arch: arch.into() }
    }

    #[test]
    fn packages_that_came_went_and_changed_are_told() {
        let before = vec![
            package("bash", "5.1", "amd64"),
            package("gone", "1", "all"),
            package("kernel", "5.14-70", "x86_64"),
            package("same", "1", "all"),
            package("libc6", "2.36", "i386"),
        ];
        let after = vec![
            package("bash", "5.2", "amd64"),
            package("come", "1", "all"),
            package("kernel", "5.14-427", "x86_64"),
            package("kernel", "5.14-70", "x86_64"),
            package("same", "1", "all"),
            package("libc6", "2.36", "amd64"),
        ];
        let told: Vec<String> = package_changes(before, after)
            .iter()
            .map(|change| format!("{}.{} {:?} {:?}", change.name, change.arch, change.before, change.after))
            .collect();
        let expected = [
            r#"bash.amd64 ["5.1"] ["5.2"]"#,
            r#"come.all [] ["1"]"#,
            r#"gone.all ["1"] []"#,
            r#"kernel.x86_64 ["5.14-70"] ["5.14-427", "5.14-70"]"#,
            r#"libc6.amd64 [] ["2.36"]"#,
            r#"libc6.i386 ["2.36"] []"#,
        ];
        assert_eq!(told, expected);
    }

    fn tree(files: &[(&str, &[u8])]) -> Manifest {
        let entry = |(path, value): &(&str, &[u8])| ManifestEntry {
            path: TreePath::parse(path).unwrap(),
            node: Node::Dir,
            mode: 0o755,
            uid: 0,
            gid: 0,
            mtime: Stamp(0, 0),
            link: None,
            xattrs: vec![
                Xattr { name: b"user.other".to_vec(), value: vec![9] },
                Xattr { name: capability::XATTR.to_vec(), value: value.to_vec() },
            ],
        };
        Manifest { complete: Stamp(0, 0), emulated_on: None, entries: files.iter().map(entry).collect() }
    }

    #[test]
    fn capabilities_that_went_are_told_with_what_they_were() {
        let raw = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let changes =
            capability_changes(&tree(&[("ping", &raw), ("same", &raw)]), &tree(&[("arping", &raw), ("same", &raw)]));
        let net_raw = Some("cap_net_raw=ep".to_owned());
        let expected = [
            CapabilityChange { path: "arping".into(), before: None, after: net_raw.clone() },
            CapabilityChange { path: "ping".into(), before: net_raw, after: None },
        ];
        assert_eq!(changes, expected);
    }

    #[test]
    fn generations_are_compared_by_their_records() {
        let install = tempfile::tempdir().unwrap();
        let dir = RootimgDir::open(&install.path().join("r"), install.path()).unwrap();
        for (number, version) in [(1, "1.0"), (2, "2.0")] {
            let folder = dir.generation(Number::from(model::id::Generation::new(number).unwrap()));
            fs::create_dir_all(&folder).unwrap();
            let packages = serde_json::json!({ "version": 1, "packages": [package("a", version, "all")] });
            fs::write(folder.join(BUILD), packages.to_string()).unwrap();
            if number == 1 {
                Manifest::default().write(&folder.join(MANIFEST)).unwrap();
            }
        }
        let number = |number| Number::from(model::id::Generation::new(number).unwrap());
        let missing = diff(&dir, number(1), number(2)).unwrap_err();
        assert_eq!(missing.to_string(), "generation 2 has no `manifest.json` to compare with: imgctl did not build it");
        tree(&[("x", &[])]).write(&dir.generation(number(2)).join(MANIFEST)).unwrap();
        let found = diff(&dir, number(1), number(2)).unwrap();
        assert_eq!((found.packages_count, found.packages.len(), found.files.len()), ((1, 1), 1, 1));
        assert!(diff(&dir, number(1), number(3)).is_err());
    }
}
