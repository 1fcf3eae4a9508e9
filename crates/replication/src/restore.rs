//! A node that lost its records: it waits, its parent sends them back, and only then does it write again.
//!
//! ```text
//! child, empty ── greeting without epochs ──▶ parent: RESTORE_NEEDED, and remembers to restore
//!       ◀── Ship (RESTORE) over the reverse connection: all records signed in the child's subtree ──
//!       stores position after position, so a restore goes on where it stopped; at its end the store is *complete*
//! child ── greeting with the newest epoch that the parent knows ──▶ welcome; the child opens the next epoch, writes, greets again
//! ```
//! What the child had and never shipped is gone; the parent's log of the last announced head says how much that was.
//!
//! A root has no parent. It notes that it lost something, writes at once, and asks its children for what they hold of its links
//! (`FeedWelcome.lost_before`).

use std::collections::BTreeSet;
use std::sync::Arc;

use model::{NodePath, OriginId};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use store::{Direction, FeedId, FeedPosition, Store};
use tokio::sync::Notify;

/// Generation of the positions that are notes of a node's to itself.
const NOTE: [u8; 16] = [0xFF; 16];

/// The position that ends a restore.
pub(crate) fn complete() -> FeedPosition {
    FeedPosition { generation: NOTE, position: u64::MAX }
}

/// Whether a restore of this store was begun and has not come to its end: its node must not write.
pub fn is_restoring(store: &Store) -> bool {
    let restores = store.positions().into_iter().filter(|(feed, _)| feed.direction == Direction::Restore);
    let (mut any, mut ended) = (false, false);
    for (_, position) in restores {
        any = true;
        ended |= position.generation == NOTE;
    }
    any && !ended
}

/// Whether this store takes a restore: it is empty, or in the middle of one.
pub(crate) fn may_restore(store: &Store) -> bool {
    store.last_epoch().is_none() || is_restoring(store)
}

/// The feed under which it is noted, in a store that was restored, that what comes down has come once since.
fn informed_feed(own: OriginId) -> FeedId {
    FeedId { peer: own, direction: Direction::Down }
}

/// The note that everything that comes down has come once; none if this store needs none.
pub(crate) fn informed(store: &Store, own: OriginId) -> Option<(FeedId, FeedPosition)> {
    (!is_informed(store, own)).then(|| (informed_feed(own), complete()))
}

/// Whether this store knows which institutions file where: one that was restored knows only what its own node wrote until
/// everything that comes down has come once.
pub fn is_informed(store: &Store, own: OriginId) -> bool {
    let restored = store.positions().iter().any(|(feed, _)| feed.direction == Direction::Restore);
    !restored || store.position(&informed_feed(own)).is_some()
}

/// The feed, which there is not, under which a root notes that its disk was lost or set back. Not that of the node itself: there its
/// linker notes how far it came.
fn lost_feed(own: OriginId) -> FeedId {
    let hash = Sha256::new_with_prefix(b"tiermesh lost v1\0").chain_update(own.as_bytes()).finalize();
    let mut peer = [0; 16];
    peer.copy_from_slice(&hash[..16]);
    FeedId { peer: OriginId(peer), direction: Direction::Up }
}

/// The note that what this node wrote in epochs before the one with this counter may be lost. For a root, which has nobody to
/// restore it: its children ship again what they have, the links that it made among it. To be durable before that epoch is opened.
pub fn note_lost(own: OriginId, before: u32) -> (FeedId, FeedPosition) {
    (lost_feed(own), FeedPosition { generation: NOTE, position: before.into() })
}

/// The epoch before which what this node wrote may be lost; 0: nothing is.
pub(crate) fn lost_before(store: &Store, own: OriginId) -> u32 {
    store.position(&lost_feed(own)).map_or(0, |noted| u32::try_from(noted.position).unwrap_or(u32::MAX))
}

/// The children that were refused because they must be restored. Clones are the same. Bounded by the children.
#[derive(Debug, Clone, Default)]
pub struct Restores {
    wanted: Arc<Mutex<BTreeSet<NodePath>>>,
    moved: Arc<Notify>,
}

impl Restores {
    pub(crate) fn want(&self, child: &NodePath) {
        self.wanted.lock().insert(child.clone());
        self.moved.notify_waiters();
    }

    /// Waits until this child needs a restore; it is asked for again when it is refused again.
    pub async fn wanted(&self, child: &NodePath) {
        loop {
            let moved = self.moved.notified();
            tokio::pin!(moved);
            // Registered before looking, so that nothing is missed in between.
            moved.as_mut().enable();
            if self.wanted.lock().remove(child) {
                return;
            }
            moved.await;
        }
    }
}
