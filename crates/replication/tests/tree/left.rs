//! What a hospital left behind at its old node when it moved away. The test is the other end.

use model::body::{InstitutionEntry, Kind, TermEndEntry};
use model::feed::{Batch, Direction, Hello};
use model::{Record, RecordKey, Version};
use store::{Apply, Draft};

use crate::frames::{Served, batch, greet, hello, pair};
use crate::node::Node;
use crate::played::run;

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
        served.send(retract).await;
        served.ack().await;
        assert_eq!(held(&dali, &key), None);
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
    run(async {
        let (province, dali) = pair().await;
        let patient = dali.register("H1", "P1", "").await.unwrap();
        let key = patient.key();
        let mut session = Served::by(&province, greet(hello(&dali))).await;
        let position = session.welcome().await.position;
        session.send(batch(&everything(&dali), position, position)).await;
        assert_eq!(session.ack().await.quarantined, 0);
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
