//! A small typed client: every call of the public protocol, with deadlines and typed errors. Cheap to clone.
//!
//! All clones share one HTTP/2 connection, which is dialled again when it ends. A call that failed is not repeated:
//! whether that is safe is the caller's to say (registering and submitting are idempotent).

use std::error::Error;
use std::io;
use std::sync::Arc;
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
use wire::v1::linkage_service_client::LinkageServiceClient;
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
    address: Arc<str>,
    timeout: Option<Duration>,
    durability: v1::Durability,
}

impl Client {
    /// Connects; a wrong address or certificate is an error here, not at the first call.
    pub async fn connect(target: &Target) -> Result<Self, CliError> {
        let channel = crate::connector::connect(target).await?;
        Ok(Self {
            channel,
            address: target.address.as_str().into(),
            timeout: None,
            durability: v1::Durability::Unspecified,
        })
    }

    /// The same connection with this deadline for every call, content included. It travels in `grpc-timeout`.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self }
    }

    /// The same connection with this level for every write; unspecified: as the node is configured.
    #[must_use]
    pub fn with_durability(self, durability: v1::Durability) -> Self {
        Self { durability, ..self }
    }

    /// Registers or updates a patient of the calling institution.
    pub async fn register(&self, registration: Registration) -> Result<v1::RegisterReply, CliError> {
        self.change_patient(v1::RegisterRequest { registration: Some(registration), ..Default::default() })
            .await
    }

    /// As [`Client::register`], with an expected version or a withdrawal.
    pub async fn change_patient(&self, request: v1::RegisterRequest) -> Result<v1::RegisterReply, CliError> {
        let (request, call) =
            self.request(v1::RegisterRequest { durability: self.durability.into(), ..request });
        call.of(self.patients().register(request).await)
    }

    /// Finds persons.
    pub async fn find_patients(&self, query: PatientQuery) -> Result<PatientAnswer, CliError> {
        let (request, call) = self.request(v1::FindPatientsRequest::from(query));
        Ok(call.of(self.patients().find(request).await)?.try_into()?)
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
    /// When `content` fails the call is cancelled, and the node files nothing, for want of the hash.
    pub async fn submit_document(
        &self,
        entry: DocumentEntry,
        content: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    ) -> Result<v1::SubmitDocumentReply, CliError> {
        use v1::submit_document_request::Part;
        let (failed, failure) = oneshot::channel();
        let durability = self.durability.into();
        let part = move |part| v1::SubmitDocumentRequest { part: Some(part), durability };
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
        let (request, call) = self.content_request(parts);
        let mut documents = self.documents();
        tokio::select! {
            biased;
            Ok(error) = failure => Err(CliError::file("content", &error)),
            reply = documents.submit(request) => call.of(reply),
        }
    }

    /// Deprecates or withdraws a document of the calling institution.
    pub async fn change_document(
        &self,
        request: v1::ChangeDocumentStatusRequest,
    ) -> Result<v1::SubmitDocumentReply, CliError> {
        let durability = self.durability.into();
        let (request, call) = self.request(v1::ChangeDocumentStatusRequest { durability, ..request });
        call.of(self.documents().change_status(request).await)
    }

    /// Finds document entries of a person, one page.
    pub async fn find_documents(&self, query: DocumentQuery) -> Result<DocumentAnswer, CliError> {
        let (request, call) = self.request(v1::FindDocumentsRequest::from(query));
        Ok(call.of(self.documents().find(request).await)?.try_into()?)
    }

    /// Starts to retrieve a document's content: its entry is here, its chunks follow.
    pub async fn retrieve(&self, query: ContentQuery) -> Result<Retrieval, CliError> {
        use v1::retrieve_document_reply::Part;
        let resumed_at = query.offset;
        let (request, call) = self.content_request(v1::RetrieveDocumentRequest::from(query));
        let mut replies = call.of(self.documents().retrieve(request).await)?;
        let first = call.message(&mut replies).await?;
        match first.and_then(|reply| reply.part) {
            Some(Part::Entry(entry)) => Ok(Retrieval { entry, resumed_at, replies, call }),
            _ => Err(CliError::ContentCorrupt("the content did not begin with its entry; report it")),
        }
    }

    /// What the node says about itself.
    pub async fn status(&self) -> Result<v1::NodeStatus, CliError> {
        let (request, call) = self.request(v1::GetStatusRequest {});
        call.of(self.node().get_status(request).await)
    }

    /// Has the node read its log again at once. Answers the number of the pass: it has ended when the status's
    /// `scrub_passes` is not less.
    pub async fn scrub(&self) -> Result<u64, CliError> {
        let (request, call) = self.request(v1::ScrubRequest {});
        call.of(self.node().scrub(request).await).map(|reply| reply.pass)
    }

    /// Has an institution file with another node, or says what that would mean.
    pub async fn move_institution(
        &self,
        request: v1::MoveInstitutionRequest,
    ) -> Result<v1::MoveInstitutionReply, CliError> {
        let (request, call) = self.request(request);
        call.of(self.node().move_institution(request).await)
    }

    /// Has a node stand for another one that handed over its institutions.
    pub async fn hand_over(&self, request: v1::HandOverRequest) -> Result<v1::HandOverReply, CliError> {
        let (request, call) = self.request(request);
        call.of(self.node().hand_over(request).await)
    }

    /// The institutions that file with a node, and those that left it and are not through; a page.
    pub async fn list_institutions(
        &self,
        request: v1::ListInstitutionsRequest,
    ) -> Result<v1::ListInstitutionsReply, CliError> {
        let (request, call) = self.request(request);
        call.of(self.node().list_institutions(request).await)
    }

    /// What the node refused of what its neighbours sent; a page.
    pub async fn list_quarantine(
        &self,
        request: v1::ListQuarantineRequest,
    ) -> Result<v1::ListQuarantineReply, CliError> {
        let (request, call) = self.request(request);
        call.of(self.node().list_quarantine(request).await)
    }

    /// Says what two registrations are.
    pub async fn decide(&self, request: v1::DecideRequest) -> Result<v1::DecideReply, CliError> {
        let (request, call) = self.request(request);
        call.of(self.linkage().decide(request).await)
    }

    /// Two registrations and what was decided about them.
    pub async fn explain_pair(&self, request: v1::ExplainPairRequest) -> Result<v1::LinkedPair, CliError> {
        let (request, call) = self.request(request);
        call.of(self.linkage().explain_pair(request).await)
    }

    /// One person whole, now or at an earlier time.
    pub async fn get_person(&self, request: v1::GetPersonRequest) -> Result<v1::GetPersonReply, CliError> {
        let (request, call) = self.request(request);
        call.of(self.linkage().get_person(request).await)
    }

    /// Pairs that a human should look at; a page.
    pub async fn list_reviews(
        &self,
        request: v1::ListReviewsRequest,
    ) -> Result<v1::ListReviewsReply, CliError> {
        let (request, call) = self.request(request);
        call.of(self.linkage().list_reviews(request).await)
    }

    /// How good the persons here are.
    pub async fn get_quality(&self) -> Result<v1::GetQualityReply, CliError> {
        let (request, call) = self.request(v1::GetQualityRequest {});
        call.of(self.linkage().get_quality(request).await)
    }

    /// An empty authenticated call. Answers the node's clock, milliseconds since 1970.
    pub async fn ping(&self) -> Result<u64, CliError> {
        let (request, call) = self.request(v1::PingRequest {});
        call.of(self.node().ping(request).await).map(|reply| reply.now_ms)
    }

    fn request<T>(&self, message: T) -> (Request<T>, Call) {
        self.call(message, TIMEOUT)
    }

    fn content_request<T>(&self, message: T) -> (Request<T>, Call) {
        self.call(message, CONTENT_TIMEOUT)
    }

    fn call<T>(&self, message: T, default: Duration) -> (Request<T>, Call) {
        let allowed = self.timeout.unwrap_or(default);
        let mut request = Request::new(message);
        request.set_timeout(allowed);
        (request, Call { address: self.address.clone(), allowed, until: Instant::now() + allowed })
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

    fn linkage(&self) -> LinkageServiceClient<Channel> {
        LinkageServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER)
    }
}

/// One call: its deadline, which this side keeps as well as the node and for the whole of a stream, and what its
/// errors mean.
#[derive(Debug, Clone)]
struct Call {
    address: Arc<str>,
    allowed: Duration,
    until: Instant,
}

impl Call {
    fn of<T>(&self, reply: Result<tonic::Response<T>, Status>) -> Result<T, CliError> {
        reply.map(tonic::Response::into_inner).map_err(|status| self.error(status))
    }

    async fn message<T>(&self, replies: &mut Streaming<T>) -> Result<Option<T>, CliError> {
        match tokio::time::timeout_at(self.until, replies.message()).await {
            Ok(reply) => reply.map_err(|status| self.error(status)),
            Err(_) => Err(CliError::Deadline(self.allowed)),
        }
    }

    fn error(&self, status: Status) -> CliError {
        // Statuses that tonic made on this side, of what happened to the connection. The node's have no source.
        let broke = status.source().is_some() || status.message().starts_with("h2 protocol error");
        match status.code() {
            Code::Cancelled if Instant::now() >= self.until => CliError::Deadline(self.allowed),
            Code::Cancelled => self.broken(),
            _ if broke => self.broken(),
            _ => status.into(),
        }
    }

    fn broken(&self) -> CliError {
        let why =
            "the connection broke during the call; repeating a call is safe, and dials again".to_owned();
        CliError::Unreachable { address: self.address.to_string(), why }
    }
}

/// A document on its way. Dropping it cancels the call.
#[derive(Debug)]
pub struct Retrieval {
    /// The document's metadata, with size and hash of the whole content.
    pub entry: DocumentEntry,
    resumed_at: u64,
    replies: Streaming<v1::RetrieveDocumentReply>,
    call: Call,
}

impl Retrieval {
    /// The next piece of content; none at the end. The hash is the caller's to check: see [`Retrieval::read_to_end`].
    pub async fn next_chunk(&mut self) -> Result<Option<Bytes>, CliError> {
        use v1::retrieve_document_reply::Part;
        match self.call.message(&mut self.replies).await? {
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
