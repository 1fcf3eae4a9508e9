//! From a configuration to the parts of a node, in the order of the crates.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use exchange::{Exchange, Parts, Persons, Terms};
use identity::{Alpn, Identity, Name, Seams};
use model::{Clock, Entropy};
use replication::{Children, Directory, Links, NodeIdentity, Receiver, ReceiverSettings, Sender};
use repository::{ContentLimits, Repository};
use rpc::net::{Dial, Tcp};
use rpc::{Drain, KeepAlive, Listener, Neighbours, Parent, ParentConfig, Services};
use store::{IndexChoice, Limits, MemoryIndex, OpenReport, Run, Store};

use crate::config::{Config, IndexKind};
use crate::keyring::CertifiedKeys;
use crate::local::{Local, LocalError};
use crate::seams::{SystemClock, SystemEntropy, boot_id};

/// Name and version in greetings and status.
pub const SOFTWARE: &str = concat!("tiermesh ", env!("CARGO_PKG_VERSION"));

/// How long calls may go on after the node was asked to stop.
const DRAIN: Duration = Duration::from_secs(10);

/// Why a node cannot start. One line, with what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Identity(#[from] identity::IdentityError),
    #[error(transparent)]
    Local(#[from] LocalError),
    #[error("{place}: {source}; make it and give it to the user of the service")]
    Folder { place: PathBuf, source: std::io::Error },
    #[error("the store in {place} cannot be opened: {source}")]
    Store { place: PathBuf, source: store::OpenError },
    #[error("the store cannot be read: {0}")]
    Read(#[from] store::ReadError),
    #[error("document content in {place}: {source}")]
    Content { place: PathBuf, source: repository::RepositoryError },
    #[error(
        "the certificate makes this node the root {0}, but the configuration names a parent: remove [parent]"
    )]
    RootWithParent(model::NodePath),
    #[error(
        "the certificate puts this node at {0}, but the configuration names no parent: add [parent] with its address"
    )]
    NoParent(model::NodePath),
    #[error("cannot listen on {address}: {source}; {}", advice(source))]
    Listen { address: std::net::SocketAddr, source: std::io::Error },
    #[error("the node cannot begin to write: {0}")]
    Begin(#[from] exchange::ExchangeError),
    #[error("the store did not close: {0}; the next start has more to do, nothing is lost")]
    Close(#[from] store::CommitError),
    #[error(
        "the index in {0} failed again and again, though it was made anew each time: look at the disk (smartctl, dmesg) and at the memory"
    )]
    IndexFails(PathBuf),
    #[error("services cannot be built: {0}")]
    Services(String),
}

fn advice(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            "another program (or another copy of this node) has the port: choose another listen.address or stop it"
        }
        std::io::ErrorKind::PermissionDenied => "ports under 1024 need a privilege: choose a higher one",
        _ => "check listen.address",
    }
}

/// A node that is built and not yet running.
#[derive(Debug)]
pub struct Built {
    pub identity: Identity,
    /// Where the identity is; what must outlive the data is noted there.
    pub identity_dir: PathBuf,
    pub exchange: Exchange,
    pub store: Store,
    pub report: OpenReport,
    pub services: Services,
    pub listener: Listener,
    pub parent: Option<(Parent, Sender)>,
    pub drain: Drain,
}

/// Builds a node of this configuration with the real seams.
pub fn build(config: &Config) -> Result<Built, StartError> {
    build_with(config, Arc::new(SystemClock), Arc::new(SystemEntropy), Arc::new(Tcp), KeepAlive::default())
}

/// The same with seams of the caller's.
pub fn build_with(
    config: &Config,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    dial: Arc<dyn Dial>,
    keep_alive: KeepAlive,
) -> Result<Built, StartError> {
    let identity = Identity::load(&config.identity_dir)?;
    check_parent(config, &identity)?;
    let local = Local::load_or_create(&config.identity_dir, &identity, &*entropy)?;
    let (store, report) = open_store(config, &identity, &local, clock.clone())?;
    let repository = open_repository(config)?;
    let keyring = Arc::new(CertifiedKeys::new(identity.root().clone()));
    let directory = Directory::load(&store, &*keyring)?;
    let links = Links::new();
    let own = NodeIdentity {
        path: identity.path.clone(),
        origin: local.origin,
        trust_domain: identity.trust_domain.clone(),
        software: SOFTWARE.into(),
        protocols: config.protocols.clone(),
    };
    let bulk = config.line_bytes_per_s.map(bulk_share);
    let receiver = Receiver::new(
        store.clone(),
        directory.clone(),
        keyring.clone(),
        links.clone(),
        clock.clone(),
        own.clone(),
    )
    .with_settings(ReceiverSettings { line_bytes_per_s: bulk, ..ReceiverSettings::default() });
    let neighbours = Neighbours::new(identity.path.clone(), clock.clone());
    let parent = parent_config(config, &identity, &Seams::new(clock.clone()))?;
    let up = Sender::new(store.clone(), directory.clone(), keyring, links.clone(), clock.clone(), own);
    let interest = Arc::new(Persons::new(store.clone(), local.terms.clone(), directory.clone()));
    let children = Children::new(&up, interest, receiver.restores());
    let sender = parent.as_ref().map(|_| up.with_line(bulk));
    let exchange = Exchange::new(Parts {
        node: node_of(config, &identity, &local),
        store: store.clone(),
        repository,
        directory: directory.clone(),
        links: links.clone(),
        receiver,
        confirmations: sender.as_ref().map(Sender::confirmations),
        acknowledge: config.acknowledge,
        peers: Arc::new(neighbours.clone()),
        terms: local.terms.clone(),
        clock: clock.clone(),
        entropy: entropy.clone(),
        opened: opened(&report),
        open_ms: report.total.as_millis() as u64,
        certificate_not_after_ms: identity.not_after_ms(),
    });
    let drain = Drain::new(DRAIN);
    let services = Services::new(&exchange, clock.clone(), keep_alive, &drain)
        .map_err(|error| StartError::Services(error.to_string()))?;
    let seams = Seams::new(clock.clone());
    let tls = identity::server_config(&identity, &seams, &[Alpn::H2, Alpn::Reverse])?;
    let listener = Listener::new(tls, services.clone(), neighbours.clone()).with_feeds(children);
    let parent = parent.zip(sender).and_then(|(parent, sender)| {
        let parent = Parent::new(parent, dial, clock, entropy, neighbours)?;
        Some((parent.with_links(links), sender))
    });
    let identity_dir = config.identity_dir.clone();
    Ok(Built { identity, identity_dir, exchange, store, report, services, listener, parent, drain })
}

/// A root has no parent, and every other node has one.
fn check_parent(config: &Config, identity: &Identity) -> Result<(), StartError> {
    match (identity.path.depth(), &config.parent) {
        (0, Some(_)) => Err(StartError::RootWithParent(identity.path.clone())),
        (1.., None) => Err(StartError::NoParent(identity.path.clone())),
        _ => Ok(()),
    }
}

/// What the node is, for its use cases.
fn node_of(config: &Config, identity: &Identity, local: &Local) -> exchange::Node {
    exchange::Node {
        path: identity.path.clone(),
        name: config.name.clone(),
        tier: config.tier.clone(),
        origin: local.origin,
        trust_domain: identity.trust_domain.clone(),
        software: SOFTWARE.into(),
    }
}

/// Where the parent is and how it is known; none at a root.
fn parent_config(
    config: &Config,
    identity: &Identity,
    seams: &Seams,
) -> Result<Option<ParentConfig>, StartError> {
    let (Some(address), Some(path)) = (&config.parent, identity.path.parent()) else { return Ok(None) };
    let expected = Name::Node(path);
    Ok(Some(ParentConfig {
        address: address.clone(),
        tls: identity::client_config(identity, seams, expected.clone(), Alpn::H2)?,
        reverse_tls: identity::client_config(identity, seams, expected, Alpn::Reverse)?,
    }))
}

fn open_store(
    config: &Config,
    identity: &Identity,
    local: &Local,
    clock: Arc<dyn Clock>,
) -> Result<(Store, OpenReport), StartError> {
    let place = config.data_dir.join("log");
    let folder = |source| StartError::Folder { place: config.data_dir.clone(), source };
    std::fs::create_dir_all(&config.data_dir).map_err(folder)?;
    let files = store::Files::open(&place).map_err(folder)?;
    let index = match config.index {
        IndexKind::Sled => {
            IndexChoice::Sled { path: config.data_dir.join("index"), cache_bytes: config.cache_bytes }
        }
        IndexKind::Memory => IndexChoice::Memory(MemoryIndex::default()),
    };
    let options = store::Options {
        storage: Arc::new(files),
        index,
        derivation: Arc::new(Terms::new(local.terms.clone())),
        clock,
        boot_id: boot_id(),
        node: local.origin,
        signing: identity.signing_key.clone(),
        run: Run::Threads,
        limits: Limits {
            segment_bytes: config.segment_bytes,
            overlay_bytes: config.overlay_bytes as usize,
            sync_delay_ms: config.sync_delay_ms,
            // With 0 nobody asks for it.
            reclaim_percent: config.reclaim_percent.max(1) as u8,
            ..Limits::default()
        },
    };
    Store::open(options).map_err(|source| StartError::Store { place, source })
}

fn open_repository(config: &Config) -> Result<Repository, StartError> {
    let place = config.data_dir.join("content");
    let limits = ContentLimits { max_bytes: config.max_content_bytes };
    Repository::open(&place, limits).map_err(|source| StartError::Content { place, source })
}

/// What the opening found, in words.
fn opened(report: &OpenReport) -> String {
    let mut said = Vec::new();
    if report.created {
        said.push("new, empty store".to_owned());
    }
    if report.power_loss {
        said.push(if report.verified {
            "after a power loss; index proven".into()
        } else {
            "after a power loss".to_owned()
        });
    }
    if let Some(why) = &report.rebuilt {
        said.push(format!("index rebuilt: {why}"));
    }
    if report.replayed > 0 {
        said.push(format!("{} commits replayed", report.replayed));
    }
    if let Some(cut) = &report.tail_cut {
        said.push(format!(
            "an unfinished write of {} bytes was cut off at {} offset {}",
            cut.bytes, cut.segment, cut.offset
        ));
    }
    if said.is_empty() { "clean".into() } else { said.join("; ") }
}

/// What replication may take of a line: the rest is for queries, for documents, and for what surrounds each batch on its way.
fn bulk_share(line_bytes_per_s: u64) -> u64 {
    line_bytes_per_s / 100 * 85
}
