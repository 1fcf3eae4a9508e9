//! What the comparison of a down feed found may have changed before it is mended. The test is the child.

use std::sync::Arc;

use model::body::{InstitutionEntry, Kind};
use model::feed::{Batch, Check, CheckAnswer, Comparison, FromSender, HeldVersion};
use model::{Clock, Record, RecordKey};
use replication::batch;
use store::{Apply, Draft, bucket_of};

use crate::node::{Machine, Node, TestClock, door};
use crate::played::{Played, run, welcome};

async fn down_feed(province: &Node) -> Played {
    let welcome = welcome("530000/532900", 0);
    Played::of(province.children.down(&welcome.path), welcome, 1).await
}

/// Takes what comes, and finds all equal, until it is asked about the bucket of this record: what came, and the question.
async fn until_asked(feed: &mut Played, key: &RecordKey) -> (Vec<Batch>, Check) {
    let mut came = Vec::new();
    loop {
        let mut answer = None;
        match feed.next().await {
            FromSender::Batch(batch) => {
                feed.position = batch.upto;
                came.push(batch);
            }
            FromSender::Head(head) => {
                if let Some(check) = head.check {
                    if check.buckets.iter().any(|one| one.bucket == bucket_of(key)) {
                        return (came, check);
                    }
                    answer = Some(answer_to(&check, Comparison::Equal, check.buckets[0].bucket, Vec::new()));
                }
            }
            // It was welcomed before.
            FromSender::Hello(_) => continue,
        }
        feed.acknowledge(answer).await;
    }
}

fn answer_to(check: &Check, comparison: Comparison, bucket: u16, held: Vec<HeldVersion>) -> CheckAnswer {
    CheckAnswer { position: check.position, comparison, bucket, held, incomplete: false }
}

fn records(came: &[Batch]) -> Vec<Record> {
    let raws = came.iter().flat_map(|batch| batch::decode(batch).unwrap());
    raws.map(|raw| Record::from_raw(raw).unwrap()).collect()
}

async fn apply(to: &Node, records: Vec<Record>) {
    to.store.apply(Apply { records: records.clone(), ..Apply::default() }).await.unwrap();
    for record in &records {
        to.directory.learn(record);
    }
}

/// A province where H1 has registered a patient, and a prefecture that has written and is known there.
async fn pair() -> (Node, Node, Record) {
    let clock: Arc<dyn Clock> = Arc::new(TestClock::new());
    let province = Machine::new("530000", 1).start(&clock, &door());
    province.begin(1).await;
    let patient = province.register("H1", "P1", "Duan").await.unwrap();
    let dali = Machine::new("530000/532900", 2).start(&clock, &door());
    dali.begin(2).await;
    apply(&province, everything(&dali)).await;
    (province, dali, patient)
}

fn everything(node: &Node) -> Vec<Record> {
    node.store.feed_reader(0).next(1000, 1 << 20, &|_| true).unwrap().records
}

/// H1 files with the prefecture from now on.
async fn hand_over(province: &Node, dali: &Node) {
    let institution = province.institution("H1");
    let entry = InstitutionEntry {
        origin: institution.as_bytes().to_vec().into(),
        code: "H1".into(),
        name: String::new(),
        writer: dali.machine.origin.as_bytes().to_vec().into(),
        term: 2,
    };
    let about: [&[u8]; 2] = [institution.as_bytes(), &2u32.to_be_bytes()];
    let draft = province.directory_draft(Kind::Institution, &about, &entry);
    for record in province.store.commit(vec![draft]).await.unwrap().records {
        province.directory.learn(&record);
    }
}

/// It wrote that while it was asked, so it said that it was not told of the patient; and what it wrote comes up before its answer.
#[test]
fn a_child_is_not_told_what_it_wrote_itself_since_it_was_asked() {
    run(async {
        let (province, dali, patient) = pair().await;
        hand_over(&province, &dali).await;
        let mut feed = down_feed(&province).await;
        let (came, check) = until_asked(&mut feed, &patient.key()).await;
        assert!(records(&came).contains(&patient), "what was filed before");
        let draft = Draft { term: 2, ..dali.registration_draft("H1", "P1", "Duan Yu") };
        let own = dali.store.commit(vec![draft]).await.unwrap().records;
        assert_eq!(own[0].key(), patient.key());
        apply(&province, own.clone()).await;
        let bucket = bucket_of(&patient.key());
        feed.acknowledge(Some(answer_to(&check, Comparison::Different, bucket, Vec::new()))).await;
        let (came, _) = until_asked(&mut feed, &patient.key()).await;
        let came = records(&came);
        assert!(!came.contains(&own[0]), "nobody above sends that");
        feed.shipping.abort();
    });
}

/// Nobody there was the same person when it was asked.
#[test]
fn a_child_does_not_forget_whom_it_was_told_of_since_it_was_asked() {
    run(async {
        let (province, dali, patient) = pair().await;
        let mut feed = down_feed(&province).await;
        let (came, check) = until_asked(&mut feed, &patient.key()).await;
        assert!(!records(&came).contains(&patient), "of no concern");
        dali.register("H2", "P2", "Duan").await.unwrap();
        let new = everything(&dali);
        apply(&province, new).await;
        let bucket = bucket_of(&patient.key());
        let version = patient.envelope().version;
        let held = vec![HeldVersion { key: patient.key(), version, quarantined: false }];
        feed.acknowledge(Some(answer_to(&check, Comparison::Different, bucket, held))).await;
        let (came, _) = until_asked(&mut feed, &patient.key()).await;
        assert!(records(&came).contains(&patient), "of concern now");
        let mut retracted = came.iter().flat_map(|batch| &batch.retractions);
        assert!(!retracted.any(|(key, _)| *key == patient.key()), "told after all");
        feed.shipping.abort();
    });
}
