//! Agents that have joined, by name.

use model::agent::AgentRecord;
use model::name::AgentName;

use super::{Guard, Op, Store, StoreError, put};

pub(super) const PREFIX: &[u8] = b"agent/";

fn key(name: &AgentName) -> Vec<u8> {
    [PREFIX, name.as_str().as_bytes()].concat()
}

/// The write of an agent's record, to be joined with others in one commit.
pub(super) fn put_agent(agent: &AgentRecord) -> Result<Op, StoreError> {
    put(key(&agent.name), agent)
}

/// That no agent of this name has joined.
pub(super) fn absent(name: &AgentName) -> Guard {
    Guard { key: key(name), expected: None }
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

    /// Forgets an agent: its certificate lets nobody in any more.
    pub async fn remove_agent(&self, name: &AgentName) -> Result<(), StoreError> {
        self.commit(Vec::new(), vec![Op::Delete { key: key(name) }]).await
    }

    /// Writes an agent as it stands.
    pub async fn save_agent(&self, agent: &AgentRecord) -> Result<(), StoreError> {
        self.commit(Vec::new(), vec![put_agent(agent)?]).await
    }
}
