//! What rpm is told and says: its macros, its list of packages, and the names that dnf and yum take.

use std::path::Path;

use model::plan::RpmDatabase;

use super::Installed;

/// The format for `rpm --query`.
pub const FORMAT: &str = "%{NAME}\t%{EVR}\t%{ARCH}\n";

/// Reads lines of [`FORMAT`]; the keys that rpm keeps as if they were packages don't count.
pub fn installed(listing: &str) -> Vec<Installed> {
    let read = |line: &str| {
        let mut fields = line.split('\t').map(str::to_owned);
        Some(Installed { name: fields.next()?, version: fields.next()?, arch: fields.next()? })
    };
    let mut found: Vec<Installed> =
        listing.lines().filter_map(read).filter(|package| package.name != "gpg-pubkey").collect();
    found.sort();
    found
}

/// The macros by which the node's rpm works on the image's database, whatever it would do for the node's own.
pub fn macros(folder: &Path, database: RpmDatabase) -> String {
    let lines = [
        format!("%_dbpath {}", folder.display()),
        format!("%_db_backend {}", database.backend()),
        // These are the build's own mounts: rpm can't change their modes, and on some releases fails over it.
        "%_netsharedpath /proc:/sys".to_owned(),
        // The worker's namespaces have no logind to ask.
        "%__transaction_systemd_inhibit %{nil}".to_owned(),
        "%__transaction_dbus_announce %{nil}".to_owned(),
    ];
    lines.join("\n") + "\n"
}

/// Whether a name can be handed to dnf or yum: a package with or without version and architecture, a wildcard, a
/// group (whose name may hold blanks) or a module stream.
pub fn is_name(name: &str) -> bool {
    let group = name.strip_prefix('@');
    let rest = group.unwrap_or(name);
    let first = rest.strip_prefix('^').unwrap_or(rest);
    first.starts_with(|c: char| c.is_ascii_alphanumeric() || "*_".contains(c))
        && rest.chars().all(|c| {
            c.is_ascii_alphanumeric() || ".+-:=~*^_?%".contains(c) || (group.is_some() && " /()&'".contains(c))
        })
        && !rest.contains("//")
}

/// The formats that an rpm can write, by the files that it makes in an empty folder when it is asked for each.
pub fn database_file(database: RpmDatabase) -> &'static str {
    match database {
        RpmDatabase::Bdb => "Packages",
        RpmDatabase::Sqlite => "rpmdb.sqlite",
    }
}

/// Two lists of one image that should be the same: what only one of them has, or nothing.
pub fn difference(node: &[Installed], image: &[Installed]) -> Option<String> {
    let only = |one: &[Installed], other: &[Installed]| {
        let names: Vec<String> =
            one.iter().filter(|package| !other.contains(package)).map(|package| package.name.clone()).collect();
        match names.as_slice() {
            [] => "nothing else".to_owned(),
            [name] => format!("`{name}`"),
            [name, more @ ..] => format!("`{name}` and {} more", more.len()),
        }
    };
    (node != image).then(|| {
        format!(
            "of {} packages the image's own rpm lists {}: only the node's has {}, only the image's has {}",
            node.len(),
            image.len(),
            only(node, image),
            only(image, node)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_no_packages() {
        let found = installed("zlib\t1.2-3.el9\tx86_64\ngpg-pubkey\t1-2\t(none)\nbash\t0:5.1-1\tx86_64\n");
        assert_eq!(found.iter().map(|package| package.name.as_str()).collect::<Vec<_>>(), ["bash", "zlib"]);
        assert_eq!(found[1].version, "1.2-3.el9");
    }

    #[test]
    fn the_images_database_is_named_by_place_and_format() {
        let text = macros(Path::new("/usr/lib/sysimage/rpm"), RpmDatabase::Sqlite);
        assert!(text.starts_with("%_dbpath /usr/lib/sysimage/rpm\n%_db_backend sqlite\n"), "{text}");
        assert!(macros(Path::new("/var/lib/rpm"), RpmDatabase::Bdb).contains("%_db_backend bdb\n"));
    }

    #[test]
    fn a_difference_is_told_from_both_sides() {
        let list = |names: &[&str]| names.iter().map(|name| format!("{name}\t1\tnoarch\n")).collect::<String>();
        let list = |names: &[&str]| installed(&list(names));
        assert_eq!(difference(&list(&["a", "b"]), &list(&["b", "a"])), None);
        let said = difference(&list(&["a", "b", "c"]), &list(&["c", "d"])).unwrap();
        let expected =
            "of 3 packages the image's own rpm lists 2: only the node's has `a` and 1 more, only the image's has `d`";
        assert_eq!(said, expected);
    }
}
