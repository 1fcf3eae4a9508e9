//! Links as a node writes them: how a body becomes a draft, and what it remembers of the decision before.

use model::body::{Flow, Kind, PastDecision, PersonLink};
use model::person_link::{Decided, MAX_PAST, PersonLinkError};
use model::{OriginId, Record, RecordKey, Version};
use prost::Message;
use store::{Draft, Expect, ReadError, Store};

/// Key of the record in which a node says what `decided` says.
pub(crate) fn link_key(decided: &Decided) -> RecordKey {
    RecordKey::of(Kind::Link as u32, decided.by, decided.id())
}

/// The draft of a link of this node, and the record that it follows.
pub(crate) fn link_draft(
    mut body: PersonLink,
    own: OriginId,
    store: &Store,
) -> Result<(Draft, Option<Record>), DraftError> {
    let decided = Decided::read(&body, own)?;
    let before = store.get(&link_key(&decided))?;
    body.past = before.as_ref().map(|before| past(before, &body)).unwrap_or_default();
    let draft = Draft {
        flow: Flow::Link,
        kind: Kind::Link as u32,
        id: decided.id(),
        origin: own,
        term: 1,
        subject: Some(decided.a.key),
        tombstone: false,
        body: body.encode_to_vec().into(),
        expect: before.as_ref().map_or(Expect::Absent, |record| Expect::Version(record.envelope().version)),
    };
    Ok((draft, before))
}

/// Why a link cannot be drafted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DraftError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Link(#[from] PersonLinkError),
}

/// What a link said at a time.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    /// Its weights by field and whether it was doubtful are known of the latest decision only.
    pub body: PersonLink,
    pub version: Version,
    pub recorded_ms: u64,
}

/// What a link said at a time, milliseconds since 1970, or says now; none: nothing yet, or it cannot be read.
pub(crate) fn said_at(record: &Record, as_of_ms: Option<u64>) -> Option<Said> {
    let body: PersonLink = record.decode_body().ok()?;
    let (version, recorded_ms) = (record.envelope().version, record.envelope().recorded_ms);
    let Some(as_of_ms) = as_of_ms.filter(|as_of_ms| recorded_ms > *as_of_ms) else {
        return Some(Said { body, version, recorded_ms });
    };
    let upto = body.past.iter().rposition(|past| past.recorded_ms <= as_of_ms)?;
    said_before(body, upto)
}

/// What a link said first: it never forgets that.
pub(crate) fn said_first(record: &Record) -> Option<Said> {
    let body: PersonLink = record.decode_body().ok()?;
    if body.past.is_empty() { said_at(record, None) } else { said_before(body, 0) }
}

/// What a link said when the past decision at this place was made.
fn said_before(body: PersonLink, place: usize) -> Option<Said> {
    let mut past = body.past;
    past.truncate(place + 1);
    let last = past.pop()?;
    let body = PersonLink {
        decision: last.decision,
        basis: last.basis,
        weight_millibits: last.weight_millibits,
        doubtful: false,
        model: last.model,
        fields: Vec::new(),
        operator: last.operator,
        reason: last.reason,
        past,
        ..body
    };
    Some(Said { body, version: last.version.parse().ok()?, recorded_ms: last.recorded_ms })
}

/// Whether a link may have said something else at that time than [`said_at`] knows: it forgets between its first and its latest decisions.
pub(crate) fn has_forgotten(record: &Record, as_of_ms: u64) -> bool {
    let Ok(PersonLink { past, .. }) = record.decode_body() else { return false };
    match &past[..] {
        [first, second, ..] if past.len() >= MAX_PAST => {
            (first.recorded_ms..second.recorded_ms).contains(&as_of_ms)
        }
        _ => false,
    }
}

/// What a link remembers of its earlier decisions: those of the record before, and that one's own. Nothing of what was decided about
/// somebody who had one of the local ids before.
fn past(before: &Record, now: &PersonLink) -> Vec<PastDecision> {
    let Ok(body) = before.decode_body::<PersonLink>() else { return Vec::new() };
    let lives = |link: &PersonLink| [&link.a, &link.b].map(|end| end.as_ref().map(|end| end.born_ms));
    if lives(&body) != lives(now) {
        return Vec::new();
    }
    let envelope = before.envelope();
    let last = PastDecision {
        version: envelope.version.to_string(),
        recorded_ms: envelope.recorded_ms,
        decision: body.decision,
        basis: body.basis,
        weight_millibits: body.weight_millibits,
        operator: body.operator,
        reason: body.reason,
        model: body.model,
    };
    let mut past = body.past;
    past.push(last);
    // The first one stays, of the others the latest.
    if past.len() > MAX_PAST {
        past.drain(1..=past.len() - MAX_PAST);
    }
    past
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use model::body::{LinkDecision, RegistrationRef};
    use model::record::Unsigned;
    use model::{RecordId, SigningKey};

    use super::*;

    fn sign(seq: u64, body: &PersonLink) -> Record {
        let unsigned = Unsigned {
            flow: Flow::Link,
            kind: Kind::Link as u32,
            id: RecordId::of(&[]),
            origin: OriginId([1; 16]),
            subject: None,
            tombstone: false,
            body: Bytes::from(body.encode_to_vec()),
        };
        let version = Version { term: 1, epoch: 1, seq };
        Record::sign(unsigned, version, seq, &SigningKey::from_seed(&[1; 32])).unwrap()
    }

    #[test]
    fn of_very_many_decisions_the_first_and_the_latest_are_remembered() {
        let (mut body, mut last) = (PersonLink::default(), None);
        for seq in 1..=40u64 {
            let record = sign(seq, &body);
            body.past = past(&record, &body);
            last = Some(record);
        }
        let last = last.expect("a record");
        // What the record after the last one would remember, said as of several times.
        let now = sign(41, &PersonLink { decision: LinkDecision::Same.into(), ..body.clone() });
        let said = |as_of_ms| {
            said_at(&now, as_of_ms).map(|said| (said.version.seq, said.recorded_ms, said.body.past.len()))
        };
        assert_eq!(said(None), Some((41, 41, 16)));
        assert_eq!(said(Some(41)), Some((41, 41, 16)));
        assert_eq!(said(Some(40)), Some((40, 40, 15)));
        assert_eq!(said(Some(25)), Some((1, 1, 0)), "what it said between is forgotten");
        assert_eq!(said(Some(0)), None, "nothing was said yet");
        let forgotten: Vec<u64> = (0..=41).filter(|as_of_ms| has_forgotten(&now, *as_of_ms)).collect();
        assert_eq!(forgotten, (1..26).collect::<Vec<u64>>());
        let seqs: Vec<u64> = body.past.iter().map(|past| past.recorded_ms).collect();
        assert_eq!(seqs, [1].into_iter().chain(26..=40).collect::<Vec<u64>>());
        let of_another_life = RegistrationRef { born_ms: 9, ..RegistrationRef::default() };
        let another = PersonLink { a: Some(of_another_life), ..PersonLink::default() };
        assert_eq!(past(&last, &another), [], "nothing of whoever had the local id before");
    }
}
