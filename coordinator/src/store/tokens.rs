//! Join tokens, by the sha256 of their secret: the secret itself is shown once and kept nowhere.

use model::agent::AgentRecord;
use model::name::{AgentName, UserName};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::agents::put_agent;
use super::{Guard, Store, StoreError, put, record};

/// One token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRecord {
    /// Only this agent may use it.
    pub agent: Option<AgentName>,
    /// When it ends, in milliseconds since 1970.
    pub expires_ms: i64,
    /// Who made it.
    pub made_by: UserName,
    /// Who used it.
    pub used_by: Option<AgentName>,
}

fn key(secret: &str) -> Vec<u8> {
    format!("token/{}", hex::encode(Sha256::digest(secret))).into_bytes()
}

impl Store {
    /// The token with this secret.
    pub fn token(&self, secret: &str) -> Result<Option<TokenRecord>, StoreError> {
        self.get(&key(secret))
    }

    /// Keeps a new token.
    pub async fn add_token(&self, secret: &str, token: &TokenRecord) -> Result<(), StoreError> {
        self.commit(Vec::new(), vec![put(key(secret), token)?]).await
    }

    /// Marks the token used and takes the agent in, in one commit: of two that use one token, one gets in.
    pub async fn redeem(&self, secret: &str, token: &TokenRecord, agent: &AgentRecord) -> Result<(), StoreError> {
        let key = key(secret);
        let guard = Guard { key: key.clone(), expected: Some(record::encode(&key, token)?) };
        let used = TokenRecord { used_by: Some(agent.name.clone()), ..token.clone() };
        self.commit(vec![guard], vec![put(key, &used)?, put_agent(agent)?]).await
    }
}
