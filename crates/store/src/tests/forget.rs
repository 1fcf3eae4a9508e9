//! What is forgotten counts for nothing and is read by nobody, until it comes again; its bytes go with the next rewriting.

use model::Record;

use super::digest::check_digests;
use super::reclaim::worn;
use super::support::*;
use crate::*;

fn forget(store: &Store, records: &[&Record]) -> usize {
    let forget = records.iter().map(|record| (record.key(), record.envelope().version)).collect();
    now(store.apply(Apply { forget, ..Apply::default() })).unwrap().forgotten
}

fn take(store: &Store, record: &Record) -> usize {
    now(store.apply(Apply { records: vec![record.clone()], ..Apply::default() })).unwrap().kept
}

fn forgotten_in_feed(store: &Store, after: u64) -> Vec<(model::RecordKey, model::Version)> {
    let slice = store.feed_reader(after).next(usize::MAX, usize::MAX, &|_| true).unwrap();
    slice.forgotten.iter().map(|gone| (gone.key, gone.version)).collect()
}

fn has(storage: &Memory, text: &str) -> bool {
    let read = |file: &String| {
        let mut bytes = vec![0; storage.len(file).unwrap() as usize];
        storage.read_at(file, 0, &mut bytes).unwrap();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    };
    storage.list().unwrap().iter().any(read)
}

#[test]
fn what_is_forgotten_is_gone_until_it_comes_again() {
    let (storage, index) = (Memory::new(1), MemoryIndex::default());
    let store = open(options(&storage, &index));
    let (one, two) = (foreign("a", 2, "red"), foreign("b", 1, "sky"));
    for record in [&one, &two] {
        assert_eq!(take(&store, record), 1);
    }
    let other_version = foreign("a", 1, "red");
    assert_eq!(forget(&store, &[&other_version]), 0, "only the very version that is held");
    let before = store.head();
    assert_eq!(forget(&store, &[&one, &one]), 1);
    let version = one.envelope().version;
    for fold in [false, true] {
        if fold {
            store.dump_index().unwrap();
        }
        assert_eq!(store.get(&one.key()).unwrap(), None);
        assert_eq!((store.version(&one.key()).unwrap(), store.held(&one.key()).unwrap()), (None, None));
        assert_eq!((store.lsn(&one.key()).unwrap(), store.signer(&one.key()).unwrap()), (None, None));
        assert_eq!(store.known_version(&one.key()).unwrap(), Some(version));
        assert_eq!(store.history(&one.key(), 9).unwrap(), []);
        let feed = whole_feed(&store);
        assert!(!feed.contains(&one) && feed.contains(&two));
        check_digests(&store, &feed, "forgotten");
        assert_eq!(forgotten_in_feed(&store, before), [(one.key(), version)]);
        assert_eq!(store.status().live(KIND), 1);
    }
    assert_eq!(forget(&store, &[&one]), 0, "it is forgotten already");
    assert_eq!(now(store.repair(one.clone())), Ok(false));
    assert_eq!(store.damaged_keys(9).unwrap(), []);
    // The same bytes are taken again, and an older version too.
    assert_eq!((take(&store, &one), take(&store, &one)), (1, 0));
    assert_eq!(store.get(&one.key()).unwrap(), Some(one.clone()));
    assert_eq!(forgotten_in_feed(&store, before), [(one.key(), version)], "that it went stays said");
    check_digests(&store, &whole_feed(&store), "again");
    assert_eq!(forget(&store, &[&one]), 1);
    assert_eq!(take(&store, &other_version), 1);
    assert_eq!(store.get(&one.key()).unwrap(), Some(other_version));
}

#[test]
fn an_apply_does_not_forget_what_it_brings_and_an_own_draft_finds_nothing() {
    let (storage, index) = (Memory::new(1), MemoryIndex::default());
    let store = open(options(&storage, &index));
    let (old, new) = (foreign("a", 1, "red"), foreign("a", 2, "sky"));
    take(&store, &old);
    let forget_old = vec![(old.key(), old.envelope().version)];
    let apply = Apply { records: vec![new.clone()], forget: forget_old, ..Apply::default() };
    assert_eq!(now(store.apply(apply)).unwrap().forgotten, 0);
    assert_eq!(store.get(&new.key()).unwrap(), Some(new));
    let own = now(store.commit(vec![draft("own", "tea")])).unwrap().records.remove(0);
    forget(&store, &[&own]);
    let version = own.envelope().version;
    let changed = now(store.commit(vec![Draft { expect: Expect::Version(version), ..draft("own", "") }]));
    assert!(matches!(changed, Err(CommitError::Changed { .. })));
    now(store.commit(vec![Draft { expect: Expect::Absent, ..draft("own", "oak") }])).unwrap();
    assert_eq!(store.get(&own.key()).unwrap().unwrap().body().as_ref(), b"oak");
}

#[test]
fn a_rebuilt_index_is_the_same_and_the_bytes_are_reclaimed() {
    let (storage, _, store) = worn(120);
    let feed = whole_feed(&store);
    let gone: Vec<&Record> =
        feed.iter().filter(|record| record.envelope().kind == KIND).step_by(2).take(12).collect();
    let secret = foreign("secret", 1, "a body that nobody may keep");
    take(&store, &secret);
    assert_eq!(forget(&store, &gone), gone.len());
    assert_eq!(forget(&store, &[&secret]), 1);
    // One comes again, one changes, and more is written so that all of it stands in closed segments.
    take(&store, gone.last().unwrap());
    for at in 0..60 {
        now(store.commit(vec![draft(&format!("r{}", at % 20), &format!("{at} {}", "y".repeat(400)))]))
            .unwrap();
    }
    assert!(has(&storage, "a body that nobody may keep"));
    let before = whole_feed(&store);
    for round in 0..2 {
        let live = store.dump_index().unwrap();
        let (rebuilt, _) = Store::open(options(&storage.copy(), &MemoryIndex::default())).unwrap();
        check_rebuilt(&live, &rebuilt, "rebuilt");
        assert_eq!(whole_feed(&rebuilt), before);
        let recomputed = store.recompute_digest(&|_, _| true).unwrap();
        assert_eq!(recomputed.kept, recomputed.found);
        assert_eq!(rebuilt.get(&secret.key()).unwrap(), None);
        assert_eq!(rebuilt.known_version(&secret.key()).unwrap(), Some(secret.envelope().version));
        if round == 0 {
            assert!(reclaim_all(&store, 3000) > 0);
        }
    }
    assert_eq!(whole_feed(&store), before);
    assert!(!has(&storage, "a body that nobody may keep"));
}
