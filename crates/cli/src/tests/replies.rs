//! What the small node answers.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use model::body::{DocumentEntry, Registration};
use sha2::{Digest, Sha256};
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_types::{ErrorDetails, StatusExt};
use wire::v1;
use wire::v1::document_service_server::DocumentService;
use wire::v1::node_service_server::NodeService;
use wire::v1::patient_service_server::PatientService;

use super::node::{NOW_MS, PATH};

/// Content that spans several chunks of every size used.
pub fn content() -> Bytes {
    static CONTENT: LazyLock<Bytes> =
        LazyLock::new(|| (0..700_001_u32).map(|place| (place % 251) as u8).collect());
    CONTENT.clone()
}

/// What the node does and has seen.
#[derive(Debug, Default)]
pub struct Behaviour {
    /// Content received, complete with the right hash.
    pub submitted: Mutex<Vec<(DocumentEntry, Bytes)>>,
    /// Calls of `Submit` without the content announced.
    pub broken_off: AtomicU64,
    /// Largest chunk received.
    pub largest_chunk: AtomicU64,
    /// Offsets asked for by `Retrieve`.
    pub offsets: Mutex<Vec<u64>>,
    /// `Retrieve` fails after this many bytes, once; 0: does not.
    pub break_after: AtomicU64,
    /// `Retrieve` sends a wrong byte.
    pub corrupt: AtomicBool,
    /// `Retrieve` stops sending after its entry, without ending.
    pub stall: AtomicBool,
    /// An institution was moved.
    pub moved: AtomicBool,
    /// Codes of institutions whose old writer was done without.
    pub without: Mutex<Vec<String>>,
    /// Calls of `GetStatus`.
    pub looks: AtomicU64,
    /// What was said of two registrations.
    pub decisions: Mutex<Vec<v1::DecideRequest>>,
    /// Contexts of the questions asked.
    pub contexts: Mutex<Vec<v1::QueryContext>>,
}

pub const KEY: &str = "fd068b02febc62566d87f78e11321fa4";
pub const NUMBER: &str = "ZM38P0QYQHH5CVC7";

fn scope() -> v1::AnswerScope {
    let source = v1::Source {
        path: "530000/532900".into(),
        state: v1::SourceState::Replicated as i32,
        heard_ms: NOW_MS - 400,
        ..Default::default()
    };
    v1::AnswerScope { answered_by: PATH.into(), complete: true, sources: vec![source], answered_ms: NOW_MS }
}

/// The one document there is.
pub fn entry() -> DocumentEntry {
    let content = content();
    DocumentEntry {
        document_id: "D1".into(),
        institution_code: "53290112345678901A1001".into(),
        local_id: "P0001".into(),
        type_code: "C0007".into(),
        title: "血常规检验报告".into(),
        created_ms: NOW_MS,
        confidentiality: "N".into(),
        availability: model::Availability::Approved as i32,
        size: content.len() as u64,
        sha256: Bytes::copy_from_slice(&Sha256::digest(&content)),
        ..Default::default()
    }
}

fn reason(code: Code, reason: &str, message: &str) -> Status {
    let details = ErrorDetails::with_error_info(reason, "tiermesh", HashMap::new());
    Status::with_error_details(code, message, details)
}

/// The patients whose names are errors.
fn judge(local_id: &str) -> Result<(), Status> {
    let (code, why, message) = match local_id {
        "BAD" => {
            let mut details = ErrorDetails::with_error_info("INVALID", "tiermesh", HashMap::new());
            details.add_bad_request_violation("registration.birth_date", "the calendar has no such date");
            return Err(Status::with_error_details(Code::InvalidArgument, "not accepted", details));
        }
        "FULL" => {
            let mut details = ErrorDetails::with_retry_info(Some(Duration::from_millis(1500)));
            details.set_error_info("DISK_FULL", "tiermesh", HashMap::new());
            return Err(Status::with_error_details(Code::ResourceExhausted, "the disk is full", details));
        }
        "STRANGER" => (Code::NotFound, "UNKNOWN_PATIENT", "no such patient here"),
        "OTHERS" => (Code::PermissionDenied, "WRONG_INSTITUTION", "not yours"),
        "OLD" => (Code::FailedPrecondition, "VERSION_CONFLICT", "another version is held"),
        "DOWN" => (Code::Unavailable, "NOT_WRITING", "waits for its parent"),
        "FAULT" => (Code::Internal, "INTERNAL", "a fault"),
        _ => return Ok(()),
    };
    Err(reason(code, why, message))
}

#[tonic::async_trait]
impl PatientService for Behaviour {
    async fn register(
        &self,
        request: Request<v1::RegisterRequest>,
    ) -> Result<Response<v1::RegisterReply>, Status> {
        let request = request.into_inner();
        let registration = request.registration.unwrap_or_default();
        if registration.local_id == "SLOW" {
            std::future::pending::<()>().await;
        }
        judge(&registration.local_id)?;
        let outcome =
            if request.withdraw { v1::RegisterOutcome::Withdrawn } else { v1::RegisterOutcome::Created };
        Ok(Response::new(v1::RegisterReply {
            outcome: outcome as i32,
            version: "1.1.7".into(),
            number: NUMBER.into(),
            durability: v1::Durability::Local as i32,
            not_above: String::new(),
        }))
    }

    async fn find(
        &self,
        request: Request<v1::FindPatientsRequest>,
    ) -> Result<Response<v1::FindPatientsReply>, Status> {
        use v1::find_patients_request::By;
        let request = request.into_inner();
        self.contexts.lock().unwrap().push(request.context.unwrap_or_default());
        let Some(By::Number(number)) = request.by else {
            return Ok(Response::new(v1::FindPatientsReply { scope: Some(scope()), ..Default::default() }));
        };
        let registration = Registration {
            local_id: "P0001".into(),
            institution_code: "53290112345678901A1001".into(),
            name: "阿依·古丽".into(),
            ..Default::default()
        };
        let found = v1::PatientRegistration {
            registration: Some(registration),
            version: "1.1.7".into(),
            recorded_ms: NOW_MS,
            node_path: "530000/532900".into(),
            key: vec![7; 16].into(),
        };
        let person = v1::Person { number, registrations: vec![found], r#match: None };
        Ok(Response::new(v1::FindPatientsReply {
            persons: vec![person],
            truncated: false,
            scope: Some(scope()),
        }))
    }
}

#[tonic::async_trait]
impl DocumentService for Behaviour {
    async fn submit(
        &self,
        request: Request<Streaming<v1::SubmitDocumentRequest>>,
    ) -> Result<Response<v1::SubmitDocumentReply>, Status> {
        use v1::submit_document_request::Part;
        let mut parts = request.into_inner();
        let mut unfinished = Unfinished(Some(&self.broken_off));
        let (mut entry, mut content) = (DocumentEntry::default(), Vec::new());
        loop {
            match parts.message().await {
                Ok(None) => break,
                Ok(Some(v1::SubmitDocumentRequest { part: Some(Part::Entry(first)), .. })) => entry = first,
                Ok(Some(v1::SubmitDocumentRequest { part: Some(Part::Chunk(chunk)), .. })) => {
                    self.largest_chunk.fetch_max(chunk.len() as u64, Ordering::Relaxed);
                    content.extend_from_slice(&chunk);
                }
                Ok(Some(_)) => return Err(Status::invalid_argument("no part")),
                Err(status) => return Err(status),
            }
        }
        judge(&entry.local_id)?;
        if entry.reference.is_empty() && entry.sha256 != Bytes::copy_from_slice(&Sha256::digest(&content)) {
            return Err(reason(Code::InvalidArgument, "HASH_MISMATCH", "other content"));
        }
        unfinished.0 = None;
        self.submitted.lock().unwrap().push((entry, content.into()));
        Ok(Response::new(submitted(v1::SubmitOutcome::Created)))
    }

    async fn change_status(
        &self,
        request: Request<v1::ChangeDocumentStatusRequest>,
    ) -> Result<Response<v1::SubmitDocumentReply>, Status> {
        judge(&request.into_inner().local_id)?;
        Ok(Response::new(submitted(v1::SubmitOutcome::Updated)))
    }

    async fn find(
        &self,
        _: Request<v1::FindDocumentsRequest>,
    ) -> Result<Response<v1::FindDocumentsReply>, Status> {
        let key: model::RecordKey = KEY.parse().unwrap();
        let found = v1::FoundDocument {
            entry: Some(entry()),
            version: "1.1.8".into(),
            recorded_ms: NOW_MS,
            custodian_path: "530000/532900".into(),
            key: Bytes::copy_from_slice(key.as_bytes()),
        };
        let next_page_token = "more".to_owned();
        Ok(Response::new(v1::FindDocumentsReply {
            documents: vec![found],
            next_page_token,
            scope: Some(scope()),
        }))
    }

    type RetrieveStream = Pin<Box<dyn Stream<Item = Result<v1::RetrieveDocumentReply, Status>> + Send>>;

    async fn retrieve(
        &self,
        request: Request<v1::RetrieveDocumentRequest>,
    ) -> Result<Response<Self::RetrieveStream>, Status> {
        use v1::retrieve_document_reply::Part;
        let offset = request.into_inner().offset;
        self.offsets.lock().unwrap().push(offset);
        let mut content = content().to_vec();
        if offset > content.len() as u64 {
            return Err(reason(Code::InvalidArgument, "INVALID", "offset is beyond the content"));
        }
        if self.corrupt.load(Ordering::Relaxed) {
            content[500_000] ^= 1;
        }
        let break_after = self.break_after.swap(0, Ordering::Relaxed) as usize;
        let end = if break_after > 0 { break_after } else { content.len() };
        let part = |part| Ok(v1::RetrieveDocumentReply { part: Some(part) });
        let chunks: Vec<_> = content[offset as usize..end]
            .chunks(100_000)
            .map(|chunk| part(Part::Chunk(chunk.to_vec().into())))
            .collect();
        let first = stream::iter([part(Part::Entry(entry()))]);
        let failure =
            (break_after > 0).then(|| Err(reason(Code::Unavailable, "CUSTODIAN_UNREACHABLE", "link lost")));
        let rest = stream::iter(chunks).chain(stream::iter(failure));
        if self.stall.load(Ordering::Relaxed) {
            return Ok(Response::new(first.chain(stream::pending()).boxed()));
        }
        Ok(Response::new(first.chain(rest).boxed()))
    }
}

/// Counts a call that does not get as far as its content's hash. tonic shows a handler the same for a caller that has
/// gone as for the end of the content, if it shows it anything.
struct Unfinished<'a>(Option<&'a AtomicU64>);

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Some(count) = self.0 {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn submitted(outcome: v1::SubmitOutcome) -> v1::SubmitDocumentReply {
    v1::SubmitDocumentReply {
        outcome: outcome as i32,
        version: "1.1.8".into(),
        durability: v1::Durability::Local as i32,
        content_durability: v1::Durability::Local as i32,
        key: vec![0xAB; 16].into(),
        not_above: String::new(),
    }
}

#[tonic::async_trait]
impl NodeService for Behaviour {
    async fn get_status(&self, _: Request<v1::GetStatusRequest>) -> Result<Response<v1::NodeStatus>, Status> {
        let scrub_passes = self.looks.fetch_add(1, Ordering::SeqCst) + 1;
        Ok(Response::new(v1::NodeStatus {
            store: Some(v1::StoreStatus { scrub_passes, scrub_passed_ms: NOW_MS, ..Default::default() }),
            path: PATH.into(),
            name: "云南省".into(),
            tier: "province".into(),
            writing: true,
            now_ms: NOW_MS,
            ..Default::default()
        }))
    }

    async fn ping(&self, _: Request<v1::PingRequest>) -> Result<Response<v1::PingReply>, Status> {
        Ok(Response::new(v1::PingReply { now_ms: NOW_MS }))
    }

    /// A pass that has ended at the second look.
    async fn scrub(&self, _: Request<v1::ScrubRequest>) -> Result<Response<v1::ScrubReply>, Status> {
        Ok(Response::new(v1::ScrubReply { pass: self.looks.load(Ordering::SeqCst) + 2 }))
    }

    /// A move that is possible, and waits for its old writer once it is decided.
    async fn move_institution(
        &self,
        request: Request<v1::MoveInstitutionRequest>,
    ) -> Result<Response<v1::MoveInstitutionReply>, Status> {
        let request = request.into_inner();
        if request.code == "REFUSED" {
            return Err(Status::failed_precondition("on its way"));
        }
        // It files with a third node unless it is this one that it left for.
        let writer = if request.code == "LEFT" { "530000/532600" } else { PATH };
        if !request.expected_from.is_empty() && request.code == "LEFT" && request.to != writer {
            return Err(Status::failed_precondition("the term that would end is another node's"));
        }
        if !request.dry_run {
            self.moved.store(true, Ordering::SeqCst);
            if request.without_old_writer {
                self.without.lock().unwrap().push(request.code.clone());
            }
        }
        let outcome = match (request.code.as_str(), request.dry_run) {
            // It left for this node before.
            ("LEFT", _) if request.to == "530000/532600" => v1::MoveOutcome::There,
            (_, true) => v1::MoveOutcome::Possible,
            (_, false) => v1::MoveOutcome::Decided,
        };
        let link = v1::MoveLink {
            path: request.to.clone(),
            connected: true,
            health: v1::Health::Green.into(),
            position: 7,
            head: 9,
            ..Default::default()
        };
        Ok(Response::new(v1::MoveInstitutionReply {
            outcome: outcome.into(),
            from: PATH.into(),
            to: request.to,
            term: 2,
            registrations: 3,
            travelling: 3,
            upto: 9,
            to_link: Some(link),
            awaited_term: 1,
            awaited_writer: if request.code == "LEFT" { "530000/532900".into() } else { PATH.into() },
            ..Default::default()
        }))
    }

    async fn hand_over(
        &self,
        _: Request<v1::HandOverRequest>,
    ) -> Result<Response<v1::HandOverReply>, Status> {
        Ok(Response::new(v1::HandOverReply {
            outcome: v1::MoveOutcome::Decided.into(),
            documents: 2,
            bytes: 9,
        }))
    }

    /// Two that file there, one of them only while nothing was moved, and one that left; a page each.
    async fn list_institutions(
        &self,
        request: Request<v1::ListInstitutionsRequest>,
    ) -> Result<Response<v1::ListInstitutionsReply>, Status> {
        let request = request.into_inner();
        let moved = self.moved.load(Ordering::SeqCst);
        let without = self.without.lock().unwrap().clone();
        let mut all = vec![("A", moved), ("LEFT", true)];
        all.retain(|(code, _)| !without.iter().any(|done| done == code));
        if request.writer == PATH {
            all.push(("REFUSED", false));
        }
        let rest: Vec<_> = all.into_iter().filter(|(code, _)| *code > request.after.as_str()).collect();
        let more = rest.len() > 1;
        let one = |(code, leaving): (&str, bool)| v1::InstitutionAt {
            code: code.into(),
            name: "医院".into(),
            term: 1,
            leaving,
        };
        let institutions = rest.into_iter().take(1).map(one).collect();
        Ok(Response::new(v1::ListInstitutionsReply { institutions, more }))
    }

    /// Three, one of them from another node, a page of at most two each; the last page says that one more cannot be read.
    async fn list_quarantine(
        &self,
        request: Request<v1::ListQuarantineRequest>,
    ) -> Result<Response<v1::ListQuarantineReply>, Status> {
        let request = request.into_inner();
        let all = [(PATH, 1), ("530000/532900", 2), (PATH, 3)];
        let from = all.iter().filter(|(from, _)| request.from.is_empty() || request.from == *from);
        let after = request.page_token.first().copied().unwrap_or(0);
        let rest: Vec<_> = from.filter(|(_, key)| *key > after).collect();
        let size = (request.page_size as usize).min(2);
        let one = |(from, key): &&(&str, u8)| v1::QuarantinedRecord {
            from_path: (*from).to_owned(),
            key: vec![*key; 16].into(),
            kind: 1,
            standing: v1::QuarantineStanding::Missing.into(),
            ..Default::default()
        };
        let records: Vec<_> = rest.iter().take(size).map(one).collect();
        let more = rest.len() > size;
        let last = records.last().filter(|_| more).map(|one| one.key.slice(..1));
        let unreadable = u32::from(!more && !request.page_token.is_empty());
        Ok(Response::new(v1::ListQuarantineReply {
            records,
            next_page_token: last.unwrap_or_default(),
            unreadable,
        }))
    }
}
