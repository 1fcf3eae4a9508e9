//! Which registrations held here are one person: for queries, and for what goes down to children.
//!
//! A person is connected over pairs of registrations. What links say of a pair counts ([`model::person_link`]); where none says
//! anything yet, the same valid resident ID with an agreeing name or birth date does ([`model::person`]), so that a node
//! whose linker is behind answers as one without. Everything is read from the store as it is now: nothing here can be out of date.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use model::body::{Kind, LinkLayer, Registration, RegistrationRef};
use model::normalise::identifier_key;
use model::person::same_by_resident_id;
use model::person_link::{Decided, End, Standing, joined, reference};
use model::{Record, RecordKey};
use parking_lot::Mutex;
use replication::{Directory, DirectoryView, Interest, may_decide, standing};
use store::{ReadError, Store};

use crate::person_links::said_at;
use crate::terms::{TermKey, space};

/// Most registrations that one resident ID may join without a link. A number that more of them carry is a placeholder ("no card") and
/// nobody's: comparing all of them with each other for every one of them would hold a down feed up. Nobody is at so many hospitals.
const MAX_SHARING: usize = 200;
/// Most registrations of a person that are looked at; a linker joins 256.
const MAX_PERSON: usize = 512;
/// Registrations whose persons are remembered.
const MAX_REMEMBERED: usize = 10_000;
/// Documents of a registration read at a time, and most links of either of its ends that are looked at.
const PAGE: usize = 1000;

/// Answers from the node's own store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Persons {
    store: Store,
    terms: TermKey,
    directory: Directory,
    memo: Arc<Mutex<Memo>>,
}

/// Persons that were found while nothing changed: who asks about one member asks about the others next.
#[derive(Debug, Default)]
struct Memo {
    head: u64,
    view: Option<Arc<DirectoryView>>,
    persons: HashMap<RecordKey, Arc<Vec<Record>>>,
}

impl Memo {
    fn is_of(&self, head: u64, view: &Arc<DirectoryView>) -> bool {
        self.head == head && self.view.as_ref().is_some_and(|known| Arc::ptr_eq(known, view))
    }
}

/// A registration as it is held.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub record: Record,
    pub body: Registration,
}

impl Member {
    /// None when it is dead or no registration: a body that cannot be read would not have been admitted.
    pub fn of(record: Record) -> Option<Self> {
        let envelope = record.envelope();
        if envelope.tombstone || envelope.kind != Kind::Registration as u32 {
            return None;
        }
        record.decode_body().ok().map(|body| Self { record, body })
    }

    /// Names it in a link.
    pub fn reference(&self) -> RegistrationRef {
        let envelope = self.record.envelope();
        reference(envelope.origin, envelope.id, self.body.born_ms, envelope.version)
    }

    pub fn end(&self) -> End {
        End { key: self.record.key(), born_ms: self.body.born_ms }
    }
}

/// A person as this node knows it.
#[derive(Debug, Default)]
pub(crate) struct Known {
    pub members: Vec<Member>,
    /// There are more than were looked at.
    pub truncated: bool,
}

impl Persons {
    pub fn new(store: Store, terms: TermKey, directory: Directory) -> Self {
        Self { store, terms, directory, memo: Arc::default() }
    }

    /// Begins to look for persons; what was read once is not read again.
    pub(crate) fn walk(&self) -> Walk<'_> {
        self.walk_at(None)
    }

    /// The same among the registrations that there were at a time (those of today, as they are now) and what was decided by then.
    pub(crate) fn walk_at(&self, as_of_ms: Option<u64>) -> Walk<'_> {
        Walk {
            persons: self,
            view: self.directory.snapshot(),
            as_of_ms,
            held: BTreeMap::new(),
            sharing: BTreeMap::new(),
        }
    }

    /// Records of links about a registration, whichever end it is.
    pub(crate) fn links(&self, registration: &RecordKey) -> Result<Vec<Record>, ReadError> {
        let mut keys = self.store.about(registration, Kind::Link as u32, None, PAGE)?;
        keys.extend(self.store.lookup(space::LINK, registration.as_bytes(), None, PAGE)?);
        let mut links = Vec::with_capacity(keys.len());
        for key in keys {
            links.extend(self.store.get(&key)?.filter(|record| record.envelope().kind == Kind::Link as u32));
        }
        Ok(links)
    }
}

/// A search for persons.
#[derive(Debug)]
pub(crate) struct Walk<'a> {
    persons: &'a Persons,
    view: Arc<DirectoryView>,
    /// Milliseconds since 1970; none: now.
    as_of_ms: Option<u64>,
    held: BTreeMap<RecordKey, Option<Member>>,
    sharing: BTreeMap<String, Vec<RecordKey>>,
}

/// What was decided about one registration and others, by the other one's key; each with where the node stands that decided.
type Opinions = BTreeMap<RecordKey, Vec<(Decided, Standing)>>;

impl Walk<'_> {
    pub fn as_of_ms(&self) -> Option<u64> {
        self.as_of_ms
    }

    /// The living registration under this key.
    pub fn registration(&mut self, key: &RecordKey) -> Result<Option<Member>, ReadError> {
        if let Some(known) = self.held.get(key) {
            return Ok(known.clone());
        }
        let was_there =
            |member: &Member| self.as_of_ms.is_none_or(|as_of_ms| member.body.born_ms <= as_of_ms);
        let member = self.persons.store.get(key)?.and_then(Member::of).filter(was_there);
        self.held.insert(*key, member.clone());
        Ok(member)
    }

    /// The person of a registration, which comes first; it may be in an earlier version than the one held.
    pub fn person(&mut self, start: Member) -> Result<Known, ReadError> {
        let mut met = BTreeSet::from([start.record.key()]);
        let mut known = Known { members: vec![start], truncated: false };
        let mut at = 0;
        while let Some(member) = known.members.get(at).cloned() {
            at += 1;
            for other in self.joined_to(&member, &met)? {
                if known.members.len() == MAX_PERSON {
                    known.truncated = true;
                    return Ok(known);
                }
                met.insert(other.record.key());
                known.members.push(other);
            }
        }
        Ok(known)
    }

    /// Living registrations that are joined to this one, but for those met already.
    fn joined_to(&mut self, this: &Member, met: &BTreeSet<RecordKey>) -> Result<Vec<Member>, ReadError> {
        let opinions = self.opinions(&this.record.key())?;
        let mut candidates: BTreeSet<RecordKey> = opinions.keys().copied().collect();
        candidates.extend(self.sharing(&this.body)?);
        let mut found = Vec::new();
        for key in candidates.difference(met) {
            let Some(other) = self.registration(key)? else { continue };
            let pair = opinions.get(key).map_or(&[][..], Vec::as_slice);
            let living = || {
                pair.iter().filter(|(one, _)| {
                    *one.other(key) == this.end() && *one.other(&this.record.key()) == other.end()
                })
            };
            // What was taken back, or is only possible, was looked at.
            let by_number = || living().next().is_none() && same_by_resident_id(&this.body, &other.body);
            if joined(living().map(|(one, standing)| (one, *standing))).unwrap_or_else(by_number) {
                found.push(other);
            }
        }
        Ok(found)
    }

    /// The registrations that humans joined with one, itself first, but for what they said of it and `but`.
    pub fn by_humans(&mut self, start: &Member, but: &RecordKey) -> Result<Vec<Member>, ReadError> {
        let first = start.record.key();
        let mut members = vec![start.clone()];
        let mut at = 0;
        while let Some(member) = members.get(at).cloned() {
            at += 1;
            let key = member.record.key();
            for (other, pair) in self.opinions(&key)? {
                let direct = (key == first && other == *but) || (key == *but && other == first);
                let known = members.iter().any(|known| known.record.key() == other);
                let Some(living) = self.registration(&other)? else { continue };
                if !direct
                    && !known
                    && said_by_humans(&pair, &member, &living) == Some(true)
                    && members.len() < MAX_PERSON
                {
                    members.push(living);
                }
            }
        }
        Ok(members)
    }

    /// One of these registrations that a human separated from this one.
    pub fn held_apart_by_humans(
        &mut self,
        key: &RecordKey,
        from: &[RecordKey],
    ) -> Result<Option<RecordKey>, ReadError> {
        let Some(this) = self.registration(key)? else { return Ok(None) };
        for (other, pair) in self.opinions(key)? {
            let Some(living) = self.registration(&other)?.filter(|_| from.contains(&other)) else { continue };
            if said_by_humans(&pair, &this, &living) == Some(false) {
                return Ok(Some(other));
            }
        }
        Ok(None)
    }

    fn opinions(&self, of: &RecordKey) -> Result<Opinions, ReadError> {
        let mut opinions = Opinions::new();
        for record in self.persons.links(of)? {
            let Ok(decided) = Decided::of(&record) else { continue };
            let Some(decided) = self.then(decided, &record) else { continue };
            let Some(path) = self.view.path_of(&decided.by) else { continue };
            if may_decide(&decided, path, &self.view) == Some(true) {
                opinions
                    .entry(decided.other(of).key)
                    .or_default()
                    .push((decided, standing(&decided, path, &self.view)));
            }
        }
        Ok(opinions)
    }

    /// What a link that says this now said at the time that is looked at.
    fn then(&self, now: Decided, record: &Record) -> Option<Decided> {
        if self.as_of_ms.is_none() {
            return Some(now);
        }
        Decided::read(&said_at(record, self.as_of_ms)?.body, now.by).ok()
    }

    /// Registrations that carry one of its resident IDs, itself as well.
    fn sharing(&mut self, registration: &Registration) -> Result<Vec<RecordKey>, ReadError> {
        let mut keys = Vec::new();
        for identifier in registration.identifiers.iter().filter(|identifier| identifier.r#type == "01") {
            let Some(value) = identifier_key(&identifier.r#type, &identifier.value) else { continue };
            if let Some(known) = self.sharing.get(&value) {
                keys.extend_from_slice(known);
                continue;
            }
            let term = self.persons.terms.term(space::IDENTIFIER, &value);
            let mut found = self.persons.store.lookup(space::IDENTIFIER, &term, None, MAX_SHARING + 1)?;
            if found.len() > MAX_SHARING {
                found.clear();
            }
            keys.extend_from_slice(&found);
            self.sharing.insert(value, found);
        }
        Ok(keys)
    }
}

/// What humans say of two registrations in the lives that they live.
fn said_by_humans(pair: &[(Decided, Standing)], one: &Member, other: &Member) -> Option<bool> {
    let (a, b) = (one.end(), other.end());
    let humans = pair.iter().filter(|(decided, _)| {
        decided.layer == LinkLayer::Human && *decided.other(&b.key) == a && *decided.other(&a.key) == b
    });
    joined(humans.map(|(decided, standing)| (decided, *standing)))
}

impl Interest for Persons {
    fn person(&self, registration: &Record) -> Result<Vec<Record>, ReadError> {
        let key = registration.key();
        let (head, view) = (self.store.head(), self.directory.snapshot());
        let is_current = self.store.version(&key)? == Some(registration.envelope().version);
        if is_current {
            let memo = self.memo.lock();
            if let Some(person) = memo.persons.get(&key).filter(|_| memo.is_of(head, &view)) {
                return Ok(person.to_vec());
            }
        }
        let Some(start) = Member::of(registration.clone()) else { return Ok(Vec::new()) };
        let known = self.walk().person(start)?;
        let members: Vec<Record> = known.members.into_iter().map(|member| member.record).collect();
        // Of a person that was cut short each member sees another part.
        if is_current && !known.truncated && self.store.head() == head {
            let mut memo = self.memo.lock();
            if !memo.is_of(head, &view) || memo.persons.len() > MAX_REMEMBERED {
                *memo = Memo { head, view: Some(view), persons: HashMap::new() };
            }
            let person = Arc::new(members.clone());
            memo.persons.extend(members.iter().map(|member| (member.key(), person.clone())));
        }
        Ok(members)
    }

    fn documents(&self, registration: &RecordKey) -> Result<Vec<Record>, ReadError> {
        let (mut documents, mut after) = (Vec::new(), None);
        loop {
            let page = self.store.about(registration, Kind::DocumentEntry as u32, after, PAGE)?;
            for key in &page {
                documents.extend(self.store.get(key)?);
            }
            if page.len() < PAGE {
                return Ok(documents);
            }
            after = page.last().copied();
        }
    }

    fn links(&self, registration: &RecordKey) -> Result<Vec<Record>, ReadError> {
        Self::links(self, registration)
    }
}
