//! What the definition says of itself before any file is read: what to build, for what, and whether it may be.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use model::arch::Arch;
use model::osimage::Osimage;

use super::notes::Notes;
use super::release::Release;
use super::resolve::Site;

/// The four attributes without which nothing can be built (XCAT.md 6.2).
const REQUIRED: [&str; 4] = ["osvers", "osarch", "profile", "provmethod"];

/// What is built. Fields that could not be told are empty, and a problem has been noted for each.
pub(super) struct Target<'a> {
    pub(super) osimage: &'a Osimage,
    pub(super) install_dir: &'a Path,
    pub(super) release: Option<Release>,
    pub(super) arch: Option<Arch>,
    /// `environvar`.
    pub(super) environment: BTreeMap<String, String>,
}

impl<'a> Target<'a> {
    pub(super) fn read(osimage: &'a Osimage, site: &'a Site, notes: &mut Notes) -> Self {
        // Bad values have been reported by the check of the definition; what follows is what it can't know.
        let missing: Vec<_> = REQUIRED.into_iter().filter(|name| osimage.get(name).is_none()).collect();
        if !missing.is_empty() {
            notes.problem(format!(
                "osimage.osvers, osimage.osarch, osimage.profile and osimage.provmethod must be specified for '{}'; not set: {}",
                osimage.name,
                missing.join(", ")
            ));
        }
        if osimage.get("provmethod").is_some_and(|method| !matches!(method, "netboot" | "statelite")) {
            notes.problem(format!(
                "'{}' cannot be used to build diskless image. Make sure osimage.provmethod is 'netboot'.",
                osimage.name
            ));
        }
        if osimage.is_disabled() {
            notes.problem(format!("'{}' is disabled; clear its attribute disable to build it", osimage.name));
        }
        for name in REQUIRED.into_iter().chain(["environvar", "permission"]) {
            if let Some(value) = osimage.get(name) {
                notes.given(name, value);
            }
        }
        let release = osimage.get("osvers").and_then(|osvers| {
            osvers.parse().map_err(|error: super::release::UnknownRelease| notes.problem(error.to_string())).ok()
        });
        Self {
            osimage,
            install_dir: &site.install_dir,
            release,
            arch: osimage.get("osarch").and_then(|arch| arch.parse().ok()),
            environment: osimage.environment(),
        }
    }

    /// An attribute's value, empty if unset.
    pub(super) fn value(&self, name: &str) -> &'a str {
        self.osimage.get(name).unwrap_or_default()
    }

    /// `<install root>/<front>/<osvers>/<osarch>`, the place of many defaults.
    pub(super) fn default_directory(&self, front: &str) -> PathBuf {
        self.install_dir.join(front).join(self.value("osvers")).join(self.value("osarch"))
    }

    /// The absolute paths of a list; others have been reported by the check of the definition.
    pub(super) fn paths(&self, name: &str) -> Vec<PathBuf> {
        self.osimage.paths(name).into_iter().filter(|path| path.is_absolute()).collect()
    }
}
