//! A damaged place whose records have been mended goes with the next rewriting, and an index can be made from the log again.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::digest::check_digests;
use super::reclaim::{seen, worn};
use super::scrub::{repair_all, scrub_all, segments};
use super::support::*;
use crate::*;

/// Rebuilds from a copy of the disk and compares with the store as it is.
fn check_whole(storage: &Memory, store: &Store, context: &str) {
    let live = store.dump_index().unwrap();
    let (rebuilt, report) = Store::open(options(&storage.copy(), &MemoryIndex::default()))
        .unwrap_or_else(|error| panic!("{context}: {error}"));
    assert!(report.rebuilt.is_some());
    assert_eq!(seen(&rebuilt), seen(store), "{context}");
    check_rebuilt(&live, &rebuilt, context);
    check_digests(&rebuilt, &whole_feed(&rebuilt), context);
}

/// Damages one to three places of closed segments, at random, and nothing of the last one.
fn damage(storage: &Memory, rng: &mut SmallRng) {
    let mut closed = segments(storage);
    closed.pop();
    for _ in 0..rng.random_range(1..4) {
        let name = &closed[rng.random_range(0..closed.len())];
        let (at, length) = (rng.random::<u32>() as usize, rng.random_range(1..700));
        let bits = rng.random_range(1..=255);
        storage.damage(name, |bytes| {
            let from = at % bytes.len();
            let until = (from + length).min(bytes.len());
            bytes[from..until].iter_mut().for_each(|byte| *byte ^= bits);
        });
    }
}

#[test]
fn what_was_mended_goes_and_an_index_can_be_made_again() {
    let mut rng = SmallRng::seed_from_u64(5);
    let (mut mended, mut held_up, mut unusable) = (0, 0, 0);
    for round in 0..60 {
        let context = format!("round {round}");
        let (storage, _, store) = worn(150);
        store.dump_index().unwrap();
        if round % 2 == 1 {
            reclaim_all(&store, u64::MAX);
            for at in 0..30 {
                now(store.commit(vec![draft(&format!("r{}", at % 20), &"z".repeat(300))])).unwrap();
            }
        }
        let records = whole_feed(&store);
        damage(&storage, &mut rng);
        let found = scrub_all(&store, u64::MAX).1;
        assert!(!found.is_empty(), "{context}");
        let names = segments(&storage);
        let before = names.iter().map(|name| storage.len(name).unwrap()).collect::<Vec<_>>();
        repair_all(&store, &records);
        unusable += usize::from(Store::open(options(&storage.copy(), &MemoryIndex::default())).is_err());
        let quarantined = store.quarantine(1000);
        reclaim_all(&store, 9000);
        let status = store.status();
        if status.reclaim.held_up.is_some() {
            let all = store.status().quarantined;
            assert!(
                (quarantined.unwrap().len() as u64) < all,
                "{context}: only what is quarantined cannot be mended"
            );
            assert_eq!(status.reclaim.held_up, Some(HeldUp::Damaged), "{context}");
            let lost = status.damaged.iter().map(|place| place.segment.clone()).collect::<Vec<_>>();
            for (name, before) in names.iter().zip(before).filter(|(name, _)| lost.contains(name)) {
                assert_eq!(storage.len(name).unwrap(), before, "{context}");
            }
            held_up += 1;
            continue;
        }
        assert_eq!(status.damaged, [], "{context}");
        assert_eq!(scrub_all(&store, u64::MAX).1, [], "{context}");
        check_whole(&storage, &store, &context);
        mended += 1;
    }
    assert!(mended > 30 && held_up > 0, "{mended} mended, {held_up} held up");
    assert!(unusable > 50, "{unusable}: else there was nothing to mend");
}

#[test]
fn what_is_not_mended_keeps_its_segment_as_it_is() {
    let (storage, _, store) = worn(150);
    let records = whole_feed(&store);
    let first = segments(&storage).remove(0);
    let len = storage.len(&first).unwrap();
    let lsn = store.lsn(&records[0].key()).unwrap().unwrap();
    let (name, start, end, _) =
        super::scrub::frames(&storage).into_iter().find(|frame| frame.3 == lsn).unwrap();
    assert_eq!(name, first, "the first epoch is current for ever");
    storage.damage(&name, |bytes| bytes[start + 40..end].fill(0));
    // Nobody knows of the damage yet: the rewriting meets it.
    reclaim_all(&store, u64::MAX);
    assert_eq!(store.status().reclaim.held_up, Some(HeldUp::Damaged));
    assert!(store.status().reclaim.segments > 2, "the others are rewritten");
    assert_eq!(store.damaged_keys(10).unwrap(), [records[0].key()]);
    reclaim_all(&store, u64::MAX);
    assert_eq!(store.status().reclaim.held_up, Some(HeldUp::Damaged));
    assert_eq!(storage.len(&first).unwrap(), len);
    repair_all(&store, &records);
    assert!(reclaim_all(&store, u64::MAX) > 0);
    assert_eq!(store.status().reclaim.held_up, None);
    check_whole(&storage, &store, "mended");
}
