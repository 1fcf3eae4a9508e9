//! Records as a later release may write them: with fields, kinds and flow classes that this one does not know.

use bytes::{BufMut, Bytes, BytesMut};
use model::body::{Header, RawRecord};
use model::{Record, RecordId, Version};
use prost::Message;
use store::Apply;

use crate::node::Node;

/// A string field that no message of this release has: its tag is 4000.
fn with_unknown_field(message: &[u8]) -> Bytes {
    let text = "来自更新的版本";
    let mut bytes = BytesMut::from(message);
    prost::encoding::encode_key(4000, prost::encoding::WireType::LengthDelimited, &mut bytes);
    prost::encoding::encode_varint(text.len() as u64, &mut bytes);
    bytes.put_slice(text.as_bytes());
    bytes.freeze()
}

/// Puts into a node's log what a newer release of it would have committed, and answers it: a registration with unknown fields in
/// header and body, a record of an unknown kind, and one of an unknown flow class.
pub async fn commit(node: &Node, code: &str) -> Vec<Record> {
    let epoch = node.store.last_epoch().unwrap().counter;
    let version = Version { term: 1, epoch, seq: node.store.last_seq() };
    let records: Vec<Record> = [(1, 1), (1, 4711), (99, 4712)]
        .into_iter()
        .map(|(flow, kind)| {
            let draft = node.registration_draft(code, "newer", "新·版本");
            let body = with_unknown_field(&draft.body);
            let known = kind == draft.kind;
            let id = if known { draft.id } else { RecordId::of(&[b"newer", &[flow as u8]]) };
            let header = Header {
                flow,
                kind,
                id: Bytes::copy_from_slice(&id.0),
                origin: Bytes::copy_from_slice(draft.origin.as_bytes()),
                term: version.term,
                epoch: version.epoch,
                seq: version.seq,
                subject: draft
                    .subject
                    .filter(|_| known)
                    .map_or_else(Bytes::new, |subject| Bytes::copy_from_slice(&subject.0)),
                tombstone: false,
                key_id: Bytes::copy_from_slice(node.machine.key.id().as_bytes()),
                body_sha256: Bytes::copy_from_slice(&sha256(&body)),
                recorded_ms: 7,
            };
            let header = with_unknown_field(&header.encode_to_vec());
            let signature = Bytes::copy_from_slice(&node.machine.key.sign(&header));
            Record::from_raw(RawRecord { header, body, signature }).unwrap()
        })
        .collect();
    node.store.apply(Apply { records: records.clone(), ..Apply::default() }).await.unwrap();
    records
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    use sha2::{Digest, Sha256};
    Sha256::digest(bytes).into()
}

/// How many of these a node holds, byte for byte.
pub fn held(node: &Node, records: &[Record]) -> usize {
    let same = |record: &&Record| {
        let held = node.store.get(&record.key()).unwrap();
        held.is_some_and(|held| held.to_raw().encode_to_vec() == record.to_raw().encode_to_vec())
    };
    records.iter().filter(same).count()
}
