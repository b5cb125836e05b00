//! What `@name` in a list stands for: a module stream, an environment or a group (XCAT.md 3.2).

use std::collections::{BTreeSet, HashSet};

use super::shelf::{Meaning, Shelf, glob};
use super::stock::{Group, Modules, Stream};

impl<'a> Shelf<'a> {
    /// A module stream, an environment or a group; `^` says that it is an environment.
    pub(super) fn group(&self, name: &str) -> Meaning {
        let group = name.trim_start_matches('^');
        let (front, _) = group.split_once('/').unwrap_or((group, ""));
        let mut parts = front.split(':');
        let (module, stream) = (parts.next().unwrap_or_default(), parts.next());
        let streams: Vec<&Stream> = self.streams().filter(|one| glob(module, &one.module)).collect();
        let unknown = self.stocks.iter().any(|stock| stock.modules == Modules::Unknown);
        if let Some(stream) = stream.filter(|_| !streams.is_empty()) {
            let chosen: Vec<&&Stream> = streams.iter().filter(|one| glob(stream, &one.stream)).collect();
            if chosen.is_empty() && !unknown {
                let there: BTreeSet<String> = streams.iter().map(|one| one.stream.clone()).collect();
                return Meaning::OtherStreams { module: module.to_owned(), there: there.into_iter().collect() };
            }
            return self.of_words(chosen.into_iter().flat_map(|one| &one.words));
        }
        // A module and a group may share a name; dnf takes the group where the module has no default.
        let groups: Vec<&Group> = self.groups().filter(|one| is_called(one, group)).collect();
        if streams.is_empty() && groups.is_empty() {
            return if unknown { Meaning::Taken } else { Meaning::Nothing };
        }
        let inner: HashSet<&str> = groups.iter().flat_map(|one| &one.groups).map(String::as_str).collect();
        let inner = self.groups().filter(|other| inner.contains(other.id.as_str()));
        let of_groups = groups.into_iter().chain(inner).flat_map(|one| &one.packages);
        self.of_words(streams.into_iter().flat_map(|one| &one.words).chain(of_groups))
    }

    /// The packages that a group or a stream lists; one that there isn't is left out, as dnf does.
    fn of_words<'b>(&self, words: impl IntoIterator<Item = &'b String>) -> Meaning {
        // A package is taken once, however often it is listed.
        let (mut places, mut taken) = (Vec::new(), HashSet::new());
        for word in words {
            // `name-epoch:version-release.arch`: the name decides.
            let name = match word.split_once(':') {
                Some((front, _)) => front.rsplit_once('-').map_or(word.as_str(), |(name, _)| name),
                None => word,
            };
            if taken.insert(name) {
                places.extend(self.named(name));
            }
        }
        if places.is_empty() { Meaning::Taken } else { Meaning::Packages(places) }
    }

    fn groups(&self) -> impl Iterator<Item = &'a Group> {
        self.stocks.iter().flat_map(|stock| &stock.groups)
    }

    fn streams(&self) -> impl Iterator<Item = &'a Stream> {
        self.stocks.iter().flat_map(|stock| match &stock.modules {
            Modules::Known(streams) => streams.as_slice(),
            Modules::Unknown => &[],
        })
    }

    /// The ids of groups and environments, and the names of modules.
    pub(crate) fn group_names(&self) -> impl Iterator<Item = &'a str> {
        self.groups().map(|one| one.id.as_str()).chain(self.streams().map(|one| one.module.as_str()))
    }
}

/// dnf doesn't mind capitals in names of groups.
fn is_called(group: &Group, name: &str) -> bool {
    let name = name.to_lowercase();
    [&group.id].into_iter().chain(&group.names).any(|own| glob(&name, &own.to_lowercase()))
}
