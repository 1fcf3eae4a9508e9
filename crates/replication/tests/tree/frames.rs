//! Frame by frame: neighbours that break the protocol, and two sessions of one child.

use std::sync::Arc;

use futures_util::{Stream, stream};
use model::Clock;
use model::body::EpochEntry;
use model::feed::{
    Ack, Batch, BucketSum, Comparison, Compression, Direction, FromReceiver, FromSender, Head, Hello, Proof,
    Welcome,
};
use model::{Record, Version};
use replication::batch::{Place, encode};
use replication::{LinkError, LinkRefusal};
use store::FeedId;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::node::{Machine, Node, TestClock, door, until};
use crate::played::{self, run};

/// A province and a prefecture that has written, not connected.
pub async fn pair() -> (Node, Node) {
    let clock: Arc<dyn Clock> = Arc::new(TestClock::new());
    let province = Machine::new("530000", 1).start(&clock, &door());
    province.begin(1).await;
    let dali = Machine::new("530000/532900", 2).start(&clock, &door());
    dali.begin(2).await;
    (province, dali)
}

fn frames<T: Send>(frames: mpsc::Receiver<T>) -> impl Stream<Item = Result<T, LinkError>> + Send {
    stream::unfold(frames, async |mut frames| frames.recv().await.map(|frame| (Ok(frame), frames)))
}

/// A session of a receiver whose sender is the test.
pub struct Served {
    pub up: mpsc::Sender<FromSender>,
    down: mpsc::Receiver<FromReceiver>,
    ended: JoinHandle<Result<(), LinkError>>,
}

impl Served {
    pub async fn by(province: &Node, first: FromSender) -> Self {
        Self::from("530000/532900", province, first).await
    }

    /// The test is this neighbour of the node's.
    pub async fn from(peer: &str, node: &Node, first: FromSender) -> Self {
        let receiver = node.receiver();
        let (up, up_frames) = mpsc::channel(2);
        let (down_frames, down) = mpsc::channel(2);
        up.send(first).await.unwrap();
        let peer = peer.parse().unwrap();
        let ended = tokio::spawn(async move { receiver.serve(peer, frames(up_frames), down_frames).await });
        Self { up, down, ended }
    }

    pub async fn welcome(&mut self) -> Welcome {
        match self.down.recv().await {
            Some(FromReceiver::Welcome(welcome)) => welcome,
            other => panic!("no welcome: {other:?}"),
        }
    }

    pub async fn ack(&mut self) -> Ack {
        match self.down.recv().await {
            Some(FromReceiver::Ack(ack)) => ack,
            other => panic!("no acknowledgement: {other:?}"),
        }
    }

    pub async fn send(&self, batch: Batch) {
        self.up.send(FromSender::Batch(batch)).await.unwrap();
    }

    async fn refusal(self) -> String {
        let error = self.ended.await.unwrap().unwrap_err();
        format!("{}: {error}", error.reason())
    }
}

/// What this node would say of itself.
pub fn hello(dali: &Node) -> Hello {
    let introduction: Vec<Record> = own_records(dali);
    let epochs: Vec<EpochEntry> = dali.store.last_epoch().into_iter().collect();
    Hello {
        protocols: vec![1],
        direction: Direction::Up,
        path: dali.machine.path.clone(),
        origin: dali.machine.origin,
        trust_domain: dali.machine.trust_domain.clone(),
        generation: dali.store.generation(),
        head: dali.store.head(),
        began: vec![1; epochs.len()],
        epochs,
        last_seq: dali.store.last_seq(),
        now_ms: 0,
        software: "test".into(),
        introduction,
    }
}

pub fn own_records(node: &Node) -> Vec<Record> {
    node.store.feed_reader(0).next(3, 1 << 20, &|_| true).unwrap().records
}

pub fn greet(hello: Hello) -> FromSender {
    FromSender::Hello(Box::new(hello))
}

pub fn batch(records: &[Record], after: u64, upto: u64) -> Batch {
    encode(records, Place { after, upto, head: upto, now_ms: 0 })
}

#[test]
fn greetings_that_do_not_prove_themselves_are_refused() {
    run(async {
        let (province, dali) = pair().await;
        let foreign = dali.register("H1", "P1", "").await.unwrap();
        let good = hello(&dali);
        let mut without_key = good.clone();
        without_key.introduction.retain(|record| record.envelope().kind != 19);
        let mut without_epoch = good.clone();
        without_epoch.introduction.retain(|record| record.envelope().kind != 20);
        let mut with_more = good.clone();
        with_more.introduction.push(foreign);
        let mut of_another = good.clone();
        of_another.introduction = own_records(&province);
        let mut other_epoch = good.clone();
        other_epoch.epochs[0].epoch_id = vec![9; 16].into();
        let not_greeting = FromSender::Head(Head {
            head: 1,
            now_ms: 0,
            below: Vec::new(),
            proof: None,
            check: None,
            judged: Vec::new(),
        });
        let table = [
            (
                greet(without_key),
                "BAD_HELLO: the greeting cannot be accepted: a record of the introduction is refused",
            ),
            (greet(without_epoch), "BAD_HELLO"),
            (greet(with_more), "BAD_HELLO: the greeting cannot be accepted: the introduction holds more"),
            (greet(of_another), "BAD_HELLO: the greeting cannot be accepted: the introduction holds more"),
            (greet(other_epoch), "BAD_HELLO"),
            (not_greeting, "PROTOCOL"),
        ];
        let before = province.store.head();
        for (line, (first, expected)) in table.into_iter().enumerate() {
            let said = Served::by(&province, first).await.refusal().await;
            assert!(said.starts_with(expected), "line {line}: {said}");
        }
        assert_eq!(province.store.head(), before, "a refused child leaves nothing");
        assert!(Served::by(&province, greet(good)).await.welcome().await.position == 0);
    });
}

#[test]
fn batches_must_follow_each_other() {
    run(async {
        let (province, dali) = pair().await;
        let records = [dali.register("H1", "P1", "").await.unwrap()];
        let garbage = Batch {
            payload: vec![0xFF; 9].into(),
            raw_len: 9,
            compression: Compression::None,
            ..batch(&[], 0, 1)
        };
        let table = [
            (vec![batch(&records, 1, 2)], "BAD_BATCH"),
            (vec![Batch { upto: 0, ..batch(&[], 0, 1) }, batch(&[], 0, 1), batch(&[], 0, 1)], "BAD_BATCH"),
            (vec![batch(&[], 0, 2), Batch { upto: 1, ..batch(&[], 2, 3) }], "BAD_BATCH"),
            (vec![garbage], "BAD_BATCH"),
        ];
        for (line, (batches, expected)) in table.into_iter().enumerate() {
            let mut session = Served::by(&province, greet(hello(&dali))).await;
            session.welcome().await;
            for batch in batches {
                session.send(batch).await;
            }
            let said = session.refusal().await;
            assert!(said.starts_with(expected), "line {line}: {said}");
        }
        let mut session = Served::by(&province, greet(hello(&dali))).await;
        session.welcome().await;
        session.up.send(greet(hello(&dali))).await.unwrap();
        assert!(session.refusal().await.starts_with("PROTOCOL"));
    });
}

#[test]
fn a_position_is_durable_with_its_records_and_cheap_without() {
    run(async {
        let (province, dali) = pair().await;
        let records = [dali.register("H1", "P1", "").await.unwrap()];
        let all = dali.store.feed_reader(0).next(100, 1 << 20, &|_| true).unwrap().records;
        let feed = FeedId { peer: dali.machine.origin, direction: store::Direction::Up };
        let position = || province.store.position(&feed).map(|held| held.position);
        let mut session = Served::by(&province, greet(hello(&dali))).await;
        session.welcome().await;
        let introduced = province.store.head();
        session.send(batch(&[], 0, 7)).await;
        assert_eq!(session.ack().await.position, 7);
        assert_eq!((position(), province.store.head()), (None, introduced), "nothing new makes no commit");
        session.send(batch(&all, 7, 9)).await;
        let ack = session.ack().await;
        assert_eq!((ack.position, ack.applied, ack.repeated), (9, 2, 3));
        assert_eq!(position(), Some(9));
        session.send(batch(&records, 9, 9)).await;
        assert_eq!(session.ack().await.repeated, 1);
        // Far ahead of the durable position it is worth a commit.
        session.send(batch(&[], 9, 10_000)).await;
        session.ack().await;
        assert_eq!(position(), Some(10_000));
    });
}

#[test]
fn a_silent_sender_is_given_up() {
    run(async {
        let (province, dali) = pair().await;
        let mut session = Served::by(&province, greet(hello(&dali))).await;
        session.welcome().await;
        let link = || province.links.view(&dali.machine.path).unwrap();
        assert!(link().connected);
        assert_eq!(session.ended.await.unwrap(), Err(LinkError::Silent(30)));
        assert!(!link().connected);
        assert_eq!(link().last_error.unwrap().reason, "SILENT");
    });
}

#[test]
fn a_newer_connection_of_the_same_start_takes_over() {
    run(async {
        let (province, dali) = pair().await;
        let mut first = Served::by(&province, greet(hello(&dali))).await;
        first.welcome().await;
        let mut second = Served::by(&province, greet(hello(&dali))).await;
        second.welcome().await;
        assert_eq!(first.ended.await.unwrap(), Err(LinkError::Replaced));
        let link = province.links.view(&dali.machine.path).unwrap();
        assert!(link.connected && link.last_error.is_none());
        // Another start of the same node waits until this one is gone.
        dali.begin(3).await;
        let mut next = hello(&dali);
        next.introduction = dali.store.feed_reader(0).next(100, 1 << 20, &|_| true).unwrap().records;
        next.epochs = next
            .introduction
            .iter()
            .filter(|record| record.envelope().kind == 20)
            .map(|record| record.decode_body().unwrap())
            .collect();
        next.epochs.reverse();
        let refused = Served::by(&province, greet(next.clone())).await;
        assert!(refused.refusal().await.starts_with("ALREADY_CONNECTED"));
        drop(second.up);
        assert_eq!(second.ended.await.unwrap(), Ok(()));
        Served::by(&province, greet(next)).await.welcome().await;
    });
}

#[test]
fn an_epoch_opened_during_a_session_counts_as_its_own() {
    run(async {
        let clock: Arc<dyn Clock> = Arc::new(TestClock::new());
        let province = Machine::new("530000", 1).start(&clock, &door());
        province.begin(1).await;
        let dali = Machine::new("530000/532900", 2).start(&clock, &door());
        let mut session = Served::by(&province, greet(hello(&dali))).await;
        session.welcome().await;
        dali.begin(2).await;
        session.send(batch(&own_records(&dali), 0, 1)).await;
        assert_eq!(session.ack().await.applied, 3);
        let mut clone = hello(&dali);
        let entry = EpochEntry {
            counter: 2,
            epoch_id: vec![9; 16].into(),
            previous_epoch_id: clone.epochs[0].epoch_id.clone(),
            base_seq: 1,
            started_ms: 0,
        };
        clone.epochs.insert(0, entry);
        assert!(Served::by(&province, greet(clone)).await.refusal().await.starts_with("ALREADY_CONNECTED"));
        // The same start again takes over.
        Served::by(&province, greet(hello(&dali))).await.welcome().await;
    });
}

/// A sender whose receiver is the test: it sends these answers after the greeting; how the session ends.
async fn shipped(dali: &Node, answers: Vec<FromReceiver>) -> LinkError {
    let (up, mut greeting) = mpsc::channel(20);
    let (down, down_frames) = mpsc::channel(20);
    let sender = dali.sender.clone();
    let ended = tokio::spawn(async move { sender.ship(frames(down_frames), up).await });
    assert!(matches!(greeting.recv().await, Some(FromSender::Hello(_))));
    for answer in answers {
        down.send(answer).await.unwrap();
        // The batches that it allows are read before the next one.
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    ended.await.unwrap().unwrap_err()
}

#[test]
fn a_sender_follows_only_answers_that_make_sense() {
    run(async {
        let (_, dali) = pair().await;
        dali.register("H1", "P1", "").await.unwrap();
        let head = dali.store.head();
        let welcome = played::welcome("530000", 1);
        let ack = |position| FromReceiver::Ack(played::ack(position));
        let welcomed = || FromReceiver::Welcome(welcome.clone());
        let with = |change: &dyn Fn(&mut Welcome)| {
            let mut welcome = welcome.clone();
            change(&mut welcome);
            FromReceiver::Welcome(welcome)
        };
        let table = [
            (vec![with(&|welcome| welcome.position = head + 1)], "RESTORE_NEEDED"),
            (vec![with(&|welcome| welcome.path = "530000/532600".parse().unwrap())], "PROTOCOL"),
            (vec![with(&|welcome| welcome.protocol = 2)], "PROTOCOL"),
            (vec![with(&|welcome| welcome.protocol = 0)], "PROTOCOL"),
            (vec![with(&|welcome| welcome.max_batch_bytes = 1000)], "PROTOCOL"),
            (vec![with(&|welcome| welcome.max_in_flight = 0)], "PROTOCOL"),
            (vec![ack(1)], "PROTOCOL"),
            (vec![welcomed(), welcomed()], "PROTOCOL"),
            (vec![welcomed(), ack(0)], "PROTOCOL"),
            (vec![welcomed(), ack(head + 1)], "PROTOCOL"),
            (vec![welcomed(), ack(head)], "SILENT"),
            (vec![], "SILENT"),
        ];
        for (line, (answers, expected)) in table.into_iter().enumerate() {
            let error = shipped(&dali, answers).await;
            assert_eq!(error.reason(), expected, "line {line}: {error}");
        }
        let link = dali.links.view(&"530000".parse().unwrap()).unwrap();
        assert!(!link.connected);
    });
}

#[test]
fn a_store_that_fails_ends_the_session_with_a_reason() {
    run(async {
        let (province, dali) = pair().await;
        let records = [dali.register("H1", "P1", "").await.unwrap()];
        let mut session = Served::by(&province, greet(hello(&dali))).await;
        session.welcome().await;
        province.machine.storage.fail_sync(1);
        session.send(batch(&records, 0, 2)).await;
        let error = session.ended.await.unwrap().unwrap_err();
        assert!(matches!(error, LinkError::Refused(LinkRefusal::Store(_))), "{error}");
        assert!(session.down.try_recv().is_err(), "what is not durable is not acknowledged");
    });
}

#[test]
fn what_the_parent_is_told_while_its_child_is_caught_up() {
    run(async {
        let (province, mut dali) = pair().await;
        let door = Arc::clone(&province.door);
        dali.keep_link(&door, crate::wire::NEVER);
        until("the link", || dali.is_caught_up()).await;
        let heard = province.links.heard_ms(&dali.machine.path);
        until("another head", || province.links.heard_ms(&dali.machine.path) >= heard + 4_000).await;
        let view = province.links.view(&dali.machine.path).unwrap();
        assert_eq!((view.behind(), view.clock_offset_ms), (0, 0));
        dali.register("H1", "P1", "").await.unwrap();
        until("the record", || dali.is_caught_up()).await;
        let view = province.links.view(&dali.machine.path).unwrap();
        assert_eq!(view.newest_record_ms.keys().copied().collect::<Vec<_>>(), [dali.machine.origin]);
    });
}

#[test]
fn a_record_that_comes_again_mends_the_damaged_one() {
    run(async {
        let (province, dali) = pair().await;
        let mut served = Served::by(&province, greet(hello(&dali))).await;
        let after = served.welcome().await.position;
        let patient = dali.register("H1", "P1", "a name to look for").await.unwrap();
        let slice = dali.store.feed_reader(1).next(9, 1 << 20, &|_| true).unwrap();
        let records: Vec<Record> = own_records(&dali).into_iter().chain(slice.records).collect();
        served.send(batch(&records, after, slice.upto)).await;
        assert_eq!(served.ack().await.quarantined, 0);
        assert_eq!(province.store.get(&patient.key()).unwrap().as_ref(), Some(&patient));
        province.machine.storage.damage("00000000000000000001.seg", |bytes| {
            let name = b"a name to look for";
            let at = bytes.windows(name.len()).position(|window| window == name).unwrap();
            bytes[at] ^= 1;
        });
        assert!(province.store.get(&patient.key()).is_err());
        // The same again, as after a reconnection: not quarantined as other bytes, and not the end of the session.
        served.send(batch(&records, slice.upto, slice.upto)).await;
        assert_eq!(served.ack().await.quarantined, 0);
        assert_eq!(province.store.get(&patient.key()).unwrap().as_ref(), Some(&patient));
    });
}

/// A new county with records for two commits of a receiver's, the first one with all that the other is judged by; and room at its
/// province for the first.
async fn room_for_one_of_two(province: &Node) -> Vec<Record> {
    let clock: Arc<dyn Clock> = Arc::new(TestClock::new());
    let county = Machine::new("530000/532900/532901", 3).start(&clock, &door());
    county.begin(3).await;
    county.register("H5", "P", "").await.unwrap();
    for some in 0..4 {
        let drafts = (0..450).map(|at| county.registration_draft("H5", &format!("P{some}-{at}"), ""));
        county.store.commit(drafts.collect()).await.unwrap();
    }
    let records = county.store.feed_reader(0).next(usize::MAX, usize::MAX, &|_| true).unwrap().records;
    let storage = &province.machine.storage;
    let len = |file: &String| store::Storage::len(storage, file).unwrap();
    let held: u64 = store::Storage::list(storage).unwrap().iter().map(len).sum();
    let bytes: usize = records.iter().map(Record::size).sum();
    storage.set_capacity(Some(held + bytes as u64 * 85 / 100));
    records
}

/// A session in which the first of two commits is durable and the other waits for room; its records, and the position they follow.
async fn waiting_for_room(province: &Node, dali: &Node) -> (Served, Vec<Record>, u64) {
    let records = room_for_one_of_two(province).await;
    let mut session = Served::by(province, greet(hello(dali))).await;
    let after = session.welcome().await.position;
    session.send(batch(&records, after, after)).await;
    assert_eq!(session.ack().await.applied, 0, "alive, while room is waited for");
    assert!(province.store.version(&records[5].key()).unwrap().is_some());
    (session, records, after)
}

#[test]
fn what_was_committed_of_a_batch_before_the_disk_was_full_is_known() {
    run(async {
        let (province, dali) = pair().await;
        let (session, records, after) = waiting_for_room(&province, &dali).await;
        assert!(province.store.version(&records.last().unwrap().key()).unwrap().is_none());
        drop((session.up, session.down));
        session.ended.await.unwrap().unwrap_err();
        province.machine.storage.set_capacity(None);
        let mut again = Served::by(&province, greet(hello(&dali))).await;
        again.welcome().await;
        again.send(batch(&records, after, after)).await;
        let ack = again.ack().await;
        assert_eq!(ack.quarantined, 0, "who wrote them is known: {:?}", ack.refused.records.first());
        assert!(province.store.version(&records.last().unwrap().key()).unwrap().is_some());
    });
}

#[test]
fn what_waited_for_room_in_parts_is_counted_as_a_whole() {
    run(async {
        let (province, dali) = pair().await;
        let (mut session, records, _) = waiting_for_room(&province, &dali).await;
        province.machine.storage.set_capacity(None);
        let ack = loop {
            let ack = session.ack().await;
            if ack.applied > 0 {
                break ack;
            }
        };
        assert_eq!((ack.applied as usize, ack.repeated), (records.len(), 0));
    });
}

/// A head with a proof of buckets that cannot be right.
pub fn wrong_proof(position: u64) -> FromSender {
    let sum = |bucket| BucketSum { bucket, sum: u128::from(bucket) + 1, records: 1 };
    let proof = Proof { position, total: sum(0), buckets: (0..1024).map(sum).collect() };
    FromSender::Head(Head {
        head: position,
        now_ms: 0,
        below: Vec::new(),
        proof: Some(proof),
        check: None,
        judged: Vec::new(),
    })
}

#[test]
fn a_made_up_record_fetches_no_other_one() {
    run(async {
        let (province, dali) = pair().await;
        for some in 0..20 {
            province.register("H9", &format!("P{some}"), "").await.unwrap();
        }
        let victim = province.register("H9", "VICTIM", "").await.unwrap();
        let forged = dali.store.commit(vec![dali.registration_draft("H9", "VICTIM", "")]).await.unwrap();
        let forged = forged.records.into_iter().next().unwrap();
        assert_eq!(forged.key(), victim.key());
        assert!(forged.envelope().version < victim.envelope().version);
        let own = dali.register("H1", "P1", "").await.unwrap();
        let mut session = Served::by(&province, greet(hello(&dali))).await;
        let position = session.welcome().await.position;
        session.send(batch(&own_records(&dali), position, position)).await;
        session.ack().await;
        session.send(batch(&[own], position, position)).await;
        session.ack().await;
        for _ in 0..3 {
            session.up.send(wrong_proof(position)).await.unwrap();
            let verdict = session.ack().await.verdict.unwrap();
            assert_eq!(verdict.comparison, Comparison::Different);
            let keys: Vec<_> = verdict.given_back.iter().map(Record::key).collect();
            assert!(!keys.contains(&victim.key()), "it was not the child's to see");
            session.send(batch(std::slice::from_ref(&forged), position, position)).await;
            assert_eq!(session.ack().await.applied, 0);
        }
    });
}

/// A batch of what is no record, each one different.
fn garbage(numbers: std::ops::Range<u64>, after: u64) -> Batch {
    use model::body::{RawRecord, RecordList};
    let raw = |number: u64| RawRecord { header: number.to_be_bytes().to_vec().into(), ..Default::default() };
    let list = RecordList { records: numbers.map(raw).collect() };
    let payload = bytes::Bytes::from(prost::Message::encode_to_vec(&list));
    let raw_len = payload.len() as u32;
    Batch {
        after,
        upto: after,
        compression: Compression::None,
        raw_len,
        payload,
        head: after,
        now_ms: 0,
        retractions: Vec::new(),
    }
}

#[test]
fn a_full_quarantine_takes_no_more_and_ends_the_feed() {
    run(async {
        let (province, dali) = pair().await;
        let hello = hello(&dali);
        let mut served = Served::by(&province, greet(hello.clone())).await;
        let at = served.welcome().await.position;
        for thousand in 0..10 {
            served.send(garbage(thousand * 1000..(thousand + 1) * 1000, at)).await;
            assert_eq!(served.ack().await.quarantined, 1000);
        }
        // What is held there already is nothing new.
        served.send(garbage(0..1000, at)).await;
        assert_eq!(served.ack().await.quarantined_total, 10_000);
        served.send(garbage(9_999..10_001, at)).await;
        assert!(served.refusal().await.starts_with("QUARANTINE_FULL: "));
        assert_eq!(province.store.status().quarantined, 10_000);
        // A new session knows how many there are.
        let mut again = Served::by(&province, greet(hello)).await;
        assert!(again.welcome().await.position == at);
        again.send(garbage(10_000..10_001, at)).await;
        assert!(again.refusal().await.starts_with("QUARANTINE_FULL: "));
    });
}

#[test]
fn nothing_is_proven_while_the_directory_changes() {
    run(async {
        let (province, mut dali) = pair().await;
        let clock: Arc<dyn Clock> = Arc::new(TestClock::new());
        let wenshan = Machine::new("530000/532600", 3).start(&clock, &door());
        wenshan.begin(3).await;
        let foreign = own_records(&wenshan);
        let apply = || store::Apply { records: foreign.clone(), ..store::Apply::default() };
        province.store.apply(apply()).await.unwrap();
        for record in &foreign {
            province.directory.learn(record);
        }
        // They came down: durable here, and who wrote them is not known yet. They are not this node's.
        let gate = dali.directory.decide().await;
        dali.store.apply(apply()).await.unwrap();
        dali.keep_link(&province.door, crate::wire::NEVER);
        let above = province.machine.path.clone();
        let link = |node: &Node| node.links.view(&above);
        until("the link is up", || link(&dali).is_some_and(|link| link.connected)).await;
        tokio::time::sleep(std::time::Duration::from_secs(20)).await;
        let waiting = link(&dali).unwrap();
        assert_eq!((waiting.proven_ms, waiting.disproven), (0, None));
        assert!(!dali.is_caught_up(), "nor is anything shipped whose writer is not known yet");
        for record in &foreign {
            dali.directory.learn(record);
        }
        drop(gate);
        until("the link is proven", || link(&dali).is_some_and(|link| link.proven_ms > 0)).await;
        assert_eq!(link(&dali).unwrap().proven_records, 3);
    });
}

#[test]
fn a_child_forgets_only_what_came_down_about_persons() {
    run(async {
        let (_, dali) = pair().await;
        let clock: Arc<dyn Clock> = Arc::new(TestClock::new());
        let city = Machine::new("530000/532900/532901", 3).start(&clock, &door());
        city.begin(3).await;
        let own = city.register("H3", "P1", "").await.unwrap();
        let told = dali.register("H1", "P1", "").await.unwrap();
        let hello = Hello { direction: Direction::Down, ..hello(&dali) };
        let mut served = Served::by(&city, greet(hello)).await;
        assert_eq!(served.welcome().await.position, 0);
        let all = dali.store.feed_reader(0).next(99, 1 << 20, &|_| true).unwrap();
        served.send(batch(&all.records, 0, all.upto)).await;
        assert_eq!(served.ack().await.quarantined, 0);
        let (held, upto) = (city.records().len(), all.upto);
        let retract = |retractions: Vec<_>| Batch { retractions, ..batch(&[], upto, upto) };
        let name = |record: &Record| (record.key(), record.envelope().version);
        // Directory records, its own, and a version before the one that is held: all stay.
        let later = Version { term: 9, ..own.envelope().version };
        let earlier = Version { seq: 0, ..told.envelope().version };
        let directory = all.records.iter().filter(|record| **record != told).map(name);
        let wrong = directory.chain([(own.key(), later), (told.key(), earlier)]).collect();
        served.send(retract(wrong)).await;
        served.ack().await;
        assert_eq!(city.records().len(), held);
        // A later version than the one held: then that one too.
        served.send(retract(vec![(told.key(), later)])).await;
        served.ack().await;
        assert_eq!((city.store.get(&told.key()).unwrap(), city.records().len()), (None, held - 1));
        // What one batch brings, it does not take away.
        let both = Batch { retractions: vec![name(&told)], ..batch(std::slice::from_ref(&told), upto, upto) };
        served.send(both.clone()).await;
        assert_eq!(served.ack().await.applied, 1);
        assert_eq!(city.store.get(&told.key()).unwrap().as_ref(), Some(&told));
        // Nor does it if what it brings is there already.
        served.send(both).await;
        assert_eq!(served.ack().await.repeated, 1);
        assert_eq!(city.store.get(&told.key()).unwrap(), Some(told));
    });
}
