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

    /// Forgets an agent: its certificate lets nobody in any more.
    pub async fn remove_agent(&self, name: &AgentName) -> Result<(), StoreError> {
        self.commit(Vec::new(), vec![Op::Delete { key: key(name) }]).await
    }

    /// Writes an agent as it stands.
    pub async fn save_agent(&self, agent: &AgentRecord) -> Result<(), StoreError> {
        self.commit(Vec::new(), vec![put_agent(agent)?]).await
    }
}
