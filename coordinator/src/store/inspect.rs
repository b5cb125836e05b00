//! Everything that the store holds, read leniently: for `check`, which names what can't be read instead of stopping.

use model::agent::AgentRecord;
use model::build::Build;
use model::generation::GenerationRecord;
use model::id::{BuildId, Generation};
use model::osimage::Osimage;
use serde::de::DeserializeOwned;

use super::tokens::TokenRecord;
use super::{Op, Store, StoreError, agents, builds, generations, osimages, record, tokens};
use crate::chain::chain;

/// A record that can't be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// Its key.
    pub key: String,
    /// Why.
    pub why: String,
}

/// What there is.
#[derive(Debug, Default)]
pub struct Contents {
    /// Builds, oldest first.
    pub builds: Vec<Build>,
    /// The number that the next build gets.
    pub next: u64,
    /// Generations of every rootimgdir.
    pub generations: Vec<GenerationRecord>,
    /// Definitions.
    pub osimages: Vec<Osimage>,
    /// How many agents have joined.
    pub agents: usize,
    /// What can't be read.
    pub unreadable: Vec<Unreadable>,
}

impl Store {
    /// Reads everything. Blocking.
    pub fn contents(&self) -> Result<Contents, StoreError> {
        let mut bad = Vec::new();
        let builds: Vec<Build> = self.lenient(builds::PREFIX, &mut bad)?;
        let generations: Vec<GenerationRecord> = self.lenient(generations::PREFIX, &mut bad)?;
        let osimages: Vec<Osimage> = self.lenient(osimages::PREFIX, &mut bad)?;
        let agents: Vec<AgentRecord> = self.lenient(agents::PREFIX, &mut bad)?;
        let _: Vec<TokenRecord> = self.lenient(tokens::PREFIX, &mut bad)?;
        let _: Vec<Vec<BuildId>> = self.lenient(builds::REQUEST, &mut bad)?;
        let counter: Vec<BuildId> = self.lenient(builds::COUNTER, &mut bad)?;
        let next = counter.last().map_or(1, |last| last.get() + 1);
        Ok(Contents { builds, next, generations, osimages, agents: agents.len(), unreadable: bad })
    }

    /// Forgets a generation whose folder is gone.
    pub async fn forget_generation(&self, rootimgdir: &std::path::Path, number: Generation) -> Result<(), StoreError> {
        self.commit(Vec::new(), vec![Op::Delete { key: generations::key(rootimgdir, number) }]).await
    }

    fn lenient<T: DeserializeOwned>(&self, prefix: &[u8], bad: &mut Vec<Unreadable>) -> Result<Vec<T>, StoreError> {
        let mut found = Vec::new();
        for (key, value) in self.journal.scan(prefix)? {
            match record::decode(&key, &value) {
                Ok(record) => found.push(record),
                Err(error) => bad.push(Unreadable { key: key.escape_ascii().to_string(), why: chain(&error) }),
            }
        }
        Ok(found)
    }
}
