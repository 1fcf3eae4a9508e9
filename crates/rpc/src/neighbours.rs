//! The connections over which the neighbours are called: to the parent the one we dialled, to a child the one it dialled.
//! One for each neighbour, the newest.

use std::collections::BTreeMap;
use std::sync::Arc;

use exchange::{Hop, PeerError};
use model::{Clock, NodePath};
use parking_lot::RwLock;

use crate::connection::Channel;

/// Connections by the neighbour's path. Clones share them. Only paths with a certificate for exactly that place get in, so
/// it never holds more than the parent and the children there are.
#[derive(Debug, Clone)]
pub struct Neighbours {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    own: NodePath,
    clock: Arc<dyn Clock>,
    ways: RwLock<BTreeMap<NodePath, Way>>,
}

#[derive(Debug)]
enum Way {
    Open(Channel),
    Lost { since_ms: u64 },
}

impl Neighbours {
    /// None connected yet. `own` is this node's path.
    pub fn new(own: NodePath, clock: Arc<dyn Clock>) -> Self {
        Self { inner: Arc::new(Inner { own, clock, ways: RwLock::default() }) }
    }

    /// This node's path.
    pub fn own(&self) -> &NodePath {
        &self.inner.own
    }

    /// Takes a new connection into use and cuts the one before it.
    pub(crate) fn connected(&self, path: &NodePath, channel: Channel) {
        if let Some(Way::Open(old)) = self.inner.ways.write().insert(path.clone(), Way::Open(channel)) {
            old.close();
        }
    }

    /// Takes a connection out of use, if it still is the one in use.
    pub(crate) fn lost(&self, path: &NodePath, channel: &Channel) {
        let mut ways = self.inner.ways.write();
        if matches!(ways.get(path), Some(Way::Open(open)) if open.is(channel)) {
            ways.insert(path.clone(), Way::Lost { since_ms: self.inner.clock.now_ms() });
        }
    }

    /// The neighbour's path.
    pub(crate) fn path(&self, to: &Hop) -> Option<NodePath> {
        match to {
            Hop::Parent => self.inner.own.parent(),
            Hop::Child(path) => Some(path.clone()),
        }
    }

    /// The connection in use.
    pub fn channel(&self, to: &Hop) -> Result<Channel, PeerError> {
        let Some(path) = self.path(to) else {
            return Err(PeerError::NotConnected { to: "parent of a root".to_owned(), since_ms: 0 });
        };
        match self.inner.ways.read().get(&path) {
            Some(Way::Open(channel)) if !channel.is_ended() => Ok(channel.clone()),
            Some(Way::Lost { since_ms }) => {
                Err(PeerError::NotConnected { to: path.to_string(), since_ms: *since_ms })
            }
            // Ended this moment: its task has not noted it yet.
            Some(Way::Open(_)) => {
                Err(PeerError::NotConnected { to: path.to_string(), since_ms: self.inner.clock.now_ms() })
            }
            None => Err(PeerError::NotConnected { to: path.to_string(), since_ms: 0 }),
        }
    }
}
