//! Whether the bodies of known kinds say the same as their envelopes.

use model::body::{DocumentEntry, Kind, Registration};
use model::{Number, OriginId, Record, RecordId, RecordKey, TrustDomain};

use super::{Reason, flow_of, known_kind};

/// Checks flow, id, subject, origin and body of a record that is no directory record; unknown kinds are opaque.
pub(super) fn check(record: &Record, trust_domain: &TrustDomain) -> Result<(), Reason> {
    let Some(kind) = known_kind(record) else { return Ok(()) };
    if record.envelope().known_flow() != Some(flow_of(kind)) {
        return Err(Reason::WrongFlow);
    }
    match kind {
        Kind::Registration => registration(record, trust_domain),
        Kind::DocumentEntry => document_entry(record, trust_domain),
        // Directory kinds, ends of terms and links are judged apart; of the others no form is known here.
        _ => Ok(()),
    }
}

fn registration(record: &Record, trust_domain: &TrustDomain) -> Result<(), Reason> {
    let envelope = record.envelope();
    if envelope.subject != Some(record.key()) {
        return Err(Reason::WrongSubject);
    }
    if envelope.tombstone {
        return Ok(());
    }
    let body: Registration = record.decode_body().map_err(|_| Reason::Body("registration"))?;
    if envelope.id != RecordId::of(&[body.source_system.as_bytes(), body.local_id.as_bytes()]) {
        return Err(Reason::WrongId);
    }
    // A number that was not born with this registration could take a person's number over.
    if body.number != Number::of(record.key()).as_str() {
        return Err(Reason::Body("registration's number"));
    }
    of_institution(envelope.origin, trust_domain, &body.institution_code)
}

fn document_entry(record: &Record, trust_domain: &TrustDomain) -> Result<(), Reason> {
    let envelope = record.envelope();
    if envelope.tombstone {
        return Ok(());
    }
    let body: DocumentEntry = record.decode_body().map_err(|_| Reason::Body("document entry"))?;
    if envelope.id != RecordId::of(&[body.document_id.as_bytes()]) {
        return Err(Reason::WrongId);
    }
    let patient = RecordId::of(&[body.source_system.as_bytes(), body.local_id.as_bytes()]);
    if envelope.subject != Some(RecordKey::of(Kind::Registration as u32, envelope.origin, patient)) {
        return Err(Reason::WrongSubject);
    }
    of_institution(envelope.origin, trust_domain, &body.institution_code)
}

fn of_institution(origin: OriginId, trust_domain: &TrustDomain, code: &str) -> Result<(), Reason> {
    if origin == OriginId::of_institution(trust_domain, code) { Ok(()) } else { Err(Reason::WrongOrigin) }
}
