//! Who a program is: a certificate, its key and the CA, as three PEM files in one folder.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::TlsError;

const CERTIFICATE: &str = "cert.pem";
const KEY: &str = "key.pem";
const CA: &str = "ca.pem";

/// A certificate with its key and the CA that signed it.
#[derive(Clone)]
pub struct Identity {
    /// The certificate, PEM.
    pub cert_pem: String,
    /// Its private key, PEM.
    pub key_pem: String,
    /// The CA's certificate, PEM.
    pub ca_pem: String,
    /// Where it was read from, for messages.
    source: PathBuf,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("source", &self.source).finish_non_exhaustive()
    }
}

impl Identity {
    /// An identity that was just made.
    pub fn new(cert_pem: String, key_pem: String, ca_pem: String) -> Self {
        Self { cert_pem, key_pem, ca_pem, source: PathBuf::from("(new)") }
    }

    /// Reads `cert.pem`, `key.pem` and `ca.pem` below `dir`.
    pub fn load(dir: &Path) -> Result<Self, TlsError> {
        let read = |name: &str| {
            let path = dir.join(name);
            fs::read_to_string(&path).map_err(|source| TlsError::File { action: "read", path, source })
        };
        Ok(Self { cert_pem: read(CERTIFICATE)?, key_pem: read(KEY)?, ca_pem: read(CA)?, source: dir.to_owned() })
    }

    /// Writes the three files below `dir`, which is made (0700); the key is 0600 from its first byte. Each file
    /// replaces an older one by a rename, the certificate last, so that a crash leaves a usable set.
    pub fn store(&self, dir: &Path) -> Result<(), TlsError> {
        make_private_dir(dir)?;
        write_private(&dir.join(KEY), &self.key_pem)?;
        write_private(&dir.join(CA), &self.ca_pem)?;
        write_private(&dir.join(CERTIFICATE), &self.cert_pem)
    }

    /// The certificate chain in DER, leaf first.
    pub fn chain(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        certificates(&self.cert_pem, &self.source.join(CERTIFICATE))
    }

    /// The private key in DER.
    pub fn key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes())
            .map_err(|_| TlsError::Malformed { path: self.source.join(KEY), what: "private key" })
    }

    /// The CA's certificate in DER.
    pub fn ca(&self) -> Result<CertificateDer<'static>, TlsError> {
        let path = self.source.join(CA);
        certificates(&self.ca_pem, &path)?.pop().ok_or(TlsError::Malformed { path, what: "certificate" })
    }

    /// The CA as the only root that is trusted.
    pub fn roots(&self) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        roots.add(self.ca()?).map_err(TlsError::Unusable)?;
        Ok(roots)
    }
}

fn certificates(pem: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let malformed = || TlsError::Malformed { path: path.to_owned(), what: "certificate" };
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    found.ok().filter(|list| !list.is_empty()).ok_or_else(malformed)
}

/// Makes `dir` with its parents; itself 0700.
fn make_private_dir(dir: &Path) -> Result<(), TlsError> {
    use std::os::unix::fs::DirBuilderExt as _;
    let failed = |source| TlsError::File { action: "make", path: dir.to_owned(), source };
    if let Some(parent) = dir.parent() {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        made => made.map_err(failed),
    }
}

/// Writes a file that only its owner may read, aside and then by one rename.
pub fn write_private(path: &Path, content: &str) -> Result<(), TlsError> {
    let aside = path.with_extension("pem.new");
    let failed = |source| TlsError::File { action: "write", path: path.to_owned(), source };
    let write = || {
        match fs::remove_file(&aside) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
        file.write_all(content.as_bytes())?;
        file.sync_all()?;
        fs::rename(&aside, path)
    };
    write().map_err(failed)
}

/// A key that was just made, with the request to sign it.
#[derive(Clone)]
pub struct NewKey {
    /// The private key, PEM; it never leaves the program that made it.
    pub key_pem: String,
    /// PKCS #10, PEM.
    pub signing_request_pem: String,
}

impl fmt::Debug for NewKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewKey").finish_non_exhaustive()
    }
}

impl NewKey {
    /// Makes a key (ECDSA P-256) and asks for a certificate under `name`. The signer decides role and dates.
    pub fn generate(name: &str) -> Result<Self, TlsError> {
        let key = KeyPair::generate().map_err(TlsError::Key)?;
        let mut params = CertificateParams::new(Vec::new()).map_err(TlsError::Key)?;
        params.distinguished_name.push(DnType::CommonName, name);
        let request = params.serialize_request(&key).map_err(TlsError::Key)?;
        let signing_request_pem = request.pem().map_err(TlsError::Key)?;
        Ok(Self { key_pem: key.serialize_pem(), signing_request_pem })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_stored_key_is_readable_by_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let key = NewKey::generate("n1").unwrap();
        let identity = Identity::new("c".into(), key.key_pem, "a".into());
        identity.store(&dir.path().join("identity")).unwrap();
        let mode = |name: &str| fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("identity"), mode("identity/key.pem")), (0o700, 0o600));
    }

    #[test]
    fn garbage_in_a_certificate_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        Identity::new("no pem".into(), "x".into(), String::new()).store(dir.path()).unwrap();
        let identity = Identity::load(dir.path()).unwrap();
        let message = identity.chain().unwrap_err().to_string();
        assert!(message.ends_with("cert.pem` holds no valid certificate"), "{message}");
        assert!(identity.key().is_err() && identity.ca().is_err());
    }
}
