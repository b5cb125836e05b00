//! Connections to the coordinator.

use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::AsyncBufReadExt as _;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Uri};

use super::net::{Dial, Tcp};
use super::{COORDINATOR_NAME, Identity, TlsError, fingerprint, provider};

/// How long a connection with its handshake may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long one try to connect is alone; within [`CONNECT_LIMIT`] there are five at most.
const DIAL_AGAIN: Duration = Duration::from_secs(1);
/// How often an idle connection is tried: well within the usual lease.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// HTTP/2 windows that keep a link of 1 Gbit/s and 30 ms busy.
const WINDOW: u32 = 4 << 20;

/// Connects with a client certificate; the coordinator must show one of the same CA.
pub async fn connect(address: &str, identity: &Identity) -> Result<Channel, TlsError> {
    connect_over(Tcp, address, identity).await
}

/// [`connect`] over another network.
pub async fn connect_over(net: impl Dial, address: &str, identity: &Identity) -> Result<Channel, TlsError> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(TlsError::Unusable)?
        .with_root_certificates(identity.roots()?)
        .with_client_auth_cert(identity.chain()?, identity.key()?)
        .map_err(TlsError::Unusable)?;
    open(net, address, config).await
}

/// Connects without a client certificate to a coordinator whose CA has this sha256 fingerprint: for joining.
pub async fn connect_by_fingerprint(address: &str, ca_fingerprint: &str) -> Result<Channel, TlsError> {
    let expected = ca_fingerprint.replace(':', "").to_ascii_lowercase();
    let expected = expected.strip_prefix("sha256").unwrap_or(&expected).to_owned();
    if expected.len() != 64 || !expected.chars().all(|c| c.is_ascii_hexdigit()) {
        return Err(TlsError::Fingerprint(ca_fingerprint.to_owned()));
    }
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(TlsError::Unusable)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(PinnedCa { expected }))
        .with_no_client_auth();
    open(Tcp, address, config).await
}

async fn open(net: impl Dial, address: &str, mut config: ClientConfig) -> Result<Channel, TlsError> {
    let (host, port) = address.rsplit_once(':').ok_or_else(|| TlsError::Address(address.to_owned()))?;
    if host.is_empty() || port.parse::<u16>().is_err() {
        return Err(TlsError::Address(address.to_owned()));
    }
    config.alpn_protocols = vec![b"h2".to_vec()];
    let tls = TlsConnector::from(Arc::new(config));
    let target: Arc<str> = address.into();
    let connector = tower::service_fn(move |_: Uri| {
        let (net, tls, target) = (net.clone(), tls.clone(), target.clone());
        async move { dial(net, &target, tls).await.map(TokioIo::new) }
    });
    endpoint()
        .connect_with_connector(connector)
        .await
        .map_err(|source| TlsError::Connect { address: address.to_owned(), source })
}

fn endpoint() -> Endpoint {
    // The authority is fixed: who answers is settled by the certificate, and where by the connector.
    Endpoint::from_static("http://imgctl-coordinator")
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW * 2)
}

async fn dial<N: Dial>(
    net: N,
    target: &str,
    tls: TlsConnector,
) -> std::io::Result<tokio_rustls::client::TlsStream<N::Stream>> {
    let name = ServerName::try_from(COORDINATOR_NAME).expect("the constant is a valid DNS name");
    let handshake = async {
        let mut stream = tls.connect(name, reach(net, target).await?).await?;
        // With TLS 1.3 our side is done before the coordinator has looked at our certificate. It speaks first in HTTP/2, so
        // its first words, or the alert in their place, say whether it was taken; a request sent blindly would
        // only be cancelled, without the reason.
        stream.fill_buf().await?;
        Ok(stream)
    };
    let timed_out = |_| std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer within 5 s");
    tokio::time::timeout(CONNECT_LIMIT, handshake).await.map_err(timed_out)?
}

/// The first connection that comes about. The first packet of one may be lost in a cut, and the kernel repeats it after
/// ever longer pauses; another one finds the end of the cut sooner.
async fn reach<N: Dial>(net: N, target: &str) -> std::io::Result<N::Stream> {
    let mut tries = JoinSet::new();
    loop {
        let (net, target) = (net.clone(), target.to_owned());
        tries.spawn(async move { net.dial(&target).await });
        tokio::select! {
            Some(Ok(dialled)) = tries.join_next() => return dialled,
            () = tokio::time::sleep(DIAL_AGAIN) => {}
        }
    }
}

/// Accepts a server whose presented chain ends in the CA with the expected fingerprint, and checks everything
/// else (signature, dates, name) against that CA.
#[derive(Debug)]
struct PinnedCa {
    expected: String,
}

impl ServerCertVerifier for PinnedCa {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let pinned = chain.iter().find(|der| fingerprint(der) == self.expected);
        let ca = pinned.ok_or(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
        let mut roots = RootCertStore::empty();
        roots.add(ca.clone().into_owned())?;
        let unusable = |error| rustls::Error::General(format!("the pinned CA can't be used: {error}"));
        let verifier =
            WebPkiServerVerifier::builder_with_provider(roots.into(), provider()).build().map_err(unusable)?;
        verifier.verify_server_cert(leaf, &[], name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
