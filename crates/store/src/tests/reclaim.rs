//! Reclaiming: what is current stays, byte for byte and in its place of the feed; what was superseded makes room.

use model::Record;

use super::digest::check_digests;
use super::scrub::{filled, scrub_all, segments};
use super::support::*;
use crate::log::format::{FLAG_PART, FRAME_HEADER, FRAME_MAGIC, SEGMENT_HEADER};
use crate::*;

/// Many versions of few records, with feed positions, tombstones and quarantined records between them.
pub(super) fn worn(versions: usize) -> (Memory, MemoryIndex, Store) {
    let (storage, index) = (Memory::new(1), MemoryIndex::default());
    let store = open(options(&storage, &index));
    for at in 0..versions {
        let name = format!("r{}", at % 20);
        let mut drafts = vec![draft(&name, &format!("v{at} {}", "x".repeat(300)))];
        drafts.extend((0..at % 3).map(|part| draft(&format!("p{}-{part}", at % 11), &format!("v{at}"))));
        now(store.commit(drafts)).unwrap();
        let quarantined = (at % 50 == 0).then(|| Quarantined {
            from: feed(2),
            raw: bytes::Bytes::from(format!("raw {at}")),
            reason: "signature".to_owned(),
            hash: [at as u8; 32],
        });
        let record = foreign(&format!("f{}", at % 7), at as u64 + 1, "sky");
        let apply = Apply {
            records: vec![record],
            quarantined: quarantined.into_iter().collect(),
            forget: vec![],
            position: Some((feed(1), position(at as u64))),
        };
        now(store.apply(apply)).unwrap();
    }
    for name in ["r3", "r4"] {
        now(store.commit(vec![Draft { tombstone: true, ..draft(name, "") }])).unwrap();
    }
    (storage, index, store)
}

/// Everything that a reader can see.
#[derive(Debug, PartialEq)]
pub(super) struct Seen {
    feed: Vec<Record>,
    quarantined: Vec<Quarantined>,
    positions: Vec<(FeedId, FeedPosition)>,
    counts: Vec<KindCount>,
    live_bytes: u64,
    last_seq: u64,
}

pub(super) fn seen(store: &Store) -> Seen {
    let status = store.status();
    Seen {
        feed: whole_feed(store),
        quarantined: store.quarantine(1000).unwrap(),
        positions: store.positions(),
        counts: status.counts,
        live_bytes: status.live_bytes,
        last_seq: store.last_seq(),
    }
}

/// The feed, each slice by another reader, with room for so many records or one commit.
fn feed_in_turns(store: &Store, most: usize) -> Vec<Record> {
    let (mut records, mut after) = (Vec::new(), 0);
    while after < store.head() {
        let slice = store.feed_reader(after).next(most, 1 << 20, &|_| true).unwrap();
        assert!(slice.upto > after);
        after = slice.upto;
        records.extend(slice.records);
    }
    records
}

#[test]
fn what_is_current_is_there_as_before_and_the_log_is_shorter() {
    for max_bytes in [1, 3000, u64::MAX] {
        let (storage, _, store) = worn(300);
        let (before, bytes) = (seen(&store), store.status().log_bytes);
        let mut early = store.feed_reader(0);
        let mut read = early.next(5, 4096, &|_| true).unwrap().records;
        let freed = reclaim_all(&store, max_bytes);
        let status = store.status();
        assert_eq!(status.log_bytes, bytes - freed);
        assert!(freed > bytes / 2, "{freed} of {bytes}");
        assert_eq!(status.reclaim.reclaimed_bytes, freed);
        assert_eq!(status.reclaim.held_up, None);
        assert_eq!(seen(&store), before);
        for record in &before.feed {
            assert_eq!(store.get(&record.key()).unwrap().as_ref(), Some(record));
        }
        loop {
            let slice = early.next(5, 4096, &|_| true).unwrap();
            read.extend(slice.records);
            if slice.upto >= slice.head {
                break;
            }
        }
        assert_eq!(read, before.feed, "a reader that stood in a segment goes on in the new one");
        for most in 1..9 {
            assert_eq!(feed_in_turns(&store, most), before.feed, "one begins where another ended");
        }
        check_digests(&store, &before.feed, "reclaimed");
        let digest = store.recompute_digest(&|_, _| true).unwrap();
        assert_eq!(digest.kept, digest.found);
        assert_eq!(scrub_all(&store, 700).1, []);
        assert_eq!(reclaim_all(&store, max_bytes), 0, "there is nothing more to gain");
        assert!(!storage.list().unwrap().iter().any(|name| name.strip_suffix(".new").is_some()));
    }
}

#[test]
fn an_index_made_from_what_is_left_is_the_same() {
    let (storage, index, store) = worn(300);
    let before = seen(&store);
    reclaim_all(&store, 10_000);
    let live = store.dump_index().unwrap();
    now(store.close()).unwrap();
    let (again, report) = Store::open(options(&storage.copy(), &index)).unwrap();
    assert_eq!(report.rebuilt, None);
    assert_eq!(seen(&again), before);
    let (rebuilt, report) = Store::open(options(&storage.copy(), &MemoryIndex::default())).unwrap();
    assert!(report.rebuilt.is_some());
    assert_eq!(seen(&rebuilt), before);
    check_rebuilt(&live, &rebuilt, "rebuilt");
}

#[test]
fn what_was_rewritten_is_rewritten_again_when_more_of_it_is_superseded() {
    let (storage, _, store) = worn(100);
    let mut total = reclaim_all(&store, u64::MAX);
    for round in 0..6 {
        for at in 0..20 {
            now(store.commit(vec![draft(&format!("r{at}"), &format!("w{round} {}", "y".repeat(200)))]))
                .unwrap();
        }
        total += reclaim_all(&store, 5000);
        let live = store.dump_index().unwrap();
        let (rebuilt, _) = Store::open(options(&storage.copy(), &MemoryIndex::default())).unwrap();
        check_rebuilt(&live, &rebuilt, &format!("round {round}"));
        assert_eq!(seen(&rebuilt), seen(&store));
    }
    let segments = store.status().reclaim.segments;
    assert!(total > 0 && segments > store.status().segments as u64 / 2, "{segments}");
}

#[test]
fn history_ends_where_it_was_reclaimed() {
    let (_, _, store) = worn(300);
    assert!(store.history(&key("r1"), 100).unwrap().len() > 10);
    reclaim_all(&store, u64::MAX);
    let history = store.history(&key("r1"), 100).unwrap();
    assert_eq!(Some(&history[0].1), store.get(&key("r1")).unwrap().as_ref());
    assert!(history.len() < 5, "{}", history.len());
    assert_eq!(store.status().damaged, []);
}

#[test]
fn a_little_that_is_dead_is_left() {
    let (_, store, _) = filled(true);
    let status = store.status();
    now(store.commit(vec![draft("r59-0", "new")])).unwrap();
    assert_eq!(store.status().reclaim.looked_at, 0);
    let freed = reclaim_all(&store, u64::MAX);
    assert!(freed < status.log_bytes / 2);
    assert_eq!(store.status().reclaim.looked_at, store.head());
}

#[test]
fn a_full_disk_is_held_up_and_an_unfinished_copy_goes_at_the_next_start() {
    let (storage, index, store) = worn(300);
    let used = store.status().log_bytes;
    store.dump_index().unwrap();
    storage.set_capacity(Some(used + 200));
    assert_eq!(reclaim_all(&store, u64::MAX), 0);
    assert_eq!(store.status().reclaim.held_up, Some(HeldUp::NoRoom));
    storage.set_capacity(Some(used + 64_000));
    // Stop in the middle of a segment.
    assert!(store.reclaim(1).unwrap().more && store.status().reclaim.running);
    let names = segments(&storage);
    drop(store);
    let killed = storage.copy();
    assert!(killed.list().unwrap().iter().any(|name| name.strip_suffix(".new").is_some()));
    let (store, _) = Store::open(options(&killed, &index)).unwrap();
    assert!(!killed.list().unwrap().iter().any(|name| name.strip_suffix(".new").is_some()));
    assert_eq!(segments(&killed), names);
    assert!(reclaim_all(&store, u64::MAX) > 0);
}

#[test]
fn a_copy_that_cannot_be_written_leaves_everything_as_it_was() {
    for nth in 1..5 {
        for sync in [false, true] {
            let (storage, _, store) = worn(300);
            let before = seen(&store);
            if sync {
                storage.fail_sync(nth);
            } else {
                storage.fail_write(nth);
            }
            reclaim_all(&store, u64::MAX);
            assert!(matches!(store.status().reclaim.held_up, Some(HeldUp::Failed(_))), "{nth} {sync}");
            assert_eq!(seen(&store), before);
            assert!(reclaim_all(&store, u64::MAX) > 0, "it is tried again");
            assert_eq!(seen(&store), before);
            let (rebuilt, _) = Store::open(options(&storage.copy(), &MemoryIndex::default())).unwrap();
            assert_eq!(seen(&rebuilt), before);
        }
    }
}

#[test]
fn an_index_older_than_what_was_reclaimed_is_made_again() {
    let (storage, index, store) = worn(60);
    store.dump_index().unwrap();
    let old = index.copy();
    let head = store.head();
    for at in 0..200 {
        now(store.commit(vec![draft(&format!("r{}", at % 20), &"z".repeat(300))])).unwrap();
    }
    reclaim_all(&store, u64::MAX);
    let before = seen(&store);
    let layouts = store.layouts();
    let last = |layout: &log::Layout| layout.moved.map_or(0, |moved| moved.last_lsn);
    let inside = layouts.windows(2).any(|pair| last(&pair[0]) < head && head < last(&pair[1]));
    assert!(inside, "the old index ends within a rewritten segment");
    let lost = Options { boot_id: "boot-2".to_owned(), ..options(&storage.copy(), &old) };
    let (again, report) = Store::open(lost).unwrap();
    assert_eq!(report.rebuilt, Some("it is older than what was reclaimed of the log"));
    assert_eq!(seen(&again), before);
}

/// Frames of a rewritten segment: where their payloads begin and whether more of the position follows.
fn moved_frames(bytes: &[u8]) -> Vec<(usize, bool)> {
    let (mut found, mut at) = (Vec::new(), SEGMENT_HEADER);
    while bytes[at..].starts_with(FRAME_MAGIC) {
        let length = u32::from_le_bytes(bytes[at + 4..at + 8].try_into().unwrap()) as usize;
        found.push((at + FRAME_HEADER, bytes[at + 19] & FLAG_PART != 0));
        at += FRAME_HEADER + length;
    }
    found
}

/// An index is made from a log, broken off behind the first parts of a position, and made on from there.
#[test]
fn half_a_position_never_gets_into_the_index() {
    let (storage, _, store) = worn(120);
    reclaim_all(&store, u64::MAX);
    let (before, live) = (seen(&store), store.dump_index().unwrap());
    drop(store);
    let mut broken_off = 0;
    for name in segments(&storage) {
        let mut bytes = vec![0; storage.len(&name).unwrap() as usize];
        storage.read_at(&name, 0, &mut bytes).unwrap();
        if bytes[8] != 3 {
            continue;
        }
        let frames = moved_frames(&bytes);
        let behind_parts: Vec<usize> =
            frames.windows(2).filter(|pair| pair[0].1 && !pair[1].1).map(|pair| pair[1].0).collect();
        let ends = [behind_parts.first(), behind_parts.last()];
        for (at, overlay_bytes) in ends.into_iter().flatten().flat_map(|at| [(*at, 2), (*at, 2000)]) {
            let (damaged, index) = (storage.copy(), MemoryIndex::default());
            damaged.damage(&name, |bytes| bytes[at] ^= 1);
            let limits = Limits { overlay_bytes, ..small() };
            assert!(Store::open(Options { limits, ..options(&damaged, &index) }).is_err());
            broken_off += usize::from(!index.is_empty());
            let (store, _) = Store::open(options(&storage.copy(), &index)).unwrap();
            assert_eq!(seen(&store), before, "{name} at {at}, {overlay_bytes}");
            check_rebuilt(&live, &store, &format!("{name} at {at}, {overlay_bytes}"));
        }
    }
    assert!(broken_off > 10, "{broken_off}");
}

#[test]
fn a_reader_never_ends_inside_a_position() {
    let (storage, index) = (Memory::new(1), MemoryIndex::default());
    let store =
        open(Options { limits: Limits { reclaim_percent: 10, ..small() }, ..options(&storage, &index) });
    // In every commit one record that will be superseded, and one to three that stay.
    for at in 0..90 {
        let mut drafts = vec![draft(&format!("gone{at}"), &"x".repeat(200))];
        drafts.extend((0..=at % 3).map(|part| draft(&format!("stays{at}-{part}"), "y")));
        now(store.commit(drafts)).unwrap();
    }
    for at in 0..90 {
        now(store.commit(vec![draft(&format!("gone{at}"), "z")])).unwrap();
    }
    let feed = whole_feed(&store);
    assert!(reclaim_all(&store, u64::MAX) > 0);
    for most in 1..9 {
        assert_eq!(feed_in_turns(&store, most), feed);
    }
}
