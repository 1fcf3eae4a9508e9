//! `DocumentService`: identify, convert, call, convert back. Content goes through in both directions as it comes, with the
//! slower end's pace, and is never held whole.

use bytes::Bytes;
use exchange::{ChangeStatus, Content, Deadline, Exchange, ExchangeError, SubmitOutcome, Submitted};
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use wire::ConvertError;
use wire::v1;
use wire::v1::retrieve_document_reply::Part as Sent;
use wire::v1::submit_document_request::Part as Received;

use crate::caller::identify;
use crate::deadline::deadline_of;
use crate::error::{malformed, to_status};
use crate::patient::{acknowledge, durable};
use crate::unreadable::explain;

/// Most bytes of a chunk that is submitted.
const MAX_CHUNK_IN: usize = 1024 * 1024;
/// Most bytes of a chunk that is sent.
const MAX_CHUNK_OUT: usize = 256 * 1024;
/// Replies made ahead of the reader; when they are full, reading from the custodian waits.
const AHEAD: usize = 2;

/// The service over a node's use cases.
#[derive(Debug, Clone)]
pub(crate) struct Documents {
    pub exchange: Exchange,
}

#[tonic::async_trait]
impl v1::document_service_server::DocumentService for Documents {
    async fn submit(
        &self,
        request: Request<Streaming<v1::SubmitDocumentRequest>>,
    ) -> Result<Response<v1::SubmitDocumentReply>, Status> {
        let (caller, deadline) = (identify(&request)?, deadline_of(&request));
        let mut parts = request.into_inner();
        let Some(v1::SubmitDocumentRequest { part: Some(Received::Entry(entry)), durability }) =
            parts.message().await.map_err(explain)?
        else {
            return Err(bad("part", "the first message must be the entry"));
        };
        let by_reference = !entry.reference.is_empty();
        let mut submission = self
            .exchange
            .begin_document(&caller, entry, acknowledge(durability)?)
            .await
            .map_err(to_status)?;
        while let Some(message) = parts.message().await.map_err(explain)? {
            submission.write(chunk_of(message)?).await.map_err(to_status)?;
        }
        let submitted = submission.finish(deadline).await.map_err(to_status)?;
        let content = if by_reference { v1::Durability::Unspecified } else { v1::Durability::Local };
        Ok(Response::new(reply(submitted, content)))
    }

    async fn change_status(
        &self,
        request: Request<v1::ChangeDocumentStatusRequest>,
    ) -> Result<Response<v1::SubmitDocumentReply>, Status> {
        let (caller, deadline) = (identify(&request)?, deadline_of(&request));
        let change = change_status(request.into_inner())?;
        let submitted = self.exchange.change_status(&caller, change, deadline).await.map_err(to_status)?;
        Ok(Response::new(reply(submitted, v1::Durability::Unspecified)))
    }

    async fn find(
        &self,
        request: Request<v1::FindDocumentsRequest>,
    ) -> Result<Response<v1::FindDocumentsReply>, Status> {
        let (caller, deadline) = (identify(&request)?, deadline_of(&request));
        let query = request.into_inner().try_into().map_err(malformed)?;
        let answer = self.exchange.find_documents(&caller, query, deadline).await.map_err(to_status)?;
        Ok(Response::new(answer.into()))
    }

    type RetrieveStream = ReceiverStream<Result<v1::RetrieveDocumentReply, Status>>;

    async fn retrieve(
        &self,
        request: Request<v1::RetrieveDocumentRequest>,
    ) -> Result<Response<Self::RetrieveStream>, Status> {
        let (caller, deadline) = (identify(&request)?, deadline_of(&request));
        let query = request.into_inner().try_into().map_err(malformed)?;
        let content = self.exchange.retrieve(&caller, query, deadline).await.map_err(to_status)?;
        Ok(Response::new(stream(content, deadline)))
    }
}

fn bad(field: &'static str, rule: &'static str) -> Status {
    malformed(ConvertError { field, rule })
}

fn chunk_of(message: v1::SubmitDocumentRequest) -> Result<Bytes, Status> {
    match message.part {
        Some(Received::Chunk(chunk)) if chunk.len() <= MAX_CHUNK_IN => Ok(chunk),
        Some(Received::Chunk(_)) => Err(bad("chunk", "must have at most 1 MiB")),
        Some(Received::Entry(_)) => Err(bad("part", "after the entry only chunks follow")),
        None => Err(bad("part", "must be given")),
    }
}

fn change_status(request: v1::ChangeDocumentStatusRequest) -> Result<ChangeStatus, Status> {
    let availability =
        request.availability.try_into().map_err(|_| bad("availability", "must be a known value"))?;
    Ok(ChangeStatus {
        document_id: request.document_id,
        source_system: request.source_system,
        local_id: request.local_id,
        availability,
        reason: request.reason,
        acknowledge: acknowledge(request.durability)?,
    })
}

fn reply(submitted: Submitted, content: v1::Durability) -> v1::SubmitDocumentReply {
    let outcome = match submitted.outcome {
        SubmitOutcome::Created => v1::SubmitOutcome::Created,
        SubmitOutcome::Updated => v1::SubmitOutcome::Updated,
        SubmitOutcome::Unchanged => v1::SubmitOutcome::Unchanged,
    };
    let (durability, not_above) = durable(submitted.durable);
    v1::SubmitDocumentReply {
        outcome: outcome.into(),
        version: submitted.version.to_string(),
        durability,
        content_durability: content.into(),
        key: Bytes::copy_from_slice(submitted.key.as_bytes()),
        not_above,
    }
}

type Replies = mpsc::Sender<Result<v1::RetrieveDocumentReply, Status>>;

/// Sends entry and chunks at the reader's pace, from a task of its own: at the deadline it lets go of the content even when
/// the reader has stopped reading, and at once when the reader is gone.
fn stream(content: Content, deadline: Deadline) -> ReceiverStream<Result<v1::RetrieveDocumentReply, Status>> {
    let (replies, stream) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        let gone = replies.clone();
        tokio::select! {
            biased;
            () = gone.closed() => {}
            sent = tokio::time::timeout_at(deadline.instant(), send(content, &replies)) => {
                if sent.is_err() {
                    let error = ExchangeError::Deadline { message: "the deadline of the call has passed".into() };
                    // A reader that stopped reading gets it from the deadline layer when it asks again.
                    let _ = replies.try_send(Err(to_status(error)));
                }
            }
        }
    });
    ReceiverStream::new(stream)
}

async fn send(content: Content, replies: &Replies) {
    let Content { entry, mut chunks } = content;
    let part = |part| Ok(v1::RetrieveDocumentReply { part: Some(part) });
    if replies.send(part(Sent::Entry(entry))).await.is_err() {
        return;
    }
    while let Some(chunk) = chunks.next().await {
        let mut chunk = match chunk {
            Ok(chunk) => chunk,
            Err(error) => {
                // Nobody to tell is no loss: the reader has gone.
                let _ = replies.send(Err(to_status(error))).await;
                return;
            }
        };
        while !chunk.is_empty() {
            let next = chunk.split_to(chunk.len().min(MAX_CHUNK_OUT));
            if replies.send(part(Sent::Chunk(next))).await.is_err() {
                return;
            }
        }
    }
}
