//! The record: a signed envelope around an opaque body.
//!
//! ```text
//! Record ── header (bytes, signed) ── flow, kind, id, origin, version, subject, tombstone, key id, body hash, recorded
//!        ├─ body   (bytes)         ── protobuf of the kind, opaque to the mesh
//!        └─ signature (64 bytes)   ── Ed25519 by the writer's node over "tiermesh record v1\0" ‖ header
//! ```
//!
//! Header and body are kept byte for byte as their writer made them. What this node reads from a header is [`Envelope`];
//! what it forwards is the bytes. Does not decide who may write: that is `replication`'s question.

use std::fmt;

use bytes::Bytes;
use prost::Message;
use sha2::{Digest, Sha256};

use crate::body::{Flow, Header, RawRecord};
use crate::{KeyId, OriginId, RecordId, RecordKey, SigningKey, VerifyingKey};

/// Most bytes of a body. Larger things are content, not records.
pub const MAX_BODY: usize = 256 * 1024;
/// Most bytes of a header; leaves room for fields of later versions.
pub const MAX_HEADER: usize = 4 * 1024;

/// Version of a record: compared in this order, higher wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Version {
    /// Which writer of the origin, from 1.
    pub term: u32,
    /// Which start of that writer, from 1.
    pub epoch: u32,
    /// Which commit of that writer, from 1; goes on across epochs.
    pub seq: u64,
}

impl std::str::FromStr for Version {
    type Err = VersionError;
    fn from_str(text: &str) -> Result<Self, VersionError> {
        let mut parts = text.split('.');
        let mut next = || parts.next().ok_or(VersionError);
        let (term, epoch, seq) = (next()?, next()?, next()?);
        let version = Self {
            term: term.parse().map_err(|_| VersionError)?,
            epoch: epoch.parse().map_err(|_| VersionError)?,
            seq: seq.parse().map_err(|_| VersionError)?,
        };
        if parts.next().is_some() { Err(VersionError) } else { Ok(version) }
    }
}

/// A text that is not a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a version is written term.epoch.seq, for example 1.2.345")]
pub struct VersionError;

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.term, self.epoch, self.seq)
    }
}

/// What a node reads from a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Envelope {
    /// Number of the flow class; [`Flow::try_from`] tells whether it is known.
    pub flow: i32,
    /// Number of the kind, possibly unknown.
    pub kind: u32,
    pub id: RecordId,
    pub origin: OriginId,
    pub version: Version,
    /// The registration this record is about.
    pub subject: Option<RecordKey>,
    pub tombstone: bool,
    pub key_id: KeyId,
    pub body_sha256: [u8; 32],
    /// Writer's clock, milliseconds since 1970; information only.
    pub recorded_ms: u64,
}

impl Envelope {
    /// The record's key.
    pub fn key(&self) -> RecordKey {
        RecordKey::of(self.kind, self.origin, self.id)
    }

    /// The flow class, if this node knows it.
    pub fn known_flow(&self) -> Option<Flow> {
        Flow::try_from(self.flow).ok().filter(|flow| *flow != Flow::Unspecified)
    }

    /// What the record is about, for placing it in a partition: its subject, or itself.
    pub fn about(&self) -> RecordKey {
        self.subject.unwrap_or_else(|| self.key())
    }
}

/// Why bytes are not a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error("record is not well formed: {0}")]
    Malformed(&'static str),
    #[error("record exceeds its limit: {0}")]
    TooLarge(&'static str),
    #[error("record body does not have the hash in its header")]
    BodyHash,
    #[error("record signature is not its key's")]
    Signature,
}

/// A record whose header has been read and whose body has the hash that the header states.
/// Its signature has *not* been checked: see [`Record::verify`].
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    envelope: Envelope,
    header: Bytes,
    body: Bytes,
    signature: Bytes,
}

/// What a writer signs into a record.
#[derive(Clone)]
pub struct Unsigned {
    pub flow: Flow,
    pub kind: u32,
    pub id: RecordId,
    pub origin: OriginId,
    pub subject: Option<RecordKey>,
    pub tombstone: bool,
    pub body: Bytes,
}

impl fmt::Debug for Unsigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unsigned")
            .field("kind", &self.kind)
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

impl Record {
    /// Makes and signs a record.
    pub fn sign(
        unsigned: Unsigned,
        version: Version,
        recorded_ms: u64,
        key: &SigningKey,
    ) -> Result<Self, RecordError> {
        if unsigned.body.len() > MAX_BODY {
            return Err(RecordError::TooLarge("body"));
        }
        let body_sha256: [u8; 32] = Sha256::digest(&unsigned.body).into();
        let envelope = Envelope {
            flow: unsigned.flow as i32,
            kind: unsigned.kind,
            id: unsigned.id,
            origin: unsigned.origin,
            version,
            subject: unsigned.subject,
            tombstone: unsigned.tombstone,
            key_id: key.id(),
            body_sha256,
            recorded_ms,
        };
        let header = Bytes::from(header_of(&envelope).encode_to_vec());
        let signature = Bytes::copy_from_slice(&key.sign(&header));
        Ok(Self { envelope, header, body: unsigned.body, signature })
    }

    /// Reads a record from its wire form, checking form, limits and the body's hash.
    pub fn from_raw(raw: RawRecord) -> Result<Self, RecordError> {
        if raw.header.len() > MAX_HEADER {
            return Err(RecordError::TooLarge("header"));
        }
        if raw.body.len() > MAX_BODY {
            return Err(RecordError::TooLarge("body"));
        }
        if raw.signature.len() != 64 {
            return Err(RecordError::Malformed("signature"));
        }
        let header = Header::decode(raw.header.clone()).map_err(|_| RecordError::Malformed("header"))?;
        let envelope = envelope_of(&header)?;
        if <[u8; 32]>::from(Sha256::digest(&raw.body)) != envelope.body_sha256 {
            return Err(RecordError::BodyHash);
        }
        Ok(Self { envelope, header: raw.header, body: raw.body, signature: raw.signature })
    }

    /// The wire form: the same bytes.
    pub fn to_raw(&self) -> RawRecord {
        RawRecord { header: self.header.clone(), body: self.body.clone(), signature: self.signature.clone() }
    }

    /// Checks the writer's signature.
    pub fn verify(&self, key: &VerifyingKey) -> Result<(), RecordError> {
        if key.id() == self.envelope.key_id && key.verify(&self.header, &self.signature) {
            Ok(())
        } else {
            Err(RecordError::Signature)
        }
    }

    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    pub fn key(&self) -> RecordKey {
        self.envelope.key()
    }

    pub fn header_bytes(&self) -> &Bytes {
        &self.header
    }

    pub fn body(&self) -> &Bytes {
        &self.body
    }

    pub fn signature(&self) -> &Bytes {
        &self.signature
    }

    /// Bytes of header, body and signature together.
    pub fn size(&self) -> usize {
        self.header.len() + self.body.len() + self.signature.len()
    }

    /// Reads the body as a message of its kind.
    pub fn decode_body<M: Message + Default>(&self) -> Result<M, RecordError> {
        M::decode(self.body.clone()).map_err(|_| RecordError::Malformed("body"))
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record").field("envelope", &self.envelope).finish_non_exhaustive()
    }
}

fn header_of(envelope: &Envelope) -> Header {
    Header {
        flow: envelope.flow,
        kind: envelope.kind,
        id: Bytes::copy_from_slice(&envelope.id.0),
        origin: Bytes::copy_from_slice(&envelope.origin.0),
        term: envelope.version.term,
        epoch: envelope.version.epoch,
        seq: envelope.version.seq,
        subject: envelope.subject.map(|subject| Bytes::copy_from_slice(&subject.0)).unwrap_or_default(),
        tombstone: envelope.tombstone,
        key_id: Bytes::copy_from_slice(&envelope.key_id.0),
        body_sha256: Bytes::copy_from_slice(&envelope.body_sha256),
        recorded_ms: envelope.recorded_ms,
    }
}

fn envelope_of(header: &Header) -> Result<Envelope, RecordError> {
    let malformed = RecordError::Malformed;
    let subject = match header.subject.len() {
        0 => None,
        _ => Some(RecordKey::try_from(&header.subject[..]).map_err(|_| malformed("subject"))?),
    };
    let version = Version { term: header.term, epoch: header.epoch, seq: header.seq };
    if version.term == 0 || version.epoch == 0 || version.seq == 0 {
        return Err(malformed("version"));
    }
    if header.kind == 0 || header.flow == 0 {
        return Err(malformed("kind or flow"));
    }
    Ok(Envelope {
        flow: header.flow,
        kind: header.kind,
        id: RecordId::try_from(&header.id[..]).map_err(|_| malformed("id"))?,
        origin: OriginId::try_from(&header.origin[..]).map_err(|_| malformed("origin"))?,
        version,
        subject,
        tombstone: header.tombstone,
        key_id: KeyId::try_from(&header.key_id[..]).map_err(|_| malformed("key id"))?,
        body_sha256: header.body_sha256[..].try_into().map_err(|_| malformed("body hash"))?,
        recorded_ms: header.recorded_ms,
    })
}

#[cfg(test)]
mod tests;
