//! Records as nodes write them, for tests of rules.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use model::body::{
    DocumentEntry, EpochEntry, Flow, InstitutionEntry, Kind, LinkBasis, LinkDecision, LinkLayer, NodeEntry,
    PersonLink, Registration, RegistrationRef, SigningKeyEntry, SuccessionEntry, TermEndEntry,
};
use model::record::Unsigned;
use model::{NodePath, Number, OriginId, Record, RecordId, RecordKey, SigningKey, TrustDomain, Version};
use prost::Message;
use store::{Apply, IndexChoice, Limits, Memory, MemoryIndex, Options, Run, Store};

use crate::{AdmittedKey, Directory, Keyring};

pub fn trust_domain() -> TrustDomain {
    "tiermesh.test".parse().unwrap()
}

pub fn path(text: &str) -> NodePath {
    text.parse().unwrap()
}

pub fn institution(code: &str) -> OriginId {
    OriginId::of_institution(&trust_domain(), code)
}

/// Certificates are the path as text; one that begins with "bad" is refused.
#[derive(Debug)]
pub struct PlainKeyring;

impl Keyring for PlainKeyring {
    fn admit(&self, entry: &SigningKeyEntry) -> Result<AdmittedKey, String> {
        let text = std::str::from_utf8(&entry.certificate_chain[0]).unwrap();
        if text.starts_with("bad") {
            return Err("its certificate was not issued in this mesh".into());
        }
        let key = model::VerifyingKey::from_bytes(entry.public_key[..].try_into().unwrap()).unwrap();
        Ok(AdmittedKey { path: path(text), key })
    }
}

/// What a future gives that is ready at once, as those of a store that works inside its caller are, but for letting others run.
pub fn now<T>(future: impl Future<Output = T>) -> T {
    let (mut future, mut context) = (pin!(future), Context::from_waker(Waker::noop()));
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
    }
}

#[derive(Debug)]
struct DirectoryTerms;

impl store::Derivation for DirectoryTerms {
    fn version(&self) -> u32 {
        1
    }

    fn terms(&self, record: &Record, out: &mut Vec<store::Term>) {
        crate::directory_terms(record, out);
    }
}

#[derive(Debug)]
struct FixedClock;

impl model::Clock for FixedClock {
    fn now_ms(&self) -> u64 {
        1_700_000_000_000
    }
}

/// A store in memory of a node that holds these records, and the directory that it has of them.
pub fn node(own: &Writer, records: Vec<Record>) -> (Store, Directory) {
    let options = Options {
        storage: Arc::new(Memory::new(1)),
        index: IndexChoice::Memory(MemoryIndex::default()),
        derivation: Arc::new(DirectoryTerms),
        clock: Arc::new(FixedClock),
        boot_id: "boot".into(),
        node: own.origin,
        signing: own.key.clone(),
        run: Run::Inline,
        limits: Limits { reserve_bytes: 0, ..Limits::default() },
    };
    let (store, _) = Store::open(options).unwrap();
    now(store.apply(Apply { records, ..Apply::default() })).unwrap();
    let directory = Directory::load(&store, &PlainKeyring).unwrap();
    (store, directory)
}

/// A node that writes: each record takes the next seq.
pub struct Writer {
    pub key: SigningKey,
    /// The key's; also the tag of its first epoch.
    pub seed: u8,
    pub origin: OriginId,
    pub path: NodePath,
    pub epoch: u32,
    pub seq: u64,
}

/// What a test may want to get wrong.
pub struct Parts {
    pub flow: Flow,
    pub kind: u32,
    pub id: RecordId,
    pub origin: OriginId,
    pub term: u32,
    pub subject: Option<RecordKey>,
    pub tombstone: bool,
    pub body: Vec<u8>,
}

impl Writer {
    pub fn new(seed: u8, at: &str) -> Self {
        let key = SigningKey::from_seed(&[seed; 32]);
        let origin = OriginId::of_node(&trust_domain(), key.verifying_key().as_bytes());
        Self { key, seed, origin, path: path(at), epoch: 1, seq: 0 }
    }

    pub fn sign(&mut self, parts: Parts) -> Record {
        self.seq += 1;
        let version = Version { term: parts.term, epoch: self.epoch, seq: self.seq };
        self.sign_as(parts, version)
    }

    pub fn sign_as(&self, parts: Parts, version: Version) -> Record {
        let Parts { flow, kind, id, origin, subject, tombstone, body, .. } = parts;
        let unsigned = Unsigned { flow, kind, id, origin, subject, tombstone, body: body.into() };
        Record::sign(unsigned, version, 1_700_000_000_000 + version.seq, &self.key).unwrap()
    }

    pub fn directory(&self, kind: Kind, natural_key: &[&[u8]], body: &impl Message) -> Parts {
        Parts {
            flow: Flow::Directory,
            kind: kind as u32,
            id: RecordId::of(natural_key),
            origin: self.origin,
            term: 1,
            subject: None,
            tombstone: false,
            body: body.encode_to_vec(),
        }
    }

    pub fn signing_key_parts(&self, certificate: &str) -> Parts {
        let entry = SigningKeyEntry {
            public_key: Bytes::copy_from_slice(self.key.verifying_key().as_bytes()),
            certificate_chain: vec![Bytes::copy_from_slice(certificate.as_bytes())],
        };
        self.directory(Kind::SigningKey, &[self.key.id().as_bytes()], &entry)
    }

    pub fn signing_key(&mut self) -> Record {
        let certificate = self.path.to_string();
        self.sign(self.signing_key_parts(&certificate))
    }

    pub fn node_parts(&self, at: &str, trust_domain: &str) -> Parts {
        let entry = NodeEntry {
            origin: Bytes::copy_from_slice(self.origin.as_bytes()),
            path: at.into(),
            name: "大理白族自治州".into(),
            tier: "prefecture".into(),
            trust_domain: trust_domain.into(),
        };
        self.directory(Kind::Node, &[], &entry)
    }

    pub fn node(&mut self) -> Record {
        let at = self.path.to_string();
        self.sign(self.node_parts(&at, "tiermesh.test"))
    }

    /// The record that opens this writer's epoch.
    pub fn epoch(&mut self, entry: &EpochEntry) -> Record {
        self.epoch = entry.counter;
        let parts = self.directory(Kind::Epoch, &[&entry.counter.to_be_bytes()], entry);
        self.sign(parts)
    }

    pub fn institution_parts(&self, code: &str) -> Parts {
        let origin = institution(code);
        let entry = InstitutionEntry {
            origin: Bytes::copy_from_slice(origin.as_bytes()),
            code: code.into(),
            name: String::new(),
            writer: Bytes::copy_from_slice(self.origin.as_bytes()),
            term: 1,
        };
        self.directory(Kind::Institution, &[origin.as_bytes(), &1u32.to_be_bytes()], &entry)
    }

    pub fn institution(&mut self, code: &str) -> Record {
        self.sign(self.institution_parts(code))
    }

    /// Gives an institution to another node in a term.
    pub fn decision(&mut self, code: &str, term: u32, to: OriginId) -> Record {
        let origin = institution(code);
        let entry = InstitutionEntry {
            origin: Bytes::copy_from_slice(origin.as_bytes()),
            code: code.into(),
            name: String::new(),
            writer: Bytes::copy_from_slice(to.as_bytes()),
            term,
        };
        let parts = self.directory(Kind::Institution, &[origin.as_bytes(), &term.to_be_bytes()], &entry);
        self.sign(parts)
    }

    /// Says that one node stands for another.
    pub fn succession(&mut self, node: OriginId, successor: OriginId) -> Record {
        let entry = SuccessionEntry {
            node: Bytes::copy_from_slice(node.as_bytes()),
            successor: Bytes::copy_from_slice(successor.as_bytes()),
        };
        let parts = self.directory(Kind::Succession, &[node.as_bytes()], &entry);
        self.sign(parts)
    }

    /// Ends a term; with a seq in the place of its writer, who had been heard up to there.
    pub fn term_end(&mut self, code: &str, term: u32, next: OriginId, held_seq: Option<u64>) -> Record {
        let origin = institution(code);
        let entry = TermEndEntry {
            institution: Bytes::copy_from_slice(origin.as_bytes()),
            term,
            next_writer: Bytes::copy_from_slice(next.as_bytes()),
            without_writer: held_seq.is_some(),
            held_seq: held_seq.unwrap_or(0),
        };
        let parts = self.directory(Kind::TermEnd, &[origin.as_bytes(), &term.to_be_bytes()], &entry);
        self.sign(parts)
    }

    pub fn registration_parts(code: &str, local_id: &str) -> Parts {
        let id = RecordId::of(&[b"", local_id.as_bytes()]);
        let origin = institution(code);
        let kind = Kind::Registration as u32;
        let body = Registration {
            local_id: local_id.into(),
            institution_code: code.into(),
            number: Number::of(RecordKey::of(kind, origin, id)).to_string(),
            ..Registration::default()
        };
        Parts {
            flow: Flow::Registration,
            kind,
            id,
            origin,
            term: 1,
            subject: Some(RecordKey::of(kind, origin, id)),
            tombstone: false,
            body: body.encode_to_vec(),
        }
    }

    pub fn registration(&mut self, code: &str, local_id: &str) -> Record {
        self.sign(Self::registration_parts(code, local_id))
    }

    pub fn document_parts(code: &str, local_id: &str, document_id: &str) -> Parts {
        let body = DocumentEntry {
            document_id: document_id.into(),
            local_id: local_id.into(),
            institution_code: code.into(),
            ..DocumentEntry::default()
        };
        Parts {
            flow: Flow::DocumentEntry,
            kind: Kind::DocumentEntry as u32,
            id: RecordId::of(&[document_id.as_bytes()]),
            body: body.encode_to_vec(),
            ..Self::registration_parts(code, local_id)
        }
    }

    /// A decision in a layer about two registrations, given as institution and local id.
    pub fn link_parts(&self, layer: LinkLayer, decision: LinkDecision, pair: [(&str, &str); 2]) -> Parts {
        let mut ends = pair.map(|(code, local_id)| {
            let parts = Self::registration_parts(code, local_id);
            let version = Version { term: 1, epoch: 1, seq: 1 }.to_string();
            let (origin, id) = (parts.origin.0.to_vec().into(), parts.id.0.to_vec().into());
            (
                RecordKey::of(parts.kind, parts.origin, parts.id),
                RegistrationRef { origin, id, born_ms: 1, version },
            )
        });
        ends.sort_by_key(|(key, _)| *key);
        let [(a, ref_a), (b, ref_b)] = ends;
        let body = PersonLink {
            a: Some(ref_a),
            b: Some(ref_b),
            layer: layer as i32,
            decision: decision as i32,
            basis: LinkBasis::Score as i32,
            ..PersonLink::default()
        };
        Parts {
            flow: Flow::Link,
            kind: Kind::Link as u32,
            id: RecordId::of(&[&[layer as i32 as u8], a.as_bytes(), b.as_bytes()]),
            origin: self.origin,
            term: 1,
            subject: Some(a),
            tombstone: false,
            body: body.encode_to_vec(),
        }
    }

    /// Key, first epoch and node records, as a new node commits them.
    pub fn introduction(&mut self) -> Vec<Record> {
        let first = epoch_entry(1, self.seed, &[], 0);
        vec![self.epoch(&first), self.signing_key(), self.node()]
    }
}

/// An epoch whose id is its tag, 16 times.
pub fn epoch_entry(counter: u32, tag: u8, previous: &[u8], base_seq: u64) -> EpochEntry {
    EpochEntry {
        counter,
        epoch_id: vec![tag; 16].into(),
        previous_epoch_id: previous.to_vec().into(),
        base_seq,
        started_ms: 0,
    }
}
