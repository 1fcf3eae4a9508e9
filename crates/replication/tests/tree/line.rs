//! How a feed uses its line: what is not for the other end takes no turns of the window, and a line that takes nothing is waited for.

use std::sync::Arc;

use model::Clock;
use model::feed::{FromSender, Welcome};
use replication::LinkError;

use crate::node::{Machine, Node, TestClock, door};
use crate::played::{Played, run, welcome};

/// The down feed of a child that has this much, over a line that holds one frame.
async fn begin(province: &Node, position: u64, max_in_flight: u32) -> Played {
    let welcome = Welcome { max_in_flight, ..welcome("530000/532900", position) };
    Played::of(province.children.down(&welcome.path), welcome, 1).await
}

/// Takes the down feed of a child up to its head; how many batches came.
async fn batches(province: &Node, position: u64) -> usize {
    let mut session = begin(province, position, 1).await;
    let mut came = 0;
    while session.position < province.store.head() {
        if let FromSender::Batch(batch) = session.next().await {
            came += 1;
            assert!(batch.after <= session.position && batch.upto >= session.position);
            session.position = batch.upto;
        }
        session.acknowledge(None).await;
    }
    session.shipping.abort();
    came
}

async fn province() -> Node {
    let clock: Arc<dyn Clock> = Arc::new(TestClock::new());
    let province = Machine::new("530000", 1).start(&clock, &door());
    province.begin(1).await;
    province.register("H1", "P0", "Duan").await.unwrap();
    province
}

#[test]
fn what_is_not_for_a_child_takes_no_turns_of_its_window() {
    run(async {
        let province = province().await;
        let before = province.store.head();
        for at in 1..=60 {
            province.register("H1", &format!("P{at}"), "Duan").await.unwrap();
        }
        assert_eq!(batches(&province, before).await, 1);
        // The directory goes, in slices of its two commits, and then nothing more.
        assert_eq!(batches(&province, 0).await, 3);
    });
}

/// Simulated time stands still while anybody runs: a sender that did not wait would keep this from ever ending.
#[test]
fn a_sender_whose_line_takes_nothing_waits_also_when_a_head_is_due() {
    run(async {
        let province = province().await;
        for code in ["H2", "H3", "H4", "H5"] {
            province.register(code, "P0", "Duan").await.unwrap();
        }
        let session = begin(&province, 0, 8).await;
        let ended = session.shipping.await.unwrap();
        assert_eq!(ended, Err(LinkError::Silent(30)), "nothing was taken, and nothing answered");
    });
}
