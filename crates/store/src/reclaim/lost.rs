//! What a damaged segment no longer says, put together from the rest of the log.
//!
//! When all that was current in a damaged place has been mended or can be read by itself, only superseded versions are lost
//! with it. Whatever superseded one of them names its pointer, and what it superseded itself is the version before it that
//! the log still has. Versions of which nobody speaks fall out of the sums together. So stubs can be left as if the place
//! had been read, and an index made from the log is the same again; but for the empty digest of a signer or flow of which
//! only lost versions were.

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;
use model::RecordKey;
use prost::Message;

use super::{GivenUp, HeldUp};
use crate::content::QuarantineValue;
use crate::error::ReadError;
use crate::index::for_each;
use crate::keys::{Key, PARTITIONS};
use crate::log::item::{Item, Pointer, Span};
use crate::log::moved::{self, Stub};
use crate::log::skip::{Gap, Look};
use crate::log::{Log, Walk};
use crate::shared::Shared;

/// A place in the log.
type At = (u64, u32);

fn at(pointer: &Pointer) -> At {
    (pointer.lsn, pointer.offset)
}

/// An item of a damaged place that can be read by itself.
#[derive(Debug)]
pub(super) struct Saved {
    pub lsn: u64,
    pub original: Span,
    /// With their header.
    pub bytes: Bytes,
    pub item: Item,
}

/// Superseded versions that are lost, each by its key and the place of the version that it follows.
#[derive(Debug, Default)]
pub(super) struct Lost {
    stubs: HashMap<(RecordKey, Option<At>), Stub>,
}

impl Lost {
    /// Takes versions of one record that follow on each other, and on the one before them.
    fn add(
        &mut self,
        key: RecordKey,
        pointers: &BTreeMap<At, Pointer>,
        before: &mut HashMap<RecordKey, Pointer>,
    ) {
        for pointer in pointers.values() {
            let supersedes = before.insert(key, *pointer);
            let stub = Stub { key, pointer: *pointer, supersedes, seq: 0 };
            self.stubs.insert((key, supersedes.as_ref().map(at)), stub);
        }
    }

    /// Those that follow on nothing in this segment, in order.
    pub(super) fn first(&mut self, segment: u64) -> Vec<Stub> {
        let is_first = |(_, before): &(RecordKey, Option<At>)| before.is_none_or(|(lsn, _)| lsn < segment);
        let keys: Vec<_> = self.stubs.keys().filter(|key| is_first(key)).copied().collect();
        let mut first: Vec<Stub> = keys.iter().filter_map(|key| self.stubs.remove(key)).collect();
        first.sort_unstable_by_key(|stub| at(&stub.pointer));
        first
    }

    /// The one that follows on this version.
    pub(super) fn after(&mut self, key: RecordKey, pointer: &Pointer) -> Option<Stub> {
        self.stubs.remove(&(key, Some(at(pointer))))
    }
}

/// Calls `each` if an item is a version of a record or says that one was forgotten.
fn version(item: &Item, lsn: u64, span: Span, each: &mut dyn FnMut(RecordKey, &Pointer, Option<&Pointer>)) {
    match item {
        Item::Record { record, supersedes } => {
            each(record.key(), &Pointer::to(record, lsn, span), supersedes.as_ref());
        }
        Item::Forgotten { key, of, supersedes } => {
            each(*key, &Pointer::to_forgotten(of, lsn, span), supersedes.as_ref());
        }
        _ => {}
    }
}

impl Shared {
    /// What is lost of a damaged segment. Reads all of the log twice.
    pub(super) fn lost(&self, segment: u64, last_lsn: u64) -> Result<Lost, GivenUp> {
        let mut missing = self.missing(segment, last_lsn)?;
        let mut lost = Lost::default();
        let mut before: HashMap<RecordKey, Pointer> = HashMap::new();
        self.versions(last_lsn, &mut |key, pointer, _| {
            if let Some(of_key) = missing.get_mut(&key) {
                // All that come before this version, which there is.
                let rest = of_key.split_off(&at(pointer));
                lost.add(key, &std::mem::replace(of_key, rest), &mut before);
                before.insert(key, *pointer);
            }
        })?;
        for (key, of_key) in &missing {
            lost.add(*key, of_key, &mut before);
        }
        Ok(lost)
    }

    /// Pointers into a segment that something in the log supersedes, and that nothing in the segment explains.
    fn missing(
        &self,
        segment: u64,
        last_lsn: u64,
    ) -> Result<HashMap<RecordKey, BTreeMap<At, Pointer>>, GivenUp> {
        let here = segment..=last_lsn;
        let mut held: HashSet<At> = HashSet::new();
        let mut wanted: HashMap<At, (RecordKey, Pointer)> = HashMap::new();
        let head = *self.head.borrow();
        self.versions(head, &mut |key, pointer, supersedes| {
            if here.contains(&pointer.lsn) {
                held.insert(at(pointer));
            }
            if let Some(old) = supersedes.filter(|old| here.contains(&old.lsn)) {
                wanted.insert(at(old), (key, *old));
            }
        })?;
        let mut missing: HashMap<RecordKey, BTreeMap<At, Pointer>> = HashMap::new();
        for (place, (key, pointer)) in wanted.into_iter().filter(|(place, _)| !held.contains(place)) {
            missing.entry(key).or_default().insert(place, pointer);
        }
        Ok(missing)
    }

    /// Calls `each` with every version that the log has up to a position, and what it supersedes.
    fn versions(
        &self,
        upto: u64,
        each: &mut dyn FnMut(RecordKey, &Pointer, Option<&Pointer>),
    ) -> Result<(), GivenUp> {
        let mut walk = Walk::of_segment(self.log.closed().first().map_or(1, |(first, _)| *first));
        while walk.next_lsn() <= upto {
            match walk.look(&self.log, upto).map_err(Log::io)? {
                Look::End => break,
                Look::Gap(gap) => {
                    for saved in self.saved(&gap)? {
                        version(&saved.item, saved.lsn, saved.original, each);
                    }
                }
                Look::Frame(frame) => {
                    let Ok(items) = moved::items(&frame) else {
                        return Err(GivenUp::HeldUp(HeldUp::Damaged));
                    };
                    for stub in &items.stubs {
                        each(stub.key, &stub.pointer, stub.supersedes.as_ref());
                    }
                    for found in &items.found {
                        version(&found.item, frame.header.last_lsn(), found.original, each);
                    }
                }
            }
        }
        Ok(())
    }

    /// Everything in a damaged place that must be kept, in the order of the log, if all of it can be read.
    pub(super) fn saved(&self, gap: &Gap) -> Result<Vec<Saved>, GivenUp> {
        self.log.note(gap.place, gap.lsn, gap.upto);
        let Some(current) = self.current_in(gap.lsn, gap.upto)? else {
            return Err(GivenUp::HeldUp(HeldUp::Damaged));
        };
        let mut places: Vec<(u64, Span)> = current
            .iter()
            .map(|pointer| (pointer.lsn, Span { offset: pointer.offset, length: pointer.length }))
            .collect();
        places.extend(self.quarantined_in(gap)?);
        places.sort_unstable_by_key(|(lsn, span)| (*lsn, span.offset));
        let mut saved = Vec::with_capacity(places.len());
        for (lsn, original) in places {
            match self.log.item_bytes(lsn, original.offset, original.length) {
                Ok(Some((bytes, item))) => saved.push(Saved { lsn, original, bytes, item }),
                // Superseded meanwhile.
                Ok(None) => {}
                Err(ReadError::Corrupt { .. } | ReadError::Io(_)) => {
                    return Err(GivenUp::HeldUp(HeldUp::Damaged));
                }
                Err(ReadError::Index) => return Err(ReadError::Index.into()),
            }
        }
        Ok(saved)
    }

    fn quarantined_in(&self, gap: &Gap) -> Result<Vec<(u64, Span)>, ReadError> {
        let mut places = Vec::new();
        let mut broken = false;
        for partition in 0..PARTITIONS as u8 {
            let table = Key::quarantine_table(partition);
            self.index_read(|index| {
                for_each(index, &table, &mut |_, value| match QuarantineValue::decode(value) {
                    Ok(place) if (gap.lsn..=gap.upto).contains(&place.lsn) => {
                        places.push((place.lsn, Span { offset: place.offset, length: place.length }));
                    }
                    Ok(_) => {}
                    Err(_) => broken = true,
                })
            })?;
        }
        if broken { Err(self.index_broken()) } else { Ok(places) }
    }
}
