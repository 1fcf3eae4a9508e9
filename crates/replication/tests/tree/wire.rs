//! A link in memory: frames in bounded channels, and a connection that can break after any number of them.

use std::sync::Arc;

use futures_util::{Stream, StreamExt, future, stream};
use model::NodePath;
use model::feed::{FromReceiver, FromSender};
use parking_lot::Mutex;
use replication::{LinkError, Receiver, Sender};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

/// Where a parent can be reached: nowhere while it is down.
pub type Door = Arc<Mutex<Option<Open>>>;

/// A parent that can be reached. Closing ends its connections, as the end of its process does.
#[derive(Debug)]
pub struct Open {
    pub receiver: Receiver,
    connections: Vec<AbortHandle>,
}

impl Open {
    pub fn new(receiver: Receiver) -> Self {
        Self { receiver, connections: Vec::new() }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.connections.iter().for_each(AbortHandle::abort);
    }
}

/// How a connection breaks: after so many frames each way.
#[derive(Debug, Clone, Copy)]
pub struct Breaks {
    pub up_after: usize,
    pub down_after: usize,
}

pub const NEVER: Breaks = Breaks { up_after: usize::MAX, down_after: usize::MAX };

fn broken() -> LinkError {
    LinkError::Broken { cause: "the test broke it".into() }
}

fn frames<T>(frames: mpsc::Receiver<T>) -> impl Stream<Item = T> {
    stream::unfold(frames, async |mut frames| frames.recv().await.map(|frame| (frame, frames)))
}

/// The first `count` frames, then an error.
fn breaking<T: Send + 'static>(
    source: impl Stream<Item = Result<T, LinkError>> + Send + 'static,
    count: usize,
) -> impl Stream<Item = Result<T, LinkError>> + Send {
    source.take(count).chain(stream::once(future::ready(Err(broken()))))
}

/// One connection of a child to whoever is behind the door; how it ended for the child.
pub async fn connect(sender: &Sender, peer: NodePath, door: &Door, breaks: Breaks) -> LinkError {
    let Some(receiver) = door.lock().as_ref().map(|open| open.receiver.clone()) else { return broken() };
    let (up, up_frames) = mpsc::channel::<FromSender>(2);
    let (down, down_frames) = mpsc::channel::<FromReceiver>(2);
    let (end, ended) = oneshot::channel();
    let connection = tokio::spawn(async move {
        let incoming = breaking(frames(up_frames).map(Ok), breaks.up_after);
        let outcome = receiver.serve(peer, incoming, down).await;
        // The child may be gone already.
        let _ = end.send(outcome);
    });
    if let Some(open) = door.lock().as_mut() {
        open.connections.push(connection.abort_handle());
    }
    let refusal = stream::once(ended).filter_map(|outcome| {
        future::ready(match outcome {
            Ok(Err(LinkError::Refused(refusal))) => Some(Err(LinkError::RefusedByPeer {
                reason: refusal.reason().into(),
                message: refusal.to_string(),
            })),
            Ok(Err(error)) => Some(Err(LinkError::Broken { cause: error.to_string() })),
            _ => None,
        })
    });
    let incoming = breaking(frames(down_frames).map(Ok).chain(refusal), breaks.down_after);
    sender.ship(incoming, up).await.err().unwrap_or_else(broken)
}
