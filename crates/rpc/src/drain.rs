//! Stopping in bounded time: connections are told, calls under way may finish, and what is left after the limit is cut.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The shared stop of a server. Clones are one and the same.
#[derive(Debug, Clone)]
pub struct Drain {
    stop: CancellationToken,
    tasks: TaskTracker,
    limit: Duration,
}

impl Drain {
    /// `limit`: how long calls under way may go on after [`Drain::stop`].
    pub fn new(limit: Duration) -> Self {
        Self { stop: CancellationToken::new(), tasks: TaskTracker::new(), limit }
    }

    /// Tells listeners, connections and links to stop. Never waits.
    pub fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
    }

    /// Waits until [`Drain::stop`] was called.
    pub async fn stopping(&self) {
        self.stop.cancelled().await;
    }

    /// Whether [`Drain::stop`] was called.
    pub fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// How long calls under way may go on.
    pub fn limit(&self) -> Duration {
        self.limit
    }

    /// Runs a connection or link as a task that [`Drain::finished`] waits for.
    pub fn spawn<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.tasks.spawn(task);
    }

    /// Waits until everything has ended after [`Drain::stop`]. Every task ends within the limit by itself.
    pub async fn finished(&self) {
        self.tasks.wait().await;
    }
}
