//! Finding persons: here, and up the tree.
//!
//! A node answers from its own store and, unless asked for that alone, from its parent's; both answers are merged by record
//! version, so a writer always reads its own writes and everybody else sees what replication has brought. Which registrations are
//! one person, [`crate::persons`] says here; of what the parent tells, its word counts ([`merge`]).

mod merge;
mod search;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use linkage::normalise::phone;
use linkage::search::whole_name;
use model::body::{Identifier, Registration};
use model::normalise::{identifier_key, name_key};
use model::query::{
    AnswerScope, FoundRegistration, LocalPatient, MAX_HOPS, MAX_PERSONS, PatientAnswer, PatientBy,
    PatientQuery, Person, QueryContext, Reach, Source, SourceState,
};
use model::{NodePath, Number, Record, RecordKey, Version};

use crate::caller::{Action, Caller, Role, permit};
use crate::compared::{Compared, names_one};
use crate::patients::registration_key;
use crate::persons::Member;
use crate::terms::{YEARS, identifier_values, name_value, space, year_of};
use crate::{Deadline, Exchange, ExchangeError, Hop, PeerError};

/// Most candidates that one lookup reads; a name that more people share needs more than a name to be found.
const MAX_CANDIDATES: usize = 1000;
/// Most registrations read for them: names that sound alike share a term.
const MAX_LOOKED_AT: usize = 4000;

/// Registrations found, by key.
pub(crate) type Found = BTreeMap<RecordKey, FoundRegistration>;
/// The same, a person each.
pub(crate) type Groups = Vec<Found>;

impl Exchange {
    /// Finds persons by identifier, telephone, number, local id or demographics, or ranks candidates for somebody little is known of.
    pub async fn find_patients(
        &self,
        caller: &Caller,
        mut query: PatientQuery,
        deadline: Deadline,
    ) -> Result<PatientAnswer, ExchangeError> {
        let _permit = permit(caller, Action::Find, &self.parts.node.path)?;
        self.take_context(caller, &mut query.context)?;
        if let PatientBy::Local(local) = &mut query.by {
            own_institution(caller, local)?;
        }
        check(&query.by)?;
        let asked = match &query.by {
            PatientBy::Search(search) => Some(self.asked(search)?),
            _ => None,
        };
        self.judge.catch_up().await;
        let (mut groups, mut truncated, agreeing) = if let Some(asked) = &asked {
            let found = self.search(asked, query.limit)?;
            (found.groups, found.truncated, found.agreeing)
        } else {
            let (groups, truncated) = self.find_here(&query.by)?;
            (groups, truncated, 0)
        };
        let mut scope = self.local_scope(groups.iter().flat_map(BTreeMap::values));
        // All of a region of this node's own is here.
        let elsewhere = asked.as_ref().is_none_or(|asked| !asked.is_of_own_region);
        let found = groups.iter().flat_map(BTreeMap::keys).filter(|_| names_one(&query.by));
        let compared = self.compared_above(found)?;
        let way_up = self.ask_parent(caller, query.reach).filter(|_| elsewhere);
        if way_up.is_some() && self.need_not_ask(compared, query.reach) {
            self.note_compared(&mut scope);
        } else if let Some(reach) = way_up {
            let forwarded = PatientQuery { reach, ..query.clone() };
            match self.parts.peers.find_patients(&Hop::Parent, forwarded, deadline.shrink()).await {
                Ok(answer) => {
                    truncated |= answer.truncated;
                    scope = merge_scopes(answer.scope, scope);
                    groups = self.merge(groups, answer.persons, answer.truncated)?;
                }
                // This node has found nothing wrong with the question: it is too wide among more persons, or too new for the parent.
                Err(error) if is_new(&query.by) => self.note_missing(&mut scope, &error, compared),
                Err(error) => self.note_no_reply(&mut scope, error, compared)?,
            }
        }
        let mut persons = persons(groups);
        if let Some(asked) = &asked {
            persons = self.rank(asked, agreeing, persons);
        }
        if persons.len() > query.limit {
            persons.truncate(query.limit);
            truncated = true;
        }
        Ok(PatientAnswer { persons, truncated, scope })
    }

    /// Fills in what this node answers for in a query's context and counts the hop.
    pub(crate) fn take_context(
        &self,
        caller: &Caller,
        context: &mut QueryContext,
    ) -> Result<(), ExchangeError> {
        if context.hops >= MAX_HOPS {
            return Err(ExchangeError::unusable(
                "TOO_MANY_HOPS",
                "the query has passed too many nodes: the directory sends it in a circle",
            ));
        }
        context.hops += 1;
        if caller.role != Role::Node {
            context.hops = 1;
            context.asked_at = Some(self.parts.node.path.clone());
            context.institution_code.clear();
            if let Role::Institution { code } = &caller.role {
                code.clone_into(&mut context.institution_code);
            }
        }
        if context.trace_id == [0; 16] {
            context.trace_id = self.parts.entropy.id();
        }
        Ok(())
    }

    /// Whether the parent is to be asked too, and with which reach: not at a root, and never back where the question came from.
    pub(crate) fn ask_parent(&self, caller: &Caller, reach: Reach) -> Option<Reach> {
        let own = &self.parts.node.path;
        let from_above = caller.role == Role::Node && caller.path.is_parent_of(own);
        (reach != Reach::Local && !self.parts.node.is_root() && !from_above).then_some(reach)
    }

    /// Notes in the scope that the parent did not reply; what is wrong with the question itself is passed on.
    pub(crate) fn note_no_reply(
        &self,
        scope: &mut AnswerScope,
        error: PeerError,
        compared: Compared,
    ) -> Result<(), ExchangeError> {
        // What is wrong with the question is wrong everywhere; what is wrong with the parent is no reason to be silent here.
        if let PeerError::Refused { error, .. } = &error
            && error.is_callers()
        {
            return Err(error.clone());
        }
        self.note_missing(scope, &error, compared);
        Ok(())
    }

    /// Notes in the scope that the parent gave no answer, and why, and how far what is held here was compared above.
    fn note_missing(&self, scope: &mut AnswerScope, error: &PeerError, compared: Compared) {
        let Some(parent) = self.parts.node.path.parent() else { return };
        let heard_ms = self.parts.links.heard_ms(&parent);
        scope.complete = false;
        scope.sources.push(Source {
            path: parent,
            state: SourceState::NoReply,
            heard_ms,
            newest_record_ms: 0,
            behind: 0,
            reason: format!("{error}{compared}"),
        });
    }

    /// The persons held here of whom a registration matches.
    pub(crate) fn find_here(&self, by: &PatientBy) -> Result<(Groups, bool), ExchangeError> {
        let mut found = Found::new();
        let truncated = match by {
            PatientBy::Identifier(identifier) => self.find_identifier(identifier, &mut found)?,
            PatientBy::Number(number) => self.find_number(*number, &mut found)?,
            PatientBy::Local(local) => {
                let origin = self.institution_origin(&local.institution_code);
                let key = registration_key(origin, &local.source_system, &local.local_id);
                self.find_key(&key, &mut found)?;
                false
            }
            PatientBy::Demographics { name, birth_date, sex } => {
                let matches = |registration: &Registration| {
                    name_key(&registration.name) == name_key(name)
                        && (birth_date.is_empty() || registration.birth_date.starts_with(birth_date.as_str()))
                        && (sex.is_empty() || registration.sex == *sex)
                };
                self.find_name(name, birth_date, matches, &mut found)?
            }
            PatientBy::Phone(text) => {
                let Some(number) = phone::read(text) else { return Ok((Groups::new(), false)) };
                let matches = |registration: &Registration| {
                    registration.phones.iter().any(|held| phone::read(held) == Some(number))
                };
                self.find_terms(space::PHONE, &[number.to_string()], matches, &mut found)?
            }
            PatientBy::Search(search) => {
                let found = self.search(&self.asked(search)?, MAX_PERSONS)?;
                return Ok((found.groups, found.truncated));
            }
        };
        let (groups, expanded) = self.persons_of(found.keys())?;
        Ok((groups, truncated || expanded))
    }

    fn find_identifier(&self, identifier: &Identifier, found: &mut Found) -> Result<bool, ExchangeError> {
        let values = identifier_values(&identifier.r#type, &identifier.value);
        let is_same = |held: &Identifier| {
            (identifier.r#type.is_empty() || held.r#type == identifier.r#type)
                && identifier_key(&held.r#type, &held.value).is_some_and(|key| values.contains(&key))
        };
        let matches = |registration: &Registration| registration.identifiers.iter().any(is_same);
        self.find_terms(space::IDENTIFIER, &values, matches, found)
    }

    /// Finds by a whole name in the year of a birth date, in every year without one.
    fn find_name(
        &self,
        name: &str,
        birth_date: &str,
        matches: impl Fn(&Registration) -> bool,
        found: &mut Found,
    ) -> Result<bool, ExchangeError> {
        let Some(sound) = whole_name(name) else { return Ok(false) };
        let year = birth_date.get(..4).and_then(|year| year.parse().ok()).map(year_of);
        let years = year.map_or_else(|| YEARS.chain([0]).collect(), |year| vec![year]);
        let values: Vec<String> = years.into_iter().map(|year| name_value(&sound, year)).collect();
        self.find_terms(space::NAME, &values, matches, found)
    }

    pub(crate) fn find_number(&self, number: Number, found: &mut Found) -> Result<bool, ExchangeError> {
        let term = self.parts.terms.term(space::NUMBER, number.as_str());
        let keys = self.parts.store.lookup(space::NUMBER, &term, None, MAX_CANDIDATES)?;
        for key in keys.iter().filter(|key| Number::of(**key) == number) {
            self.find_key(key, found)?;
        }
        Ok(false)
    }

    /// Reads the candidates under any of these values and keeps those that match; true when there were more than the bounds.
    fn find_terms(
        &self,
        space: u8,
        values: &[String],
        matches: impl Fn(&Registration) -> bool,
        found: &mut Found,
    ) -> Result<bool, ExchangeError> {
        let mut keys = Vec::new();
        for value in values {
            let term = self.parts.terms.term(space, value);
            keys.extend(self.parts.store.lookup(space, &term, None, MAX_LOOKED_AT + 1 - keys.len())?);
            if keys.len() > MAX_LOOKED_AT {
                break;
            }
        }
        for key in keys.iter().take(MAX_LOOKED_AT) {
            if found.len() > MAX_CANDIDATES {
                return Ok(true);
            }
            if !found.contains_key(key)
                && let Some(registration) = self.registration(key)?
                && matches(&registration.registration)
            {
                found.insert(*key, registration);
            }
        }
        Ok(keys.len() > MAX_LOOKED_AT)
    }

    pub(crate) fn find_key(&self, key: &RecordKey, found: &mut Found) -> Result<(), ExchangeError> {
        if let Some(registration) = self.registration(key)? {
            found.insert(*key, registration);
        }
        Ok(())
    }

    /// The persons of these registrations, as they are held here, but for those without a registration from this node's subtree: what
    /// came down of a person stays in the log when the interest in that person ends, and is no longer this node's to tell.
    pub(crate) fn persons_of<'a>(
        &self,
        keys: impl IntoIterator<Item = &'a RecordKey>,
    ) -> Result<(Groups, bool), ExchangeError> {
        self.first_persons(keys, usize::MAX)
    }

    /// The first persons of these registrations, at most `most`; and whether anything was left out.
    fn first_persons<'a>(
        &self,
        keys: impl IntoIterator<Item = &'a RecordKey>,
        most: usize,
    ) -> Result<(Groups, bool), ExchangeError> {
        let (mut walk, mut met, mut truncated) = (self.persons.walk(), BTreeSet::new(), false);
        let mut groups = Groups::new();
        for key in keys {
            let start = if met.contains(key) { None } else { walk.registration(key)? };
            let Some(start) = start else { continue };
            if groups.len() == most {
                return Ok((groups, true));
            }
            let known = walk.person(start)?;
            truncated |= known.truncated;
            let group: Found = known.members.iter().map(|member| self.found(member)).collect();
            met.extend(group.keys().copied());
            if self.parts.node.is_root() || group.values().any(|one| self.is_own(&one.node_path)) {
                groups.push(group);
            }
        }
        Ok((groups, truncated))
    }

    /// Whether a record of this writer is of this node's subtree.
    pub(crate) fn is_own(&self, writer: &str) -> bool {
        writer.parse::<NodePath>().is_ok_and(|path| self.parts.node.path.contains(&path))
    }

    /// The living registration with this key.
    fn registration(&self, key: &RecordKey) -> Result<Option<FoundRegistration>, ExchangeError> {
        let member = self.parts.store.get(key)?.and_then(Member::of);
        Ok(member.map(|member| self.found(&member).1))
    }

    pub(crate) fn found(&self, member: &Member) -> (RecordKey, FoundRegistration) {
        let (key, envelope) = (member.record.key(), member.record.envelope());
        let found = FoundRegistration {
            registration: member.body.clone(),
            version: envelope.version,
            recorded_ms: envelope.recorded_ms,
            node_path: self.writer_path(&member.record),
            key,
        };
        (key, found)
    }

    /// Whether a neighbour's version of a record tells more than what is held here. What this node's subtree wrote and did not
    /// match the question (withdrawn since, say) must not come back in an older version. Of others it has only what came
    /// down, which may be no longer its to tell: then the neighbour's word counts.
    pub(crate) fn is_news(&self, key: &RecordKey, version: Version) -> Result<bool, ExchangeError> {
        if self.parts.store.version(key)?.is_none_or(|held| held < version) {
            return Ok(true);
        }
        let own = &self.parts.node.path;
        let Some(held) = self.parts.store.get(key)? else { return Ok(true) };
        Ok(self.writer_of(&held).is_some_and(|path| !own.contains(&path)))
    }

    /// Path of the node that writes a record now, or empty when the directory does not know it.
    pub(crate) fn writer_path(&self, record: &Record) -> String {
        self.writer_of(record).map(|path| path.to_string()).unwrap_or_default()
    }

    /// Where the node stands that may change a record: its institution's writer now, which need not be who signed it.
    fn writer_of(&self, record: &Record) -> Option<NodePath> {
        let (directory, envelope) = (&self.parts.directory, record.envelope());
        directory.writer_path(&envelope.origin).or_else(|| directory.key_path(&envelope.key_id))
    }
}

/// Fills in the calling institution where the query leaves it out.
pub(crate) fn own_institution(caller: &Caller, local: &mut LocalPatient) -> Result<(), ExchangeError> {
    if !local.institution_code.is_empty() {
        return Ok(());
    }
    match &caller.role {
        Role::Institution { code } => {
            code.clone_into(&mut local.institution_code);
            Ok(())
        }
        _ => Err(ExchangeError::unusable(
            "INSTITUTION_NEEDED",
            "a local patient id needs the institution that gave it",
        )),
    }
}

/// Whether releases before this one do not know this kind of question.
fn is_new(by: &PatientBy) -> bool {
    match by {
        PatientBy::Identifier(identifier) => identifier.r#type.is_empty(),
        by => matches!(by, PatientBy::Phone(_) | PatientBy::Search(_)),
    }
}

fn check(by: &PatientBy) -> Result<(), ExchangeError> {
    match by {
        PatientBy::Phone(text) if phone::read(text).is_none() => Err(ExchangeError::unusable(
            "PHONE_UNUSABLE",
            "phone: not a number of 6 to 15 digits that one telephone could have",
        )),
        PatientBy::Demographics { name, .. } if name_key(name).is_empty() => {
            Err(ExchangeError::unusable("NAME_NEEDED", "a search by demographics needs a name"))
        }
        _ => Ok(()),
    }
}

/// Persons in the order of their numbers. A number is the smallest of its registrations' by (recorded birth of the record, number).
fn persons(groups: Groups) -> Vec<Person> {
    let mut persons: Vec<Person> = groups
        .into_iter()
        .filter_map(|group| {
            let oldest = oldest(&group)?;
            Some(Person { number: oldest.1, registrations: group.into_values().collect(), matched: None })
        })
        .collect();
    persons.sort_by_key(|person| person.number);
    persons
}

/// Birth and number of the registration that gives its person the number.
fn oldest(group: &Found) -> Option<(u64, Number)> {
    group.values().map(|one| (one.registration.born_ms, Number::of(one.key))).min()
}

/// The scope of an answer made from the parent's and this node's: the parent's word on the tree, this node's on itself.
pub(crate) fn merge_scopes(above: AnswerScope, here: AnswerScope) -> AnswerScope {
    let mut sources = above.sources;
    for source in here.sources {
        match sources.iter_mut().find(|known| known.path == source.path) {
            Some(known) if source.state != SourceState::Replicated => *known = source,
            Some(_) => {}
            None => sources.push(source),
        }
    }
    // A node that answers for itself here is not missing, whatever is known of its feed above.
    let complete = sources.iter().all(|source| source.state != SourceState::NoReply);
    AnswerScope { sources, complete, ..above }
}
