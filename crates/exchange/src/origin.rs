//! Institutions as origins: enrolling one with this node, and asking who may write for it.

use std::sync::Arc;

use bytes::Bytes;
use model::body::{Flow, InstitutionEntry, Kind};
use model::{NodePath, OriginId};
use prost::Message;
use replication::{Awaited, term_id};
use store::{Draft, Expect};
use tokio::sync::OwnedRwLockReadGuard;

use crate::{Exchange, ExchangeError};

/// An institution that this node may write for, for as long as this is held.
pub(crate) struct Writable {
    pub origin: OriginId,
    pub term: u32,
    /// The directory record to commit together with the institution's first record.
    pub enrolment: Option<Draft>,
    /// Nothing may follow the end of a term, so it waits for those who write in it.
    _open: OwnedRwLockReadGuard<()>,
}

impl Exchange {
    /// The origin of an institution's records.
    pub(crate) fn institution_origin(&self, code: &str) -> OriginId {
        OriginId::of_institution(&self.parts.node.trust_domain, code)
    }

    /// Whether this node writes for the institution. Its certificate was issued here, so an institution that the directory
    /// does not know is enrolled with its first record.
    pub(crate) async fn writable(&self, code: &str) -> Result<Writable, ExchangeError> {
        let open = Arc::clone(&self.terms).read_owned().await;
        let own = self.parts.node.origin;
        let origin = self.institution_origin(code);
        let view = self.parts.directory.snapshot();
        let known = view.institution(&origin);
        if known.is_none_or(|known| known.writer != own) && !replication::is_informed(&self.parts.store, own)
        {
            return Err(ExchangeError::unavailable(
                "NOT_READY",
                "this node lost its records, and what comes from its parent has not all come: it does not know yet who files with it",
            ));
        }
        if let (None, Some(to)) = (known, self.handed_over_to()) {
            return Err(ExchangeError::denied(
                "WRONG_NODE",
                format!("this node has handed everything over to {to}: file there"),
            ));
        }
        let Some(known) = known else {
            return Ok(Writable {
                origin,
                term: 1,
                enrolment: Some(self.enrolment(origin, code)),
                _open: open,
            });
        };
        if known.writer != own {
            let place =
                view.path_of(&known.writer).map_or_else(|| known.writer.to_string(), NodePath::to_string);
            return Err(ExchangeError::denied(
                "WRONG_NODE",
                format!("this institution files with {place}, not with this node"),
            ));
        }
        if view.has_ended(&own, &origin, known.term) {
            // Ended before this node lost its disk; who came next it learns in a moment.
            return Err(ExchangeError::denied(
                "WRONG_NODE",
                "this institution was given to another node, which this node has yet to learn",
            ));
        }
        match view.awaited(&origin) {
            None => Ok(Writable { origin, term: known.term, enrolment: None, _open: open }),
            Some(awaited) => Err(self.not_ready(&awaited)),
        }
    }

    /// An institution moved here, and not all of its records did yet.
    fn not_ready(&self, awaited: &Awaited) -> ExchangeError {
        let before =
            awaited.writer.as_ref().map_or_else(|| "its former node".to_owned(), NodePath::to_string);
        let parent = self.parts.node.path.parent();
        let feed = parent.and_then(|parent| self.parts.links.down().view(&parent));
        let so_far = feed.map_or_else(String::new, |feed| {
            format!("; what the parent sends has been applied up to {} of {}", feed.position, feed.head)
        });
        ExchangeError::unavailable(
            "NOT_READY",
            format!(
                "this institution's records are on their way here: {before} has to end its term {}{so_far}",
                awaited.term
            ),
        )
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
        self.directory_draft(Kind::Institution, (origin, 1), entry.encode_to_vec(), Expect::Absent)
    }

    /// A record of this node's about a term of an institution's.
    pub(crate) fn directory_draft(
        &self,
        kind: Kind,
        (institution, term): (OriginId, u32),
        body: Vec<u8>,
        expect: Expect,
    ) -> Draft {
        Draft {
            flow: Flow::Directory,
            kind: kind as u32,
            id: term_id(&institution, term),
            origin: self.parts.node.origin,
            term: 1,
            subject: None,
            tombstone: false,
            body: body.into(),
            expect,
        }
    }
}
