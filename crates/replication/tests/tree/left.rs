//! What a hospital left behind at its old node when it moved away. The test is the other end.

use model::body::{InstitutionEntry, Kind, TermEndEntry};
use model::feed::{Batch, Direction, Hello};
use model::{Record, RecordKey, Version};
use store::{Apply, Draft};

use crate::frames::{Served, batch, greet, hello, pair, wrong_proof};
use crate::node::{Node, until};
use crate::played::{Played, run, welcome};

async fn committed(node: &Node, draft: Draft) -> Record {
    let record = node.store.commit(vec![draft]).await.unwrap().records.remove(0);
    node.directory.learn(&record);
    record
}

/// H1 files with another node from now on.
async fn decided(decider: &Node, writer: &Node) -> Record {
    let institution = decider.institution("H1");
    let entry = InstitutionEntry {
        origin: institution.as_bytes().to_vec().into(),
        code: "H1".into(),
        name: String::new(),
        writer: writer.machine.origin.as_bytes().to_vec().into(),
        term: 2,
    };
    let about: [&[u8]; 2] = [institution.as_bytes(), &2u32.to_be_bytes()];
    committed(decider, decider.directory_draft(Kind::Institution, &about, &entry)).await
}

/// The first term is over: its writer says so, or its decider, who had heard that one up to a seq.
async fn ended(by: &Node, next: &Node, held_seq: Option<u64>) -> Record {
    let institution = by.institution("H1");
    let entry = TermEndEntry {
        institution: institution.as_bytes().to_vec().into(),
        term: 1,
        next_writer: next.machine.origin.as_bytes().to_vec().into(),
        without_writer: held_seq.is_some(),
        held_seq: held_seq.unwrap_or_default(),
    };
    let about: [&[u8]; 2] = [institution.as_bytes(), &1u32.to_be_bytes()];
    committed(by, by.directory_draft(Kind::TermEnd, &about, &entry)).await
}

fn everything(node: &Node) -> Vec<Record> {
    node.store.feed_reader(0).next(1000, 1 << 20, &|_| true).unwrap().records
}

/// The test is the province, and tells Dali.
async fn down(province: &Node, dali: &Node) -> Served {
    let first = Hello { direction: Direction::Down, ..hello(province) };
    let mut served = Served::from("530000", dali, greet(first)).await;
    assert_eq!(served.welcome().await.position, 0);
    served
}

/// The test is the province, and has everything of Dali's up to this position.
async fn acknowledged(dali: &Node, position: u64) -> Played {
    let up = Played::of(dali.sender.clone(), welcome("530000", position), 64).await;
    let parent = "530000".parse().unwrap();
    let connected = || dali.links.view(&parent).is_some_and(|link| link.connected);
    until("Dali knows how far the province is", connected).await;
    up
}

/// Why the down feed to this node waits.
fn stalled(node: &Node) -> Option<String> {
    node.links.down().view(&"530000".parse().unwrap())?.stalled
}

fn held(node: &Node, key: &RecordKey) -> Option<Version> {
    node.store.version(key).unwrap()
}

#[test]
fn it_is_forgotten_when_its_parent_says_so_and_its_term_has_ended() {
    run(async {
        let (province, dali) = pair().await;
        let patient = dali.register("H1", "P1", "").await.unwrap();
        let (key, version) = (patient.key(), patient.envelope().version);
        let mut above = everything(&province);
        above.push(decided(&province, &province).await);
        let mut served = down(&province, &dali).await;
        let upto = province.store.head();
        served.send(batch(&above, 0, upto)).await;
        assert_eq!(served.ack().await.quarantined, 0);
        let later = Version { term: 2, ..version };
        let retract = Batch { retractions: vec![(key, later)], ..batch(&[], upto, upto) };
        served.send(retract.clone()).await;
        served.ack().await;
        assert_eq!(held(&dali, &key), Some(version), "it may have written what nobody else has");
        ended(&dali, &province, None).await;
        // Not for its own version, nor for one of a writer that there never was.
        for upto in [version, Version { term: 3, ..version }] {
            served.send(Batch { retractions: vec![(key, upto)], ..retract.clone() }).await;
            served.ack().await;
            assert_eq!(held(&dali, &key), Some(version), "{upto}");
        }
        let _up = acknowledged(&dali, dali.store.head()).await;
        served.send(retract).await;
        served.ack().await;
        assert_eq!(held(&dali, &key), None);
    });
}

#[test]
fn it_stays_until_its_parent_has_acknowledged_it() {
    run(async {
        let (province, dali) = pair().await;
        let before = dali.store.head();
        let patient = dali.register("H1", "P1", "").await.unwrap();
        let (key, version, position) = (patient.key(), patient.envelope().version, dali.store.head());
        ended(&dali, &province, None).await;
        let mut above = everything(&province);
        above.push(decided(&province, &province).await);
        let mut served = down(&province, &dali).await;
        let upto = province.store.head();
        let retractions = vec![(key, Version { term: 2, ..version })];
        served.send(Batch { retractions, ..batch(&above, 0, upto) }).await;
        until("the feed waits for the link up", || stalled(&dali).is_some()).await;
        let mut up = acknowledged(&dali, before).await;
        // Every look that is in vain says "alive", and more than are in the queue are looks since the link is up.
        for _ in 0..4 {
            served.ack().await;
        }
        assert!(stalled(&dali).is_some_and(|why| why.contains(&format!("position {position}"))));
        assert_eq!(held(&dali, &key), Some(version), "nobody else may have it");
        assert_eq!(dali.directory.snapshot().institution(&dali.institution("H1")).unwrap().term, 1);
        up.position = position;
        up.acknowledge(None).await;
        until("it is forgotten", || held(&dali, &key).is_none()).await;
        assert!(stalled(&dali).is_none());
    });
}

#[test]
fn a_batch_may_retract_what_it_explains() {
    run(async {
        let (province, dali) = pair().await;
        let patient = dali.register("H1", "P1", "").await.unwrap();
        ended(&dali, &province, None).await;
        let mut above = everything(&province);
        above.push(decided(&province, &province).await);
        let _up = acknowledged(&dali, dali.store.head()).await;
        let mut served = down(&province, &dali).await;
        let retractions = vec![(patient.key(), Version { term: 2, ..patient.envelope().version })];
        served.send(Batch { retractions, ..batch(&above, 0, province.store.head()) }).await;
        assert_eq!(served.ack().await.quarantined, 0);
        assert_eq!(held(&dali, &patient.key()), None);
    });
}

#[test]
fn what_its_successor_may_never_have_seen_stays() {
    run(async {
        let (province, dali) = pair().await;
        let patient = dali.register("H1", "P1", "").await.unwrap();
        let mut above = everything(&province);
        above.push(decided(&province, &province).await);
        above.push(ended(&province, &province, Some(0)).await);
        let mut served = down(&province, &dali).await;
        let upto = province.store.head();
        served.send(batch(&above, 0, upto)).await;
        assert_eq!(served.ack().await.quarantined, 0);
        let retractions = vec![(patient.key(), Version { term: 2, ..patient.envelope().version })];
        served.send(Batch { retractions, ..batch(&[], upto, upto) }).await;
        served.ack().await;
        assert!(held(&dali, &patient.key()).is_some(), "nobody else may have it");
    });
}

#[test]
fn it_is_not_taken_again_where_a_later_writers_version_was_forgotten() {
    shipped_again(false);
}

#[test]
fn whoever_insists_on_it_when_the_ends_differ_was_not_told_that_it_is_out_of_date() {
    shipped_again(true);
}

/// The child ships again what its institution left, twice; `insisting`: in a session in which the ends were found to hold other records.
fn shipped_again(insisting: bool) {
    run(async {
        let (province, dali) = pair().await;
        let patient = dali.register("H1", "P1", "").await.unwrap();
        let key = patient.key();
        let mut session = Served::by(&province, greet(hello(&dali))).await;
        let position = session.welcome().await.position;
        session.send(batch(&everything(&dali), position, position)).await;
        assert_eq!(session.ack().await.quarantined, 0);
        if insisting {
            session.up.send(wrong_proof(position)).await.unwrap();
            assert!(session.ack().await.verdict.is_some_and(|verdict| !verdict.differing.is_empty()));
        }
        decided(&province, &province).await;
        let end = ended(&dali, &province, None).await;
        session.send(batch(std::slice::from_ref(&end), position, position)).await;
        assert_eq!(session.ack().await.quarantined, 0);
        let changed = Draft { term: 2, ..province.registration_draft("H1", "P1", "Duan") };
        let changed = committed(&province, changed).await;
        let forget = vec![(key, changed.envelope().version)];
        province.store.apply(Apply { forget, ..Apply::default() }).await.unwrap();
        session.send(batch(std::slice::from_ref(&patient), position, position)).await;
        assert_eq!((session.ack().await.repeated, held(&province, &key)), (1, None));
        session.send(batch(std::slice::from_ref(&patient), position, position)).await;
        let (taken, now) = (session.ack().await.applied, held(&province, &key));
        assert_eq!((taken, now.is_some()), (u32::from(insisting), insisting));
        // Of one that did not move it is what this node lacks.
        let other = dali.register("H2", "P1", "").await.unwrap();
        session.send(batch(&everything(&dali), position, position)).await;
        session.ack().await;
        let forget = vec![(other.key(), other.envelope().version)];
        province.store.apply(Apply { forget, ..Apply::default() }).await.unwrap();
        session.send(batch(std::slice::from_ref(&other), position, position)).await;
        assert_eq!((session.ack().await.applied, held(&province, &other.key()).is_some()), (1, true));
    });
}
