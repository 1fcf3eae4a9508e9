//! What a record can be looked up by: the derivation that the store's index is built with.
//!
//! A term is a keyed hash, so the index holds no identifier and no name. Index entries are candidates: whoever looks one up
//! checks the record itself (see `find`), so entries left over from an older version of a record do no harm.

use std::ops::RangeInclusive;

use linkage::normalise::phone;
use linkage::search::{name_parts, whole_name};
use model::body::{DocumentEntry, Kind, Registration};
use model::normalise::identifier_key;
use model::person_link::Decided;
use model::{Number, PartialDate, Record, ResidentId, codes};
use sha2::{Digest, Sha256};
use store::{Derivation, Term};

/// Version of the terms below; raise it when they change, and every node rebuilds its index at its next start.
const VERSION: u32 = 3;

/// Spaces of terms. `replication` has 1 for the directory.
pub mod space {
    /// Identifier of a person (normalised value; types are compared afterwards) → registrations.
    pub const IDENTIFIER: u8 = 16;
    /// How a whole name sounds, with the year of birth ([`super::name_value`]) → registrations.
    pub const NAME: u8 = 17;
    /// Person index number a registration was born with → that registration.
    pub const NUMBER: u8 = 18;
    /// Key of the second registration of a link → that link; the first one is its subject. The key is a hash already.
    pub const LINK: u8 = 19;
    /// Telephone number → registrations.
    pub const PHONE: u8 = 20;
    /// How a part of a name sounds, with the year of birth → registrations. At most four of a registration.
    pub const NAME_PART: u8 = 21;
}

/// Telephone numbers of a registration that it is found by.
const MAX_PHONES: usize = 4;

/// The years of birth that are kept apart; earlier and later ones count as the first and the last. A name without a year of birth is
/// looked up in each of them: that is cheaper than another key for every registration.
pub const YEARS: RangeInclusive<u16> = 1899..=2050;

/// The year under which somebody born in `year` is looked up.
pub fn year_of(year: u16) -> u16 {
    year.clamp(*YEARS.start(), *YEARS.end())
}

/// What a name, or a part of one, is looked up by: its sound and the year of birth, 0 when that is not known.
pub fn name_value(sound: &str, year: u16) -> String {
    format!("{sound}:{year}")
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
            if let Some(value) = identifier_key(&identifier.r#type, &identifier.value) {
                self.push(space::IDENTIFIER, &value, out);
            }
        }
        for number in registration.phones.iter().filter_map(|phone| phone::read(phone)).take(MAX_PHONES) {
            self.push(space::PHONE, &number.to_string(), out);
        }
        let birth = registration.birth_date.parse::<PartialDate>();
        let year = birth.map_or(0, |date| year_of(date.year()));
        if let Some(sound) = whole_name(&registration.name) {
            self.push(space::NAME, &name_value(&sound, year), out);
        }
        for sound in name_parts(&registration.name) {
            self.push(space::NAME_PART, &name_value(&sound, year), out);
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

/// The forms under which an identifier is looked up: of any type when `kind` is empty. None if it cannot identify anybody.
pub fn identifier_values(kind: &str, value: &str) -> Vec<String> {
    if !kind.is_empty() {
        return identifier_key(kind, value).into_iter().collect();
    }
    let resident = ResidentId::parse(value).ok().map(|id| id.as_str().to_owned());
    let other = identifier_key(codes::OTHER_DOCUMENT, value);
    let other = other.filter(|other| resident.as_ref() != Some(other));
    resident.into_iter().chain(other).collect()
}

/// Whether a document entry may be found under its subject: it decodes.
pub fn decode_entry(record: &Record) -> Option<DocumentEntry> {
    record.decode_body().ok()
}
