//! Starting to write: the epoch of this start, with the node's key and place in the directory.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use model::body::{Flow, Kind, NodeEntry, SigningKeyEntry};
use model::{EpochId, KeyId, RecordId, RecordKey};
use prost::Message;
use store::{Apply, Draft, Expect, LastEpoch};

use crate::{Exchange, ExchangeError};

impl Exchange {
    /// Opens the epoch of this start; from then on writes are accepted. `key` is the directory entry of the key that the
    /// store signs with; it and the node's own entry are committed along when the store does not hold just them, or was set
    /// back: then others may hold later versions of them, and a root has nobody who would give them back.
    /// `noted` is the last epoch that was noted outside the store; the new one is returned, to be noted.
    pub async fn begin(
        &self,
        key: SigningKeyEntry,
        noted: Option<LastEpoch>,
    ) -> Result<LastEpoch, ExchangeError> {
        let node = &self.parts.node;
        let public: &[u8; 32] =
            key.public_key[..].try_into().map_err(|_| ExchangeError::internal("a key of another length"))?;
        let key_id = KeyId::of(public);
        let place = NodeEntry {
            origin: Bytes::copy_from_slice(node.origin.as_bytes()),
            path: node.path.to_string(),
            name: node.name.clone(),
            tier: node.tier.clone(),
            trust_domain: node.trust_domain.to_string(),
        };
        let own = [
            self.own_entry(Kind::SigningKey, RecordId::of(&[key_id.as_bytes()]), key.encode_to_vec()),
            self.own_entry(Kind::Node, RecordId::of(&[]), place.encode_to_vec()),
        ];
        let known = self.parts.store.last_epoch().map_or(0, |last| last.counter);
        let set_back = noted.is_some_and(|noted| noted.counter > known);
        if let Some(noted) = noted.filter(|_| set_back && node.path.parent().is_none()) {
            // Durable first: after the epoch nothing tells any more that there was one before it.
            let note = replication::note_lost(node.origin, noted.counter.saturating_add(1));
            self.parts.store.apply(Apply { position: Some(note), ..Apply::default() }).await?;
        }
        let mut extra = Vec::new();
        for draft in &own {
            if set_back || self.parts.store.get(&draft.key())?.is_none_or(|held| held.body() != &draft.body) {
                extra.push(draft.clone());
            }
        }
        let _deciding = self.parts.directory.decide().await;
        let id = EpochId(self.parts.entropy.id());
        let epoch = self.parts.store.begin_epoch_after(id, extra, noted).await?;
        let epoch_key =
            RecordKey::of(Kind::Epoch as u32, node.origin, RecordId::of(&[&epoch.counter.to_be_bytes()]));
        for key in own.iter().map(Draft::key).chain([epoch_key]) {
            if let Some(record) = self.parts.store.get(&key)? {
                self.parts.directory.learn(&record);
            }
        }
        self.writing.store(true, Ordering::SeqCst);
        tracing::info!(epoch = epoch.counter, path = %node.path, "accepting writes");
        Ok(LastEpoch { counter: epoch.counter, id, base_seq: epoch.base_seq })
    }

    fn own_entry(&self, kind: Kind, id: RecordId, body: Vec<u8>) -> Draft {
        Draft {
            flow: Flow::Directory,
            kind: kind as u32,
            id,
            origin: self.parts.node.origin,
            term: 1,
            subject: None,
            tombstone: false,
            body: body.into(),
            expect: Expect::Anything,
        }
    }
}

#[cfg(test)]
mod tests;
