//! The sled index: answers like the memory index, and is made again whatever happens to its files.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::support::*;
use crate::*;

fn with_sled(storage: &Memory, path: &Path) -> Options {
    let index = IndexChoice::Sled { path: path.to_owned(), cache_bytes: 4 << 20 };
    Options { index, ..options(storage, &MemoryIndex::default()) }
}

/// Fills a store whose index is in `path`; names of its records.
fn fill(storage: &Memory, path: &Path, records: usize) -> (Store, Vec<String>) {
    let store = open(with_sled(storage, path));
    let names: Vec<String> = (0..records).map(|at| format!("r{at}")).collect();
    for name in &names {
        now(store.commit(vec![draft(name, &format!("red {name} sky"))])).unwrap();
    }
    (store, names)
}

/// Everything asked of the index has the right answer.
fn check(store: &Store, names: &[String], context: &str) {
    for name in names {
        let record = store.get(&key(name)).unwrap().unwrap_or_else(|| panic!("{context}: {name} is gone"));
        assert_eq!(record.body(), &format!("red {name} sky"), "{context}");
        assert_eq!(store.lookup(1, &term(name.as_bytes()), None, 10).unwrap(), [key(name)], "{context}");
    }
    let mut keys: Vec<_> = names.iter().map(|name| key(name)).collect();
    keys.sort_unstable();
    assert_eq!(store.lookup(1, &term(b"red"), None, 1000).unwrap(), keys, "{context}");
    assert_eq!(store.get(&key("never")).unwrap(), None, "{context}");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

fn files(path: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

#[test]
fn sled_and_memory_hold_the_same_pairs() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index");
    let storage = Memory::new(1);
    let (store, names) = fill(&storage, &path, 200);
    now(store.commit(vec![Draft { tombstone: true, ..draft("gone", "") }])).unwrap();
    now(store.apply(Apply {
        records: vec![foreign("f", 1, "tea")],
        quarantined: vec![],
        forget: vec![],
        position: Some((feed(2), position(4))),
    }))
    .unwrap();
    check(&store, &names, "live");
    let pairs = store.dump_index().unwrap();
    now(store.close()).unwrap();
    let (memory, report) = Store::open(options(&storage.copy(), &MemoryIndex::default())).unwrap();
    assert_eq!(report.rebuilt, Some("it was empty"));
    assert_eq!(memory.dump_index().unwrap(), pairs);
    let (store, report) = Store::open(with_sled(&storage, &path)).unwrap();
    assert_eq!((report.rebuilt, report.replayed), (None, 0));
    assert_eq!(store.position(&feed(2)), Some(position(4)));
    check(&store, &names, "reopened");
}

#[test]
fn a_sled_that_is_behind_catches_up() {
    let dir = tempfile::tempdir().unwrap();
    let (path, early) = (dir.path().join("index"), dir.path().join("early"));
    let storage = Memory::new(1);
    let (store, _) = fill(&storage, &path, 50);
    now(store.close()).unwrap();
    copy(&path, &early);
    let (store, names) = fill(&storage, &path, 120);
    let pairs = store.dump_index().unwrap();
    drop(store);
    let (store, report) = Store::open(with_sled(&storage, &early)).unwrap();
    assert_eq!((report.rebuilt, report.replayed), (None, 121));
    check(&store, &names, "caught up");
    assert_eq!(store.dump_index().unwrap(), pairs);
}

/// What may have become of an index's directory.
fn ruin(index: &Path, how: &str) {
    match how {
        "lost" => fs::remove_dir_all(index).unwrap(),
        "empty directory" => {
            fs::remove_dir_all(index).unwrap();
            fs::create_dir(index).unwrap();
        }
        "garbage" => files(index).iter().for_each(|file| fs::write(file, [0xA5; 5000]).unwrap()),
        "zeros" => files(index).iter().for_each(|file| {
            let len = fs::metadata(file).unwrap().len();
            fs::write(file, vec![0; len as usize]).unwrap();
        }),
        "truncated" => files(index).iter().for_each(|file| {
            let len = fs::metadata(file).unwrap().len();
            fs::File::options().write(true).open(file).unwrap().set_len(len / 2).unwrap();
        }),
        "no database file" => fs::remove_file(index.join("db")).unwrap(),
        "no configuration" => fs::remove_file(index.join("conf")).unwrap(),
        "a file in its place" => {
            fs::remove_dir_all(index).unwrap();
            fs::write(index, "not an index").unwrap();
        }
        "unfinished snapshot" => fs::write(index.join("snap.0000000000FFFFFF.generating"), [1; 100]).unwrap(),
        "bad snapshot" => fs::write(index.join("snap.0000000000FFFFFF"), [1; 100]).unwrap(),
        other => panic!("nobody knows how to make it {other}"),
    }
}

#[test]
fn a_ruined_sled_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let original = dir.path().join("index");
    let storage = Memory::new(1);
    let (store, names) = fill(&storage, &original, 150);
    store.dump_index().unwrap();
    drop(store);
    let rebuilt = [
        "lost",
        "empty directory",
        "garbage",
        "zeros",
        "truncated",
        "no database file",
        "no configuration",
        "a file in its place",
        "bad snapshot",
    ];
    for (at, how) in rebuilt.iter().chain(&["unfinished snapshot"]).enumerate() {
        for boot_id in ["boot-1", "boot-2"] {
            let index = dir.path().join(format!("{at}-{boot_id}"));
            copy(&original, &index);
            ruin(&index, how);
            let options = Options { boot_id: boot_id.to_owned(), ..with_sled(&storage.copy(), &index) };
            let (store, report) = Store::open(options).unwrap_or_else(|error| panic!("{how}: {error}"));
            match *how {
                // What sled takes for a snapshot is removed before it looks.
                "unfinished snapshot" => assert_eq!(report.rebuilt, None),
                // Whether these do harm is up to sled.
                "no configuration" | "truncated" => {}
                _ => assert!(report.rebuilt.is_some(), "{how}: {report:?}"),
            }
            check(&store, &names, how);
        }
    }
}

#[test]
fn a_flipped_bit_in_sled_changes_no_answer() {
    let dir = tempfile::tempdir().unwrap();
    let original = dir.path().join("index");
    let storage = Memory::new(1);
    let (store, names) = fill(&storage, &original, 150);
    store.dump_index().unwrap();
    drop(store);
    let closed = storage.copy();
    let closed_index = dir.path().join("closed");
    copy(&original, &closed_index);
    now(Store::open(with_sled(&closed, &closed_index)).unwrap().0.close()).unwrap();
    let mut rng = SmallRng::seed_from_u64(5);
    let mut rebuilt = 0;
    for round in 0..60 {
        let (storage, from) = if round % 3 == 0 { (&closed, &closed_index) } else { (&storage, &original) };
        let index = dir.path().join("damaged");
        copy(from, &index);
        let files = files(&index);
        let file = &files[rng.random_range(0..files.len())];
        let mut bytes = fs::read(file).unwrap();
        if bytes.is_empty() {
            continue;
        }
        // Most of the database file is unused: aim at the beginning as well.
        let end = if round % 2 == 0 { bytes.len() } else { bytes.len().min(20_000) };
        let at = rng.random_range(0..end);
        bytes[at] ^= 1 << rng.random_range(0..8);
        fs::write(file, &bytes).unwrap();
        let boot_id = if round % 5 == 0 { "boot-2" } else { "boot-1" }.to_owned();
        let options = || Options { boot_id: boot_id.clone(), ..with_sled(&storage.copy(), &index) };
        let context = format!("round {round}, byte {at} of {}", file.display());
        let (store, report) = Store::open(options()).unwrap_or_else(|error| panic!("{context}: {error}"));
        rebuilt += usize::from(report.rebuilt.is_some());
        check(&store, &names, &context);
        drop(store);
        fs::remove_dir_all(&index).unwrap();
    }
    assert!(rebuilt > 20, "{rebuilt} of 60 made again");
}

#[test]
fn any_change_of_a_closed_sled_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let original = dir.path().join("index");
    let storage = Memory::new(1);
    let (store, names) = fill(&storage, &original, 50);
    now(store.close()).unwrap();
    for file in 0..files(&original).len() {
        let index = dir.path().join(format!("changed-{file}"));
        copy(&original, &index);
        let file = &files(&index)[file];
        let mut bytes = fs::read(file).unwrap();
        if let Some(last) = bytes.last_mut() {
            *last ^= 1;
        } else {
            bytes.push(1);
        }
        fs::write(file, bytes).unwrap();
        let (store, report) = Store::open(with_sled(&storage.copy(), &index)).unwrap();
        assert_eq!(
            report.rebuilt,
            Some("its files changed while the store was closed"),
            "{}",
            file.display()
        );
        check(&store, &names, "made again");
    }
}

#[test]
fn a_start_killed_while_the_index_is_made_again_is_made_up_for() {
    let dir = tempfile::tempdir().unwrap();
    let original = dir.path().join("index");
    let storage = Memory::new(1);
    let (store, names) = fill(&storage, &original, 150);
    drop(store);
    // An index that was renamed away but not removed, and one that has only some partitions.
    let index = dir.path().join("again");
    fs::create_dir_all(index.with_extension("old").join("blobs")).unwrap();
    let half = index::sled::SledIndex::open(&index, 1 << 20).unwrap();
    let pairs = MemoryIndex::default();
    drop(Store::open(options(&storage.copy(), &pairs)).unwrap());
    for pair in index::Index::scan(&pairs, &[3], None, 10).unwrap() {
        index::Index::apply(&half, vec![pair]).unwrap();
    }
    drop(half);
    let (store, report) = Store::open(with_sled(&storage, &index)).unwrap();
    assert_eq!(report.rebuilt, Some("a partition was lost"));
    check(&store, &names, "made again");
}

#[test]
fn a_start_that_is_killed_does_not_cost_the_index() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index");
    let storage = Memory::new(1);
    let (store, names) = fill(&storage, &path, 50);
    now(store.close()).unwrap();
    let closed = storage.steps();
    drop(Store::open(with_sled(&storage, &path)).unwrap());
    assert!(storage.steps() > closed);
    // The index has been opened and so changed; how far the log's side had come does not matter.
    let killed = storage.killed(storage.steps() - 1);
    let (store, report) = Store::open(with_sled(&killed, &path)).unwrap();
    assert_eq!(report.rebuilt, None);
    check(&store, &names, "opened again");
}

#[test]
fn an_index_that_only_lacks_room_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index");
    let storage = Memory::new(1);
    drop(fill(&storage, &path, 50));
    ruin(&path, "garbage");
    storage.set_capacity(Some(0));
    assert!(matches!(Store::open(with_sled(&storage, &path)), Err(OpenError::Io { .. })));
    storage.set_capacity(None);
    assert!(Store::open(with_sled(&storage, &path)).unwrap().1.rebuilt.is_some());
}

#[test]
fn an_index_in_use_is_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index");
    let storage = Memory::new(1);
    let (store, names) = fill(&storage, &path, 20);
    let second = Store::open(with_sled(&storage.copy(), &path));
    assert!(matches!(second, Err(OpenError::InUse("index"))), "{second:?}");
    check(&store, &names, "the first user goes on");
}

#[test]
fn an_empty_log_next_to_a_sled_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index");
    drop(fill(&Memory::new(1), &path, 20));
    assert!(matches!(Store::open(with_sled(&Memory::new(2), &path)), Err(OpenError::LogMissing)));
}

#[test]
fn a_log_directory_in_use_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let files = Files::open(dir.path().join("log")).unwrap();
    assert_eq!(Files::open(dir.path().join("log")).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    drop(files);
    assert!(Files::open(dir.path().join("log")).is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn files_and_sled_together_survive_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let limits =
        Limits { segment_bytes: 64 << 10, overlay_bytes: 64 << 10, reserve_bytes: 0, ..Limits::default() };
    let options = || {
        let storage = Arc::new(Files::open(dir.path().join("log")).unwrap());
        let with = with_sled(&Memory::new(1), &dir.path().join("index"));
        Options { storage, run: Run::Threads, limits, ..with }
    };
    let mut names = Vec::new();
    for start in 0..4u8 {
        let (store, report) = Store::open(options()).unwrap();
        assert_eq!(report.rebuilt, None);
        check(&store, &names, &format!("start {start}"));
        store.begin_epoch(model::EpochId([start; 16]), vec![]).await.unwrap();
        for at in 0..100 {
            let name = format!("s{start}r{at}");
            store.commit(vec![draft(&name, &format!("red {name} sky"))]).await.unwrap();
            names.push(name);
        }
        check(&store, &names, &format!("start {start}, filled"));
        if start % 2 == 0 {
            store.close().await.unwrap();
        }
    }
}
