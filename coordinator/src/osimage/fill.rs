//! Filling a definition in from its profile, as `mkdef -u` and `chdef -u` do (XCAT.md 1.6).
//!
//! Only diskless images are built here, so the class of attributes that installs need is cleared.

use std::path::Path;

use model::osimage::AttributeChange;
use model::problem::Problem;

use super::release::Release;
use super::search::default_files;

/// Attributes of images that are installed, not booted.
const INSTALL_ONLY: [&str; 2] = ["template", "partitionfile"];

/// What `-u` starts from.
#[derive(Debug, Clone, Copy)]
pub struct Profile<'a> {
    /// `profile`.
    pub profile: &'a str,
    /// `provmethod`.
    pub provmethod: &'a str,
    /// `osvers`.
    pub osvers: &'a str,
    /// `osarch`.
    pub osarch: &'a str,
}

/// The changes that fill a definition in. A kind of list for which the site has no default file is left alone.
pub fn fill(from: Profile<'_>, install_dir: &Path) -> Result<Vec<AttributeChange>, Vec<Problem>> {
    let mut problems = Vec::new();
    if from.profile.is_empty() || from.provmethod.is_empty() {
        problems.push(Problem::new("The profile and provmethod are all need to be specified."));
    } else if !matches!(from.provmethod, "netboot" | "statelite") {
        let message = format!("provmethod `{}` can't be filled in; netboot and statelite can", from.provmethod);
        problems.push(Problem::new(message));
    }
    let release = from.osvers.parse::<Release>().map_err(|error| problems.push(Problem::new(error.to_string())));
    let (Ok(release), true) = (release, problems.is_empty()) else {
        return Err(problems);
    };
    let Profile { profile, provmethod, osvers, osarch } = from;
    let path = |front: &str| install_dir.join(front).join(osvers).join(osarch);
    let mut values = vec![
        ("imagetype", "linux".to_owned()),
        ("osname", "Linux".to_owned()),
        ("profile", profile.to_owned()),
        ("provmethod", provmethod.to_owned()),
        ("osvers", osvers.to_owned()),
        ("osarch", osarch.to_owned()),
        ("osdistroname", format!("{osvers}-{osarch}")),
        ("pkgdir", path("").display().to_string()),
        ("otherpkgdir", path("post/otherpkgs").display().to_string()),
        ("rootimgdir", path("netboot").join(profile).display().to_string()),
    ];
    let files = default_files(install_dir, profile, &release, osarch);
    values.extend(files.into_iter().map(|file| (file.attribute, file.path.display().to_string())));
    let set = |(name, value): (&str, String)| AttributeChange::Set { name: name.to_owned(), value };
    let clear = |name: &str| AttributeChange::Clear { name: name.to_owned() };
    Ok(values.into_iter().map(set).chain(INSTALL_ONLY.into_iter().map(clear)).collect())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use model::osimage::Osimage;

    use super::*;

    #[test]
    fn a_profile_fills_a_whole_definition_in() {
        let install = tempfile::tempdir().unwrap();
        let custom = install.path().join("custom/netboot/rh");
        fs::create_dir_all(&custom).unwrap();
        fs::write(custom.join("compute.rhels9.pkglist"), "").unwrap();
        let from = Profile { profile: "compute", provmethod: "netboot", osvers: "rhels9.4", osarch: "ppc64le" };
        let changes = fill(from, install.path()).unwrap();
        let made = Osimage::create("a".parse().unwrap(), &changes, 0).unwrap();
        let root = install.path().display();
        assert_eq!(made.get("pkglist"), Some(format!("{root}/custom/netboot/rh/compute.rhels9.pkglist").as_str()));
        assert_eq!(made.get("rootimgdir"), Some(format!("{root}/netboot/rhels9.4/ppc64le/compute").as_str()));
        assert_eq!((made.get("osdistroname"), made.get("exlist")), (Some("rhels9.4-ppc64le"), None));
    }

    #[test]
    fn what_can_not_be_filled_in_is_refused() {
        let from = Profile { profile: "compute", provmethod: "install", osvers: "windows", osarch: "x86_64" };
        assert_eq!(fill(from, Path::new("/nowhere")).unwrap_err().len(), 2);
        let found = fill(Profile { profile: "", ..from }, Path::new("/nowhere")).unwrap_err();
        assert_eq!(found[0].message, "The profile and provmethod are all need to be specified.");
    }
}
