//! What a fresh process finds wrong in the store after a kill.

use std::collections::BTreeMap;
use std::path::Path;

use coordinator::store::Store;
use model::build::Build;
use model::generation::GenerationRecord;
use model::id::{BuildId, Generation};

use crate::records::{self, Expected, KEPT, ROOTIMGDIR};

/// Every acknowledged record that isn't there, every torn one, every commit of which a part is there, every hole.
pub(crate) fn problems(folder: &Path, expected: &Expected) -> Vec<String> {
    let opened = Store::open(&records::store(folder));
    let (store, _failed) = match opened {
        Ok(opened) => opened,
        Err(error) => return vec![format!("it doesn't open: {error}: {:?}", std::error::Error::source(&error))],
    };
    let mut found = Vec::new();
    let builds: BTreeMap<u64, Build> =
        store.newest_builds(usize::MAX, |_| true).unwrap().into_iter().map(|build| (build.id.get(), build)).collect();
    check_builds(&store, &builds, expected, &mut found);
    let generations = store.generations(Path::new(ROOTIMGDIR)).unwrap();
    check_generations(&builds, &generations, expected, &mut found);
    check_tokens(&store, expected, &mut found);
    found
}

fn check_builds(store: &Store, builds: &BTreeMap<u64, Build>, expected: &Expected, found: &mut Vec<String>) {
    let counted = store.next_build_id().unwrap().get() - 1;
    if builds.len() as u64 != counted || builds.keys().next_back().is_some_and(|last| *last != counted) {
        found.push(format!("a hole: the counter is at {counted}, there are {} builds", builds.len()));
    }
    if let Some(beyond) = BuildId::new(counted + 1).and_then(|id| store.build(id).unwrap()) {
        found.push(format!("build {} without the counter of its commit", beyond.id));
    }
    for (id, version) in &expected.builds {
        match builds.get(id) {
            None => found.push(format!("build {id} was acknowledged and is not there")),
            Some(build) if build.priority < *version => {
                found.push(format!("build {id} is at {}, {version} was acknowledged", build.priority));
            }
            Some(_) => {}
        }
    }
    for build in builds.values() {
        if *build != (Build { generation: build.generation, ..records::build(build.id, build.priority) }) {
            found.push(format!("build {} is torn: {build:?}", build.id));
        }
    }
    check_requests(store, counted, found);
}

/// Builds of one commit are named by its request.
fn check_requests(store: &Store, counted: u64, found: &mut Vec<String>) {
    let mut first = 1;
    while first <= counted {
        let Some(ids) = store.builds_of_request(&format!("request-{first}")).unwrap() else {
            found.push(format!("build {first} without the request of its commit"));
            return;
        };
        first += ids.len() as u64;
    }
    if first != counted + 1 {
        found.push(format!("a request names builds up to {}, the counter is at {counted}", first - 1));
    }
}

fn check_generations(
    builds: &BTreeMap<u64, Build>,
    generations: &[GenerationRecord],
    expected: &Expected,
    found: &mut Vec<String>,
) {
    let newest = generations.last().map_or(0, |newest| newest.number.get());
    if newest < expected.generation {
        found.push(format!("generation {} was acknowledged, the newest is {newest}", expected.generation));
    }
    let there: Vec<u32> = generations.iter().map(|record| record.number.get()).collect();
    let wanted: Vec<u32> = (newest.saturating_sub(KEPT - 1).max(1)..=newest).collect();
    if there != wanted {
        found.push(format!("generations {there:?} are there, not {wanted:?}"));
    }
    for record in generations {
        if *record != records::generation(record.number, record.build) {
            found.push(format!("generation {} is torn: {record:?}", record.number));
        }
        // A build may have made a newer one since.
        let made = builds.get(&record.build.get()).and_then(|build| build.generation);
        if made.is_none_or(|made| made < record.number) {
            found.push(format!("generation {} without the build of its commit", record.number));
        }
    }
    for build in builds.values() {
        let Some(made) = build.generation.map(Generation::get) else { continue };
        if made > newest || wanted.contains(&made) && !there.contains(&made) {
            found.push(format!("build {} without the generation {made} of its commit", build.id));
        }
    }
}

fn check_tokens(store: &Store, expected: &Expected, found: &mut Vec<String>) {
    let mut joined = BTreeMap::new();
    let mut number = 1;
    while let Some(token) = store.token(&records::joining(number).0).unwrap() {
        match token.used_by {
            Some(agent) => drop(joined.insert(agent, number)),
            None if number <= expected.token => found.push(format!("token {number} is not used")),
            None => {}
        }
        number += 1;
    }
    if number <= expected.token {
        found.push(format!("token {} was acknowledged, {number} is not there", expected.token));
    }
    for agent in store.agents().unwrap() {
        if joined.remove(&agent.name).map(|number| number.to_string()) != Some(agent.certificate_sha256.clone()) {
            found.push(format!("agent {} doesn't agree with the token of its commit: {agent:?}", agent.name));
        }
    }
    found.extend(joined.keys().map(|agent| format!("a token was used by {agent}, who is not there")));
}
