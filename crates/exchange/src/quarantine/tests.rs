//! What is said of refused records, and to whom.

use std::sync::Arc;

use model::record::Unsigned;
use model::{EpochId, Flow, Kind, RecordId, SigningKey};
use replication::{Directory, Fact};
use store::{Apply, FeedId, Memory};

use super::*;
use crate::stand_in::{self, Fake};
use crate::{Role, TermKey};

const NODE: OriginId = OriginId([2; 16]);
const TOWN: OriginId = OriginId([3; 16]);
const STRANGER: OriginId = OriginId([9; 16]);
const HOSPITAL: OriginId = OriginId([13; 16]);
const OWN: &str = "530000/532900";
/// Stands for what a registration holds, and is not to be seen anywhere.
const BODY: &[u8] = b"somebody";

fn key(of: u8) -> SigningKey {
    SigningKey::from_seed(&[of; 32])
}

fn version(seq: u64) -> Version {
    Version { term: 1, epoch: 1, seq }
}

fn registration(name: &str, seq: u64, body: &[u8]) -> Record {
    signed(name, version(seq), body)
}

fn signed(name: &str, version: Version, body: &[u8]) -> Record {
    let unsigned = Unsigned {
        flow: Flow::Registration,
        kind: Kind::Registration as u32,
        id: RecordId::of(&[b"", name.as_bytes()]),
        origin: HOSPITAL,
        subject: None,
        tombstone: false,
        body: Bytes::copy_from_slice(body),
    };
    Record::sign(unsigned, version, 5, &key(3)).unwrap()
}

fn refused_from(peer: OriginId, direction: Direction, raw: Vec<u8>) -> Quarantined {
    let hash = RecordId::of(&[&raw]).0;
    Quarantined {
        from: FeedId { peer, direction },
        raw: Bytes::from(raw),
        reason: "a rule".to_owned(),
        hash: [hash, hash].concat().try_into().unwrap(),
    }
}

async fn node() -> (Exchange, Store) {
    let terms = TermKey::new([5; 32]);
    let store = stand_in::store(&Memory::default(), &terms, NODE, key(2));
    store.begin_epoch(EpochId([1; 16]), Vec::new()).await.unwrap();
    let directory = Directory::default();
    let path = |text: &str| text.parse::<NodePath>().unwrap();
    directory.publish([Fact::Key {
        node: TOWN,
        key: key(3).verifying_key(),
        path: Some(path("530000/532900/532901")),
    }]);
    let named = |origin: u8, at: &str, name: &str| Fact::Node {
        origin: OriginId([origin; 16]),
        path: path(at),
        name: name.to_owned(),
        tier: "county".to_owned(),
        version: version(1),
    };
    directory.publish([
        named(3, "530000/532900/532901", "大理市"),
        named(4, "530000/532900/532922", "同名县"),
        named(5, "530000/532900/532923", "同名县"),
    ]);
    directory.publish([Fact::Institution {
        origin: HOSPITAL,
        code: "H13".to_owned(),
        name: "医院".to_owned(),
        writer: TOWN,
        term: 1,
        decided_by: TOWN,
        version: version(1),
    }]);
    let peers = Arc::new(Fake::default());
    (stand_in::exchange(store.clone(), directory, peers, terms, NODE, path(OWN)), store)
}

fn caller(role: Role) -> Caller {
    Caller { path: OWN.parse().unwrap(), role }
}

fn operator() -> Caller {
    caller(Role::Operator { name: "li".to_owned() })
}

#[tokio::test]
async fn every_refused_record_is_told_with_what_became_of_it() {
    let (exchange, store) = node().await;
    let came = |name: &str, seq| registration(name, seq, BODY);
    let names =
        ["missing", "older", "held", "superseded", "other", "forgotten", "overruled", "followed", "passed"];
    let refused = names.map(|name| came(name, 5));
    let later = Version { epoch: 2, ..version(6) };
    let quarantined = refused
        .iter()
        .map(|record| refused_from(TOWN, Direction::Up, record.to_raw().encode_to_vec()))
        .chain([refused_from(STRANGER, Direction::Down, vec![255; 7])])
        .collect();
    let records = vec![
        came("older", 4),
        came("held", 5),
        came("superseded", 6),
        registration("other", 5, b"else"),
        came("forgotten", 5),
        signed("overruled", later, BODY),
        came("followed", 5),
        came("passed", 4),
    ];
    store.apply(Apply { records, quarantined, ..Apply::default() }).await.unwrap();
    let records = vec![signed("followed", later, BODY), signed("passed", later, BODY)];
    store.apply(Apply { records, ..Apply::default() }).await.unwrap();
    let forget = vec![(refused[5].key(), version(5))];
    store.apply(Apply { forget, ..Apply::default() }).await.unwrap();

    let page = exchange.quarantine(&operator(), "", None, 99).await.unwrap();
    assert_eq!((page.refused.len(), page.unreadable, page.next), (10, 0, None));
    let standings: Vec<_> =
        page.refused.iter().map(|one| one.record.as_ref().map(|of| of.standing)).collect();
    assert_eq!(
        standings,
        [
            Some(Standing::Missing),
            Some(Standing::Older(version(4))),
            Some(Standing::Held(version(5))),
            Some(Standing::Superseded(version(6))),
            Some(Standing::OtherBytes(version(5))),
            Some(Standing::Forgotten(version(5))),
            Some(Standing::Overruled(later)),
            Some(Standing::Superseded(later)),
            Some(Standing::Overruled(later)),
            None,
        ]
    );
    let first = &page.refused[0];
    let size = refused[0].to_raw().encode_to_vec().len() as u64;
    assert_eq!((first.from_name.as_str(), first.reason.as_str(), first.bytes), ("大理市", "a rule", size));
    assert_eq!((first.from, first.direction), (TOWN, Direction::Up));
    let record = first.record.as_ref().unwrap();
    assert_eq!((record.key, record.version, record.origin), (refused[0].key(), version(5), HOSPITAL));
    assert_eq!((record.kind, &record.institution), (1, &Some(("H13".to_owned(), "医院".to_owned()))));
    assert_eq!(record.writer, Some("530000/532900/532901".parse().unwrap()));
    let up = FeedId { peer: TOWN, direction: Direction::Up };
    assert_eq!(store.settled(&up).unwrap(), 4, "held, superseded, followed, forgotten");
    let last = &page.refused[9];
    assert_eq!((last.from, &last.from_path, last.direction), (STRANGER, &None, Direction::Down));
    assert!(!format!("{page:?}").contains("somebody"));
}

#[tokio::test]
async fn it_comes_in_pages_and_by_sender() {
    let (exchange, store) = node().await;
    let of = |peer, byte| refused_from(peer, Direction::Up, vec![255, byte]);
    let quarantined = vec![of(TOWN, 1), of(STRANGER, 2), of(TOWN, 3)];
    store.apply(Apply { quarantined, ..Apply::default() }).await.unwrap();
    let first = exchange.quarantine(&operator(), "", None, 2).await.unwrap();
    assert_eq!((first.refused.len(), first.next.is_some()), (2, true));
    let rest = exchange.quarantine(&operator(), "", first.next, 2).await.unwrap();
    assert_eq!((rest.refused.len(), rest.next), (1, None));
    for (from, count) in [
        ("530000/532900/532901", 2),
        ("大理市", 2),
        ("09090909090909090909090909090909", 1),
        ("530000/532900/532922", 0),
    ] {
        let page = exchange.quarantine(&operator(), from, None, 9).await.unwrap();
        assert_eq!(page.refused.len(), count, "{from}");
    }
    for (from, reason) in
        [("530000/530100", "UNKNOWN_NODE"), ("nobody", "UNKNOWN_NODE"), ("同名县", "AMBIGUOUS_NODE")]
    {
        let error = exchange.quarantine(&operator(), from, None, 9).await.unwrap_err();
        assert_eq!(error.reason(), reason, "{from}");
    }
}

#[tokio::test]
async fn only_an_operator_of_this_node_sees_it() {
    let (exchange, _) = node().await;
    let elsewhere = Caller { path: "530000".parse().unwrap(), ..operator() };
    for (caller, reason) in [
        (caller(Role::Institution { code: "H13".to_owned() }), "WRONG_ROLE"),
        (caller(Role::Auditor { name: "wu".to_owned() }), "WRONG_ROLE"),
        (caller(Role::Service { name: "s".to_owned() }), "WRONG_ROLE"),
        (caller(Role::Node), "WRONG_ROLE"),
        (elsewhere, "WRONG_NODE"),
    ] {
        let error = exchange.quarantine(&caller, "", None, 9).await.unwrap_err();
        assert_eq!(error.reason(), reason, "{caller:?}");
    }
}
