//! What the hospitals were told, and a trace of it that two runs of one seed must share.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{Record, RecordKey, Version};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

/// What tells one write's content from every other's.
pub type Marker = String;

/// What a write asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub marker: Marker,
    /// The registration is withdrawn: a tombstone, which carries no marker.
    pub withdrawn: bool,
}

/// One record of a hospital.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Place of the node that it is filed with.
    pub node: usize,
    /// The last write that was acknowledged.
    pub acknowledged: Option<(Version, Wanted)>,
    /// Writes since, whose outcome nobody was told.
    pub unsure: Vec<Wanted>,
    /// Another document may have replaced it, which gives it a version without a write of its own.
    pub replaced: bool,
}

#[derive(Debug, Default)]
struct State {
    entries: BTreeMap<RecordKey, Entry>,
    acknowledged: u64,
    violations: Vec<String>,
    /// Records that a byzantine node put into its log, with its place.
    forged: Vec<(usize, Record)>,
    trace: Sha256,
}

/// The ledger of one simulation. Clones are handles to the same.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    state: Arc<Mutex<State>>,
}

impl Ledger {
    /// A write is about to be made.
    pub fn begin(&self, node: usize, key: RecordKey, wanted: Wanted) {
        let mut state = self.state.lock();
        let entry = state.entries.entry(key).or_insert_with(|| Entry {
            node,
            acknowledged: None,
            unsure: Vec::new(),
            replaced: false,
        });
        entry.unsure.push(wanted);
    }

    /// The write was acknowledged in this version.
    pub fn acknowledged(&self, key: RecordKey, version: Version, wanted: Wanted) {
        let mut state = self.state.lock();
        state.acknowledged += 1;
        if let Some(entry) = state.entries.get_mut(&key) {
            let before = entry.acknowledged.as_ref().map(|(version, _)| *version);
            entry.acknowledged = Some((version, wanted));
            entry.unsure.clear();
            if before.is_some_and(|before| version < before) {
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

    /// A byzantine node has put this into its log.
    pub fn forgery(&self, node: usize, record: Record) {
        self.state.lock().forged.push((node, record));
    }

    pub fn forged(&self) -> Vec<(usize, Record)> {
        self.state.lock().forged.clone()
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
        self.state.lock().entries.clone()
    }

    pub fn violations(&self) -> Vec<String> {
        self.state.lock().violations.clone()
    }

    /// Writes acknowledged so far.
    pub fn writes(&self) -> u64 {
        self.state.lock().acknowledged
    }
}
