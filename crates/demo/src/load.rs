//! Simulated hospitals: each has its own certificate and connection, registers its patients and submits their documents.
//!
//! What a node acknowledged is kept in a [`Ledger`]; a call that failed for a passing reason is made again until it is
//! acknowledged, since registering and submitting are idempotent.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cli::client::{CliError, Client};
use model::NodePath;
use model::body::{DocumentEntry, Registration};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::tree::{LocalTree, TreeError};

/// Calls in progress at once, over all hospitals. Calls that wait to be made again are not counted: in the demo they are
/// at most the registrations between a county's death and its return.
const CALLERS: usize = 64;
/// How long a call is repeated before it counts as failed.
const PATIENCE: Duration = Duration::from_secs(120);

/// A patient of an institution.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PatientKey {
    pub institution_code: String,
    pub source_system: String,
    pub local_id: String,
}

impl PatientKey {
    pub fn of(code: &str, registration: &Registration) -> Self {
        Self {
            institution_code: code.to_owned(),
            source_system: registration.source_system.clone(),
            local_id: registration.local_id.clone(),
        }
    }
}

/// What was acknowledged.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    /// Version last acknowledged of each registration ("term.epoch.seq").
    pub registrations: BTreeMap<PatientKey, String>,
    /// Documents acknowledged: patient, document id → version.
    pub documents: BTreeMap<(PatientKey, String), String>,
    /// Registrations acknowledged in all, repeats included.
    pub acknowledged: u64,
    /// Calls that had to be made again.
    pub repeated_calls: u64,
    /// Calls given up, by machine-readable reason.
    pub refused: BTreeMap<String, u64>,
}

/// A registration that was just acknowledged.
#[derive(Debug, Clone)]
pub struct Acknowledged {
    pub patient: PatientKey,
    /// "term.epoch.seq"
    pub version: String,
    pub at: Instant,
}

/// Something for a hospital to send.
#[derive(Clone)]
pub enum Item {
    Patient(Box<Registration>),
    Document(Box<DocumentEntry>, Bytes),
}

impl std::fmt::Debug for Item {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if matches!(self, Self::Patient(_)) { "Patient(\"...\")" } else { "Document(\"...\")" })
    }
}

/// The hospitals of a tree and what they have had acknowledged.
#[derive(Debug)]
pub struct Hospitals {
    clients: HashMap<(NodePath, String), Client>,
    ledger: Arc<Mutex<Ledger>>,
    callers: Arc<Semaphore>,
    calls: JoinSet<()>,
    sample: Option<mpsc::Sender<Acknowledged>>,
}

impl Default for Hospitals {
    fn default() -> Self {
        Self {
            clients: HashMap::new(),
            ledger: Arc::default(),
            callers: Arc::new(Semaphore::new(CALLERS)),
            calls: JoinSet::new(),
            sample: None,
        }
    }
}

impl Hospitals {
    /// The connection of a hospital to its node; made when first asked for.
    pub async fn client(
        &mut self,
        tree: &LocalTree,
        node: &NodePath,
        code: &str,
    ) -> Result<Client, TreeError> {
        let key = (node.clone(), code.to_owned());
        if let Some(client) = self.clients.get(&key) {
            return Ok(client.clone());
        }
        let credentials = tree.institution(node, code)?;
        let client = tree.connect(node, &credentials).await?;
        self.clients.insert(key, client.clone());
        Ok(client)
    }

    /// The codes of the institutions at each node.
    pub fn by_node(&self) -> BTreeMap<NodePath, BTreeSet<String>> {
        let mut nodes = BTreeMap::<NodePath, BTreeSet<String>>::new();
        for (path, code) in self.clients.keys() {
            nodes.entry(path.clone()).or_default().insert(code.clone());
        }
        nodes
    }

    /// Whether this hospital has connected before.
    pub fn has_client(&self, node: &NodePath, code: &str) -> bool {
        self.clients.contains_key(&(node.clone(), code.to_owned()))
    }

    /// Tells of registrations as they are acknowledged: of as many as the receiver takes, the others are not told.
    pub fn sample(&mut self, to: mpsc::Sender<Acknowledged>) {
        self.sample = Some(to);
    }

    /// Sends an item; waits while as many calls as allowed are in progress.
    pub async fn send(&mut self, client: Client, code: String, item: Item) {
        self.send_in_order(client, code, item, Vec::new()).await;
    }

    /// Sends an item and, once it is acknowledged, those that need it.
    pub async fn send_in_order(&mut self, client: Client, code: String, first: Item, then: Vec<Item>) {
        // Never closed: the semaphore lives as long as the hospitals.
        let Ok(mut place) = self.callers.clone().acquire_owned().await else { return };
        let (callers, ledger, sample) = (self.callers.clone(), self.ledger.clone(), self.sample.clone());
        while self.calls.try_join_next().is_some() {}
        self.calls.spawn(async move {
            for item in std::iter::once(first).chain(then) {
                let delivery = Delivery { client: &client, code: &code, ledger: &ledger, sample: &sample };
                let Some(kept) = delivery.make(&item, &callers, place).await else { return };
                place = kept;
            }
        });
    }

    /// Waits until every call has ended.
    pub async fn settle(&mut self) {
        while self.calls.join_next().await.is_some() {}
    }

    /// What has been acknowledged so far.
    pub fn ledger(&self) -> Ledger {
        self.ledger.lock().clone()
    }

    /// How many registrations have been acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.ledger.lock().acknowledged
    }
}

/// One hospital's way to its node, and where what was acknowledged goes.
struct Delivery<'a> {
    client: &'a Client,
    code: &'a str,
    ledger: &'a Mutex<Ledger>,
    sample: &'a Option<mpsc::Sender<Acknowledged>>,
}

impl Delivery<'_> {
    /// Delivers an item however often it must be tried, and gives its place back; none if it was given up. It holds its place
    /// only while it calls: those who wait for a node that is down must not keep others from theirs.
    async fn make(
        &self,
        item: &Item,
        callers: &Arc<Semaphore>,
        mut place: OwnedSemaphorePermit,
    ) -> Option<OwnedSemaphorePermit> {
        let give_up = Instant::now() + PATIENCE;
        let mut wait = Duration::from_millis(50);
        loop {
            let error = match self.attempt(item).await {
                Ok(()) => return Some(place),
                Err(error) => error,
            };
            if !passing(&error) || Instant::now() > give_up {
                let reason = error.reason().unwrap_or("UNREACHABLE").to_owned();
                *self.ledger.lock().refused.entry(reason).or_default() += 1;
                return None;
            }
            self.ledger.lock().repeated_calls += 1;
            drop(place);
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(Duration::from_secs(2));
            place = callers.clone().acquire_owned().await.ok()?;
        }
    }

    async fn attempt(&self, item: &Item) -> Result<(), CliError> {
        match item {
            Item::Patient(registration) => {
                let reply = self.client.register((**registration).clone()).await?;
                let patient = PatientKey::of(self.code, registration);
                if let Some(sample) = self.sample {
                    let (patient, version) = (patient.clone(), reply.version.clone());
                    // A full queue: this one is not measured.
                    let _ = sample.try_send(Acknowledged { patient, version, at: Instant::now() });
                }
                let mut ledger = self.ledger.lock();
                ledger.acknowledged += 1;
                newest(ledger.registrations.entry(patient).or_default(), reply.version);
            }
            Item::Document(entry, content) => {
                let reply = self.client.submit_bytes((**entry).clone(), content.clone()).await?;
                let patient = PatientKey {
                    institution_code: self.code.to_owned(),
                    source_system: entry.source_system.clone(),
                    local_id: entry.local_id.clone(),
                };
                let mut ledger = self.ledger.lock();
                newest(
                    ledger.documents.entry((patient, entry.document_id.clone())).or_default(),
                    reply.version,
                );
            }
        }
        Ok(())
    }
}

/// Whether the same call may succeed later.
fn passing(error: &CliError) -> bool {
    matches!(error.exit(), cli::Exit::Unavailable | cli::Exit::Exhausted | cli::Exit::Unexpected)
}

/// Keeps the higher of two versions: answers of calls made at the same time come in any order.
fn newest(held: &mut String, version: String) {
    let parse = |text: &str| text.parse::<model::Version>().ok();
    if parse(held) < parse(&version) {
        *held = version;
    }
}
