//! Agents that have joined, by name.

use model::agent::AgentRecord;
use model::name::AgentName;

use super::{Guard, Op, Store, StoreError, put, record};

pub(super) const PREFIX: &[u8] = b"agent/";

/// Where an agent's record lies.
pub(super) fn key(name: &AgentName) -> Vec<u8> {
    [PREFIX, name.as_str().as_bytes()].concat()
}

/// The write of an agent's record, to be joined with others in one commit.
pub(super) fn put_agent(agent: &AgentRecord) -> Result<Op, StoreError> {
    put(key(&agent.name), agent)
}

impl Store {
    /// The agent of this name.
    pub fn agent(&self, name: &AgentName) -> Result<Option<AgentRecord>, StoreError> {
        self.get(&key(name))
    }

    /// All agents, by name.
    pub fn agents(&self) -> Result<Vec<AgentRecord>, StoreError> {
        self.scan(PREFIX)
    }

    /// Changes an agent's record as it stands, whoever else changes it at the moment; `None`: there is none.
    pub async fn change_agent(
        &self,
        name: &AgentName,
        change: impl Fn(AgentRecord) -> AgentRecord,
    ) -> Result<Option<AgentRecord>, StoreError> {
        let key = key(name);
        loop {
            let Some(read) = self.journal.get(&key)? else { return Ok(None) };
            let changed = change(record::decode(&key, &read)?);
            let guard = Guard { key: key.clone(), expected: Some(read) };
            match self.commit(vec![guard], vec![put_agent(&changed)?]).await {
                // Somebody was faster, so it has come further.
                Err(StoreError::Conflict { .. }) => {}
                done => return done.map(|()| Some(changed)),
            }
        }
    }

    /// Notes in one write when agents were last heard of. Gives those that are noted: nobody while the disk is nearly
    /// full or somebody changes one of the records at the moment, and not those that are gone.
    pub async fn note_seen(&self, seen: &[(AgentName, i64)]) -> Result<Vec<AgentName>, StoreError> {
        if self.journal.is_short() {
            return Ok(Vec::new());
        }
        let (mut guards, mut ops, mut noted) = (Vec::new(), Vec::new(), Vec::new());
        for (name, last_seen_ms) in seen {
            let key = key(name);
            let Some(read) = self.journal.get(&key)? else { continue };
            let record: AgentRecord = record::decode(&key, &read)?;
            ops.push(put_agent(&AgentRecord { last_seen_ms: *last_seen_ms, ..record })?);
            guards.push(Guard { key, expected: Some(read) });
            noted.push(name.clone());
        }
        match self.commit(guards, ops).await {
            Ok(()) => Ok(noted),
            Err(StoreError::Conflict { .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Forgets an agent: its certificate lets nobody in any more.
    pub async fn remove_agent(&self, name: &AgentName) -> Result<(), StoreError> {
        self.commit(Vec::new(), vec![Op::Delete { key: key(name) }]).await
    }

    /// Writes an agent as it stands.
    pub async fn save_agent(&self, agent: &AgentRecord) -> Result<(), StoreError> {
        self.commit(Vec::new(), vec![put_agent(agent)?]).await
    }
}
