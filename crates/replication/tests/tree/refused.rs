//! What was refused and is good after all: it came before what it needs, or not as its sender has it. The test is the child.

use model::Record;
use model::feed::{BucketSum, Comparison, FromSender, Head, Proof, Verdict};
use store::bucket_of;

use crate::frames::{Served, batch, greet, hello, pair};
use crate::node::Node;
use crate::played::run;

/// A head that says what the child holds, and what the parent makes of it.
async fn proven(session: &mut Served, dali: &Node, position: u64) -> Verdict {
    let (_, digest) = dali.store.digest(&|_, _| true);
    let total = digest.total();
    let total = BucketSum { bucket: 0, sum: total.sum, records: total.count };
    let proof = Some(Proof { position, total, buckets: Vec::new() });
    let head = Head { head: position, now_ms: 0, below: Vec::new(), proof, check: None, judged: Vec::new() };
    session.up.send(FromSender::Head(head)).await.unwrap();
    session.ack().await.verdict.expect("an answer to the proof")
}

/// A patient whom the prefecture registered, and all that was written before.
async fn patient(dali: &Node) -> (Record, Vec<Record>) {
    let patient = dali.register("H1", "P1", "").await.unwrap();
    let mut before = dali.store.feed_reader(0).next(100, 1 << 20, &|_| true).unwrap().records;
    before.retain(|record| *record != patient);
    (patient, before)
}

#[test]
fn what_came_before_its_institution_is_applied_when_that_is_known() {
    run(async {
        let (province, dali) = pair().await;
        let (patient, before) = patient(&dali).await;
        let mut session = Served::by(&province, greet(hello(&dali))).await;
        let position = session.welcome().await.position;
        session.send(batch(std::slice::from_ref(&patient), position, position)).await;
        assert_eq!(session.ack().await.quarantined, 1, "nobody knows whose patient it is");
        session.send(batch(&before, position, position)).await;
        assert!(session.ack().await.applied > 0);
        assert_eq!(province.store.get(&patient.key()).unwrap(), None);
        proven(&mut session, &dali, position).await;
        assert_eq!(province.store.get(&patient.key()).unwrap(), Some(patient));
        assert_eq!(proven(&mut session, &dali, position).await.comparison, Comparison::Equal);
    });
}

#[test]
fn what_came_altered_is_asked_for_again_before_it_counts_as_equal() {
    run(async {
        let (province, dali) = pair().await;
        let (patient, before) = patient(&dali).await;
        let mut raw = patient.to_raw();
        let mut signature = raw.signature.to_vec();
        signature[5] ^= 1;
        raw.signature = signature.into();
        let altered = Record::from_raw(raw).unwrap();
        let mut session = Served::by(&province, greet(hello(&dali))).await;
        let position = session.welcome().await.position;
        session.send(batch(&before, position, position)).await;
        session.ack().await;
        session.send(batch(std::slice::from_ref(&altered), position, position)).await;
        assert_eq!(session.ack().await.quarantined, 1);
        // By its header it is the same.
        let verdict = proven(&mut session, &dali, position).await;
        assert_eq!(verdict.comparison, Comparison::Different);
        assert_eq!(verdict.differing, [bucket_of(&patient.key())]);
        session.send(batch(std::slice::from_ref(&altered), position, position)).await;
        assert_eq!(session.ack().await.applied, 0);
        let verdict = proven(&mut session, &dali, position).await;
        assert_eq!(
            verdict.comparison,
            Comparison::Equal,
            "it was asked for once: the child has no better one"
        );
        session.send(batch(std::slice::from_ref(&patient), position, position)).await;
        assert_eq!(session.ack().await.applied, 1);
        assert_eq!(province.store.get(&patient.key()).unwrap(), Some(patient));
    });
}
