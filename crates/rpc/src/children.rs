//! The parent's end of connections that children dialled for being called: ALPN `tiermesh-reverse/1`.
//!
//! The child is the HTTP/2 server of such a connection and the parent its client, so a county needs no inbound port.

use std::time::Duration;

use identity::{Name, Peer};
use model::NodePath;

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
    tokio::select! {
        biased;
        reason = channel.ended() => tracing::info!(child = %path, reason, "child can no longer be called"),
        () = services.drain().stopping() => {}
    }
    neighbours.lost(&path, &channel);
    channel.finish(services.drain().limit()).await;
    Ok(())
}
