//! What rpmbuild is told of one package, and how that reads as a spec file.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::control::Evr;

/// One package to be built.
#[derive(Debug, Clone)]
pub(super) struct Recipe {
    pub(super) name: String,
    pub(super) evr: Evr,
    /// It is the same on every architecture.
    pub(super) noarch: bool,
    pub(super) summary: String,
    /// The repository it goes to, below the install root.
    pub(super) repository: String,
    pub(super) provides: BTreeSet<String>,
    /// By what they are required for: `Requires`, `Requires(pre)`, `Requires(post)`.
    pub(super) requires: BTreeMap<&'static str, BTreeSet<String>>,
    /// By their section: `pre`, `post`, `posttrans`, `pretrans`.
    pub(super) scriptlets: BTreeMap<&'static str, String>,
    /// Lines of `%files`.
    pub(super) files: Vec<String>,
}

impl Recipe {
    /// A package that says nothing yet.
    pub(super) fn new(name: &str, evr: Evr, repository: String) -> Self {
        Self {
            name: name.to_owned(),
            evr,
            noarch: true,
            summary: format!("{name}, a fixture"),
            repository,
            provides: BTreeSet::new(),
            requires: BTreeMap::new(),
            scriptlets: BTreeMap::new(),
            files: Vec::new(),
        }
    }

    /// Its name with its version, which no other package has.
    pub(super) fn label(&self) -> String {
        format!("{}-{}-{}", self.name, self.evr.version, self.evr.release)
    }

    /// Adds something that it needs.
    pub(super) fn require(&mut self, when: &'static str, what: impl Into<String>) {
        self.requires.entry(when).or_default().insert(what.into());
    }

    /// Adds several things that it needs.
    pub(super) fn require_all(&mut self, when: &'static str, names: &[&str]) {
        names.iter().for_each(|name| self.require(when, *name));
    }

    /// Adds to one of its scriptlets.
    pub(super) fn script(&mut self, section: &'static str, text: &str) {
        let script = self.scriptlets.entry(section).or_default();
        script.push_str(text.trim());
        script.push('\n');
    }

    /// The same with these files.
    pub(super) fn with_files(mut self, files: Vec<String>) -> Self {
        self.files = files;
        self
    }

    /// The spec file. Dependencies are those given, for rpm's own generators would look for those of files.
    pub(super) fn spec(&self) -> String {
        let Evr { epoch, version, release } = &self.evr;
        let mut text = format!("Name: {}\nVersion: {version}\nRelease: {release}\n", self.name);
        let mut line = |tag: &str, value: &str| writeln!(text, "{tag}: {value}").expect("a string takes it");
        if epoch != "0" {
            line("Epoch", epoch);
        }
        if self.noarch {
            line("BuildArch", "noarch");
        }
        line("Summary", &escape(&self.summary));
        line("License", "Various");
        line("AutoReqProv", "no");
        self.provides.iter().for_each(|name| line("Provides", name));
        self.requires.iter().for_each(|(tag, names)| names.iter().for_each(|name| line(tag, name)));
        writeln!(text, "%description\nMade for tests.").expect("a string takes it");
        for (section, script) in &self.scriptlets {
            write!(text, "%{section}\n{}", escape(script)).expect("a string takes it");
        }
        writeln!(text, "%files\n{}", self.files.join("\n")).expect("a string takes it");
        text
    }
}

/// Text in which rpmbuild finds no macros.
pub(super) fn escape(text: &str) -> String {
    text.replace('%', "%%")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spec_file_says_what_the_recipe_says() {
        let mut recipe = Recipe::new("tool", Evr::from_debian("2:1.5-3", ".el9"), "fixtures".to_owned());
        recipe.summary = "100% of it".to_owned();
        recipe.provides.insert("tool-ng".to_owned());
        recipe.require("Requires", "bash");
        recipe.require("Requires(pre)", "coreutils");
        recipe.script("pre", "date +%s\n");
        recipe.script("pre", "exit 0");
        let spec = recipe.with_files(vec!["\"/usr/bin/tool\"".to_owned()]).spec();
        let expected = "Name: tool\nVersion: 1.5\nRelease: 3.el9\nEpoch: 2\nBuildArch: noarch\nSummary: 100%% of it\n\
                        License: Various\nAutoReqProv: no\nProvides: tool-ng\nRequires: bash\nRequires(pre): coreutils\n\
                        %description\nMade for tests.\n%pre\ndate +%%s\nexit 0\n%files\n\"/usr/bin/tool\"\n";
        assert_eq!(spec, expected);
    }
}
