//! A receiver that the test plays: it greets, takes what comes, and answers as the test likes.

use futures_util::stream;
use model::feed::{Ack, CheckAnswer, FromReceiver, FromSender, Refused, Welcome};
use replication::{LinkError, Sender};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// A session of a sender's feed.
pub struct Played {
    pub frames: mpsc::Receiver<FromSender>,
    pub shipping: JoinHandle<Result<(), LinkError>>,
    /// Up to where the test says that it has what came.
    pub position: u64,
    answer: mpsc::Sender<FromReceiver>,
}

impl Played {
    /// Welcomes this sender; `room` frames lie between the two before the sender has to wait.
    pub async fn of(sender: Sender, welcome: Welcome, room: usize) -> Self {
        let (answer, answers) = mpsc::channel(4);
        let (outgoing, frames) = mpsc::channel(room);
        let answers = stream::unfold(answers, async |mut answers: mpsc::Receiver<FromReceiver>| {
            answers.recv().await.map(|frame| (Ok::<_, LinkError>(frame), answers))
        });
        let shipping = tokio::spawn(async move { sender.ship(Box::pin(answers), outgoing).await });
        let position = welcome.position;
        answer.send(FromReceiver::Welcome(welcome)).await.unwrap();
        Self { frames, shipping, position, answer }
    }

    pub async fn next(&mut self) -> FromSender {
        self.frames.recv().await.expect("the feed goes on")
    }

    /// Acknowledges up to its position.
    pub async fn acknowledge(&self, check: Option<CheckAnswer>) {
        self.answer.send(FromReceiver::Ack(Ack { check, ..ack(self.position) })).await.unwrap();
    }
}

/// What a receiver at `path` says first.
pub fn welcome(path: &str, position: u64) -> Welcome {
    Welcome {
        protocol: 1,
        position,
        now_ms: 0,
        path: path.parse().unwrap(),
        origin: model::OriginId([1; 16]),
        max_batch_bytes: 1 << 20,
        max_in_flight: 8,
        max_bytes_per_s: None,
        software: String::new(),
        refused: Refused::default(),
        lost_before: 0,
    }
}

pub fn ack(position: u64) -> Ack {
    Ack {
        position,
        applied: 0,
        repeated: 0,
        quarantined: 0,
        now_ms: 0,
        quarantined_total: 0,
        quarantined_settled: 0,
        refused: Refused::default(),
        verdict: None,
        check: None,
    }
}

/// Runs a test in simulated time, which stands still while anybody runs.
pub fn run(test: impl Future<Output = ()>) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(test);
}
