//! How the wire is secured: TLS 1.3 with certificates of the coordinator's own CA on both sides.
//!
//! [`identity`] is what a program holds on disk, [`client`] and [`server`] make connections of it over a [`net`],
//! [`peer`] reads the other side's certificate. Only `ring` is used, and always by an explicit provider, so that no default
//! of another crate can decide.

pub mod client;
pub mod identity;
pub mod net;
pub mod peer;
pub mod server;

use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use sha2::{Digest as _, Sha256};

pub use client::{connect, connect_by_fingerprint, connect_over};
pub use identity::{Identity, NewKey};

/// The name in the coordinator's certificate that clients ask for, whatever address they reach it by: the CA is
/// the coordinator's own, so the name says which program it is and not where it runs.
pub const COORDINATOR_NAME: &str = "imgctl-coordinator";

/// Why TLS can't be set up or a connection not be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file of an identity can't be read or written.
    #[error("cannot {action} `{}`", path.display())]
    File {
        /// "read" or "write".
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file of an identity isn't what its name says.
    #[error("`{}` holds no valid {what}", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// "certificate" or "private key".
        what: &'static str,
    },
    /// The certificate and the key, or the CA, don't go together.
    #[error("certificate, key and CA don't make a usable identity")]
    Unusable(#[source] rustls::Error),
    /// The fingerprint isn't 64 hexadecimal digits.
    #[error("`{0}` is not a sha256 fingerprint; it has 64 hexadecimal digits, colons allowed")]
    Fingerprint(String),
    /// The address isn't `HOST:PORT`.
    #[error("`{0}` is not an address; it is written as HOST:PORT")]
    Address(String),
    /// No connection.
    #[error("cannot reach the coordinator at {address}")]
    Connect {
        /// Where.
        address: String,
        /// Why.
        #[source]
        source: tonic::transport::Error,
    },
    /// A key can't be made.
    #[error("cannot make a key or signing request")]
    Key(#[source] rcgen::Error),
}

/// The one provider of cryptography.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// sha256 of a DER certificate in lower-case hexadecimal: how certificates are told apart and written down.
pub fn fingerprint(der: &[u8]) -> String {
    hex::encode(Sha256::digest(der))
}
