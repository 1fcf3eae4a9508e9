//! Wire ↔ model for records fetched by key.

use bytes::Bytes;
use model::fetch::{Fetched, MAX_KEYS};
use model::{Record, RecordKey};

use crate::ConvertError;
use crate::v1::{FetchReply, FetchRequest};

impl TryFrom<FetchRequest> for Vec<RecordKey> {
    type Error = ConvertError;
    fn try_from(request: FetchRequest) -> Result<Self, ConvertError> {
        if request.keys.len() > MAX_KEYS {
            return Err(ConvertError { field: "keys", rule: "must be at most 256" });
        }
        let key = |key: Bytes| {
            RecordKey::try_from(&key[..])
                .map_err(|_| ConvertError { field: "keys", rule: "must be 16 bytes each" })
        };
        request.keys.into_iter().map(key).collect()
    }
}

impl From<Vec<RecordKey>> for FetchRequest {
    fn from(keys: Vec<RecordKey>) -> Self {
        Self { keys: keys.iter().map(|key| Bytes::copy_from_slice(key.as_bytes())).collect() }
    }
}

impl TryFrom<FetchReply> for Fetched {
    type Error = ConvertError;
    fn try_from(reply: FetchReply) -> Result<Self, ConvertError> {
        if reply.records.len() > MAX_KEYS {
            return Err(ConvertError { field: "records", rule: "must be no more than were asked for" });
        }
        let record = |raw| {
            Record::from_raw(raw)
                .map_err(|_| ConvertError { field: "records", rule: "must be well-formed records" })
        };
        let records = reply.records.into_iter().map(record).collect::<Result<_, _>>()?;
        Ok(Self { records, incomplete: reply.incomplete })
    }
}

impl From<Fetched> for FetchReply {
    fn from(fetched: Fetched) -> Self {
        Self { records: fetched.records.iter().map(Record::to_raw).collect(), incomplete: fetched.incomplete }
    }
}
