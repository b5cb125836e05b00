//! What an apt repository on disk holds: suites, components, indices and signatures, as its files show.

use std::fs;
use std::path::{Path, PathBuf};

use model::arch::Arch;

/// Names looked at in one directory of a repository; Debian's own has a few dozen suites.
const MAX_NAMES: usize = 1_000;

/// Whether something with this name is a repository: a `dists` tree, or a directory with its index in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shape {
    /// `dists/<suite>/Release`; the suites, links to others left out.
    Dists(Vec<String>),
    /// `Packages` in the directory itself.
    Flat,
    /// Neither.
    None,
}

/// The shape of a directory.
pub(super) fn shape(directory: &Path) -> Shape {
    let suites = suites(&directory.join("dists"));
    if !suites.is_empty() {
        return Shape::Dists(suites);
    }
    if has_packages(directory) { Shape::Flat } else { Shape::None }
}

/// Media name one suite several times by links (`stable`); the directory itself is the one that counts.
fn suites(dists: &Path) -> Vec<String> {
    let (real, links): (Vec<_>, Vec<_>) = names(dists)
        .into_iter()
        .filter(|name| has_release(&dists.join(name)))
        .partition(|name| !dists.join(name).is_symlink());
    if real.is_empty() { links } else { real }
}

/// Whether a suite's directory has an index of its indices.
pub(super) fn has_release(suite: &Path) -> bool {
    ["Release", "InRelease"].iter().any(|name| suite.join(name).is_file())
}

/// Whether a suite, or a flat repository, carries a signature; apt refuses it without.
pub(super) fn is_signed(directory: &Path) -> bool {
    directory.join("InRelease").is_file()
        || (directory.join("Release").is_file() && directory.join("Release.gpg").is_file())
}

/// The components of a suite that have packages for an architecture.
pub(super) fn components(suite: &Path, arch: Arch) -> Vec<String> {
    names(suite).into_iter().filter(|component| has_component(suite, component, arch)).collect()
}

/// Whether a component of a suite has packages for an architecture.
pub(super) fn has_component(suite: &Path, component: &str, arch: Arch) -> bool {
    let own = suite.join(component).join(format!("binary-{}", arch.debian()));
    has_packages(&own) || has_packages(&suite.join(component).join("binary-all"))
}

fn has_packages(directory: &Path) -> bool {
    ["Packages", "Packages.gz", "Packages.xz", "Packages.bz2", "Packages.zst", "Packages.lz4"]
        .iter()
        .any(|name| directory.join(name).is_file())
}

fn names(directory: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.take(MAX_NAMES).filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// The directory of a suite.
pub(super) fn suite_directory(tree: &Path, suite: &str) -> PathBuf {
    match suite.ends_with('/') {
        true => tree.join(suite),
        false => tree.join("dists").join(suite),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_directory_is_a_tree_of_suites_or_flat_or_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        };
        write("tree/dists/bookworm/Release");
        write("tree/dists/not-a-suite/README");
        write("links/real/InRelease");
        write("flat/Packages.xz");
        write("none/x.deb");
        fs::create_dir_all(dir.path().join("links/dists")).unwrap();
        symlink("bookworm", dir.path().join("tree/dists/stable")).unwrap();
        symlink("../real", dir.path().join("links/dists/stable")).unwrap();
        let table = [
            ("tree", Shape::Dists(vec!["bookworm".into()])),
            ("links", Shape::Dists(vec!["stable".into()])),
            ("flat", Shape::Flat),
            ("none", Shape::None),
            ("gone", Shape::None),
        ];
        for (name, expected) in table {
            assert_eq!(shape(&dir.path().join(name)), expected, "{name}");
        }
    }
}
