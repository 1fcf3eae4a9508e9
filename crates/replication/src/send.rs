//! The sending end of a feed: what this node holds and a neighbour should and does not, in the order of its log. The same
//! code runs up, down and for a restore; the rule of each is in [`route`].
//!
//! The receiver alone decides what it has: the sender goes on from the position in the welcome, keeps a bounded number of
//! batches unacknowledged and remembers nothing between sessions. A signal that the log grew carries no data; the log is read.

mod backfill;
mod check;
mod cover;
mod express;
mod introduction;
mod judging;
mod pace;
mod proving;
mod repair;
mod route;
mod shipping;
mod sweep;
#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use model::feed::{Ack, Batch, FromReceiver, FromSender, Head, Hello, MAX_RETRACTIONS, Welcome};
use model::{Clock, KeyId, NodePath, Record, RecordKey, Version};
use store::{FeedReader, FeedSlice, Forgotten, Store};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use self::backfill::Backfill;
use self::cover::Cover;
use self::express::Express;
use self::introduction::Introduction;
use self::judging::Judging;
use self::pace::Pace;
use self::proving::Proving;
pub use self::route::Children;
use self::route::{Lost, Route, select};
use self::shipping::{Shipping, cut};
use self::sweep::Sweep;
use crate::batch::Place;
use crate::interest::{Selected, Selection};
use crate::links::Counted;
use crate::{
    Confirmations, Directory, DirectoryView, Keyring, LinkError, Links, NodeIdentity, batch, entitlement,
    restore,
};

/// Commits that are passed by at once if they hold nothing for a child.
const MAX_PASSED_BY: u64 = 1024;

/// How a sender behaves.
#[derive(Debug, Clone)]
pub struct SenderSettings {
    /// How often the head is sent, and how the nodes below are.
    pub head_interval: Duration,
    /// How long the receiver may be silent before the session ends. The receiver answers every head.
    pub silence_limit: Duration,
    /// Most bytes of a batch before compression; the receiver's word counts if it is less.
    pub max_batch_bytes: usize,
    /// Most records of a batch.
    pub max_batch_records: usize,
    /// Most batches unacknowledged; the receiver's word counts if it is less.
    pub max_in_flight: usize,
    /// Pause between two comparisons of all that a child holds, after one that found it equal.
    pub sweep_pause: Duration,
}

impl Default for SenderSettings {
    fn default() -> Self {
        Self {
            head_interval: Duration::from_secs(5),
            silence_limit: Duration::from_secs(30),
            max_batch_bytes: 1024 * 1024,
            max_batch_records: 1000,
            max_in_flight: 8,
            sweep_pause: Duration::from_secs(3600),
        }
    }
}

/// Ships one feed of this node's. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Sender {
    /// None for the up feed of a root, which has nobody to ship to.
    to: Option<NodePath>,
    route: Route,
    store: Store,
    directory: Directory,
    links: Links,
    clock: Arc<dyn Clock>,
    own: NodeIdentity,
    settings: SenderSettings,
    /// Most bytes a second that batches may take of the line to the parent.
    line_bytes_per_s: Option<u64>,
    welcome: Arc<watch::Sender<Option<Welcome>>>,
    /// This start is one that the parent has taken in its epoch, or there is no parent. Shared by the feeds of a node.
    admitted: Arc<watch::Sender<bool>>,
    confirmations: Confirmations,
    keyring: Arc<dyn Keyring>,
}

impl Sender {
    /// Of the up feed.
    pub fn new(
        store: Store,
        directory: Directory,
        keyring: Arc<dyn Keyring>,
        links: Links,
        clock: Arc<dyn Clock>,
        own: NodeIdentity,
    ) -> Self {
        let welcome = Arc::new(watch::Sender::new(None));
        let to = own.path.parent();
        let admitted = Arc::new(watch::Sender::new(to.is_none()));
        if let Some(parent) = &to {
            links.sends(parent.clone(), store.watch_head());
        }
        Self {
            to,
            route: Route::Up,
            store,
            directory,
            links,
            clock,
            own,
            settings: SenderSettings::default(),
            line_bytes_per_s: None,
            welcome,
            admitted,
            confirmations: Confirmations::default(),
            keyring,
        }
    }

    /// Ends when the restore that this node waits for or is in has come to its end: then its parent takes it again. Never if there is
    /// none.
    pub async fn restored(&self) {
        let mut head = self.store.watch_head();
        if !restore::may_restore(&self.store) {
            return std::future::pending().await;
        }
        while restore::may_restore(&self.store) {
            if head.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    #[must_use]
    pub fn with_settings(self, settings: SenderSettings) -> Self {
        Self { settings, ..self }
    }

    /// Batches to the parent take at most so many bytes a second; what goes to children does as they wish.
    #[must_use]
    pub fn with_line(self, bytes_per_s: Option<u64>) -> Self {
        Self { line_bytes_per_s: bytes_per_s, ..self }
    }

    /// What the parent is known to hold, for callers who wait for it.
    pub fn confirmations(&self) -> Confirmations {
        self.confirmations.clone()
    }

    /// The parent's latest welcome. Once there is one, a node with an empty store may open its first epoch: the parent knows
    /// nothing of it that it would have to restore.
    pub fn may_begin(&self) -> watch::Receiver<Option<Welcome>> {
        self.welcome.subscribe()
    }

    /// Ships over one connection until it ends, which is an error that says how, but for a restore that is complete, and for a
    /// node that asked its parent whether it may begin, and has begun: it greets again. Batches
    /// wait in `outgoing` (give it a small capacity); what `incoming` fails with is passed on.
    pub async fn ship<In>(&self, incoming: In, outgoing: mpsc::Sender<FromSender>) -> Result<(), LinkError>
    where
        In: Stream<Item = Result<FromReceiver, LinkError>> + Send,
    {
        let Some(to) = &self.to else {
            return Err(LinkError::Protocol("a root has no parent to ship to"));
        };
        let _connected = Disconnect { sender: self, to };
        let outcome = self.session(to, incoming, outgoing).await;
        if let Err(error) = &outcome {
            let now_ms = self.clock.now_ms();
            self.links.failed(to, error.reason(), &error.to_string(), now_ms);
            let feed = self.route.direction();
            tracing::info!(%to, ?feed, reason = error.reason(), %error, "a feed to a neighbour ended");
        }
        outcome
    }

    async fn session<In>(
        &self,
        to: &NodePath,
        incoming: In,
        outgoing: mpsc::Sender<FromSender>,
    ) -> Result<(), LinkError>
    where
        In: Stream<Item = Result<FromReceiver, LinkError>> + Send,
    {
        let mut incoming = pin!(incoming);
        if !self.route.is_up() {
            tokio::select! {
                biased;
                () = self.ready() => {}
                () = outgoing.closed() => return Err(closed()),
            }
        }
        // Only the parent can tell this node whether it may begin.
        let begun = self.store.has_begun();
        let hello = self.hello()?;
        let greeted_ms = hello.now_ms;
        outgoing.send(FromSender::Hello(Box::new(hello))).await.map_err(|_| closed())?;
        let heard = tokio::time::timeout(self.settings.silence_limit, incoming.next()).await;
        let welcome = match heard.map_err(|_| silent(&self.settings))?.ok_or_else(closed)?? {
            FromReceiver::Welcome(welcome) => welcome,
            FromReceiver::Ack(_) => return Err(LinkError::Protocol("an acknowledgement before the welcome")),
        };
        let head = self.store.head();
        check_welcome(&welcome, &self.own.protocols, to, head)?;
        if self.route.is_up() && restore::is_restoring(&self.store) {
            return Err(LinkError::Protocol(
                "the parent welcomes a node that it was restoring; its own records may be lost",
            ));
        }
        let now_ms = self.clock.now_ms();
        let offset_ms = offset_ms(welcome.now_ms, greeted_ms, now_ms);
        self.links.welcomed(to, welcome.position, head, offset_ms, now_ms);
        self.confirmations.welcomed(welcome.position, &welcome.refused);
        let feed = self.route.direction();
        let (position, protocol, software) = (welcome.position, welcome.protocol, &welcome.software);
        tracing::info!(%to, ?feed, position, head, protocol, software, "a neighbour takes this node's feed");
        let mut course = Course::new(self, to, &welcome);
        self.welcome.send_replace(Some(welcome));
        if begun {
            self.admitted.send_if_modified(|admitted| !std::mem::replace(admitted, true));
            return course.run(incoming, outgoing).await;
        }
        tokio::select! {
            biased;
            heard = incoming.next() => {
                let unasked = || LinkError::Protocol("an acknowledgement of nothing");
                return Err(heard.map_or_else(closed, |heard| heard.err().unwrap_or_else(unasked)));
            }
            begun = self.until_begun(&outgoing) => begun?,
        }
        // It greets again, in the new epoch, when the other end has let go of this session.
        drop(outgoing);
        let ended = async { while incoming.next().await.is_some() {} };
        tokio::time::timeout(self.settings.silence_limit, ended).await.map_err(|_| silent(&self.settings))
    }

    /// Waits until this feed may begin. What a node tells those below it in an epoch that its parent then refuses (an old backup, a
    /// clone) nobody takes back, so it waits for its parent's word. Meanwhile they can ask it.
    pub async fn ready(&self) {
        let Some(to) = self.to.as_ref().filter(|_| !self.route.is_up()) else { return };
        let mut admitted = self.admitted.subscribe();
        let waits = |reason, why: &str| self.links.noted(to, reason, why, self.clock.now_ms());
        if !self.store.has_begun() {
            waits(
                "NOT_BEGUN",
                "this node does not write yet, and until then it ships nothing down: its own status says why",
            );
            self.store.begun().await;
        }
        if !*admitted.borrow() {
            waits(
                "NOT_ADMITTED",
                "this node's parent has not taken this start of it yet, and until then it ships nothing down: check the link to the parent",
            );
            // The sender lives as long as this one.
            let _admitted = admitted.wait_for(|admitted| *admitted).await.is_ok();
        }
    }

    /// Before the epoch of this start is open, positions would be those of an earlier start.
    async fn until_begun(&self, outgoing: &mpsc::Sender<FromSender>) -> Result<(), LinkError> {
        tokio::select! {
            biased;
            () = self.store.begun() => Ok(()),
            () = outgoing.closed() => Err(closed()),
        }
    }

    fn hello(&self) -> Result<Hello, LinkError> {
        // In the middle of a restore this node does not know itself yet.
        let Introduction { epochs, began, records: introduction } = if restore::is_restoring(&self.store) {
            Introduction::default()
        } else {
            introduction::of(&self.store, self.own.origin)?
        };
        Ok(Hello {
            protocols: self.own.protocols.clone(),
            direction: self.route.direction(),
            path: self.own.path.clone(),
            origin: self.own.origin,
            trust_domain: self.own.trust_domain.clone(),
            generation: self.store.generation(),
            head: self.store.head(),
            epochs,
            began,
            last_seq: self.store.last_seq(),
            now_ms: self.clock.now_ms(),
            software: self.own.software.clone(),
            introduction,
        })
    }
}

/// Marks the link as not connected however the session ends, also when its future is dropped.
struct Disconnect<'a> {
    sender: &'a Sender,
    to: &'a NodePath,
}

impl Drop for Disconnect<'_> {
    fn drop(&mut self) {
        self.sender.links.change(self.to, |link| link.connected = false);
        self.sender.confirmations.away();
    }
}

/// One session after its welcome.
struct Course<'a> {
    sender: &'a Sender,
    to: &'a NodePath,
    selection: Option<Selection>,
    lost: Lost,
    /// What goes before the slice that was read last.
    backfill: Option<Backfill>,
    /// Where a restore ends.
    until: Option<u64>,
    ending: Ending,
    reader: FeedReader,
    shipping: Shipping,
    cover: Cover,
    express: Express,
    proving: Proving,
    sweep: Sweep,
    /// Of a down feed.
    judging: Option<Judging>,
    pace: Pace,
    max_batch_bytes: usize,
    /// Parts of the last slice that was read.
    ready: VecDeque<Batch>,
    next_head: Instant,
    heard: Instant,
    /// This node's clock at a head that waits for its answer.
    asked_ms: Option<u64>,
    /// The head at which the log had nothing more to read after all.
    read_out: u64,
    /// The directory knows every signer that it will ever know of what is read now.
    known_signers: bool,
}

/// How far the end of a restore is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Ending {
    #[default]
    Open,
    /// The head that ends it went.
    Told,
    Acknowledged,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Batch,
    /// Nothing new; what differs at the other end is shipped again.
    Repair,
    /// The same of a down feed.
    Mend,
    /// The next records are compared with what the other end is to hold.
    Gather,
    Head,
    /// The line carries the last batch.
    WaitForLine(Instant),
    /// Everything is shipped.
    WaitForRecords,
    /// The window is full.
    WaitForAck,
}

impl Next {
    /// Whether something is to go to the other end.
    fn goes(self) -> bool {
        matches!(self, Self::Batch | Self::Repair | Self::Mend | Self::Head)
    }

    /// When to look again at the latest.
    fn or(self, head: Instant) -> Instant {
        if let Self::WaitForLine(free_at) = self { head.min(free_at) } else { head }
    }
}

impl<'a> Course<'a> {
    fn new(sender: &'a Sender, to: &'a NodePath, welcome: &Welcome) -> Self {
        let settings = &sender.settings;
        let now = Instant::now();
        let pace = Pace::new(sender.line_bytes_per_s, welcome.max_bytes_per_s, now);
        let max_batch_bytes = settings.max_batch_bytes.min(welcome.max_batch_bytes as usize);
        Self {
            sender,
            to,
            selection: sender.route.selection(to, welcome.position, sender.directory.snapshot()),
            lost: Lost { by: welcome.origin, before: welcome.lost_before },
            backfill: None,
            until: matches!(sender.route, Route::Restore).then(|| sender.store.head()),
            ending: Ending::default(),
            reader: sender.store.feed_reader(welcome.position),
            shipping: Shipping::new(
                welcome.position,
                settings.max_in_flight.min(welcome.max_in_flight as usize),
            ),
            cover: Cover::default(),
            express: Express::default(),
            proving: Proving::new(now),
            sweep: Sweep::new(now, settings.sweep_pause),
            judging: matches!(sender.route, Route::Down(_)).then(Judging::default),
            max_batch_bytes: pace.batch_bytes(max_batch_bytes),
            pace,
            ready: VecDeque::new(),
            next_head: now + settings.head_interval,
            heard: now,
            asked_ms: None,
            read_out: 0,
            known_signers: false,
        }
    }

    async fn run<In>(&mut self, mut incoming: In, outgoing: mpsc::Sender<FromSender>) -> Result<(), LinkError>
    where
        In: Stream<Item = Result<FromReceiver, LinkError>> + Unpin + Send,
    {
        let store = self.sender.store.clone();
        let mut moves = self.sender.directory.watch_moves();
        let judged = self.sender.links.judged().clone();
        loop {
            if self.ending == Ending::Acknowledged {
                return Ok(());
            }
            // From before the look, so that nothing is missed in between.
            let said = judged.changed();
            self.look_at_judges();
            let newest = store.head();
            let head = self.until.map_or(newest, |until| newest.min(until));
            let next = self.next(head);
            let silent_at = self.heard + self.sender.settings.silence_limit;
            tokio::select! {
                biased;
                frame = incoming.next() => match frame.ok_or_else(closed)?? {
                    FromReceiver::Ack(ack) => self.acknowledged(ack).await?,
                    FromReceiver::Welcome(_) => return Err(LinkError::Protocol("a second welcome")),
                },
                permit = outgoing.reserve(), if next.goes() => {
                    let permit = permit.map_err(|_| closed())?;
                    let batch = match next {
                        Next::Head => {
                            permit.send(self.head(head));
                            continue;
                        }
                        Next::Repair => Some(self.repair_batch(head)?),
                        Next::Mend => Some(self.mending_batch(head)?),
                        _ => self.batch().await?,
                    };
                    if let Some(batch) = batch {
                        self.pace.sent(batch.payload.len(), Instant::now());
                        permit.send(FromSender::Batch(batch));
                    } else {
                        self.read_out = head;
                    }
                }
                () = tokio::task::yield_now(), if next == Next::Gather => self.gather()?,
                _ = store.beyond(newest), if next == Next::WaitForRecords => {}
                // Who judges whom is told by who writes where: a move can join and part persons without any other record.
                _ = moves.changed() => self.sweep.hasten(Instant::now()),
                () = said, if self.judging.is_some() => {}
                // Whatever waits for the line need not be woken: a head that is due waits for it as well.
                () = tokio::time::sleep_until(next.or(self.wake(next, head))), if !next.goes() => {}
                () = tokio::time::sleep_until(silent_at) => return Err(silent(&self.sender.settings)),
            }
        }
    }

    fn next(&self, head: u64) -> Next {
        let more = !self.ready.is_empty() || self.shipping.sent().max(self.read_out) < head;
        let at_end = self.until.is_some() && !more && self.shipping.is_idle() && self.ending == Ending::Open;
        let line = self.pace.wait(Instant::now());
        if more && self.shipping.has_room() && line.is_none() {
            Next::Batch
        } else if Instant::now() >= self.next_head
            || at_end
            || self.proof_wanted(head)
            || self.check_wanted(head)
        {
            Next::Head
        } else if let Some(free_at) = line.filter(|_| self.shipping.has_room()) {
            Next::WaitForLine(free_at)
        } else if !more && self.proving.repairing().is_some() && self.shipping.has_room() {
            Next::Repair
        } else if !more && self.sweep.mends() && self.shipping.has_room() {
            Next::Mend
        } else if !more && self.step_due(head).is_some_and(|due| due <= Instant::now()) {
            Next::Gather
        } else if more {
            Next::WaitForAck
        } else {
            Next::WaitForRecords
        }
    }

    fn head(&mut self, head: u64) -> FromSender {
        let now_ms = self.sender.clock.now_ms();
        self.next_head = Instant::now() + self.sender.settings.head_interval;
        self.asked_ms = self.shipping.is_idle().then_some(now_ms);
        if self.shipping.is_idle() && self.shipping.sent() >= self.until.unwrap_or(u64::MAX) {
            self.ending = Ending::Told;
        }
        let (sender, up) = (self.sender, self.sender.route.is_up());
        let below = || sender.links.below(&sender.own.path, &sender.directory.snapshot(), now_ms);
        let below = if up { below() } else { Vec::new() };
        let (proof, check) = (self.proof(), self.check());
        let judged = self.judging.as_ref().map_or_else(Vec::new, |judging| judging.words(Instant::now()));
        FromSender::Head(Head { head, now_ms, below, proof, check, judged })
    }

    /// The next batch; none if the log had nothing more after all.
    async fn batch(&mut self) -> Result<Option<Batch>, LinkError> {
        if self.ready.is_empty() {
            self.look_ahead()?;
        }
        if self.ready.is_empty() && !self.read_on().await? {
            // Whose they are is being decided. Once it is, only what nobody vouches for is unknown.
            let published = self.sender.directory.decide().await;
            self.reader = self.sender.store.feed_reader(self.shipping.sent());
            self.known_signers = true;
            let read = self.read().await;
            self.known_signers = false;
            drop(published);
            read?;
        }
        let batch = self.ready.pop_front();
        if let Some(batch) = &batch {
            self.shipping.ship(batch.upto);
            self.asked_ms = None;
        }
        Ok(batch)
    }

    /// Reads on while nothing is for the other end: what passes it by takes no turn of the window, or a slow line to a child that is
    /// behind would carry mostly answers to nothing, and a child that writes faster than that would never hear of anything.
    async fn read_on(&mut self) -> Result<bool, LinkError> {
        loop {
            if !self.read().await? {
                return Ok(false);
            }
            let [only] = self.ready.make_contiguous() else { return Ok(true) };
            let passes_by = self.selection.is_some() && only.raw_len == 0 && only.retractions.is_empty();
            if !passes_by || only.upto == only.head || only.upto - only.after >= MAX_PASSED_BY {
                return Ok(true);
            }
            self.ready.clear();
        }
    }

    /// Reads the next slice of the log and makes batches of it: before its records the directory records that they need, and
    /// before those what an institution that moved has filed so far. False, and nothing, if it holds records of a signer that the
    /// directory does not know yet.
    async fn read(&mut self) -> Result<bool, LinkError> {
        if self.backfill.is_some() {
            self.read_backfill().await?;
            return Ok(true);
        }
        let sender = self.sender;
        let directory = sender.directory.snapshot();
        let after = self.shipping.sent();
        let Some(slice) = self.slice(&directory)? else { return Ok(false) };
        if slice.upto <= after {
            return Ok(true);
        }
        let moved = match &mut self.selection {
            Some(selection) => selection.moved_in(&slice.records, slice.upto, &directory),
            None => Vec::new(),
        };
        if !moved.is_empty() {
            let institutions = moved.iter().map(|(institution, _)| *institution).collect();
            let until = moved.iter().map(|(_, until)| *until).max().unwrap_or(0);
            self.backfill = Some(Backfill::new(&sender.store, institutions, until, slice));
            self.read_backfill().await?;
            return Ok(true);
        }
        let place = Place { after, upto: slice.upto, head: slice.head, now_ms: 0 };
        self.select(slice.records, slice.forgotten, place, &directory).await?;
        Ok(true)
    }

    /// Makes batches of what is selected of these records. All but the last leave the position where it was.
    async fn select(
        &mut self,
        records: Vec<Record>,
        forgotten: Vec<Forgotten>,
        place: Place,
        directory: &DirectoryView,
    ) -> Result<(), LinkError> {
        let sender = self.sender;
        let mut selected =
            select(self.selection.as_mut(), records, place.after, directory, &sender.store).await?;
        if let Some(selection) = &mut self.selection {
            // What was retracted here was told from here.
            let forgotten = selection.forgotten(&forgotten, directory, &sender.store)?;
            selection.retracted(&forgotten);
            selected.retract_also(forgotten);
        }
        let Selected { mut records, mut retractions } = selected;
        self.cover(&mut records, directory)?;
        let place = Place { now_ms: sender.clock.now_ms(), ..place };
        let parts = cut(&records, self.max_batch_bytes, sender.settings.max_batch_records);
        let last = parts.len() - 1;
        for (at, part) in parts.into_iter().enumerate() {
            let upto = if at == last { place.upto } else { place.after };
            let batch = batch::encode(part, Place { upto, ..place });
            let with = if at == last { self.retract(retractions.split_off(0), place) } else { Vec::new() };
            self.ready.push_back(Batch { retractions: with, ..batch });
        }
        self.sender.links.change(self.to, |link| link.head = place.head.max(link.head));
        Ok(())
    }

    /// Puts retractions into batches of their own, but for those of the last one.
    fn retract(&mut self, mut all: Vec<(RecordKey, Version)>, place: Place) -> Vec<(RecordKey, Version)> {
        self.sender.links.change(self.to, |link| link.retracted += all.len() as u64);
        while all.len() > MAX_RETRACTIONS {
            let retractions = all.split_off(all.len() - MAX_RETRACTIONS);
            let alone = batch::encode(&[], Place { upto: place.after, ..place });
            self.ready.push_back(Batch { retractions, ..alone });
        }
        all
    }

    /// Makes batches of what may not wait behind the backlog.
    fn look_ahead(&mut self) -> Result<(), LinkError> {
        let (sender, to) = (self.sender, self.to);
        let (route, own, directory) = (&sender.route, &sender.own.path, sender.directory.snapshot());
        let Some(lanes) = route.lanes(self.pace.is_thin()) else { return Ok(()) };
        // Whose a record is that is being decided about is seen when its turn comes.
        let takes = |envelope: &model::Envelope| {
            let Some(path) = directory.key_path(&envelope.key_id).filter(|_| directory.explains(envelope))
            else {
                return false;
            };
            // A child has its own subtree's.
            (route.is_up() || !to.contains(path)) && route.takes(envelope, &directory, own, to)
        };
        let may = |signer: &KeyId, flow| route.may_take(signer, flow, &directory, own, to);
        let (sent, head) = (self.shipping.sent(), sender.store.head());
        let mut records = self.express.next(&sender.store, (sent, head), lanes, &takes, &may)?;
        if records.is_empty() {
            return Ok(());
        }
        self.cover(&mut records, &directory)?;
        let place = Place { after: sent, upto: sent, head, now_ms: sender.clock.now_ms() };
        let parts = cut(&records, self.max_batch_bytes, sender.settings.max_batch_records);
        self.ready.extend(parts.into_iter().map(|part| batch::encode(part, place)));
        Ok(())
    }

    /// Puts before the records what they need.
    fn cover(&mut self, records: &mut Vec<Record>, directory: &DirectoryView) -> Result<(), LinkError> {
        let sender = self.sender;
        let mut needed = self.cover.complete(records, directory, &sender.store)?;
        let (own, to) = (&sender.own.path, self.to);
        needed.retain(|record| sender.route.carries(record.envelope(), directory, own, to));
        records.splice(0..0, needed);
        // The receiver judges batch by batch, so what others depend on must not stand in a later part: of decisions, the earlier one.
        records.sort_by_key(entitlement::turn);
        Ok(())
    }

    /// The next slice of the log; none if a signer in it is not known yet and may be soon.
    fn slice(&mut self, directory: &DirectoryView) -> Result<Option<FeedSlice>, LinkError> {
        let (sender, to) = (self.sender, self.to);
        let (route, own, express) = (&sender.route, &sender.own.path, &self.express);
        let (unknown, lost) = (Cell::new(false), self.lost);
        let takes = |envelope: &model::Envelope| {
            unknown.set(unknown.get() || !directory.explains(envelope));
            let takes = route.takes(envelope, directory, own, to) || route.is_up() && lost.was(envelope);
            takes && !express.went(envelope)
        };
        // In a damaged place what the parent lost is passed by: nobody who could mend it may hand it out.
        let may = |signer: &KeyId, flow| route.may_take(signer, flow, directory, own, to);
        let most = route.max_records(sender.settings.max_batch_records);
        let slice = self.reader.next_of(most, self.max_batch_bytes, &takes, &may)?;
        Ok((!unknown.get() || self.known_signers).then_some(slice))
    }

    async fn acknowledged(&mut self, ack: Ack) -> Result<(), LinkError> {
        self.shipping.acknowledge(ack.position)?;
        self.heard = Instant::now();
        let now_ms = self.sender.clock.now_ms();
        let counted = Counted {
            applied: ack.applied.into(),
            repeated: ack.repeated.into(),
            // The total follows below.
            quarantined: 0,
        };
        let links = &self.sender.links;
        links.heard(self.to, Some(self.sender.store.head()), now_ms);
        links.moved(self.to, ack.position, counted, now_ms);
        self.sender.confirmations.acknowledged(ack.position, &ack.refused);
        if self.ending == Ending::Told && self.shipping.is_idle() {
            self.ending = Ending::Acknowledged;
        }
        let offset = self.asked_ms.take().map(|asked_ms| offset_ms(ack.now_ms, asked_ms, now_ms));
        links.change(self.to, |link| {
            (link.quarantined, link.settled) = (ack.quarantined_total, ack.quarantined_settled);
            link.clock_offset_ms = offset.unwrap_or(link.clock_offset_ms);
        });
        if let Some(answer) = &ack.check {
            self.checked(answer)?;
        }
        match ack.verdict {
            Some(verdict) => self.judged(verdict, now_ms).await,
            None => Ok(()),
        }
    }
}

/// A welcome that this node can follow.
fn check_welcome(welcome: &Welcome, offered: &[u32], to: &NodePath, head: u64) -> Result<(), LinkError> {
    if !offered.contains(&welcome.protocol) {
        return Err(LinkError::Protocol("the other end chose a version that was not offered"));
    }
    if welcome.path != *to {
        return Err(LinkError::Protocol("the other end is another node"));
    }
    if welcome.position > head {
        return Err(LinkError::ParentKnowsMore { position: welcome.position, head });
    }
    if (welcome.max_batch_bytes as usize) < shipping::LEAST_BATCH_BYTES || welcome.max_in_flight == 0 {
        return Err(LinkError::Protocol("the other end takes no batch that could hold a record"));
    }
    Ok(())
}

/// The other clock minus this one, had its answer been made half way between question and arrival.
fn offset_ms(theirs_ms: u64, asked_ms: u64, arrived_ms: u64) -> i64 {
    let half_way = asked_ms / 2 + arrived_ms / 2;
    theirs_ms.wrapping_sub(half_way) as i64
}

fn closed() -> LinkError {
    LinkError::Broken { cause: "the stream ended".into() }
}

fn silent(settings: &SenderSettings) -> LinkError {
    LinkError::Silent(settings.silence_limit.as_secs())
}
