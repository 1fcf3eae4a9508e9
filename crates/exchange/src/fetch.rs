//! Giving a neighbour records by their keys, so that it can mend its log.
//!
//! A child gets what was signed in its subtree and what its down feed tells it, the parent what was signed in this subtree: each
//! only what it held before by right.

use model::fetch::{Fetched, MAX_BYTES, MAX_KEYS};
use model::{Record, RecordKey};
use replication::DirectoryView;
use store::ReadError;

use crate::caller::{Action, Caller, permit};
use crate::{Exchange, ExchangeError};

impl Exchange {
    /// The records held under these keys that are for the caller, a parent or child, as they are stored.
    pub fn fetch(&self, caller: &Caller, keys: &[RecordKey]) -> Result<Fetched, ExchangeError> {
        let own = &self.parts.node.path;
        let _permit = permit(caller, Action::Mend, own)?;
        if caller.path == *own {
            return Err(ExchangeError::denied("NOT_A_NEIGHBOUR", "a node does not mend itself"));
        }
        if keys.len() > MAX_KEYS {
            return Err(ExchangeError::unusable("TOO_MANY", "at most 256 records at once"));
        }
        let directory = self.parts.directory.snapshot();
        let mut fetched = Fetched::default();
        let mut bytes = 0;
        for key in keys {
            let record = match self.parts.store.get(key) {
                Ok(Some(record)) => record,
                // What is damaged here too is mended here first; the neighbour asks again.
                Ok(None) | Err(ReadError::Corrupt { .. }) => continue,
                Err(error) => return Err(error.into()),
            };
            if !self.is_for(caller, &record, &directory)? {
                continue;
            }
            bytes += record.size();
            if bytes > MAX_BYTES && !fetched.records.is_empty() {
                fetched.incomplete = true;
                break;
            }
            fetched.records.push(record);
        }
        Ok(fetched)
    }

    fn is_for(
        &self,
        caller: &Caller,
        record: &Record,
        directory: &DirectoryView,
    ) -> Result<bool, ExchangeError> {
        let (own, store) = (&self.parts.node.path, &self.parts.store);
        let to_child = own.is_parent_of(&caller.path);
        let within = if to_child { &caller.path } else { own };
        if directory.key_path(&record.envelope().key_id).is_some_and(|path| within.contains(path)) {
            return Ok(true);
        }
        Ok(to_child && replication::is_told(record, &caller.path, &self.persons, directory, store)?)
    }
}
