//! Every key of the index, in one place.
//!
//! ```text
//! partition u8 │ table u8 │ fields …                                      → value
//!              │ 0 Meta   │                                               → PartitionMeta
//!              │ 1 Record │ record key 16                                 → Pointer
//!              │ 2 About  │ subject 16 · kind u32 · record key 16         → nothing
//!              │ 3 Term   │ space u8 · term 16 · record key 16            → nothing
//!              │ 4 Feed   │ peer 16 · direction u8                        → FeedPosition
//!              │ 5 Quarantine │ peer 16 · direction u8 · hash 32          → QuarantineValue
//!              │ 6 Writer │                                               → WriterState
//!              │ 7 Digest │ signer 16 · flow u32                          → PartitionDigest
//! ```
//! Numbers are big endian, so byte order is the order of the variants and of their fields: scan order. The partition is
//! the top six bits of what the key is about, so an index need only be atomic within one.

use model::{KeyId, OriginId, RecordKey};

use crate::digest::Class;
use crate::types::{Direction, FeedId};

/// Partitions of the index.
pub(crate) const PARTITIONS: usize = 64;
/// The partition of what is about nothing in particular.
const HOME: u8 = 0;

/// A key of the index; the order is scan order within a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    /// What the partition covers.
    Meta { partition: u8 },
    /// Where a record is.
    Record { key: RecordKey },
    /// A record that names another as its subject.
    About { subject: RecordKey, kind: u32, key: RecordKey },
    /// A record that has a lookup term now or had it once.
    Term { space: u8, term: [u8; 16], key: RecordKey },
    /// How far a feed has been applied.
    Feed(FeedId),
    /// A quarantined record.
    Quarantine { from: FeedId, hash: [u8; 32] },
    /// The own writer's last epoch and seq.
    Writer,
    /// The partition's records that one key signed in one flow class, by bucket.
    Digest { partition: u8, class: Class },
}

/// The partition of something about a thing whose hash begins with this byte.
fn partition_of(first: u8) -> u8 {
    first >> 2
}

impl Key {
    pub(crate) fn partition(&self) -> u8 {
        match self {
            Self::Meta { partition } | Self::Digest { partition, .. } => *partition,
            Self::Record { key } => partition_of(key.0[0]),
            Self::About { subject, .. } => partition_of(subject.0[0]),
            Self::Term { term, .. } => partition_of(term[0]),
            Self::Feed(feed) => partition_of(feed.peer.0[0]),
            Self::Quarantine { from, .. } => partition_of(from.peer.0[0]),
            Self::Writer => HOME,
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(51);
        out.push(self.partition());
        match self {
            Self::Meta { .. } => out.push(0),
            Self::Record { key } => {
                out.push(1);
                out.extend_from_slice(&key.0);
            }
            Self::About { subject, kind, key } => {
                out.push(2);
                out.extend_from_slice(&subject.0);
                out.extend_from_slice(&kind.to_be_bytes());
                out.extend_from_slice(&key.0);
            }
            Self::Term { space, term, key } => {
                out.push(3);
                out.push(*space);
                out.extend_from_slice(term);
                out.extend_from_slice(&key.0);
            }
            Self::Feed(feed) => {
                out.push(4);
                push_feed(feed, &mut out);
            }
            Self::Quarantine { from, hash } => {
                out.push(5);
                push_feed(from, &mut out);
                out.extend_from_slice(hash);
            }
            Self::Writer => out.push(6),
            Self::Digest { class, .. } => {
                out.push(7);
                out.extend_from_slice(&class.signer.0);
                out.extend_from_slice(&class.flow.to_be_bytes());
            }
        }
        out
    }

    /// Reads a key; none if the bytes are none.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (partition, rest) = bytes.split_first()?;
        let (table, mut rest) = rest.split_first()?;
        let key = match table {
            0 => Self::Meta { partition: *partition },
            1 => Self::Record { key: RecordKey(take(&mut rest)?) },
            2 => Self::About {
                subject: RecordKey(take(&mut rest)?),
                kind: u32::from_be_bytes(take(&mut rest)?),
                key: RecordKey(take(&mut rest)?),
            },
            3 => Self::Term {
                space: u8::from_be_bytes(take(&mut rest)?),
                term: take(&mut rest)?,
                key: RecordKey(take(&mut rest)?),
            },
            4 => Self::Feed(take_feed(&mut rest)?),
            5 => Self::Quarantine { from: take_feed(&mut rest)?, hash: take(&mut rest)? },
            6 => Self::Writer,
            7 => Self::Digest {
                partition: *partition,
                class: Class { signer: KeyId(take(&mut rest)?), flow: u32::from_be_bytes(take(&mut rest)?) },
            },
            _ => return None,
        };
        (rest.is_empty() && key.partition() == *partition).then_some(key)
    }

    /// First bytes of all feed keys of a partition.
    pub(crate) fn feed_table(partition: u8) -> Vec<u8> {
        vec![partition, 4]
    }

    /// First bytes of all record keys of a partition.
    pub(crate) fn record_table(partition: u8) -> Vec<u8> {
        vec![partition, 1]
    }

    /// First bytes of all digest keys of a partition.
    pub(crate) fn digest_table(partition: u8) -> Vec<u8> {
        vec![partition, 7]
    }

    /// First bytes of all quarantine keys of a partition.
    pub(crate) fn quarantine_table(partition: u8) -> Vec<u8> {
        vec![partition, 5]
    }

    /// First bytes of the quarantine keys of one feed.
    pub(crate) fn quarantine_of(feed: &FeedId) -> Vec<u8> {
        let mut prefix = vec![partition_of(feed.peer.0[0]), 5];
        push_feed(feed, &mut prefix);
        prefix
    }
}

fn push_feed(feed: &FeedId, out: &mut Vec<u8>) {
    out.extend_from_slice(&feed.peer.0);
    out.push(feed.direction.number() as u8);
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

fn take_feed(rest: &mut &[u8]) -> Option<FeedId> {
    let peer = OriginId(take(rest)?);
    let direction = Direction::of_number(u32::from(u8::from_be_bytes(take(rest)?)))?;
    Some(FeedId { peer, direction })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id() -> impl Strategy<Value = [u8; 16]> {
        // Few different bytes, so that keys share prefixes and the order of later fields matters.
        prop::array::uniform16(0u8..3)
    }

    fn feed() -> impl Strategy<Value = FeedId> {
        (id(), any::<bool>()).prop_map(|(peer, up)| FeedId {
            peer: OriginId(peer),
            direction: if up { Direction::Up } else { Direction::Down },
        })
    }

    fn key() -> impl Strategy<Value = Key> {
        prop_oneof![
            Just(Key::Meta { partition: 0 }),
            id().prop_map(|key| Key::Record { key: RecordKey(key) }),
            (id(), 0u32..600, id()).prop_map(|(subject, kind, key)| Key::About {
                subject: RecordKey(subject),
                kind,
                key: RecordKey(key)
            }),
            (any::<u8>(), id(), id()).prop_map(|(space, term, key)| Key::Term {
                space,
                term,
                key: RecordKey(key)
            }),
            feed().prop_map(Key::Feed),
            (id(), feed()).prop_map(|(half, from)| Key::Quarantine {
                from,
                hash: [half, half].concat().try_into().unwrap()
            }),
            Just(Key::Writer),
            (0u8..3, id(), 0u32..600).prop_map(|(partition, signer, flow)| Key::Digest {
                partition,
                class: Class { signer: KeyId(signer), flow }
            }),
        ]
    }

    proptest! {
        #[test]
        fn byte_order_is_scan_order(a in key(), b in key()) {
            prop_assert_eq!(a.encode().cmp(&b.encode()), a.partition().cmp(&b.partition()).then(a.cmp(&b)));
        }

        #[test]
        fn keys_survive_encoding(key in key()) {
            prop_assert_eq!(Key::decode(&key.encode()), Some(key));
        }
    }

    #[test]
    fn a_key_in_another_partition_than_its_own_is_none() {
        let mut bytes = Key::Record { key: RecordKey([0xFF; 16]) }.encode();
        assert_eq!(bytes[0], 63);
        bytes[0] = 62;
        assert_eq!(Key::decode(&bytes), None);
    }
}
