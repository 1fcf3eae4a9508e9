//! One simulated node: the parts of a real one, on the simulated network, disk and clock.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use exchange::{Exchange, ExchangeError, Parts, Terms};
use identity::{Alpn, Name, Seams};
use model::Clock;
use node::keyring::CertifiedKeys;
use parking_lot::Mutex;
use replication::{Directory, Links, NodeIdentity, Receiver, ReceiverSettings, Sender, SenderSettings};
use repository::{ContentLimits, Repository};
use rpc::{Drain, KeepAlive, Listener, Neighbours, Parent, ParentConfig, Services};
use store::{IndexChoice, LastEpoch, Limits, MemoryIndex, Run, Store};

use super::disk::Disk;
use super::hospital::Hospital;
use super::mesh::{Member, trust_domain};
use super::seams::{PORT, SeededEntropy, SimulatedDial, SimulatedListener, SkewedClock};

const SOFTWARE: &str = "tiermesh simulated";

/// What of the nodes' behaviour follows from the seed.
#[derive(Debug, Clone)]
pub struct Settings {
    pub limits: Limits,
    pub sender: SenderSettings,
    pub receiver: ReceiverSettings,
    pub keep_alive: KeepAlive,
}

/// A node that is up, as the simulation sees it.
#[derive(Debug, Clone)]
pub struct Live {
    pub exchange: Exchange,
    pub store: Store,
    pub links: Links,
    pub directory: Directory,
}

/// The place of one node: what outlives its crashes.
#[derive(Debug)]
pub struct Seat {
    pub place: usize,
    pub member: &'static Member,
    pub disk: Disk,
    pub index: Mutex<MemoryIndex>,
    repository: Repository,
    pub clock: SkewedClock,
    /// Starts of the operating system: another one after a power loss.
    pub boots: AtomicU64,
    /// Starts of the node.
    starts: AtomicU64,
    pub live: Mutex<Option<Live>>,
    /// The last epoch, noted beside the disk.
    pub note: Mutex<Option<LastEpoch>>,
    /// The disk was lost or set back, or a copy of it has run.
    pub tampered: AtomicBool,
    pub hospitals: Vec<Hospital>,
    pub settings: Settings,
    seed: u64,
    /// When the hospitals stop.
    until_ms: u64,
}

/// Name of the host of the node at this place.
pub fn host(place: usize) -> String {
    format!("node{place}")
}

impl Seat {
    pub fn new(
        (place, member): (usize, &'static Member),
        clock: SkewedClock,
        hospitals: Vec<Hospital>,
        settings: Settings,
        (seed, until_ms): (u64, u64),
    ) -> Self {
        let seed = seed.wrapping_mul(31).wrapping_add(place as u64);
        Self {
            place,
            member,
            disk: Disk::new(seed),
            index: Mutex::default(),
            repository: Repository::in_memory(ContentLimits::default()),
            clock,
            boots: AtomicU64::new(1),
            starts: AtomicU64::new(0),
            live: Mutex::default(),
            note: Mutex::default(),
            tampered: AtomicBool::new(false),
            hospitals,
            settings,
            seed,
            until_ms,
        }
    }

    /// A second node with a copy of what this one has: disk, index and note, but none of its hospitals.
    pub fn copy(&self, seed: u64) -> Self {
        let settings = self.settings.clone();
        let copy = Self::new((self.place, self.member), self.clock.clone(), Vec::new(), settings, (seed, 0));
        copy.disk.replace(self.disk.copy());
        *copy.index.lock() = self.index.lock().copy();
        *copy.note.lock() = *self.note.lock();
        copy
    }

    /// What it says of itself to its neighbours.
    pub fn identity(&self) -> NodeIdentity {
        NodeIdentity {
            path: self.member.path.clone(),
            origin: self.member.origin,
            trust_domain: trust_domain(),
            software: SOFTWARE.into(),
            protocols: model::feed::PROTOCOLS.to_vec(),
        }
    }

    /// A store over what is on the node's disk; it may be down.
    pub fn on_disk(&self) -> Option<Store> {
        let live = self.live.lock().as_ref().map(|live| live.store.clone());
        let copy = || self.options(Arc::new(self.disk.copy()), MemoryIndex::default());
        live.or_else(|| Store::open(copy()).ok().map(|(store, _)| store))
    }

    /// With this storage and index: the node's own, or copies to rebuild from.
    pub fn options(&self, storage: Arc<dyn store::Storage>, index: MemoryIndex) -> store::Options {
        store::Options {
            storage,
            index: IndexChoice::Memory(index),
            derivation: Arc::new(Terms::new(self.member.terms.clone())),
            clock: Arc::new(self.clock.clone()),
            boot_id: format!("boot {}", self.boots.load(Ordering::Relaxed)),
            node: self.member.origin,
            signing: self.member.signing.clone(),
            run: Run::Inline,
            limits: self.settings.limits,
        }
    }

    /// Lives until the host crashes. An error is a defect: the node could not start.
    pub async fn live(self: Arc<Self>) -> Result<(), Box<dyn Error>> {
        match self.try_live().await {
            // The machine stopped, or its disk failed or was full, while the node started: it is started again.
            Err(_) if self.disk.explains_failed_start() => std::future::pending().await,
            ended => ended,
        }
    }

    async fn try_live(&self) -> Result<(), Box<dyn Error>> {
        let start = self.starts.fetch_add(1, Ordering::Relaxed) + 1;
        let (node, live) = self.build(start)?;
        *self.live.lock() = Some(live.clone());
        let Running { listener, services, parent, drain } = node;
        drain.spawn(listener.run(SimulatedListener::bind().await?));
        let known = live.store.last_epoch().map_or(0, |last| last.counter);
        let set_back = self.note.lock().is_some_and(|noted| noted.counter > known);
        let unknown = known == 0 || set_back || replication::is_restoring(&live.store);
        let waits = parent.is_some() && unknown;
        if !waits {
            self.begin(&live.exchange).await?;
        }
        let may_begin = parent.as_ref().map(|(_, sender)| sender.may_begin());
        if let Some((parent, sender)) = parent {
            parent.start(Some(sender), services);
        }
        if let (true, Some(mut may_begin)) = (waits, may_begin) {
            may_begin.wait_for(Option::is_some).await?;
            self.begin(&live.exchange).await?;
        }
        let ending = live.exchange.clone();
        drain.spawn(async move { ending.end_terms().await });
        drain.spawn(live.exchange.judge().clone().run());
        for hospital in &self.hospitals {
            let node = (live.exchange.clone(), live.directory.clone());
            drain.spawn(hospital.clone().work(node, start, self.until_ms));
        }
        std::future::pending().await
    }

    /// Opens the epoch of this start, as soon as the disk has room for it.
    async fn begin(&self, exchange: &Exchange) -> Result<(), ExchangeError> {
        loop {
            let noted = *self.note.lock();
            match exchange.begin(self.member.key_entry.clone(), noted).await {
                Ok(epoch) => {
                    *self.note.lock() = Some(epoch);
                    return Ok(());
                }
                Err(ExchangeError::Exhausted { .. }) => tokio::time::sleep(Duration::from_secs(1)).await,
                // The log failed: whoever is on duty restarts the node.
                Err(ExchangeError::Unavailable { .. }) => std::future::pending().await,
                Err(error) => return Err(error),
            }
        }
    }

    fn build(&self, start: u64) -> Result<(Running, Live), Box<dyn Error>> {
        let member = self.member;
        let clock: Arc<dyn Clock> = Arc::new(self.clock.clone());
        let entropy = Arc::new(SeededEntropy::new(self.seed ^ (start << 40)));
        let index = self.index.lock().clone();
        let (store, report) = Store::open(self.options(Arc::new(self.disk.clone()), index))?;
        let keyring = Arc::new(CertifiedKeys::new(member.identity.root().clone()));
        let directory = Directory::load(&store, &*keyring)?;
        let links = Links::new();
        let own = self.identity();
        let receiver = Receiver::new(
            store.clone(),
            directory.clone(),
            keyring.clone(),
            links.clone(),
            clock.clone(),
            own.clone(),
        )
        .with_settings(self.settings.receiver.clone());
        let neighbours = Neighbours::new(member.path.clone(), clock.clone());
        let config = self.parent_config(&Seams::new(clock.clone()))?;
        let up = Sender::new(store.clone(), directory.clone(), keyring, links.clone(), clock.clone(), own)
            .with_settings(self.settings.sender.clone());
        let interest =
            Arc::new(exchange::Persons::new(store.clone(), member.terms.clone(), directory.clone()));
        let children = exchange::feed::Children::new(&up, interest, receiver.restores());
        let sender = config.as_ref().map(|_| up);
        let exchange = Exchange::new(Parts {
            node: exchange::Node {
                path: member.path.clone(),
                // Another name at every start: the node's entry moves behind records that need it.
                name: format!("模拟 {start}"),
                tier: member.tier.into(),
                origin: member.origin,
                trust_domain: trust_domain(),
                software: SOFTWARE.into(),
            },
            store: store.clone(),
            repository: self.repository.clone(),
            directory: directory.clone(),
            links: links.clone(),
            receiver,
            confirmations: sender.as_ref().map(Sender::confirmations),
            acknowledge: exchange::Acknowledge::Local,
            peers: Arc::new(neighbours.clone()),
            terms: member.terms.clone(),
            clock: clock.clone(),
            entropy: entropy.clone(),
            opened: String::new(),
            open_ms: report.total.as_millis() as u64,
            certificate_not_after_ms: member.identity.not_after_ms(),
        });
        let drain = Drain::new(Duration::from_secs(1));
        let services = Services::new(&exchange, clock.clone(), self.settings.keep_alive, &drain)?;
        let seams = Seams::new(clock.clone());
        let tls = identity::server_config(&member.identity, &seams, &[Alpn::H2, Alpn::Reverse])?;
        let listener = Listener::new(tls, services.clone(), neighbours.clone()).with_feeds(children);
        let parent = config.zip(sender).and_then(|(config, sender)| {
            let parent = Parent::new(config, Arc::new(SimulatedDial), clock, entropy, neighbours)?;
            Some((parent.with_links(links.clone()), sender))
        });
        Ok((Running { listener, services, parent, drain }, Live { exchange, store, links, directory }))
    }

    fn parent_config(&self, seams: &Seams) -> Result<Option<ParentConfig>, identity::IdentityError> {
        let (Some(parent), Some(path)) = (self.member.parent, self.member.path.parent()) else {
            return Ok(None);
        };
        let (identity, expected) = (&self.member.identity, Name::Node(path));
        Ok(Some(ParentConfig {
            address: format!("{}:{PORT}", host(parent)),
            tls: identity::client_config(identity, seams, expected.clone(), Alpn::H2)?,
            reverse_tls: identity::client_config(identity, seams, expected, Alpn::Reverse)?,
        }))
    }
}

/// What runs of a node.
struct Running {
    listener: Listener,
    services: Services,
    parent: Option<(Parent, Sender)>,
    drain: Drain,
}
