//! Which Debian packages are needed: those of the table and all that they depend on.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::control::{Alternative, Available, Stanza};
use super::table::Table;

/// Every Debian package that is needed, by name. A dependency for which one that is there anyway would do adds nothing.
pub(super) fn closure(table: &Table, available: &Available) -> BTreeMap<String, Stanza> {
    let listed = table.entries().values().flat_map(|entry| entry.debs.iter());
    let own = table.appstream().iter().filter(|name| !table.entries().contains_key(*name));
    let seeds: BTreeSet<String> = listed.chain(own).cloned().collect();
    let mut found = BTreeMap::new();
    let mut waiting: VecDeque<String> = seeds.iter().cloned().collect();
    while let Some(name) = waiting.pop_front() {
        if found.contains_key(&name) {
            continue;
        }
        let stanza = available.get(&name).unwrap_or_else(|| panic!("apt has no package {name}; run apt-get update"));
        let without = table.entries().get(table.package_of(&name)).map_or(&[][..], |entry| &entry.without);
        found.insert(name, stanza.clone());
        for clause in stanza.dependencies() {
            let clause: Vec<String> = clause.iter().map(|it| stands_for(table, it).to_owned()).collect();
            let there = |name: &String| {
                let never = table.debian().never.contains(name) || without.contains(name);
                never || found.contains_key(name) || seeds.contains(name) || waiting.contains(name)
            };
            if !clause.iter().any(there) {
                waiting.extend(clause.into_iter().next());
            }
        }
    }
    found
}

/// The name of the package that is meant, which for a virtual one the table knows.
pub(super) fn stands_for<'a>(table: &'a Table, alternative: &'a Alternative) -> &'a str {
    table.debian().instead.get(&alternative.name).unwrap_or(&alternative.name)
}
