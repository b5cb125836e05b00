//! Which osimages a submission means: by name, by profile, by architecture. Pure over what there is.

use std::collections::BTreeMap;

use model::arch::Arch;
use model::osimage::Osimage;

/// What a submission names.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// Exact names, or profiles; none: all that nodes boot without a disk.
    pub(super) names: &'a [String],
    /// Only these architectures, and something of each; empty: any.
    pub(super) arches: &'a [Arch],
    /// Every osvers of a profile.
    pub(super) all_releases: bool,
}

/// Why nothing can be chosen.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NotChosen {
    /// No osimage's name and no profile.
    Unknown(String),
    /// What there is is not what is asked for, in words.
    Unfit(String),
}

impl<'a> Wanted<'a> {
    /// The osimages that are meant, in the order of their names.
    pub(super) fn choose(self, all: &'a [Osimage]) -> Result<Vec<&'a Osimage>, NotChosen> {
        let mut found = Vec::new();
        if self.names.is_empty() {
            let usual = all.iter().filter(|osimage| is_diskless(osimage) && !osimage.is_disabled());
            found.extend(usual.filter(|osimage| self.fits(osimage)));
        }
        for name in self.names {
            found.extend(self.named(name, all)?);
        }
        let chosen: BTreeMap<&str, &Osimage> =
            found.into_iter().map(|osimage| (osimage.name.as_str(), osimage)).collect();
        if chosen.is_empty() {
            return Err(NotChosen::Unfit("no osimage fits; `imgctl osimage list` shows what there is".to_owned()));
        }
        // Who asks for an architecture and gets nothing of it would hear of it when nodes boot.
        let lacking = |arch: &&Arch| !chosen.values().any(|osimage| arch_of(osimage) == Some(**arch));
        if let Some(arch) = self.arches.iter().find(lacking) {
            let names = chosen.keys().copied().collect::<Vec<_>>().join(", ");
            let text = format!("nothing that is named is of {arch} ({names} would be built); leave it out of --arch");
            return Err(NotChosen::Unfit(text));
        }
        Ok(chosen.into_values().collect())
    }

    /// An exact name first; else a profile, meaning its diskless osimages (DESIGN.md, Decisions). Where --arch asks for
    /// more than the osimage of that name, its namesake among the profiles is meant.
    fn named(self, name: &str, all: &'a [Osimage]) -> Result<Vec<&'a Osimage>, NotChosen> {
        let exact = all.iter().find(|osimage| osimage.name.as_str() == name);
        if let Some(exact) = exact.filter(|exact| self.arches.iter().all(|arch| arch_of(exact) == Some(*arch))) {
            return Ok(vec![exact]);
        }
        let of_profile = all.iter().filter(|osimage| osimage.get("profile") == Some(name) && is_diskless(osimage));
        let (found, others): (Vec<_>, Vec<_>) = of_profile.partition(|osimage| self.fits(osimage));
        match exact {
            _ if !found.is_empty() => self.of_one_release(name, found),
            Some(exact) if self.fits(exact) => Ok(vec![exact]),
            Some(exact) => {
                let arch = exact.get("osarch").unwrap_or("no architecture");
                Err(NotChosen::Unfit(format!("osimage `{name}` is of {arch}, which --arch leaves out")))
            }
            None if others.is_empty() => Err(NotChosen::Unknown(name.to_owned())),
            None => {
                let there = |osimage: &&Osimage| format!("{} ({})", osimage.name, osimage.get("osarch").unwrap_or("?"));
                let there = others.iter().map(there).collect::<Vec<_>>().join(", ");
                let text = format!("profile `{name}` has {there}, which --arch leaves out");
                Err(NotChosen::Unfit(text))
            }
        }
    }

    fn of_one_release(self, name: &str, found: Vec<&'a Osimage>) -> Result<Vec<&'a Osimage>, NotChosen> {
        let mut releases: Vec<&str> = found.iter().filter_map(|osimage| osimage.get("osvers")).collect();
        releases.sort_unstable();
        releases.dedup();
        if releases.len() > 1 && !self.all_releases {
            let names: Vec<&str> = found.iter().map(|osimage| osimage.name.as_str()).collect();
            let text = format!("profile `{name}` has several osvers: {}; name one, or give --all", names.join(", "));
            return Err(NotChosen::Unfit(text));
        }
        Ok(found)
    }

    fn fits(self, osimage: &Osimage) -> bool {
        self.arches.is_empty() || arch_of(osimage).is_some_and(|arch| self.arches.contains(&arch))
    }
}

fn is_diskless(osimage: &Osimage) -> bool {
    matches!(osimage.get("provmethod"), Some("netboot" | "statelite"))
}

/// The architecture of its images.
pub(super) fn arch_of(osimage: &Osimage) -> Option<Arch> {
    osimage.get("osarch")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn osimage(name: &str, profile: &str, arch: &str, osvers: &str) -> Osimage {
        let attributes = [("provmethod", "netboot"), ("profile", profile), ("osarch", arch), ("osvers", osvers)];
        let attributes = attributes.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        Osimage { name: name.parse().unwrap(), revision: 1, attributes, created_ms: 0, modified_ms: 0 }
    }

    fn site() -> Vec<Osimage> {
        vec![
            osimage("compute", "compute", "x86_64", "rhels9.9"),
            osimage("compute-p", "compute", "ppc64el", "rhels9.9"),
            osimage("login", "login", "x86_64", "rhels9.9"),
            osimage("s-old", "service", "x86_64", "rhels8.10"),
            osimage("s-new", "service", "x86_64", "rhels9.9"),
        ]
    }

    fn chosen(names: &[&str], arches: &[Arch]) -> Result<Vec<String>, NotChosen> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let all = site();
        let chosen = Wanted { names: &names, arches, all_releases: false }.choose(&all);
        chosen.map(|chosen| chosen.iter().map(|osimage| osimage.name.to_string()).collect())
    }

    #[test]
    fn a_name_that_is_also_a_profile_means_what_arch_asks_for() {
        let both = [Arch::X86_64, Arch::Ppc64le];
        for (arches, expected) in [
            (&[][..], &["compute"][..]),
            (&[Arch::X86_64], &["compute"]),
            (&[Arch::Ppc64le], &["compute-p"]),
            (&both, &["compute", "compute-p"]),
        ] {
            assert_eq!(chosen(&["compute"], arches).unwrap(), expected, "{arches:?}");
        }
        assert_eq!(chosen(&["compute", "login"], &both).unwrap(), ["compute", "compute-p", "login"]);
        assert_eq!(chosen(&[], &both).unwrap().len(), 5);
    }

    #[test]
    fn an_architecture_of_which_there_is_nothing_is_said() {
        let said = |names: &[&str], arches: &[Arch]| match chosen(names, arches) {
            Err(NotChosen::Unfit(text)) => text,
            other => panic!("{other:?}"),
        };
        let both = [Arch::X86_64, Arch::Ppc64le];
        let expected = "nothing that is named is of ppc64le (login would be built); leave it out of --arch";
        assert_eq!(said(&["login"], &both), expected);
        assert_eq!(said(&["login"], &both[1..]), "osimage `login` is of x86_64, which --arch leaves out");
        let expected = "profile `service` has s-old (x86_64), s-new (x86_64), which --arch leaves out";
        assert_eq!(said(&["service"], &both[1..]), expected);
        assert!(said(&["service"], &[]).contains("has several osvers: s-old, s-new; name one"));
        assert_eq!(chosen(&["nope"], &both), Err(NotChosen::Unknown("nope".to_owned())));
    }
}
