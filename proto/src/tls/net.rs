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
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

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
