//! What the hospitals were told, and a trace of it that two runs of one seed must share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::body::{DocumentEntry, Kind, Registration};
use model::{OriginId, Record, RecordKey, Version};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use super::homes::Homes;

/// What tells one write's content from every other's.
pub type Marker = String;

/// Versions, by record.
pub type Held = BTreeMap<RecordKey, Version>;

/// What a write asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub marker: Marker,
    /// The registration is withdrawn: a tombstone, which carries no marker.
    pub withdrawn: bool,
    /// The human being that a registration says it is of, if it names one.
    pub person: Option<u8>,
}

/// One record of a hospital.
#[derive(Debug, Clone)]
pub struct Entry {
    pub institution: OriginId,
    /// Place of the node that it is filed with now.
    pub node: usize,
    /// Places of all nodes that it was ever filed with.
    pub ever: Vec<usize>,
    /// The last write that was acknowledged.
    pub acknowledged: Option<(Version, Wanted)>,
    /// Writes since, whose outcome nobody was told.
    pub unsure: Vec<Wanted>,
    /// Another document may have replaced it, which gives it a version without a write of its own.
    pub replaced: bool,
    /// The registration that a document is about; none for a registration.
    pub about: Option<RecordKey>,
    /// Every write that was ever tried, and those that were acknowledged.
    pub tried: Vec<Wanted>,
    pub answered: Vec<(Version, Wanted)>,
    /// A disk took what no other node had yet, and nothing was acknowledged since.
    pub lost: bool,
    /// Its writer's machine was set back with its note: until its parent refuses it, it writes versions again that were used.
    pub branched: bool,
}

impl Entry {
    /// After a disk was lost or set back this is the most that its writer and the nodes above it still have.
    fn fall_back(&mut self, left: Option<&Record>) {
        let held = left.map(|record| record.envelope().version);
        let tried = |wanted: &Wanted| self.tried.iter().position(|tried| tried == wanted);
        let left_by = left.and_then(|left| self.tried.iter().rposition(|wanted| is_made_of(left, wanted)));
        let kept = |(version, wanted): &(Version, Wanted)| {
            held.is_some_and(|held| {
                // A higher version that was written before is one of the branch that this one is overruled by.
                let after =
                    !self.branched || left_by.is_none_or(|by| tried(wanted).is_some_and(|at| at < by));
                *version < held && after
                    || *version == held && left.is_some_and(|left| is_made_of(left, wanted))
            })
        };
        if self.acknowledged.as_ref().is_none_or(kept) && self.unsure.is_empty() {
            return;
        }
        if self.acknowledged.as_ref().is_some_and(|last| !kept(last)) {
            let last = self.answered.iter().filter(|one| kept(one)).max_by_key(|(version, _)| *version);
            (self.acknowledged, self.lost) = (last.cloned(), true);
            self.replaced |= self.about.is_some();
        }
        self.unsure.clone_from(&self.tried);
    }
}

/// Whether this write made this record.
pub fn is_made_of(record: &Record, wanted: &Wanted) -> bool {
    if record.envelope().tombstone || wanted.withdrawn {
        return record.envelope().tombstone && wanted.withdrawn;
    }
    let marker = &wanted.marker;
    if record.envelope().kind == Kind::Registration as u32 {
        return record.decode_body::<Registration>().is_ok_and(|body| body.contacts[0].name == *marker);
    }
    record
        .decode_body::<DocumentEntry>()
        .is_ok_and(|body| body.title == *marker || body.status_reason == *marker)
}

#[derive(Debug, Default)]
struct State {
    entries: BTreeMap<RecordKey, Entry>,
    acknowledged: u64,
    violations: Vec<String>,
    /// Records that a byzantine node put into its log, with its place.
    forged: Vec<(usize, Record)>,
    /// Links, by the child's place, over which a neighbour lied.
    lied: BTreeSet<usize>,
    homes: Homes,
    trace: Sha256,
}

/// The ledger of one simulation. Clones are handles to the same.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    state: Arc<Mutex<State>>,
}

impl Ledger {
    /// A write is about to be made.
    pub fn begin(&self, institution: OriginId, (key, about): (RecordKey, Option<RecordKey>), wanted: Wanted) {
        let mut state = self.state.lock();
        let entry = state.entries.entry(key).or_insert_with(|| Entry {
            institution,
            node: 0,
            ever: Vec::new(),
            acknowledged: None,
            unsure: Vec::new(),
            replaced: false,
            about,
            tried: Vec::new(),
            answered: Vec::new(),
            lost: false,
            branched: false,
        });
        entry.tried.push(wanted.clone());
        entry.unsure.push(wanted);
    }

    /// Whom the hospital last said that a registration is of.
    pub fn person_of(&self, key: &RecordKey) -> Option<u8> {
        self.state.lock().entries.get(key)?.tried.iter().rev().find(|tried| !tried.withdrawn)?.person
    }

    /// The write was acknowledged in this version, by the node at a place if it made it.
    pub fn acknowledged(&self, made: Option<usize>, key: RecordKey, version: Version, wanted: Wanted) {
        let state = &mut *self.state.lock();
        state.acknowledged += 1;
        if let Some(entry) = state.entries.get_mut(&key) {
            let written = |place| state.homes.written(&entry.institution, place, version);
            state.violations.extend(made.and_then(written));
            let before = entry.acknowledged.as_ref().map(|(version, _)| *version);
            entry.answered.push((version, wanted.clone()));
            (entry.acknowledged, entry.lost) = (Some((version, wanted)), false);
            entry.unsure.clear();
            if !entry.branched && before.is_some_and(|before| version < before) {
                state.violations.push(format!("{key} was acknowledged as {version} after a higher version"));
            }
        }
    }

    /// The write was certainly not made.
    pub fn refused(&self, key: RecordKey, wanted: &Wanted) {
        let mut state = self.state.lock();
        if let Some(entry) = state.entries.get_mut(&key) {
            entry.unsure.retain(|unsure| unsure != wanted);
        }
    }

    /// A document was, or may have been, replaced by another.
    pub fn replaced(&self, key: RecordKey) {
        if let Some(entry) = self.state.lock().entries.get_mut(&key) {
            entry.replaced = true;
        }
    }

    /// A disk was lost or set back. `left` says what the writers at these places, and the nodes above them, have under a key.
    pub fn fall_back(&self, writers: &[usize], left: impl Fn(&[usize], &RecordKey) -> Option<Record>) {
        let State { entries, homes, .. } = &mut *self.state.lock();
        for (key, entry) in entries {
            let ever = homes.ever(&entry.institution);
            if ever.iter().any(|writer| writers.contains(writer)) {
                entry.fall_back(left(&ever, key).as_ref());
            }
        }
    }

    /// What a writer at a place, be it an earlier one, has under each of its keys.
    pub fn held_by(&self, writer: usize, held: impl Fn(&RecordKey) -> Option<Version>) -> Held {
        let State { entries, homes, .. } = &*self.state.lock();
        let own = entries.iter().filter(|(_, entry)| homes.ever(&entry.institution).contains(&writer));
        own.filter_map(|(key, _)| Some((*key, held(key)?))).collect()
    }

    /// These versions went with their writer's disk, unless it or a node above still has them: also those that no write of the
    /// record's own made, but another document that replaced it. Those below may have been told of them.
    pub fn lose(&self, held: &Held, left: impl Fn(&[usize], &RecordKey) -> Option<Version>) {
        let State { entries, homes, .. } = &mut *self.state.lock();
        for (key, version) in held {
            if let Some(entry) = entries.get_mut(key) {
                entry.lost |= left(&homes.ever(&entry.institution), key) < Some(*version);
            }
        }
    }

    /// The machine of the writer at a place is set back with its note.
    pub fn branches(&self, writer: usize) {
        let State { entries, homes, .. } = &mut *self.state.lock();
        for entry in entries.values_mut().filter(|entry| homes.now(&entry.institution) == Some(writer)) {
            entry.branched = true;
        }
    }

    /// A byzantine node has put this into its log.
    pub fn forgery(&self, node: usize, record: Record) {
        self.state.lock().forged.push((node, record));
    }

    pub fn forged(&self) -> Vec<(usize, Record)> {
        self.state.lock().forged.clone()
    }

    /// A neighbour lies over the link above a node.
    pub fn lied(&self, link: usize) {
        self.state.lock().lied.insert(link);
    }

    /// The links over which neighbours lied.
    pub fn lies(&self) -> BTreeSet<usize> {
        self.state.lock().lied.clone()
    }

    /// Something happened that must not.
    pub fn violation(&self, what: String) {
        self.state.lock().violations.push(what);
    }

    /// Adds a line to the trace.
    pub fn trace(&self, at_ms: u64, what: &str) {
        if std::env::var_os("TIERMESH_TRACE").is_some() {
            println!("{at_ms:6} {what}");
        }
        let mut state = self.state.lock();
        state.trace.update(at_ms.to_be_bytes());
        state.trace.update(what);
    }

    /// The first 16 digits of the hash of the trace so far.
    pub fn trace_hash(&self) -> String {
        let hash = self.state.lock().trace.clone().finalize();
        hash[..8].iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
    }

    pub fn entries(&self) -> BTreeMap<RecordKey, Entry> {
        let state = self.state.lock();
        let mut entries = state.entries.clone();
        for entry in entries.values_mut() {
            entry.ever = state.homes.ever(&entry.institution);
            entry.node = entry.ever.last().copied().unwrap_or_default();
        }
        entries
    }

    /// Looks at, or changes, where the institutions file.
    pub fn homes<T>(&self, of: impl FnOnce(&mut Homes) -> T) -> T {
        of(&mut self.state.lock().homes)
    }

    pub fn violations(&self) -> Vec<String> {
        self.state.lock().violations.clone()
    }

    /// Writes acknowledged so far.
    pub fn writes(&self) -> u64 {
        self.state.lock().acknowledged
    }
}

#[cfg(test)]
mod tests;
