//! The parent's end of connections that children dialled for being called: ALPN `tiermesh-reverse/1`.
//!
//! The child is the HTTP/2 server of such a connection and the parent its client, so a county needs no inbound port.

use std::time::Duration;

use exchange::feed::Children;
use identity::{Name, Peer};
use model::NodePath;
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::client::{ConnectError, first_call};
use crate::connection::{Channel, Stream};
use crate::neighbours::Neighbours;
use crate::server::Services;

/// The child behind a connection, if the peer is one.
pub(crate) fn child(own: &NodePath, peer: &Peer) -> Option<NodePath> {
    match &peer.name {
        Name::Node(path) if own.is_parent_of(path) => Some(path.clone()),
        _ => None,
    }
}

/// Keeps a child's connection in use until it ends, a newer one takes its place, or the node stops.
pub(crate) async fn hold(
    neighbours: &Neighbours,
    feeds: Option<&Children>,
    path: NodePath,
    stream: Stream,
    services: &Services,
    life: Duration,
) -> Result<(), ConnectError> {
    let address = path.to_string();
    let channel = Channel::open(stream, services.keep_alive(), life)
        .await
        .map_err(|source| ConnectError::Broken { address: address.clone(), source })?;
    // A connection that does not answer must not push out one that does.
    first_call(&channel, &address).await?;
    neighbours.connected(&path, channel.clone());
    tracing::info!(child = %path, "child can be called");
    let feeding = async {
        match feeds {
            Some(feeds) => feed(&channel, feeds, &path).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        reason = channel.ended() => tracing::info!(child = %path, reason, "child can no longer be called"),
        () = services.drain().stopping() => {}
        () = feeding => {}
    }
    neighbours.lost(&path, &channel);
    channel.finish(services.drain().limit()).await;
    Ok(())
}

/// Ships the child its down feed, again and again, and its own records when it has lost them, while the connection stands.
async fn feed(channel: &Channel, feeds: &Children, path: &NodePath) {
    let down = async {
        let sender = feeds.down(path);
        let mut backoff = Backoff::default();
        loop {
            let started = Instant::now();
            if let Err(error) = crate::feed::ship(channel, &sender).await {
                tracing::debug!(child = %path, %error, "the down feed is started again after a pause");
            }
            backoff.ended(started.elapsed());
            // Each child's connection is its own: nothing comes back to a restarted parent in one moment here.
            tokio::time::sleep(backoff.next_wait(u64::MAX / 2)).await;
        }
    };
    let restore = async {
        loop {
            feeds.restores().wanted(path).await;
            tracing::info!(child = %path, "the child has lost its records: sending them back");
            if let Err(error) = crate::feed::ship(channel, &feeds.restore(path)).await {
                tracing::warn!(child = %path, %error, "the restore broke off; it goes on when the child asks again");
            }
        }
    };
    tokio::select! {
        biased;
        () = down => {}
        () = restore => {}
    }
}
