//! The receiving end of the feeds: what children ship up, and what the parent ships down or gives back, is judged, applied
//! and acknowledged.
//!
//! ```text
//! serve (reads frames) ──2 batches──▶ Applier (own task): decode ▶ judge ▶ store.apply with the position ▶ publish ▶ ack
//! ```
//!
//! The applier is a task of its own, so that a connection that goes away never leaves a commit without what follows it.
//! An acknowledgement is sent strictly after the commit that holds its batch is durable.

mod applier;
mod check;
mod giving;
mod greeting;
mod seen;
mod sessions;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use model::feed::{FromReceiver, FromSender, Hello, MAX_BATCH_BYTES, MAX_REFUSED, Refused, Welcome};
use model::{Clock, NodePath, OriginId};
use store::{Direction, FeedId, ReadError, Store};
use tokio::sync::mpsc;
use tokio::task::JoinError;

use self::applier::{Applier, Work};
use self::seen::Seen;
use self::sessions::{Session, Sessions};
use crate::entitlement::Territory;
use crate::epoch::{EpochVerdict, admit_epochs, epoch_id, needs_known_seq};
use crate::error::Announced;
use crate::numbering::still_holds;
use crate::restore::{Restores, lost_before, may_restore};
use crate::{Directory, DirectoryView, Keyring, LinkError, LinkRefusal, Links, NodeIdentity};

/// How a receiver behaves.
#[derive(Debug, Clone)]
pub struct ReceiverSettings {
    /// Most batches that a sender may have unacknowledged.
    pub max_in_flight: u32,
    /// Most bytes a second that the parent may ship down; none: as it likes.
    pub line_bytes_per_s: Option<u64>,
    /// Batches read ahead of the one being applied; reading stops while they wait.
    pub read_ahead: usize,
    /// How long a sender may be silent before the session ends. Senders send their head every few seconds.
    pub silence_limit: Duration,
    /// First and longest wait before a commit is tried again that a full store refused, or that waits for what the parent has not acknowledged.
    pub retry_first: Duration,
    pub retry_longest: Duration,
}

impl Default for ReceiverSettings {
    fn default() -> Self {
        Self {
            max_in_flight: 8,
            line_bytes_per_s: None,
            read_ahead: 2,
            silence_limit: Duration::from_secs(30),
            retry_first: Duration::from_millis(50),
            retry_longest: Duration::from_secs(5),
        }
    }
}

/// Receives the children's feeds and the two of the parent's; several at once, one live session per neighbour and direction. Cheap to clone; clones share the sessions.
#[derive(Debug, Clone)]
pub struct Receiver {
    shared: Arc<Shared>,
}

/// What sessions share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub store: Store,
    pub directory: Directory,
    pub keyring: Arc<dyn Keyring>,
    pub links: Links,
    pub clock: Arc<dyn Clock>,
    pub own: NodeIdentity,
    pub settings: ReceiverSettings,
    sessions: [Sessions; 3],
    seen: Seen,
    restores: Restores,
}

impl Receiver {
    pub fn new(
        store: Store,
        directory: Directory,
        keyring: Arc<dyn Keyring>,
        links: Links,
        clock: Arc<dyn Clock>,
        own: NodeIdentity,
    ) -> Self {
        let sessions = [links.clone(), links.down(), links.restores()].map(Sessions::new);
        let settings = ReceiverSettings::default();
        Self {
            shared: Arc::new(Shared {
                store,
                directory,
                keyring,
                links,
                clock,
                own,
                settings,
                sessions,
                seen: Seen::default(),
                restores: Restores::default(),
            }),
        }
    }

    /// Changes the settings; before the first session, and before the receiver is cloned.
    #[must_use]
    pub fn with_settings(mut self, settings: ReceiverSettings) -> Self {
        let shared = Arc::get_mut(&mut self.shared);
        shared.expect("settings are changed before the receiver is cloned").settings = settings;
        self
    }

    /// The children that were refused because they lost their records.
    pub fn restores(&self) -> Restores {
        self.shared.restores.clone()
    }

    /// The last seq of a node's of which records are held here: everything that it wrote up to there has come. 0: none.
    pub async fn last_seq(&self, node: &OriginId) -> Result<u64, ReadError> {
        let view = self.shared.directory.snapshot();
        self.shared.seen.last_seq(&self.shared.store, &view, node).await
    }

    /// Serves one feed of a neighbour until it ends. `peer` is the path in the neighbour's verified certificate. An orderly end
    /// of the stream is no error; [`LinkError::Refused`] is to be told to the neighbour.
    pub async fn serve<In>(
        &self,
        peer: NodePath,
        incoming: In,
        outgoing: mpsc::Sender<FromReceiver>,
    ) -> Result<(), LinkError>
    where
        In: Stream<Item = Result<FromSender, LinkError>> + Send,
    {
        let outcome = self.session(&peer, incoming, outgoing).await;
        if let Err(error) = &outcome {
            let (reason, now_ms) = (error.reason(), self.shared.clock.now_ms());
            tracing::info!(%peer, reason, %error, "a neighbour's feed ended");
            let (own, links) = (&self.shared.own.path, &self.shared.links);
            if let LinkError::Refused(LinkRefusal::RestoreNeeded { path, .. }) = error {
                self.shared.restores.want(path);
            }
            // Paths that are no neighbours' are not kept: a stranger must not fill the table of links.
            if *error != LinkError::Replaced && own.is_parent_of(&peer) {
                links.noted(&peer, reason, &error.to_string(), now_ms);
            } else if *error != LinkError::Replaced && peer.is_parent_of(own) {
                links.down().noted(&peer, reason, &error.to_string(), now_ms);
            }
        }
        outcome
    }

    async fn session<In>(
        &self,
        peer: &NodePath,
        incoming: In,
        outgoing: mpsc::Sender<FromReceiver>,
    ) -> Result<(), LinkError>
    where
        In: Stream<Item = Result<FromSender, LinkError>> + Send,
    {
        let mut incoming = pin!(incoming);
        let silence_limit = self.shared.settings.silence_limit;
        let silent = || LinkError::Silent(silence_limit.as_secs());
        let Some(first) = tokio::time::timeout(silence_limit, incoming.next()).await.map_err(|_| silent())?
        else {
            return Ok(());
        };
        let FromSender::Hello(hello) = first? else {
            return Err(LinkError::Protocol("the first frame is no greeting"));
        };
        let (session, welcome) = greet(&self.shared, peer, *hello, &outgoing).await?;
        let mut stop = session.stop.clone();
        let (queue, work) = mpsc::channel(self.shared.settings.read_ahead);
        let mut read = welcome.position;
        let applier = Applier::new(Arc::clone(&self.shared), session, welcome.position, outgoing);
        let applier = tokio::spawn(applier.run(work));
        let ended = loop {
            let item = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break Err(LinkError::Replaced),
                // The applier ended first: its outcome is the session's.
                () = queue.closed() => break Ok(()),
                item = tokio::time::timeout(silence_limit, incoming.next()) => item,
            };
            let Ok(item) = item else { break Err(silent()) };
            let Some(item) = item else { break Ok(()) };
            let work = match item.and_then(|frame| in_order(frame, &mut read)) {
                Ok(work) => work,
                Err(error) => break Err(error),
            };
            // Waits while the applier is busy: that is the back-pressure on the neighbour.
            if queue.send(work).await.is_err() {
                break Ok(());
            }
        };
        drop(queue);
        joined(applier.await).and(ended)
    }
}

impl Shared {
    /// Where feeds of this direction are noted.
    fn links_of(&self, direction: Direction) -> Links {
        match direction {
            Direction::Up => self.links.clone(),
            Direction::Down => self.links.down(),
            Direction::Restore => self.links.restores(),
        }
    }

    fn sessions_of(&self, direction: Direction) -> &Sessions {
        match direction {
            Direction::Up => &self.sessions[0],
            Direction::Down => &self.sessions[1],
            Direction::Restore => &self.sessions[2],
        }
    }

    /// Where what a neighbour ships in this direction may have been written.
    fn territory<'a>(&'a self, direction: Direction, peer: &'a NodePath) -> Territory<'a> {
        match direction {
            Direction::Up => {
                let lost_before = lost_before(&self.store, self.own.origin);
                Territory::Child { subtree: peer, own: &self.own.path, lost_before }
            }
            Direction::Down => Territory::Beyond(&self.own.path),
            Direction::Restore => Territory::Anywhere,
        }
    }

    /// Tells how far the child is known here, which takes a look at the log.
    async fn with_known_seq(
        &self,
        refusal: LinkRefusal,
        view: &DirectoryView,
    ) -> Result<LinkRefusal, LinkError> {
        let LinkRefusal::RestoreNeeded { path, known_epoch, known_seq, announced } = refusal else {
            return Ok(refusal);
        };
        let seen = match view.origin_at(&path) {
            Some(origin) => self.seen.last_seq(&self.store, view, &origin).await?,
            None => 0,
        };
        Ok(LinkRefusal::RestoreNeeded { path, known_epoch, known_seq: known_seq.max(seen), announced })
    }
}

/// The outcome of a task of this crate; its panic goes on here.
fn joined(outcome: Result<Result<(), LinkError>, JoinError>) -> Result<(), LinkError> {
    match outcome {
        Ok(outcome) => outcome,
        Err(failed) if failed.is_panic() => std::panic::resume_unwind(failed.into_panic()),
        Err(_) => Err(LinkError::Broken { cause: "this node is stopping".into() }),
    }
}

/// Checks that a frame continues where the one before it ended.
fn in_order(frame: FromSender, read: &mut u64) -> Result<Work, LinkError> {
    let bad = |why| Err(LinkError::Refused(LinkRefusal::BadBatch(why)));
    match frame {
        FromSender::Hello(_) => Err(LinkError::Protocol("a second greeting")),
        FromSender::Head(head) => Ok(Work::Head(head)),
        FromSender::Batch(batch) if batch.after != *read => {
            bad("it does not begin where the one before it ended")
        }
        FromSender::Batch(batch) if batch.upto < batch.after => bad("it ends before it begins"),
        FromSender::Batch(batch) => {
            *read = batch.upto;
            Ok(Work::Batch(batch))
        }
    }
}

/// The direction of a feed as the store names it.
fn direction_of(hello: &Hello) -> Direction {
    match hello.direction {
        model::feed::Direction::Up => Direction::Up,
        model::feed::Direction::Down => Direction::Down,
        model::feed::Direction::Restore => Direction::Restore,
    }
}

/// Greets a neighbour: judges who and which start it is, makes its introduction durable, and says where to go on.
async fn greet(
    shared: &Arc<Shared>,
    peer: &NodePath,
    hello: Hello,
    outgoing: &mpsc::Sender<FromReceiver>,
) -> Result<(Session, Welcome), LinkError> {
    let view = shared.directory.snapshot();
    let direction = direction_of(&hello);
    if direction == Direction::Restore && !may_restore(&shared.store) {
        return Err(LinkRefusal::BadHello {
            why: "this node has its records; nothing is to be restored".into(),
        }
        .into());
    }
    // Whoever lost records too would take an empty child for a new one, and let it write where it had written before; or a clone
    // for the original.
    // And what came down meanwhile would hide from the parent how little this node has.
    let waits = shared.own.path.depth() > 0 && !shared.store.has_begun();
    if direction != Direction::Restore && waits {
        return Err(LinkRefusal::NotReady { path: peer.clone(), ours: shared.own.path.clone() }.into());
    }
    let protocol = match greeting::check(&hello, peer, &shared.own, &view) {
        Ok(protocol) => protocol,
        Err(refusal) => return Err(shared.with_known_seq(refusal, &view).await?.into()),
    };
    let session = claim(shared, peer, &hello).await?;
    session.wait_for_previous().await;
    // Its own task: once the introduction is durable, the directory must learn it even if the connection is gone.
    joined(tokio::spawn(greeting::introduce(Arc::clone(shared), peer.clone(), hello.clone())).await)?;
    let feed = FeedId { peer: hello.origin, direction };
    let held = shared.store.position(&feed);
    let position = held.and_then(|held| still_holds(held, &hello)).unwrap_or(0);
    // A parent that came back with less is read from the start: whatever it has, versions decide.
    let position = if direction != Direction::Up && position > hello.head { 0 } else { position };
    // A child that was set back lacks what was applied here, be it only of those below it: others could take its word for theirs.
    let diverged =
        held.is_some_and(|held| still_holds(held, &hello).is_some_and(|holds| holds < held.position));
    if position > hello.head || direction == Direction::Up && diverged {
        let (view, announced) = (shared.directory.snapshot(), Announced::Head(position.min(hello.head)));
        let refusal = greeting::restore_needed(&hello, hello.origin, &view, announced);
        return Err(shared.with_known_seq(refusal, &view).await?.into());
    }
    let now_ms = shared.clock.now_ms();
    let offset_ms = hello.now_ms.wrapping_sub(now_ms) as i64;
    let refused = quarantined_of(shared, peer, &feed)?;
    shared.links_of(direction).received_in(peer, crate::numbering::current(&hello), position);
    shared.links_of(direction).welcomed(peer, position, hello.head, offset_ms, now_ms);
    let welcome = Welcome {
        protocol,
        position,
        now_ms,
        path: shared.own.path.clone(),
        origin: shared.own.origin,
        max_batch_bytes: MAX_BATCH_BYTES as u32,
        max_in_flight: shared.settings.max_in_flight,
        // What comes up comes over the child's own line.
        max_bytes_per_s: shared.settings.line_bytes_per_s.filter(|_| direction != Direction::Up),
        software: shared.own.software.clone(),
        refused,
        lost_before: if direction == Direction::Up {
            lost_before(&shared.store, shared.own.origin)
        } else {
            0
        },
    };
    let gone = |_| LinkError::Broken { cause: "the stream ended".into() };
    outgoing.send(FromReceiver::Welcome(welcome.clone())).await.map_err(gone)?;
    tracing::info!(%peer, ?direction, position, head = hello.head, software = %hello.software, "a neighbour's feed is welcome");
    Ok((session.of(hello), welcome))
}

/// Takes the neighbour's place among the sessions, if its epochs allow it.
async fn claim(shared: &Shared, peer: &NodePath, hello: &Hello) -> Result<Session, LinkError> {
    let view = shared.directory.snapshot();
    let (direction, announced) = (direction_of(hello), hello.epochs.first().and_then(epoch_id));
    if direction != Direction::Up {
        // The newest connection of the parent is the one; its certificate says that it is the parent.
        return shared.sessions_of(direction).claim(peer, announced, |_| Ok(()));
    }
    let known = view.epochs(&hello.origin);
    let known_seq = if needs_known_seq(known, hello) {
        shared.seen.last_seq(&shared.store, &view, &hello.origin).await?
    } else {
        0
    };
    shared.sessions_of(direction).claim(peer, announced, |live| {
        match admit_epochs(known, known_seq, hello, live) {
            EpochVerdict::Admit | EpochVerdict::Replace => Ok(()),
            EpochVerdict::RestoreNeeded { known_epoch, known_seq, announced } => {
                Err(LinkRefusal::RestoreNeeded { path: peer.clone(), known_epoch, known_seq, announced })
            }
            EpochVerdict::Fenced { counter, known } => {
                Err(LinkRefusal::EpochFenced { path: peer.clone(), counter, known })
            }
            EpochVerdict::AlreadyConnected { live } => {
                Err(LinkRefusal::AlreadyConnected { path: peer.clone(), live })
            }
            EpochVerdict::Malformed(why) => Err(LinkRefusal::BadHello { why: why.into() }),
        }
    })
}

/// The child's records in quarantine, for its welcome; their number is noted for status.
fn quarantined_of(shared: &Shared, peer: &NodePath, feed: &FeedId) -> Result<Refused, LinkError> {
    let mut refused = Refused::default();
    let (count, _) = shared.store.quarantined_records(feed)?;
    let settled = shared.store.settled(feed)?;
    if count > 0 {
        let all = shared.store.quarantine_of(feed, MAX_REFUSED)?;
        for one in &all {
            applier::name(one, &mut refused);
        }
        refused.incomplete |= count > all.len() as u64;
    }
    shared.links_of(feed.direction).change(peer, |link| (link.quarantined, link.settled) = (count, settled));
    Ok(refused)
}

#[cfg(test)]
mod tests;
