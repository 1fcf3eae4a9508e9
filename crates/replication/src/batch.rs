//! Batches as bytes: encoding, compression, and reading them back within bounds.

use bytes::Bytes;
use model::Record;
use model::body::{RawRecord, RecordList};
use model::feed::{Batch, Compression, MAX_BATCH_BYTES};
use prost::Message;
use prost::encoding::{DecodeContext, WireType, decode_key, skip_field};

/// Payloads up to this length are sent as they are: compressing them saves less than it costs.
const WORTH_COMPRESSING: usize = 512;
/// Level 1: the link is rarely slower than the disk behind it, and two cores do everything.
const LEVEL: i32 = 1;
/// Most records of one batch; the least that a real one can take is about twice what this allows.
const MAX_RECORDS: usize = 16 * 1024;
/// Number of the field of a list that holds its records.
const RECORD: u32 = 1;
/// Tags and lengths around one record in a list, at most.
const RECORD_OVERHEAD: usize = 20;

/// Where a batch stands in its feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The records after this position …
    pub after: u64,
    /// … up to and including this one. Equal to `after` for a part that completes nothing.
    pub upto: u64,
    /// The feed's head when they were read.
    pub head: u64,
    /// The sender's clock.
    pub now_ms: u64,
}

/// Why a batch cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    #[error("longer than the limit of {MAX_BATCH_BYTES} bytes")]
    TooLong,
    #[error("not of the length that it states")]
    Length,
    #[error("holds more than {MAX_RECORDS} records")]
    TooMany,
    #[error("cannot be decompressed")]
    Compression,
    #[error("is no list of records")]
    Form,
}

/// Bytes that a record takes in a batch, at most.
pub fn size_in_batch(record: &Record) -> usize {
    record.size() + RECORD_OVERHEAD
}

/// Makes a batch of records.
pub fn encode(records: &[Record], place: Place) -> Batch {
    let list = RecordList { records: records.iter().map(Record::to_raw).collect() };
    let raw = list.encode_to_vec();
    let raw_len = raw.len() as u32;
    let smaller = (raw.len() > WORTH_COMPRESSING).then(|| zstd::bulk::compress(&raw, LEVEL).ok()).flatten();
    let (compression, payload) = match smaller.filter(|smaller| smaller.len() < raw.len()) {
        Some(smaller) => (Compression::Zstd, smaller),
        None => (Compression::None, raw),
    };
    let Place { after, upto, head, now_ms } = place;
    let retractions = Vec::new();
    Batch { after, upto, compression, raw_len, payload: Bytes::from(payload), head, now_ms, retractions }
}

/// Reads a batch's records, as their wire forms. Never makes more than [`MAX_BATCH_BYTES`] of the payload.
pub fn decode(batch: &Batch) -> Result<Vec<RawRecord>, BatchError> {
    let raw_len = batch.raw_len as usize;
    if raw_len > MAX_BATCH_BYTES || batch.payload.len() > MAX_BATCH_BYTES {
        return Err(BatchError::TooLong);
    }
    let raw = match batch.compression {
        Compression::None => batch.payload.clone(),
        // The capacity is the bound: a payload that becomes longer than it states is refused.
        Compression::Zstd => zstd::bulk::decompress(&batch.payload, raw_len)
            .map(Bytes::from)
            .map_err(|_| BatchError::Compression)?,
    };
    if raw.len() != raw_len {
        return Err(BatchError::Length);
    }
    count(&raw)?;
    Ok(RecordList::decode(raw).map_err(|_| BatchError::Form)?.records)
}

/// Bounds the number of records before any is made: an empty one takes two bytes here and a hundred in memory.
fn count(mut list: &[u8]) -> Result<(), BatchError> {
    let mut records = 0;
    while !list.is_empty() {
        let (field, wire_type) = decode_key(&mut list).map_err(|_| BatchError::Form)?;
        if (field, wire_type) != (RECORD, WireType::LengthDelimited) {
            // Of a newer release: passed over here as by the decoder.
            skip_field(wire_type, field, &mut list, DecodeContext::default())
                .map_err(|_| BatchError::Form)?;
            continue;
        }
        let len = prost::decode_length_delimiter(&mut list).map_err(|_| BatchError::Form)?;
        list = list.get(len..).ok_or(BatchError::Form)?;
        records += 1;
        if records > MAX_RECORDS {
            return Err(BatchError::TooMany);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
