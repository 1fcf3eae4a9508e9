//! Mending with neighbours that have, have not, lie, or are away; and the scrub's own pace.

use std::time::Duration;

use bytes::Bytes;
use model::body::{Flow, Kind};
use model::record::Unsigned;
use model::{EpochId, OriginId, Record, RecordId, RecordKey, SigningKey, Version};
use replication::Fact;
use store::{Apply, Draft, Expect, Memory};

use super::*;
use crate::stand_in::{self, Fake, Neighbour};
use crate::{Hop, Role, TermKey};

const SEGMENT: &str = "00000000000000000001.seg";
const NODE: OriginId = OriginId([2; 16]);
const COUNTY: OriginId = OriginId([3; 16]);

fn path(text: &str) -> NodePath {
    text.parse().unwrap()
}

fn own() -> NodePath {
    path("530000/532900")
}

fn county() -> NodePath {
    path("530000/532900/532901")
}

fn own_key() -> SigningKey {
    SigningKey::from_seed(&[2; 32])
}

fn county_key() -> SigningKey {
    SigningKey::from_seed(&[3; 32])
}

struct Fixture {
    exchange: Exchange,
    store: Store,
    storage: Memory,
    peers: Arc<Fake>,
    /// Of the county, in the order of the log; then one of the node's own.
    records: Vec<Record>,
}

fn unsigned(at: usize, body: &str) -> Unsigned {
    Unsigned {
        flow: Flow::Registration,
        kind: Kind::Registration as u32,
        id: RecordId::of(&[&at.to_be_bytes()]),
        origin: COUNTY,
        subject: None,
        tombstone: false,
        body: Bytes::copy_from_slice(body.as_bytes()),
    }
}

fn record(at: usize, body: &str, key: &SigningKey) -> Record {
    Record::sign(unsigned(at, body), Version { term: 1, epoch: 1, seq: at as u64 + 1 }, 5, key).unwrap()
}

fn marker(at: usize) -> String {
    format!("<body {at:04}>")
}

fn exchange_over(store: Store, peers: Arc<Fake>, terms: TermKey) -> Exchange {
    let directory = Directory::default();
    directory.publish([
        Fact::Key { node: NODE, key: own_key().verifying_key(), path: Some(own()) },
        Fact::Key { node: COUNTY, key: county_key().verifying_key(), path: Some(county()) },
    ]);
    let exchange = stand_in::exchange(store, directory, peers, terms, NODE, own());
    exchange.writing.store(true, std::sync::atomic::Ordering::SeqCst);
    exchange
}

impl Fixture {
    async fn new(count: usize) -> Self {
        Self::with(count, 1).await
    }

    /// With so many records in one commit.
    async fn with(count: usize, together: usize) -> Self {
        let (storage, terms) = (Memory::new(1), TermKey::new([5; 32]));
        let store = stand_in::store(&storage, &terms, NODE, own_key());
        let mut records: Vec<Record> = (0..count).map(|at| record(at, &marker(at), &county_key())).collect();
        for records in records.chunks(together) {
            let apply = Apply { records: records.to_vec(), ..Apply::default() };
            store.apply(apply).await.unwrap();
        }
        store.begin_epoch(EpochId([1; 16]), Vec::new()).await.unwrap();
        let directory_entry = Draft {
            flow: Flow::Directory,
            kind: Kind::Practitioner as u32,
            id: RecordId::of(&[b"own"]),
            origin: NODE,
            term: 1,
            subject: None,
            tombstone: false,
            body: Bytes::from(marker(9999)),
            expect: Expect::Anything,
        };
        records.extend(store.commit(vec![directory_entry]).await.unwrap().records);
        let peers = Arc::new(Fake::default());
        let exchange = exchange_over(store.clone(), peers.clone(), terms);
        Self { exchange, store, storage, peers, records }
    }

    fn scrubber(&self) -> &Scrubber {
        self.exchange.scrubber()
    }

    /// Damages one record's bytes, and lets the store know.
    fn damage(&self, at: usize) {
        self.damage_unseen(at);
        assert!(self.store.get(&self.records[at].key()).is_err());
    }

    fn damage_unseen(&self, at: usize) {
        let text = self.records[at].body();
        self.storage.damage(SEGMENT, |bytes| {
            let at = bytes.windows(text.len()).position(|window| window == text).unwrap();
            bytes[at] ^= 1;
        });
    }

    fn set(&self, parent: Neighbour, child: Neighbour) {
        (*self.peers.parent.lock(), *self.peers.child.lock()) = (parent, child);
    }

    fn holds(&self, which: std::ops::Range<usize>) -> Neighbour {
        Neighbour::Holds(self.records[which].to_vec(), 256)
    }

    fn is_whole(&self) -> bool {
        self.records
            .iter()
            .all(|record| self.store.get(&record.key()).ok().flatten().as_ref() == Some(record))
    }

    fn health(&self) -> (replication::Health, String) {
        let operator = Caller { path: own(), role: Role::Operator { name: "li".into() } };
        let status = self.exchange.status(&operator).unwrap();
        (status.health, status.reason)
    }
}

/// Runs the scrub beside something that ends.
async fn beside<T>(fixture: &Fixture, every: Option<Duration>, work: impl Future<Output = T>) -> T {
    tokio::select! {
        () = fixture.scrubber().clone().run(ScrubSettings { every }) => unreachable!("it never ends"),
        done = work => done,
    }
}

async fn until_so(holds: impl Fn() -> bool) {
    while !holds() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn the_parent_is_asked_first_and_the_child_for_the_rest() {
    let fixture = Fixture::new(6).await;
    for at in [0, 2, 3, 5, 6] {
        fixture.damage(at);
    }
    fixture.set(fixture.holds(2..7), fixture.holds(0..3));
    assert_eq!(fixture.scrubber().mend_all().await, Left::default());
    assert!(fixture.is_whole());
    let asked: Vec<(Hop, usize)> =
        fixture.peers.asked.lock().iter().map(|(hop, keys)| (hop.clone(), keys.len())).collect();
    assert_eq!(asked, [(Hop::Parent, 5), (Hop::Child(county()), 1)]);
    assert_eq!(fixture.scrubber().status().repaired, 5);
    assert_eq!(fixture.scrubber().mend_all().await, Left::default());
    assert_eq!(fixture.peers.asked.lock().len(), 2, "nobody is asked for nothing");
}

#[tokio::test]
async fn only_what_was_signed_and_asked_for_is_written() {
    let fixture = Fixture::new(3).await;
    fixture.damage(1);
    let good = &fixture.records[1];
    let mut raw = good.to_raw();
    raw.signature = Bytes::from(vec![7; 64]);
    let forged = Record::from_raw(raw).unwrap();
    let other = record(1, "another body", &county_key());
    let stranger = record(1, &marker(1), &SigningKey::from_seed(&[9; 32]));
    let unasked = record(8, "nobody asked", &county_key());
    let head = fixture.store.head();
    for given in [forged, stranger, other, unasked] {
        fixture.set(Neighbour::Gives(vec![given.clone()]), fixture.holds(0..0));
        assert_eq!(fixture.scrubber().mend_all().await, Left { damaged: 1, lost: 1 }, "{given:?}");
        assert_eq!(fixture.store.head(), head, "{given:?}");
    }
    fixture.set(Neighbour::Gives(vec![good.clone(), good.clone()]), Neighbour::Away);
    assert_eq!(fixture.scrubber().mend_all().await, Left::default());
    assert!(fixture.is_whole());
    assert_eq!((fixture.store.head(), fixture.scrubber().status().repaired), (head + 1, 1));
}

#[tokio::test]
async fn what_did_not_fit_is_asked_for_again() {
    let fixture = Fixture::new(7).await;
    (0..7).for_each(|at| fixture.damage(at));
    fixture.set(Neighbour::Holds(fixture.records.clone(), 3), Neighbour::Away);
    assert_eq!(fixture.scrubber().mend_all().await, Left::default());
    let asked: Vec<usize> = fixture.peers.asked.lock().iter().map(|(_, keys)| keys.len()).collect();
    assert_eq!(asked, [7, 4, 1]);
    assert!(fixture.is_whole());
}

#[tokio::test]
async fn more_than_one_call_holds_are_several_calls() {
    let fixture = Fixture::with(600, 300).await;
    (0..600).for_each(|at| fixture.damage(at));
    fixture.set(Neighbour::Away, fixture.holds(0..600));
    assert_eq!(fixture.scrubber().mend_all().await, Left::default());
    let asked: Vec<usize> = fixture.peers.asked.lock().iter().map(|(_, keys)| keys.len()).collect();
    assert_eq!(asked, [256, 256, 256, 88], "the parent once, which is away, the child for all");
    assert!(fixture.is_whole());
}

#[tokio::test(start_paused = true)]
async fn more_places_than_are_remembered_are_mended_in_one_pass() {
    let fixture = Fixture::new(200).await;
    (0..200).for_each(|at| fixture.damage_unseen(at));
    fixture.set(fixture.holds(0..200), Neighbour::Away);
    let pass = fixture.scrubber().begin();
    beside(&fixture, None, until_so(|| fixture.scrubber().status().passes >= pass)).await;
    assert!(fixture.is_whole());
    assert_eq!(fixture.scrubber().status().repaired, 200);
}

#[tokio::test]
async fn what_nobody_has_is_lost_and_what_somebody_may_have_is_not_yet() {
    let fixture = Fixture::new(3).await;
    fixture.damage(1);
    fixture.damage(3);
    for (parent, child, lost) in [
        (Neighbour::Away, Neighbour::Away, 0),
        (fixture.holds(0..0), Neighbour::Away, 1),
        (Neighbour::Away, fixture.holds(0..0), 0),
        (fixture.holds(0..0), fixture.holds(2..3), 2),
    ] {
        fixture.set(parent, child);
        assert_eq!(fixture.scrubber().mend_all().await, Left { damaged: 2, lost });
    }
    let asked = fixture.peers.asked.lock();
    let of_child = asked.iter().filter(|(hop, _)| *hop != Hop::Parent);
    assert!(of_child.clone().count() > 0);
    assert!(of_child.flat_map(|(_, keys)| keys).all(|key| *key == fixture.records[1].key()));
}

#[tokio::test(start_paused = true)]
async fn a_pass_finds_damage_that_nobody_read_and_has_it_mended() {
    let fixture = Fixture::new(5).await;
    fixture.damage_unseen(2);
    fixture.set(fixture.holds(0..6), Neighbour::Away);
    assert_eq!(fixture.health(), (replication::Health::Green, String::new()));
    let status = || fixture.scrubber().status();
    let began = Instant::now();
    beside(&fixture, Some(Duration::from_secs(86_400)), until_so(|| status().passes == 1)).await;
    assert!(began.elapsed() < Duration::from_secs(60));
    assert!(fixture.is_whole());
    let done = status();
    assert_eq!((done.repaired, done.damaged, done.passed_ms, done.running), (1, 0, 77, false));
    assert!(done.upto >= 7);
    let (health, reason) = fixture.health();
    assert!(health == replication::Health::Amber && reason.contains("no record is lost"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn a_read_that_meets_damage_has_it_mended_without_a_pass() {
    let fixture = Fixture::new(5).await;
    fixture.set(fixture.holds(0..6), Neighbour::Away);
    let work = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        fixture.damage(4);
        let since = Instant::now();
        until_so(|| fixture.is_whole()).await;
        since.elapsed()
    };
    assert!(beside(&fixture, None, work).await < Duration::from_secs(1));
    assert_eq!(fixture.scrubber().status().passes, 0);
}

#[tokio::test(start_paused = true)]
async fn damage_waits_for_a_neighbour_that_comes_back() {
    let fixture = Fixture::new(5).await;
    // Known before the scrub runs, as by a read while the node starts.
    fixture.damage(4);
    let work = async {
        tokio::time::sleep(Duration::from_secs(3600)).await;
        let tries = fixture.peers.asked.lock().len();
        assert!((10..60).contains(&tries), "{tries}");
        let (health, reason) = fixture.health();
        assert!(health == replication::Health::Amber && reason.contains("1 records"), "{reason}");
        fixture.set(fixture.holds(0..0), fixture.holds(0..0));
        until_so(|| fixture.scrubber().status().lost == 1).await;
        let (health, reason) = fixture.health();
        assert!(health == replication::Health::Red && reason.contains("no neighbour has them"), "{reason}");
        fixture.set(fixture.holds(0..6), Neighbour::Away);
        until_so(|| fixture.is_whole()).await;
        until_so(|| fixture.scrubber().status().damaged == 0).await;
    };
    beside(&fixture, None, work).await;
}

#[tokio::test(start_paused = true)]
async fn whoever_asks_for_a_pass_gets_one_that_began_after() {
    let fixture = Fixture::new(5).await;
    let operator = Caller { path: own(), role: Role::Operator { name: "li".into() } };
    fixture.set(fixture.holds(0..6), Neighbour::Away);
    let work = async {
        for round in 0..4 {
            fixture.damage_unseen(round);
            let pass = fixture.exchange.scrub(&operator).unwrap();
            until_so(|| fixture.scrubber().status().passes >= pass).await;
            assert!(fixture.is_whole(), "round {round}");
            assert_eq!(fixture.scrubber().status().repaired, round as u64 + 1);
        }
    };
    beside(&fixture, None, work).await;
    let node = Caller { path: path("530000"), role: Role::Node };
    assert_eq!(fixture.exchange.scrub(&node).unwrap_err().reason(), "WRONG_ROLE");
}

#[tokio::test]
async fn a_neighbour_gets_what_is_its_own_and_nothing_else() {
    let fixture = Fixture::new(3).await;
    let stranger = Apply { records: vec![record(7, "x", &own_key())], ..Apply::default() };
    fixture.store.apply(stranger).await.unwrap();
    let unknown =
        Apply { records: vec![record(8, "x", &SigningKey::from_seed(&[9; 32]))], ..Apply::default() };
    fixture.store.apply(unknown).await.unwrap();
    let foreign = SigningKey::from_seed(&[9; 32]);
    let elsewhere = Record::sign(
        Unsigned { flow: Flow::Directory, ..unsigned(9, "x") },
        Version { term: 1, epoch: 1, seq: 1 },
        5,
        &foreign,
    );
    let elsewhere = Apply { records: vec![elsewhere.unwrap()], ..Apply::default() };
    fixture.store.apply(elsewhere).await.unwrap();
    fixture.damage(1);
    let known = fixture.records.iter().map(Record::key);
    let added = (7..10).map(|at| record(at, "x", &foreign).key());
    let keys: Vec<RecordKey> = known.chain(added).chain([RecordKey([1; 16])]).collect();
    let ask = |from: &str| {
        let caller = Caller { path: path(from), role: Role::Node };
        fixture.exchange.fetch(&caller, &keys).map(|fetched| {
            let place = |record: &Record| keys.iter().position(|key| *key == record.key()).unwrap();
            fetched.records.iter().map(place).collect::<Vec<_>>()
        })
    };
    assert_eq!(ask("530000").unwrap(), [0, 2, 3, 4], "what was signed here or below");
    assert_eq!(ask("530000/532900/532901").unwrap(), [0, 2, 3, 6], "what it signed, and the directory");
    assert_eq!(ask("530000/532900/532922").unwrap(), [3, 6], "the directory");
    for stranger in ["530000/530100", "530000/532900", "530000/530100/530102"] {
        assert_eq!(ask(stranger).unwrap_err().reason(), "NOT_A_NEIGHBOUR", "{stranger}");
    }
    let operator = Caller { path: own(), role: Role::Operator { name: "li".into() } };
    assert_eq!(fixture.exchange.fetch(&operator, &keys).unwrap_err().reason(), "WRONG_ROLE");
    let many = vec![keys[0]; 257];
    let parent = Caller { path: path("530000"), role: Role::Node };
    assert_eq!(fixture.exchange.fetch(&parent, &many).unwrap_err().reason(), "TOO_MANY");
}

#[tokio::test]
async fn a_reply_is_bounded_and_says_so() {
    let fixture = Fixture::new(1).await;
    let large: Vec<Record> = (10..50).map(|at| record(at, &"x".repeat(250_000), &county_key())).collect();
    for record in &large {
        let apply = Apply { records: vec![record.clone()], ..Apply::default() };
        fixture.store.apply(apply).await.unwrap();
    }
    let parent = Caller { path: path("530000"), role: Role::Node };
    let mut left: Vec<RecordKey> = large.iter().map(Record::key).collect();
    let mut calls = 0;
    while !left.is_empty() {
        let fetched = fixture.exchange.fetch(&parent, &left).unwrap();
        assert!(fetched.records.iter().map(Record::size).sum::<usize>() <= 4 * 1024 * 1024);
        let given: Vec<RecordKey> = fetched.records.iter().map(Record::key).collect();
        assert_eq!((given.len(), fetched.incomplete), (left.len().min(16), left.len() > 16));
        left.retain(|key| !given.contains(key));
        calls += 1;
    }
    assert_eq!(calls, 3);
}
