//! One person whole, for operators: who belongs to it, and the decisions that make it so, now or at an earlier time (design.md,
//! *Identity*: every decision can be seen as of a date).

use std::collections::BTreeSet;

use model::body::{LinkDecision, LinkLayer, Registration};
use model::person_link::Decided;
use model::query::FoundRegistration;
use model::{Number, RecordKey};

use crate::caller::{Action, Caller, permit};
use crate::decide::HeldLink;
use crate::person_links::{has_forgotten, said_at};
use crate::persons::{Member, Walk};
use crate::{Exchange, ExchangeError};

/// Most links in one answer.
const MAX_LINKS: usize = 1_000;

/// By what a person is asked for: of any of its registrations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PersonBy {
    Number(Number),
    Registration(RecordKey),
}

/// A person as this node knows it.
#[derive(Debug, Clone)]
pub struct WholePerson {
    pub number: Number,
    /// Oldest first; as they are held now.
    pub registrations: Vec<FoundRegistration>,
    /// About two of these, and what humans hold apart from them; oldest first, as they stood at the time asked for.
    pub links: Vec<HeldLink>,
    /// There are more registrations, or links.
    pub truncated: bool,
    /// A link has forgotten what it said at that time.
    pub incomplete: bool,
}

impl Exchange {
    /// The person of a registration, now or as of a time (milliseconds since 1970): among the registrations that are held now and were
    /// there then, by what had been decided then.
    pub async fn whole_person(
        &self,
        caller: &Caller,
        by: PersonBy,
        as_of_ms: Option<u64>,
    ) -> Result<WholePerson, ExchangeError> {
        let _permit = permit(caller, Action::Review, &self.parts.node.path)?;
        self.judge.catch_up().await;
        let mut walk = self.persons.walk_at(as_of_ms);
        let mut start = None;
        for key in self.keys_of(by)? {
            start = walk.registration(&key)?;
            if start.is_some() {
                break;
            }
        }
        let start = start.ok_or_else(unknown)?;
        self.check_told(&start)?;
        let known = walk.person(start)?;
        let mut members = known.members;
        members.sort_by_key(|member| (member.body.born_ms, Number::of(member.record.key())));
        let number = members.first().map(|oldest| Number::of(oldest.record.key()));
        let number = number.ok_or_else(|| ExchangeError::internal("a person without a registration"))?;
        let (mut links, incomplete) = self.links_of(&mut walk, &members)?;
        let truncated = known.truncated || links.len() > MAX_LINKS;
        links.drain(..links.len().saturating_sub(MAX_LINKS));
        let mut registrations: Vec<FoundRegistration> =
            members.iter().map(|member| self.found(member).1).collect();
        // An operator sees whom there is something to decide about, and does not look up patients.
        if let ([only], true) = (&mut registrations[..], links.is_empty()) {
            only.registration =
                Registration { born_ms: only.registration.born_ms, ..Registration::default() };
        }
        Ok(WholePerson { number, registrations, links, truncated, incomplete })
    }

    /// Refuses a person of today without a registration of this node's subtree: what came down of it is no longer this node's to tell.
    fn check_told(&self, start: &Member) -> Result<(), ExchangeError> {
        let is_own = |member: &Member| self.is_own(&self.writer_path(&member.record));
        let today = self.persons.walk().person(start.clone())?.members;
        if self.parts.node.is_root() || today.iter().any(is_own) {
            return Ok(());
        }
        Err(unknown())
    }

    fn keys_of(&self, by: PersonBy) -> Result<Vec<RecordKey>, ExchangeError> {
        match by {
            PersonBy::Registration(key) => Ok(vec![key]),
            PersonBy::Number(number) => {
                let mut found = crate::find::Found::new();
                self.find_number(number, &mut found)?;
                Ok(found.into_keys().collect())
            }
        }
    }

    /// What was decided among these in the lives that they live, and whether some of it can no more be told.
    fn links_of(
        &self,
        walk: &mut Walk<'_>,
        members: &[Member],
    ) -> Result<(Vec<HeldLink>, bool), ExchangeError> {
        let as_of_ms = walk.as_of_ms();
        let inside: BTreeSet<RecordKey> = members.iter().map(|member| member.record.key()).collect();
        let (mut links, mut met, mut incomplete) = (Vec::new(), BTreeSet::new(), false);
        for member in members {
            let key = member.record.key();
            for record in self.persons.links(&key)? {
                let Ok(decided) = Decided::of(&record) else { continue };
                let other = *decided.other(&key);
                let lives = walk.registration(&other.key)?.is_some_and(|held| held.end() == other);
                if !lives || *decided.other(&other.key) != member.end() {
                    continue;
                }
                // What it said then may be what made somebody one of these.
                incomplete |= as_of_ms.is_some_and(|as_of_ms| has_forgotten(&record, as_of_ms));
                let is_among = inside.contains(&other.key);
                if (!is_among && decided.layer == LinkLayer::Machine) || !met.insert(record.key()) {
                    continue;
                }
                let said = said_at(&record, as_of_ms).map(|said| self.held_link(&record, said));
                links.extend(said.filter(|link| is_among || link.is_apart()));
            }
        }
        links.sort_by_key(|link| (link.recorded_ms, link.version));
        Ok((links, incomplete))
    }
}

fn unknown() -> ExchangeError {
    ExchangeError::not_found("UNKNOWN_PERSON", "no registration of such a person is held here, or was then")
}

impl HeldLink {
    /// Whether it holds two registrations apart.
    fn is_apart(&self) -> bool {
        matches!(self.body.decision(), LinkDecision::Different | LinkDecision::Suspended)
    }
}
