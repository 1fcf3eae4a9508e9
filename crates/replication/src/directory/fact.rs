//! What one directory record says, and the keys of such records.

use model::body::{
    EpochEntry, InstitutionEntry, Kind, NodeEntry, SigningKeyEntry, SuccessionEntry, TermEndEntry,
};
use model::{Flow, KeyId, NodePath, OriginId, Record, RecordId, RecordKey, VerifyingKey, Version};

/// That a writer's term has ended, and who says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TermEnd {
    pub said_by: OriginId,
    pub next_writer: OriginId,
    /// Said without the term's writer: up to which of its seqs everything was held where that was decided.
    pub held_seq: Option<u64>,
    /// Of its record: the latest word of each counts.
    pub version: Version,
}

/// What an admitted directory record says.
#[derive(Debug, Clone)]
pub enum Fact {
    /// A node signs with this key. The path is known when its certificate was read.
    Key {
        node: OriginId,
        key: VerifyingKey,
        path: Option<NodePath>,
    },
    Node {
        origin: OriginId,
        path: NodePath,
        name: String,
        tier: String,
        version: Version,
    },
    Institution {
        origin: OriginId,
        code: String,
        name: String,
        writer: OriginId,
        term: u32,
        decided_by: OriginId,
        version: Version,
    },
    Epoch {
        node: OriginId,
        entry: EpochEntry,
    },
    TermEnd {
        institution: OriginId,
        term: u32,
        end: TermEnd,
    },
    /// A node stands for another that handed everything over.
    Succession {
        node: OriginId,
        successor: OriginId,
        decided_by: OriginId,
    },
}

impl Fact {
    /// Reads a record that was admitted before; none if it is no directory record of a known kind.
    pub fn of_record(record: &Record) -> Option<Self> {
        let envelope = record.envelope();
        if envelope.known_flow() != Some(Flow::Directory) || envelope.tombstone {
            return None;
        }
        match Kind::try_from(i32::try_from(envelope.kind).ok()?).ok()? {
            Kind::SigningKey => {
                let entry: SigningKeyEntry = record.decode_body().ok()?;
                let key = VerifyingKey::from_bytes(entry.public_key[..].try_into().ok()?)?;
                Some(Self::Key { node: envelope.origin, key, path: None })
            }
            Kind::Node => {
                let entry: NodeEntry = record.decode_body().ok()?;
                Some(Self::of_node(envelope.version, entry, envelope.origin)?)
            }
            Kind::Institution => {
                let entry: InstitutionEntry = record.decode_body().ok()?;
                Self::of_institution(envelope.version, entry, envelope.origin)
            }
            Kind::Epoch => Some(Self::Epoch { node: envelope.origin, entry: record.decode_body().ok()? }),
            Kind::TermEnd => {
                Self::of_term_end(envelope.version, &record.decode_body().ok()?, envelope.origin)
            }
            Kind::Succession => {
                let entry: SuccessionEntry = record.decode_body().ok()?;
                let node = OriginId::try_from(&entry.node[..]).ok()?;
                let successor = OriginId::try_from(&entry.successor[..]).ok()?;
                Some(Self::Succession { node, successor, decided_by: envelope.origin })
            }
            _ => None,
        }
    }

    pub(crate) fn of_node(version: Version, entry: NodeEntry, origin: OriginId) -> Option<Self> {
        let path = entry.path.parse().ok()?;
        Some(Self::Node { origin, path, name: entry.name, tier: entry.tier, version })
    }

    pub(crate) fn of_institution(
        version: Version,
        entry: InstitutionEntry,
        decided_by: OriginId,
    ) -> Option<Self> {
        Some(Self::Institution {
            origin: OriginId::try_from(&entry.origin[..]).ok()?,
            code: entry.code,
            name: entry.name,
            writer: OriginId::try_from(&entry.writer[..]).ok()?,
            term: entry.term,
            decided_by,
            version,
        })
    }

    pub(crate) fn of_term_end(version: Version, entry: &TermEndEntry, said_by: OriginId) -> Option<Self> {
        let end = TermEnd {
            said_by,
            next_writer: OriginId::try_from(&entry.next_writer[..]).ok()?,
            held_seq: entry.without_writer.then_some(entry.held_seq),
            version,
        };
        let institution = OriginId::try_from(&entry.institution[..]).ok()?;
        Some(Self::TermEnd { institution, term: entry.term, end })
    }
}

/// Record id of an epoch: its natural key is the counter, as 4 bytes big endian.
pub(crate) fn epoch_record_id(counter: u32) -> RecordId {
    RecordId::of(&[&counter.to_be_bytes()])
}

/// Key of a node's record of an epoch.
pub(crate) fn epoch_key(node: OriginId, counter: u32) -> RecordKey {
    RecordKey::of(Kind::Epoch as u32, node, epoch_record_id(counter))
}

/// Key of a node's record of a signing key.
pub(crate) fn signing_key_key(node: OriginId, key: &KeyId) -> RecordKey {
    RecordKey::of(Kind::SigningKey as u32, node, RecordId::of(&[key.as_bytes()]))
}

/// Key of a node's own record.
pub(crate) fn node_key(node: OriginId) -> RecordKey {
    RecordKey::of(Kind::Node as u32, node, RecordId::of(&[]))
}

/// Key of the record by which `decided_by` made somebody an institution's writer for a term.
pub(crate) fn institution_key(decided_by: OriginId, institution: &OriginId, term: u32) -> RecordKey {
    RecordKey::of(Kind::Institution as u32, decided_by, term_id(institution, term))
}

/// Key of the record by which `said_by` ended a term of an institution's.
pub(crate) fn term_end_key(said_by: OriginId, institution: &OriginId, term: u32) -> RecordKey {
    RecordKey::of(Kind::TermEnd as u32, said_by, term_id(institution, term))
}

/// Record id of what is about one term of an institution's.
pub fn term_id(institution: &OriginId, term: u32) -> RecordId {
    RecordId::of(&[institution.as_bytes(), &term.to_be_bytes()])
}
