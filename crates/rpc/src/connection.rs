//! One HTTP/2 connection over an authenticated stream, at either end: the server's for connections that were accepted here
//! or dialled by us in reverse, the client's for calls to a neighbour. Every limit is set here and nowhere else.

use std::convert::Infallible;
use std::fmt;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::uri::{Authority, Scheme};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use identity::Peer;
use model::Clock;
use tokio::sync::Semaphore;
use tokio_rustls::TlsStream;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::service::Routes;

use crate::Drain;
use crate::caller::Session;
use crate::deadline::Deadlines;
use crate::net::BoxIo;
use crate::words::words;

/// Most bytes of one message: a feed batch of 4 MiB and what surrounds it.
pub const MAX_MESSAGE: usize = 4 * 1024 * 1024 + 64 * 1024;
/// Calls in progress that one connection may have.
pub const MAX_STREAMS: u32 = 256;
/// Documents in transit over one connection to a neighbour. Together their windows leave a quarter of the connection's to
/// other calls, so callers that stop reading cannot stop the feed.
pub const MAX_CONTENT_STREAMS: usize = 24;

const STREAM_WINDOW: u32 = 512 * 1024;
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;
const MAX_HEADER_LIST: u32 = 16 * 1024;
const MAX_FRAME: u32 = 64 * 1024;
const SEND_BUFFER: usize = 256 * 1024;
/// Streams reset by the other end and not yet noticed; beyond it the connection is closed (CVE-2023-44487).
const MAX_PENDING_RESETS: usize = 64;
/// Streams that we reset for protocol errors; beyond it the connection is closed.
const MAX_LOCAL_RESETS: usize = 256;

/// What notices that the other end is gone.
#[derive(Debug, Clone, Copy)]
pub struct KeepAlive {
    /// How often it is asked.
    pub every: Duration,
    /// How long it may take to answer.
    pub within: Duration,
}

/// How long a connection may live: as long as the other end's certificate.
pub(crate) fn life(peer: &Peer, clock: &dyn Clock) -> Duration {
    // Timers do not reach further than this; whoever is cut then connects again.
    const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);
    Duration::from_millis(peer.not_after_ms.saturating_sub(clock.now_ms())).min(LONGEST)
}

impl Default for KeepAlive {
    fn default() -> Self {
        Self { every: Duration::from_secs(10), within: Duration::from_secs(10) }
    }
}

/// An authenticated stream.
pub(crate) type Stream = TlsStream<BoxIo>;

#[derive(Clone)]
struct Served {
    routes: Deadlines<Routes>,
    session: Arc<Session>,
    used: CancellationToken,
}

impl hyper::service::Service<Request<Incoming>> for Served {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(self.session.clone());
        if !self.used.is_cancelled() {
            self.used.cancel();
        }
        // A router is ready always: it only finds the handler.
        tower::Service::call(&mut self.routes.clone(), request)
    }
}

/// Serves one connection until it ends, its `life` is over, or the node stops and its calls have ended or run out of time.
/// Cancels `used` at the first call.
pub(crate) async fn serve(
    stream: Stream,
    session: Session,
    routes: Deadlines<Routes>,
    keep_alive: KeepAlive,
    life: Duration,
    used: CancellationToken,
    drain: &Drain,
) -> Result<(), hyper::Error> {
    let served = Served { routes, session: Arc::new(session), used };
    let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(MAX_HEADER_LIST)
        .max_frame_size(MAX_FRAME)
        .max_send_buf_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(MAX_LOCAL_RESETS)
        .keep_alive_interval(keep_alive.every)
        .keep_alive_timeout(keep_alive.within)
        .serve_connection(TokioIo::new(stream), served);
    let mut connection = pin!(connection);
    tokio::select! {
        biased;
        ended = connection.as_mut() => return ended,
        () = drain.stopping() => {}
        () = tokio::time::sleep(life) => {}
    }
    connection.as_mut().graceful_shutdown();
    // Dropping the connection after the limit resets what is left of it.
    tokio::time::timeout(drain.limit(), connection).await.unwrap_or(Ok(()))
}

/// Calls over one connection. Clones share it; it does not reconnect.
#[derive(Clone)]
pub struct Channel {
    send: SendRequest<Body>,
    calls: Arc<Semaphore>,
    content: Arc<Semaphore>,
    end: Arc<End>,
}

#[derive(Debug, Default)]
struct End {
    ended: CancellationToken,
    close: CancellationToken,
    reason: OnceLock<String>,
}

impl Channel {
    /// Starts HTTP/2 as the client on a stream. Its task ends with the connection, at the latest after `life`.
    pub(crate) async fn open(
        stream: Stream,
        keep_alive: KeepAlive,
        life: Duration,
    ) -> Result<Self, hyper::Error> {
        let mut http2 = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .initial_max_send_streams(MAX_STREAMS as usize)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(MAX_HEADER_LIST)
            .max_frame_size(MAX_FRAME)
            .max_send_buf_size(SEND_BUFFER)
            .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
            .max_local_error_reset_streams(MAX_LOCAL_RESETS)
            .keep_alive_interval(keep_alive.every)
            .keep_alive_timeout(keep_alive.within)
            .keep_alive_while_idle(true);
        // Boxed: every caller's future would carry its large state otherwise.
        let (send, connection) = Box::pin(http2.handshake(TokioIo::new(stream))).await?;
        let end = Arc::new(End::default());
        let told = end.clone();
        tokio::spawn(async move {
            let reason = tokio::select! {
                biased;
                ended = connection => match ended {
                    Ok(()) => "closed by the other end".to_owned(),
                    Err(error) => words(&error),
                },
                () = told.close.cancelled() => "closed by this node".to_owned(),
                () = tokio::time::sleep(life) => "the other end's certificate has expired".to_owned(),
            };
            // Set once: this task is the only writer.
            let _ = told.reason.set(reason);
            told.ended.cancel();
        });
        let calls = Arc::new(Semaphore::new(MAX_STREAMS as usize));
        let content = Arc::new(Semaphore::new(MAX_CONTENT_STREAMS));
        Ok(Self { send, calls, content, end })
    }

    /// Waits for the end of the connection and says why it came, in words for an operator.
    pub async fn ended(&self) -> &str {
        self.end.ended.cancelled().await;
        self.end.reason.get().map_or("", String::as_str)
    }

    /// Whether the connection has ended.
    pub fn is_ended(&self) -> bool {
        self.end.ended.is_cancelled()
    }

    /// Cuts the connection and all calls on it.
    pub fn close(&self) {
        self.end.close.cancel();
    }

    /// Gives up this handle; calls under way on others may go on for `limit`, then the connection is cut.
    pub(crate) async fn finish(self, limit: Duration) {
        let Self { send, end, .. } = self;
        // HTTP/2 closes by itself when nobody can call and no call is left.
        drop(send);
        if tokio::time::timeout(limit, end.ended.cancelled()).await.is_err() {
            end.close.cancel();
        }
    }

    /// Permits for documents in transit.
    pub(crate) fn content_permits(&self) -> Arc<Semaphore> {
        self.content.clone()
    }

    /// Whether both are the same connection.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.end, &other.end)
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("ended", &self.is_ended()).finish_non_exhaustive()
    }
}

/// Why a call could not be sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    #[error(transparent)]
    Connection(#[from] hyper::Error),
    #[error(transparent)]
    Address(#[from] http::uri::InvalidUriParts),
}

impl tower::Service<Request<Body>> for Channel {
    type Response = Response<Incoming>;
    type Error = SendError;
    type Future = BoxFuture<'static, Result<Response<Incoming>, SendError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        self.send.poll_ready(context).map_err(SendError::from)
    }

    /// Waits for a free place when 256 calls wait for their headers already: HTTP/2 itself would queue without bound.
    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let (mut send, calls) = (self.send.clone(), self.calls.clone());
        Box::pin(async move {
            let _place = calls.acquire_owned().await;
            let mut parts = std::mem::take(request.uri_mut()).into_parts();
            // HTTP/2 wants both; who answers is known from the certificate and not from here.
            parts.scheme = Some(Scheme::HTTPS);
            parts.authority = Some(Authority::from_static("node"));
            *request.uri_mut() = http::Uri::from_parts(parts)?;
            Ok(send.send_request(request).await?)
        })
    }
}
