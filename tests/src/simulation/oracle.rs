//! What must hold when the faults are over and the tree has become quiet.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use model::body::{Flow, Kind};
use model::{KeyId, Record, RecordId, RecordKey, Version};
use parking_lot::Mutex;
use prost::Message;
use replication::numbering;
use store::{Derivation, Direction, FeedId, FeedPosition, MemoryIndex, Store, Term};
use tokio::time::Instant;

use super::down;
use super::ledger::{Entry, Ledger, is_made_of};
use super::mends;
use super::node::{Live, Seat};
use super::persons;

/// Records of one node, by the key that signed them.
pub type BySigner = BTreeMap<KeyId, BTreeMap<RecordKey, Record>>;

/// Whether nothing is under way: every node writes, and every parent has what its children have.
pub fn is_quiet(seats: &[Arc<Seat>], ledger: &Ledger) -> bool {
    unrest(seats, ledger).is_none()
}

/// The first reason why the tree is not quiet.
pub fn unrest(seats: &[Arc<Seat>], ledger: &Ledger) -> Option<String> {
    // What a forger holds need not be what it shipped.
    let forgers: Vec<usize> = ledger.forged().iter().map(|(place, _)| *place).collect();
    let lives: Vec<Option<Live>> = seats.iter().map(|seat| seat.live.lock().clone()).collect();
    if let Some((institution, why)) = ledger.homes(|homes| homes.due()) {
        let waits = |live: &Option<Live>| live.as_ref()?.directory.snapshot().awaited(&institution);
        let waits: Vec<_> = lives.iter().map(|live| waits(live).map(|awaited| awaited.term)).collect();
        return Some(format!("{why}; the nodes wait for the ends of {waits:?}"));
    }
    for (seat, live) in seats.iter().zip(&lives) {
        let path = &seat.member.path;
        let Some(live) = live else { return Some(format!("{path} is down")) };
        if let Some(why) = live.exchange.not_writing() {
            return Some(format!("{path} does not write: {why}"));
        }
        let (linker, head) = (live.exchange.judge().status(), live.store.head());
        if !linker.loaded || linker.judged != head {
            return Some(format!("{path} is at {head}, its linker: {linker:?}"));
        }
        let Some(parent) = seat.member.parent else { continue };
        let Some(parent) = &lives[parent] else { return Some(format!("the parent of {path} is down")) };
        let head = live.store.head();
        let above = seat.member.path.parent().expect("it has a parent");
        let up = live.links.view(&above);
        let down = parent.links.view(path);
        let has = |view: &Option<replication::LinkView>| {
            view.as_ref().is_some_and(|view| view.connected && view.position == head)
        };
        if !has(&up) || !has(&down) {
            let said = |view: Option<replication::LinkView>| {
                view.map(|view| (view.connected, view.position, view.last_error.map(|error| error.reason)))
            };
            return Some(format!("{path} is at {head}, its link: {:?}, {:?}", said(up), said(down)));
        }
        // How far it is judged it is told with the heads of its down feed. What a forger holds of an institution that there is not, it
        // cannot judge.
        let forged = forgers.iter().any(|place| seats[*place].member.path.contains(path));
        if !forged && live.links.judged().covers(path, head, Instant::now()).is_none() {
            return Some(format!("{path} is at {head} and told: {:?}", live.links.judged().above()));
        }
        let (proven, disproven) = up.map(|up| (up.proven_position, up.disproven)).unwrap_or_default();
        if proven != head && !forgers.contains(&seat.place) {
            return Some(format!("{path} is at {head} and proven at {proven}: {disproven:?}"));
        }
        let (head, fed) = (parent.store.head(), parent.links.down().view(path));
        if !fed.as_ref().is_some_and(|fed| fed.connected && fed.position == head) {
            let said = fed.map(|fed| (fed.connected, fed.position, fed.last_error));
            return Some(format!("the down feed to {path} is at {head}: {said:?}"));
        }
    }
    None
}

/// Everything that does not hold, in words.
pub fn check(seats: &[Arc<Seat>], ledger: &Ledger) -> Vec<String> {
    let mut wrong = ledger.violations();
    let mut held = Vec::new();
    for seat in seats {
        let Some(live) = seat.live.lock().clone() else {
            wrong.push(format!("{} is down", seat.member.path));
            return wrong;
        };
        let mut all = all_records(&live.store, seat, &mut wrong);
        for (_, forged) in ledger.forged().iter().filter(|(place, _)| *place == seat.place) {
            if let Some(records) = all.get_mut(&forged.envelope().key_id) {
                records.retain(|_, record| record != forged);
            }
        }
        held.push(all);
        quarantine(seat, seats, &live, ledger, &mut wrong);
        positions(seat, seats, &live.store, &mut wrong);
        index(seat, seats, &live.store, &mut wrong);
    }
    let entries = ledger.entries();
    for (key, entry) in &entries {
        acknowledged(key, entry, &held[entry.node], seats, &mut wrong);
    }
    for seat in seats {
        ancestors((seat, seats), &held, (&entries, ledger), &mut wrong);
    }
    down::check(seats, ledger, &held, &mut wrong);
    mends::check(seats, ledger, &mut wrong);
    persons::check(seats, ledger, &held, &mut wrong);
    counts(seats, ledger, &held, &mut wrong);
    wrong
}

/// Where the first of these records that something is said about stands in every node, for whoever looks for the cause.
pub fn whereabouts(seats: &[Arc<Seat>], wrong: &[String]) -> Option<String> {
    let words = wrong.iter().flat_map(|line| line.split([' ', ',']));
    let key: RecordKey = words.filter(|word| word.len() == 32).find_map(|word| word.parse().ok())?;
    let at = |seat: &Arc<Seat>| {
        let store = seat.live.lock().as_ref()?.store.clone();
        let said: Vec<String> = match store.history(&key, 8) {
            Ok(history) => {
                history.iter().map(|(lsn, one)| format!("{} at {lsn}", one.envelope().version)).collect()
            }
            Err(error) => vec![error.to_string()],
        };
        let forgot =
            store.version(&key).ok()?.is_none().then(|| store.known_version(&key).ok().flatten()).flatten();
        Some(format!("{} holds {said:?}, forgot {forgot:?}", seat.place))
    };
    Some(format!("{key}: {}", seats.iter().filter_map(at).collect::<Vec<_>>().join("; ")))
}

/// Every current record, each of which a feed from the start must give once.
fn all_records(store: &Store, seat: &Seat, wrong: &mut Vec<String>) -> BySigner {
    let path = &seat.member.path;
    let mut reader = store.feed_reader(0);
    let mut all = BySigner::new();
    loop {
        let slice = match reader.next(1000, 1 << 20, &|_| true) {
            Ok(slice) => slice,
            Err(error) => {
                wrong.push(format!("{path} cannot read its log: {error}"));
                return all;
            }
        };
        for record in slice.records {
            let key = record.key();
            if store.get(&key).ok().flatten().as_ref() != Some(&record) {
                wrong.push(format!("{path} finds something else under {key} than its feed gives"));
            }
            if all.entry(record.envelope().key_id).or_default().insert(key, record).is_some() {
                wrong.push(format!("{path} holds {key} twice"));
            }
        }
        if slice.upto >= slice.head {
            return all;
        }
    }
}

/// What the children forged is in quarantine, and nothing else; and the children know how much.
fn quarantine(seat: &Seat, seats: &[Arc<Seat>], live: &Live, ledger: &Ledger, wrong: &mut Vec<String>) {
    let path = &seat.member.path;
    let all = live.store.quarantine(10_000).expect("the quarantine is read");
    let forged = ledger.forged();
    for child in seats.iter().filter(|child| child.member.parent == Some(seat.place)) {
        let raw = |record: &Record| record.to_raw().encode_to_vec();
        let forged: Vec<&Record> =
            forged.iter().filter(|(place, _)| *place == child.place).map(|(_, record)| record).collect();
        let held: Vec<_> = all.iter().filter(|one| one.from.peer == child.member.origin).collect();
        let (of, count) = (&child.member.path, held.len());
        let mut losses = seats.iter().map(|seat| seat.tampered.load(Ordering::Relaxed));
        let honest = held.iter().find(|one| !forged.iter().any(|forged| raw(forged)[..] == one.raw[..]));
        // Of a node that was set back what is overruled is kept there too, and with a forged record came what vouches for it.
        // With a lie everything may have come there before what it needs, and some of it altered.
        let lies = !ledger.lies().is_empty();
        if let Some(honest) = honest.filter(|_| forged.is_empty() && !lies && !losses.any(|lost| lost)) {
            wrong.push(format!("{path} keeps an honest record of {of} in quarantine: {}", honest.reason));
        }
        // What another record superseded before it was shipped never came.
        let child_store = child.live.lock().clone().map(|child| child.store);
        for forged in forged {
            let there = child_store.as_ref().and_then(|store| store.get(&forged.key()).ok().flatten());
            if there.as_ref() == Some(forged) && !held.iter().any(|one| raw(forged)[..] == one.raw[..]) {
                wrong.push(format!("{path} does not keep a forged record of {of} in quarantine"));
            }
        }
        let link = child.live.lock().clone().and_then(|child| child.links.view(path));
        if link.is_some_and(|link| link.quarantined != count as u64) {
            wrong.push(format!("{of} is not told that {count} of its records are in quarantine"));
        }
    }
    let lost = seats.iter().any(|seat| seat.tampered.load(Ordering::Relaxed));
    // A forger, and those below it, may hold what it forged where the honest record comes down.
    let deceived = forged.iter().any(|(place, _)| seats[*place].member.path.contains(path));
    let honest = !lost && !deceived && ledger.lies().is_empty();
    if let Some(one) = all.iter().find(|one| honest && one.from.direction != Direction::Up) {
        wrong.push(format!("{path} keeps what came from above in quarantine: {}", one.reason));
    }
    for (place, record) in forged.iter().filter(|(place, _)| *place != seat.place) {
        if live.store.get(&record.key()).ok().flatten().as_ref() == Some(record) {
            wrong.push(format!("{path} holds what {} forged", seats[*place].member.path));
        }
    }
}

/// Whether a position is one of this log: reached in one of its epochs.
fn is_of(store: &Store, child: &Seat, held: FeedPosition) -> bool {
    let newest = store.last_epoch().map_or(0, |newest| newest.counter);
    let epochs = (1..=newest).filter_map(|counter| {
        let id = RecordId::of(&[&counter.to_be_bytes()]);
        store.get(&RecordKey::of(Kind::Epoch as u32, child.member.origin, id)).ok()?
    });
    let numbered = |record: Record| {
        let entry = record.decode_body();
        entry.is_ok_and(|entry| numbering::numbering(&store.generation(), &entry) == held.generation)
    };
    held.position <= store.head() && epochs.into_iter().any(numbered)
}

/// A durable position is never ahead of the child's log, and of its numbering.
fn positions(seat: &Seat, seats: &[Arc<Seat>], store: &Store, wrong: &mut Vec<String>) {
    for child in seats.iter().filter(|child| child.member.parent == Some(seat.place)) {
        let Some(live) = child.live.lock().clone() else { continue };
        let feed = FeedId { peer: child.member.origin, direction: Direction::Up };
        let path = &child.member.path;
        match store.position(&feed) {
            None => wrong.push(format!("no position is stored for {path}")),
            Some(held) if !is_of(&live.store, child, held) => {
                wrong.push(format!("the position stored for {path} is none of its log"));
            }
            Some(_) => {}
        }
    }
}

/// Lookup terms as the node makes them, and how often each version of a record stands in the log; but for those about persons
/// from elsewhere, which may have been forgotten and have come again.
#[derive(Debug)]
struct Counting {
    inner: Arc<dyn Derivation>,
    /// Keys that sign in the node's own subtree.
    own: BTreeSet<KeyId>,
    versions: Mutex<BTreeMap<(RecordKey, Version), u32>>,
}

impl Derivation for Counting {
    fn version(&self) -> u32 {
        self.inner.version()
    }

    fn terms(&self, record: &Record, out: &mut Vec<Term>) {
        let envelope = record.envelope();
        let stays = self.own.contains(&envelope.key_id) || envelope.known_flow() == Some(Flow::Directory);
        if stays {
            *self.versions.lock().entry((record.key(), envelope.version)).or_default() += 1;
        }
        self.inner.terms(record, out);
    }
}

/// How often each version was forgotten; it may have come again since.
fn forgotten(store: &Store) -> BTreeMap<(RecordKey, Version), u32> {
    let (mut reader, mut counts) = (store.feed_reader(0), BTreeMap::new());
    while let Ok(slice) = reader.next(1000, 1 << 20, &|_| true) {
        for gone in &slice.forgotten {
            *counts.entry((gone.key, gone.version)).or_default() += 1;
        }
        if slice.upto >= slice.head {
            break;
        }
    }
    counts
}

/// The index is what its log makes of it, and nothing stands in the log twice that was not forgotten meanwhile.
fn index(seat: &Seat, seats: &[Arc<Seat>], store: &Store, wrong: &mut Vec<String>) {
    let path = &seat.member.path;
    let storage = Arc::new(seat.disk.copy());
    let signs = |one: &Arc<Seat>| one.options(storage.clone(), MemoryIndex::default()).signing.id();
    let own = seats.iter().filter(|one| path.contains(&one.member.path)).map(signs).collect();
    let mut options = seat.options(storage.clone(), MemoryIndex::default());
    let counting = Arc::new(Counting { inner: options.derivation, own, versions: Mutex::default() });
    options.derivation = counting.clone();
    let rebuilt = Store::open(options);
    let forgotten = forgotten(store);
    // Whoever forgot a later version may take this one again.
    let gone = |(key, version): (RecordKey, Version)| -> u32 {
        forgotten
            .iter()
            .filter(|((gone, upto), _)| *gone == key && *upto >= version)
            .map(|(_, count)| count)
            .sum()
    };
    let twice = |(name, count): &(&(RecordKey, Version), &u32)| **count > 1 && **count > 1 + gone(**name);
    if let Some(((key, version), count)) = counting.versions.lock().iter().find(twice) {
        wrong.push(format!("{path} applied {key} {version} {count} times"));
    }
    let rebuilt = rebuilt.map_err(|error| error.to_string());
    let pairs = |store: &Store| store.dump_index().map_err(|error| error.to_string());
    match (pairs(store), rebuilt.and_then(|(store, _)| pairs(&store))) {
        (Ok(live), Ok(rebuilt)) if live == rebuilt => {}
        (Ok(live), Ok(rebuilt)) => {
            let differ = live.iter().zip(&rebuilt).filter(|(live, rebuilt)| live != rebuilt).count();
            let (live, rebuilt) = (live.len(), rebuilt.len());
            wrong.push(format!("index of {path}: {differ} differ of {live}; rebuilt it has {rebuilt}"));
        }
        (live, rebuilt) => wrong.push(format!("index of {path}: {:?}, {:?}", live.err(), rebuilt.err())),
    }
}

/// What was acknowledged is held in this version, or in one that a later write of unknown outcome made.
fn acknowledged(
    key: &RecordKey,
    entry: &Entry,
    held: &BySigner,
    seats: &[Arc<Seat>],
    wrong: &mut Vec<String>,
) {
    let path = &seats[entry.node].member.path;
    let record = filed(key, entry, held, seats);
    let (Some(record), acknowledged) = (record, &entry.acknowledged) else {
        if let Some((version, _)) = &entry.acknowledged {
            wrong.push(format!("{path} lost {key}, acknowledged as {version}"));
        }
        return;
    };
    let version = record.envelope().version;
    let unsure = entry.unsure.iter().any(|wanted| is_made_of(record, wanted));
    match acknowledged {
        Some((last, _)) if version < *last => {
            wrong.push(format!("{path} holds {key} as {version}, acknowledged as {last}"));
        }
        Some((last, wanted)) if version == *last && !is_made_of(record, wanted) => {
            wrong.push(format!("{path} holds another write under {key} {version} than was acknowledged"));
        }
        Some((last, _)) if version > *last && !unsure && !entry.replaced => {
            wrong.push(format!("{path} holds {key} as {version} after {last}, which nobody wrote"));
        }
        None if !unsure && !entry.replaced => {
            wrong.push(format!("{path} holds {key} as {version}, which was refused"));
        }
        _ => {}
    }
}

/// What a node holds of a hospital's record, signed by one of the nodes that the hospital has filed with.
pub fn filed<'a>(
    key: &RecordKey,
    entry: &Entry,
    held: &'a BySigner,
    seats: &[Arc<Seat>],
) -> Option<&'a Record> {
    let by = |place: &usize| held.get(&seats[*place].member.signing.id())?.get(key);
    entry.ever.iter().find_map(by)
}

/// Whether a node forgot what a hospital that moved away had left there, because of a lie of the parent's about its next writer. Whoever
/// holds it gives it back after the next proof of a feed that rests, which comes later than this.
pub fn forgot_what_was_left(seat: &Seat, (key, entry): (&RecordKey, &Entry), ledger: &Ledger) -> bool {
    let left = entry.ever.len() > 1 && entry.ever.contains(&seat.place) && entry.node != seat.place;
    let store = seat.live.lock().as_ref().map(|live| live.store.clone());
    left && !ledger.lies().is_empty()
        && store.is_some_and(|store| store.known_version(key).ok().flatten().is_some())
}

/// Every ancestor holds exactly what the node holds of its own, byte for byte; of a hospital that moved it may hold what the
/// next writer wrote. What the last writer holds of such a hospital, whoever signed it, those above it hold too.
fn ancestors(
    (seat, seats): (&Seat, &[Arc<Seat>]),
    held: &[BySigner],
    (entries, ledger): (&BTreeMap<RecordKey, Entry>, &Ledger),
    wrong: &mut Vec<String>,
) {
    let signer = seat.member.signing.id();
    let empty = BTreeMap::new();
    let forgot = |key: &RecordKey| {
        entries.get(key).is_some_and(|entry| forgot_what_was_left(seat, (key, entry), ledger))
    };
    let own = held[seat.place].get(&signer).unwrap_or(&empty);
    let mut above = seat.member.parent;
    while let Some(place) = above {
        let there = held[place].get(&signer).unwrap_or(&empty);
        let (from, to) = (&seat.member.path, &seats[place].member.path);
        for (key, record) in own {
            let entry = entries.get(key).filter(|entry| entry.ever.len() > 1);
            let moved = entry.and_then(|entry| filed(key, entry, &held[place], seats));
            let version = record.envelope().version;
            match there.get(key).or(moved) {
                Some(other) if moved.is_some() && other.envelope().version > version => {}
                None => wrong.push(format!("{to} lacks {key} of {from}")),
                Some(other) if other != record => {
                    let (kind, other) = (record.envelope().kind, other.envelope().version);
                    wrong.push(format!("{to} holds {key} (kind {kind}) of {from} as {other}, not {version}"));
                }
                Some(_) => {}
            }
        }
        if let Some(key) = there.keys().find(|key| !own.contains_key(key) && !forgot(key)) {
            wrong.push(format!("{to} holds {key} of {from}, which {from} does not"));
        }
        let last = |(_, entry): &(&RecordKey, &Entry)| entry.ever.len() > 1 && entry.node == seat.place;
        for (key, entry) in entries.iter().filter(last) {
            let of = |held| filed(key, entry, held, seats);
            let (mine, other) = (of(&held[seat.place]), of(&held[place]));
            if mine != other {
                let version = |record: Option<&Record>| record.map(|record| record.envelope().version);
                let (mine, other) = (version(mine), version(other));
                wrong.push(format!(
                    "{to} holds {key} as {other:?}, and {from}, where it is filed, as {mine:?}"
                ));
            }
        }
        above = seats[place].member.parent;
    }
}

/// The stores' own counts are those of what they hold.
fn counts(seats: &[Arc<Seat>], ledger: &Ledger, held: &[BySigner], wrong: &mut Vec<String>) {
    let writes = ledger.entries();
    for (seat, held) in seats.iter().zip(held) {
        let Some(live) = seat.live.lock().clone() else { continue };
        let status = live.store.status();
        for kind in [Kind::Registration as u32, Kind::DocumentEntry as u32] {
            let records = held.values().flat_map(BTreeMap::values);
            let records = records.filter(|record| record.envelope().kind == kind);
            let living = records.filter(|record| !record.envelope().tombstone);
            let forged = ledger
                .forged()
                .into_iter()
                .filter(|(place, forged)| *place == seat.place && forged.envelope().kind == kind)
                .filter(|(_, forged)| live.store.get(&forged.key()).ok().flatten().as_ref() == Some(forged));
            let (held, counted) = ((living.count() + forged.count()) as u64, status.live(kind));
            if held != counted {
                wrong.push(format!("{} counts {counted} of kind {kind} and holds {held}", seat.member.path));
            }
        }
        let unknown = held.values().flat_map(BTreeMap::values).find(|record| {
            let kind = record.envelope().kind;
            let filed = kind == Kind::Registration as u32 || kind == Kind::DocumentEntry as u32;
            filed && !writes.contains_key(&record.key())
        });
        if let Some(record) = unknown {
            wrong.push(format!("{} holds {}, which nobody wrote", seat.member.path, record.key()));
        }
    }
}
