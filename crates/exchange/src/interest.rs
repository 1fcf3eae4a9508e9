//! Which registrations are one person, for down feeds: the rule of queries, behind the same seam ([`model::person`]).

use model::body::{Kind, Registration};
use model::person::{ResidentIdGrouping, group};
use model::{Record, RecordKey};
use replication::Interest;
use store::{ReadError, Store};

use crate::terms::{TermKey, identifier_value, space};

/// Most registrations that one resident ID may join. A number that more of them carry is a placeholder ("no card") and nobody's:
/// comparing all of them with each other for every one of them would hold a down feed up. Nobody is at so many hospitals.
const MAX_SHARING: usize = 200;
/// Documents of a registration read at a time.
const PAGE: usize = 1000;

/// Answers from the node's own store.
#[derive(Debug, Clone)]
pub struct QueryTimeInterest {
    store: Store,
    terms: TermKey,
}

impl QueryTimeInterest {
    pub fn new(store: Store, terms: TermKey) -> Self {
        Self { store, terms }
    }

    fn candidates(&self, registration: &Registration) -> Result<Vec<RecordKey>, ReadError> {
        let mut keys = Vec::new();
        for identifier in registration.identifiers.iter().filter(|identifier| identifier.r#type == "01") {
            if let Some(value) = identifier_value(&identifier.r#type, &identifier.value) {
                let term = self.terms.term(space::IDENTIFIER, &value);
                let sharing = self.store.lookup(space::IDENTIFIER, &term, None, MAX_SHARING + 1)?;
                if sharing.len() <= MAX_SHARING {
                    keys.extend(sharing);
                }
            }
        }
        keys.sort_unstable();
        keys.dedup();
        Ok(keys)
    }
}

impl Interest for QueryTimeInterest {
    fn person(&self, registration: &Record) -> Result<Vec<Record>, ReadError> {
        // A body that cannot be read would not have been admitted; nobody is the same person as it.
        let Ok(this) = registration.decode_body::<Registration>() else { return Ok(Vec::new()) };
        let mut members = vec![(registration.clone(), this)];
        for key in self.candidates(&members[0].1)? {
            if key == registration.key() {
                continue;
            }
            let Some(record) = self.store.get(&key)?.filter(|record| !record.envelope().tombstone) else {
                continue;
            };
            if let Ok(body) = record.decode_body::<Registration>() {
                members.push((record, body));
            }
        }
        let bodies: Vec<&Registration> = members.iter().map(|(_, body)| body).collect();
        let of_this = group(&bodies, &ResidentIdGrouping).into_iter().find(|members| members.contains(&0));
        Ok(of_this.unwrap_or_default().into_iter().map(|member| members[member].0.clone()).collect())
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
}
