//! The rules of a document entry.

use super::{
    END_OF_TIME_MS, Findings, MAX_AUTHORS, MAX_DEPARTMENT, MAX_ID, MAX_LANGUAGE, MAX_MEDIA_TYPE, MAX_NAME,
    MAX_REFERENCE, MAX_STATUS_REASON, MAX_TITLE, Violation, rule,
};
use crate::body::{Availability, DocumentEntry};
use crate::codes;

/// Every rule that a document entry breaks, in the order of its fields; empty when it is in order.
pub fn validate_document_entry(entry: &DocumentEntry) -> Vec<Violation> {
    let mut findings = Findings::default();
    findings.required_text("document_id", "document id", &entry.document_id, MAX_ID);
    findings.one_spelling("document_id", "document id", &entry.document_id);
    findings.institution_code(&entry.institution_code);
    findings.patient_key(&entry.local_id, &entry.source_system);
    let known = codes::DOCUMENT_TYPES.contains(&entry.type_code);
    findings.code("type_code", "document type", known, "WS/T 500-2016 or WS/T 483-2016");
    findings.text("title", "title", &entry.title, MAX_TITLE);
    times(&mut findings, entry);
    findings.count("authors", "authors", entry.authors.len(), MAX_AUTHORS);
    for (place, author) in entry.authors.iter().take(MAX_AUTHORS).enumerate() {
        findings.required_text(&format!("authors[{place}]"), "name", author, MAX_NAME);
    }
    findings.text("department", "department", &entry.department, MAX_DEPARTMENT);
    let known = codes::CONFIDENTIALITY.contains(&entry.confidentiality);
    findings.code(
        "confidentiality",
        "confidentiality",
        known,
        "HL7 2.16.840.1.113883.5.25 (U, L, M, N, R, V)",
    );
    media_type(&mut findings, &entry.media_type);
    if !is_language(&entry.language) {
        findings.error("language", "language", "LANGUAGE_FORM", "a BCP 47 tag such as zh-CN");
    }
    status(&mut findings, entry);
    content(&mut findings, entry);
    findings.0
}

fn times(findings: &mut Findings, entry: &DocumentEntry) {
    let (start, stop) = (entry.service_start_ms, entry.service_stop_ms);
    if entry.created_ms == 0 {
        findings.error(
            "created_ms",
            "time",
            rule::REQUIRED,
            "the time when the document was made is required",
        );
    }
    for (field, time) in
        [("created_ms", entry.created_ms), ("service_start_ms", start), ("service_stop_ms", stop)]
    {
        if time >= END_OF_TIME_MS {
            findings.error(
                field,
                "time",
                "TIME_OUT_OF_RANGE",
                "milliseconds since 1970-01-01 UTC, before the year 10000",
            );
        }
    }
    if start != 0 && stop != 0 && stop < start {
        findings.error("service_stop_ms", "time", "TIME_ORDER", "before service_start_ms");
    }
}

fn media_type(findings: &mut Findings, media_type: &str) {
    let before = findings.0.len();
    findings.required_text("media_type", "media type", media_type, MAX_MEDIA_TYPE);
    if findings.0.len() == before && !is_media_type(media_type) {
        findings.error("media_type", "media type", "MEDIA_TYPE_FORM", "a type and subtype such as text/xml");
    }
}

/// A type and a subtype (RFC 6838), perhaps with parameters, whose form is left to who reads them.
fn is_media_type(text: &str) -> bool {
    let name = text.split(';').next().unwrap_or_default().trim_end();
    let token = |part: &str| {
        !part.is_empty() && part.bytes().all(|c| c.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&c))
    };
    text.is_ascii() && name.split_once('/').is_some_and(|(kind, subtype)| token(kind) && token(subtype))
}

/// Empty, or of the outer form of BCP 47: subtags of one to eight letters and digits, the first of letters.
fn is_language(text: &str) -> bool {
    let subtag =
        |part: &str| (1..=8).contains(&part.len()) && part.bytes().all(|c| c.is_ascii_alphanumeric());
    let first = text.split('-').next().unwrap_or_default();
    text.is_empty()
        || (text.len() <= MAX_LANGUAGE
            && first.len() >= 2
            && first.bytes().all(|c| c.is_ascii_alphabetic())
            && text.split('-').all(subtag))
}

fn status(findings: &mut Findings, entry: &DocumentEntry) {
    let availability = Availability::try_from(entry.availability).unwrap_or(Availability::Unspecified);
    let known = availability != Availability::Unspecified;
    findings.code("availability", "availability", known, "Availability");
    for (field, other) in [("replaces", &entry.replaces), ("replaced_by", &entry.replaced_by)] {
        findings.text(field, "document id", other, MAX_ID);
        if !other.is_empty() && *other == entry.document_id {
            findings.error(
                field,
                "document id",
                "DOCUMENT_REPLACES_ITSELF",
                "another document than this one",
            );
        }
    }
    findings.text("status_reason", "reason", &entry.status_reason, MAX_STATUS_REASON);
}

/// Content that a node will hold is named by its SHA-256. The SHA-1 may be empty, as the node computes it on arrival;
/// content elsewhere may lack both.
fn content(findings: &mut Findings, entry: &DocumentEntry) {
    let elsewhere = !entry.reference.is_empty();
    for (field, hash, len) in [("sha256", &entry.sha256, 32), ("sha1", &entry.sha1, 20)] {
        if hash.is_empty() && field == "sha256" && !elsewhere {
            findings.error(field, "hash", rule::REQUIRED, "required for content that a node holds");
        } else if !hash.is_empty() && hash.len() != len {
            findings.error(field, "hash", "HASH_LENGTH", format!("{len} bytes"));
        }
    }
    if entry.custodian.len() != 16 {
        findings.error("custodian", "origin id", "ORIGIN_ID_LENGTH", "16 bytes");
    }
    findings.text("reference", "reference", &entry.reference, MAX_REFERENCE);
}
