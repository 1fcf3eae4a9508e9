//! What a sender tells of itself before its first batch, so that its parent can judge which start of it this is.

use std::collections::BTreeSet;

use model::body::EpochEntry;
use model::feed::MAX_EPOCHS;
use model::{OriginId, Record};
use store::{ReadError, Store};

use crate::directory::{epoch_key, node_key, signing_key_key};

/// The node's epochs, newest first, and the records that prove them: epochs, the keys that signed them, the node's own. Both are
/// empty while the store is.
pub(super) fn of(store: &Store, origin: OriginId) -> Result<(Vec<EpochEntry>, Vec<Record>), ReadError> {
    let Some(newest) = store.last_epoch() else { return Ok((Vec::new(), Vec::new())) };
    let (mut epochs, mut records) = (Vec::new(), Vec::new());
    let oldest = newest.counter.saturating_sub(MAX_EPOCHS as u32 - 1).max(1);
    for counter in (oldest..=newest.counter).rev() {
        let Some(record) = store.get(&epoch_key(origin, counter))? else { break };
        let Ok(entry) = record.decode_body::<EpochEntry>() else { break };
        epochs.push(entry);
        records.push(record);
    }
    records.extend(store.get(&node_key(origin))?);
    let keys: BTreeSet<_> = records.iter().map(|record| record.envelope().key_id).collect();
    for key in keys {
        records.extend(store.get(&signing_key_key(origin, &key))?);
    }
    Ok((epochs, records))
}
