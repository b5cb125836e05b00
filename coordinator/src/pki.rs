//! The coordinator's own small CA: who may speak to it, and as what.

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use model::role::Role;
use proto::tls::identity::write_private;
use proto::tls::{COORDINATOR_NAME, Identity, NewKey, TlsError, fingerprint};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// The CA outlives every machine that it signs for.
const CA_LIFE: Duration = Duration::from_secs(20 * 365 * 86400);
/// The coordinator's own certificate; `init` can be repeated to renew it.
const SERVER_LIFE: Duration = Duration::from_secs(5 * 365 * 86400);
/// People's certificates.
pub const USER_LIFE: Duration = Duration::from_secs(365 * 86400);
/// Agents' certificates, until they renew themselves over their session.
pub const AGENT_LIFE: Duration = Duration::from_secs(365 * 86400);
/// Clocks of nodes run behind: a certificate is valid from a little earlier.
const SKEW: Duration = Duration::from_secs(3600);

const CA_CERTIFICATE: &str = "ca.pem";
pub(crate) const CA_KEY: &str = "ca-key.pem";
/// The coordinator's own identity, below the PKI folder.
pub const SERVER_DIR: &str = "coordinator";

/// Why a certificate can't be made.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// Files or connections.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The CA's files can't be read.
    #[error("there is no CA in `{dir}`; `imgctl-coordinator init` makes one")]
    NoCa {
        /// Where.
        dir: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The CA's files aren't what we wrote.
    #[error("the CA in `{dir}` can't be used")]
    BadCa {
        /// Where.
        dir: String,
        /// Why.
        #[source]
        source: rcgen::Error,
    },
    /// The signing request isn't one.
    #[error("the signing request can't be parsed or its signature is wrong")]
    Request(#[source] rcgen::Error),
    /// The certificate can't be made.
    #[error("cannot sign a certificate")]
    Sign(#[source] rcgen::Error),
}

/// The CA with its key.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    ca_pem: String,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl Authority {
    /// Makes a CA below `dir`, unless there is one.
    pub fn create_or_load(dir: &Path) -> Result<Self, PkiError> {
        if dir.join(CA_CERTIFICATE).exists() {
            return Self::load(dir);
        }
        let key = KeyPair::generate().map_err(PkiError::Sign)?;
        let mut params = dated(CA_LIFE);
        params.distinguished_name.push(DnType::CommonName, "imgctl CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).map_err(PkiError::Sign)?;
        let failed = |source| TlsError::File { action: "make", path: dir.to_owned(), source };
        fs::create_dir_all(dir).map_err(failed)?;
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).map_err(failed)?;
        // The certificate last: with it the CA is there.
        write_private(&dir.join(CA_KEY), &key.serialize_pem())?;
        write_private(&dir.join(CA_CERTIFICATE), &certificate.pem())?;
        Self::load(dir)
    }

    /// Reads the CA below `dir`.
    pub fn load(dir: &Path) -> Result<Self, PkiError> {
        let read = |name: &str| {
            let no_ca = |source| PkiError::NoCa { dir: dir.display().to_string(), source };
            fs::read_to_string(dir.join(name)).map_err(no_ca)
        };
        let bad = |source| PkiError::BadCa { dir: dir.display().to_string(), source };
        let (ca_pem, key_pem) = (read(CA_CERTIFICATE)?, read(CA_KEY)?);
        let key = KeyPair::from_pem(&key_pem).map_err(bad)?;
        let issuer = Issuer::from_ca_cert_pem(&ca_pem, key).map_err(bad)?;
        Ok(Self { issuer, ca_pem })
    }

    /// The CA's certificate, PEM.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// sha256 of the CA's certificate, which joining agents are given.
    pub fn fingerprint(&self) -> String {
        CertificateDer::from_pem_slice(self.ca_pem.as_bytes()).map(|der| fingerprint(&der)).unwrap_or_default()
    }

    /// The coordinator's own identity, reachable under `names` and, whatever they are, under the one that our
    /// clients ask for.
    pub fn issue_server(&self, names: &[String]) -> Result<Identity, PkiError> {
        let key = KeyPair::generate().map_err(PkiError::Sign)?;
        let mut params = dated(SERVER_LIFE);
        params.distinguished_name.push(DnType::CommonName, COORDINATOR_NAME);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        for name in names.iter().map(String::as_str).chain([COORDINATOR_NAME]) {
            params.subject_alt_names.push(match name.parse::<IpAddr>() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName(name.try_into().map_err(PkiError::Sign)?),
            });
        }
        let certificate = params.signed_by(&key, &self.issuer).map_err(PkiError::Sign)?;
        Ok(Identity::new(certificate.pem(), key.serialize_pem(), self.ca_pem.clone()))
    }

    /// A person's identity, key and all.
    pub fn issue_user(&self, name: &str, role: Role, life: Duration) -> Result<Identity, PkiError> {
        let key = NewKey::generate(name)?;
        let cert_pem = self.sign(&key.signing_request_pem, name, role, life)?;
        Ok(Identity::new(cert_pem, key.key_pem, self.ca_pem.clone()))
    }

    /// Signs a request: the key is the requester's, name, role and dates are ours.
    pub fn sign(&self, request_pem: &str, name: &str, role: Role, life: Duration) -> Result<String, PkiError> {
        let mut request = CertificateSigningRequestParams::from_pem(request_pem).map_err(PkiError::Request)?;
        let mut params = dated(life);
        params.distinguished_name.push(DnType::OrganizationalUnitName, role.to_string());
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        request.params = params;
        Ok(request.signed_by(&self.issuer).map_err(PkiError::Sign)?.pem())
    }
}

fn dated(life: Duration) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "imgctl");
    let now = SystemTime::now();
    params.not_before = (now - SKEW).into();
    params.not_after = (now + life).into();
    params
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signer_decides_name_and_role_whatever_was_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::create_or_load(&dir.path().join("pki")).unwrap();
        let key = NewKey::generate("root").unwrap();
        let pem = authority.sign(&key.signing_request_pem, "n1", Role::Agent, AGENT_LIFE).unwrap();
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        let peer = proto::tls::peer::read(&der).unwrap();
        assert_eq!((peer.caller.name.as_str(), peer.caller.role), ("n1", Role::Agent));
        assert!(authority.sign("garbage", "n1", Role::Agent, AGENT_LIFE).is_err());
    }

    #[test]
    fn a_second_start_keeps_the_ca() {
        let dir = tempfile::tempdir().unwrap();
        let first = Authority::create_or_load(dir.path()).unwrap().fingerprint();
        assert_eq!(Authority::create_or_load(dir.path()).unwrap().fingerprint(), first);
        assert_eq!(first.len(), 64);
    }
}
