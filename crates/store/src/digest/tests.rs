//! Digests as values: what they count, and the bytes that peers and the index see.

use bytes::Bytes;
use model::record::Unsigned;
use model::{Flow, OriginId, RecordId, SigningKey, Version};
use proptest::prelude::*;

use super::*;

fn record(seq: u64, body: &'static [u8]) -> Record {
    let unsigned = Unsigned {
        flow: Flow::Registration,
        kind: 1,
        id: RecordId([0x44; 16]),
        origin: OriginId([0x55; 16]),
        subject: None,
        tombstone: false,
        body: Bytes::from_static(body),
    };
    Record::sign(unsigned, Version { term: 1, epoch: 1, seq }, 1000, &SigningKey::from_seed(&[0x66; 32]))
        .unwrap()
}

fn keys() -> impl Strategy<Value = Vec<(RecordKey, u128)>> {
    prop::collection::vec((prop::array::uniform16(any::<u8>()).prop_map(RecordKey), any::<u128>()), 0..60)
}

fn digest(records: &[(RecordKey, u128)]) -> Digest {
    let mut digest = Digest::default();
    for (key, contribution) in records {
        digest.add(key, *contribution);
    }
    digest
}

proptest! {
    #[test]
    fn neither_order_nor_what_was_taken_out_matters(records in keys(), extra in keys()) {
        let wanted = digest(&records);
        let mut other = digest(&extra);
        for (key, contribution) in records.iter().rev() {
            other.add(key, *contribution);
        }
        for (key, contribution) in &extra {
            other.remove(key, *contribution);
        }
        prop_assert_eq!(&other, &wanted);
        prop_assert_eq!(other.total().count, records.len() as u64);
        let (left, right) = records.split_at(records.len() / 2);
        let mut merged = digest(left);
        merged.merge(&digest(right));
        prop_assert_eq!(&merged, &wanted);
        prop_assert_eq!(wanted.buckets().collect::<Digest>(), wanted);
    }

    #[test]
    fn only_the_bucket_of_a_difference_differs(records in keys(), key in prop::array::uniform16(any::<u8>())) {
        let key = RecordKey(key);
        let before = digest(&records);
        let mut after = before.clone();
        after.add(&key, 1);
        prop_assert_eq!(before.differing(&after), vec![bucket_of(&key)]);
        prop_assert!(before != after);
        prop_assert_eq!(after.bucket(bucket_of(&key)).count, before.bucket(bucket_of(&key)).count + 1);
    }

    #[test]
    fn partitions_survive_the_index(records in keys()) {
        for partition in digest(&records).partitions.iter().flatten() {
            prop_assert_eq!(PartitionDigest::of_value(&partition.to_value()), Ok(**partition));
        }
    }
}

#[test]
fn a_bucket_lies_in_its_partition() {
    let key = |first, second| RecordKey([first, second, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9]);
    assert_eq!(bucket_of(&key(0, 0x3F)), 0);
    assert_eq!(bucket_of(&key(0, 0x40)), 1);
    assert_eq!(bucket_of(&key(0x04, 0)), 16, "the first of the second partition");
    assert_eq!(bucket_of(&key(0xFF, 0xFF)), BUCKETS as u16 - 1);
}

#[test]
fn contributions_are_frozen_and_tell_contents_apart() {
    let one = contribution(&record(3, b"body"));
    assert_eq!(format!("{one:032x}"), GOLDEN);
    assert_ne!(one, contribution(&record(4, b"body")), "another version");
    assert_ne!(one, contribution(&record(3, b"ydob")), "the same version of another body");
}

#[test]
fn damaged_values_are_none() {
    let mut partition = PartitionDigest::default();
    partition.add(5, 7);
    let value = partition.to_value();
    assert_eq!(value.len(), 26);
    for bytes in [&[][..], &value[..25], &[value.clone(), vec![0]].concat()] {
        assert_eq!(PartitionDigest::of_value(bytes), Err(NotADigest));
    }
    assert_eq!(PartitionDigest::of_value(&[0, 0]), Ok(PartitionDigest::default()));
}

#[test]
fn buckets_that_do_not_exist_are_empty() {
    let digest: Digest = [(BUCKETS as u16, BucketDigest { sum: 1, count: 1 })].into_iter().collect();
    assert_eq!(digest, Digest::default());
    assert_eq!(digest.bucket(u16::MAX), BucketDigest::default());
}

const GOLDEN: &str = "400dbcee465121d40081d1f0ac71ace3";
