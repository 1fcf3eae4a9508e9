//! A hospital at work: registers, updates and withdraws patients, submits, replaces and withdraws documents.
//!
//! It calls the use cases of its node directly. What it knows survives the node's crashes; a call that a crash took along
//! stays in the ledger as unsure.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use exchange::{
    Caller, ChangeStatus, Exchange, ExchangeError, RegisterOutcome, RegisterPatient, Role, SubmitOutcome,
};
use model::body::{Availability, Contact, DocumentEntry, Identifier, Kind, Registration};
use model::{OriginId, RecordId, RecordKey, Version};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use replication::Directory;
use sha2::{Digest, Sha256};

use super::ledger::{Ledger, Wanted};
use super::mesh::{Member, resident_id, trust_domain};
use super::seams::Elapsed;

/// Human beings whom registrations name: few, so that hospitals share them, and mistakes are moved from one to another.
const PERSONS: u8 = 16;

/// What a hospital knows of its own records.
#[derive(Debug, Default)]
struct Files {
    patients: Vec<String>,
    /// Document and patient.
    documents: Vec<(String, String)>,
    next: u64,
}

/// How many times longer the pauses are once there are no more faults.
const LONGER: u64 = 10;

/// A hospital. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Hospital {
    /// Place of the node that it calls; one that moves has a copy of itself for each.
    pub node: usize,
    /// Which of its nodes it mostly calls.
    at: Arc<Mutex<usize>>,
    code: String,
    caller: Caller,
    origin: OriginId,
    /// Longest pause between two calls.
    pause_ms: u64,
    seed: u64,
    files: Arc<Mutex<Files>>,
    ledger: Ledger,
    elapsed: Elapsed,
}

/// What it does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Register,
    Update,
    Withdraw,
    Submit,
    Resubmit,
    Replace,
    Retire,
}

/// A name for each human being; whoever shows no card has one that nobody else has.
fn name(person: Option<u8>, local_id: &str) -> String {
    const SURNAMES: [&str; 16] =
        ["赵", "钱", "孙", "李", "周", "吴", "郑", "王", "冯", "陈", "褚", "卫", "蒋", "沈", "韩", "杨"];
    if let Some(person) = person {
        let (one, other) = (usize::from(person) % 16, usize::from(person / 16) % 16);
        return format!("{}小{}", SURNAMES[one], SURNAMES[other]);
    }
    crate::name_of(local_id)
}

impl Hospital {
    pub fn new(
        (node, member): (usize, &Member),
        code: &str,
        (seed, pause_ms): (u64, u64),
        ledger: Ledger,
        elapsed: Elapsed,
    ) -> Self {
        Self {
            node,
            at: Arc::new(Mutex::new(node)),
            code: code.into(),
            caller: Caller { path: member.path.clone(), role: Role::Institution { code: code.into() } },
            origin: OriginId::of_institution(&trust_domain(), code),
            pause_ms,
            seed,
            files: Arc::default(),
            ledger,
            elapsed,
        }
    }

    /// The same hospital, where it calls another node.
    pub fn beside(&self, (node, member): (usize, &Member)) -> Self {
        let caller = Caller { path: member.path.clone(), ..self.caller.clone() };
        let seed = if node == self.node { self.seed } else { self.seed ^ ((node as u64 + 1) << 24) };
        Self { node, caller, seed, ..self.clone() }
    }

    /// Whose records it files.
    pub fn institution(&self) -> OriginId {
        self.origin
    }

    /// Whether it calls this node now. It has no certificate there before the node knows of it: until then it would be taken
    /// for one that files for the first time.
    fn calls(&self, directory: &Directory, rng: &mut StdRng) -> bool {
        if !self.ledger.homes(|homes| homes.moves(&self.origin)) {
            return true;
        }
        let known = self.ledger.homes(|homes| homes.known(&self.origin));
        if known.first() != Some(&self.node)
            && (!known.contains(&self.node) || directory.institution(&self.origin).is_none())
        {
            return false;
        }
        // Now and then the other node as well: no two may take its writes.
        *self.at.lock() == self.node || rng.random_ratio(1, 6)
    }

    /// Works until `until_ms`, and until it has written where it moves to; `start` tells this start of the node from the others.
    pub async fn work(self, (exchange, directory): (Exchange, Directory), start: u64, until_ms: u64) {
        let mut rng = StdRng::seed_from_u64(self.seed ^ (start << 32));
        let is_over =
            || self.elapsed.ms() >= until_ms && !self.ledger.homes(|homes| homes.is_due(&self.origin));
        while !is_over() {
            if !self.calls(&directory, &mut rng) {
                tokio::time::sleep(Duration::from_millis(self.pause_ms)).await;
                continue;
            }
            // Now and then a burst, so that commits and batches of several records come about.
            let burst = if rng.random_ratio(1, 12) { rng.random_range(2..12) } else { 1 };
            for _ in 0..burst {
                if is_over() {
                    return;
                }
                self.act(&exchange, &mut rng).await;
            }
            // Whoever only waits for its move does not hold that up by what it writes meanwhile.
            let longer = if self.elapsed.ms() < until_ms { 1 } else { LONGER };
            tokio::time::sleep(Duration::from_millis(rng.random_range(1..self.pause_ms) * longer)).await;
        }
    }

    async fn act(&self, exchange: &Exchange, rng: &mut StdRng) {
        let act = match rng.random_range(0..20) {
            0..6 => Act::Register,
            6..10 => Act::Update,
            10 => Act::Withdraw,
            11..15 => Act::Submit,
            15..17 => Act::Resubmit,
            17..19 => Act::Replace,
            _ => Act::Retire,
        };
        let (patient, document, next) = {
            let mut files = self.files.lock();
            files.next += 1;
            (pick(&files.patients, rng), pick(&files.documents, rng), files.next)
        };
        let marker = format!("{}-{next}", self.node);
        match (act, patient, document) {
            (Act::Update, Some(patient), _) => {
                // Mostly the same person: an interest that lasts is one in which every change must come.
                let person = if rng.random_ratio(1, 5) { person(rng) } else { self.person_of(&patient) };
                self.register(exchange, &patient, Wanted { marker, withdrawn: false, person }).await;
            }
            (Act::Withdraw, Some(patient), _) => {
                self.register(exchange, &patient, Wanted { marker, withdrawn: true, person: None }).await;
            }
            (Act::Submit, Some(patient), _) => {
                let document = format!("D{next}");
                self.files.lock().documents.push((document.clone(), patient.clone()));
                self.submit(exchange, (&document, &patient), marker, "").await;
            }
            (Act::Resubmit, _, Some((document, patient))) => {
                self.submit(exchange, (&document, &patient), marker, "").await;
            }
            (Act::Replace, _, Some((replaced, patient))) => {
                let document = format!("D{next}");
                self.files.lock().documents.push((document.clone(), patient.clone()));
                self.ledger.replaced(self.document_key(&replaced));
                self.submit(exchange, (&document, &patient), marker, &replaced).await;
            }
            (Act::Retire, _, Some((document, patient))) => {
                self.retire(exchange, (&document, &patient), marker, rng.random_bool(0.5)).await;
            }
            _ => {
                let patient = format!("P{next}");
                self.files.lock().patients.push(patient.clone());
                let person = person(rng);
                self.register(exchange, &patient, Wanted { marker, withdrawn: false, person }).await;
            }
        }
    }

    async fn register(&self, exchange: &Exchange, local_id: &str, wanted: Wanted) {
        let key = self.patient_key(local_id);
        let identifier =
            |person| Identifier { r#type: "01".into(), value: resident_id(person), ..Identifier::default() };
        let registration = Registration {
            local_id: local_id.into(),
            name: name(wanted.person, &format!("{}{local_id}", self.code)),
            sex: "1".into(),
            birth_date: if wanted.person.is_some() { "1980-01-01".into() } else { String::new() },
            contacts: vec![Contact { name: wanted.marker.clone(), ..Default::default() }],
            identifiers: wanted.person.map(identifier).into_iter().collect(),
            ..Default::default()
        };
        self.ledger.begin(self.origin, (key, None), wanted.clone());
        let withdraw = wanted.withdrawn;
        let request = RegisterPatient { registration, expected: None, withdraw, acknowledge: None };
        let answer = exchange.register(&self.caller, request, deadline()).await;
        let answer = answer.map(|done| (done.version, done.outcome != RegisterOutcome::Unchanged));
        self.note(key, wanted, answer);
    }

    async fn submit(
        &self,
        exchange: &Exchange,
        (document, patient): (&str, &str),
        marker: String,
        replaces: &str,
    ) {
        let key = self.document_key(document);
        let content = content(&self.code, document);
        let entry = DocumentEntry {
            document_id: document.into(),
            local_id: patient.into(),
            type_code: "C0002".into(),
            title: marker.clone(),
            created_ms: 1_780_000_000_000,
            confidentiality: "N".into(),
            media_type: "text/plain".into(),
            size: content.len() as u64,
            sha256: Bytes::copy_from_slice(&Sha256::digest(&content)),
            replaces: replaces.into(),
            ..Default::default()
        };
        let wanted = Wanted { marker, withdrawn: false, person: None };
        self.ledger.begin(self.origin, (key, Some(self.patient_key(patient))), wanted.clone());
        let answer = async {
            let mut submission = exchange.begin_document(&self.caller, entry, None).await?;
            submission.write(content).await?;
            submission.finish(deadline()).await
        };
        let answer = answer.await.map(|done| (done.version, done.outcome != SubmitOutcome::Unchanged));
        self.note(key, wanted, answer);
    }

    async fn retire(&self, exchange: &Exchange, of: (&str, &str), marker: String, withdraw: bool) {
        let key = self.document_key(of.0);
        let change = ChangeStatus {
            document_id: of.0.into(),
            source_system: String::new(),
            local_id: of.1.into(),
            availability: if withdraw { Availability::Withdrawn } else { Availability::Deprecated },
            reason: marker.clone(),
            acknowledge: None,
        };
        let wanted = Wanted { marker, withdrawn: false, person: None };
        self.ledger.begin(self.origin, (key, Some(self.patient_key(of.1))), wanted.clone());
        let answer = exchange.change_status(&self.caller, change, deadline()).await;
        let answer = answer.map(|done| (done.version, done.outcome != SubmitOutcome::Unchanged));
        self.note(key, wanted, answer);
    }

    /// The answer is a version, and whether the write made it: what is withdrawn already stays in the version that withdrew it.
    fn note(&self, key: RecordKey, wanted: Wanted, answer: Result<(Version, bool), ExchangeError>) {
        let at_ms = self.elapsed.ms();
        match answer {
            Ok((version, made)) => {
                self.ledger.trace(at_ms, &format!("{} ok {version} {}", self.node, wanted.marker));
                *self.at.lock() = self.node;
                self.ledger.acknowledged(made.then_some(self.node), key, version, wanted);
            }
            Err(error) => {
                let reason = &error.reason().to_owned()[..];
                self.ledger.trace(at_ms, &format!("{} {reason} {}", self.node, wanted.marker));
                match error {
                    _ if matches!(reason, "WRONG_NODE" | "NOT_READY") && self.is_known_to_move() => {
                        self.ledger.refused(key, &wanted);
                        self.go_on(reason == "WRONG_NODE");
                    }
                    // What the store could not tell may have been made all the same.
                    ExchangeError::Unavailable { .. } | ExchangeError::DataLoss { .. } => {}
                    ExchangeError::Exhausted { .. }
                    | ExchangeError::NotFound { .. }
                    | ExchangeError::Exists { .. }
                    | ExchangeError::Conflict { .. } => self.ledger.refused(key, &wanted),
                    error => self.ledger.violation(format!("node {} answers: {error}", self.node)),
                }
            }
        }
    }

    fn is_known_to_move(&self) -> bool {
        self.ledger.homes(|homes| homes.known(&self.origin).len() > 1)
    }

    /// A node refused it, and it tries the next one if it mostly calls this one.
    fn go_on(&self, elsewhere: bool) {
        let mut at = self.at.lock();
        if elsewhere && *at == self.node {
            *at = self.ledger.homes(|homes| homes.other(&self.origin, self.node));
        }
    }

    fn person_of(&self, patient: &str) -> Option<u8> {
        self.ledger.person_of(&self.patient_key(patient))
    }

    fn patient_key(&self, local_id: &str) -> RecordKey {
        let id = RecordId::of(&[b"", local_id.as_bytes()]);
        RecordKey::of(Kind::Registration as u32, self.origin, id)
    }

    fn document_key(&self, document: &str) -> RecordKey {
        let id = RecordId::of(&[document.as_bytes()]);
        RecordKey::of(Kind::DocumentEntry as u32, self.origin, id)
    }
}

fn pick<T: Clone>(items: &[T], rng: &mut StdRng) -> Option<T> {
    // Young records more often than old ones: changes shortly after one another are where mistakes hide.
    let last = items.len().checked_sub(1)?;
    let back = rng.random_range(0..=last).min(rng.random_range(0..=last));
    Some(items[last - back].clone())
}

/// Whom a registration is of: one of a few who go to every hospital, or somebody without a number.
fn person(rng: &mut StdRng) -> Option<u8> {
    rng.random_bool(0.6).then(|| rng.random_range(0..PERSONS))
}

/// The content of a document: the same at every submission.
fn content(code: &str, document: &str) -> Bytes {
    Bytes::from(format!("内容 {code} {document}"))
}

/// No call here is kept waiting for the parent.
fn deadline() -> exchange::Deadline {
    exchange::Deadline::after(Duration::from_secs(30))
}
