//! The digests that a store keeps: those of its records, whatever happened on the way to them.

use model::{KeyId, Record, RecordKey, SigningKey};
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use super::support::*;
use crate::*;

/// The digest of these records, from nothing but them.
pub(crate) fn digest_of<'a>(records: impl IntoIterator<Item = &'a Record>) -> Digest {
    let mut digest = Digest::default();
    records.into_iter().for_each(|record| digest.add(&record.key(), contribution(record)));
    digest
}

/// Every way of choosing records by signer and flow gives the digest of just those.
pub(crate) fn check_digests(store: &Store, records: &[Record], context: &str) {
    let (head, all) = store.digest(&|_, _| true);
    assert_eq!(head, store.head(), "{context}");
    assert_eq!(all, digest_of(records), "{context}");
    assert_eq!(all.total().count, records.len() as u64, "{context}");
    let mut classes: Vec<(KeyId, u32)> = Vec::new();
    for record in records {
        let class = (record.envelope().key_id, (record.envelope().flow as u32).min(OTHER_FLOWS));
        if !classes.contains(&class) {
            classes.push(class);
        }
    }
    for class in classes {
        let (_, found) = store.digest(&|signer, flow| (*signer, flow) == class);
        let chosen = |record: &&Record| {
            (record.envelope().key_id, (record.envelope().flow as u32).min(OTHER_FLOWS)) == class
        };
        assert_eq!(found, digest_of(records.iter().filter(chosen)), "{context}, {class:?}");
    }
}

/// The keys of all buckets, read a few at a time.
pub(crate) fn all_buckets(store: &Store, step: usize) -> Vec<RecordKey> {
    let mut keys = Vec::new();
    for bucket in 0..BUCKETS as u16 {
        let mut after = None;
        loop {
            let found = store.bucket(bucket, after, step).unwrap();
            assert!(found.len() <= step && found.iter().all(|key| bucket_of(key) == bucket));
            let end = found.len() < step;
            after = found.last().copied();
            keys.extend(found);
            if end {
                break;
            }
        }
    }
    keys
}

/// A record signed by a writer who may not be the one of the version before.
fn signed(name: &str, seq: u64, flow: i32, tombstone: bool, seed: u8) -> Record {
    let record = foreign(name, seq, "");
    let unsigned = model::record::Unsigned {
        flow: model::Flow::try_from(flow).unwrap(),
        kind: KIND,
        id: record.envelope().id,
        origin: record.envelope().origin,
        subject: None,
        tombstone,
        body: bytes::Bytes::new(),
    };
    Record::sign(unsigned, record.envelope().version, seq, &SigningKey::from_seed(&[seed; 32])).unwrap()
}

/// Versions of a few records, by three writers in three flow classes, in a random order.
fn versions(rng: &mut SmallRng, count: u64) -> Vec<Record> {
    let mut records: Vec<Record> = (1..=count)
        .map(|seq| {
            let name = format!("f{}", rng.random_range(0..count / 3));
            signed(&name, seq, rng.random_range(1..4), rng.random_range(0..5) == 0, rng.random_range(1..4))
        })
        .collect();
    records.shuffle(rng);
    records
}

fn apply(store: &Store, records: &[Record]) {
    now(store.apply(Apply {
        records: records.to_vec(),
        quarantined: vec![],
        forget: vec![],
        position: None,
    }))
    .unwrap();
}

#[test]
fn digests_and_buckets_follow_every_change() {
    for seed in 0..8 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let (storage, index) = (Memory::new(seed), MemoryIndex::default());
        let mut store = open(options(&storage, &index));
        let all = versions(&mut rng, 300);
        let mut rest = all.as_slice();
        while !rest.is_empty() {
            let (next, left) = rest.split_at(rng.random_range(1..=rest.len().min(12)));
            rest = left;
            apply(&store, next);
            match rng.random_range(0..12) {
                0 => {
                    now(store.close()).unwrap();
                    store = Store::open(options(&storage, &index)).unwrap().0;
                }
                1 => {
                    drop(store);
                    store = Store::open(options(&storage, &index)).unwrap().0;
                }
                2 => drop(store.dump_index().unwrap()),
                _ => {}
            }
            check_digests(&store, &whole_feed(&store), &format!("seed {seed}, {} left", rest.len()));
        }
        let mut keys: Vec<_> = whole_feed(&store).iter().map(Record::key).collect();
        keys.sort_unstable();
        for step in [1, 2, 7] {
            assert_eq!(all_buckets(&store, step), keys, "seed {seed}");
        }
        let live = store.dump_index().unwrap();
        let rebuilt = Store::open(options(&storage.copy(), &MemoryIndex::default())).unwrap().0;
        check_digests(&rebuilt, &whole_feed(&store), "rebuilt");
        assert_eq!(rebuilt.dump_index().unwrap(), live, "seed {seed}");
    }
}

#[test]
fn the_order_in_which_records_came_does_not_matter() {
    let mut rng = SmallRng::seed_from_u64(5);
    let mut records = versions(&mut rng, 200);
    let mut digests = Vec::new();
    for batch in [1, 3, 200] {
        let (storage, index) = (Memory::new(batch), MemoryIndex::default());
        let (store, _) = Store::open(options(&storage, &index)).unwrap();
        records.shuffle(&mut rng);
        records.chunks(batch as usize).for_each(|records| apply(&store, records));
        digests.push(store.digest(&|_, _| true).1);
    }
    assert!(digests[0].total().count > 20);
    assert_eq!(digests[0], digests[1]);
    assert_eq!(digests[0], digests[2]);
}

#[test]
fn the_same_version_with_other_bytes_shows_in_its_bucket() {
    let stores = [1, 2].map(|seed| {
        let (storage, index) = (Memory::new(seed), MemoryIndex::default());
        let (store, _) = Store::open(options(&storage, &index)).unwrap();
        apply(
            &store,
            &[foreign("same", 1, "red"), foreign("other", 1, if seed == 1 { "red" } else { "blue" })],
        );
        store
    });
    let [one, other] = stores.map(|store| store.digest(&|_, _| true).1);
    assert_eq!(one.differing(&other), [bucket_of(&foreign("other", 1, "").key())]);
}

#[test]
fn quarantined_records_are_not_counted() {
    let (storage, index) = (Memory::new(1), MemoryIndex::default());
    let (store, _) = Store::open(options(&storage, &index)).unwrap();
    let held = Quarantined {
        from: feed(1),
        raw: bytes::Bytes::from_static(b"raw"),
        reason: "signature".to_owned(),
        hash: [1; 32],
    };
    now(store.apply(Apply { records: vec![], quarantined: vec![held], forget: vec![], position: None }))
        .unwrap();
    assert_eq!(store.digest(&|_, _| true), (1, Digest::default()));
}

#[test]
fn a_record_s_position_is_that_of_its_latest_change() {
    let (storage, index) = (Memory::new(1), MemoryIndex::default());
    let (store, _) = Store::open(options(&storage, &index)).unwrap();
    let key = foreign("a", 1, "").key();
    assert_eq!(store.lsn(&key).unwrap(), None);
    apply(&store, &[foreign("a", 1, "")]);
    apply(&store, &[foreign("b", 1, "")]);
    assert_eq!(store.lsn(&key).unwrap(), Some(1));
    apply(&store, &[foreign("a", 2, "")]);
    assert_eq!(store.lsn(&key).unwrap(), Some(3));
    drop(store.dump_index().unwrap());
    assert_eq!(store.lsn(&key).unwrap(), Some(3), "from the index");
}

#[test]
fn a_full_bucket_is_read_in_order_from_overlay_and_index() {
    let (storage, index) = (Memory::new(1), MemoryIndex::default());
    let (store, _) = Store::open(options(&storage, &index)).unwrap();
    let names = (0..).map(|at| format!("f{at}")).filter(|name| bucket_of(&foreign(name, 1, "").key()) == 7);
    let records: Vec<Record> = names.take(9).map(|name| foreign(&name, 1, "")).collect();
    apply(&store, &records[..5]);
    store.dump_index().unwrap();
    apply(&store, &records[5..]);
    let mut keys: Vec<_> = records.iter().map(Record::key).collect();
    keys.sort_unstable();
    for step in 1..=10 {
        assert_eq!(all_buckets(&store, step), keys);
    }
}

#[test]
fn a_bucket_that_does_not_exist_is_empty() {
    let (storage, index) = (Memory::new(1), MemoryIndex::default());
    let store = open(options(&storage, &index));
    assert_eq!(store.bucket(BUCKETS as u16, None, 10).unwrap(), []);
    let after = Some(RecordKey([0xFF; 16]));
    assert!((0..BUCKETS as u16).all(|bucket| store.bucket(bucket, after, 10).unwrap().is_empty()));
}

#[test]
fn flow_classes_with_invented_numbers_are_counted_together() {
    use prost::Message;
    let (storage, index) = (Memory::new(1), MemoryIndex::default());
    let (store, _) = Store::open(options(&storage, &index)).unwrap();
    for (seq, flow) in [(1, 63), (2, 64), (3, 1000), (4, i32::MAX), (5, -1)] {
        let mut raw = foreign(&format!("f{seq}"), seq, "").to_raw();
        let mut header = model::body::Header::decode(raw.header).unwrap();
        header.flow = flow;
        raw.header = header.encode_to_vec().into();
        apply(&store, &[Record::from_raw(raw).unwrap()]);
    }
    let count = |wanted| store.digest(&|_, flow| flow == wanted).1.total().count;
    assert_eq!((count(63), count(OTHER_FLOWS)), (1, 4));
    check_digests(&store, &whole_feed(&store), "invented");
    let tables = store.dump_index().unwrap().iter().filter(|(key, _)| key[1] == 7).count();
    assert!(tables <= 5, "{tables}");
}
