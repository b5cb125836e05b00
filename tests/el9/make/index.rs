//! The index of a medium: every package on it, as rpm itself reads them.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Ingredients;
use super::tool::{Workshop, run};
use super::tree::walk;

/// Its file, beside the install root.
pub(in super::super) const INDEX: &str = "index.json";

/// What the medium says of itself.
#[derive(Debug, Serialize, Deserialize)]
pub(in super::super) struct Index {
    /// The name that osimages give the distribution, `rhels9.9`.
    pub(in super::super) osver: String,
    pub(in super::super) arch: String,
    pub(in super::super) packages: Vec<Line>,
}

/// One package.
#[derive(Debug, Serialize, Deserialize)]
pub(in super::super) struct Line {
    /// Below the install root.
    pub(in super::super) path: PathBuf,
    pub(in super::super) name: String,
    pub(in super::super) epoch: String,
    pub(in super::super) version: String,
    pub(in super::super) release: String,
    pub(in super::super) arch: String,
    /// The release of the kernel in it.
    pub(in super::super) kernel: Option<String>,
}

/// Asks rpm for every package and writes what it says.
pub(super) fn write(workshop: &Workshop, ingredients: &Ingredients, install: &Path, index: &Path) {
    let rpms: Vec<PathBuf> =
        walk(install).into_iter().filter(|path| path.extension().is_some_and(|it| it == "rpm")).collect();
    let format = "%{NAME}\\t%{EPOCHNUM}\\t%{VERSION}\\t%{RELEASE}\\t%{ARCH}\\n";
    let mut rpm = workshop.command("rpm");
    let said = run(rpm.args(["-qp", "--nosignature", "--queryformat", format]).args(&rpms));
    assert_eq!(said.lines().count(), rpms.len(), "rpm does not know every package");
    let packages = rpms.iter().zip(said.lines()).map(|(path, line)| {
        let fields: Vec<&str> = line.split('\t').collect();
        let [name, epoch, version, release, arch] = fields[..] else {
            panic!("rpm says of {}: {line}", path.display())
        };
        let kernel = (name == "kernel-core").then(|| kernel(workshop, path));
        let [name, epoch, version, release, arch] = [name, epoch, version, release, arch].map(str::to_owned);
        let path = path.strip_prefix(install).expect("it lies below").to_owned();
        Line { path, name, epoch, version, release, arch, kernel }
    });
    let table = &ingredients.table;
    let content =
        Index { osver: table.distribution().osver.clone(), arch: table.arch.clone(), packages: packages.collect() };
    fs::write(index, serde_json::to_vec_pretty(&content).expect("it is plain data")).expect("the cache can be written");
}

/// The release of the kernel in a package.
fn kernel(workshop: &Workshop, path: &Path) -> String {
    let files = run(workshop.command("rpm").args(["-qpl", "--nosignature"]).arg(path));
    let release = files.lines().find_map(|file| file.strip_prefix("/boot/vmlinuz-"));
    release.unwrap_or_else(|| panic!("{} has no kernel", path.display())).to_owned()
}
