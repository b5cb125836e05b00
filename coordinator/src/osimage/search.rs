//! Which default file applies to a profile, a release and an architecture (XCAT.md 2.5).
//!
//! One order, pure over the names in a directory; [`default_files`] puts the site's own directory,
//! `<install root>/custom/netboot/<family>`, under it. xCAT's genimage has a second order of its own when it is
//! called without an osimage; that one is not reproduced.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::release::Release;

/// More names than this in a directory of default files are not a directory of default files.
const MAX_NAMES: usize = 10_000;
/// Attributes that default files are searched for, with the ends of the files' names.
const EXTENSIONS: [(&str, &str); 5] = [
    ("pkglist", "pkglist"),
    ("otherpkglist", "otherpkgs.pkglist"),
    ("exlist", "exlist"),
    ("postinstall", "postinstall"),
    ("synclists", "synclist"),
];

/// A default file that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefaultFile {
    /// The attribute that it is for.
    pub attribute: &'static str,
    /// Where it is.
    pub path: PathBuf,
}

/// The names that a default file may have, the one that wins first.
pub fn candidates(profile: &str, release: &Release, arch: &str, extension: &str) -> Vec<String> {
    let mut stems = Vec::new();
    let mut both = |front: String| stems.extend([format!("{front}.{arch}"), front]);
    both(format!("{profile}.{}", release.osvers()));
    if let Some(genos) = release.genos() {
        both(format!("{profile}.{genos}"));
    }
    for fallback in release.fallbacks() {
        both(format!("{profile}.{fallback}"));
    }
    both(profile.to_owned());
    let mut seen = BTreeSet::new();
    stems.retain(|stem| seen.insert(stem.clone()));
    stems.into_iter().map(|stem| format!("{stem}.{extension}")).collect()
}

/// The name in a listing that wins, if one applies.
pub fn search<'a>(
    listing: &'a BTreeSet<String>,
    profile: &str,
    release: &Release,
    arch: &str,
    extension: &str,
) -> Option<&'a String> {
    candidates(profile, release, arch, extension).iter().find_map(|name| listing.get(name))
}

/// The site's directory of default files for a release.
pub fn directory(install_dir: &Path, release: &Release) -> PathBuf {
    install_dir.join("custom/netboot").join(release.directory())
}

/// Every default file that applies, as `mkdef -u` fills a definition in. A directory that can't be read has none.
pub fn default_files(install_dir: &Path, profile: &str, release: &Release, arch: &str) -> Vec<DefaultFile> {
    let directory = directory(install_dir, release);
    let Ok(entries) = fs::read_dir(&directory) else { return Vec::new() };
    let names = entries.take(MAX_NAMES).filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let listing: BTreeSet<String> = names.collect();
    let found = |(attribute, extension)| {
        let name = search(&listing, profile, release, arch, extension)?;
        let path = directory.join(name);
        (attribute != "postinstall" || is_executable(&path)).then_some(DefaultFile { attribute, path })
    };
    EXTENSIONS.into_iter().filter_map(found).collect()
}

/// xCAT passes a postinstall over that can't be run.
fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(osvers: &str) -> Release {
        osvers.parse().unwrap()
    }

    #[test]
    fn the_order_is_that_of_the_specification() {
        let names = candidates("compute", &release("rocky9.1"), "x86_64", "pkglist");
        let expected = "compute.rocky9.1.x86_64 compute.rocky9.1 compute.rhels9.x86_64 compute.rhels9 \
                        compute.rocky9.0.x86_64 compute.rocky9.0 compute.rocky9.x86_64 compute.rocky9 \
                        compute.x86_64 compute";
        let expected: Vec<_> = expected.split(' ').map(|stem| format!("{stem}.pkglist")).collect();
        assert_eq!(names, expected);
    }

    #[test]
    fn the_nearest_file_wins() {
        let table = [
            ("rocky9.2", "compute.pkglist compute.x86_64.pkglist", Some("compute.x86_64.pkglist")),
            ("rocky9.2", "compute.pkglist compute.rocky9.0.pkglist", Some("compute.rocky9.0.pkglist")),
            ("rocky9.2", "compute.rocky9.2.pkglist compute.rhels9.x86_64.pkglist", Some("compute.rocky9.2.pkglist")),
            ("rocky9.2", "compute.rocky9.1.pkglist compute.rhels9.pkglist", Some("compute.rhels9.pkglist")),
            ("ubuntu24.04.2", "compute.ubuntu24.04.pkglist", Some("compute.ubuntu24.04.pkglist")),
            ("ubuntu24.04.2", "compute.ubuntu24.pkglist", None),
            ("leap15.6", "compute.sle15.x86_64.pkglist", Some("compute.sle15.x86_64.pkglist")),
            ("rhels9.4", "service.pkglist compute.exlist compute.ppc64le.pkglist", None),
            ("debian12", "compute.otherpkgs.pkglist", None),
        ];
        for (osvers, listing, expected) in table {
            let listing = listing.split(' ').map(str::to_owned).collect();
            let found = search(&listing, "compute", &release(osvers), "x86_64", "pkglist");
            assert_eq!(found.map(String::as_str), expected, "{osvers} {listing:?}");
        }
    }

    #[test]
    fn the_sites_directory_is_searched_for_every_kind() {
        let install = tempfile::tempdir().unwrap();
        let directory = install.path().join("custom/netboot/debian");
        fs::create_dir_all(&directory).unwrap();
        for name in [
            "compute.pkglist",
            "compute.debian12.otherpkgs.pkglist",
            "compute.exlist",
            "other.synclist",
            "compute.postinstall",
        ] {
            fs::write(directory.join(name), "").unwrap();
        }
        let found = default_files(install.path(), "compute", &release("debian12"), "x86_64");
        let found: Vec<_> = found.iter().map(|file| file.attribute).collect();
        assert_eq!(found, ["pkglist", "otherpkglist", "exlist"]);
        assert_eq!(default_files(install.path(), "compute", &release("sle15"), "x86_64"), []);
    }
}
