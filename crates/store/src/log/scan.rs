//! Opening the log: which segments there are, whether they belong together, and what a bad end means.
//!
//! A bad place is one of three things. **Torn**: the file ends inside a frame, as a killed process or a power loss leaves
//! it; nothing of that frame was acknowledged, and it is cut off. **Unsynced remains**: after a power loss, bad bytes with
//! nothing behind them but frames of the same group; cut off as well. **Damage**: everything else; the store refuses to
//! open, because what it would cut off was acknowledged once.

use std::io;
use std::sync::Arc;

use model::OriginId;

use super::format::{
    FRAME_HEADER, FRAME_MAGIC, FrameHeader, HeaderError, Identity, MAX_PAYLOAD, SEGMENT_HEADER,
    SegmentHeader, is_fresh, segment_name, segment_of,
};
use super::read::{Bad, BadKind};
use super::segments::{Log, Place};
use super::tail::create_segment;
use crate::error::{OpenError, is_full};
use crate::storage::Storage;
use crate::types::TailCut;

/// Files of cut-off tails that are kept; older ones go.
const TORN_KEPT: usize = 16;

/// What is in the log's directory.
pub(crate) enum Found {
    /// No segment, or only one whose creation was never finished.
    Nothing,
    Log(Box<Log>, Option<TailCut>),
}

/// Reads all segment headers and checks that the segments follow on each other.
pub(crate) fn find(storage: &Arc<dyn Storage>, node: OriginId) -> Result<Found, OpenError> {
    let names = storage.list().map_err(|source| OpenError::Io { doing: "list the log's files", source })?;
    let mut firsts: Vec<u64> = names.iter().filter_map(|name| segment_of(name)).collect();
    firsts.sort_unstable();
    let mut headers: Vec<(SegmentHeader, u64)> = Vec::with_capacity(firsts.len());
    let mut unfinished = None;
    for (at, first) in firsts.iter().enumerate() {
        let (header, len) = read_header(storage.as_ref(), *first)?;
        match header {
            Ok(header) => headers.push((header, len)),
            // A segment gets its first frame only when its header is durable: this one never had any.
            Err(HeaderError::Bad(_)) if at + 1 == firsts.len() && len <= SEGMENT_HEADER as u64 => {
                if at == 0 {
                    return Ok(Found::Nothing);
                }
                unfinished = Some((*first, len));
            }
            Err(HeaderError::Bad(why)) => {
                return Err(OpenError::Corrupt { segment: segment_name(*first), offset: 0, why });
            }
            Err(HeaderError::Unsupported(what)) => {
                return Err(OpenError::Unsupported { segment: segment_name(*first), what });
            }
        }
    }
    let Some((first, _)) = headers.first() else { return Ok(Found::Nothing) };
    let identity = first.identity;
    check_chain(&firsts[..headers.len()], &headers)?;
    if identity.node != node {
        return Err(OpenError::OtherNode);
    }
    let log = Log::new(storage.clone(), identity);
    for (header, len) in &headers {
        log.set_len(header.first_lsn, *len);
        if let Some(moved) = header.moved {
            log.set_moved(header.first_lsn, moved);
        }
    }
    drop_fresh(storage.as_ref(), &names)?;
    let cut = unfinished.map(|(first, len)| drop_unfinished(storage.as_ref(), first, len)).transpose()?;
    Ok(Found::Log(Box::new(log), cut))
}

/// Makes a new log with its first segment.
pub(crate) fn create(storage: &Arc<dyn Storage>, node: OriginId) -> Result<Log, OpenError> {
    let failed = |source| OpenError::Io { doing: "create the log", source };
    let (mut store_id, mut salt) = ([0; 16], [0; 8]);
    storage.random(&mut store_id).map_err(failed)?;
    storage.random(&mut salt).map_err(failed)?;
    let log = Log::new(storage.clone(), Identity { store_id, node, salt: u64::from_le_bytes(salt) });
    create_segment(&log, 1, (0, 0)).map_err(failed)?;
    Ok(log)
}

type Header = Result<SegmentHeader, HeaderError>;

fn read_header(storage: &dyn Storage, first: u64) -> Result<(Header, u64), OpenError> {
    let failed = |source| OpenError::Io { doing: "read a log segment", source };
    let name = segment_name(first);
    let mut bytes = [0; SEGMENT_HEADER];
    let read = storage.read_at(&name, 0, &mut bytes).map_err(failed)?;
    let len = storage.len(&name).map_err(failed)?;
    Ok((SegmentHeader::decode(&bytes[..read]), len))
}

fn check_chain(names: &[u64], headers: &[(SegmentHeader, u64)]) -> Result<(), OpenError> {
    let mut before: Option<(&SegmentHeader, u64)> = None;
    for ((header, len), name) in headers.iter().zip(names) {
        let corrupt = |offset, why| Err(OpenError::Corrupt { segment: segment_name(*name), offset, why });
        if header.first_lsn != *name {
            return corrupt(52, "the file has another segment's name");
        }
        let (expected_first, expected_len) = header.before;
        if let Some((last, len)) = before {
            if last.identity != header.identity {
                return corrupt(12, "the segment belongs to another log");
            }
            if last.first_lsn != expected_first {
                return Err(OpenError::SegmentMissing(segment_name(expected_first)));
            }
            if let Some(moved) = last.moved
                && (u64::from(moved.original_len), moved.last_lsn + 1) != (expected_len, header.first_lsn)
            {
                let segment = segment_name(last.first_lsn);
                return Err(OpenError::Corrupt { segment, offset: 76, why: "another segment follows" });
            }
            if last.moved.is_none() && len != expected_len {
                let segment = segment_name(last.first_lsn);
                return Err(OpenError::Corrupt {
                    segment,
                    offset: len.min(expected_len),
                    why: "the file's length",
                });
            }
        } else if expected_first != 0 {
            return Err(OpenError::SegmentMissing(segment_name(expected_first)));
        }
        before = Some((header, *len));
    }
    match before.and_then(|(last, _)| last.moved) {
        // Only a closed segment is rewritten: there was one behind it.
        Some(moved) => Err(OpenError::SegmentMissing(segment_name(moved.last_lsn + 1))),
        None => Ok(()),
    }
}

/// Removes what is left of a rewriting that was under way: the segment is still there as it was.
fn drop_fresh(storage: &dyn Storage, names: &[String]) -> Result<(), OpenError> {
    let failed = |source| OpenError::Io { doing: "remove an unfinished copy of a log segment", source };
    for name in names.iter().filter(|name| is_fresh(name)) {
        storage.remove(name).map_err(failed)?;
        storage.sync_dir().map_err(failed)?;
    }
    Ok(())
}

fn drop_unfinished(storage: &dyn Storage, first: u64, len: u64) -> Result<TailCut, OpenError> {
    let segment = segment_name(first);
    let failed = |source| OpenError::Io { doing: "remove an unfinished log segment", source };
    storage.remove(&segment).map_err(failed)?;
    storage.sync_dir().map_err(failed)?;
    Ok(TailCut { segment, offset: 0, bytes: len, saved_to: None })
}

/// Decides what a bad place is; returns if it may be cut off.
pub(crate) fn judge(log: &Log, bad: &Bad, power_loss: bool) -> Result<(), OpenError> {
    let segment = segment_name(bad.place.segment);
    let corrupt = || OpenError::Corrupt { segment: segment.clone(), offset: bad.place.offset, why: bad.why };
    if log.last_segment() != Some(bad.place.segment) {
        return Err(corrupt());
    }
    match bad.kind {
        BadKind::Unsupported => Err(OpenError::Unsupported { segment: segment.clone(), what: bad.why }),
        BadKind::Incomplete => Ok(()),
        BadKind::Damaged if !power_loss => Err(corrupt()),
        BadKind::Damaged => match later_group(log, bad) {
            Ok(false) => Ok(()),
            Ok(true) => Err(corrupt()),
            Err(source) => Err(OpenError::Io { doing: "read the end of the log", source }),
        },
    }
}

/// Whether a good frame of a later group stands behind the bad place.
fn later_group(log: &Log, bad: &Bad) -> io::Result<bool> {
    const CHUNK: usize = 1024 * 1024;
    let name = segment_name(bad.place.segment);
    let len = log.storage.len(&name)?;
    let mut at = bad.place.offset + 1;
    let mut chunk = vec![0; CHUNK + FRAME_HEADER];
    while at + (FRAME_HEADER as u64) <= len {
        let read = log.storage.read_at(&name, at, &mut chunk)?;
        for start in 0..(read.saturating_sub(FRAME_HEADER - 1)).min(CHUNK) {
            let bytes = &chunk[start..start + FRAME_HEADER];
            if bytes.starts_with(FRAME_MAGIC)
                && let Ok(header) = FrameHeader::decode(bytes, log.identity.salt)
                && header.group() > bad.lsn
                && payload_is_good(log, &name, at + start as u64, &header)?
            {
                return Ok(true);
            }
        }
        at += CHUNK as u64;
    }
    Ok(false)
}

fn payload_is_good(log: &Log, name: &str, at: u64, header: &FrameHeader) -> io::Result<bool> {
    let mut payload = vec![0; (header.length as usize).min(MAX_PAYLOAD)];
    let read = log.storage.read_at(name, at + FRAME_HEADER as u64, &mut payload)?;
    Ok(read == payload.len() && crc32c::crc32c(&payload) == header.payload_crc)
}

/// Cuts the log off at a place, keeping the bytes in a file beside it where there is room for that.
pub(crate) fn cut(log: &Log, place: Place) -> Result<TailCut, OpenError> {
    let failed = |source| OpenError::Io { doing: "cut off the end of the log", source };
    let segment = segment_name(place.segment);
    let len = log.storage.len(&segment).map_err(failed)?;
    let saved_to = match save(log.storage.as_ref(), place, len) {
        Ok(name) => Some(name),
        Err(error) if is_full(&error) => None,
        Err(error) => return Err(failed(error)),
    };
    log.storage.truncate(&segment, place.offset).map_err(failed)?;
    log.storage.sync_data(&segment).map_err(failed)?;
    log.set_len(place.segment, place.offset);
    Ok(TailCut { segment, offset: place.offset, bytes: len.saturating_sub(place.offset), saved_to })
}

fn save(storage: &dyn Storage, place: Place, len: u64) -> io::Result<String> {
    let from = segment_name(place.segment);
    let name = format!("{:020}.{}.torn", place.segment, place.offset);
    storage.create(&name)?;
    let mut chunk = vec![0; 1024 * 1024];
    let mut at = place.offset;
    while at < len {
        let read = storage.read_at(&from, at, &mut chunk)?;
        if read == 0 {
            break;
        }
        storage.append(&name, at - place.offset, &chunk[..read])?;
        at += read as u64;
    }
    storage.sync_data(&name)?;
    let mut torn: Vec<String> =
        storage.list()?.into_iter().filter(|name| name.strip_suffix(".torn").is_some()).collect();
    torn.sort_unstable();
    for old in torn.iter().take(torn.len().saturating_sub(TORN_KEPT)) {
        if *old != name {
            storage.remove(old)?;
        }
    }
    storage.sync_dir()?;
    Ok(name)
}
