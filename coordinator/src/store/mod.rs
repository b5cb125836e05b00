//! What the coordinator must not forget: osimages, builds, agents, tokens, generations.
//!
//! [`journal`] is the boundary to the database engine and the only file that names it; [`writer`] groups commits;
//! [`record`] says how each noun lies on disk. The other files are methods in our own words, one per noun. Logs,
//! plans and archives are files of their own.

pub mod agents;
pub mod builds;
pub mod generations;
pub mod inspect;
pub mod journal;
pub mod osimages;
mod record;
mod reserve;
pub mod tokens;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use journal::{Guard, Op};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::room::{self, Full};

/// How long somebody who wants something new is kept waiting for the store to find out whether there is room.
const LOOK_FOR_ROOM: Duration = Duration::from_secs(3);

/// Why the store can't do what is asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It can't be opened.
    #[error("cannot open the store in `{}`", path.display())]
    Open {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The engine failed in the middle.
    #[error("the store failed")]
    Engine(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Somebody else changed the record first.
    #[error("{what} was changed meanwhile; look at it again and repeat")]
    Conflict {
        /// Which record.
        what: String,
    },
    /// A record can't be read back.
    #[error("the record `{key}` can't be read; was it written by a later version?")]
    Unreadable {
        /// Its key.
        key: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A record is larger than the engine keeps safely (DEPS.md section 2).
    #[error("the record `{key}` has {bytes} bytes; at most {limit} are stored", limit = journal::MAX_VALUE)]
    TooLarge {
        /// Its key.
        key: String,
        /// Its size.
        bytes: usize,
    },
    /// Nothing new is taken on.
    #[error(transparent)]
    Full(#[from] Full),
    /// The writer is gone: an earlier sync failed, or the daemon is stopping.
    #[error("the store is closed")]
    Closed,
}

/// The store: cheap to clone, shared by all.
#[derive(Debug, Clone)]
pub struct Store {
    journal: Arc<journal::Journal>,
    writer: writer::Writer,
}

impl Store {
    /// Opens the store below `dir`, making it if there is none. The second value ends with the writer's thread:
    /// with an error when a sync failed, after which nothing more is acknowledged and the daemon must stop.
    pub fn open(dir: &Path) -> Result<(Self, tokio::sync::oneshot::Receiver<StoreError>), StoreError> {
        let journal = Arc::new(journal::Journal::open(dir)?);
        let (writer, failed) = writer::Writer::start(journal.clone());
        Ok((Self { journal, writer }, failed))
    }

    /// Writes all of `ops` or, if a guard doesn't hold, nothing; on disk when it returns.
    pub async fn commit(&self, guards: Vec<Guard>, ops: Vec<Op>) -> Result<(), StoreError> {
        self.writer.commit(guards, ops).await
    }

    /// Refuses when the disk is so full that what runs may need the rest of it. To be asked before anything new is
    /// taken on; what is under way is written all the same.
    pub async fn room_for_more(&self) -> Result<(), StoreError> {
        let full = || Full(self.journal.dir().to_owned());
        if self.journal.is_short() {
            // There may be room again: the writer looks after every commit, also after one of nothing.
            let looked = tokio::time::timeout(LOOK_FOR_ROOM, self.commit(Vec::new(), Vec::new())).await;
            looked.map_err(|_| full())??;
        }
        if self.journal.is_short() {
            return Err(full().into());
        }
        Ok(room::require(self.journal.dir(), room::FOR_NEW)?)
    }

    fn get<T: DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>, StoreError> {
        self.journal.get(key)?.map(|value| record::decode(key, &value)).transpose()
    }

    fn scan<T: DeserializeOwned>(&self, prefix: &[u8]) -> Result<Vec<T>, StoreError> {
        let pairs = self.journal.scan(prefix)?;
        pairs.iter().map(|(key, value)| record::decode(key, value)).collect()
    }
}

/// The write of one record.
fn put<T: Serialize>(key: Vec<u8>, value: &T) -> Result<Op, StoreError> {
    let value = record::encode(&key, value)?;
    Ok(Op::Put { key, value })
}
