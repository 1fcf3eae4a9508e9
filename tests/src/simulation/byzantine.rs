//! A neighbour that lies for a while: it ships its feed with frames doubled, exchanged, left out, taken from the past and altered,
//! under its own good name. When it is honest again, nothing of it may be left.
//!
//! It talks to the receiving node itself, past the network: over the network its connection would be its own as well.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use model::body::RawRecord;
use model::feed::{Batch, FromReceiver, FromSender};
use model::{NodePath, Record, RecordKey, Version};
use node::keyring::CertifiedKeys;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use replication::batch::{self, Place};
use replication::{Children, LinkError, Links, Receiver, Sender};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::mesh::Member;
use super::node::{Live, Seat};
use super::run::{Event, Simulation};

/// Pause before it comes again.
const PAUSE: Duration = Duration::from_millis(300);
/// Most made-up retractions in a batch.
const MAX_MADE_UP: usize = 8;

/// When a neighbour lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lie {
    /// Of the link between this node and its parent.
    pub link: usize,
    /// The child lies; else the parent, which is the root.
    pub up: bool,
    pub seed: u64,
    pub for_ms: u64,
}

/// Draws lies until `until_ms`: in one seed of five.
pub fn draw(seed: u64, members: &[Member], until_ms: u64) -> Vec<(u64, Lie)> {
    // Beside the other draws, so that a seed without them is what it was.
    let mut rng = StdRng::seed_from_u64(seed ^ 0x6c69_6573);
    if !rng.random_bool(0.2) {
        return Vec::new();
    }
    let up = rng.random();
    let below_root = |place: &usize| up || members[*place].parent == Some(0);
    let links: Vec<usize> = (1..members.len()).filter(below_root).collect();
    let link = links[rng.random_range(0..links.len())];
    let lie = |rng: &mut StdRng| Lie { link, up, seed: rng.random(), for_ms: rng.random_range(200..4000) };
    let count = rng.random_range(1..=4);
    (0..count).map(|_| (rng.random_range(0..until_ms), lie(&mut rng))).collect()
}

/// What is done to frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trick {
    /// Sent twice.
    Double,
    /// Sent after the next one.
    Exchange,
    /// Not sent.
    Leave,
    /// Some of a batch's records are left out, and its position is told all the same.
    Withhold,
    /// An earlier batch is sent once more, where it was.
    Rewind,
    /// The same as if it had just been found missing.
    Replay,
    /// A bit of a record is turned.
    Alter,
    /// A head that says something else.
    Head,
    /// The receiver is to forget what it needs.
    Retract,
}

const TRICKS: [Trick; 9] = [
    Trick::Double,
    Trick::Exchange,
    Trick::Leave,
    Trick::Withhold,
    Trick::Rewind,
    Trick::Replay,
    Trick::Alter,
    Trick::Head,
    Trick::Retract,
];

/// A liar at work.
struct Liar {
    rng: StdRng,
    /// The tricks of this lie: a few, each often.
    tricks: Vec<Trick>,
    earlier: Vec<Batch>,
    kept: Option<FromSender>,
    keys: Vec<RecordKey>,
}

impl Liar {
    fn new(seed: u64, live: &Live) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut tricks: Vec<Trick> = TRICKS.into_iter().filter(|_| rng.random_bool(0.4)).collect();
        tricks.push(TRICKS[rng.random_range(0..TRICKS.len())]);
        let slice = live.store.feed_reader(0).next(1000, 1 << 20, &|_| true);
        let keys = slice.map(|slice| slice.records.iter().map(Record::key).collect()).unwrap_or_default();
        Self { rng, tricks, earlier: Vec::new(), kept: None, keys }
    }

    /// What goes instead of a frame.
    fn instead(&mut self, frame: FromSender) -> Vec<FromSender> {
        let trick = self.tricks[self.rng.random_range(0..self.tricks.len())];
        let trick = Some(trick).filter(|_| self.rng.random_bool(0.5));
        let mut frames = match frame {
            FromSender::Batch(batch) => self.batch(batch, trick),
            FromSender::Head(mut head) if trick == Some(Trick::Head) => {
                head.head = head.head.saturating_add_signed(self.rng.random_range(-5..5));
                if let Some(proof) = &mut head.proof {
                    proof.total.sum ^= 1;
                }
                if let Some(first) = head.check.as_mut().and_then(|check| check.buckets.first_mut()) {
                    first.sum ^= 1;
                }
                vec![FromSender::Head(head)]
            }
            other => vec![other],
        };
        frames.extend(self.kept.take());
        if trick == Some(Trick::Exchange) && frames.len() == 1 && !matches!(frames[0], FromSender::Hello(_)) {
            self.kept = frames.pop();
        }
        frames
    }

    fn batch(&mut self, mut batch: Batch, trick: Option<Trick>) -> Vec<FromSender> {
        let before = (!self.earlier.is_empty())
            .then(|| self.earlier[self.rng.random_range(0..self.earlier.len())].clone());
        if self.earlier.len() < 64 {
            self.earlier.push(batch.clone());
        }
        let batches = match (trick, before) {
            (Some(Trick::Leave), _) => vec![],
            (Some(Trick::Double), _) => vec![batch.clone(), batch],
            (Some(Trick::Withhold), _) => vec![self.with_some(&batch)],
            (Some(Trick::Alter), _) => {
                // The last bytes of a list of records are those of the last one's signature.
                if let Some(last) = batch.payload.len().checked_sub(3) {
                    let mut payload = batch.payload.to_vec();
                    payload[last] ^= 4;
                    batch.payload = payload.into();
                }
                vec![batch]
            }
            (Some(Trick::Rewind), Some(before)) => vec![batch, before],
            (Some(Trick::Replay), Some(before)) => {
                let upto = batch.upto;
                vec![batch, Batch { after: upto, upto, ..before }]
            }
            (Some(Trick::Retract), _) => {
                // Of a term that there never was, or of one that a hospital which moved may have reached.
                let term = [u32::MAX, 2, 3, 4][self.rng.random_range(0..4)];
                let highest = Version { term, epoch: u32::MAX, seq: u64::MAX };
                for _ in 0..MAX_MADE_UP.min(self.keys.len()) {
                    let key = self.keys[self.rng.random_range(0..self.keys.len())];
                    batch.retractions.push((key, highest));
                }
                vec![batch]
            }
            _ => vec![batch],
        };
        batches.into_iter().map(FromSender::Batch).collect()
    }

    /// The batch without some of its records.
    fn with_some(&mut self, batch: &Batch) -> Batch {
        let raws: Vec<RawRecord> = batch::decode(batch).unwrap_or_default();
        let records = raws.into_iter().filter(|_| self.rng.random_bool(0.5));
        let records: Vec<Record> = records.filter_map(|raw| Record::from_raw(raw).ok()).collect();
        let Batch { after, upto, head, now_ms, .. } = *batch;
        let rest = batch::encode(&records, Place { after, upto, head, now_ms });
        Batch { retractions: batch.retractions.clone(), ..rest }
    }
}

/// One session: the liar's real sender, its frames as the liar wants them, and the neighbour's real receiver.
async fn session(sender: &Sender, receiver: &Receiver, from: &NodePath, liar: &mut Liar) {
    let (outgoing, mut frames) = mpsc::channel(2);
    let (forwards, incoming) = mpsc::channel(2);
    let (answers, answered) = mpsc::channel::<FromReceiver>(2);
    let lying = async {
        while let Some(frame) = frames.recv().await {
            for frame in liar.instead(frame) {
                if forwards.send(Ok::<_, LinkError>(frame)).await.is_err() {
                    return;
                }
            }
        }
    };
    let serving = receiver.serve(from.clone(), ReceiverStream::new(incoming), answers);
    let answered = ReceiverStream::new(answered).map(Ok);
    // Whichever ends first ends the session.
    tokio::select! {
        biased;
        _ = sender.ship(answered, outgoing) => {}
        () = lying => {}
        _ = serving => {}
    }
}

/// The liar's sender, with a view of its links of its own.
fn sender(seat: &Seat, live: &Live, to: &NodePath, up: bool) -> Sender {
    let member = seat.member;
    let keyring = Arc::new(CertifiedKeys::new(member.identity.root().clone()));
    let own = seat.identity();
    let (store, directory, clock) =
        (live.store.clone(), live.directory.clone(), Arc::new(seat.clock.clone()));
    let sender = Sender::new(store.clone(), directory.clone(), keyring, Links::new(), clock, own)
        .with_settings(seat.settings.sender.clone());
    if up {
        return sender;
    }
    let interest = Arc::new(exchange::Persons::new(store, member.terms.clone(), directory));
    Children::new(&sender, interest, live.exchange.receiver().restores()).down(to)
}

impl Simulation {
    /// A neighbour begins to lie.
    pub fn begin_lie(&mut self, lie: Lie) {
        let Some(parent) = self.seats[lie.link].member.parent else { return };
        let (from, to) = if lie.up { (lie.link, parent) } else { (parent, lie.link) };
        let name = format!("liar{}", self.elapsed.ms());
        if self.down[from] || self.down[to] || self.liars.iter().any(|(known, _)| *known == name) {
            return;
        }
        let (liar, victim) = (self.seats[from].clone(), self.seats[to].clone());
        self.ledger.lied(lie.link);
        self.sim.host(name.clone(), move || lies(liar.clone(), victim.clone(), lie));
        self.liars.push((name.clone(), [from, to]));
        self.after(lie.for_ms, Event::EndLie(name));
    }

    /// It is honest again, or one of the two went down.
    pub fn end_lies(&mut self, ends: impl Fn(&str, &[usize; 2]) -> bool) {
        let (ended, going) =
            std::mem::take(&mut self.liars).into_iter().partition(|(name, ends_at)| ends(name, ends_at));
        self.liars = going;
        let ended: Vec<(String, [usize; 2])> = ended;
        for (name, _) in ended {
            self.sim.crash(name);
        }
    }
}

async fn lies(liar: Arc<Seat>, victim: Arc<Seat>, lie: Lie) -> Result<(), Box<dyn std::error::Error>> {
    let mut again = lie.seed;
    loop {
        let (from, to) = (liar.live.lock().clone(), victim.live.lock().clone());
        // Before it is up it knows nothing to lie about.
        if let Some((from, to)) = from.zip(to).filter(|(from, _)| from.store.has_begun()) {
            let sender = sender(&liar, &from, &victim.member.path, lie.up);
            let mut tricks = Liar::new(again, &from);
            session(&sender, to.exchange.receiver(), &liar.member.path, &mut tricks).await;
        }
        again = again.wrapping_add(1);
        tokio::time::sleep(PAUSE).await;
    }
}
