//! What a child that lacks records is given back: not what it has just shipped, and nothing for ever in vain.

use std::collections::{HashMap, HashSet};

use model::{Record, RecordKey, Version};

/// Most records remembered of each kind, some 3 MB each: those of all buckets in which a child holds others, where these are few.
/// What is not remembered may be given back for nothing.
pub(super) const MAX_REMEMBERED: usize = 65_536;

/// The memory of a session for what goes back.
#[derive(Debug, Default)]
pub(super) struct Giving {
    /// What the child shipped again or was given back since it last began to ship again: it has that.
    there: HashMap<RecordKey, Version>,
    /// All that was given back since the ends were equal.
    given: HashSet<RecordKey>,
    /// What the child shipped again and was not taken, because its institution moved away and changed it.
    declined: HashSet<RecordKey>,
}

impl Giving {
    /// Whether the child has this version or a later one.
    pub fn is_there(&self, key: &RecordKey, version: Version) -> bool {
        self.there.get(key).is_some_and(|there| *there >= version)
    }

    /// The child ships these again.
    pub fn shipped(&mut self, records: &[Record]) {
        let room = MAX_REMEMBERED.saturating_sub(self.there.len());
        self.there.extend(records.iter().take(room).map(|one| (one.key(), one.envelope().version)));
    }

    /// Whether the child ships this again although it was not taken before. Never of more than are remembered.
    pub fn insists(&mut self, key: &RecordKey) -> bool {
        self.declined.len() < MAX_REMEMBERED && !self.declined.insert(*key)
    }

    /// These go back to the child; whether that is progress: one of them at least was not given before. When none go it ships again
    /// all that it has where it differs, and what it had before says nothing any more: it may have lost that since.
    pub fn gives(&mut self, records: &[Record]) -> bool {
        if records.is_empty() {
            self.there.clear();
            return false;
        }
        self.shipped(records);
        let room = MAX_REMEMBERED.saturating_sub(self.given.len());
        let new = |record: &&Record| !self.given.contains(&record.key());
        let new: Vec<RecordKey> = records.iter().filter(new).take(room).map(Record::key).collect();
        let any = !new.is_empty();
        self.given.extend(new);
        any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Writer;

    /// Whoever lost a record again in the same session, say because somebody made it forget it, gets it back again.
    #[test]
    fn what_was_given_back_and_is_not_shipped_again_is_given_once_more() {
        let record = Writer::new(1, "530000").signing_key();
        let (key, version) = (record.key(), record.envelope().version);
        let mut giving = Giving::default();
        assert!(giving.gives(std::slice::from_ref(&record)), "the first time");
        assert!(giving.is_there(&key, version), "the rest of its bucket comes next");
        assert!(!giving.gives(&[]), "all is given, and it still differs");
        assert!(!giving.is_there(&key, version), "that it was given says nothing now");
        assert!(!giving.gives(std::slice::from_ref(&record)), "a second time is no progress");
        giving.gives(&[]);
        giving.shipped(std::slice::from_ref(&record));
        assert!(giving.is_there(&key, version), "it is not in the way of what the child lacks");
    }
}
