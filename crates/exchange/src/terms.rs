//! What a record can be looked up by: the derivation that the store's index is built with.
//!
//! A term is a keyed hash, so the index holds no identifier and no name. Index entries are candidates: whoever looks one up
//! checks the record itself (see `find`), so entries left over from an older version of a record do no harm.

use model::body::{DocumentEntry, Kind, Registration};
use model::normalise::{identifier_key, name_key};
use model::person_link::Decided;
use model::{Number, Record};
use sha2::{Digest, Sha256};
use store::{Derivation, Term};

/// Version of the terms below; raise it when they change, and every node rebuilds its index at its next start.
const VERSION: u32 = 2;

/// Spaces of terms. `replication` has 1 for the directory.
pub mod space {
    /// Identifier of a person (type and normalised value) → registrations.
    pub const IDENTIFIER: u8 = 16;
    /// Normalised name → registrations.
    pub const NAME: u8 = 17;
    /// Person index number a registration was born with → that registration.
    pub const NUMBER: u8 = 18;
    /// Key of the second registration of a link → that link; the first one is its subject. The key is a hash already.
    pub const LINK: u8 = 19;
}

/// The node's key for lookup terms. Kept outside the data directory; another key means another index.
#[derive(Clone)]
pub struct TermKey([u8; 32]);

impl TermKey {
    pub fn new(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// The term of a value in a space.
    pub fn term(&self, space: u8, value: &str) -> [u8; 16] {
        // A prefix key with SHA-256 over input of stated length: length extension gains nothing, since terms are cut.
        let mut hash = Sha256::new();
        hash.update(self.0);
        hash.update([space]);
        hash.update((value.len() as u64).to_be_bytes());
        hash.update(value);
        let mut term = [0; 16];
        term.copy_from_slice(&hash.finalize()[..16]);
        term
    }

    fn check(&self) -> u32 {
        let term = self.term(0, "check");
        u32::from_be_bytes([term[0], term[1], term[2], term[3]])
    }
}

impl std::fmt::Debug for TermKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TermKey(\"...\")")
    }
}

/// The derivation of this release.
#[derive(Debug, Clone)]
pub struct Terms {
    key: TermKey,
}

impl Terms {
    pub fn new(key: TermKey) -> Self {
        Self { key }
    }

    fn push(&self, space: u8, value: &str, out: &mut Vec<Term>) {
        let term = Term { space, term: self.key.term(space, value) };
        if !out.iter().any(|known| known.space == term.space && known.term == term.term) {
            out.push(term);
        }
    }

    fn registration(&self, record: &Record, out: &mut Vec<Term>) {
        let Ok(registration) = record.decode_body::<Registration>() else { return };
        for identifier in &registration.identifiers {
            if let Some(value) = identifier_value(&identifier.r#type, &identifier.value) {
                self.push(space::IDENTIFIER, &value, out);
            }
        }
        let name = name_key(&registration.name);
        if !name.is_empty() {
            self.push(space::NAME, &name, out);
        }
        self.push(space::NUMBER, Number::of(record.key()).as_str(), out);
    }
}

impl Derivation for Terms {
    fn version(&self) -> u32 {
        // A changed key must rebuild the index as a changed layout does.
        VERSION ^ self.key.check() << 8
    }

    fn terms(&self, record: &Record, out: &mut Vec<Term>) {
        replication::directory_terms(record, out);
        let envelope = record.envelope();
        if envelope.kind == Kind::Registration as u32 && !envelope.tombstone {
            self.registration(record, out);
        }
        if envelope.kind == Kind::Link as u32
            && let Ok(decided) = Decided::of(record)
        {
            out.push(Term { space: space::LINK, term: decided.b.key.0 });
        }
    }
}

/// An identifier in the form that two ways of writing it share; none if it cannot identify anybody.
pub fn identifier_value(kind: &str, value: &str) -> Option<String> {
    identifier_key(kind, value).map(|value| format!("{kind}:{value}"))
}

/// Whether a document entry may be found under its subject: it decodes.
pub fn decode_entry(record: &Record) -> Option<DocumentEntry> {
    record.decode_body().ok()
}
