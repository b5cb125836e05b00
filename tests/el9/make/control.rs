//! What apt knows of Debian packages: stanzas, dependencies, versions.

use super::apt::Apt;
use super::tool::run;
use std::collections::HashMap;

/// One Debian package, as apt's lists describe it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Stanza {
    pub(super) package: String,
    pub(super) version: String,
    pub(super) architecture: String,
    pub(super) summary: String,
    pub(super) provides: String,
    depends: String,
    pre_depends: String,
}

/// One of the packages that would satisfy a dependency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Alternative {
    pub(super) name: String,
    /// The version that it must have at least.
    pub(super) at_least: Option<String>,
}

/// A version as rpm has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Evr {
    pub(super) epoch: String,
    pub(super) version: String,
    pub(super) release: String,
}

/// Every package that apt would install, by name.
#[derive(Debug)]
pub(super) struct Available(HashMap<String, Stanza>);

impl Available {
    /// Asks apt, once, for all of them.
    pub(super) fn read(apt: &Apt, architecture: &str) -> Self {
        let text = run(apt.command("apt-cache").arg("dumpavail").env("LANG", "C.UTF-8"));
        let stanzas = text.split("\n\n").map(Stanza::parse);
        let ours = stanzas.filter(|stanza| [architecture, "all"].contains(&stanza.architecture.as_str()));
        Self(ours.map(|stanza| (stanza.package.clone(), stanza)).collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<&Stanza> {
        self.0.get(name)
    }

    /// The package that `newest`, one without files, stands for.
    pub(super) fn newest_kernel(&self, newest: &str) -> &str {
        let stanza = self.get(newest).unwrap_or_else(|| panic!("apt has no {newest}; run apt-get update"));
        stanza.depends.split([' ', ',']).next().filter(|name| !name.is_empty()).expect("it depends on a kernel")
    }
}

impl Stanza {
    fn parse(text: &str) -> Self {
        let mut stanza = Self::default();
        for line in text.lines() {
            let Some((name, value)) = line.split_once(": ") else { continue };
            let field = match name {
                "Package" => &mut stanza.package,
                "Version" => &mut stanza.version,
                "Architecture" => &mut stanza.architecture,
                "Description" | "Description-en" => &mut stanza.summary,
                "Provides" => &mut stanza.provides,
                "Depends" => &mut stanza.depends,
                "Pre-Depends" => &mut stanza.pre_depends,
                _ => continue,
            };
            value.clone_into(field);
        }
        stanza
    }

    /// What it depends on: for each dependency the packages that would do.
    pub(super) fn dependencies(&self) -> Vec<Vec<Alternative>> {
        let both = [&self.pre_depends, &self.depends];
        let clauses =
            both.into_iter().flat_map(|field| field.split(',')).map(str::trim).filter(|text| !text.is_empty());
        clauses.map(|clause| clause.split('|').map(Alternative::parse).collect()).collect()
    }

    /// Names that it provides.
    pub(super) fn provided(&self) -> impl Iterator<Item = &str> {
        let names = self.provides.split(',').filter_map(|text| text.split_whitespace().next());
        names.map(|name| name.split(':').next().unwrap_or(name))
    }
}

impl Alternative {
    /// Reads `name`, `name:any`, `name (>= version)`.
    fn parse(text: &str) -> Self {
        let (name, relation) = text.split_once('(').unwrap_or((text, ""));
        let name = name.trim().split(':').next().unwrap_or_default().to_owned();
        let relation = relation.trim_end().trim_end_matches(')');
        let at_least = relation.strip_prefix(">=").or(relation.strip_prefix(">>"));
        Self { name, at_least: at_least.map(|version| version.trim().to_owned()) }
    }
}

impl Evr {
    /// A Debian version, in the characters that rpm allows.
    pub(super) fn from_debian(version: &str, dist: &str) -> Self {
        let (epoch, version) = version.split_once(':').unwrap_or(("0", version));
        let (version, revision) = version.rsplit_once('-').unwrap_or((version, "1"));
        let allowed = |c: char| if c.is_alphanumeric() || "_.+~^".contains(c) { c } else { '.' };
        let revision: String = revision.chars().map(allowed).collect();
        Self { epoch: epoch.to_owned(), version: version.replace('-', "."), release: format!("{revision}{dist}") }
    }

    /// `epoch:version`, for a dependency that asks for no release.
    pub(super) fn without_release(&self) -> String {
        format!("{}:{}", self.epoch, self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stanza_is_read() {
        let text = "Package: curl\nVersion: 7.88.1-10\nArchitecture: amd64\nPre-Depends: init (>= 1:2)\n\
                    Depends: libc6 (>= 2.34), awk:any | mawk (<< 3), zlib1g (= 1)\nProvides: a, b (= 1)\nDescription: short\n long: no\n";
        let stanza = Stanza::parse(text);
        assert_eq!((stanza.package.as_str(), stanza.summary.as_str()), ("curl", "short"));
        assert_eq!(stanza.provided().collect::<Vec<_>>(), ["a", "b"]);
        let names = |clause: &Vec<Alternative>| clause.iter().map(|it| it.name.clone()).collect::<Vec<_>>().join("|");
        let clauses = stanza.dependencies();
        assert_eq!(clauses.iter().map(names).collect::<Vec<_>>(), ["init", "libc6", "awk|mawk", "zlib1g"]);
        assert_eq!(clauses[0][0].at_least.as_deref(), Some("1:2"));
        assert_eq!((&clauses[2][1].at_least, &clauses[3][0].at_least), (&None, &None));
    }

    #[test]
    fn debian_versions_become_rpm_versions() {
        let evr = |version| {
            let Evr { epoch, version, release } = Evr::from_debian(version, ".el9");
            format!("{epoch}:{version}-{release}")
        };
        assert_eq!(evr("7.88.1-10+deb12u8"), "0:7.88.1-10+deb12u8.el9");
        assert_eq!(evr("1:9.2p1-2"), "1:9.2p1-2.el9");
        assert_eq!(evr("2024a"), "0:2024a-1.el9");
        assert_eq!(evr("1.0-rc-2-3"), "0:1.0.rc.2-3.el9");
    }
}
