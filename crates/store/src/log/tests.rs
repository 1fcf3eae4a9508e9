//! The bytes of the log, pinned: a change here would orphan every stored log.

use bytes::Bytes;
use model::record::Unsigned;
use model::{Flow, OriginId, Record, RecordId, SigningKey, Version};

use super::format::*;
use super::item::{self, Item, Pointer, Span};
use crate::types::{Direction, FeedId, FeedPosition, Quarantined};

fn identity() -> Identity {
    Identity { store_id: [0x11; 16], node: OriginId([0x22; 16]), salt: 0x3333_3333_3333_3333 }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |out, byte| out + &format!("{byte:02x}"))
}

fn items() -> Vec<Item> {
    let unsigned = Unsigned {
        flow: Flow::Registration,
        kind: 1,
        id: RecordId([0x44; 16]),
        origin: OriginId([0x55; 16]),
        subject: None,
        tombstone: false,
        body: Bytes::from_static(b"body"),
    };
    let version = Version { term: 1, epoch: 2, seq: 3 };
    let older = Unsigned { tombstone: true, body: Bytes::new(), ..unsigned.clone() };
    let key = SigningKey::from_seed(&[0x66; 32]);
    let older = Record::sign(older, Version { term: 1, epoch: 1, seq: 2 }, 900, &key).unwrap();
    let supersedes = Pointer::to(&older, 5, Span { offset: 300, length: 200 });
    let record = Record::sign(unsigned, version, 1000, &key).unwrap();
    let feed = FeedId { peer: OriginId([0x77; 16]), direction: Direction::Down };
    let position = FeedPosition { generation: [0x88; 16], position: 9 };
    let raw = Bytes::from_static(b"raw");
    let held = Quarantined { from: feed, raw, reason: "signature".to_owned(), hash: [0x99; 32] };
    vec![
        Item::Record { record, supersedes: Some(supersedes) },
        Item::Position { feed, position },
        Item::Quarantined(held),
    ]
}

#[test]
fn segment_header_bytes_are_frozen() {
    let header = SegmentHeader { identity: identity(), first_lsn: 7, before: (1, 4096), moved: None };
    let bytes = header.encode();
    assert_eq!(SegmentHeader::decode(&bytes), Ok(header));
    assert_eq!(hex(&bytes), GOLDEN_SEGMENT);
}

#[test]
fn frame_header_bytes_are_frozen() {
    let header = FrameHeader { length: 1000, lsn: 7, place: 2, flags: FLAG_OWN, payload_crc: 0x0102_0304 };
    let bytes = header.encode(identity().salt);
    assert_eq!(FrameHeader::decode(&bytes, identity().salt), Ok(header));
    assert_eq!(header.group(), 5);
    assert_eq!(hex(&bytes), GOLDEN_FRAME);
}

#[test]
fn payload_bytes_are_frozen() {
    let mut payload = Vec::new();
    let spans: Vec<_> = items().iter().map(|item| item::push(item, &mut payload)).collect();
    let payload = Bytes::from(payload);
    let read = item::read_all(&payload).unwrap();
    assert_eq!(read, spans.iter().copied().zip(items()).collect::<Vec<_>>());
    for (span, item) in read {
        let from = span.offset as usize - ITEM_HEADER;
        assert_eq!(item::read_one(payload.slice(from..from + ITEM_HEADER + span.length as usize)), Ok(item));
    }
    assert_eq!(hex(&payload), GOLDEN_PAYLOAD);
}

#[test]
fn a_frame_of_another_log_is_none() {
    let header = FrameHeader { length: 0, lsn: 1, place: 0, flags: 0, payload_crc: 0 };
    let bytes = header.encode(identity().salt);
    assert_eq!(FrameHeader::decode(&bytes, 1), Err(HeaderError::Bad("frame header checksum")));
}

#[test]
fn an_unknown_cipher_or_flag_is_refused_as_such() {
    let salt = identity().salt;
    let with = |at: usize, value: u8| {
        let header = FrameHeader { length: 0, lsn: 1, place: 0, flags: 0, payload_crc: 0 };
        let mut bytes = header.encode(salt);
        bytes[at] = value;
        let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[..28]), &salt.to_le_bytes());
        bytes[28..].copy_from_slice(&crc.to_le_bytes());
        FrameHeader::decode(&bytes, salt)
    };
    assert_eq!(with(18, 1), Err(HeaderError::Unsupported("a cipher")));
    assert_eq!(with(20, 1), Err(HeaderError::Unsupported("a cipher")));
    assert_eq!(with(19, 0x80), Err(HeaderError::Unsupported("a frame flag")));
}

#[test]
fn segment_names_sort_as_their_positions() {
    assert_eq!(segment_name(42), "00000000000000000042.seg");
    assert_eq!(segment_of(&segment_name(u64::MAX)), Some(u64::MAX));
    for other in ["42.seg", "00000000000000000042.torn", "mark", "0000000000000000004x.seg"] {
        assert_eq!(segment_of(other), None, "{other}");
    }
    assert!(segment_name(9) < segment_name(10));
}

const GOLDEN_SEGMENT: &str = concat!(
    "544d53484c4f473102000000111111111111111111111111111111112222222222222222222222222222222233333333",
    "3333333307000000000000000100000000000000001000000000000000000000000000000000000000000000eac470b6",
);
const GOLDEN_FRAME: &str = "f7544d46e8030000070000000000000002000001000000000403020185291bec";
const GOLDEN_PAYLOAD: &str = concat!(
    "ec0000009762be220ae9010a65080110011a104444444444444444444444444444444422105555555555555555555555",
    "55555555552801300238035210f7b7676c94df7e8fd9998e38f9fff04d5a20230d8358dc8e8890b4c58deeb62912ee2f",
    "20357ae92a5cc861b98e68fe31acb560e8071204626f64791a40302a78afb00a29202425b67141c502314221694398a7",
    "b2a5011314d54828f912aa730de7b0c9ed53bcfff1e810fdb3d962f75c4c8ea2e5dba0fe0d9bfd9ca3062238080510ac",
    "0218c801200128013002380140014801518f7edf946c67b7f7594df0fff9388e99d961a039449e88aaac4a693c7ce113",
    "570823f82a000000e8db8e2d12280a107777777777777777777777777777777710021a10888888888888888888888888",
    "8888888820094800000028774f6b1a460a107777777777777777777777777777777710021a0372617722097369676e61",
    "747572652a209999999999999999999999999999999999999999999999999999999999999999",
);
