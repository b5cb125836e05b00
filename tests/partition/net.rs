//! The simulated network below the real TLS: turmoil's streams as the daemons' connections.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use proto::tls::net::{Dial, Listen};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::{Connected, TcpConnectInfo};
use turmoil::net::{TcpListener, TcpStream};

/// turmoil refuses a connection whose first packet is lost; Linux sends that again after this time, then twice, four
/// times and so on. The caller has a limit of its own.
const SYN_AGAIN: Duration = Duration::from_secs(1);

/// Dials by turmoil's names.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Net;

impl Dial for Net {
    type Stream = TcpStream;

    async fn dial(&self, address: &str) -> io::Result<TcpStream> {
        let mut again = SYN_AGAIN;
        loop {
            match TcpStream::connect(address).await {
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => tokio::time::sleep(again).await,
                connected => return connected,
            }
            again *= 2;
        }
    }
}

/// A port of a simulated host.
pub(crate) struct Port(TcpListener);

impl Port {
    pub(crate) async fn bind(port: u16) -> io::Result<Self> {
        TcpListener::bind(("0.0.0.0", port)).await.map(Self)
    }
}

impl Listen for Port {
    type Stream = Accepted;

    async fn accept(&self) -> io::Result<Accepted> {
        self.0.accept().await.map(|(stream, _)| Accepted(stream))
    }
}

/// A connection as tonic wants it.
#[derive(Debug)]
pub(crate) struct Accepted(TcpStream);

impl Connected for Accepted {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        TcpConnectInfo { local_addr: self.0.local_addr().ok(), remote_addr: self.0.peer_addr().ok() }
    }
}

impl AsyncRead for Accepted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
