//! What the store promises when nothing fails.

use model::{EpochId, Kind, OriginId, Version};

use super::support::*;
use crate::*;

fn store() -> (Memory, MemoryIndex, Store) {
    let (storage, index) = (Memory::new(1), MemoryIndex::default());
    let store = open(options(&storage, &index));
    (storage, index, store)
}

#[test]
fn a_commit_is_read_back() {
    let (_, _, store) = store();
    let committed = now(store.commit(vec![draft("a", "red blue"), draft("b", "blue")])).unwrap();
    assert_eq!((committed.lsn, committed.epoch, committed.seq), (2, 1, 2));
    let record = store.get(&key("a")).unwrap().unwrap();
    assert_eq!(record, committed.records[0]);
    assert_eq!(record.verify(&signing().verifying_key()), Ok(()));
    assert_eq!(store.version(&key("b")).unwrap(), Some(Version { term: 1, epoch: 1, seq: 2 }));
    assert_eq!(store.get(&key("c")).unwrap(), None);
    assert_eq!(store.head(), 2);
    let mut blue = vec![key("a"), key("b")];
    blue.sort_unstable();
    assert_eq!(store.lookup(1, &term(b"blue"), None, 10).unwrap(), blue);
    assert_eq!(store.lookup(1, &term(b"blue"), Some(blue[0]), 10).unwrap(), blue[1..]);
    assert_eq!(store.lookup(1, &term(b"blue"), None, 1).unwrap(), blue[..1]);
    assert_eq!(store.lookup(2, &term(b"blue"), None, 10).unwrap(), []);
}

#[test]
fn nothing_is_written_before_an_epoch_is_open() {
    let (storage, index) = (Memory::new(1), MemoryIndex::default());
    let (store, _) = Store::open(options(&storage, &index)).unwrap();
    assert_eq!(now(store.commit(vec![draft("a", "")])).unwrap_err(), CommitError::NotWriting);
    assert_eq!(store.head(), 0);
}

#[test]
fn epochs_follow_on_each_other_across_starts() {
    let (storage, index, store) = store();
    now(store.commit(vec![draft("a", "1")])).unwrap();
    now(store.close()).unwrap();
    let (store, report) = Store::open(options(&storage, &index)).unwrap();
    assert_eq!((report.replayed, report.rebuilt, report.power_loss), (0, None, false));
    assert_eq!(store.last_epoch().unwrap().counter, 1);
    assert_eq!(now(store.commit(vec![draft("a", "2")])).unwrap_err(), CommitError::NotWriting);
    let entry = now(store.begin_epoch(EpochId([2; 16]), vec![draft("b", "in the new epoch")])).unwrap();
    assert_eq!((entry.counter, entry.base_seq), (2, 2));
    assert_eq!(entry.previous_epoch_id[..], [1; 16]);
    assert_eq!(store.last_epoch(), Some(entry));
    assert_eq!(store.version(&key("b")).unwrap(), Some(Version { term: 1, epoch: 2, seq: 3 }));
    assert_eq!(store.last_seq(), 3);
    assert_eq!(store.status().live(Kind::Epoch as u32), 2);
}

#[test]
fn a_draft_that_expects_something_else_changes_nothing() {
    let (_, _, store) = store();
    let first = now(store.commit(vec![draft("a", "1")])).unwrap();
    let version = first.records[0].envelope().version;
    let with = |expect, body| Draft { expect, ..draft("a", body) };
    let changed = Err(CommitError::Changed { key: key("a") });
    let commit = |drafts| now(store.commit(drafts)).map(|committed| committed.seq);
    assert_eq!(commit(vec![draft("b", "1"), with(Expect::Absent, "2")]), changed);
    assert_eq!(store.get(&key("b")).unwrap(), None);
    assert_eq!(commit(vec![with(Expect::Version(Version { seq: 1, ..version }), "2")]), changed);
    assert_eq!(commit(vec![draft("a", "2"), draft("a", "3")]), changed);
    assert_eq!(commit(vec![with(Expect::Version(version), "2")]), Ok(3));
    assert_eq!(commit(vec![with(Expect::Version(version), "3")]), changed);
    assert_eq!(store.head(), 3);
}

#[test]
fn a_writer_that_was_replaced_is_outranked() {
    let (_, _, store) = store();
    now(store.commit(vec![Draft { term: 2, ..draft("a", "1") }])).unwrap();
    let late = now(store.commit(vec![draft("a", "2")]));
    assert_eq!(late.unwrap_err(), CommitError::Outranked { key: key("a") });
}

#[test]
fn limits_of_a_commit_are_refused() {
    let (_, _, store) = store();
    let many = (0..=MAX_COMMIT_RECORDS).map(|at| draft(&at.to_string(), "")).collect();
    assert_eq!(now(store.commit(many)).unwrap_err(), CommitError::TooLarge);
    let large = (0..17).map(|at| draft(&at.to_string(), &"x".repeat(250 * 1024))).collect();
    assert_eq!(now(store.commit(large)).unwrap_err(), CommitError::TooLarge);
    let body = "x".repeat(model::record::MAX_BODY + 1);
    assert_eq!(now(store.commit(vec![draft("a", &body)])).unwrap_err(), CommitError::TooLarge);
    let kind_0 = Draft { kind: 0, ..draft("a", "") };
    assert!(matches!(now(store.commit(vec![kind_0])), Err(CommitError::Invalid(_))));
    assert_eq!(store.head(), 1);
}

#[test]
fn tombstones_stay_and_count() {
    let (_, _, store) = store();
    now(store.commit(vec![draft("a", "1"), draft("b", "1")])).unwrap();
    now(store.commit(vec![Draft { tombstone: true, ..draft("a", "") }])).unwrap();
    assert!(store.get(&key("a")).unwrap().unwrap().envelope().tombstone);
    let count = store.status().counts.into_iter().find(|count| count.kind == KIND);
    assert_eq!(count, Some(KindCount { kind: KIND, live: 1, tombstones: 1 }));
}

#[test]
fn records_are_found_by_their_subject() {
    let (_, _, store) = store();
    let about = |name: &str, kind| Draft { kind, subject: Some(key("a")), ..draft(name, "") };
    let drafts = vec![
        Draft { subject: Some(key("a")), ..draft("a", "") },
        about("x", 2),
        about("y", 2),
        about("z", 3),
    ];
    let mut expected = vec![drafts[1].key(), drafts[2].key()];
    expected.sort_unstable();
    now(store.commit(drafts)).unwrap();
    assert_eq!(store.about(&key("a"), 2, None, 10).unwrap(), expected);
    assert_eq!(store.about(&key("a"), 2, Some(expected[0]), 10).unwrap(), expected[1..]);
    assert_eq!(store.about(&key("a"), KIND, None, 10).unwrap(), [], "a record is not about itself");
}

#[test]
fn an_apply_keeps_the_highest_version_in_any_order() {
    let (_, _, store) = store();
    let apply = |records: Vec<model::Record>, at| {
        now(store.apply(Apply {
            records,
            quarantined: vec![],
            forget: vec![],
            position: Some((feed(1), position(at))),
        }))
        .unwrap()
    };
    let applied = apply(vec![foreign("a", 2, "two"), foreign("b", 1, "one"), foreign("a", 1, "one")], 1);
    assert_eq!((applied.kept, applied.repeated, applied.lsn), (2, 1, 2));
    let again = apply(vec![foreign("a", 2, "two"), foreign("a", 1, "one")], 1);
    assert_eq!((again.kept, again.repeated, again.lsn), (0, 2, 2), "a repeat writes nothing");
    let later = apply(vec![foreign("a", 3, "three")], 2);
    assert_eq!((later.kept, later.repeated, later.lsn), (1, 0, 3));
    assert_eq!(store.position(&feed(1)), Some(position(2)));
    assert_eq!(store.position(&feed(2)), None);
    assert_eq!(store.get(&foreign("a", 1, "").key()).unwrap(), Some(foreign("a", 3, "three")));
    assert_eq!(store.status().live(KIND), 2);
}

#[test]
fn quarantined_records_are_kept_once_per_feed() {
    let (storage, index, store) = store();
    let held = |hash, from| Quarantined {
        from: feed(from),
        raw: bytes::Bytes::from_static(b"raw"),
        reason: "signature".to_owned(),
        hash: [hash; 32],
    };
    let apply = |quarantined: Vec<Quarantined>| {
        now(store.apply(Apply { records: vec![], quarantined, forget: vec![], position: None }))
            .unwrap()
            .quarantined
    };
    assert_eq!(apply(vec![held(1, 1), held(1, 1), held(2, 1)]), 2);
    assert_eq!(apply(vec![held(2, 1), held(2, 2)]), 1);
    assert_eq!(store.quarantine(2).unwrap(), [held(1, 1), held(2, 1)]);
    assert_eq!(store.status().quarantined, 3);
    now(store.close()).unwrap();
    let store = open(options(&storage, &index));
    assert_eq!(store.quarantine(9).unwrap(), [held(1, 1), held(2, 1), held(2, 2)]);
    assert_eq!(store.status().quarantined, 3);
}

#[test]
fn the_quarantine_is_given_a_page_at_a_time() {
    let (_, _, store) = store();
    let held = |hash, from, direction| Quarantined {
        from: FeedId { direction, ..feed(from) },
        raw: bytes::Bytes::from_static(b"raw"),
        reason: "signature".to_owned(),
        hash: [hash; 32],
    };
    let all = [
        held(9, 1, Direction::Up),
        held(1, 2, Direction::Up),
        held(5, 1, Direction::Down),
        held(3, 1, Direction::Restore),
    ];
    for one in all.chunks(2) {
        let apply = Apply { records: vec![], quarantined: one.to_vec(), forget: vec![], position: None };
        now(store.apply(apply)).unwrap();
    }
    let page = |from: Option<u8>, after, limit| {
        let mut given = Vec::new();
        let from = from.map(|peer| feed(peer).peer);
        let next = store.each_quarantined(from.as_ref(), after, limit, &mut |one| given.push(one.unwrap()));
        (given, next.unwrap())
    };
    let (first, next) = page(None, None, 3);
    assert_eq!(first, all[..3], "oldest first");
    assert_eq!(page(None, next, 3), (all[3..].to_vec(), None));
    assert!(next.is_some());
    assert_eq!(page(None, None, 4), (all.to_vec(), None), "a full page is no promise of another");
    let of_one = [all[0].clone(), all[2].clone(), all[3].clone()];
    assert_eq!(page(Some(1), None, 9), (of_one.to_vec(), None), "of every direction");
    let (_, next) = page(Some(1), None, 1);
    assert_eq!(page(Some(1), next, 9), (of_one[1..].to_vec(), None));
    assert_eq!(page(Some(3), None, 9), (vec![], None));
    assert_eq!(page(None, None, 0), (vec![], None));
}

#[test]
fn a_feed_gives_each_record_once_at_its_latest_change() {
    let (_, _, store) = store();
    for (name, body) in [("a", "1"), ("b", "1"), ("a", "2"), ("c", "1"), ("b", "2")] {
        now(store.commit(vec![draft(name, body)])).unwrap();
    }
    let registrations = |envelope: &model::Envelope| envelope.kind == KIND;
    let slice = store.feed_reader(0).next(100, 1 << 20, &registrations).unwrap();
    let keys: Vec<_> = slice.records.iter().map(model::Record::key).collect();
    assert_eq!(keys, [key("a"), key("c"), key("b")]);
    assert_eq!((slice.upto, slice.head), (6, 6));
    let slice = store.feed_reader(5).next(100, 1 << 20, &registrations).unwrap();
    assert_eq!(slice.records.len(), 1);
    let slice = store.feed_reader(9).next(100, 1 << 20, &registrations).unwrap();
    assert_eq!((slice.records.len(), slice.upto, slice.head), (0, 9, 6));
}

#[test]
fn a_slice_never_splits_a_commit() {
    let (_, _, store) = store();
    now(store.commit(vec![draft("a", ""), draft("b", ""), draft("c", "")])).unwrap();
    now(store.commit(vec![draft("d", ""), draft("e", "")])).unwrap();
    let mut reader = store.feed_reader(1);
    let mut next = |records, bytes| {
        let slice = reader.next(records, bytes, &|_| true).unwrap();
        (slice.records.len(), slice.upto)
    };
    assert_eq!(next(1, 1 << 20), (3, 2));
    assert_eq!(next(100, 1), (2, 3));
    assert_eq!(next(100, 1), (0, 3));
    assert_eq!(store.feed_reader(1).next(4, 1 << 20, &|_| true).unwrap().upto, 2);
    assert_eq!(store.feed_reader(1).next(5, 1 << 20, &|_| true).unwrap().upto, 3);
}

#[test]
fn segments_roll_and_everything_stays_readable() {
    let (storage, index, store) = store();
    for at in 0..200 {
        now(store.commit(vec![draft(&at.to_string(), &format!("word{} common", at % 7))])).unwrap();
    }
    let status = store.status();
    assert!(status.segments > 3, "{} segments", status.segments);
    assert!(status.index_applied > 0, "the overlay was folded on the way");
    assert!(status.overlay_bytes <= small().overlay_bytes as u64);
    assert_eq!(store.lookup(1, &term(b"common"), None, 1000).unwrap().len(), 200);
    assert_eq!(whole_feed(&store).len(), 201);
    now(store.close()).unwrap();
    let (store, report) = Store::open(options(&storage, &index)).unwrap();
    assert_eq!((report.replayed, report.last_lsn), (0, 201));
    assert_eq!(store.lookup(1, &term(b"common"), None, 1000).unwrap().len(), 200);
    assert_eq!(whole_feed(&store).len(), 201);
    assert_eq!(store.status().live(KIND), 200);
}

#[test]
fn a_closed_store_refuses() {
    let (_, _, store) = store();
    let other = store.clone();
    now(store.close()).unwrap();
    assert_eq!(now(other.commit(vec![draft("a", "")])).unwrap_err(), CommitError::Closed);
}

#[test]
fn the_head_is_announced() {
    let (_, _, store) = store();
    let mut head = store.watch_head();
    assert_eq!(*head.borrow_and_update(), 1);
    now(store.commit(vec![draft("a", "")])).unwrap();
    assert!(head.has_changed().unwrap());
    assert_eq!(*head.borrow(), 2);
}

#[test]
fn own_records_that_come_back_move_epoch_and_seq_on() {
    let (_, _, lost) = store();
    now(lost.commit(vec![Draft { origin: NODE, ..draft("a", "1") }])).unwrap();
    let records = whole_feed(&lost);
    let (storage, index) = (Memory::new(2), MemoryIndex::default());
    let (store, _) = Store::open(options(&storage, &index)).unwrap();
    now(store.apply(Apply { records, quarantined: vec![], forget: vec![], position: None })).unwrap();
    assert_eq!((store.last_seq(), store.last_epoch().unwrap().counter), (2, 1));
    let entry = now(store.begin_epoch(EpochId([3; 16]), vec![])).unwrap();
    assert_eq!((entry.counter, entry.base_seq), (2, 2));
    assert_ne!(store.generation(), lost.generation());
}

#[test]
fn a_log_belongs_to_one_node() {
    let (storage, index, store) = store();
    now(store.close()).unwrap();
    let other = Options { node: OriginId([1; 16]), ..options(&storage, &index) };
    assert!(matches!(Store::open(other), Err(OpenError::OtherNode)));
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_commits_share_syncs() {
    let dir = tempfile::tempdir().unwrap();
    let memory = Memory::new(1);
    let limits = Limits { sync_delay_ms: 5, ..Limits::default() };
    let storage = std::sync::Arc::new(Files::open(dir.path().join("log")).unwrap());
    let options = Options { run: Run::Threads, limits, storage, ..options(&memory, &MemoryIndex::default()) };
    let (store, _) = Store::open(options).unwrap();
    store.begin_epoch(EpochId([1; 16]), vec![]).await.unwrap();
    let tasks: Vec<_> = (0..32)
        .map(|task| {
            let store = store.clone();
            tokio::spawn(async move {
                for at in 0..10 {
                    store.commit(vec![draft(&format!("{task}-{at}"), "")]).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let status = store.status();
    assert_eq!((status.commits, status.live(KIND)), (321, 320));
    assert!(status.syncs < status.commits / 4, "{} syncs for {} commits", status.syncs, status.commits);
    store.close().await.unwrap();
}

#[test]
fn earlier_versions_can_be_read() {
    let (_, _, store) = store();
    for body in ["1", "2", "3"] {
        now(store.commit(vec![draft("a", body)])).unwrap();
    }
    let bodies = |most| {
        let history = store.history(&key("a"), most).unwrap();
        history.iter().map(|(_, record)| record.body().to_vec()).collect::<Vec<_>>()
    };
    assert_eq!(bodies(10), [b"3", b"2", b"1"]);
    assert_eq!(bodies(2), [b"3", b"2"]);
    assert_eq!(store.history(&key("b"), 10).unwrap(), []);
}

#[test]
fn what_comes_back_counts_as_written() {
    let (_, _, first) = store();
    let lost = now(first.commit(vec![draft("a", "1")])).unwrap().records;
    let (storage, index) = (Memory::new(2), MemoryIndex::default());
    let (store, _) = Store::open(options(&storage, &index)).unwrap();
    now(store.apply(Apply { records: lost, ..Apply::default() })).unwrap();
    // Of an institution: only the key tells that it is this node's.
    assert_eq!(store.last_seq(), 2);
}

#[test]
fn an_epoch_that_was_lost_with_its_log_is_never_used_again() {
    let (storage, index) = (Memory::new(1), MemoryIndex::default());
    let (store, _) = Store::open(options(&storage, &index)).unwrap();
    let noted = LastEpoch { counter: 7, id: EpochId([7; 16]), base_seq: 90 };
    let entry = now(store.begin_epoch_after(EpochId([8; 16]), vec![draft("a", "1")], Some(noted))).unwrap();
    assert_eq!((entry.counter, &entry.previous_epoch_id[..]), (8, &[7; 16][..]));
    assert!(entry.base_seq > 90 + 1_000_000, "{}", entry.base_seq);
    let next = now(store.commit(vec![draft("b", "1")])).unwrap();
    assert_eq!(next.seq, entry.base_seq + 2);
    now(store.close()).unwrap();
    // What the log knows itself counts more than an older note.
    let (store, _) = Store::open(options(&storage, &index)).unwrap();
    let entry = now(store.begin_epoch_after(EpochId([9; 16]), vec![], Some(noted))).unwrap();
    assert_eq!((entry.counter, entry.base_seq), (9, next.seq));
}
