//! Directory records that other records need to be judged, shipped before them.
//!
//! Each record stands in a feed once, at its latest change. So the enrolment of an institution, say, that was changed today
//! stands after all the registrations that it entitles, and a receiver that reads from the start would quarantine those. The
//! sender therefore ships what a record needs before it, once per session; a receiver that has it already counts a repeat.

use std::collections::HashSet;

use model::{Envelope, KeyId, OriginId, Record, RecordKey};
use store::{ReadError, Store};

use crate::directory::{epoch_key, institution_key, node_key, signing_key_key};
use crate::{DirectoryView, Fact, entitlement};

/// Most combinations remembered; past it everything is forgotten and shipped again when needed.
const MAX_REMEMBERED: usize = 64 * 1024;

/// What one session has covered.
#[derive(Debug, Default)]
pub(super) struct Cover {
    /// Combinations of key, origin, term and epoch whose needs are met.
    met: HashSet<(KeyId, OriginId, u32, u32)>,
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
        let mut found = Vec::new();
        let mut keys: Vec<RecordKey> = Vec::new();
        for record in records {
            keys.extend(self.needs_of(record, view));
        }
        while !keys.is_empty() {
            for key in std::mem::take(&mut keys) {
                if !self.shipped.insert(key) {
                    continue;
                }
                if let Some(record) = store.get(&key)? {
                    keys.extend(self.needs_of(&record, view));
                    found.push(record);
                }
            }
        }
        Ok(found)
    }

    fn needs_of(&mut self, record: &Record, view: &DirectoryView) -> Vec<RecordKey> {
        let envelope = record.envelope();
        let what = (envelope.key_id, envelope.origin, envelope.version.term, envelope.version.epoch);
        let mut needs = if self.met.insert(what) { needs(envelope, view) } else { Vec::new() };
        needs.extend(needs_of_body(record, view));
        needs
    }
}

/// The keys of the directory records by which an envelope is judged.
fn needs(envelope: &Envelope, view: &DirectoryView) -> Vec<RecordKey> {
    let Some(node) = view.key(&envelope.key_id).map(|key| key.node) else { return Vec::new() };
    let mut needs = vec![
        signing_key_key(node, &envelope.key_id),
        node_key(node),
        epoch_key(node, envelope.version.epoch),
    ];
    needs.extend(decision(&envelope.origin, envelope.version.term, view));
    needs
}

/// The keys of the directory records by which what a directory record says is judged.
fn needs_of_body(record: &Record, view: &DirectoryView) -> Vec<RecordKey> {
    match Fact::of_record(record) {
        // The decision before it, and where both writers stand.
        Some(Fact::Institution { origin, term, writer, .. }) if term > 1 => {
            let writer_key = view.signing_keys(&writer).next().map(|key| signing_key_key(writer, &key));
            decision(&origin, term - 1, view).into_iter().chain(writer_key).collect()
        }
        Some(Fact::Succession { node, successor, .. }) => {
            let key = |node| view.signing_keys(&node).next().map(|key| signing_key_key(node, &key));
            [node, successor].into_iter().filter_map(key).collect()
        }
        Some(Fact::TermEnd { institution, term, .. }) => {
            let both = [term, term.saturating_add(1)];
            both.into_iter().filter_map(|term| decision(&institution, term, view)).collect()
        }
        _ => Vec::new(),
    }
}

/// The key of the record by which the institution has its writer in a term.
fn decision(institution: &OriginId, term: u32, view: &DirectoryView) -> Option<RecordKey> {
    let then = view.institution_in(institution, term)?;
    Some(institution_key(then.decided_by, institution, term))
}
