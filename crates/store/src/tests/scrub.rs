//! Damage that comes while the store is in use, of every kind and size: found by the scrub, told by key, repaired with the
//! same record from elsewhere, and passed by feeds.

use std::task::{Context, Waker};

use model::{Record, RecordKey};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::digest::check_digests;
use super::support::*;
use crate::log::format::{FRAME_HEADER, FRAME_MAGIC, SEGMENT_HEADER, segment_of};
use crate::*;

/// A store of several segments with some records superseded, and its current records in the order of the feed.
pub(super) fn filled(fold: bool) -> (Memory, Store, Vec<Record>) {
    let (storage, index) = (Memory::new(1), MemoryIndex::default());
    let limits = Limits { overlay_bytes: 4 << 20, ..small() };
    let store = open(Options { limits, ..options(&storage, &index) });
    for at in 0..90 {
        let drafts = (0..=at % 3).map(|part| draft(&format!("r{}-{part}", at % 60), &"x".repeat(90 + at)));
        now(store.commit(drafts.collect())).unwrap();
    }
    if fold {
        store.dump_index().unwrap();
    }
    let records = whole_feed(&store);
    assert!(store.status().segments > 3);
    (storage, store, records)
}

/// Scrubs everything, a little at a time.
pub(super) fn scrub_all(store: &Store, max_bytes: u64) -> (u64, Vec<DamagedPlace>) {
    let (mut place, mut frames, mut damaged) = (Some(ScrubPlace::default()), 0, Vec::new());
    while let Some(from) = place {
        let done = store.scrub(from, max_bytes).unwrap();
        assert!(done.next.is_none_or(|next| next.position > from.position));
        frames += done.frames;
        damaged.extend(done.damaged);
        place = done.next;
    }
    (frames, damaged)
}

pub(super) fn segments(storage: &Memory) -> Vec<String> {
    let mut names: Vec<_> =
        storage.list().unwrap().into_iter().filter(|name| segment_of(name).is_some()).collect();
    names.sort_unstable();
    names
}

fn bytes_of(storage: &Memory, name: &str) -> Vec<u8> {
    let mut bytes = vec![0; storage.len(name).unwrap() as usize];
    storage.read_at(name, 0, &mut bytes).unwrap();
    bytes
}

/// Every frame: its segment, where it begins and ends in it, and its position.
pub(super) fn frames(storage: &Memory) -> Vec<(String, usize, usize, u64)> {
    let mut found = Vec::new();
    for name in segments(storage) {
        let bytes = bytes_of(storage, &name);
        let mut at = SEGMENT_HEADER;
        while at < bytes.len() {
            assert!(bytes[at..].starts_with(FRAME_MAGIC));
            let length = u32::from_le_bytes(bytes[at + 4..at + 8].try_into().unwrap()) as usize;
            let lsn = u64::from_le_bytes(bytes[at + 8..at + 16].try_into().unwrap());
            let end = at + FRAME_HEADER + length;
            found.push((name.clone(), at, end, lsn));
            at = end;
        }
    }
    found
}

/// What a reader that begins after `after` gets until it meets an error or the head.
pub(super) fn feed_after(store: &Store, after: u64) -> (Vec<Record>, Option<ReadError>) {
    let mut reader = store.feed_reader(after);
    let mut records = Vec::new();
    loop {
        match reader.next(4, 2048, &|_| true) {
            Ok(slice) => {
                records.extend(slice.records);
                if slice.upto >= slice.head {
                    return (records, None);
                }
            }
            Err(error) => return (records, Some(error)),
        }
    }
}

pub(super) fn repair(store: &Store, record: &Record) -> Result<bool, CommitError> {
    now(store.repair(record.clone()))
}

/// Repairs what is damaged from `held`, a few records at a time. Which ones that were.
pub(super) fn repair_all(store: &Store, held: &[Record]) -> Vec<RecordKey> {
    let mut repaired = Vec::new();
    loop {
        let keys = store.damaged_keys(3).unwrap();
        if keys.is_empty() {
            return repaired;
        }
        for key in keys {
            let record = held.iter().find(|record| record.key() == key).unwrap();
            assert!(matches!(store.get(&key), Err(ReadError::Corrupt { .. })));
            assert_eq!(repair(store, record), Ok(true));
            assert_eq!(repair(store, record), Ok(false), "it can be read now");
            assert_eq!(store.get(&key).unwrap().as_ref(), Some(record));
            repaired.push(key);
        }
    }
}

/// The records are those that were there before, whatever order the feed has now.
pub(super) fn check_healed(store: &Store, held: &[Record], repaired: &[RecordKey], context: &str) {
    let (fed, error) = feed_after(store, 0);
    assert_eq!(error, None, "{context}");
    let left = |records: &[Record]| -> Vec<Record> {
        records.iter().filter(|record| !repaired.contains(&record.key())).cloned().collect()
    };
    assert_eq!(left(&fed), left(held), "{context}: the order of what was not repaired");
    assert_eq!(fed.len(), held.len(), "{context}");
    assert!(fed.iter().all(|record| held.contains(record)), "{context}");
    check_digests(store, held, context);
    assert!(store.status().damaged.iter().all(|place| place.healed), "{context}");
}

#[test]
fn a_sound_log_passes_the_scrub_at_any_pace() {
    let (_, store, _) = filled(true);
    for max_bytes in [0, 1, 500, 20_000, u64::MAX] {
        assert_eq!(scrub_all(&store, max_bytes), (store.head(), vec![]));
    }
    let done = store.scrub(ScrubPlace { position: store.head() }, 100).unwrap();
    assert_eq!((done.frames, done.next), (0, None));
    let part = store.scrub(ScrubPlace::default(), 5_000).unwrap();
    assert!((5_000..8_000).contains(&part.bytes), "{}", part.bytes);
}

#[test]
fn a_flipped_bit_is_found_told_by_key_repaired_and_passed() {
    let mut rng = SmallRng::seed_from_u64(3);
    let (mut unread, mut repaired) = (0, 0);
    for round in 0..60 {
        let (storage, store, held) = filled(round % 2 == 0);
        let all = frames(&storage);
        let (name, start, end, lsn) = all[rng.random_range(0..all.len())].clone();
        let bit = rng.random_range(start * 8..end * 8);
        let context = format!("round {round}, bit {} of frame {lsn}", bit - start * 8);
        storage.damage(&name, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
        let (frames, damaged) = scrub_all(&store, 3_000);
        assert_eq!(damaged.len(), 1, "{context}");
        let place = &damaged[0];
        assert_eq!((&place.segment, place.offset, place.lsn, place.upto), (&name, start as u64, lsn, lsn));
        assert_eq!(frames, all.len() as u64 - 1, "{context}: all others were read");
        let bad = store.damaged_keys(100).unwrap();
        let current: Vec<_> =
            held.iter().filter(|record| store.lsn(&record.key()).unwrap() == Some(lsn)).collect();
        assert!(bad.len() <= 1 && bad.iter().all(|key| current.iter().any(|record| record.key() == *key)));
        let (before, error) = feed_after(&store, 0);
        assert_eq!(error.is_some(), !bad.is_empty(), "{context}");
        let earlier = held.iter().filter(|record| store.lsn(&record.key()).unwrap() < Some(lsn)).count();
        if bad.is_empty() {
            assert_eq!(before, held, "{context}: what can be read is served");
            unread += 1;
        } else {
            assert!(before.len() >= earlier && before[..] == held[..before.len()], "{context}");
        }
        assert_eq!(feed_after(&store, lsn).1, None, "{context}: behind it nothing is wrong");
        let keys = repair_all(&store, &held);
        assert_eq!(keys, bad, "{context}");
        repaired += keys.len();
        check_healed(&store, &held, &keys, &context);
        assert!(scrub_all(&store, u64::MAX).1.iter().all(|place| place.healed), "{context}");
    }
    assert!(unread > 5 && repaired > 20, "{unread} without loss, {repaired} repaired");
}

#[test]
fn larger_damage_is_passed_and_repaired_as_a_whole() {
    let mut rng = SmallRng::seed_from_u64(4);
    for round in 0..24 {
        let (storage, store, held) = filled(round % 2 == 0);
        let names = segments(&storage);
        let at = round % names.len();
        let len = storage.len(&names[at]).unwrap() as usize;
        // From anywhere to anywhere, some of them to the very end of the segment.
        let from = rng.random_range(SEGMENT_HEADER..len);
        let to = if round % 3 == 0 { len } else { rng.random_range(from..len) + 1 };
        storage.damage(&names[at], |bytes| {
            if round % 4 == 3 {
                bytes.truncate(from);
            } else {
                bytes[from..to].iter_mut().for_each(|byte| *byte ^= 0xA5);
            }
        });
        let context = format!("round {round}, {from} to {to} of {len} in segment {at} of {}", names.len());
        let damaged = scrub_all(&store, 10_000).1;
        assert!((1..=2).contains(&damaged.len()), "{context}: {damaged:?}");
        let lost = store.damaged_keys(1000).unwrap();
        for record in &held {
            let inside = damaged
                .iter()
                .any(|place| (place.lsn..=place.upto).contains(&store.lsn(&record.key()).unwrap().unwrap()));
            let read = store.get(&record.key());
            assert!(inside || read.is_ok(), "{context}");
            assert_eq!(read.is_err(), lost.contains(&record.key()), "{context}");
        }
        assert_eq!(feed_after(&store, 0).1.is_some(), !lost.is_empty(), "{context}");
        let mut repaired = repair_all(&store, &held);
        repaired.sort_unstable();
        let mut wanted = lost;
        wanted.sort_unstable();
        assert_eq!(repaired, wanted, "{context}");
        check_healed(&store, &held, &repaired, &context);
        for after in (0..store.head()).step_by(7) {
            assert_eq!(feed_after(&store, after).1, None, "{context}, after {after}");
        }
    }
}

#[test]
fn a_lost_segment_is_repaired_record_by_record() {
    let (storage, store, held) = filled(true);
    let names = segments(&storage);
    let [.., gone, after] = names.as_slice() else { panic!("several segments") };
    storage.remove(gone).unwrap();
    let damaged = scrub_all(&store, u64::MAX).1;
    let (first, next) = (segment_of(gone).unwrap(), segment_of(after).unwrap());
    assert!(damaged.iter().any(|place| (place.lsn, place.upto) == (first, next - 1)), "{damaged:?}");
    assert!(damaged.iter().any(|place| (place.lsn, place.upto) == (first, first - 1)), "its header as well");
    let lost = store.damaged_keys(1000).unwrap();
    assert!(lost.len() > 5);
    for key in &lost {
        let record = held.iter().find(|record| record.key() == *key).unwrap();
        assert_eq!(repair(&store, record), Ok(true));
    }
    assert_eq!(store.damaged_keys(1000).unwrap(), []);
    check_healed(&store, &held, &lost, "a lost segment");
}

#[test]
fn bytes_that_the_disk_cannot_read_are_damage_and_nothing_around_them_is() {
    let (storage, store, held) = filled(true);
    let all = frames(&storage);
    let last = store.lsn(&held[70].key()).unwrap().unwrap();
    let (name, start, end, lsn) = all.iter().find(|frame| frame.3 == last).unwrap();
    storage.fail_reads(name, *start as u64 + 40..*end as u64 - 3);
    assert_eq!(
        scrub_all(&store, u64::MAX).1,
        [DamagedPlace { segment: name.clone(), offset: *start as u64, lsn: *lsn, upto: *lsn, healed: false }]
    );
    let lost = store.damaged_keys(100).unwrap();
    assert!(!lost.is_empty() && feed_after(&store, 0).1.is_some());
    for key in &lost {
        assert!(matches!(store.get(key), Err(ReadError::Io(_))));
        assert_eq!(repair(&store, held.iter().find(|record| record.key() == *key).unwrap()), Ok(true));
    }
    assert_eq!(store.damaged_keys(100).unwrap(), []);
    check_healed(&store, &held, &lost, "a bad sector");
}

#[test]
fn behind_a_block_that_the_disk_cannot_read_the_next_frame_is_found() {
    let (storage, store, held) = filled(true);
    let all = frames(&storage);
    let names = segments(&storage);
    let inside: Vec<_> = all.iter().filter(|frame| frame.0 == names[2]).collect();
    let bad = inside[1];
    let next = inside.iter().find(|frame| frame.1 >= 4096).unwrap();
    assert!(next.3 > bad.3 + 1 && next.3 > inside[0].3, "{inside:?}");
    storage.fail_reads(&names[2], bad.1 as u64 + 5..bad.1 as u64 + 9);
    let found = scrub_all(&store, u64::MAX).1;
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].offset, found[0].lsn, found[0].upto), (bad.1 as u64, bad.3, next.3 - 1));
    assert_eq!(store.damaged_keys(10).unwrap(), []);
    check_healed(&store, &held, &[], "only a header cannot be read");
    for after in 0..store.head() {
        let (fed, error) = feed_after(&store, after);
        let wanted = held.iter().filter(|record| store.lsn(&record.key()).unwrap() > Some(after)).count();
        assert_eq!((fed.len(), error), (wanted, None), "after {after}");
    }
}

#[test]
fn an_old_frame_that_was_written_to_a_wrong_place_is_not_taken_for_the_next() {
    let (storage, store, held) = filled(true);
    let all = frames(&storage);
    let fits =
        |frame: &&(String, usize, usize, u64)| frame.3 > 60 && frame.2 - frame.1 > all[0].2 - all[0].1 + 50;
    let (name, start, _, lsn) = all.iter().find(fits).unwrap();
    let old = bytes_of(&storage, &all[0].0)[all[0].1..all[0].2].to_vec();
    storage.damage(name, |bytes| {
        bytes[*start] ^= 1;
        bytes[start + 40..start + 40 + old.len()].copy_from_slice(&old);
    });
    let found = scrub_all(&store, u64::MAX).1;
    assert_eq!((found.len(), found[0].lsn, found[0].upto), (1, *lsn, *lsn));
    let repaired = repair_all(&store, &held);
    check_healed(&store, &held, &repaired, "a misplaced write");
}

#[test]
fn a_damaged_segment_header_is_found() {
    let (storage, store, _) = filled(true);
    for name in segments(&storage) {
        let damaged = storage.copy();
        storage.damage(&name, |bytes| bytes[20] ^= 1);
        let found = scrub_all(&store, u64::MAX).1;
        assert_eq!(found.len(), 1, "{name}");
        assert_eq!((&found[0].segment, found[0].offset), (&name, 0));
        let bytes = bytes_of(&damaged, &name);
        storage.damage(&name, |held| *held = bytes);
    }
}

#[test]
fn the_digest_of_the_log_is_the_one_that_is_kept() {
    let (storage, index) = (Memory::new(1), MemoryIndex::default());
    let store = open(options(&storage, &index));
    for at in 0..200 {
        now(store.commit(vec![draft(&format!("r{}", at % 50), "x")])).unwrap();
    }
    now(store.apply(Apply {
        records: vec![foreign("a", 1, "")],
        quarantined: vec![],
        forget: vec![],
        position: None,
    }))
    .unwrap();
    for own in [true, false] {
        let again = store.recompute_digest(&|signer, _| (*signer == signing().id()) == own).unwrap();
        assert_eq!((again.lsn, &again.kept), (store.head(), &again.found));
        assert_eq!(again.kept.total().count, if own { 51 } else { 1 });
    }
    // A pair of the index that changes while the store is closed is noticed by nothing else.
    let pairs = store.dump_index().unwrap();
    let wrong = pairs.iter().rposition(|(key, value)| key[1] == 7 && value.len() > 2).unwrap();
    now(store.close()).unwrap();
    index.damage(wrong, |value| value[5] ^= 1);
    let store = Store::open(options(&storage, &index)).unwrap().0;
    let again = store.recompute_digest(&|_, _| true).unwrap();
    assert_eq!(again.kept.differing(&again.found).len(), 1);
    let (name, start, ..) = frames(&storage)[20].clone();
    storage.damage(&name, |bytes| bytes[start + FRAME_HEADER + 20] ^= 1);
    assert!(matches!(store.recompute_digest(&|_, _| true), Err(ReadError::Corrupt { .. })));
}

#[test]
fn a_damaged_pair_of_the_index_is_found_while_the_store_is_open_and_the_index_made_again() {
    let (storage, index) = (Memory::new(1), MemoryIndex::default());
    let store = open(options(&storage, &index));
    for at in 0..40 {
        now(store.commit(vec![draft(&format!("r{at}"), "red sky")])).unwrap();
    }
    let pairs = store.dump_index().unwrap();
    assert!(store.verify_index().unwrap());
    let at = pairs.iter().position(|(key, value)| key[1] == 1 && !value.is_empty()).unwrap();
    index.damage(at, |value| value[0] ^= 1);
    let mut failure = Box::pin(store.index_failure());
    let mut context = Context::from_waker(Waker::noop());
    assert!(failure.as_mut().poll(&mut context).is_pending());
    assert!(!store.verify_index().unwrap());
    assert!(failure.as_mut().poll(&mut context).is_ready(), "whoever waits for it hears");
    drop(failure);
    assert!(store.status().index_failed);
    assert!(matches!(store.verify_index(), Err(ReadError::Index)));
    drop(store);
    let (again, report) = Store::open(options(&storage, &index)).unwrap();
    assert_eq!(report.rebuilt, Some("it failed while it was in use"));
    assert_eq!(again.dump_index().unwrap(), pairs);
    assert!(again.verify_index().unwrap());
}
