//! How a feed uses its line: what is not for the other end takes no turns of the window, and a line that takes nothing is waited for.

use std::sync::Arc;

use futures_util::stream;
use model::Clock;
use model::feed::{Ack, FromReceiver, FromSender, Refused, Welcome};
use replication::LinkError;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::node::{Machine, Node, TestClock, door};

/// A session of the down feed whose receiver is the test.
struct Session {
    answer: mpsc::Sender<FromReceiver>,
    frames: mpsc::Receiver<FromSender>,
    shipping: JoinHandle<Result<(), LinkError>>,
}

async fn begin(province: &Node, position: u64, max_in_flight: u32) -> Session {
    let (answer, answers) = mpsc::channel(4);
    let (outgoing, frames) = mpsc::channel(1);
    let answers = stream::unfold(answers, async |mut answers: mpsc::Receiver<FromReceiver>| {
        answers.recv().await.map(|frame| (Ok::<_, LinkError>(frame), answers))
    });
    let welcome = Welcome {
        protocol: 1,
        position,
        now_ms: 0,
        path: "530000/532900".parse().unwrap(),
        origin: model::OriginId([1; 16]),
        max_batch_bytes: 1 << 20,
        max_in_flight,
        max_bytes_per_s: None,
        software: String::new(),
        refused: Refused::default(),
    };
    let sender = province.children.down(&welcome.path);
    let shipping = tokio::spawn(async move { sender.ship(Box::pin(answers), outgoing).await });
    answer.send(FromReceiver::Welcome(welcome)).await.unwrap();
    Session { answer, frames, shipping }
}

/// Takes the down feed of a child up to its head; how many batches came.
async fn batches(province: &Node, position: u64) -> usize {
    let Session { answer, mut frames, shipping } = begin(province, position, 1).await;
    let (mut came, mut position) = (0, position);
    while position < province.store.head() {
        if let FromSender::Batch(batch) = frames.recv().await.expect("the feed goes on") {
            came += 1;
            assert!(batch.after <= position && batch.upto >= position);
            position = batch.upto;
        }
        let ack = Ack {
            position,
            applied: 0,
            repeated: 0,
            quarantined: 0,
            now_ms: 0,
            quarantined_total: 0,
            refused: Refused::default(),
            verdict: None,
            check: None,
        };
        answer.send(FromReceiver::Ack(ack)).await.unwrap();
    }
    shipping.abort();
    came
}

fn run(test: impl Future<Output = ()>) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(test);
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
