//! What a newer neighbour may say: fields that this release does not know are passed over, frames and meanings that it does not
//! know are refused by name. Nothing unknown is taken for something known.

use bytes::{BufMut, Bytes, BytesMut};
use model::feed::{FromReceiver, FromSender};
use model::{OriginId, RecordKey, query};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};
use wire::ConvertError;
use wire::v1::{self, ship_reply, ship_request};

/// Numbers that no enum of this protocol has, and a negative one, which an enum on the wire can be.
const UNKNOWN: [i32; 3] = [99, i32::MAX, -1];

/// The message with fields that nobody here knows, one of every wire type, before and behind it.
fn with_unknown_fields(message: &[u8]) -> Bytes {
    let mut bytes = BytesMut::new();
    let unknown = |bytes: &mut BytesMut| {
        encode_key(4000, WireType::LengthDelimited, bytes);
        encode_varint(3, bytes);
        bytes.put_slice("新".as_bytes());
        encode_key(4001, WireType::Varint, bytes);
        encode_varint(u64::MAX, bytes);
        encode_key(4002, WireType::ThirtyTwoBit, bytes);
        bytes.put_u32(7);
        encode_key(4003, WireType::SixtyFourBit, bytes);
        bytes.put_u64(7);
    };
    unknown(&mut bytes);
    bytes.put_slice(message);
    unknown(&mut bytes);
    bytes.freeze()
}

/// The same inside the frame: `tag` is the frame's number in its `oneof`.
fn framed(tag: u32, frame: &[u8]) -> Bytes {
    let frame = with_unknown_fields(frame);
    let mut bytes = BytesMut::new();
    encode_key(tag, WireType::LengthDelimited, &mut bytes);
    encode_varint(frame.len() as u64, &mut bytes);
    bytes.put(frame);
    with_unknown_fields(&bytes)
}

fn hello() -> v1::FeedHello {
    v1::FeedHello {
        protocols: vec![1, 2],
        direction: v1::Direction::Up.into(),
        path: "530000/532900".into(),
        origin: vec![1; 16].into(),
        trust_domain: "tiermesh.test".into(),
        generation: vec![2; 16].into(),
        head: 9,
        software: "newer".into(),
        ..v1::FeedHello::default()
    }
}

fn batch() -> v1::FeedBatch {
    v1::FeedBatch { upto: 3, compression: v1::Compression::None.into(), head: 3, ..v1::FeedBatch::default() }
}

fn head() -> v1::FeedHead {
    let total = v1::BucketDigest { bucket: 0, sum: vec![3; 16].into(), records: 4 };
    let proof = v1::FeedProof { position: 3, total: Some(total), buckets: Vec::new() };
    v1::FeedHead { head: 3, proof: Some(proof), ..v1::FeedHead::default() }
}

fn welcome() -> v1::FeedWelcome {
    v1::FeedWelcome {
        protocol: 1,
        position: 3,
        path: "530000".into(),
        origin: vec![4; 16].into(),
        max_batch_bytes: 1 << 20,
        max_in_flight: 8,
        ..v1::FeedWelcome::default()
    }
}

fn ack(comparison: i32) -> v1::FeedAck {
    let verdict = v1::FeedVerdict { position: 3, comparison, ..v1::FeedVerdict::default() };
    v1::FeedAck { position: 3, verdict: Some(verdict), ..v1::FeedAck::default() }
}

fn sent(frame: ship_request::Frame) -> Result<FromSender, ConvertError> {
    v1::ShipRequest { frame: Some(frame) }.try_into()
}

fn received(frame: ship_reply::Frame) -> Result<FromReceiver, ConvertError> {
    v1::ShipReply { frame: Some(frame) }.try_into()
}

#[test]
fn unknown_fields_are_passed_over() {
    let frames = [
        (1, hello().encode_to_vec(), ship_request::Frame::Hello(hello())),
        (2, batch().encode_to_vec(), ship_request::Frame::Batch(batch())),
        (3, head().encode_to_vec(), ship_request::Frame::Head(head())),
    ];
    for (tag, bytes, frame) in frames {
        let newer: FromSender = v1::ShipRequest::decode(framed(tag, &bytes)).unwrap().try_into().unwrap();
        assert_eq!(format!("{newer:?}"), format!("{:?}", sent(frame).unwrap()));
    }
    let equal = ack(v1::Comparison::Equal.into());
    let frames = [
        (1, welcome().encode_to_vec(), ship_reply::Frame::Welcome(welcome())),
        (2, equal.encode_to_vec(), ship_reply::Frame::Ack(equal)),
    ];
    for (tag, bytes, frame) in frames {
        let newer: FromReceiver = v1::ShipReply::decode(framed(tag, &bytes)).unwrap().try_into().unwrap();
        assert_eq!(newer, received(frame).unwrap());
    }
}

#[test]
fn frames_of_another_protocol_are_refused() {
    // Of a later version, or none at all.
    for bytes in [framed(15, &hello().encode_to_vec()), Bytes::new()] {
        let frame = v1::ShipRequest::decode(bytes.clone()).unwrap();
        assert_eq!(FromSender::try_from(frame).unwrap_err().field, "frame");
        let frame = v1::ShipReply::decode(bytes).unwrap();
        assert_eq!(FromReceiver::try_from(frame).unwrap_err().field, "frame");
    }
}

#[test]
fn unknown_meanings_are_refused_by_name() {
    for number in UNKNOWN.into_iter().chain([0]) {
        let direction = v1::FeedHello { direction: number, ..hello() };
        assert_eq!(sent(ship_request::Frame::Hello(direction)).unwrap_err().field, "hello.direction");
        let compression = v1::FeedBatch { compression: number, ..batch() };
        assert_eq!(sent(ship_request::Frame::Batch(compression)).unwrap_err().field, "batch.compression");
        let compared = received(ship_reply::Frame::Ack(ack(number)));
        assert_eq!(compared.unwrap_err().field, "verdict.comparison");
    }
    for known in 1..=3 {
        let direction = v1::FeedHello { direction: known, ..hello() };
        assert!(sent(ship_request::Frame::Hello(direction)).is_ok());
        assert!(received(ship_reply::Frame::Ack(ack(known))).is_ok());
    }
}

#[test]
fn what_is_told_of_a_log_is_whole_or_refused() {
    let word = v1::JudgedUpTo { by: "530000".into(), numbering: vec![1; 16].into(), position: 3, ago_ms: 4 };
    let judged = |judged| sent(ship_request::Frame::Head(v1::FeedHead { judged, ..head() }));
    assert!(judged(vec![word.clone(); 8]).is_ok());
    let cases = [
        (vec![word.clone(); 9], "head.judged"),
        (vec![v1::JudgedUpTo { by: "Yunnan".into(), ..word.clone() }], "head.judged.by"),
        (vec![v1::JudgedUpTo { numbering: vec![1; 15].into(), ..word }], "head.judged.numbering"),
    ];
    for (words, field) in cases {
        assert_eq!(judged(words).unwrap_err().field, field);
    }
}

#[test]
fn a_query_with_an_unknown_reach_is_refused() {
    for number in UNKNOWN {
        let request = v1::FindPatientsRequest {
            by: Some(v1::find_patients_request::By::Local(v1::LocalPatient::default())),
            reach: number,
            ..v1::FindPatientsRequest::default()
        };
        assert_eq!(query::PatientQuery::try_from(request).unwrap_err().field, "reach");
    }
}

#[test]
fn a_source_in_an_unknown_state_is_one_that_did_not_reply() {
    let source = |state| v1::Source { path: "530000".into(), state, ..v1::Source::default() };
    let state = |state| {
        let scope = v1::AnswerScope {
            answered_by: "530000".into(),
            complete: true,
            sources: vec![source(state)],
            ..v1::AnswerScope::default()
        };
        query::AnswerScope::try_from(scope).unwrap().sources.remove(0).state
    };
    for number in UNKNOWN {
        assert_eq!(state(number), query::SourceState::NoReply);
    }
    assert_eq!(state(v1::SourceState::Live.into()), query::SourceState::Live);
}

#[test]
fn a_greeting_that_lists_no_version_is_read() {
    // Whether they can talk is decided by whoever knows what this release speaks.
    let none = v1::FeedHello { protocols: Vec::new(), ..hello() };
    let Ok(FromSender::Hello(read)) = sent(ship_request::Frame::Hello(none)) else { panic!("not read") };
    assert_eq!((read.protocols, read.origin), (Vec::new(), OriginId([1; 16])));
}

#[test]
fn fetching_passes_over_unknown_fields() {
    let request = v1::FetchRequest { keys: vec![vec![5; 16].into()] };
    let newer = v1::FetchRequest::decode(with_unknown_fields(&request.encode_to_vec())).unwrap();
    assert_eq!(Vec::<RecordKey>::try_from(newer).unwrap(), [RecordKey([5; 16])]);
}
