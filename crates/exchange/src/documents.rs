//! Submitting documents and changing their status.
//!
//! Content first: it is durable in the repository before the entry that names it commits, so an entry never points at
//! content that a crash took. Content without an entry is garbage and harms nobody.

use std::fmt;

use bytes::Bytes;
use model::body::{Availability, DocumentEntry, Flow, Kind};
use model::validate::{Severity, Violation, validate_document_entry};
use model::{OriginId, RecordId, RecordKey, Version};
use prost::Message;
use repository::{RepositoryError, Upload};
use store::{CommitError, Draft, Expect};
use tokio::sync::OwnedSemaphorePermit;

use crate::acknowledge::{Acknowledge, Durable};
use crate::caller::{Action, Caller, permit};
use crate::origin::Writable;
use crate::patients::{Attempt, institution_code, registration_key};
use crate::{Deadline, Exchange, ExchangeError};

const ATTEMPTS: usize = 8;
/// Uploads in progress at one node; each holds at most a few hundred KiB of memory and one file.
pub(crate) const MAX_UPLOADS: usize = 128;

/// What became of a submission or change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubmitOutcome {
    Created,
    Updated,
    Unchanged,
}

/// The entry as held now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submitted {
    pub outcome: SubmitOutcome,
    pub version: Version,
    /// Key of the entry, for retrieving the document.
    pub key: RecordKey,
    pub durable: Durable,
}

/// A wish to deprecate or withdraw a document.
#[derive(Debug, Clone)]
pub struct ChangeStatus {
    pub document_id: String,
    pub source_system: String,
    pub local_id: String,
    pub availability: Availability,
    pub reason: String,
    /// Where it must be durable before the answer; none: as the node is configured.
    pub acknowledge: Option<Acknowledge>,
}

/// A document on its way in. Dropping it leaves nothing.
pub struct DocumentSubmission {
    exchange: Exchange,
    code: String,
    entry: DocumentEntry,
    content: Incoming,
    level: Acknowledge,
    _place: OwnedSemaphorePermit,
}

/// What happens to the content that follows an entry.
enum Incoming {
    Upload(Box<Upload>),
    /// It is held elsewhere; nothing may follow.
    Reference,
}

impl fmt::Debug for DocumentSubmission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DocumentSubmission(\"...\")")
    }
}

fn submitted(outcome: SubmitOutcome, version: Version, key: RecordKey) -> Submitted {
    Submitted { outcome, version, key, durable: Durable::Here }
}

/// Key of the entry of a document of an institution.
pub(crate) fn document_key(origin: OriginId, document_id: &str) -> RecordKey {
    RecordKey::of(Kind::DocumentEntry as u32, origin, document_record_id(document_id))
}

fn document_record_id(document_id: &str) -> RecordId {
    RecordId::of(&[document_id.as_bytes()])
}

impl Exchange {
    /// Takes a document entry; its content follows through [`DocumentSubmission::write`]. Nothing is written before
    /// [`DocumentSubmission::finish`].
    pub async fn begin_document(
        &self,
        caller: &Caller,
        entry: DocumentEntry,
        acknowledge: Option<Acknowledge>,
    ) -> Result<DocumentSubmission, ExchangeError> {
        let _permit = permit(caller, Action::File, &self.parts.node.path)?;
        let level = self.level(acknowledge)?;
        let code = institution_code(caller)?.to_owned();
        let entry = self.checked_entry(entry, &code)?;
        let Writable { origin, term, .. } = self.writable(&code).await?;
        self.living_registration(origin, &entry.source_system, &entry.local_id)?;
        if let Some(held) = self.held_entry(origin, &entry.document_id)? {
            same_document(&held.1, &entry)?;
        }
        if !entry.replaces.is_empty() {
            // Looked at again when the entry commits; here so that content for nothing is not taken.
            self.replacement(origin, term, &entry)?;
        }
        let Ok(place) = self.uploads.clone().try_acquire_owned() else {
            return Err(ExchangeError::Exhausted {
                reason: "OVERLOADED".into(),
                message: format!("{MAX_UPLOADS} uploads are in progress at this node"),
                retry_after_ms: Some(1000),
            });
        };
        let content = if entry.reference.is_empty() {
            let sha256 = entry.sha256[..]
                .try_into()
                .map_err(|_| ExchangeError::internal("a hash of another length"))?;
            Incoming::Upload(Box::new(
                self.parts.repository.begin(entry.size, sha256).await.map_err(content_error)?,
            ))
        } else {
            Incoming::Reference
        };
        Ok(DocumentSubmission { exchange: self.clone(), code, entry, content, level, _place: place })
    }

    fn checked_entry(&self, mut entry: DocumentEntry, code: &str) -> Result<DocumentEntry, ExchangeError> {
        if !entry.institution_code.is_empty() && entry.institution_code != code {
            return Err(ExchangeError::denied(
                "WRONG_INSTITUTION",
                "an institution submits its own documents only",
            ));
        }
        code.clone_into(&mut entry.institution_code);
        entry.custodian = Bytes::copy_from_slice(self.parts.node.origin.as_bytes());
        entry.availability = Availability::Approved as i32;
        entry.replaced_by.clear();
        entry.status_reason.clear();
        let mut violations = validate_document_entry(&entry);
        violations.retain(|violation| violation.severity == Severity::Error);
        if entry.reference.is_empty() && entry.sha256.len() != 32 {
            violations.push(violation(
                "sha256",
                "hash",
                "SHA256_LENGTH",
                "must be 32 bytes when content follows",
            ));
        }
        if !entry.replaces.is_empty() && entry.replaces == entry.document_id {
            violations.push(violation(
                "replaces",
                "document id",
                "REPLACES_ITSELF",
                "a document cannot replace itself",
            ));
        }
        if violations.is_empty() { Ok(entry) } else { Err(ExchangeError::Invalid { violations }) }
    }

    fn living_registration(
        &self,
        origin: OriginId,
        source_system: &str,
        local_id: &str,
    ) -> Result<RecordKey, ExchangeError> {
        let key = registration_key(origin, source_system, local_id);
        match self.parts.store.get(&key)? {
            Some(record) if !record.envelope().tombstone => Ok(key),
            _ => Err(ExchangeError::not_found(
                "UNKNOWN_PATIENT",
                "this institution has registered no such patient; register the patient first",
            )),
        }
    }

    fn held_entry(
        &self,
        origin: OriginId,
        document_id: &str,
    ) -> Result<Option<(Version, DocumentEntry)>, ExchangeError> {
        let Some(record) = self.parts.store.get(&document_key(origin, document_id))? else { return Ok(None) };
        let entry = record.decode_body().map_err(|error| ExchangeError::internal(error.to_string()))?;
        Ok(Some((record.envelope().version, entry)))
    }

    /// Deprecates or withdraws a document of the calling institution. Idempotent.
    pub async fn change_status(
        &self,
        caller: &Caller,
        change: ChangeStatus,
        deadline: Deadline,
    ) -> Result<Submitted, ExchangeError> {
        let _permit = permit(caller, Action::File, &self.parts.node.path)?;
        let code = institution_code(caller)?;
        let level = self.level(change.acknowledge)?;
        check_change(&change)?;
        let mut submitted = self.change_in_turn(code, &change).await?;
        submitted.durable = self.durable(level, submitted.key, submitted.version, deadline).await?;
        Ok(submitted)
    }

    async fn change_in_turn(&self, code: &str, change: &ChangeStatus) -> Result<Submitted, ExchangeError> {
        let _turn = self.turns.of(&document_key(self.institution_origin(code), &change.document_id)).await;
        let mut attempt = 0;
        loop {
            attempt += 1;
            match self.try_change(code, change).await {
                Err(Attempt::Changed) if attempt < ATTEMPTS => {}
                Err(Attempt::Changed) => return Err(CommitError::Changed { key: RecordKey([0; 16]) }.into()),
                Err(Attempt::Failed(error)) => return Err(error),
                Ok(submitted) => return Ok(submitted),
            }
        }
    }

    async fn try_change(&self, code: &str, change: &ChangeStatus) -> Result<Submitted, Attempt> {
        let writable = self.writable(code).await?;
        let key = document_key(writable.origin, &change.document_id);
        let Some((version, held)) = self.held_entry(writable.origin, &change.document_id)? else {
            return Err(unknown_document().into());
        };
        if held.local_id != change.local_id || held.source_system != change.source_system {
            return Err(unknown_document().into());
        }
        let mut entry = held.clone();
        entry.availability = change.availability as i32;
        change.reason.clone_into(&mut entry.status_reason);
        if entry == held {
            return Ok(submitted(SubmitOutcome::Unchanged, version, key));
        }
        if held.availability == Availability::Withdrawn as i32 {
            return Err(ExchangeError::conflict("WITHDRAWN", "a withdrawn document stays withdrawn").into());
        }
        let draft = entry_draft(&entry, writable.origin, writable.term, Expect::Version(version));
        let version = self.commit(writable.enrolment, vec![draft]).await?;
        Ok(submitted(SubmitOutcome::Updated, version, key))
    }

    async fn try_submit(&self, code: &str, entry: &DocumentEntry) -> Result<Submitted, Attempt> {
        let writable = self.writable(code).await?;
        self.living_registration(writable.origin, &entry.source_system, &entry.local_id)?;
        let key = document_key(writable.origin, &entry.document_id);
        let held = self.held_entry(writable.origin, &entry.document_id)?;
        let mut entry = entry.clone();
        entry.born_ms = held.as_ref().map_or_else(|| self.parts.clock.now_ms(), |(_, held)| held.born_ms);
        if let Some((version, held)) = &held {
            same_document(held, &entry)?;
            let retired = !held.replaced_by.is_empty() || held.availability == Availability::Withdrawn as i32;
            if retired && entry.replaces != held.replaces {
                return Err(ExchangeError::conflict(
                    "ALREADY_REPLACED",
                    "a document that was replaced or withdrawn cannot replace another",
                )
                .into());
            }
            entry.availability = held.availability;
            held.replaced_by.clone_into(&mut entry.replaced_by);
            held.status_reason.clone_into(&mut entry.status_reason);
            if entry == *held {
                return Ok(submitted(SubmitOutcome::Unchanged, *version, key));
            }
        }
        let expect = held.as_ref().map_or(Expect::Absent, |(version, _)| Expect::Version(*version));
        let mut drafts = Vec::new();
        if !entry.replaces.is_empty() {
            drafts.extend(self.replacement(writable.origin, writable.term, &entry)?);
        }
        drafts.push(entry_draft(&entry, writable.origin, writable.term, expect));
        let version = self.commit(writable.enrolment, drafts).await?;
        let outcome = if held.is_some() { SubmitOutcome::Updated } else { SubmitOutcome::Created };
        Ok(submitted(outcome, version, key))
    }

    /// The change that a replacement makes to the document it replaces; none if that was made already.
    fn replacement(
        &self,
        origin: OriginId,
        term: u32,
        entry: &DocumentEntry,
    ) -> Result<Option<Draft>, ExchangeError> {
        let Some((version, mut old)) = self.held_entry(origin, &entry.replaces)? else {
            return Err(ExchangeError::not_found(
                "UNKNOWN_DOCUMENT",
                "the document to be replaced is not known",
            ));
        };
        if old.local_id != entry.local_id || old.source_system != entry.source_system {
            return Err(ExchangeError::conflict(
                "OTHER_PATIENT",
                "the document to be replaced is another patient's",
            ));
        }
        if old.replaced_by == entry.document_id {
            return Ok(None);
        }
        if !old.replaced_by.is_empty() || old.availability == Availability::Withdrawn as i32 {
            return Err(ExchangeError::conflict(
                "ALREADY_REPLACED",
                "the document to be replaced is replaced or withdrawn already",
            ));
        }
        old.availability = Availability::Deprecated as i32;
        entry.document_id.clone_into(&mut old.replaced_by);
        Ok(Some(entry_draft(&old, origin, term, Expect::Version(version))))
    }
}

impl DocumentSubmission {
    /// Takes the next piece of content.
    pub async fn write(&mut self, chunk: Bytes) -> Result<(), ExchangeError> {
        match &mut self.content {
            Incoming::Upload(upload) => upload.write(chunk).await.map_err(content_error),
            Incoming::Reference => Err(ExchangeError::unusable(
                "UNEXPECTED_CONTENT",
                "an entry with a reference carries no content",
            )),
        }
    }

    /// Makes content and entry durable, in this order; the entry at the level that was asked for.
    pub async fn finish(self, deadline: Deadline) -> Result<Submitted, ExchangeError> {
        let (exchange, level) = (self.exchange.clone(), self.level);
        let mut submitted = self.commit().await?;
        submitted.durable = exchange.durable(level, submitted.key, submitted.version, deadline).await?;
        Ok(submitted)
    }

    async fn commit(self) -> Result<Submitted, ExchangeError> {
        let Self { exchange, code, mut entry, content, level: _, _place } = self;
        if let Incoming::Upload(upload) = content {
            let stored = upload.finish().await.map_err(content_error)?;
            if !entry.sha1.is_empty() && entry.sha1 != stored.sha1[..] {
                return Err(ExchangeError::unusable(
                    "HASH_MISMATCH",
                    "the content does not have the SHA-1 that its entry states",
                ));
            }
            entry.sha1 = Bytes::copy_from_slice(&stored.sha1);
        }
        let _turn =
            exchange.turns.of(&document_key(exchange.institution_origin(&code), &entry.document_id)).await;
        let mut attempt = 0;
        loop {
            attempt += 1;
            match exchange.try_submit(&code, &entry).await {
                Err(Attempt::Changed) if attempt < ATTEMPTS => {}
                Err(Attempt::Changed) => return Err(CommitError::Changed { key: RecordKey([0; 16]) }.into()),
                Err(Attempt::Failed(error)) => return Err(error),
                Ok(submitted) => return Ok(submitted),
            }
        }
    }
}

fn entry_draft(entry: &DocumentEntry, origin: OriginId, term: u32, expect: Expect) -> Draft {
    Draft {
        flow: Flow::DocumentEntry,
        kind: Kind::DocumentEntry as u32,
        id: document_record_id(&entry.document_id),
        origin,
        term,
        subject: Some(registration_key(origin, &entry.source_system, &entry.local_id)),
        tombstone: false,
        body: entry.encode_to_vec().into(),
        expect,
    }
}

/// A document id stands for one content of one patient for ever.
fn same_document(held: &DocumentEntry, entry: &DocumentEntry) -> Result<(), ExchangeError> {
    let same_patient = held.local_id == entry.local_id && held.source_system == entry.source_system;
    if same_patient
        && held.sha256 == entry.sha256
        && held.size == entry.size
        && held.reference == entry.reference
    {
        return Ok(());
    }
    Err(ExchangeError::exists(
        "DOCUMENT_ID_TAKEN",
        "this document id stands for other content or another patient; submit a new id that replaces it",
    ))
}

fn check_change(change: &ChangeStatus) -> Result<(), ExchangeError> {
    let mut violations = Vec::new();
    if !matches!(change.availability, Availability::Deprecated | Availability::Withdrawn) {
        violations.push(violation(
            "availability",
            "availability status",
            "AVAILABILITY",
            "must be DEPRECATED or WITHDRAWN",
        ));
    }
    if change.availability == Availability::Withdrawn && change.reason.trim().is_empty() {
        violations.push(violation("reason", "text", "REASON_NEEDED", "a withdrawal needs a reason"));
    }
    if change.reason.chars().count() > 256 {
        violations.push(violation("reason", "text", "TOO_LONG", "must have at most 256 characters"));
    }
    if violations.is_empty() { Ok(()) } else { Err(ExchangeError::Invalid { violations }) }
}

fn violation(field: &str, value_class: &'static str, rule: &'static str, message: &str) -> Violation {
    Violation { field: field.into(), value_class, rule, message: message.into(), severity: Severity::Error }
}

fn unknown_document() -> ExchangeError {
    ExchangeError::not_found("UNKNOWN_DOCUMENT", "this patient has no such document of this institution")
}

/// What a content error means to the caller.
pub(crate) fn content_error(error: RepositoryError) -> ExchangeError {
    let message = error.to_string();
    match error {
        RepositoryError::HashMismatch => ExchangeError::unusable("HASH_MISMATCH", message),
        RepositoryError::SizeMismatch { .. } => ExchangeError::unusable("SIZE_MISMATCH", message),
        RepositoryError::TooLarge { .. } => {
            ExchangeError::Exhausted { reason: "CONTENT_TOO_LARGE".into(), message, retry_after_ms: None }
        }
        RepositoryError::Full => {
            ExchangeError::Exhausted { reason: "DISK_FULL".into(), message, retry_after_ms: Some(30_000) }
        }
        RepositoryError::NotFound => ExchangeError::data_loss(
            "CONTENT_MISSING",
            "the content of this document is not in the repository",
        ),
        RepositoryError::Corrupt => ExchangeError::data_loss("CONTENT_CORRUPT", message),
        _ => ExchangeError::unavailable("CONTENT_STORE_FAILED", message),
    }
}
