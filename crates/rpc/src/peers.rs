//! Calls to the neighbours: `exchange::Peers` over the connections in use.
//!
//! The rest of the deadline travels as `grpc-timeout` and is also kept here, so a neighbour that hangs costs no more than
//! one that answers. Context, hop count and trace id travel as the use case gives them.

use async_trait::async_trait;
use bytes::Bytes;
use exchange::{Content, Deadline, ExchangeError, Hop, PeerError, Peers};
use futures_util::stream::{BoxStream, StreamExt};
use model::RecordKey;
use model::fetch::Fetched;
use model::query::{ContentQuery, DocumentAnswer, DocumentQuery, PatientAnswer, PatientQuery};
use tokio::sync::OwnedSemaphorePermit;
use tonic::{Code, Request, Status, Streaming};
use wire::v1;
use wire::v1::retrieve_document_reply::Part;

use crate::client::plain;
use crate::connection::Channel;
use crate::error::from_status;
use crate::neighbours::Neighbours;

/// A neighbour about to be called.
struct Way {
    to: String,
    channel: Channel,
    deadline: Deadline,
}

impl Neighbours {
    fn way(&self, hop: &Hop, deadline: Deadline) -> Result<Way, PeerError> {
        let channel = self.channel(hop)?;
        let to = self.path(hop).map(|path| path.to_string()).unwrap_or_default();
        Ok(Way { to, channel, deadline })
    }
}

impl Way {
    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.deadline.remaining());
        request
    }

    /// Waits for the neighbour, at most until the deadline.
    async fn within<T>(&self, call: impl Future<Output = Result<T, Status>>) -> Result<T, PeerError> {
        match tokio::time::timeout_at(self.deadline.instant(), call).await {
            Ok(answer) => answer.map_err(|status| self.failed(&status)),
            Err(_elapsed) => Err(PeerError::Deadline { to: self.to.clone() }),
        }
    }

    fn failed(&self, status: &Status) -> PeerError {
        let to = self.to.clone();
        match from_status(status) {
            Some(ExchangeError::Deadline { .. }) => PeerError::Deadline { to },
            Some(error) => PeerError::Refused { to, error },
            None if status.code() == Code::DeadlineExceeded => PeerError::Deadline { to },
            None => PeerError::Failed { to, reason: plain(status) },
        }
    }

    fn unreadable(&self, error: &wire::ConvertError) -> PeerError {
        PeerError::Failed { to: self.to.clone(), reason: format!("its answer cannot be read: {error}") }
    }
}

#[async_trait]
impl Peers for Neighbours {
    fn callable(&self, to: &Hop) -> bool {
        self.channel(to).is_ok()
    }

    async fn find_patients(
        &self,
        to: &Hop,
        query: PatientQuery,
        deadline: Deadline,
    ) -> Result<PatientAnswer, PeerError> {
        let way = self.way(to, deadline)?;
        let request = way.request(v1::FindPatientsRequest::from(query));
        let reply = way.within(async { way.channel.patients().find(request).await }).await?;
        reply.into_inner().try_into().map_err(|error| way.unreadable(&error))
    }

    async fn find_documents(
        &self,
        to: &Hop,
        query: DocumentQuery,
        deadline: Deadline,
    ) -> Result<DocumentAnswer, PeerError> {
        let way = self.way(to, deadline)?;
        let request = way.request(v1::FindDocumentsRequest::from(query));
        let reply = way.within(async { way.channel.documents().find(request).await }).await?;
        reply.into_inner().try_into().map_err(|error| way.unreadable(&error))
    }

    async fn retrieve(
        &self,
        to: &Hop,
        query: ContentQuery,
        deadline: Deadline,
    ) -> Result<Content, PeerError> {
        let way = self.way(to, deadline)?;
        let permits = way.channel.content_permits();
        let permit = way
            .within(async {
                permits.acquire_owned().await.map_err(|_| Status::unavailable("the link is closed"))
            })
            .await?;
        let request = way.request(v1::RetrieveDocumentRequest::from(query));
        let reply = way.within(async { way.channel.documents().retrieve(request).await }).await?;
        let mut parts = reply.into_inner();
        let first = way.within(parts.message()).await?;
        let Some(v1::RetrieveDocumentReply { part: Some(Part::Entry(entry)) }) = first else {
            let reason = "its answer does not start with the document's entry".to_owned();
            return Err(PeerError::Failed { to: way.to, reason });
        };
        Ok(Content { entry, chunks: chunks(way, parts, permit) })
    }

    async fn fetch(&self, to: &Hop, keys: Vec<RecordKey>, deadline: Deadline) -> Result<Fetched, PeerError> {
        let way = self.way(to, deadline)?;
        let request = way.request(v1::FetchRequest::from(keys));
        let reply = way.within(async { way.channel.feed().fetch(request).await }).await?;
        reply.into_inner().try_into().map_err(|error| way.unreadable(&error))
    }
}

struct Chunks {
    way: Way,
    parts: Streaming<v1::RetrieveDocumentReply>,
    /// Held until the last chunk was taken.
    _permit: OwnedSemaphorePermit,
}

/// The chunks as the reader asks for them: what it does not take is held back by HTTP/2 flow control at the custodian.
fn chunks(
    way: Way,
    parts: Streaming<v1::RetrieveDocumentReply>,
    permit: OwnedSemaphorePermit,
) -> BoxStream<'static, Result<Bytes, ExchangeError>> {
    let state = Some(Chunks { way, parts, _permit: permit });
    futures_util::stream::unfold(state, |state| async move {
        let mut state = state?;
        match state.way.within(state.parts.message()).await {
            Ok(None) => None,
            Ok(Some(v1::RetrieveDocumentReply { part: Some(Part::Chunk(chunk)) })) => {
                Some((Ok(chunk), Some(state)))
            }
            Ok(Some(_)) => {
                let message = format!("{} sent something else than content", state.way.to);
                Some((Err(ExchangeError::unavailable("CUSTODIAN_UNREACHABLE", message)), None))
            }
            Err(error) => Some((Err(broken(error)), None)),
        }
    })
    .boxed()
}

/// What a break in the middle means to the reader.
fn broken(error: PeerError) -> ExchangeError {
    match error {
        PeerError::Refused { error, .. } => error,
        PeerError::Deadline { .. } => ExchangeError::Deadline { message: error.to_string() },
        error => ExchangeError::unavailable("CUSTODIAN_UNREACHABLE", error.to_string()),
    }
}
