//! Deadlines of calls, streams included.
//!
//! tonic's own timeout ends when the response headers are there. This one goes on: a stream that has not ended by its
//! deadline ends with `DEADLINE_EXCEEDED` in its trailers, and dropping the handler's body cancels what it was doing.
//! Handlers find the [`exchange::Deadline`] in the request's extensions.
//!
//! A caller that stops reading holds its stream (flow control keeps us from being asked for the trailers); handlers that
//! stream therefore also end their work by the deadline themselves.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use exchange::Deadline;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep};
use tonic::Status;
use tonic::body::Body;

use crate::unreadable::explained;

/// Of a call that has one request and one reply, when its caller names none.
pub const UNARY: Duration = Duration::from_secs(30);
/// Of a call with a stream, when its caller names none.
pub const STREAM: Duration = Duration::from_secs(10 * 60);
/// Longest that any caller gets.
pub const LONGEST: Duration = Duration::from_secs(60 * 60);

const STREAMS: [&str; 5] = [
    "/tiermesh.v1.DocumentService/Submit",
    "/tiermesh.v1.DocumentService/Retrieve",
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];
/// Lives as long as its link.
const ENDLESS: &str = "/tiermesh.v1.FeedService/Ship";

/// Puts every call of the inner service under a deadline.
#[derive(Debug, Clone)]
pub struct Deadlines<S> {
    inner: S,
}

impl<S> Deadlines<S> {
    pub fn new(inner: S) -> Self {
        Self { inner }
    }
}

/// The time a call may take, or none for one that lives as long as its link.
fn allowed(path: &str, headers: &HeaderMap) -> Result<Option<Duration>, Status> {
    let asked = headers.get("grpc-timeout").map(parse).transpose()?;
    if path == ENDLESS {
        return Ok(asked);
    }
    let default = if STREAMS.contains(&path) { STREAM } else { UNARY };
    Ok(Some(asked.unwrap_or(default).min(LONGEST)))
}

/// Reads a `grpc-timeout`: one to eight digits and a unit, nothing else (gRPC over HTTP/2, *Requests*).
fn parse(value: &HeaderValue) -> Result<Duration, Status> {
    let malformed = || Status::invalid_argument("grpc-timeout must be 1 to 8 digits and one of H M S m u n");
    let (unit, digits) = value.as_bytes().split_last().ok_or_else(malformed)?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return Err(malformed());
    }
    let count = digits.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    match unit {
        b'H' => Ok(Duration::from_secs(count * 3600)),
        b'M' => Ok(Duration::from_secs(count * 60)),
        b'S' => Ok(Duration::from_secs(count)),
        b'm' => Ok(Duration::from_millis(count)),
        b'u' => Ok(Duration::from_micros(count)),
        b'n' => Ok(Duration::from_nanos(count)),
        _ => Err(malformed()),
    }
}

/// The deadline of a call that came through [`Deadlines`].
pub(crate) fn deadline_of<T>(request: &tonic::Request<T>) -> Deadline {
    request.extensions().get().copied().unwrap_or_else(|| Deadline::after(UNARY))
}

fn exceeded() -> Status {
    crate::error::to_status(exchange::ExchangeError::Deadline {
        message: "the deadline of the call has passed".into(),
    })
}

impl<S, B> tower::Service<Request<B>> for Deadlines<S>
where
    S: tower::Service<Request<B>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let allowed = match allowed(request.uri().path(), request.headers()) {
            Ok(allowed) => allowed,
            Err(status) => return Box::pin(std::future::ready(Ok(status.into_http()))),
        };
        let Some(allowed) = allowed else { return Box::pin(self.inner.call(request)) };
        let deadline = Deadline::after(allowed);
        request.extensions_mut().insert(deadline);
        let reply = self.inner.call(request);
        Box::pin(async move {
            match tokio::time::timeout_at(deadline.instant(), reply).await {
                Ok(Ok(reply)) => Ok(explained(reply).map(|body| Timed::body(body, deadline.instant()))),
                Err(_elapsed) => Ok(exceeded().into_http()),
            }
        })
    }
}

/// A response body that ends at a moment.
struct Timed {
    /// None after the end: what made the body is cancelled by then.
    inner: Option<Body>,
    end: Pin<Box<Sleep>>,
}

impl Timed {
    fn body(inner: Body, end: Instant) -> Body {
        // A refusal in the headers has no body to limit.
        if http_body::Body::is_end_stream(&inner) {
            return inner;
        }
        Body::new(Self { inner: Some(inner), end: Box::pin(tokio::time::sleep_until(end)) })
    }
}

impl http_body::Body for Timed {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(inner) = &mut self.inner else { return Poll::Ready(None) };
        // What is ready goes first, so that a reply made in time is not cut; a stream that always has more still ends.
        let frame = Pin::new(inner).poll_frame(context);
        let late = self.end.deadline() <= Instant::now() || self.end.as_mut().poll(context).is_ready();
        let last = matches!(&frame, Poll::Ready(None))
            || matches!(&frame, Poll::Ready(Some(Ok(f))) if f.is_trailers());
        if !late || last {
            return frame;
        }
        self.inner = None;
        let mut trailers = HeaderMap::new();
        match exceeded().add_header(&mut trailers) {
            Ok(()) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            Err(status) => Poll::Ready(Some(Err(status))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        // A body that may be cut short cannot promise its size.
        SizeHint::new()
    }
}

#[cfg(test)]
mod tests;
