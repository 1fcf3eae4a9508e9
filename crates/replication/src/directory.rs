//! What this node knows from directory records: nodes, institutions, signing keys and epochs.
//!
//! Derived state: everything here can be read again from the store ([`Directory::load`]). A [`DirectoryView`] is one moment
//! of it; records that are judged look at a view, and what they add is published only after the store has committed them.

mod fact;
mod load;
mod moves;
#[cfg(test)]
mod tests;
mod view;

use std::sync::Arc;

use model::{KeyId, NodePath, OriginId, Record};
use parking_lot::RwLock;
use store::{ReadError, Store};

pub use fact::{Fact, TermEnd, term_id};
pub(crate) use fact::{epoch_key, epoch_record_id, institution_key, node_key, signing_key_key, term_end_key};
pub use load::{DIRECTORY_SPACE, directory_term, directory_terms};
pub use moves::Awaited;
pub use view::{DirectoryView, InstitutionFact, KeyFact, NodeFact};

use crate::Keyring;

/// The directory of one node. Cheap to clone; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Directory {
    view: Arc<RwLock<Arc<DirectoryView>>>,
    /// Held from judging directory records to publishing them, so that two children cannot claim one name at once.
    gate: Arc<tokio::sync::Mutex<()>>,
    /// Counts what was published of institutions' terms after the first.
    moved: Arc<tokio::sync::watch::Sender<u64>>,
}

impl Directory {
    /// Reads the directory records that the store holds. They were admitted when they came, so they are not judged again;
    /// the keyring is asked only for keys whose node record is not there.
    pub fn load(store: &Store, keyring: &dyn Keyring) -> Result<Self, ReadError> {
        let view = load::read(store, keyring)?;
        Ok(Self { view: Arc::new(RwLock::new(Arc::new(view))), gate: Arc::default(), moved: Arc::default() })
    }

    /// Reads everything again from the store, after commits whose facts nobody published. Whoever publishes or
    /// looks waits meanwhile.
    pub fn reload(&self, store: &Store, keyring: &dyn Keyring) -> Result<(), ReadError> {
        let mut view = self.view.write();
        *view = Arc::new(load::read(store, keyring)?);
        drop(view);
        self.moved.send_modify(|count| *count += 1);
        Ok(())
    }

    /// What is known now; does not change under the reader.
    pub fn snapshot(&self) -> Arc<DirectoryView> {
        Arc::clone(&self.view.read())
    }

    /// Takes in a directory record of this node's own writing, after its commit. Other records are ignored.
    pub fn learn(&self, record: &Record) {
        if let Some(fact) = Fact::of_record(record) {
            self.publish([fact]);
        }
    }

    /// Takes in facts whose records are durable.
    pub fn publish(&self, facts: impl IntoIterator<Item = Fact>) {
        let mut shared = self.view.write();
        let view = Arc::make_mut(&mut shared);
        let mut moves = 0;
        for fact in facts {
            // The end of a term says which of two decisions counts.
            let moved = matches!(
                fact,
                Fact::Institution { term: 2.., .. } | Fact::TermEnd { .. } | Fact::Succession { .. }
            );
            moves += u64::from(moved);
            view.apply(fact);
        }
        drop(shared);
        if moves > 0 {
            self.moved.send_modify(|count| *count += moves);
        }
    }

    /// Changes whenever it was learnt that an institution has another writer, or that a node stands for another.
    pub fn watch_moves(&self) -> tokio::sync::watch::Receiver<u64> {
        self.moved.subscribe()
    }

    /// Waits for the right to decide about directory records. Hold it over deciding, commit and [`Directory::publish`].
    pub async fn decide(&self) -> tokio::sync::OwnedMutexGuard<()> {
        Arc::clone(&self.gate).lock_owned().await
    }

    /// The same right if nobody has it: then everything in the store that concerns the directory, but for ends of
    /// terms, is known here too.
    pub fn try_decide(&self) -> Option<tokio::sync::OwnedMutexGuard<()>> {
        Arc::clone(&self.gate).try_lock_owned().ok()
    }

    /// An institution by its origin.
    pub fn institution(&self, origin: &OriginId) -> Option<InstitutionFact> {
        self.view.read().institution(origin).cloned()
    }

    /// Where a node stands, by its origin.
    pub fn path_of(&self, node: &OriginId) -> Option<NodePath> {
        self.view.read().path_of(node).cloned()
    }

    /// Where the node stands that writes for an institution now.
    pub fn writer_path(&self, institution: &OriginId) -> Option<NodePath> {
        self.view.read().writer_path(institution).cloned()
    }

    /// Where the node stands that signs with this key.
    pub fn key_path(&self, key: &KeyId) -> Option<NodePath> {
        self.view.read().key_path(key).cloned()
    }
}
