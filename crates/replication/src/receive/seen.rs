//! The last seq that was applied from a node: with where its epochs began (`numbering`) it tells an old backup, started again, from the
//! node itself, and whoever decides a move how far it heard a dead writer.
//!
//! It is read from the log when it is first asked for; later questions read what was added since.

use std::collections::HashMap;

use model::{Envelope, KeyId, OriginId};
use parking_lot::Mutex;
use store::{ReadError, Store};

use crate::DirectoryView;

/// Positions of the log read between letting others run.
const STEP_RECORDS: usize = 1000;
const STEP_BYTES: usize = 1024 * 1024;

/// How far the log was read, and what was seen in it. Keeps no reader, which would keep the store open.
#[derive(Debug, Default)]
pub(super) struct Seen {
    reading: tokio::sync::Mutex<Reading>,
}

#[derive(Debug, Default)]
struct Reading {
    upto: u64,
    /// Last seq by signing key; bounded by the keys in the directory.
    last: HashMap<KeyId, u64>,
}

impl Seen {
    /// The last seq applied from this node; 0 if none was.
    pub async fn last_seq(
        &self,
        store: &Store,
        view: &DirectoryView,
        node: &OriginId,
    ) -> Result<u64, ReadError> {
        let mut reading = self.reading.lock().await;
        while reading.upto < store.head() {
            reading.step(store)?;
            tokio::task::yield_now().await;
        }
        let of_node =
            reading.last.iter().filter(|(key, _)| view.key(key).is_some_and(|key| key.node == *node));
        Ok(of_node.map(|(_, seq)| *seq).max().unwrap_or(0))
    }
}

impl Reading {
    fn step(&mut self, store: &Store) -> Result<(), ReadError> {
        let last = Mutex::new(std::mem::take(&mut self.last));
        let note = |envelope: &Envelope| {
            let mut last = last.lock();
            let seq = last.entry(envelope.key_id).or_default();
            *seq = envelope.version.seq.max(*seq);
            // Only the envelope was wanted.
            false
        };
        let slice = store.feed_reader(self.upto).next(STEP_RECORDS, STEP_BYTES, &note);
        self.last = last.into_inner();
        self.upto = slice?.upto;
        Ok(())
    }
}
