//! Finding the document entries of a person, in pages, newest first.
//!
//! A page is a cut of one order, (created, key) descending, and the token names a place in it, not in a store. So pages
//! of this node and of its parent merge by sorting, whatever each of them holds.

use std::collections::{BTreeMap, BTreeSet};

use model::RecordKey;
use model::body::{Availability, DocumentEntry, Kind};
use model::query::{DocumentAnswer, DocumentQuery, DocumentsOf, FoundDocument, PatientBy};

use crate::caller::{Action, Caller, permit};
use crate::compared::names_one_patient;
use crate::find::{Found, merge_scopes, own_institution};
use crate::terms::decode_entry;
use crate::{Deadline, Exchange, ExchangeError, Hop, PeerError};

/// Most document entries of one registration that are read for one answer; a registration with more is refused, not cut.
const MAX_ENTRIES: usize = 100_000;
/// Keys read from the index at a time.
const PAGE: usize = 1000;

/// A place in the order of documents: newest first, then by key.
type Place = (u64, RecordKey);

impl Exchange {
    /// Finds the document entries of a person.
    pub async fn find_documents(
        &self,
        caller: &Caller,
        mut query: DocumentQuery,
        deadline: Deadline,
    ) -> Result<DocumentAnswer, ExchangeError> {
        let _permit = permit(caller, Action::Find, &self.parts.node.path)?;
        self.take_context(caller, &mut query.context)?;
        if let DocumentsOf::Local(local) = &mut query.of {
            own_institution(caller, local)?;
        }
        let after = place(&query.page_token)?;
        let patients = self.registrations_of(&query.of)?;
        let mut known = !patients.is_empty();
        let mut documents = self.documents_here(&patients, &query, after)?;
        let mut more = documents.len() > query.page_size;
        let writers = documents.values().map(|(_, writer, recorded_ms)| (writer.as_str(), *recorded_ms));
        let registrations = patients.values().map(|one| (one.node_path.as_str(), one.recorded_ms));
        let mut scope = self.scope_of(writers.chain(registrations));
        let named = patients.keys().filter(|_| names_one_patient(&query.of));
        let compared = self.compared_above(named)?;
        let way_up = self.ask_parent(caller, query.reach);
        if way_up.is_some() && self.need_not_ask(compared, query.reach) {
            self.note_compared(&mut scope);
        } else if let Some(reach) = way_up {
            let forwarded = DocumentQuery { reach, ..query.clone() };
            match self.parts.peers.find_documents(&Hop::Parent, forwarded, deadline.shrink()).await {
                Ok(answer) => {
                    known = true;
                    if answer.next_page_token.is_empty() {
                        let told: BTreeSet<RecordKey> = answer.documents.iter().map(|one| one.key).collect();
                        documents.retain(|key, (_, writer, _)| self.is_own(writer) || told.contains(key));
                    }
                    more |= !answer.next_page_token.is_empty();
                    for found in answer.documents {
                        let newer = |(held, ..): &(FoundDocument, String, u64)| held.version < found.version;
                        let unknown = documents.get(&found.key).is_none_or(newer);
                        if unknown && self.is_news(&found.key, found.version)? {
                            let recorded_ms = found.recorded_ms;
                            documents.insert(found.key, (found, String::new(), recorded_ms));
                        }
                    }
                    scope = merge_scopes(answer.scope, scope);
                }
                // Above they may not know the patient yet: then what is held here is the answer.
                Err(PeerError::Refused { error, .. }) if error.reason() == "UNKNOWN_PATIENT" => {}
                Err(error) => self.note_no_reply(&mut scope, error, compared)?,
            }
        }
        if !known && scope.complete {
            return Err(ExchangeError::not_found(
                "UNKNOWN_PATIENT",
                "no such patient is registered anywhere in the tree",
            ));
        }
        Ok(page(documents, query.page_size, more, scope))
    }

    fn registrations_of(&self, of: &DocumentsOf) -> Result<Found, ExchangeError> {
        let by = match of {
            DocumentsOf::Identifier(identifier) => PatientBy::Identifier(identifier.clone()),
            DocumentsOf::Number(number) => PatientBy::Number(*number),
            DocumentsOf::Local(local) => PatientBy::Local(local.clone()),
            DocumentsOf::Registration(key) => {
                return Ok(self.persons_of([key])?.0.into_iter().flatten().collect());
            }
        };
        Ok(self.find_here(&by)?.0.into_iter().flatten().collect())
    }

    fn documents_here(
        &self,
        patients: &Found,
        query: &DocumentQuery,
        after: Option<Place>,
    ) -> Result<Documents, ExchangeError> {
        let mut documents = Documents::new();
        for subject in patients.keys() {
            for key in self.entries_about(subject)? {
                let Some(record) = self.parts.store.get(&key)?.filter(|record| !record.envelope().tombstone)
                else {
                    continue;
                };
                let Some(entry) = decode_entry(&record).filter(|entry| matches(entry, query)) else {
                    continue;
                };
                if after.is_some_and(|after| !comes_after(&(entry.created_ms, key), &after)) {
                    continue;
                }
                let envelope = record.envelope();
                let custodian_path = self.custodian_path(&entry);
                let recorded_ms = envelope.recorded_ms;
                let found =
                    FoundDocument { entry, version: envelope.version, recorded_ms, custodian_path, key };
                documents.insert(key, (found, self.writer_path(&record), recorded_ms));
            }
        }
        Ok(documents)
    }

    /// Keys of the entries about a registration, all of them: dead ones must not crowd out the living.
    fn entries_about(&self, subject: &RecordKey) -> Result<Vec<RecordKey>, ExchangeError> {
        let mut keys: Vec<RecordKey> = Vec::new();
        loop {
            let page =
                self.parts.store.about(subject, Kind::DocumentEntry as u32, keys.last().copied(), PAGE)?;
            let last = page.len() < PAGE;
            keys.extend(page);
            if last {
                return Ok(keys);
            }
            if keys.len() >= MAX_ENTRIES {
                return Err(ExchangeError::Exhausted {
                    reason: "TOO_MANY_DOCUMENTS".into(),
                    message: format!("one registration has more than {MAX_ENTRIES} document entries here"),
                    retry_after_ms: None,
                });
            }
        }
    }

    /// Path of the node that stands for an entry's custodian now; empty when the directory does not know it.
    pub(crate) fn custodian_path(&self, entry: &DocumentEntry) -> String {
        let custodian = self.custodian_now(entry);
        if custodian == Some(self.parts.node.origin) {
            return self.parts.node.path.to_string();
        }
        custodian
            .and_then(|origin| self.parts.directory.path_of(&origin))
            .map(|path| path.to_string())
            .unwrap_or_default()
    }
}

/// Documents by key, with the path of their writer and when they were recorded.
type Documents = BTreeMap<RecordKey, (FoundDocument, String, u64)>;

fn matches(entry: &DocumentEntry, query: &DocumentQuery) -> bool {
    let availability = Availability::try_from(entry.availability).unwrap_or(Availability::Unspecified);
    let available = match &query.availabilities[..] {
        [] => availability == Availability::Approved,
        wanted => wanted.contains(&availability),
    };
    available
        && (query.type_codes.is_empty() || query.type_codes.contains(&entry.type_code))
        && entry.created_ms >= query.created_from_ms
        && (query.created_to_ms == 0 || entry.created_ms < query.created_to_ms)
}

/// Whether a place comes after another in the order newest first, then by key.
fn comes_after(place: &Place, other: &Place) -> bool {
    (std::cmp::Reverse(place.0), place.1) > (std::cmp::Reverse(other.0), other.1)
}

fn page(documents: Documents, size: usize, more: bool, scope: model::query::AnswerScope) -> DocumentAnswer {
    let mut documents: Vec<FoundDocument> = documents.into_values().map(|(found, ..)| found).collect();
    documents.sort_by_key(|found| (std::cmp::Reverse(found.entry.created_ms), found.key));
    let more = more || documents.len() > size;
    documents.truncate(size);
    let next_page_token = match documents.last() {
        Some(last) if more => format!("{:x}.{}", last.entry.created_ms, last.key),
        _ => String::new(),
    };
    DocumentAnswer { documents, next_page_token, scope }
}

fn place(token: &str) -> Result<Option<Place>, ExchangeError> {
    if token.is_empty() {
        return Ok(None);
    }
    let read = || {
        let (created, key) = token.split_once('.')?;
        Some((u64::from_str_radix(created, 16).ok()?, key.parse().ok()?))
    };
    read()
        .map(Some)
        .ok_or_else(|| ExchangeError::unusable("PAGE_TOKEN", "the page token is not one of this service's"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_first_then_by_key() {
        let key = |byte| RecordKey([byte; 16]);
        assert!(comes_after(&(5, key(1)), &(9, key(1))));
        assert!(comes_after(&(9, key(2)), &(9, key(1))));
        assert!(!comes_after(&(9, key(1)), &(9, key(1))));
        assert!(!comes_after(&(10, key(9)), &(9, key(1))));
    }

    #[test]
    fn tokens_are_read_back_and_others_refused() {
        let token = format!("{:x}.{}", 1234, RecordKey([7; 16]));
        assert_eq!(place(&token).unwrap(), Some((1234, RecordKey([7; 16]))));
        assert_eq!(place("").unwrap(), None);
        assert_eq!(place("nonsense").unwrap_err().reason(), "PAGE_TOKEN");
    }
}
