//! Records keep their bytes, and every single-byte change is seen.

use super::*;

fn key() -> SigningKey {
    SigningKey::from_seed(&[7; 32])
}

fn sample() -> Record {
    let unsigned = Unsigned {
        flow: Flow::Registration,
        kind: 1,
        id: RecordId([1; 16]),
        origin: OriginId([2; 16]),
        subject: Some(RecordKey([3; 16])),
        tombstone: false,
        body: Bytes::from_static(b"body"),
    };
    Record::sign(unsigned, Version { term: 1, epoch: 2, seq: 3 }, 1_700_000_000_000, &key()).unwrap()
}

#[test]
fn round_trip_verifies() {
    let record = sample();
    let back = Record::from_raw(record.to_raw()).unwrap();
    assert_eq!(back, record);
    assert_eq!(back.verify(&key().verifying_key()), Ok(()));
    assert_eq!(back.verify(&SigningKey::from_seed(&[8; 32]).verifying_key()), Err(RecordError::Signature));
}

#[test]
fn fields_of_a_newer_version_are_kept_and_signed() {
    let record = sample();
    let mut header = record.header.to_vec();
    header.extend_from_slice(&[0xF8, 0x06, 0x2A]); // field 111, varint 42
    let raw = RawRecord {
        signature: Bytes::copy_from_slice(&key().sign(&header)),
        header: Bytes::from(header),
        body: record.body.clone(),
    };
    let newer = Record::from_raw(raw.clone()).unwrap();
    assert_eq!(newer.verify(&key().verifying_key()), Ok(()));
    assert_eq!(newer.to_raw().header, raw.header);
}

#[test]
fn every_flipped_byte_is_noticed() {
    let record = sample();
    let raw = record.to_raw();
    let check =
        |raw: RawRecord| Record::from_raw(raw).and_then(|record| record.verify(&key().verifying_key()));
    let flip = |bytes: &Bytes, at: usize| {
        let mut bytes = bytes.to_vec();
        bytes[at] ^= 1;
        Bytes::from(bytes)
    };
    for at in 0..raw.header.len() {
        assert!(
            check(RawRecord { header: flip(&raw.header, at), ..raw.clone() }).is_err(),
            "header byte {at}"
        );
    }
    for at in 0..raw.body.len() {
        assert!(check(RawRecord { body: flip(&raw.body, at), ..raw.clone() }).is_err(), "body byte {at}");
    }
    for at in 0..raw.signature.len() {
        assert!(
            check(RawRecord { signature: flip(&raw.signature, at), ..raw.clone() }).is_err(),
            "signature {at}"
        );
    }
}

#[test]
fn debug_shows_no_body() {
    assert!(!format!("{:?}", sample()).contains("body\""));
}
