//! Packages to repositories, and repositories to an install medium.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::Ingredients;
use super::keys::{FIXTURE, Keys};
use super::tool::{Workshop, all, run};
use super::tree::sorted;

/// Signs every package, makes every repository's index, and writes what makes a medium of it.
pub(super) fn finish(workshop: &Workshop, ingredients: &Ingredients, keys: &Keys<'_>, install: &Path) {
    let repositories = ingredients.repositories();
    let names: BTreeSet<&String> = repositories.iter().filter_map(|repository| repository.key.as_ref()).collect();
    for name in names {
        keys.generate(name);
        let signed = repositories.iter().filter(|repository| repository.key.as_ref() == Some(name));
        let folders = signed.map(|repository| install.join(&repository.path).join("Packages"));
        let packages: Vec<PathBuf> = folders.flat_map(|folder| sorted(&folder)).collect();
        keys.sign(name, &packages);
    }
    let medium = install.join(ingredients.table.tree());
    for repository in &repositories {
        let folder = install.join(&repository.path);
        if let Some(name) = repository.key.as_ref().filter(|_| !folder.starts_with(&medium)) {
            keys.export(name, &folder);
        }
    }
    keys.export(FIXTURE, &medium);
    all(&repositories, |repository| index(workshop, ingredients, &install.join(&repository.path)));
    for (name, hidden) in [("treeinfo", ".treeinfo"), ("discinfo", ".discinfo")] {
        let text = template(ingredients, name).unwrap_or_else(|| panic!("data/medium/{name} is gone"));
        fs::write(medium.join(hidden), text).expect("the medium can be written");
    }
}

/// Makes the index of one repository, with its groups and modules if there are any for it.
fn index(workshop: &Workshop, ingredients: &Ingredients, folder: &Path) {
    let name = folder.file_name().expect("it has a name").to_string_lossy();
    let mut createrepo = workshop.command("createrepo_c");
    createrepo.args(["--quiet", "--no-database"]);
    if let Some(text) = template(ingredients, &format!("comps-{name}.xml")) {
        let comps = workshop.path(&format!("comps-{name}.xml"));
        fs::write(&comps, text).expect("the workshop can be written");
        createrepo.arg("--groupfile").arg(comps);
    }
    run(createrepo.arg(folder));
    if let Some(text) = template(ingredients, &format!("modules-{name}.yaml")) {
        let modules = workshop.path("modules.yaml");
        fs::write(&modules, text).expect("the workshop can be written");
        let mut modifyrepo = workshop.command("modifyrepo_c");
        run(modifyrepo.arg("--mdtype=modules").arg(modules).arg(folder.join("repodata")));
    }
}

/// A file of `data/medium` with the medium's own names in it.
fn template(ingredients: &Ingredients, name: &str) -> Option<String> {
    let text = fs::read_to_string(super::sources().join("data/medium").join(name)).ok()?;
    Some(ingredients.table.fill_in(&text))
}
