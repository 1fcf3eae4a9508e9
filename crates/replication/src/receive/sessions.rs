//! Which neighbours are connected: one live session each in one direction. A newer connection of the same start takes the place of the older
//! one and waits until that has applied what it was applying.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::feed::Hello;
use model::{EpochId, NodePath, OriginId};
use parking_lot::Mutex;
use store::Direction;
use tokio::sync::watch;

use crate::{LinkError, LinkRefusal, Links};

/// The live sessions of a receiver.
#[derive(Debug)]
pub(super) struct Sessions {
    live: Arc<Mutex<Live>>,
    links: Links,
}

#[derive(Debug, Default)]
struct Live {
    /// Bounded by the neighbours: only authenticated ones get here.
    by_path: BTreeMap<NodePath, Entry>,
    next: u64,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    /// The sender's epoch; none while its store is empty.
    epoch: Option<EpochId>,
    stop: watch::Sender<bool>,
    /// Closed when the session has ended.
    ended: watch::Receiver<()>,
}

/// One session's place; giving it up ends the session.
#[derive(Debug)]
pub(super) struct Session {
    pub path: NodePath,
    /// The sender, known from its greeting on.
    pub origin: OriginId,
    /// In which its positions are kept: see `crate::numbering`.
    pub numbering: [u8; 16],
    pub direction: Direction,
    /// True when a newer session takes over.
    pub stop: watch::Receiver<bool>,
    number: u64,
    live: Arc<Mutex<Live>>,
    links: Links,
    previous: Option<watch::Receiver<()>>,
    /// Dropped last: whoever waits for this session goes on.
    _ended: watch::Sender<()>,
}

impl Sessions {
    pub fn new(links: Links) -> Self {
        Self { live: Arc::default(), links }
    }

    /// Takes the neighbour's place if `judge` allows it, given the epoch of the session that is live now.
    pub fn claim(
        &self,
        path: &NodePath,
        epoch: Option<EpochId>,
        judge: impl FnOnce(Option<EpochId>) -> Result<(), LinkRefusal>,
    ) -> Result<Session, LinkError> {
        let mut live = self.live.lock();
        let held = live.by_path.get(path);
        judge(held.and_then(|held| held.epoch))?;
        let previous = held.map(|held| {
            held.stop.send_replace(true);
            held.ended.clone()
        });
        live.next += 1;
        let number = live.next;
        let (stop, stopped) = watch::channel(false);
        let (ended, until_ended) = watch::channel(());
        live.by_path.insert(path.clone(), Entry { number, epoch, stop, ended: until_ended });
        Ok(Session {
            path: path.clone(),
            origin: OriginId([0; 16]),
            numbering: [0; 16],
            direction: Direction::Up,
            stop: stopped,
            number,
            live: Arc::clone(&self.live),
            links: self.links.clone(),
            previous,
            _ended: ended,
        })
    }
}

impl Session {
    /// Waits until the session that this one replaces has ended.
    pub async fn wait_for_previous(&self) {
        if let Some(mut previous) = self.previous.clone() {
            // Nothing is ever sent: an error is the end that is waited for.
            while previous.changed().await.is_ok() {}
        }
    }

    /// The session of this greeting.
    pub fn of(mut self, hello: Hello) -> Self {
        (self.origin, self.numbering) = (hello.origin, crate::numbering::current(&hello));
        self.direction = super::direction_of(&hello);
        self
    }

    /// Notes that the sender opened an epoch during the session, as one with an empty store does.
    pub fn opened(&self, epoch: EpochId) {
        let mut live = self.live.lock();
        if let Some(entry) = live.by_path.get_mut(&self.path).filter(|entry| entry.number == self.number) {
            entry.epoch = Some(epoch);
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let mut live = self.live.lock();
        if live.by_path.get(&self.path).is_some_and(|entry| entry.number == self.number) {
            live.by_path.remove(&self.path);
            self.links.change(&self.path, |link| (link.connected, link.stalled) = (false, None));
        }
    }
}
