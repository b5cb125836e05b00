//! How the medium is made: tables and apt's lists to Debian packages, to build roots, to rpms, to signed repositories.

mod apt;
mod closure;
mod control;
mod download;
mod extras;
mod files;
mod index;
mod kernels;
mod keys;
mod modules;
mod recipe;
mod repository;
mod rpmbuild;
mod table;
mod tool;
mod translate;
pub(super) mod tree;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use apt::Apt;
use control::{Available, Stanza};
use extras::Extras;
use files::Owners;
pub(super) use index::{INDEX, Index, Line};
use recipe::Recipe;
use table::Table;
use tool::Workshop;

/// All that a medium is made of.
#[derive(Debug)]
pub(super) struct Ingredients {
    table: Table,
    extras: Extras,
    /// Every Debian package, by name.
    debs: BTreeMap<String, Stanza>,
    apt: Apt,
}

impl Ingredients {
    /// For which architecture, as the medium calls it.
    pub(super) fn arch(&self) -> &str {
        &self.table.arch
    }

    /// The same in Debian's words.
    pub(super) fn debian(&self) -> &str {
        &self.table.platform.debian
    }

    /// `name=version` of every Debian package.
    pub(super) fn versions(&self) -> impl Iterator<Item = String> + '_ {
        self.debs.values().map(|stanza| format!("{}={}", stanza.package, stanza.version))
    }
}

/// The folder of these sources and their data.
pub(super) fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("el9")
}

/// Reads the tables and finds out which Debian packages they come to; `folder` keeps apt's lists of other architectures.
pub(super) fn ingredients(arch: &str, folder: &Path) -> Ingredients {
    let data = sources().join("data");
    let raw = Table::read(&data, arch);
    let apt = Apt::of(&raw.platform, folder);
    let available = Available::read(&apt, &raw.platform.debian);
    let kernel = available.newest_kernel(&raw.platform.kernel);
    let table = raw.clone().with_kernel(kernel);
    let debs = closure::closure(&table, &available);
    let extras = Extras::read(&data, &table);
    Ingredients { table, extras, debs, apt }
}

/// Makes the medium at `place`, which is not there yet; `work` is for what is needed meanwhile, `debs` keeps downloads.
pub(super) fn make(ingredients: &Ingredients, place: &Path, work: &Path, debs: &Path) {
    let workshop = Workshop::open(work);
    download::download(&workshop, &ingredients.apt, &ingredients.debs, debs);
    let install = place.join("install");
    for repository in ingredients.repositories() {
        fs::create_dir_all(install.join(&repository.path).join("Packages")).expect("a folder can be made");
    }
    let build = |recipe: &Recipe| {
        let packages = install.join(&recipe.repository).join("Packages");
        rpmbuild::build(&workshop, recipe, &ingredients.table.arch, &packages);
    };
    ingredients.build_distribution(&workshop, debs, &build);
    ingredients.build_extras(&workshop, &build);
    repository::finish(&workshop, ingredients, &keys::Keys::make(&workshop), &install);
    tree::overlay(&sources().join("data/kit"), &install);
    index::write(&workshop, ingredients, &install, &place.join(INDEX));
}

impl Ingredients {
    /// The repositories of the medium itself and those beside it.
    fn repositories(&self) -> Vec<extras::Repository> {
        let medium = ["BaseOS", "AppStream"].map(|name| extras::Repository {
            path: format!("{}/{name}", self.table.tree()),
            key: Some(keys::FIXTURE.to_owned()),
        });
        medium.into_iter().chain(self.extras.repository.iter().cloned()).collect()
    }

    /// Every package of the table and of the closure.
    fn build_distribution(&self, workshop: &Workshop, debs: &Path, build: &(impl Fn(&Recipe) + Sync)) {
        let members = translate::members(&self.table, &self.debs);
        let mut names: Vec<&String> = members.keys().collect();
        // It takes longer than any other: first, so that nobody waits for it.
        names.sort_by_key(|name| *name != "kernel-core");
        let owners = Owners::read();
        tool::all(&names, |name| {
            let entry = self.table.entry(name);
            let parts = members[*name].iter().chain(&entry.shares);
            let parts: Vec<PathBuf> = parts.map(|deb| download::path(debs, &self.debs[deb])).collect();
            let recipe = translate::recipe(&self.table, &self.debs, name, &members[*name]);
            let root = workshop.build_root(&recipe);
            tree::fill(&root, name, &entry, &parts);
            if *name == "kernel-core" && !self.table.platform.modules.is_empty() {
                modules::keep(workshop, &root, self.table.kernel_release(), &self.table.platform.modules);
            }
            build(&recipe.with_files(files::list(&root, &owners, &entry)));
        });
    }

    /// The small packages and the relabelled kernels.
    fn build_extras(&self, workshop: &Workshop, build: &(impl Fn(&Recipe) + Sync)) {
        let kernel =
            translate::recipe(&self.table, &self.debs, "kernel-core", std::slice::from_ref(&self.table.kernel));
        let mut recipes = self.extras.recipes(workshop);
        recipes.extend(kernels::recipes(workshop, &self.extras, &self.table, &workshop.build_root(&kernel)));
        tool::all(&recipes, build);
    }
}
