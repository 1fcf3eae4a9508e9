//! A small typed client: every call of the public protocol, with deadlines and typed errors. Cheap to clone.
//!
//! All clones share one HTTP/2 connection, which is dialled again when it ends. A call that failed is not repeated:
//! whether that is safe is the caller's to say (registering and submitting are idempotent).

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use model::body::{DocumentEntry, Registration};
use model::query::{ContentQuery, DocumentAnswer, DocumentQuery, PatientAnswer, PatientQuery};
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tonic::transport::Channel;
use tonic::{Code, Request, Status, Streaming};
use wire::v1;
use wire::v1::document_service_client::DocumentServiceClient;
use wire::v1::node_service_client::NodeServiceClient;
use wire::v1::patient_service_client::PatientServiceClient;

pub use crate::connector::Target;
pub use crate::error::{CliError, Refusal};

/// Deadline of a call unless told otherwise.
pub const TIMEOUT: Duration = Duration::from_secs(30);
/// Deadline of a call that carries content unless told otherwise.
pub const CONTENT_TIMEOUT: Duration = Duration::from_secs(600);
/// Bytes of one chunk of submitted content; the protocol allows 1 MiB.
pub const CHUNK: usize = 256 * 1024;
/// Largest answer accepted, in bytes: a page of document entries at their limits fits.
const MAX_ANSWER: usize = 16 << 20;

/// A connection to one node.
#[derive(Debug, Clone)]
pub struct Client {
    channel: Channel,
    timeout: Option<Duration>,
}

impl Client {
    /// Connects; a wrong address or certificate is an error here, not at the first call.
    pub async fn connect(target: &Target) -> Result<Self, CliError> {
        Ok(Self { channel: crate::connector::connect(target).await?, timeout: None })
    }

    /// The same connection with this deadline for every call, content included. It travels in `grpc-timeout`.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self }
    }

    /// Registers or updates a patient of the calling institution.
    pub async fn register(&self, registration: Registration) -> Result<v1::RegisterReply, CliError> {
        self.change_patient(v1::RegisterRequest { registration: Some(registration), ..Default::default() })
            .await
    }

    /// As [`Client::register`], with an expected version or a withdrawal.
    pub async fn change_patient(&self, request: v1::RegisterRequest) -> Result<v1::RegisterReply, CliError> {
        let (request, deadline) = self.request(request);
        deadline.of(self.patients().register(request).await)
    }

    /// Finds persons.
    pub async fn find_patients(&self, query: PatientQuery) -> Result<PatientAnswer, CliError> {
        let (request, deadline) = self.request(v1::FindPatientsRequest::from(query));
        Ok(deadline.of(self.patients().find(request).await)?.try_into()?)
    }

    /// Submits a document entry whose content is elsewhere: `entry.reference` says where.
    pub async fn submit_reference(&self, entry: DocumentEntry) -> Result<v1::SubmitDocumentReply, CliError> {
        self.submit_document(entry, stream::empty()).await
    }

    /// Submits a document whose content is in memory; fills the entry's size and SHA-256.
    pub async fn submit_bytes(
        &self,
        mut entry: DocumentEntry,
        content: Bytes,
    ) -> Result<v1::SubmitDocumentReply, CliError> {
        entry.size = content.len() as u64;
        entry.sha256 = Bytes::copy_from_slice(&Sha256::digest(&content));
        self.submit_document(entry, stream::iter([Ok(content)])).await
    }

    /// Submits a document; `entry` states the size and SHA-256 of `content`. Pieces of any size are fine.
    /// When `content` fails, the call is cancelled and nothing is filed.
    pub async fn submit_document(
        &self,
        entry: DocumentEntry,
        content: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    ) -> Result<v1::SubmitDocumentReply, CliError> {
        use v1::submit_document_request::Part;
        let (failed, failure) = oneshot::channel();
        let part = |part| v1::SubmitDocumentRequest { part: Some(part) };
        let chunks = content.map_ok(in_chunks).try_flatten().scan(Some(failed), |failed, chunk| {
            let chunk = match chunk {
                Ok(chunk) => Ok(chunk),
                Err(error) => Err(failed.take().map(|failed| failed.send(error))),
            };
            async move {
                match chunk {
                    Ok(chunk) => Some(chunk),
                    // Ending the stream here would look like the end of the content. The call is dropped instead.
                    Err(_) => std::future::pending().await,
                }
            }
        });
        let first = stream::iter([part(Part::Entry(entry))]);
        let parts = first.chain(chunks.map(move |chunk| part(Part::Chunk(chunk))));
        let (request, deadline) = self.content_request(parts);
        let mut documents = self.documents();
        tokio::select! {
            biased;
            Ok(error) = failure => Err(CliError::file("content", &error)),
            reply = documents.submit(request) => deadline.of(reply),
        }
    }

    /// Deprecates or withdraws a document of the calling institution.
    pub async fn change_document(
        &self,
        request: v1::ChangeDocumentStatusRequest,
    ) -> Result<v1::SubmitDocumentReply, CliError> {
        let (request, deadline) = self.request(request);
        deadline.of(self.documents().change_status(request).await)
    }

    /// Finds document entries of a person, one page.
    pub async fn find_documents(&self, query: DocumentQuery) -> Result<DocumentAnswer, CliError> {
        let (request, deadline) = self.request(v1::FindDocumentsRequest::from(query));
        Ok(deadline.of(self.documents().find(request).await)?.try_into()?)
    }

    /// Starts to retrieve a document's content: its entry is here, its chunks follow.
    pub async fn retrieve(&self, query: ContentQuery) -> Result<Retrieval, CliError> {
        use v1::retrieve_document_reply::Part;
        let resumed_at = query.offset;
        let (request, deadline) = self.content_request(v1::RetrieveDocumentRequest::from(query));
        let mut replies = deadline.of(self.documents().retrieve(request).await)?;
        let first = deadline.message(&mut replies).await?;
        match first.and_then(|reply| reply.part) {
            Some(Part::Entry(entry)) => Ok(Retrieval { entry, resumed_at, replies, deadline }),
            _ => Err(CliError::ContentCorrupt("the content did not begin with its entry; report it")),
        }
    }

    /// What the node says about itself.
    pub async fn status(&self) -> Result<v1::NodeStatus, CliError> {
        let (request, deadline) = self.request(v1::GetStatusRequest {});
        deadline.of(self.node().get_status(request).await)
    }

    /// An empty authenticated call. Answers the node's clock, milliseconds since 1970.
    pub async fn ping(&self) -> Result<u64, CliError> {
        let (request, deadline) = self.request(v1::PingRequest {});
        deadline.of(self.node().ping(request).await).map(|reply| reply.now_ms)
    }

    fn request<T>(&self, message: T) -> (Request<T>, Deadline) {
        Deadline::after(self.timeout.unwrap_or(TIMEOUT)).request(message)
    }

    fn content_request<T>(&self, message: T) -> (Request<T>, Deadline) {
        Deadline::after(self.timeout.unwrap_or(CONTENT_TIMEOUT)).request(message)
    }

    fn patients(&self) -> PatientServiceClient<Channel> {
        PatientServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER)
    }

    fn documents(&self) -> DocumentServiceClient<Channel> {
        DocumentServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER)
    }

    fn node(&self) -> NodeServiceClient<Channel> {
        NodeServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER)
    }
}

/// The deadline of one call. The node keeps it, and so does this side, for the whole of a stream.
#[derive(Debug, Clone, Copy)]
struct Deadline {
    allowed: Duration,
    at: Instant,
}

impl Deadline {
    fn after(allowed: Duration) -> Self {
        Self { allowed, at: Instant::now() + allowed }
    }

    fn request<T>(self, message: T) -> (Request<T>, Self) {
        let mut request = Request::new(message);
        request.set_timeout(self.allowed);
        (request, self)
    }

    async fn message<T>(self, replies: &mut Streaming<T>) -> Result<Option<T>, CliError> {
        match tokio::time::timeout_at(self.at, replies.message()).await {
            Ok(reply) => reply.map_err(|status| self.error(status)),
            Err(_) => Err(CliError::Deadline(self.allowed)),
        }
    }

    fn of<T>(self, reply: Result<tonic::Response<T>, Status>) -> Result<T, CliError> {
        reply.map(tonic::Response::into_inner).map_err(|status| self.error(status))
    }

    fn error(self, status: Status) -> CliError {
        match status.code() {
            // Nothing here cancels a call and then reads its answer: this is tonic's word for a deadline on our side.
            Code::Cancelled => CliError::Deadline(self.allowed),
            _ => status.into(),
        }
    }
}

/// A document on its way. Dropping it cancels the call.
#[derive(Debug)]
pub struct Retrieval {
    /// The document's metadata, with size and hash of the whole content.
    pub entry: DocumentEntry,
    resumed_at: u64,
    replies: Streaming<v1::RetrieveDocumentReply>,
    deadline: Deadline,
}

impl Retrieval {
    /// The next piece of content; none at the end. The hash is the caller's to check: see [`Retrieval::read_to_end`].
    pub async fn next_chunk(&mut self) -> Result<Option<Bytes>, CliError> {
        use v1::retrieve_document_reply::Part;
        match self.deadline.message(&mut self.replies).await? {
            None => Ok(None),
            Some(v1::RetrieveDocumentReply { part: Some(Part::Chunk(chunk)) }) => Ok(Some(chunk)),
            Some(_) => Err(CliError::ContentCorrupt("the node sent something else than content; report it")),
        }
    }

    /// The pieces as a stream, which ends after an error.
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes, CliError>> + Send {
        stream::try_unfold(self, |mut retrieval| async move {
            Ok(retrieval.next_chunk().await?.map(|chunk| (chunk, retrieval)))
        })
    }

    /// The whole content in memory, its hash checked. Refused above `most` bytes, and for a resumed retrieval.
    pub async fn read_to_end(mut self, most: usize) -> Result<Bytes, CliError> {
        if self.resumed_at > 0 || self.entry.size > most as u64 {
            return Err(CliError::Usage("this content must be read in pieces"));
        }
        let mut content = Vec::with_capacity(self.entry.size as usize);
        while let Some(chunk) = self.next_chunk().await? {
            if content.len() + chunk.len() > most {
                return Err(CliError::ContentCorrupt("the content is longer than its entry says; report it"));
            }
            content.extend_from_slice(&chunk);
        }
        if self.entry.sha256.as_ref() != Sha256::digest(&content).as_slice() {
            return Err(CliError::ContentCorrupt(
                "the content does not have the hash in its entry; report it",
            ));
        }
        Ok(content.into())
    }
}

fn in_chunks(mut piece: Bytes) -> impl Stream<Item = io::Result<Bytes>> {
    stream::iter(std::iter::from_fn(move || {
        let chunk = piece.split_to(piece.len().min(CHUNK));
        (!chunk.is_empty()).then_some(Ok(chunk))
    }))
}
