//! The network below TLS: TCP, or what a test puts in its place to cut and delay connections at will.

use std::io;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tonic::transport::server::{Connected, TcpConnectInfo};

/// Opens connections.
pub trait Dial: Clone + Send + Sync + 'static {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Opens one to `HOST:PORT`.
    fn dial(&self, address: &str) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

/// Takes connections.
pub trait Listen: Send + 'static {
    /// A connection that knows who it comes from.
    type Stream: AsyncRead + AsyncWrite + Connected<ConnectInfo = TcpConnectInfo> + Unpin + Send + 'static;

    /// The next one. May be dropped and called again.
    fn accept(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

/// The network of this host.
#[derive(Debug, Clone, Copy)]
pub struct Tcp;

impl Dial for Tcp {
    type Stream = TcpStream;

    async fn dial(&self, address: &str) -> io::Result<TcpStream> {
        look_up_without_modules();
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// A program without shared libraries finds hosts by /etc/hosts and DNS alone. What else nsswitch.conf may name (myhostname,
/// resolve, compat…) are libraries of the node, made for the node's C library: ours, loading one, ends in a crash.
#[cfg(all(target_env = "gnu", target_feature = "crt-static"))]
#[expect(unsafe_code, reason = "only the C library can be told how it looks names up")]
fn look_up_without_modules() {
    use std::ffi::{c_char, c_int};

    unsafe extern "C" {
        fn __nss_configure_lookup(database: *const c_char, services: *const c_char) -> c_int;
    }
    static TOLD: std::sync::Once = std::sync::Once::new();
    TOLD.call_once(|| {
        // SAFETY: both strings end with a zero and live as long as the process; every lookup comes after this.
        // It is refused for an unknown database only.
        let _ = unsafe { __nss_configure_lookup(c"hosts".as_ptr(), c"files dns".as_ptr()) };
    });
}

#[cfg(not(all(target_env = "gnu", target_feature = "crt-static")))]
fn look_up_without_modules() {}

impl Listen for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<TcpStream> {
        let (stream, _) = TcpListener::accept(self).await?;
        // Without it small answers wait for the delayed acknowledgement. It fails only on a dead socket, which shows in
        // the handshake.
        let _ = stream.set_nodelay(true);
        Ok(stream)
    }
}
