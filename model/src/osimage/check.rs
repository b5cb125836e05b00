//! Whether a value may stand in an attribute: one judgement per kind (XCAT.md 1.1, 1.2).
//!
//! Called by `definition.rs` for every value that is set and again for a whole definition. Where xCAT has a text
//! that scripts match on, it is kept as it is.

use std::path::{Component, Path};

use super::attribute::{Attribute, Kind, split_list};
use super::repository::{Location, RepositoryEntry, split_repositories};
use crate::arch::Arch;

/// The longest value that is taken: a few hundred paths, and no room for accidents.
const MAX_VALUE: usize = 64 * 1024;

/// Everything that is wrong with a value of an attribute; empty values clear it and are never wrong.
pub(super) fn check_value(attribute: &Attribute, value: &str) -> Vec<String> {
    if value.len() > MAX_VALUE {
        return vec![format!("{} is {} bytes long; at most {MAX_VALUE} are allowed", attribute.name, value.len())];
    }
    if let Some(bad) = value.chars().find(|c| c.is_control()) {
        return vec![format!("{} must be one line of text, but it holds {bad:?}", attribute.name)];
    }
    if value.is_empty() {
        return Vec::new();
    }
    let named = |reason: String| match reason.starts_with(attribute.name) {
        true => reason,
        false => format!("{}: {reason}", attribute.name),
    };
    by_kind(attribute.kind, value).into_iter().map(named).collect()
}

fn by_kind(kind: Kind, value: &str) -> Vec<String> {
    let one = |found: Option<String>| found.into_iter().collect();
    match kind {
        Kind::Text | Kind::List => Vec::new(),
        Kind::OneOf(known) => one(check_one_of(known, value)),
        Kind::OneOfEach(known) => split_list(value).filter_map(|item| check_one_of(known, item)).collect(),
        Kind::Path => one(check_path(value)),
        Kind::Paths => split_list(value).filter_map(check_path).collect(),
        Kind::Word => one(check_word(value)),
        Kind::Words => split_list(value).filter_map(check_word).collect(),
        Kind::Arch => one(value.parse::<Arch>().err().map(|error| error.to_string())),
        Kind::Bool => one(check_one_of(&["yes", "no", "1", "0"], value)),
        Kind::Environment => split_list(value).filter_map(check_variable).collect(),
        Kind::Scripts => split_list(value).filter_map(|entry| check_path(first_word(entry))).collect(),
        Kind::Repositories => check_repositories(value),
        Kind::Mode => one(check_mode(value)),
        Kind::NfsRootOptions => check_nfs_root_options(value),
        Kind::DriverSources => split_list(value).filter_map(check_driver_source).collect(),
        Kind::Dump => one(check_dump(value)),
    }
}

fn first_word(entry: &str) -> &str {
    entry.split_whitespace().next().unwrap_or_default()
}

fn check_one_of(known: &[&str], value: &str) -> Option<String> {
    (!known.contains(&value)).then(|| format!("`{value}` is not one of {}", known.join(", ")))
}

fn check_path(path: &str) -> Option<String> {
    if !path.starts_with('/') {
        return Some(format!("`{path}` must be an absolute path; it is read on the management node"));
    }
    let up = Path::new(path).components().any(|part| part == Component::ParentDir);
    up.then(|| format!("`{path}` must not hold `..`; write the path that is meant"))
}

/// A word that may become part of a path, a file name or an argument.
fn check_word(word: &str) -> Option<String> {
    let allowed = |(at, c): (usize, char)| c.is_ascii_alphanumeric() || (at > 0 && "._+~-:@".contains(c));
    let bad = word.char_indices().find(|&found| !allowed(found));
    bad.map(|(_, bad)| format!("`{word}` must not hold {bad:?}; letters, digits and . _ + ~ : @ - are allowed"))
}

fn check_variable(pair: &str) -> Option<String> {
    let Some((name, _)) = pair.split_once('=') else {
        return Some(format!("`{pair}` is not of the form NAME=value"));
    };
    (!is_variable_name(name))
        .then(|| format!("`{name}` is not the name of a variable; letters, digits and _ are allowed"))
}

/// Whether a shell would take this as a variable's name.
pub(crate) fn is_variable_name(name: &str) -> bool {
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    starts && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn check_repositories(value: &str) -> Vec<String> {
    let check = |entry: &str| match entry.parse::<RepositoryEntry>() {
        Err(error) => Some(error.to_string()),
        Ok(RepositoryEntry { location: Location::Url(_), .. }) => None,
        Ok(RepositoryEntry { location: Location::Local(path), .. }) => check_path(&path.to_string_lossy()),
    };
    split_repositories(value).into_iter().filter_map(check).collect()
}

fn check_mode(mode: &str) -> Option<String> {
    let octal = (3..=4).contains(&mode.len()) && mode.chars().all(|c| c.is_digit(8));
    (!octal).then(|| format!("`{mode}` is not an octal mode such as 755"))
}

fn check_nfs_root_options(options: &str) -> Vec<String> {
    let malformed = options.chars().any(char::is_whitespace) || options.split(',').any(str::is_empty);
    let mut problems: Vec<String> = ["rw", "defaults"]
        .into_iter()
        .filter(|word| options.split(',').any(|option| option.trim() == *word))
        .map(|word| format!("nfsrootopts cannot contain '{word}'; statelite NFS roots are always read-only"))
        .collect();
    if malformed {
        problems.push("nfsrootopts must be a comma-separated list without whitespace or empty options".to_owned());
    }
    problems
}

fn check_driver_source(source: &str) -> Option<String> {
    let path = source.strip_prefix("dud:").or_else(|| source.strip_prefix("rpm:")).unwrap_or(source);
    check_path(path)
}

fn check_dump(dump: &str) -> Option<String> {
    let target = dump.strip_prefix("fadump:").unwrap_or(dump);
    let path = target.strip_prefix("nfs://").is_some_and(|rest| rest.contains('/'));
    (!path).then(|| format!("`{dump}` is not of the form nfs://<ip>/<path>; the ip may be left out"))
}

#[cfg(test)]
mod tests {
    use super::super::attribute::find;
    use super::*;

    fn problems(name: &str, value: &str) -> Vec<String> {
        check_value(find(name).unwrap(), value)
    }

    #[test]
    fn values_that_make_sense_are_taken() {
        let table = [
            ("osarch", "ppc64el"),
            ("provmethod", "statelite"),
            ("imagetype", "NIM"),
            ("nfsrootopts", "noac,vers=4.2"),
            ("pkglist", "/srv/a.pkglist, /srv/b.pkglist"),
            ("otherpkgdir", "[trusted=yes] /install/post/x,http://a/b,https://c/d e f"),
            ("environvar", "A=1,B_2=x=y,C="),
            ("postinstall", "/srv/a.sh 1 2,/srv/b.sh"),
            ("permission", "0755"),
            ("dump", "fadump:nfs:///var/crash"),
            ("driverupdatesrc", "dud:/a,rpm:/b,/c"),
            ("kernelver", "5.14.0-427.el9.x86_64"),
            ("pkglist", ""),
            ("disable", "1"),
            ("otherpkgdir", "/a,/b,http://c/d"),
            ("update", "otherpkgs"),
            ("scriptletsmayfail", "mlnx-ofed-kmod, gpfs.base"),
            ("addkcmdline", "console=ttyS1,115200 quiet R::x"),
        ];
        for (name, value) in table {
            assert_eq!(problems(name, value), Vec::<String>::new(), "{name}={value}");
        }
    }

    #[test]
    fn xcats_own_texts_are_kept_whole() {
        let expected = "nfsrootopts cannot contain 'rw'; statelite NFS roots are always read-only";
        assert_eq!(problems("nfsrootopts", "rw"), [expected]);
    }

    #[test]
    fn values_that_make_no_sense_are_named() {
        let table = [
            ("osarch", "sparc", 1, "not a known architecture"),
            ("provmethod", "netbot", 1, "is not one of install, netboot"),
            ("rootfstype", "tmpfs", 1, "not one of nfs, ramdisk"),
            ("nfsrootopts", "rw", 1, "nfsrootopts cannot contain 'rw'; statelite NFS roots are always read-only"),
            ("nfsrootopts", "noac, defaults", 2, "cannot contain 'defaults'"),
            ("otherpkgdir", "x", 1, "otherpkgdir: `x` is neither"),
            ("nfsrootopts", "noac,,hard", 1, "without whitespace or empty options"),
            ("rootimgdir", "netboot/x", 1, "absolute"),
            ("rootimgdir", "/install/../etc", 1, "`..`"),
            ("pkglist", "/a,b,c", 2, "`b` must be an absolute path"),
            ("otherpkgdir", "/a,/b/../c", 1, "`..`"),
            ("update", "yes", 1, "is not one of no, otherpkgs, all"),
            ("permission", "789", 1, "octal"),
            ("permission", "7", 1, "octal"),
            ("environvar", "A=1,2B=1,novalue", 2, "`2B` is not the name"),
            ("description", "a\nb", 1, "one line"),
            ("profile", "../x", 1, "must not hold '.'"),
            ("dump", "/var/crash", 1, "nfs://"),
            ("serverrole", "compute,boss", 1, "`boss`"),
        ];
        for (name, value, count, text) in table {
            let found = problems(name, value);
            assert_eq!(found.len(), count, "{name}={value}: {found:?}");
            assert!(found[0].contains(text), "{name}={value}: {found:?}");
        }
        assert_eq!(problems("description", &"x".repeat(MAX_VALUE + 1)).len(), 1);
    }
}
