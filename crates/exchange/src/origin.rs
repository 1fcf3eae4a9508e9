//! Institutions as origins: enrolling one with this node, and asking who may write for it.

use bytes::Bytes;
use model::body::{Flow, InstitutionEntry, Kind};
use model::{OriginId, RecordId};
use prost::Message;
use store::{Draft, Expect};

use crate::{Exchange, ExchangeError};

/// An institution that this node may write for.
pub(crate) struct Writable {
    pub origin: OriginId,
    pub term: u32,
    /// The directory record to commit together with the institution's first record.
    pub enrolment: Option<Draft>,
}

impl Exchange {
    /// The origin of an institution's records.
    pub(crate) fn institution_origin(&self, code: &str) -> OriginId {
        OriginId::of_institution(&self.parts.node.trust_domain, code)
    }

    /// Whether this node writes for the institution. Its certificate was issued here, so an institution that the directory
    /// does not know is enrolled with its first record.
    pub(crate) fn writable(&self, code: &str) -> Result<Writable, ExchangeError> {
        let own = self.parts.node.origin;
        let origin = self.institution_origin(code);
        match self.parts.directory.institution(&origin) {
            Some(known) if known.writer == own => Ok(Writable { origin, term: known.term, enrolment: None }),
            Some(known) => {
                let place = self
                    .parts
                    .directory
                    .path_of(&known.writer)
                    .map_or_else(|| known.writer.to_string(), |path| path.to_string());
                Err(ExchangeError::denied(
                    "WRONG_NODE",
                    format!("this institution files with {place}, not with this node"),
                ))
            }
            None => Ok(Writable { origin, term: 1, enrolment: Some(self.enrolment(origin, code)) }),
        }
    }

    fn enrolment(&self, origin: OriginId, code: &str) -> Draft {
        let own = self.parts.node.origin;
        let entry = InstitutionEntry {
            origin: Bytes::copy_from_slice(origin.as_bytes()),
            code: code.to_owned(),
            name: String::new(),
            writer: Bytes::copy_from_slice(own.as_bytes()),
            term: 1,
        };
        Draft {
            flow: Flow::Directory,
            kind: Kind::Institution as u32,
            id: RecordId::of(&[origin.as_bytes(), &1u32.to_be_bytes()]),
            origin: own,
            term: 1,
            subject: None,
            tombstone: false,
            body: entry.encode_to_vec().into(),
            expect: Expect::Absent,
        }
    }
}
