//! Package managers: what they are told and what they say. Pure text; the stages of `build` run it.

pub mod apt;
pub mod dpkg;
pub mod words;

use model::plan::PackageItem;

/// Why a line of a package list can't be handed to a package manager.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` ({at}) is not a package name")]
pub struct BadName {
    name: String,
    at: String,
}

/// The names of a pass, each fit to stand on a command line: none can be taken for an option or for two names.
pub fn names(items: &[PackageItem]) -> Result<Vec<&str>, BadName> {
    let fits = |name: &str| {
        name.starts_with(|first: char| first.is_ascii_alphanumeric())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || ".+-:=/~*^_".contains(c))
    };
    let check = |item: &PackageItem| BadName { name: item.name.clone(), at: item.at.clone() };
    items.iter().map(|item| if fits(&item.name) { Ok(item.name.as_str()) } else { Err(check(item)) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_package_names_reach_a_command_line() {
        let item = |name: &str| PackageItem { name: name.to_owned(), subdir: None, at: "compute.pkglist:3".to_owned() };
        for good in ["bash", "libc6:amd64", "foo=1:2.3-4~bpo12+1", "foo/bookworm-backports", "ssh-server^", "g++"] {
            assert_eq!(names(&[item(good)]), Ok(vec![good]));
        }
        for bad in ["-o", "--allow-downgrades", "a b", "a,b", "", "$(id)", "?essential", "a;b"] {
            assert!(names(&[item(bad)]).is_err(), "{bad}");
        }
    }
}
