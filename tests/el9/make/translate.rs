//! From Debian packages to what an rpm says of itself: name, version, what it provides, requires and runs.

use std::collections::{BTreeMap, BTreeSet};

use super::closure::stands_for;
use super::control::{Alternative, Evr, Stanza};
use super::recipe::Recipe;
use super::table::{Entry, Table};

/// Every package and the Debian packages that are part of it.
pub(super) fn members(table: &Table, debs: &BTreeMap<String, Stanza>) -> BTreeMap<String, Vec<String>> {
    let mut members: BTreeMap<String, Vec<String>> =
        table.entries().iter().map(|(name, entry)| (name.clone(), entry.debs.clone())).collect();
    for deb in debs.keys() {
        let name = table.package_of(deb);
        if name == deb && !table.entries().contains_key(name) {
            members.insert(name.to_owned(), vec![deb.clone()]);
        }
    }
    members
}

/// What the package `name` says of itself, without its files.
pub(super) fn recipe(table: &Table, debs: &BTreeMap<String, Stanza>, name: &str, members: &[String]) -> Recipe {
    let entry = &table.entry(name);
    let distribution = table.distribution();
    let main = members.first().or(entry.shares.as_ref()).or(entry.version_of.as_ref()).map(|deb| &debs[deb]);
    let version = main.map_or(distribution.version.as_str(), |stanza| &stanza.version);
    let repository = if table.appstream().iter().any(|it| it == name) { "AppStream" } else { "BaseOS" };
    let evr = Evr::from_debian(version, &distribution.dist);
    let mut recipe = Recipe::new(name, evr, format!("{}/{repository}", table.tree()));
    if let Some(stanza) = main {
        recipe.noarch = stanza.architecture == "all";
        stanza.summary.clone_into(&mut recipe.summary);
    }
    recipe.provides.extend(provides(entry, name, members.iter().map(|deb| &debs[deb]), &distribution.dist));
    for deb in members {
        for clause in debs[deb].dependencies() {
            if let Some(package) = requirement(table, debs, name, &clause) {
                recipe.require("Requires", package);
            }
        }
    }
    if !["setup", "filesystem"].contains(&name) {
        recipe.require("Requires", "filesystem");
    }
    entry.requires.iter().for_each(|package| recipe.require("Requires", package));
    scriptlets(&mut recipe, entry);
    recipe
}

/// What the table says, the names of the Debian packages in it, and what those provide.
fn provides<'a>(entry: &Entry, name: &str, members: impl Iterator<Item = &'a Stanza>, dist: &str) -> BTreeSet<String> {
    let mut provides: BTreeSet<String> = entry.provides.iter().cloned().collect();
    for stanza in members {
        if stanza.package != name {
            let evr = Evr::from_debian(&stanza.version, dist);
            provides.insert(format!("{} = {}-{}", stanza.package, evr.without_release(), evr.release));
        }
        provides.extend(stanza.provided().map(str::to_owned));
    }
    provides
}

/// What a Debian dependency comes to: the first of its packages that the distribution has, unless that is part of `name`.
fn requirement(table: &Table, debs: &BTreeMap<String, Stanza>, name: &str, clause: &[Alternative]) -> Option<String> {
    let (deb, at_least) = clause.iter().find_map(|alternative| {
        let deb = stands_for(table, alternative);
        debs.contains_key(deb).then_some((deb, &alternative.at_least))
    })?;
    let package = table.package_of(deb);
    match at_least {
        _ if package == name => None,
        Some(version) if package == deb => {
            Some(format!("{package} >= {}", Evr::from_debian(version, "").without_release()))
        }
        // A package of several has the version of one of them only.
        _ => Some(package.to_owned()),
    }
}

/// Debian's maintainer scripts are not run: these do the little of their work that is needed.
fn scriptlets(recipe: &mut Recipe, entry: &Entry) {
    for user in &entry.users {
        let (name, id, home, comment) = (&user.name, user.id, &user.home, &user.comment);
        recipe.script("pre", &format!("getent group {name} >/dev/null || groupadd -r -g {id} {name}"));
        let useradd = format!("useradd -r -u {id} -g {name} -d {home} -s /sbin/nologin -c '{comment}' {name}");
        recipe.script("pre", &format!("getent passwd {name} >/dev/null || {useradd}"));
        recipe.require_all("Requires(pre)", &["shadow-utils", "glibc-common", "coreutils"]);
    }
    if let Some(post) = &entry.post {
        recipe.script("post", post);
    }
    if !entry.presets.is_empty() {
        recipe
            .script("post", &format!("systemctl --no-reload preset {} >/dev/null 2>&1 || :", entry.presets.join(" ")));
        recipe.require("Requires(post)", "systemd");
    }
    if recipe.scriptlets.contains_key("post") {
        recipe.require_all("Requires(post)", &["coreutils", "bash"]);
    }
    if let Some(script) = &entry.posttrans {
        recipe.script("posttrans", script);
    }
}
