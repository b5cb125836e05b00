//! Connections from agents and users.
//!
//! A client certificate is asked for and, if shown, must be of our CA; whether a call can do without one is
//! decided call by call (only enrolment can).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;

use super::net::Listen;
use super::{Identity, SLOW_AES, TlsError, provider};

/// How long a handshake may take: a peer that connects and says nothing is dropped.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// How long a refused peer has to read why.
const REFUSAL_LIMIT: Duration = Duration::from_secs(1);
/// How much a refused peer may still say, in bytes.
const LAST_WORDS: u64 = 64 << 10;
/// Handshakes at one time; more wait in the kernel's backlog. A handshake costs about a millisecond of CPU.
const HANDSHAKES: usize = 64;
/// After the accept itself failed (no descriptors left), so that it doesn't spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The coordinator's TLS settings. The CA's certificate is sent along, so that a joining agent can compare its
/// fingerprint.
pub fn config(identity: &Identity) -> Result<Arc<ServerConfig>, TlsError> {
    let mut chain = identity.chain()?;
    chain.push(identity.ca()?);
    let clients = WebPkiClientVerifier::builder_with_provider(identity.roots()?.into(), provider())
        .allow_unauthenticated()
        .build()
        .map_err(|error| TlsError::Unusable(rustls::Error::General(error.to_string())))?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(TlsError::Unusable)?
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, identity.key()?)
        .map_err(TlsError::Unusable)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    // Else the client decides, who may be the slower one.
    config.ignore_client_order = SLOW_AES;
    Ok(Arc::new(config))
}

/// Accepts connections and shakes hands, several at a time, so that a silent peer holds nobody up. Ends, and
/// drops handshakes under way, when the returned stream is dropped.
pub fn incoming<L: Listen>(
    listener: L,
    config: Arc<ServerConfig>,
) -> (ReceiverStream<io::Result<TlsStream<L::Stream>>>, impl Future<Output = ()>) {
    let (sender, receiver) = mpsc::channel(HANDSHAKES);
    (ReceiverStream::new(receiver), accept(listener, TlsAcceptor::from(config), sender))
}

/// Lets a refused peer read the alert that says why. It has begun to speak already (TLS 1.3 lets it before its certificate
/// is checked); a close with that unread would be a reset, and the reset would overtake the alert.
async fn let_read(mut refused: impl AsyncRead + AsyncWrite + Unpin) {
    let drained = async {
        refused.shutdown().await?;
        tokio::io::copy(&mut (&mut refused).take(LAST_WORDS), &mut tokio::io::sink()).await
    };
    // Whatever happens now, the connection is over.
    let _ = tokio::time::timeout(REFUSAL_LIMIT, drained).await;
}

async fn accept<L: Listen>(listener: L, tls: TlsAcceptor, ready: mpsc::Sender<io::Result<TlsStream<L::Stream>>>) {
    let places = Arc::new(Semaphore::new(HANDSHAKES));
    let mut handshakes = JoinSet::new();
    loop {
        while handshakes.try_join_next().is_some() {}
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = ready.closed() => return,
        };
        let Ok(tcp) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let (tls, ready) = (tls.clone(), ready.clone());
        handshakes.spawn(async move {
            let _place = place;
            match tokio::time::timeout(HANDSHAKE_LIMIT, tls.accept(tcp).into_fallible()).await {
                // Fails only when the server has stopped listening.
                Ok(Ok(stream)) => {
                    let _ = ready.send(Ok(stream)).await;
                }
                Ok(Err((_, refused))) => let_read(refused).await,
                Err(_) => {}
            }
        });
    }
}
