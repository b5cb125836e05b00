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

use rustls::CipherSuite;
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

/// Whether `ring` has no assembly for AES here, as on ppc64le: ChaCha20-Poly1305 moves twice as much then
/// (docs/PERFORMANCE.md).
pub const SLOW_AES: bool =
    !cfg!(any(target_arch = "x86_64", target_arch = "x86", target_arch = "aarch64", target_arch = "arm"));

/// The one provider of cryptography, which prefers what is fast on this machine.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(preferring(SLOW_AES))
}

fn preferring(chacha20: bool) -> CryptoProvider {
    let mut provider = rustls::crypto::ring::default_provider();
    if chacha20 {
        // Stable: the rest keeps its order.
        provider.cipher_suites.sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_CHACHA20_POLY1305_SHA256);
    }
    provider
}

/// sha256 of a DER certificate in lower-case hexadecimal: how certificates are told apart and written down.
pub fn fingerprint(der: &[u8]) -> String {
    hex::encode(Sha256::digest(der))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_fast_comes_first_and_nothing_is_left_out() {
        let suites = |chacha20| -> Vec<_> {
            preferring(chacha20).cipher_suites.iter().map(rustls::SupportedCipherSuite::suite).collect()
        };
        let (usual, slow_aes) = (suites(false), suites(true));
        assert_eq!(usual[0], CipherSuite::TLS13_AES_256_GCM_SHA384);
        assert_eq!(slow_aes[0], CipherSuite::TLS13_CHACHA20_POLY1305_SHA256);
        assert!(usual.iter().all(|suite| slow_aes.contains(suite)) && usual.len() == slow_aes.len());
    }
}
