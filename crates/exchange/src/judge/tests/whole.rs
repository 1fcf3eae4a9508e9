//! A person as an operator of the prefecture is shown it.

use super::*;
use crate::{Caller, ExchangeError, PersonBy, Role, WholePerson};

/// Some time after all registrations of these tests.
const LATER_MS: u64 = 1_790_000_000_000;
const PROVINCE: OriginId = OriginId([1; 16]);
const ELSEWHERE: (OriginId, OriginId) = (OriginId([7; 16]), OriginId([17; 16]));

fn key_at(hospital: OriginId, local_id: &str) -> RecordKey {
    RecordKey::of(Kind::Registration as u32, hospital, RecordId::of(&[b"", local_id.as_bytes()]))
}

async fn shown(
    prefecture: &Prefecture,
    registration: RecordKey,
    as_of_ms: Option<u64>,
) -> Result<WholePerson, ExchangeError> {
    let operator =
        Caller { path: "530000/532900".parse().unwrap(), role: Role::Operator { name: "li.wei".into() } };
    prefecture.exchange.whole_person(&operator, PersonBy::Registration(registration), as_of_ms).await
}

fn ids(person: &WholePerson) -> Vec<&str> {
    person.registrations.iter().map(|one| one.registration.local_id.as_str()).collect()
}

/// A link of the province's linker between A1 and B1, of many decisions: at first they were possibly one person.
fn changed_often(seq: u64, lives: [u64; 2]) -> Record {
    let mut ends = [(HOSPITALS[0], "A1", lives[0]), (HOSPITALS[1], "B1", lives[1])];
    ends.sort_by_key(|(hospital, id, _)| key_at(*hospital, id));
    let [a, b] = ends.map(|(hospital, id, born_ms)| {
        let version = Version { term: 1, epoch: 1, seq: 1 };
        model::person_link::reference(hospital, RecordId::of(&[b"", id.as_bytes()]), born_ms, version)
    });
    let past = |at: u64| PastDecision {
        version: format!("1.1.{}", at + 1),
        recorded_ms: LATER_MS + at * 1000,
        decision: LinkDecision::Possible.into(),
        ..PastDecision::default()
    };
    let body = PersonLink {
        a: Some(a),
        b: Some(b),
        layer: model::body::LinkLayer::Machine.into(),
        decision: LinkDecision::Different.into(),
        basis: model::body::LinkBasis::Score.into(),
        past: [0].into_iter().chain(10..25).map(past).collect(),
        ..PersonLink::default()
    };
    let decided = model::person_link::Decided::read(&body, PROVINCE).unwrap();
    let unsigned = Unsigned {
        flow: Flow::Link,
        kind: Kind::Link as u32,
        id: decided.id(),
        origin: PROVINCE,
        subject: Some(decided.a.key),
        tombstone: false,
        body: body.encode_to_vec().into(),
    };
    Record::sign(unsigned, Version { term: 1, epoch: 1, seq }, LATER_MS + 90_000, &key(1)).unwrap()
}

#[tokio::test]
async fn a_person_is_shown_and_whoever_is_alone_is_not_looked_up() {
    let mut prefecture = Prefecture::start(&Memory::new(1), 1).await;
    prefecture.comes(0, "A1", Some(li("A1"))).await;
    prefecture.comes(1, "B1", Some(li("B1"))).await;
    prefecture.comes(1, "B2", Some(he("B2"))).await;
    let person = shown(&prefecture, key_at(HOSPITALS[0], "A1"), None).await.unwrap();
    assert_eq!((ids(&person).len(), person.links.len(), person.truncated), (2, 1, false));
    assert!(person.registrations.iter().all(|one| one.registration.name == "李国强"));
    let alone = shown(&prefecture, key_at(HOSPITALS[1], "B2"), None).await.unwrap();
    assert_eq!((ids(&alone), alone.links.len()), (vec![""], 0));
    let before = shown(&prefecture, key_at(HOSPITALS[0], "A1"), Some(1)).await;
    assert_eq!(before.unwrap_err().reason(), "UNKNOWN_PERSON", "not born yet");
}

#[tokio::test]
async fn what_is_no_longer_this_nodes_to_tell_is_unknown() {
    let prefecture = Prefecture::start(&Memory::new(1), 1).await;
    let (node, hospital) = ELSEWHERE;
    let directory = &prefecture.exchange.parts.directory;
    let path = Some("530000/530100".parse().unwrap());
    directory.publish([Fact::Key { node, key: key(7).verifying_key(), path }]);
    directory.publish([Fact::Institution {
        origin: hospital,
        code: "H7".into(),
        name: String::new(),
        writer: node,
        term: 1,
        decided_by: node,
        version: Version { term: 1, epoch: 1, seq: 1 },
    }]);
    let id = RecordId::of(&[b"", b"C1"]);
    let unsigned = Unsigned {
        flow: Flow::Registration,
        kind: Kind::Registration as u32,
        id,
        origin: hospital,
        subject: Some(key_at(hospital, "C1")),
        tombstone: false,
        body: li("C1").encode_to_vec().into(),
    };
    let record = Record::sign(unsigned, Version { term: 1, epoch: 1, seq: 1 }, 5, &key(7)).unwrap();
    prefecture.store.apply(Apply { records: vec![record], ..Apply::default() }).await.unwrap();
    let refused = shown(&prefecture, key_at(hospital, "C1"), None).await.unwrap_err();
    assert_eq!(refused.reason(), "UNKNOWN_PERSON");
}

#[tokio::test]
async fn an_answer_that_rests_on_what_a_link_has_forgotten_says_so() {
    let mut prefecture = Prefecture::start(&Memory::new(1), 1).await;
    let path = Some("530000".parse().unwrap());
    prefecture.exchange.parts.directory.publish([Fact::Key {
        node: PROVINCE,
        key: key(1).verifying_key(),
        path,
    }]);
    prefecture.comes(0, "A1", Some(li("A1"))).await;
    prefecture.comes(1, "B1", Some(he("B1"))).await;
    let born = li("A1").born_ms;
    let incomplete = async |as_of_ms| {
        let person = shown(&prefecture, key_at(HOSPITALS[0], "A1"), as_of_ms).await.unwrap();
        assert_eq!(person.registrations.len(), 1);
        assert!(person.links.is_empty(), "whom a linker holds apart is somebody else");
        person.incomplete
    };
    // Of other lives of the two it says nothing.
    let records = vec![changed_often(1, [born, born + 1])];
    prefecture.store.apply(Apply { records, ..Apply::default() }).await.unwrap();
    prefecture.quiet().await;
    assert!(!incomplete(Some(LATER_MS + 5_000)).await);
    let records = vec![changed_often(2, [born, born])];
    prefecture.store.apply(Apply { records, ..Apply::default() }).await.unwrap();
    prefecture.quiet().await;
    assert!(
        incomplete(Some(LATER_MS + 5_000)).await,
        "between the first decision and the next that is known"
    );
    for known in [None, Some(LATER_MS - 1), Some(LATER_MS + 12_000), Some(LATER_MS + 99_000)] {
        assert!(!incomplete(known).await, "{known:?}");
    }
}
