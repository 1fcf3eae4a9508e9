//! What goes ahead of a backlog, seen by the receiver of the feed.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::body::DocumentEntry;
use model::feed::{FromSender, Welcome};
use model::{Clock, Flow, Record, RecordId, RecordKey};
use prost::Message;
use replication::batch;
use store::Draft;

use crate::node::{Machine, Node, TestClock, door};
use crate::played::{Played, run, welcome};

/// What came, in order: which batch, whether it moved the position, and the record.
struct Came {
    moves: bool,
    record: Record,
}

/// Takes a whole feed, on a line of this rate.
async fn take(dali: &Node, max_bytes_per_s: Option<u64>) -> Vec<Came> {
    let welcome = Welcome { max_in_flight: 4, max_bytes_per_s, ..welcome("530000", 0) };
    let head = dali.store.head();
    let mut session = Played::of(dali.sender.clone(), welcome, 2).await;
    let mut came = Vec::new();
    while session.position < head {
        if let FromSender::Batch(batch) = session.next().await {
            let moves = batch.upto > batch.after;
            for raw in batch::decode(&batch).unwrap() {
                came.push(Came { moves, record: Record::from_raw(raw).unwrap() });
            }
            session.position = batch.upto;
        }
        session.acknowledge(None).await;
    }
    session.shipping.abort();
    came
}

fn document(dali: &Node, patient: &Record, id: &str, type_code: &str) -> Draft {
    let body = DocumentEntry { document_id: id.into(), type_code: type_code.into(), ..Default::default() };
    Draft {
        flow: Flow::DocumentEntry,
        kind: model::body::Kind::DocumentEntry as u32,
        id: RecordId::of(&[id.as_bytes()]),
        subject: Some(patient.key()),
        body: body.encode_to_vec().into(),
        ..dali.registration_draft("H1", id, "")
    }
}

/// A prefecture with a long backlog of documents, and at its end a policy, a report of a notifiable disease, a
/// registration and a directory record.
async fn backlog() -> (Node, [RecordKey; 4]) {
    let clock: Arc<dyn Clock> = Arc::new(TestClock::new());
    let dali = Machine::new("530000/532900", 2).start(&clock, &door());
    dali.begin(2).await;
    let patient = dali.register("H1", "P0", "").await.unwrap();
    for at in 0..1500 {
        dali.store.commit(vec![document(&dali, &patient, &format!("D{at}"), "C0002")]).await.unwrap();
    }
    let policy = Draft {
        flow: Flow::Policy,
        kind: 4711,
        id: RecordId::of(&[b"policy"]),
        origin: dali.machine.origin,
        subject: None,
        ..dali.registration_draft("H1", "policy", "")
    };
    let report = document(&dali, &patient, "REPORT", "HSDB03.02");
    let last = dali.registration_draft("H1", "P1", "");
    let directory = dali.institution_draft("H2", "");
    let keys = [policy.key(), report.key(), last.key(), directory.key()];
    for draft in [policy, report, last, directory] {
        dali.store.commit(vec![draft]).await.unwrap();
    }
    (dali, keys)
}

fn places(came: &[Came], keys: [RecordKey; 4]) -> [usize; 4] {
    keys.map(|key| came.iter().position(|one| one.record.key() == key).expect("it came"))
}

/// Every record of the node's came, and all but directory records once.
fn check_all(dali: &Node, came: &[Came]) {
    let mut times: BTreeMap<RecordKey, usize> = BTreeMap::new();
    for one in came.iter().filter(|one| one.record.envelope().known_flow() != Some(Flow::Directory)) {
        *times.entry(one.record.key()).or_default() += 1;
    }
    let held = dali.records();
    let missing = held.iter().filter(|(key, ..)| !came.iter().any(|one| one.record.key() == *key)).count();
    assert_eq!(missing, 0);
    assert!(times.values().all(|times| *times == 1));
}

#[test]
fn policies_and_notifiable_diseases_go_ahead_of_a_backlog() {
    run(async {
        let (dali, keys) = backlog().await;
        let came = take(&dali, None).await;
        let [policy, report, registration, _] = places(&came, keys);
        assert!(policy < 600 && report < 600, "{policy} {report}");
        assert!(!came[policy].moves && !came[report].moves, "they move no position");
        assert!(registration > 1400 && came[registration].moves, "on a fast line it waits for its turn");
        check_all(&dali, &came);
    });
}

#[test]
fn on_a_thin_line_registrations_go_ahead_of_documents() {
    run(async {
        let (dali, keys) = backlog().await;
        let came = take(&dali, Some(100_000)).await;
        let [policy, report, registration, directory] = places(&came, keys);
        assert!(policy < 600 && report < 600 && registration < 600, "{policy} {report} {registration}");
        // The end of a term is one: it must not come before what was filed in the term.
        assert!(directory > 1400 && came[directory].moves, "{directory}");
        check_all(&dali, &came);
    });
}
