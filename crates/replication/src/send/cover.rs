//! Directory records that other records need to be judged, shipped before them.
//!
//! Each record stands in a feed once, at its latest change. So the enrolment of an institution, say, that was changed today
//! stands after all the registrations that it entitles, and a receiver that reads from the start would quarantine those. The
//! sender therefore ships what a record needs before it, once per session; a receiver that has it already counts a repeat.

use std::collections::HashSet;

use model::{Envelope, KeyId, OriginId, Record, RecordKey};
use store::{ReadError, Store};

use crate::directory::{epoch_key, institution_key, node_key, signing_key_key};
use crate::{DirectoryView, entitlement};

/// Most combinations remembered; past it everything is forgotten and shipped again when needed.
const MAX_REMEMBERED: usize = 64 * 1024;

/// What one session has covered.
#[derive(Debug, Default)]
pub(super) struct Cover {
    /// Combinations of key, origin and epoch whose needs are met.
    met: HashSet<(KeyId, OriginId, u32)>,
    /// Directory records shipped.
    shipped: HashSet<RecordKey>,
}

impl Cover {
    /// The directory records that these need and that were not shipped in this session, and what those need in turn. Notes
    /// all of them as shipped.
    pub fn complete(
        &mut self,
        records: &[Record],
        view: &DirectoryView,
        store: &Store,
    ) -> Result<Vec<Record>, ReadError> {
        if self.met.len() + self.shipped.len() > MAX_REMEMBERED {
            *self = Self::default();
        }
        self.shipped
            .extend(records.iter().filter(|record| entitlement::is_directory(record)).map(Record::key));
        let mut open: Vec<Envelope> = records.iter().map(|record| *record.envelope()).collect();
        let mut found = Vec::new();
        while let Some(envelope) = open.pop() {
            if !self.met.insert((envelope.key_id, envelope.origin, envelope.version.epoch)) {
                continue;
            }
            for key in needs(&envelope, view) {
                if !self.shipped.insert(key) {
                    continue;
                }
                if let Some(record) = store.get(&key)? {
                    open.push(*record.envelope());
                    found.push(record);
                }
            }
        }
        Ok(found)
    }
}

/// The keys of the directory records by which a record is judged.
fn needs(envelope: &Envelope, view: &DirectoryView) -> Vec<RecordKey> {
    let Some(node) = view.key(&envelope.key_id).map(|key| key.node) else { return Vec::new() };
    let mut needs = vec![
        signing_key_key(node, &envelope.key_id),
        node_key(node),
        epoch_key(node, envelope.version.epoch),
    ];
    if let Some(institution) = view.institution(&envelope.origin) {
        needs.push(institution_key(institution.writer, &institution.origin, institution.term));
    }
    needs
}
