//! How records lie on disk: JSON in an envelope that names the format's version.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::StoreError;
use super::journal::MAX_VALUE;

/// The version of every record that this code writes. A change of a noun that older code couldn't read raises it
/// and brings an upgrade of the older form.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Envelope<T> {
    v: u32,
    r: T,
}

pub(super) fn encode<T: Serialize>(key: &[u8], record: &T) -> Result<Vec<u8>, StoreError> {
    let unreadable = |source| StoreError::Unreadable { key: printable(key), source };
    let bytes = serde_json::to_vec(&Envelope { v: VERSION, r: record }).map_err(unreadable)?;
    if bytes.len() > MAX_VALUE {
        return Err(StoreError::TooLarge { key: printable(key), bytes: bytes.len() });
    }
    Ok(bytes)
}

pub(super) fn decode<T: DeserializeOwned>(key: &[u8], bytes: &[u8]) -> Result<T, StoreError> {
    let parsed: Result<Envelope<T>, _> = serde_json::from_slice(bytes);
    parsed.map(|envelope| envelope.r).map_err(|source| StoreError::Unreadable { key: printable(key), source })
}

fn printable(key: &[u8]) -> String {
    key.escape_ascii().to_string()
}
