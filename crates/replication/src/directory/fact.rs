//! What one directory record says, and the keys of such records.

use model::body::{EpochEntry, InstitutionEntry, Kind, NodeEntry, SigningKeyEntry};
use model::{Flow, KeyId, NodePath, OriginId, Record, RecordId, RecordKey, VerifyingKey, Version};

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
        version: Version,
    },
    Epoch {
        node: OriginId,
        entry: EpochEntry,
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
                Self::of_institution(envelope.version, entry)
            }
            Kind::Epoch => Some(Self::Epoch { node: envelope.origin, entry: record.decode_body().ok()? }),
            _ => None,
        }
    }

    pub(crate) fn of_node(version: Version, entry: NodeEntry, origin: OriginId) -> Option<Self> {
        let path = entry.path.parse().ok()?;
        Some(Self::Node { origin, path, name: entry.name, tier: entry.tier, version })
    }

    pub(crate) fn of_institution(version: Version, entry: InstitutionEntry) -> Option<Self> {
        Some(Self::Institution {
            origin: OriginId::try_from(&entry.origin[..]).ok()?,
            code: entry.code,
            name: entry.name,
            writer: OriginId::try_from(&entry.writer[..]).ok()?,
            term: entry.term,
            version,
        })
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
    let id = RecordId::of(&[institution.as_bytes(), &term.to_be_bytes()]);
    RecordKey::of(Kind::Institution as u32, decided_by, id)
}
