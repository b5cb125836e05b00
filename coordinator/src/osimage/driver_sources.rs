//! Driver disks and driver packages: `driverupdatesrc`, else all that lies in the install root's folder of driver disks
//! for this release and architecture (XCAT.md 1.2, 6.8). Agents open them; here it is only seen that they are there.

use std::fs;
use std::path::{Path, PathBuf};

use model::plan::{DriverSource, SourceKind, Take};

use super::notes::Notes;
use super::target::Target;

pub(super) fn read(target: &Target<'_>, take: Take, notes: &mut Notes) -> Vec<DriverSource> {
    let sources = match target.osimage.get("driverupdatesrc") {
        Some(value) => {
            notes.given("driverupdatesrc", value);
            target.osimage.list("driverupdatesrc").into_iter().map(source).collect()
        }
        None => default_disks(target, notes),
    };
    let usable: Vec<_> = sources.into_iter().filter(|source| is_usable(target, source, notes)).collect();
    if take == Take::Nothing && usable.iter().any(|source| source.kind == SourceKind::Package) {
        notes.warn("nothing is taken from driver packages: netdrivers names no driver and doesn't say `allupdate`");
    }
    usable
}

/// `dud:<path>`, `rpm:<path>`; a bare path is that of an rpm.
fn source(text: &str) -> DriverSource {
    let (kind, path) = match text.split_once(':') {
        Some(("dud", path)) => (SourceKind::Disk, path),
        Some(("rpm", path)) => (SourceKind::Package, path),
        _ => (SourceKind::Package, text),
    };
    DriverSource { kind, path: PathBuf::from(path) }
}

fn default_disks(target: &Target<'_>, notes: &mut Notes) -> Vec<DriverSource> {
    if target.value("osvers").is_empty() || target.value("osarch").is_empty() {
        return Vec::new();
    }
    let folder = target.default_directory("driverdisk");
    let Ok(entries) = fs::read_dir(&folder) else { return Vec::new() };
    let files = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file() && !is_hidden(path));
    let mut paths: Vec<PathBuf> = files.collect();
    paths.sort();
    if !paths.is_empty() {
        let value: Vec<String> = paths.iter().map(|path| format!("dud:{}", path.display())).collect();
        notes.defaulted("driverupdatesrc", &value.join(","), "<install root>/driverdisk/<osvers>/<osarch>");
    }
    paths.into_iter().map(|path| DriverSource { kind: SourceKind::Disk, path }).collect()
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

fn is_usable(target: &Target<'_>, source: &DriverSource, notes: &mut Notes) -> bool {
    let path = source.path.display();
    if !source.path.is_absolute() {
        // Reported by the check of the definition.
        return false;
    }
    if !source.path.exists() {
        notes.problem(format!("The driverupdatesrc specified '{path}' does not exist!"));
        return false;
    }
    if !source.path.starts_with(target.install_dir) {
        let root = target.install_dir.display();
        notes.problem(format!(
            "driverupdatesrc: `{path}` lies outside the install root `{root}`, which is all that agents see; move it there"
        ));
        return false;
    }
    notes.needs_install(needs_install(source));
    true
}

/// Why an agent must see the install root for it.
pub(super) fn needs_install(source: &DriverSource) -> String {
    format!("the drivers in `{}` are on the install root", source.path.display())
}
