//! JSON of documents.

use model::body;
use model::query::{DocumentAnswer, FoundDocument};
use serde::Serialize;
use wire::v1;

use super::{Scope, durability};
use crate::text::hex;

#[derive(Serialize)]
pub(crate) struct Submitted {
    pub document_id: String,
    /// `created`, `updated` or `unchanged`.
    pub outcome: &'static str,
    pub version: String,
    pub durability: &'static str,
    pub content_durability: &'static str,
    /// For `document get`.
    pub key: String,
    /// Why it is not known to be durable at the parent, when that was asked for; empty otherwise.
    pub not_above: String,
}

impl Submitted {
    pub fn new(document_id: &str, reply: &v1::SubmitDocumentReply) -> Self {
        use v1::SubmitOutcome as Outcome;
        Self {
            document_id: document_id.to_owned(),
            outcome: match reply.outcome() {
                Outcome::Created => "created",
                Outcome::Updated => "updated",
                Outcome::Unchanged => "unchanged",
                Outcome::Unspecified => "unknown",
            },
            version: reply.version.clone(),
            durability: durability(reply.durability()),
            content_durability: durability(reply.content_durability()),
            key: hex(&reply.key),
            not_above: reply.not_above.clone(),
        }
    }
}

#[derive(Serialize)]
pub(crate) struct Documents {
    #[allow(clippy::struct_field_names)] // the name in the protocol
    pub documents: Vec<Document>,
    /// For `--page-token`; empty on the last page.
    pub next_page_token: String,
    pub scope: Scope,
}

#[derive(Serialize)]
pub(crate) struct Document {
    pub entry: Entry,
    pub version: String,
    pub recorded_ms: u64,
    /// Empty when not known.
    pub custodian_path: String,
    pub key: String,
}

/// A document entry, as in `proto/tiermesh/v1/record.proto`.
#[derive(Serialize)]
pub(crate) struct Entry {
    pub document_id: String,
    pub institution_code: String,
    pub local_id: String,
    pub source_system: String,
    pub type_code: String,
    pub title: String,
    pub created_ms: u64,
    pub service_start_ms: u64,
    pub service_stop_ms: u64,
    pub authors: Vec<String>,
    pub department: String,
    pub confidentiality: String,
    pub media_type: String,
    pub language: String,
    /// `approved`, `deprecated`, `withdrawn` or `unknown`.
    pub availability: &'static str,
    pub replaces: String,
    pub replaced_by: String,
    pub status_reason: String,
    pub size: u64,
    pub sha256: String,
    pub sha1: String,
    pub custodian: String,
    pub reference: String,
    pub born_ms: u64,
}

/// The word for a document's availability.
pub(crate) fn availability(availability: body::Availability) -> &'static str {
    match availability {
        body::Availability::Approved => "approved",
        body::Availability::Deprecated => "deprecated",
        body::Availability::Withdrawn => "withdrawn",
        body::Availability::Unspecified => "unknown",
    }
}

impl From<&body::DocumentEntry> for Entry {
    fn from(entry: &body::DocumentEntry) -> Self {
        let availability = availability(entry.availability());
        let entry = entry.clone();
        Self {
            document_id: entry.document_id,
            institution_code: entry.institution_code,
            local_id: entry.local_id,
            source_system: entry.source_system,
            type_code: entry.type_code,
            title: entry.title,
            created_ms: entry.created_ms,
            service_start_ms: entry.service_start_ms,
            service_stop_ms: entry.service_stop_ms,
            authors: entry.authors,
            department: entry.department,
            confidentiality: entry.confidentiality,
            media_type: entry.media_type,
            language: entry.language,
            availability,
            replaces: entry.replaces,
            replaced_by: entry.replaced_by,
            status_reason: entry.status_reason,
            size: entry.size,
            sha256: hex(&entry.sha256),
            sha1: hex(&entry.sha1),
            custodian: hex(&entry.custodian),
            reference: entry.reference,
            born_ms: entry.born_ms,
        }
    }
}

impl From<&DocumentAnswer> for Documents {
    fn from(answer: &DocumentAnswer) -> Self {
        let document = |found: &FoundDocument| Document {
            entry: (&found.entry).into(),
            version: found.version.to_string(),
            recorded_ms: found.recorded_ms,
            custodian_path: found.custodian_path.clone(),
            key: found.key.to_string(),
        };
        Self {
            documents: answer.documents.iter().map(document).collect(),
            next_page_token: answer.next_page_token.clone(),
            scope: (&answer.scope).into(),
        }
    }
}

#[derive(Serialize)]
pub(crate) struct Fetched {
    pub file: String,
    /// Size of the whole content.
    pub bytes: u64,
    /// Bytes that were there from an earlier attempt.
    pub resumed_at: u64,
    pub sha256: String,
    /// False when the entry states no hash to check against.
    pub checked: bool,
    pub entry: Entry,
}
