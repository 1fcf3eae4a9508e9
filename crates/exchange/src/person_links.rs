//! Links as a node writes them: how a body becomes a draft, and what it remembers of the decision before.

use model::body::{Flow, Kind, PastDecision, PersonLink};
use model::person_link::{Decided, MAX_PAST, PersonLinkError};
use model::{OriginId, Record, RecordKey};
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
    use model::body::RegistrationRef;
    use model::record::Unsigned;
    use model::{RecordId, SigningKey, Version};

    use super::*;

    #[test]
    fn of_very_many_decisions_the_first_and_the_latest_are_remembered() {
        let (mut body, mut last) = (PersonLink::default(), None);
        for seq in 1..=40u64 {
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
            let record = Record::sign(unsigned, version, seq, &SigningKey::from_seed(&[1; 32])).unwrap();
            body.past = past(&record, &body);
            last = Some(record);
        }
        let seqs: Vec<u64> = body.past.iter().map(|past| past.recorded_ms).collect();
        assert_eq!(seqs, [1].into_iter().chain(26..=40).collect::<Vec<u64>>());
        let of_another_life = RegistrationRef { born_ms: 9, ..RegistrationRef::default() };
        let another = PersonLink { a: Some(of_another_life), ..PersonLink::default() };
        assert_eq!(
            past(&last.expect("a record"), &another),
            [],
            "nothing of whoever had the local id before"
        );
    }
}
