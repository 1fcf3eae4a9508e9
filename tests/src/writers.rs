//! Hospitals that register, update and submit without pause, and remember what was acknowledged.
//!
//! Every patient has one writer, so the last acknowledged write of a patient is the one that must be held at the end. A call
//! whose outcome is unknown is made again with the same content until it is answered.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use cli::client::Client;
use model::body::{DocumentEntry, Registration};
use model::{NodePath, Version};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// How long one call is repeated before the test gives up.
const PATIENCE: Duration = Duration::from_secs(120);

/// One acknowledged write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledged {
    pub version: Version,
    /// What tells this write's content from every other's.
    pub marker: String,
}

/// A patient or document: node, institution, local id or document id.
pub type Key = (NodePath, String, String);

/// What was acknowledged so far.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    pub patients: BTreeMap<Key, Acknowledged>,
    /// With the local id of the patient.
    pub documents: BTreeMap<Key, (String, Acknowledged)>,
}

impl Ledger {
    /// What `earlier` does not have in this version, and a random share of the rest.
    #[must_use]
    pub fn since(&self, earlier: &Self, share: f64, rng: &mut impl Rng) -> Self {
        let mut newer = self.clone();
        newer.patients.retain(|key, held| earlier.patients.get(key) != Some(held) || rng.random_bool(share));
        newer
            .documents
            .retain(|key, held| earlier.documents.get(key) != Some(held) || rng.random_bool(share));
        newer
    }
}

/// Hospitals at work.
#[derive(Debug)]
pub struct Writers {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

#[derive(Debug, Default)]
struct Shared {
    ledger: Mutex<Ledger>,
    acknowledged: AtomicU64,
    moved: Notify,
    stop: AtomicBool,
}

/// A hospital's writer: its connection and who it is.
struct Writer {
    client: Client,
    node: NodePath,
    code: String,
    /// Tells its patients from those of the hospital's other writers.
    number: usize,
    rng: StdRng,
}

impl Writers {
    /// Starts `each` writers for every hospital: node, institution code, connection.
    pub fn start(hospitals: Vec<(NodePath, String, Client)>, each: usize, seed: u64) -> Self {
        let shared = Arc::new(Shared::default());
        let mut tasks = JoinSet::new();
        for (place, (node, code, client)) in hospitals.into_iter().enumerate() {
            for number in 0..each {
                let rng = StdRng::seed_from_u64(seed ^ (place * 1000 + number) as u64);
                let writer =
                    Writer { client: client.clone(), node: node.clone(), code: code.clone(), number, rng };
                let shared = shared.clone();
                tasks.spawn(async move { writer.write(&shared).await });
            }
        }
        Self { shared, tasks }
    }

    /// Waits until this many more writes have been acknowledged.
    pub async fn advance(&self, writes: u64) {
        let target = self.acknowledged() + writes;
        while self.acknowledged() < target {
            let moved = self.shared.moved.notified();
            if self.acknowledged() < target {
                tokio::time::timeout(PATIENCE, moved).await.expect("writes go on");
            }
        }
    }

    /// Writes acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.shared.acknowledged.load(Ordering::SeqCst)
    }

    /// What is acknowledged now.
    pub fn ledger(&self) -> Ledger {
        self.shared.ledger.lock().clone()
    }

    /// Lets every writer finish its last call and answers what was acknowledged.
    pub async fn finish(mut self) -> Ledger {
        self.shared.stop.store(true, Ordering::SeqCst);
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("a writer's calls succeed in the end");
        }
        self.shared.ledger.lock().clone()
    }
}

impl Writer {
    async fn write(mut self, shared: &Shared) {
        let mut patients = 0u64;
        let mut step = 0u64;
        while !shared.stop.load(Ordering::SeqCst) {
            step += 1;
            let marker = format!("{}-{step}", self.number);
            let choice = self.rng.random_range(0..10);
            if patients == 0 || choice < 5 {
                patients += 1;
                self.register(patients, &marker, shared).await;
            } else if choice < 8 {
                let patient = self.rng.random_range(1..=patients);
                self.register(patient, &marker, shared).await;
            } else {
                let patient = self.rng.random_range(1..=patients);
                self.submit(patient, &marker, shared).await;
            }
            shared.acknowledged.fetch_add(1, Ordering::SeqCst);
            shared.moved.notify_waiters();
        }
    }

    async fn register(&self, patient: u64, marker: &str, shared: &Shared) {
        let local_id = format!("W{}-{patient}", self.number);
        let registration = Registration {
            local_id: local_id.clone(),
            name: crate::name_of(&format!("{}{local_id}", self.code)),
            sex: "1".into(),
            contacts: vec![model::body::Contact { name: marker.into(), ..Default::default() }],
            ..Default::default()
        };
        let version = repeat(|| {
            let (client, registration) = (self.client.clone(), registration.clone());
            async move { client.register(registration).await.map(|reply| reply.version) }
        })
        .await;
        let key = (self.node.clone(), self.code.clone(), local_id);
        shared.ledger.lock().patients.insert(key, Acknowledged { version, marker: marker.into() });
    }

    async fn submit(&self, patient: u64, marker: &str, shared: &Shared) {
        let local_id = format!("W{}-{patient}", self.number);
        let document_id = format!("D{marker}");
        let entry = DocumentEntry {
            document_id: document_id.clone(),
            local_id: local_id.clone(),
            type_code: "C0002".into(),
            title: "门诊病历".into(),
            created_ms: 1_780_000_000_000,
            confidentiality: "N".into(),
            media_type: "text/plain".into(),
            ..Default::default()
        };
        let content = content(marker);
        let version = repeat(|| {
            let (client, entry, content) = (self.client.clone(), entry.clone(), content.clone());
            async move { client.submit_bytes(entry, content).await.map(|reply| reply.version) }
        })
        .await;
        let key = (self.node.clone(), self.code.clone(), document_id);
        shared
            .ledger
            .lock()
            .documents
            .insert(key, (local_id, Acknowledged { version, marker: marker.into() }));
    }
}

/// The content of the document with this marker.
pub fn content(marker: &str) -> Bytes {
    Bytes::from(format!("内容 {marker} ").repeat(300))
}

async fn repeat<F, Fut>(call: F) -> Version
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<String, cli::CliError>>,
{
    let end = Instant::now() + PATIENCE;
    let mut wait = Duration::from_millis(10);
    loop {
        match call().await {
            Ok(version) => return version.parse().expect("a version"),
            Err(error) => {
                let refused =
                    matches!(error.exit(), cli::Exit::Refused | cli::Exit::Denied | cli::Exit::DataLoss);
                assert!(!refused && Instant::now() < end, "a call does not succeed: {error}");
            }
        }
        // Back-off of a client, not waiting for a condition of the test.
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(Duration::from_millis(500));
    }
}
