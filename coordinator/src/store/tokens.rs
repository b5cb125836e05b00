//! Join tokens, by the sha256 of their secret: the secret itself is shown once and kept nowhere.

use model::agent::AgentRecord;
use model::name::{AgentName, UserName};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::agents::{self, put_agent};
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

pub(super) const PREFIX: &[u8] = b"token/";

fn key(secret: &str) -> Vec<u8> {
    [PREFIX, hex::encode(Sha256::digest(secret)).as_bytes()].concat()
}

impl Store {
    /// The token with this secret.
    pub fn token(&self, secret: &str) -> Result<Option<TokenRecord>, StoreError> {
        self.get(&key(secret))
    }

    /// Keeps a new token. Refused when the disk is full.
    pub async fn add_token(&self, secret: &str, token: &TokenRecord) -> Result<(), StoreError> {
        self.room_for_more().await?;
        self.commit(Vec::new(), vec![put(key(secret), token)?]).await
    }

    /// Marks the token used and takes the agent in, in one commit: of two that use one token, one gets in. A token
    /// that names no agent lets in new ones alone: who has it must not come in as somebody else.
    pub async fn redeem(&self, secret: &str, token: &TokenRecord, agent: &AgentRecord) -> Result<(), StoreError> {
        let (token_key, agent_key) = (key(secret), agents::key(&agent.name));
        let is_named = token.agent.as_ref() == Some(&agent.name);
        loop {
            let known = self.journal.get(&agent_key)?;
            let before: Option<AgentRecord> =
                known.as_ref().map(|known| record::decode(&agent_key, known)).transpose()?;
            let guards = vec![
                Guard { key: token_key.clone(), expected: Some(record::encode(&token_key, token)?) },
                Guard { key: agent_key.clone(), expected: known.filter(|_| is_named) },
            ];
            // Joining again is no way out of being drained.
            let agent = AgentRecord { drained: before.and_then(|before| before.drained), ..agent.clone() };
            let used = TokenRecord { used_by: Some(agent.name.clone()), ..token.clone() };
            match self.commit(guards, vec![put(token_key.clone(), &used)?, put_agent(&agent)?]).await {
                // The agent said hello, or was drained, at the same moment.
                Err(StoreError::Conflict { .. }) if is_named && self.token(secret)?.as_ref() == Some(token) => {}
                done => return done,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(agent: Option<&str>) -> TokenRecord {
        let agent = agent.map(|name| name.parse().unwrap());
        TokenRecord { agent, expires_ms: i64::MAX, made_by: "root".parse().unwrap(), used_by: None }
    }

    fn agent(certificate: &str) -> AgentRecord {
        AgentRecord {
            name: "n1".parse().unwrap(),
            joined_ms: 1,
            certificate_sha256: certificate.into(),
            certificate_expires_ms: 2,
            facts: None,
            last_seen_ms: 0,
            drained: None,
        }
    }

    #[tokio::test]
    async fn only_a_token_of_its_name_lets_an_agent_join_again() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _failed) = Store::open(&dir.path().join("db")).unwrap();
        for (secret, of, certificate, joins) in [
            ("a", None, "first", true),
            ("a", None, "again", false),
            ("b", None, "stranger", false),
            ("c", Some("n2"), "stranger", false),
            ("d", Some("n1"), "itself", true),
        ] {
            let token = token(of);
            if store.token(secret).unwrap().is_none() {
                store.add_token(secret, &token).await.unwrap();
            }
            let joined = store.redeem(secret, &token, &agent(certificate)).await;
            assert_eq!(joined.is_ok(), joins, "{secret}: {joined:?}");
            let now = store.agent(&agent("").name).unwrap().unwrap().certificate_sha256;
            assert_eq!(now == certificate, joins, "{secret}");
            // A token that let nobody in can be used yet.
            assert_eq!(store.token(secret).unwrap().unwrap().used_by.is_some(), joins || secret == "a", "{secret}");
        }
    }
}
