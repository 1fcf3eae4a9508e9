//! What is shipped again where both ends of an up feed hold something else.

use std::sync::Arc;

use model::{Clock, Record, RecordKey};
use store::{Apply, bucket_of};

use crate::node::{Machine, Node, TestClock, door, until};
use crate::played::run;
use crate::wire::NEVER;

/// More than what a node of these tests looks at together.
const SHARING: usize = 5;

/// Local ids whose registrations are in one bucket, by their keys.
fn one_bucket(node: &Node) -> Vec<String> {
    let key = |id: &String| {
        let draft = node.registration_draft("H1", id, "");
        RecordKey::of(draft.kind, draft.origin, draft.id)
    };
    let all = || (0..).map(|number| format!("P{number}"));
    let bucket = all().next().map(|first| bucket_of(&key(&first)));
    let mut sharing: Vec<String> =
        all().filter(|id| Some(bucket_of(&key(id))) == bucket).take(SHARING).collect();
    sharing.sort_by_key(key);
    sharing
}

async fn forget(node: &Node, records: &[Record]) {
    let forget = records.iter().map(|one| (one.key(), one.envelope().version)).collect();
    node.store.apply(Apply { forget, ..Apply::default() }).await.unwrap();
}

#[test]
fn a_page_of_what_is_forgotten_does_not_hide_what_comes_after_it() {
    run(async {
        let (clock, above): (Arc<dyn Clock>, _) = (Arc::new(TestClock::new()), door());
        let province = Machine::new("530000", 1).start(&clock, &above);
        province.begin(1).await;
        let mut dali = Machine::new("530000/532900", 2).start(&clock, &door());
        dali.keep_link(&above, NEVER);
        dali.sender.may_begin().wait_for(Option::is_some).await.unwrap();
        dali.begin(2).await;
        let mut patients = Vec::new();
        for id in one_bucket(&dali) {
            patients.push(dali.register("H1", &id, "").await.unwrap());
        }
        until("the province has them", || dali.is_caught_up()).await;
        let (last, rest) = patients.split_last().unwrap();
        forget(&province, &patients).await;
        forget(&dali, rest).await;
        until("what only the child holds is shipped again", || {
            province.store.version(&last.key()).unwrap() == Some(last.envelope().version)
        })
        .await;
        assert!(rest.iter().all(|one| province.store.version(&one.key()).unwrap().is_none()));
    });
}
