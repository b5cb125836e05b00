//! What a peer's certificate says: name, role, dates. Name and role stand in its subject (CN and OU), so that
//! `openssl x509 -subject` shows them.

use model::role::{Caller, Role, UnknownRole};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::fingerprint;

/// What we read in a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Who it is for.
    pub caller: Caller,
    /// sha256 of the certificate.
    pub fingerprint: String,
    /// When it ends, in milliseconds since 1970.
    pub expires_ms: i64,
}

/// Why a certificate tells us nothing.
#[derive(Debug, thiserror::Error)]
pub enum UnreadablePeer {
    /// Not X.509.
    #[error("the certificate can't be parsed")]
    Certificate,
    /// No common name, or not one that we give.
    #[error("the certificate has no usable common name")]
    Name,
    /// No organizational unit, or not one of ours.
    #[error("the certificate carries no role")]
    Role(#[source] UnknownRole),
}

/// Reads the leaf of a peer's chain. Signature and dates were checked in the handshake.
pub fn read(der: &[u8]) -> Result<Peer, UnreadablePeer> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|_| UnreadablePeer::Certificate)?;
    let subject = certificate.subject();
    let name = subject.iter_common_name().next().and_then(|field| field.as_str().ok()).ok_or(UnreadablePeer::Name)?;
    let role = subject.iter_organizational_unit().next().and_then(|field| field.as_str().ok()).unwrap_or_default();
    let role: Role = role.parse().map_err(UnreadablePeer::Role)?;
    let name = name.parse().map_err(|_| UnreadablePeer::Name)?;
    let expires_ms = certificate.validity().not_after.timestamp() * 1000;
    Ok(Peer { caller: Caller { name, role }, fingerprint: fingerprint(der), expires_ms })
}
