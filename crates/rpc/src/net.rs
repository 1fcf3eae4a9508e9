//! The network seam: where connections come from and how they are made. The real one is TCP; a simulation brings its own.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

/// A byte stream in both directions.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A byte stream of whichever network.
pub type BoxIo = Box<dyn Io>;

/// Where connections arrive.
#[async_trait::async_trait]
pub trait Listen: Send {
    /// The next connection and the address it came from.
    async fn accept(&mut self) -> io::Result<(BoxIo, SocketAddr)>;
}

/// How connections are made.
#[async_trait::async_trait]
pub trait Dial: Send + Sync + fmt::Debug {
    /// Connects to `address`, a host or IP address with a port. The caller limits the time.
    async fn dial(&self, address: &str) -> io::Result<BoxIo>;
}

#[async_trait::async_trait]
impl Listen for TcpListener {
    async fn accept(&mut self) -> io::Result<(BoxIo, SocketAddr)> {
        let (stream, from) = TcpListener::accept(self).await?;
        // A connection that is gone already is found out by whoever reads from it.
        if let Err(error) = prepare(&stream) {
            tracing::debug!(%from, %error, "a connection was gone when it was accepted");
        }
        Ok((Box::new(stream), from))
    }
}

/// Most bytes that wait in the system's buffer without being on the line, besides what is on its way. More would only keep a
/// query behind a feed's batches: on a thin line a megabyte there is four seconds.
const UNSENT: u32 = 32 * 1024;

/// Replies are small and complete: waiting to fill a packet would only add to every call.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    #[cfg(target_os = "linux")]
    socket2::SockRef::from(stream).set_tcp_notsent_lowat(UNSENT)?;
    Ok(())
}

/// The real network.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tcp;

#[async_trait::async_trait]
impl Dial for Tcp {
    async fn dial(&self, address: &str) -> io::Result<BoxIo> {
        let stream = TcpStream::connect(address).await?;
        prepare(&stream)?;
        Ok(Box::new(stream))
    }
}
