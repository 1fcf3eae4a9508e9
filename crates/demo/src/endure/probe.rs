//! How long a registration takes from its county's acknowledgement until the province finds it.

use std::sync::Arc;
use std::time::Duration;

use cli::client::Client;
use model::Version;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::load::Acknowledged;
use crate::show::held_version;

/// Acknowledgements that wait to be followed; what does not fit is not measured.
pub(super) const QUEUE: usize = 16;
/// Registrations followed at once.
const AT_ONCE: usize = 16;
/// How often the province is asked.
const ASK_EVERY: Duration = Duration::from_millis(5);
/// A registration that takes longer counts as so long: its county is away, say.
const LONGEST: Duration = Duration::from_secs(120);

/// Follows registrations until it is dropped.
#[derive(Debug)]
pub(super) struct Probe {
    took: Arc<Mutex<Vec<Duration>>>,
    _task: JoinSet<()>,
}

impl Probe {
    pub fn start(province: Client, mut sample: mpsc::Receiver<Acknowledged>) -> Self {
        let took: Arc<Mutex<Vec<Duration>>> = Arc::default();
        let kept = Arc::clone(&took);
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut following = JoinSet::new();
            while let Some(acknowledged) = sample.recv().await {
                while following.len() >= AT_ONCE {
                    following.join_next().await;
                }
                let (province, kept) = (province.clone(), Arc::clone(&kept));
                following.spawn(async move {
                    let took = follow(&province, &acknowledged).await;
                    kept.lock().push(took);
                });
            }
        });
        Self { took, _task: task }
    }

    /// What has been measured since the last time.
    pub fn take(&self) -> Vec<Duration> {
        std::mem::take(&mut self.took.lock())
    }
}

async fn follow(province: &Client, acknowledged: &Acknowledged) -> Duration {
    let Ok(wanted) = acknowledged.version.parse::<Version>() else { return LONGEST };
    loop {
        // A province that is away is asked again like one that does not hold it yet.
        let held = held_version(province, &acknowledged.patient).await;
        let took = acknowledged.at.elapsed();
        if held.is_some_and(|held| held >= wanted) || took >= LONGEST {
            return took.min(LONGEST);
        }
        tokio::time::sleep(ASK_EVERY.max(took / 50)).await;
    }
}
