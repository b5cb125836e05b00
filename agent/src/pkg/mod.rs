//! Package managers: what they are told and what they say. Pure text; the stages of `build` run it.

pub mod apt;
pub mod dnf;
pub mod dpkg;
pub mod ini;
pub mod rpm;
pub mod scriptlets;
pub mod words;
pub mod yum;

pub use model::package::Installed;
use model::plan::PackageItem;

/// Why a line of a package list can't be handed to a package manager.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` ({at}) is not a package name")]
pub struct BadName {
    name: String,
    at: String,
}

/// The names of a pass, each fit to stand on a command line by `fits`: none can be taken for an option or for two
/// names.
pub fn names(items: &[PackageItem], fits: fn(&str) -> bool) -> Result<Vec<&str>, BadName> {
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
            assert_eq!(names(&[item(good)], apt::is_name), Ok(vec![good]));
        }
        for bad in ["-o", "--allow-downgrades", "a b", "a,b", "", "$(id)", "?essential", "a;b", "@core"] {
            assert!(names(&[item(bad)], apt::is_name).is_err(), "{bad}");
        }
        let good = ["bash-5.1-2.el9.x86_64", "@core", "@^minimal-environment", "@Server with GUI", "@nodejs:18/common"];
        for good in good.into_iter().chain(["kernel*", "gcc-c++", "php81-php", "libfoo_bar", "@postgresql:15"]) {
            assert_eq!(names(&[item(good)], rpm::is_name), Ok(vec![good]));
        }
        for bad in ["-o", "--allowerasing", "a b", "a,b", "", "@", "@-x", "/etc/passwd", "(a or b)", "http://x/y.rpm"] {
            assert!(names(&[item(bad)], rpm::is_name).is_err(), "{bad}");
        }
    }
}
