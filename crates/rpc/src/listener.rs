//! Where connections arrive: accept, TLS handshake, and by protocol to the services or to the children.
//!
//! Handshakes run beside each other, so a slow one holds up nobody; how many run and how long each may take is bounded,
//! and so is the number of connections. Every refusal is logged with a reason for an operator.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use exchange::feed::Children;
use identity::tls::{Alpn, Peer};
use identity::{Refusal, Role, peer_name};
use rustls::ServerConfig;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::children;
use crate::connection::{self, Stream};
use crate::neighbours::Neighbours;
use crate::net::{BoxIo, Listen};
use crate::refusals::Refusals;
use crate::server::Services;
use crate::words::words;

/// Handshakes at one time; more wait in the kernel's queue.
const MAX_HANDSHAKES: usize = 64;
/// How long a handshake may take.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// Authenticated connections at one time; more are refused.
const MAX_CONNECTIONS: usize = 4096;
/// How long to wait when the system gives no connection, for want of file handles for example.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Accepts connections for the services.
#[derive(Debug, Clone)]
pub struct Listener {
    tls: Arc<ServerConfig>,
    services: Services,
    neighbours: Neighbours,
    feeds: Option<Children>,
    refusals: Arc<Refusals>,
    handshakes: Arc<Semaphore>,
    connections: Arc<Semaphore>,
}

/// What came in over an authenticated connection.
struct Accepted {
    stream: Stream,
    alpn: Alpn,
    peer: Peer,
}

impl Listener {
    /// `tls` is the node's [`identity::server_config`] with both protocols.
    pub fn new(tls: Arc<ServerConfig>, services: Services, neighbours: Neighbours) -> Self {
        Self {
            tls,
            services,
            neighbours,
            feeds: None,
            refusals: Arc::default(),
            handshakes: Arc::new(Semaphore::new(MAX_HANDSHAKES)),
            connections: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
        }
    }

    /// Ships down feeds to the children that can be called.
    #[must_use]
    pub fn with_feeds(self, feeds: Children) -> Self {
        Self { feeds: Some(feeds), ..self }
    }

    /// Accepts until the services drain; connections go on for at most the drain's limit.
    pub async fn run(self, mut listen: impl Listen) {
        let drain = self.services.drain().clone();
        loop {
            let accept = async {
                let permit = self.handshakes.clone().acquire_owned().await;
                (permit, listen.accept().await)
            };
            let (permit, accepted) = tokio::select! {
                biased;
                () = drain.stopping() => return,
                next = accept => next,
            };
            match (permit, accepted) {
                (Ok(permit), Ok((io, from))) => {
                    let listener = self.clone();
                    drain.spawn(async move { listener.take(io, from, permit).await });
                }
                // The caller went away while it waited in the kernel's queue: nothing is wrong here.
                (_, Err(error))
                    if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => {}
                (_, Err(error)) => {
                    tracing::warn!(%error, "no connection can be accepted; trying again");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
                // Nobody closes the semaphore.
                (Err(_), _) => return,
            }
        }
    }

    async fn take(self, io: BoxIo, from: SocketAddr, handshake: OwnedSemaphorePermit) {
        let accepted = tokio::select! {
            biased;
            () = self.services.drain().stopping() => return,
            accepted = self.handshake(io) => accepted,
        };
        drop(handshake);
        let accepted = match accepted {
            Ok(accepted) => accepted,
            Err(reason) => return self.refusals.log(from.ip(), reason),
        };
        let Ok(_place) = self.connections.clone().try_acquire_owned() else {
            return self.refusals.log(
                from.ip(),
                format!("{MAX_CONNECTIONS} connections are open: is a client leaking them?"),
            );
        };
        self.serve(accepted, from).await;
    }

    async fn handshake(&self, io: BoxIo) -> Result<Accepted, String> {
        let stream = tokio::time::timeout(HANDSHAKE_LIMIT, TlsAcceptor::from(self.tls.clone()).accept(io))
            .await
            .map_err(|_elapsed| {
                format!("the TLS handshake took longer than {} s", HANDSHAKE_LIMIT.as_secs())
            })?
            .map_err(|error| words(&error))?;
        let said = |refusal: Refusal| refusal.to_string();
        let alpn = Alpn::of(stream.get_ref().1).map_err(said)?;
        let peer = peer_name(stream.get_ref().1).map_err(said)?;
        Ok(Accepted { stream: stream.into(), alpn, peer })
    }

    async fn serve(&self, accepted: Accepted, from: SocketAddr) {
        let Accepted { stream, alpn, peer } = accepted;
        match alpn {
            Alpn::H2 => {
                if peer.name.role() == Role::Node && !self.is_neighbour(&peer) {
                    let reason =
                        format!("{} is neither parent nor child of {}", peer.path, self.neighbours.own());
                    return self.refusals.log(from.ip(), reason);
                }
                if let Err(error) = self.services.serve(stream, peer, CancellationToken::new()).await {
                    tracing::debug!(%from, reason = words(&error), "connection ended");
                }
            }
            Alpn::Reverse => {
                let Some(path) = children::child(self.neighbours.own(), &peer) else {
                    let own = self.neighbours.own();
                    let reason = format!(
                        "{:?} is not a node directly under {own}: only such may be called here",
                        peer.name
                    );
                    return self.refusals.log(from.ip(), reason);
                };
                let life = connection::life(&peer, self.services.clock());
                if let Err(error) =
                    children::hold(&self.neighbours, self.feeds.as_ref(), path, stream, &self.services, life)
                        .await
                {
                    self.refusals.log(from.ip(), error.to_string());
                }
            }
        }
    }

    fn is_neighbour(&self, peer: &Peer) -> bool {
        let own = self.neighbours.own();
        own.is_parent_of(&peer.path) || peer.path.is_parent_of(own) || *own == peer.path
    }
}
