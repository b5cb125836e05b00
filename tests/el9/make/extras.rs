//! The table of small packages and of repositories beside the medium, `data/extras.toml`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;

use super::control::Evr;
use super::recipe::Recipe;
use super::table::{Table, parse};
use super::tool::Workshop;
use super::tree;

/// What is there beside the distribution.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Extras {
    pub(super) repository: Vec<Repository>,
    package: Vec<Small>,
    pub(super) kernel: Vec<Kernel>,
    pub(super) kernel_files: KernelFiles,
}

/// A folder of packages with its index.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Repository {
    /// Below the install root.
    pub(super) path: String,
    /// The file name of the key that signs its packages, if they are signed.
    pub(super) key: Option<String>,
}

/// A kernel that is never booted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kernel {
    pub(super) version: String,
    pub(super) release: String,
}

/// What those kernels have.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KernelFiles {
    pub(super) repository: String,
    /// Modules in kernel-core.
    pub(super) core: Vec<String>,
    /// Modules in kernel-modules.
    pub(super) modules: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Small {
    name: String,
    #[serde(default = "Small::first")]
    version: String,
    #[serde(default = "Small::release")]
    release: String,
    repository: String,
    #[serde(default)]
    requires: Vec<String>,
    pretrans: Option<String>,
    pre: Option<String>,
    post: Option<String>,
    #[serde(default)]
    files: BTreeMap<String, Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    text: String,
    mode: Option<String>,
    group: Option<String>,
    /// Capabilities, as setcap reads them.
    caps: Option<String>,
}

impl Extras {
    /// Reads the table.
    pub(super) fn read(data: &Path, table: &Table) -> Self {
        let path = data.join("extras.toml");
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
        parse("extras.toml", &table.fill_in(&text))
    }

    /// Lays out every small package and says how it is built.
    pub(super) fn recipes(&self, workshop: &Workshop) -> Vec<Recipe> {
        self.package.iter().map(|small| small.recipe(workshop)).collect()
    }
}

impl Small {
    fn first() -> String {
        "1.0".to_owned()
    }

    fn release() -> String {
        "1.el9".to_owned()
    }

    fn recipe(&self, workshop: &Workshop) -> Recipe {
        let evr = Evr { epoch: "0".to_owned(), version: self.version.clone(), release: self.release.clone() };
        let mut recipe = Recipe::new(&self.name, evr, self.repository.clone());
        self.requires.iter().for_each(|name| recipe.require("Requires", name));
        for (section, script) in [("pretrans", &self.pretrans), ("pre", &self.pre), ("post", &self.post)] {
            if let Some(script) = script {
                recipe.script(section, script);
                recipe.require_all("Requires", &["bash", "coreutils"]);
            }
        }
        let root = workshop.build_root(&recipe);
        let files = self.files.iter().map(|(path, file)| {
            let mode = file.mode.as_deref().unwrap_or("0644");
            let octal = u32::from_str_radix(mode, 8).expect("modes are octal");
            tree::write(&tree::below(&root, path), file.text.as_bytes(), octal);
            let caps = file.caps.as_ref().map_or_else(String::new, |caps| format!("%caps({caps}) "));
            let config = if path.starts_with("/etc/") { "%config(noreplace) " } else { "" };
            format!("%attr({mode},root,{}) {caps}{config}{path}", file.group.as_deref().unwrap_or("root"))
        });
        let files = files.collect();
        recipe.with_files(files)
    }
}
