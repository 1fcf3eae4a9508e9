//! Repair, rule by rule: which record may take the place of damaged bytes, and what feeds do meanwhile.

use model::Record;

use super::digest::check_digests;
use super::scrub::{check_healed, feed_after, filled, frames, repair, repair_all, scrub_all};
use super::support::*;
use crate::log::format::{FRAME_HEADER, ITEM_HEADER};
use crate::*;

#[test]
fn only_the_very_record_repairs() {
    let (storage, store, held) = filled(true);
    let record = &held[0];
    let lsn = store.lsn(&record.key()).unwrap().unwrap();
    let (name, _, end, _) = frames(&storage).into_iter().find(|frame| frame.3 == lsn).unwrap();
    assert_eq!(repair(&store, record), Ok(false), "nothing is wrong with it yet");
    storage.damage(&name, |bytes| bytes[end - 1] ^= 1);
    let record = held.iter().find(|held| store.get(&held.key()).is_err()).unwrap();
    let head = store.head();
    let like = |seq, name: &str| {
        let envelope = record.envelope();
        let unsigned = model::record::Unsigned {
            flow: envelope.known_flow().unwrap(),
            kind: envelope.kind,
            id: if name.is_empty() { envelope.id } else { draft(name, "").id },
            origin: envelope.origin,
            subject: None,
            tombstone: false,
            body: bytes::Bytes::from_static(b"forged"),
        };
        let version = model::Version { seq, ..envelope.version };
        Record::sign(unsigned, version, 1, &signing()).unwrap()
    };
    let seq = record.envelope().version.seq;
    let key = record.key();
    assert_eq!(repair(&store, &like(seq, "")), Err(CommitError::Different { key }));
    assert_eq!(repair(&store, &like(seq + 1, "")), Ok(false), "a higher version is applied, not repaired");
    assert_eq!(repair(&store, &like(seq, "never held")), Ok(false));
    assert_eq!(store.head(), head, "nothing was written");
    assert_eq!(repair(&store, record), Ok(true));
    assert_eq!(store.lsn(&key).unwrap(), Some(head + 1));
}

#[test]
fn what_is_superseded_needs_no_repair() {
    let (storage, store, held) = filled(true);
    let lsn = store.lsn(&held[40].key()).unwrap().unwrap();
    let (name, start, end, _) = frames(&storage).into_iter().find(|frame| frame.3 == lsn).unwrap();
    storage.damage(&name, |bytes| bytes[start + FRAME_HEADER + ITEM_HEADER..end].fill(0));
    assert!(feed_after(&store, 0).1.is_some());
    let lost = store.damaged_keys(100).unwrap();
    assert!(!lost.is_empty());
    let drafts = held.iter().filter(|record| lost.contains(&record.key())).map(|record| Draft {
        id: record.envelope().id,
        body: bytes::Bytes::from_static(b"anew"),
        ..draft("", "")
    });
    now(store.commit(drafts.collect())).unwrap();
    assert_eq!(store.damaged_keys(100).unwrap(), []);
    let (fed, error) = feed_after(&store, 0);
    assert_eq!((fed.len(), error), (held.len(), None));
    check_digests(&store, &fed, "superseded");
}

#[test]
fn damage_that_a_feed_does_not_concern_does_not_stop_it() {
    let (storage, store, _) = filled(true);
    let other = Draft { flow: model::Flow::Counter, ..draft("of another flow", "x") };
    now(store.commit(vec![other.clone()])).unwrap();
    now(store.commit(vec![draft("after it", "y")])).unwrap();
    let lsn = store.lsn(&other.key()).unwrap().unwrap();
    let (name, start, end, _) = frames(&storage).into_iter().find(|frame| frame.3 == lsn).unwrap();
    storage.damage(&name, |bytes| bytes[start + FRAME_HEADER + ITEM_HEADER..end].fill(0));
    let registrations = |envelope: &model::Envelope| envelope.known_flow() == Some(model::Flow::Registration);
    let may = |_: &model::KeyId, flow| flow == model::Flow::Registration as u32;
    let read = |may: &dyn Fn(&model::KeyId, u32) -> bool| {
        let mut reader = store.feed_reader(lsn - 1);
        reader.next_of(100, usize::MAX, &registrations, may)
    };
    let slice = read(&may).unwrap();
    assert_eq!((slice.upto, slice.records.len()), (store.head(), 1));
    assert!(matches!(read(&|_, _| true), Err(ReadError::Corrupt { .. })), "who cannot tell has to wait");
}

#[test]
fn a_slice_ends_before_damage_and_the_next_begins_with_it() {
    let (storage, store, held) = filled(true);
    let lsn = store.lsn(&held[60].key()).unwrap().unwrap();
    let (name, start, end, _) = frames(&storage).into_iter().find(|frame| frame.3 == lsn).unwrap();
    storage.damage(&name, |bytes| bytes[start + FRAME_HEADER + ITEM_HEADER..end].fill(0));
    let mut reader = store.feed_reader(0);
    let slice = reader.next(10_000, usize::MAX, &|_| true).unwrap();
    assert_eq!(slice.upto, lsn - 1);
    assert!(slice.records.len() > 50 && slice.records[..] == held[..slice.records.len()]);
    for _ in 0..2 {
        assert!(matches!(reader.next(10_000, usize::MAX, &|_| true), Err(ReadError::Corrupt { .. })));
        assert_eq!(reader.position(), lsn - 1);
    }
    let repaired = repair_all(&store, &held);
    let rest = reader.next(10_000, usize::MAX, &|_| true).unwrap();
    assert_eq!(rest.records.len() + slice.records.len(), held.len());
    assert!(
        rest.records[rest.records.len() - repaired.len()..]
            .iter()
            .all(|record| repaired.contains(&record.key()))
    );
}

#[test]
fn a_repaired_store_starts_again_with_its_index() {
    let (storage, index) = (Memory::new(1), MemoryIndex::default());
    let store = open(options(&storage, &index));
    for at in 0..40 {
        now(store.commit(vec![draft(&format!("r{at}"), &"x".repeat(200))])).unwrap();
    }
    let held = whole_feed(&store);
    let (name, start, end, _) = frames(&storage)[10].clone();
    storage.damage(&name, |bytes| bytes[start + FRAME_HEADER + ITEM_HEADER..end].fill(0));
    assert_eq!(scrub_all(&store, u64::MAX).1.len(), 1);
    let repaired = repair_all(&store, &held);
    assert_eq!(repaired.len(), 1);
    now(store.close()).unwrap();
    let store = Store::open(options(&storage, &index)).unwrap().0;
    assert_eq!(store.status().damaged, []);
    assert_eq!(feed_after(&store, 0).1, None, "found again, and passed");
    assert_eq!(scrub_all(&store, u64::MAX).1.len(), 1);
    assert_eq!(store.damaged_keys(10).unwrap(), []);
    check_healed(&store, &held, &repaired, "after a restart");
}

#[test]
fn two_repairs_of_one_record_at_once_write_it_once() {
    let (storage, store, held) = filled(true);
    let lsn = store.lsn(&held[50].key()).unwrap().unwrap();
    let (name, start, end, _) = frames(&storage).into_iter().find(|frame| frame.3 == lsn).unwrap();
    storage.damage(&name, |bytes| bytes[start + FRAME_HEADER + ITEM_HEADER..end].fill(0));
    let head = store.head();
    let both = store.repair_group(vec![held[50].clone(), held[50].clone()]);
    assert_eq!(both, [Ok(true), Ok(false)]);
    assert_eq!(store.head(), head + 1);
    assert!(store.status().damaged.iter().all(|place| place.lsn == lsn), "what is new is not looked at");
}

#[test]
fn a_healed_place_that_rots_further_is_told_again() {
    let (storage, store, held) = filled(true);
    let lsn = (1..store.head()).rev().find(|lsn| commit_of(&store, &held, *lsn).len() == 3).unwrap();
    let commit = commit_of(&store, &held, lsn);
    let name = frames(&storage).into_iter().find(|frame| frame.3 == lsn).unwrap().0;
    for record in &commit {
        storage.damage(&name, |bytes| {
            let body = record.signature();
            let at = bytes.windows(body.len()).position(|found| found == &body[..]).unwrap();
            bytes[at] ^= 1;
        });
        assert!(store.get(&record.key()).is_err());
        assert_eq!(store.status().damaged.len(), 1);
        assert!(!store.status().damaged[0].healed);
        assert_eq!(store.damaged_keys(10).unwrap(), [record.key()]);
        assert_eq!(repair(&store, record), Ok(true));
        assert_eq!(store.damaged_keys(10).unwrap(), []);
        assert!(store.status().damaged[0].healed);
    }
}

/// The current records of one commit.
fn commit_of(store: &Store, held: &[Record], lsn: u64) -> Vec<Record> {
    held.iter().filter(|record| store.lsn(&record.key()).unwrap() == Some(lsn)).cloned().collect()
}

#[test]
fn news_of_damage_is_told_once_until_it_is_healed() {
    let (storage, store, held) = filled(true);
    let mut news = store.watch_damage();
    let all = frames(&storage);
    let last = store.lsn(&held[70].key()).unwrap().unwrap();
    let (name, start, end, _) = all.iter().find(|frame| frame.3 == last).unwrap();
    storage.damage(name, |bytes| bytes[*start + 60..*end].fill(0));
    assert!(!news.has_changed().unwrap(), "nobody has looked");
    assert!(store.get(&held[70].key()).is_err());
    assert!(news.has_changed().unwrap());
    news.mark_unchanged();
    let damaged = store.damaged_keys(100).unwrap();
    assert!(store.get(&held[70].key()).is_err() && scrub_all(&store, 500).1.len() == 1);
    assert!(!news.has_changed().unwrap(), "known, and still to be repaired");
    assert_eq!(store.signer(&held[70].key()).unwrap(), Some(held[70].envelope().key_id));
    assert_eq!(store.signer(&key("nobody")).unwrap(), None);
    for key in &damaged {
        assert_eq!(repair(&store, held.iter().find(|record| record.key() == *key).unwrap()), Ok(true));
    }
    assert_eq!(store.damaged_keys(100).unwrap(), []);
    assert_eq!((store.status().damaged_found, news.has_changed().unwrap()), (1, false));
    let repaired = frames(&storage).last().unwrap().clone();
    storage.damage(&repaired.0, |bytes| bytes[repaired.1 + 60..repaired.2].fill(0));
    assert!(store.get(damaged.last().unwrap()).is_err());
    assert_eq!((store.status().damaged_found, news.has_changed().unwrap()), (2, true));
}

#[test]
fn a_place_where_nothing_was_lost_is_news_when_something_is() {
    let (storage, store, held) = filled(true);
    let mut news = store.watch_damage();
    let last = store.lsn(&held[70].key()).unwrap().unwrap();
    let (name, start, end, _) = frames(&storage).into_iter().find(|frame| frame.3 == last).unwrap();
    storage.damage(&name, |bytes| bytes[start + 20] ^= 1);
    assert_eq!(scrub_all(&store, u64::MAX).1.len(), 1);
    assert_eq!(store.damaged_keys(10).unwrap(), [], "the frame's header is damaged, its records are not");
    assert!(store.status().damaged[0].healed && news.has_changed().unwrap());
    news.mark_unchanged();
    storage.damage(&name, |bytes| bytes[start + 60..end].fill(0));
    assert!(!news.has_changed().unwrap());
    assert!(store.get(&held[70].key()).is_err());
    assert!(news.has_changed().unwrap() && !store.damaged_keys(10).unwrap().is_empty());
}
