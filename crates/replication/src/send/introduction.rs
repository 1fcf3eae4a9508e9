//! What a sender tells of itself before its first batch, so that its parent can judge which start of it this is.

use std::collections::BTreeSet;

use model::body::EpochEntry;
use model::feed::MAX_EPOCHS;
use model::{OriginId, Record};
use store::{ReadError, Store};

use crate::directory::{epoch_key, node_key, signing_key_key};

/// What a sender says of its starts. All are empty while its store is.
#[derive(Debug, Default)]
pub(super) struct Introduction {
    /// Newest first.
    pub epochs: Vec<EpochEntry>,
    /// Where each of them began in the log.
    pub began: Vec<u64>,
    /// The records that prove them: epochs, the keys that signed them, the node's own.
    pub records: Vec<Record>,
}

/// Reads it from the store; at most the newest [`MAX_EPOCHS`], without a gap.
pub(super) fn of(store: &Store, origin: OriginId) -> Result<Introduction, ReadError> {
    let Some(newest) = store.last_epoch() else { return Ok(Introduction::default()) };
    let Introduction { mut epochs, mut began, mut records } = Introduction::default();
    let oldest = newest.counter.saturating_sub(MAX_EPOCHS as u32 - 1).max(1);
    for counter in (oldest..=newest.counter).rev() {
        let history = store.history(&epoch_key(origin, counter), 1)?;
        let Some((position, record)) = history.into_iter().next() else { break };
        let Ok(entry) = record.decode_body::<EpochEntry>() else { break };
        epochs.push(entry);
        began.push(position);
        records.push(record);
    }
    records.extend(store.get(&node_key(origin))?);
    let keys: BTreeSet<_> = records.iter().map(|record| record.envelope().key_id).collect();
    for key in keys {
        records.extend(store.get(&signing_key_key(origin, &key))?);
    }
    Ok(Introduction { epochs, began, records })
}
