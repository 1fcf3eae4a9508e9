//! The way up. A node dials its parent twice and for ever: once to call it and ship its feed, once with
//! `tiermesh-reverse/1` to be called.
//!
//! ```text
//! child ── h2 ────────────────▶ parent   child calls: queries up, FeedService.Ship
//! child ── tiermesh-reverse/1 ─▶ parent   parent calls: queries down; the child is the HTTP/2 server
//! ```

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use exchange::feed::{Links, Sender};
use identity::peer_name;
use model::{Clock, Entropy, NodePath};
use rustls::ClientConfig;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::client;
use crate::connection::{Channel, Stream};
use crate::neighbours::Neighbours;
use crate::net::Dial;
use crate::server::Services;
use crate::words::words;

/// How long a connection for being called may wait for the first call, which the parent makes at once.
const UNUSED: Duration = Duration::from_secs(30);

/// Where the parent is and how it is known.
#[derive(Debug, Clone)]
pub struct ParentConfig {
    /// Host or IP address with port.
    pub address: String,
    /// For calling it: [`identity::client_config`] that expects `<parent's path>/node`, with `h2`.
    pub tls: Arc<ClientConfig>,
    /// For being called: the same with `tiermesh-reverse/1`.
    pub reverse_tls: Arc<ClientConfig>,
}

/// The state of one of the two connections, for status and logs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WayState {
    /// This node's clock when the connection was made; none while there is none.
    pub connected_since_ms: Option<u64>,
    /// Connections made since the start.
    pub connections: u64,
    /// Why the last attempt or connection ended, in words for an operator; empty if none has.
    pub last_error: String,
}

/// The way up of a node that has a parent.
#[derive(Debug)]
pub struct Parent {
    config: ParentConfig,
    path: NodePath,
    dial: Arc<dyn Dial>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    neighbours: Neighbours,
    links: Option<Links>,
    up: watch::Sender<WayState>,
    reverse: watch::Sender<WayState>,
}

/// Watches the two connections.
#[derive(Debug, Clone)]
pub struct ParentStatus {
    /// By which this node calls the parent.
    pub up: watch::Receiver<WayState>,
    /// By which the parent calls this node.
    pub reverse: watch::Receiver<WayState>,
}

impl Parent {
    /// None for a root, which has no parent. Nothing is dialled before [`Parent::start`].
    pub fn new(
        config: ParentConfig,
        dial: Arc<dyn Dial>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        neighbours: Neighbours,
    ) -> Option<Self> {
        let path = neighbours.own().parent()?;
        let (up, reverse) = (watch::Sender::default(), watch::Sender::default());
        Some(Self { config, path, dial, clock, entropy, neighbours, links: None, up, reverse })
    }

    /// Notes in the state of the links why the parent cannot be reached.
    #[must_use]
    pub fn with_links(self, links: Links) -> Self {
        Self { links: Some(links), ..self }
    }

    /// Starts both connections; they are made again for ever, until the services drain.
    pub fn start(self, sender: Option<Sender>, services: Services) -> ParentStatus {
        let status = ParentStatus { up: self.up.subscribe(), reverse: self.reverse.subscribe() };
        let (parent, drain) = (Arc::new(self), services.drain().clone());
        let (up, served) = (parent.clone(), services.clone());
        drain.spawn(async move { up.keep_up(sender, &served).await });
        drain.spawn(async move { parent.keep_reverse(&services).await });
        status
    }

    async fn keep_up(&self, sender: Option<Sender>, services: &Services) {
        let mut backoff = Backoff::default();
        loop {
            let connected = tokio::select! {
                biased;
                () = services.drain().stopping() => return,
                connected = self.connect(services) => connected,
            };
            let reason = match connected {
                Ok(channel) => {
                    let since = self.made(&self.up);
                    self.neighbours.connected(&self.path, channel.clone());
                    let reason = self.use_channel(&channel, sender.as_ref(), services).await;
                    self.neighbours.lost(&self.path, &channel);
                    backoff.ended(since.elapsed());
                    channel.finish(services.drain().limit()).await;
                    reason
                }
                Err(error) => {
                    let reason = error.to_string();
                    self.note(&reason);
                    reason
                }
            };
            if !self.pause(&self.up, reason, &mut backoff, services).await {
                return;
            }
        }
    }

    async fn connect(&self, services: &Services) -> Result<Channel, client::ConnectError> {
        let ParentConfig { address, tls, .. } = &self.config;
        client::connect(&*self.dial, address, tls.clone(), services.keep_alive(), &*self.clock).await
    }

    /// Ships the feed, again and again, while the connection stands; says why it ended.
    async fn use_channel(&self, channel: &Channel, sender: Option<&Sender>, services: &Services) -> String {
        let ship = async {
            let Some(sender) = sender else { return std::future::pending().await };
            let mut backoff = Backoff::default();
            loop {
                let started = Instant::now();
                match crate::feed::ship(channel, sender).await {
                    // It has begun to write and greets again, once in a start.
                    Ok(()) => continue,
                    Err(error) => {
                        tracing::debug!(parent = %self.path, %error, "the feed is started again after a pause");
                    }
                }
                backoff.ended(started.elapsed());
                // A node that waits for its records writes again as soon as they are back.
                tokio::select! {
                    biased;
                    () = sender.restored() => {}
                    () = tokio::time::sleep(self.wait(&mut backoff)) => {}
                }
            }
        };
        tokio::select! {
            biased;
            () = services.drain().stopping() => String::new(),
            reason = channel.ended() => reason.to_owned(),
            () = ship => String::new(),
        }
    }

    async fn keep_reverse(&self, services: &Services) {
        let mut backoff = Backoff::default();
        loop {
            let ParentConfig { address, reverse_tls, .. } = &self.config;
            let connected = tokio::select! {
                biased;
                () = services.drain().stopping() => return,
                connected = client::connect_tls(&*self.dial, address, reverse_tls.clone()) => connected,
            };
            let reason = match connected {
                Ok(stream) => self.serve(stream, services, &mut backoff).await,
                Err(error) => error.to_string(),
            };
            if !self.pause(&self.reverse, reason, &mut backoff, services).await {
                return;
            }
        }
    }

    /// Serves the parent over a connection that we dialled, until it ends; says why. It counts as made at the parent's first
    /// call: before it, the parent may still refuse us.
    async fn serve(&self, stream: Stream, services: &Services, backoff: &mut Backoff) -> String {
        let peer = match peer_name(stream.get_ref().1) {
            Ok(peer) => peer,
            Err(refusal) => return refusal.to_string(),
        };
        let used = CancellationToken::new();
        let mut serving = pin!(services.serve(stream, peer, used.clone()));
        let ended = tokio::select! {
            biased;
            ended = serving.as_mut() => ended,
            // Before the other end's first bytes nothing is there that would notice that it is gone.
            () = tokio::time::sleep(UNUSED) => return "the parent did not call over it".to_owned(),
            () = used.cancelled() => {
                let since = self.made(&self.reverse);
                let ended = serving.await;
                backoff.ended(since.elapsed());
                ended
            }
        };
        match ended {
            Ok(()) => "closed by the other end".to_owned(),
            Err(error) => words(&error),
        }
    }

    /// Shows in the link's state why there is no feed: the sender only knows of connections that were made.
    fn note(&self, reason: &str) {
        if let Some(links) = &self.links {
            links.failed(&self.path, "NO_CONNECTION", reason, self.clock.now_ms());
        }
    }

    fn made(&self, state: &watch::Sender<WayState>) -> Instant {
        let now_ms = self.clock.now_ms();
        tracing::info!(parent = %self.path, "connected with the parent");
        state.send_modify(|state| {
            state.connected_since_ms = Some(now_ms);
            state.connections += 1;
        });
        Instant::now()
    }

    /// Shows why there is no connection and waits before the next attempt; false when the node stops.
    async fn pause(
        &self,
        state: &watch::Sender<WayState>,
        reason: String,
        backoff: &mut Backoff,
        services: &Services,
    ) -> bool {
        if services.drain().is_stopping() {
            return false;
        }
        if state.borrow().last_error != reason {
            tracing::warn!(parent = %self.path, reason, "no connection with the parent; trying again");
        }
        state.send_modify(|state| {
            state.connected_since_ms = None;
            state.last_error = reason;
        });
        tokio::select! {
            biased;
            () = services.drain().stopping() => false,
            () = tokio::time::sleep(self.wait(backoff)) => true,
        }
    }

    fn wait(&self, backoff: &mut Backoff) -> Duration {
        let mut random = [0; 8];
        self.entropy.fill(&mut random);
        backoff.next_wait(u64::from_be_bytes(random))
    }
}
