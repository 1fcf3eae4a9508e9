//! Damage: refused with its place, or met when it is read; never served, never cut off.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::support::*;
use crate::*;

/// A closed store of several segments, its names and bodies.
fn closed() -> (Memory, MemoryIndex, Vec<(String, String)>) {
    let (storage, index) = (Memory::new(1), MemoryIndex::default());
    let store = open(options(&storage, &index));
    let mut held = Vec::new();
    for at in 0..60 {
        let (name, body) = (format!("r{at}"), format!("red sky number {at} {}", "x".repeat(at * 3)));
        now(store.commit(vec![draft(&name, &body)])).unwrap();
        held.push((name, body));
    }
    now(store.close()).unwrap();
    (storage, index, held)
}

fn segments(storage: &Memory) -> Vec<String> {
    let mut names: Vec<_> =
        storage.list().unwrap().into_iter().filter(|name| name.strip_suffix(".seg").is_some()).collect();
    names.sort_unstable();
    names
}

/// Why a store with this log does not open, with its index lost so that everything is looked at.
fn refusal(storage: &Memory, boot_id: &str) -> Option<OpenError> {
    let boot_id = boot_id.to_owned();
    Store::open(Options { boot_id, ..options(storage, &MemoryIndex::default()) }).err()
}

/// Sets the mark back to what a crash leaves.
fn left_open(storage: &Memory) {
    let mark = mark::Mark::Open { boot_id: "boot-1".to_owned() };
    mark.write(storage).unwrap();
}

#[test]
fn a_flipped_bit_is_refused_or_detected_and_never_served() {
    let (storage, index, held) = closed();
    let mut rng = SmallRng::seed_from_u64(11);
    let (mut refused, mut detected, mut fed) = (0, 0, 0);
    for round in 0..600 {
        let damaged = storage.copy();
        let names = segments(&damaged);
        let name = &names[rng.random_range(0..names.len())];
        let bit = rng.random_range(0..damaged.len(name).unwrap() * 8);
        damaged.damage(name, |bytes| bytes[bit as usize / 8] ^= 1 << (bit % 8));
        let index = if round % 2 == 0 { index.copy() } else { MemoryIndex::default() };
        let context = format!("bit {bit} of {name}");
        let store = match Store::open(options(&damaged, &index)) {
            Err(OpenError::Corrupt { segment, .. }) => {
                assert_eq!(segment, *name, "{context}");
                refused += 1;
                continue;
            }
            // Which format, cipher or segment a header asks for is part of what may be flipped.
            Err(error) => panic!("{context}: {error}"),
            Ok((store, _)) => store,
        };
        assert_eq!(store.head(), 61, "{context}");
        let mut bad = 0;
        for (name, body) in &held {
            match store.get(&key(name)) {
                Ok(record) => assert_eq!(record.unwrap().body(), body, "{context}"),
                Err(ReadError::Corrupt { .. }) => bad += 1,
                Err(error) => panic!("{context}: {error}"),
            }
        }
        let mut reader = store.feed_reader(0);
        let feed = loop {
            match reader.next(7, 4096, &|_| true) {
                Ok(slice) if slice.upto >= slice.head => break Ok(()),
                Ok(_) => {}
                Err(error) => break Err(error),
            }
        };
        // A feed passes what is damaged where nothing current is lost.
        let lost = store.damaged_keys(100).unwrap();
        assert!(lost.len() >= bad && lost.len() <= 1, "{context}");
        assert_eq!(matches!(feed, Err(ReadError::Corrupt { .. })), !lost.is_empty(), "{context}");
        fed += 1;
        if bad > 0 {
            detected += 1;
        }
        let status = store.status();
        assert!(status.damaged.iter().any(|place| place.segment == *name), "{context}: {status:?}");
    }
    assert_eq!(refused + fed, 600, "every flip was met");
    assert!(refused > 250 && detected > 150, "{refused} refused, {detected} detected");
}

#[test]
fn damage_before_the_end_is_refused_with_its_place() {
    for (power_loss, boot_id) in [(false, "boot-1"), (true, "boot-2")] {
        let (storage, _, _) = closed();
        left_open(&storage);
        let last = segments(&storage).pop().unwrap();
        storage.damage(&last, |bytes| bytes[200] ^= 1);
        match refusal(&storage, boot_id) {
            Some(OpenError::Corrupt { segment, offset: 96, .. }) => assert_eq!(segment, last),
            other => panic!("power loss {power_loss}: {other:?}"),
        }
        assert!(
            storage.list().unwrap().iter().all(|name| name.strip_suffix(".torn").is_none()),
            "nothing was cut off"
        );
    }
}

#[test]
fn a_bad_last_frame_is_damage_unless_the_power_failed() {
    let (storage, _, _) = closed();
    left_open(&storage);
    let last = segments(&storage).pop().unwrap();
    let len = storage.len(&last).unwrap();
    storage.damage(&last, |bytes| bytes[len as usize - 1] ^= 1);
    assert!(matches!(refusal(&storage, "boot-1"), Some(OpenError::Corrupt { .. })));
    let (store, report) =
        Store::open(Options { boot_id: "boot-2".to_owned(), ..options(&storage, &MemoryIndex::default()) })
            .unwrap();
    let cut = report.tail_cut.unwrap();
    assert_eq!((report.power_loss, store.head(), cut.offset + cut.bytes), (true, 60, len));
    assert_eq!(storage.len(&cut.saved_to.unwrap()).unwrap(), cut.bytes);
    assert_eq!(store.status().tail_cut.unwrap().offset, cut.offset);
}

/// Two groups of three commits each: their segment, and where each frame begins.
fn two_groups() -> (Memory, String, Vec<usize>) {
    let storage = Memory::new(1);
    let store = open(options(&storage, &MemoryIndex::default()));
    for group in 0..2 {
        let drafts = (0..3).map(|at| vec![draft(&format!("{group}-{at}"), &"x".repeat(100))]).collect();
        assert!(store.commit_group(drafts).iter().all(Result::is_ok));
    }
    drop(store);
    let name = segments(&storage).remove(0);
    let mut bytes = vec![0; storage.len(&name).unwrap() as usize];
    storage.read_at(&name, 0, &mut bytes).unwrap();
    let frames = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(log::format::FRAME_MAGIC)).collect();
    (storage, name, frames)
}

#[test]
fn after_a_power_loss_only_frames_of_the_same_group_may_stand_behind_a_bad_one() {
    // The frames are the epoch's, three of the first group and three of the second.
    for (bad, survives) in [(1, false), (2, false), (3, false), (4, true), (5, true), (6, true)] {
        let (storage, name, frames) = two_groups();
        assert_eq!(frames.len(), 7);
        let end = frames.get(bad + 1).copied().unwrap_or(storage.len(&name).unwrap() as usize);
        storage.damage(&name, |bytes| bytes[frames[bad]..end].fill(0));
        let killed = refusal(&storage, "boot-1");
        assert!(matches!(killed, Some(OpenError::Corrupt { .. })), "frame {bad}: a kill leaves no holes");
        let boot_id = "boot-2".to_owned();
        match Store::open(Options { boot_id, ..options(&storage, &MemoryIndex::default()) }) {
            Ok((store, report)) => {
                assert!(survives, "frame {bad}: acknowledged commits were cut off");
                assert_eq!(store.head(), bad as u64);
                assert_eq!(report.tail_cut.unwrap().offset, frames[bad] as u64);
            }
            Err(OpenError::Corrupt { offset, .. }) => {
                assert!(!survives, "frame {bad}: nothing acknowledged was lost");
                assert_eq!(offset, frames[bad] as u64);
            }
            Err(error) => panic!("frame {bad}: {error}"),
        }
    }
}

#[test]
fn a_log_shorter_than_its_index_is_refused() {
    let (storage, index, _) = closed();
    left_open(&storage);
    let last = segments(&storage).pop().unwrap();
    let len = storage.len(&last).unwrap();
    storage.damage(&last, |bytes| bytes.truncate(len as usize - 3));
    for boot_id in ["boot-1", "boot-2"] {
        let opened = Store::open(Options { boot_id: boot_id.to_owned(), ..options(&storage, &index) });
        assert!(matches!(opened, Err(OpenError::LogBehind { applied: 61, end: 60 })), "{opened:?}");
    }
    // Whole frames may be missing as well.
    let (storage, index, _) = closed();
    left_open(&storage);
    storage.damage(&last, |bytes| bytes.truncate(96));
    let opened = Store::open(options(&storage, &index));
    assert!(matches!(opened, Err(OpenError::LogBehind { applied: 61, .. })), "{opened:?}");
}

#[test]
fn a_missing_segment_is_refused_by_name() {
    let (storage, index, _) = closed();
    let names = segments(&storage);
    for gone in &names[..names.len() - 1] {
        let damaged = storage.copy();
        damaged.remove(gone).unwrap();
        for index in [index.copy(), MemoryIndex::default()] {
            match Store::open(options(&damaged, &index)) {
                Err(OpenError::SegmentMissing(name)) => assert_eq!(name, *gone),
                other => panic!("{gone}: {other:?}"),
            }
        }
    }
    // That the last one is missing is known from the index alone.
    let damaged = storage.copy();
    damaged.remove(names.last().unwrap()).unwrap();
    assert!(matches!(Store::open(options(&damaged, &index)), Err(OpenError::LogBehind { .. })));
}

#[test]
fn a_closed_segment_of_another_length_is_refused() {
    let (storage, index, _) = closed();
    let first = segments(&storage).remove(0);
    storage.damage(&first, |bytes| bytes.truncate(bytes.len() - 1));
    assert!(
        matches!(Store::open(options(&storage, &index)), Err(OpenError::Corrupt { segment, .. }) if segment == first)
    );
}

#[test]
fn an_empty_log_next_to_an_index_is_refused() {
    let (_, index, _) = closed();
    assert!(matches!(Store::open(options(&Memory::new(2), &index)), Err(OpenError::LogMissing)));
    // The creation of a first segment that was never finished is no log either.
    let storage = Memory::new(2);
    storage.create("00000000000000000001.seg").unwrap();
    assert!(matches!(Store::open(options(&storage, &index)), Err(OpenError::LogMissing)));
    assert!(Store::open(options(&storage, &MemoryIndex::default())).unwrap().1.created);
}

#[test]
fn a_later_format_is_refused_as_such() {
    let (storage, index, _) = closed();
    let first = segments(&storage).remove(0);
    storage.damage(&first, |bytes| {
        bytes[8] = 4;
        let crc = crc32c::crc32c(&bytes[..92]).to_le_bytes();
        bytes[92..96].copy_from_slice(&crc);
    });
    assert!(matches!(Store::open(options(&storage, &index)), Err(OpenError::Unsupported { .. })));
}

#[test]
fn an_index_of_anything_else_is_made_again() {
    let (storage, index, held) = closed();
    let rebuilt = |options: Options| {
        let (store, report) = Store::open(options).unwrap();
        for (name, _) in &held {
            assert!(store.lookup(1, &term(b"red"), None, 100).unwrap().contains(&key(name)));
        }
        report.rebuilt
    };
    let later =
        Options { derivation: std::sync::Arc::new(Words(2)), ..options(&storage.copy(), &index.copy()) };
    assert_eq!(rebuilt(later), Some("its lookup terms were derived otherwise"));
    let (other_log, _) = Store::open(options(&Memory::new(5), &MemoryIndex::default())).unwrap();
    let other = MemoryIndex::default();
    drop(other_log);
    drop(Store::open(options(&Memory::new(6), &other)).unwrap());
    assert_eq!(rebuilt(options(&storage.copy(), &other)), Some("it was made from another log"));
    assert_eq!(rebuilt(options(&storage.copy(), &MemoryIndex::default())), Some("it was empty"));
    assert_eq!(rebuilt(options(&storage.copy(), &index.copy())), None);
}

#[test]
fn an_index_with_a_wrong_pair_is_made_again_after_a_power_loss() {
    let (storage, index, held) = closed();
    left_open(&storage);
    let store = |index: &MemoryIndex| {
        Store::open(Options { boot_id: "boot-2".to_owned(), ..options(&storage.copy(), index) }).unwrap()
    };
    let (_, report) = store(&index.copy());
    assert_eq!((report.rebuilt, report.verified), (None, true));
    let pairs = store(&index.copy()).0.dump_index().unwrap().len();
    for at in (0..pairs).step_by(13) {
        let damaged = index.copy();
        damaged.damage(at, |value| match value.first_mut() {
            Some(byte) => *byte ^= 1,
            None => value.push(0),
        });
        let (store, report) = store(&damaged);
        assert!(report.rebuilt.is_some(), "pair {at}");
        for (name, body) in &held {
            assert_eq!(store.get(&key(name)).unwrap().unwrap().body(), body, "pair {at}");
        }
    }
}
