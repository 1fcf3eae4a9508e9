//! One answer of this node's persons and its parent's.
//!
//! The parent knows more links than what has come down, and those that overrule them, so its persons stand as it told them. What it
//! does not know yet (registered here a moment ago) joins the person that it belongs to here, or by its resident ID.

use std::collections::BTreeSet;

use model::RecordKey;
use model::person::same_by_resident_id;
use model::query::{FoundRegistration, Person};

use super::{Found, Groups, oldest};
use crate::{Exchange, ExchangeError};

impl Exchange {
    /// Merges what the parent answered into what was found here. An answer that was cut short says nothing of what it does not tell.
    pub(super) fn merge(
        &self,
        mut here: Groups,
        above: Vec<Person>,
        truncated: bool,
    ) -> Result<Groups, ExchangeError> {
        let told: BTreeSet<RecordKey> =
            above.iter().flat_map(|person| &person.registrations).map(|one| one.key).collect();
        if !truncated {
            // What came down once and is not told above any more is another person's by now.
            for group in &mut here {
                group.retain(|key, one| self.is_own(&one.node_path) || told.contains(key));
            }
        }
        let mut merged = Groups::new();
        for person in above {
            let mut group = Found::new();
            for registration in person.registrations {
                if let Some(one) = self.newer(registration, &here)? {
                    group.insert(one.key, one);
                }
            }
            merged.push(group);
        }
        let above = merged.len();
        for group in here {
            let touched = (0..above).filter(|at| merged[*at].keys().any(|key| group.contains_key(key)));
            // Of several that its person touches, the one that gives the number.
            let by_person = touched.min_by_key(|at| oldest(&merged[*at]));
            let rest: Found = group.into_iter().filter(|(key, _)| !told.contains(key)).collect();
            let same = |other: &Found| {
                let pairs = rest.values().flat_map(|one| other.values().map(move |two| (one, two)));
                pairs.into_iter().any(|(one, two)| same_by_resident_id(&one.registration, &two.registration))
            };
            match by_person.or_else(|| (0..above).find(|at| same(&merged[*at]))) {
                Some(at) => merged[at].extend(rest),
                None => merged.push(rest),
            }
        }
        merged.retain(|group| !group.is_empty());
        Ok(merged)
    }

    /// The version of a registration to answer with: the parent's or the one found here. None when neither counts, because it is held
    /// here in a later version that is no match.
    fn newer(
        &self,
        told: FoundRegistration,
        here: &Groups,
    ) -> Result<Option<FoundRegistration>, ExchangeError> {
        let held = here.iter().find_map(|group| group.get(&told.key));
        if held.is_none_or(|held| held.version < told.version) && self.is_news(&told.key, told.version)? {
            return Ok(Some(told));
        }
        Ok(held.cloned())
    }
}
