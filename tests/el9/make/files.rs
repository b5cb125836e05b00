//! The `%files` of a package: every file, and those folders that are not like any other package's.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::recipe::escape;
use super::table::Entry;
use super::tree::{below, walk};

/// Names of users and groups by number, as the distribution's own `setup` has them.
#[derive(Debug)]
pub(super) struct Owners {
    users: BTreeMap<u32, String>,
    groups: BTreeMap<u32, String>,
}

impl Owners {
    /// Reads `passwd` and `group` of `setup`.
    pub(super) fn read() -> Self {
        let folder = super::sources().join("data/files/setup/etc");
        let names = |file: &str| {
            let text = fs::read_to_string(folder.join(file)).expect("setup has it");
            let fields = text.lines().map(|line| line.split(':').collect::<Vec<_>>());
            fields.map(|fields| (fields[2].parse().expect("a number"), fields[0].to_owned())).collect()
        };
        Self { users: names("passwd"), groups: names("group") }
    }
}

/// The lines for all that lies below a build root.
pub(super) fn list(root: &Path, owners: &Owners, entry: &Entry) -> Vec<String> {
    let mut lines = Vec::new();
    for path in entry.attrs.keys() {
        assert!(below(root, path).exists(), "packages.toml gives {path} to somebody, but there is no such file");
    }
    for path in walk(root) {
        let data = path.symlink_metadata().expect("it was just listed");
        let name = path.strip_prefix(root).expect("it lies below").to_str().expect("Debian has no other names");
        let owned = data.uid() != 0 || data.gid() != 0;
        let attr = match entry.attrs.get(&format!("/{name}")) {
            Some(attr) => format!("%attr({attr}) "),
            // rpmbuild gives everything to root otherwise.
            None if owned => names(owners, &path, data.uid(), data.gid()),
            None => String::new(),
        };
        let name = format!("\"/{}\"", escape(name));
        if data.is_dir() {
            let empty = fs::read_dir(&path).expect("it can be listed").next().is_none();
            if entry.owns_folders || empty || !attr.is_empty() || data.mode() & 0o7777 != 0o755 {
                lines.push(format!("{attr}%dir {name}"));
            }
        } else if data.is_file() && name.starts_with("\"/etc/") {
            lines.push(format!("{attr}%config(noreplace) {name}"));
        } else {
            lines.push(format!("{attr}{name}"));
        }
    }
    lines
}

fn names(owners: &Owners, path: &Path, uid: u32, gid: u32) -> String {
    let unknown = || panic!("setup knows no name for the owner of {} ({uid}:{gid})", path.display());
    let user = owners.users.get(&uid).unwrap_or_else(unknown);
    let group = owners.groups.get(&gid).unwrap_or_else(unknown);
    format!("%attr(-,{user},{group}) ")
}
