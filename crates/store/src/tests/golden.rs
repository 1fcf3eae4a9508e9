//! Store files as releases wrote them: every release opens those of all before it and finds exactly what they held.
//!
//! `golden/<release>-<name>/` holds the files of a store and `expected.txt`, what is in it. The directories of this release
//! must also come out byte for byte when they are made again: what changes them is a new format, which needs a new number.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Once};

use super::support::*;
use crate::*;

/// Set to 1: writes the directories of this release anew. Those of earlier ones are never written.
const UPDATE: &str = "TIERMESH_UPDATE_GOLDEN";
const RELEASE: &str = env!("CARGO_PKG_VERSION");
const EXPECTED: &str = "expected.txt";

/// The directories, written anew first if that was asked for.
fn folder() -> PathBuf {
    static WRITTEN: Once = Once::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tests/golden");
    if std::env::var(UPDATE).is_ok_and(|value| value == "1") {
        WRITTEN.call_once(|| made().iter().for_each(|(name, storage)| write(&folder.join(name), storage)));
    }
    folder
}

fn write(path: &Path, storage: &Memory) {
    fs::create_dir_all(path).unwrap();
    for entry in fs::read_dir(path).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    for (file, bytes) in files_of(storage) {
        fs::write(path.join(file), bytes).unwrap();
    }
    let index = IndexChoice::Memory(MemoryIndex::default());
    let (store, _) = Store::open(on(Arc::new(storage.copy()), index)).unwrap();
    fs::write(path.join(EXPECTED), listing(&store)).unwrap();
}

/// Small segments, so that a few kilobytes hold several.
fn limits() -> Limits {
    Limits { segment_bytes: 2048, ..small() }
}

fn on(storage: Arc<dyn Storage>, index: IndexChoice) -> Options {
    let options = options(&Memory::new(0), &MemoryIndex::default());
    Options { storage, index, limits: limits(), ..options }
}

/// The seed is the log's name and salt.
fn fresh(seed: u64) -> (Memory, Store) {
    let storage = Memory::new(seed);
    let index = IndexChoice::Memory(MemoryIndex::default());
    let store = open(on(Arc::new(storage.clone()), index));
    (storage, store)
}

/// What a neighbour sent: a record, its position, and something that was refused.
fn neighbour(store: &Store, name: &str, at: u64) {
    let quarantined = Quarantined {
        from: FeedId { peer: feed(2).peer, direction: Direction::Down },
        raw: bytes::Bytes::from(format!("raw {name}")),
        reason: "签名 is not the writer's".to_owned(),
        hash: [at as u8; 32],
    };
    let apply = Apply {
        forget: Vec::new(),
        records: vec![foreign(name, at, "tea 茶")],
        quarantined: vec![quarantined],
        position: Some((feed(1), position(at * 10))),
    };
    now(store.apply(apply)).unwrap();
}

/// Commits of one record and of several, an update, a tombstone, a subject, another flow and kind, what neighbours sent, in
/// two segments and closed in order.
fn plain() -> Memory {
    let (storage, store) = fresh(11);
    now(store.commit(vec![draft("one", "red sky")])).unwrap();
    let document = Draft {
        flow: model::Flow::DocumentEntry,
        kind: 2,
        subject: Some(key("one")),
        ..draft("document", "green tea")
    };
    now(store.commit(vec![draft("two", "blue sky"), document, draft("three", "")])).unwrap();
    neighbour(&store, "theirs", 1);
    now(store.commit(vec![draft("one", "red sky, later")])).unwrap();
    now(store.commit(vec![Draft { tombstone: true, ..draft("two", "") }])).unwrap();
    neighbour(&store, "theirs", 2);
    for at in 0..6 {
        now(store.commit(vec![draft(&format!("filler {at}"), &"long ".repeat(40))])).unwrap();
    }
    now(store.close()).unwrap();
    storage
}

/// Versions that were superseded in segments that were rewritten, and what came after.
fn reclaimed() -> Memory {
    let (storage, store) = fresh(12);
    for at in 0..24 {
        let drafts = [
            draft(&format!("r{}", at % 5), &format!("v{at} {}", "x".repeat(120))),
            draft(&format!("stays {at}"), "y"),
        ];
        now(store.commit(drafts[..=usize::from(at % 6 == 0)].to_vec())).unwrap();
        if at % 8 == 0 {
            neighbour(&store, &format!("theirs {}", at % 3), at + 1);
        }
    }
    now(store.commit(vec![Draft { tombstone: true, ..draft("r3", "") }])).unwrap();
    assert!(reclaim_all(&store, u64::MAX) > 0);
    now(store.close()).unwrap();
    storage
}

/// The stores of this release.
fn made() -> [(String, Memory); 2] {
    [("plain", plain()), ("reclaimed", reclaimed())]
        .map(|(name, storage)| (format!("{RELEASE}-{name}"), storage))
}

fn files_of(storage: &dyn Storage) -> Vec<(String, Vec<u8>)> {
    let mut names = storage.list().unwrap();
    names.sort();
    let read = |name: String| {
        let mut bytes = vec![0; storage.len(&name).unwrap() as usize];
        assert_eq!(storage.read_at(&name, 0, &mut bytes).unwrap(), bytes.len());
        (name, bytes)
    };
    names.into_iter().map(read).collect()
}

/// A copy of a directory's store files in another storage.
fn copied(from: &Path, storage: &dyn Storage) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if name != EXPECTED {
            storage.create(&name).unwrap();
            storage.append(&name, 0, &fs::read(entry.path()).unwrap()).unwrap();
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        write!(out, "{byte:02x}").unwrap();
        out
    })
}

/// Everything in a store, one thing a line.
fn listing(store: &Store) -> String {
    let mut out = format!("generation {}\nhead {}\n", hex(&store.generation()), store.head());
    let epoch = store.last_epoch().unwrap();
    writeln!(out, "epoch {} {}, last seq {}", epoch.counter, hex(&epoch.epoch_id), store.last_seq()).unwrap();
    for record in whole_feed(store) {
        let envelope = record.envelope();
        let lsn = store.lsn(&record.key()).unwrap().unwrap();
        let (flow, kind, version) = (envelope.flow, envelope.kind, envelope.version);
        let state = if envelope.tombstone { "tombstone" } else { "live" };
        writeln!(out, "record {} at {lsn}: {version}, flow {flow}, kind {kind}, {state}", record.key())
            .unwrap();
        writeln!(out, "  header {}", hex(record.header_bytes())).unwrap();
        writeln!(out, "  body {}", hex(record.body())).unwrap();
        writeln!(out, "  signature {}", hex(record.signature())).unwrap();
        writeln!(out, "  contributes {:032x}", contribution(&record)).unwrap();
    }
    let mut positions = store.positions();
    positions.sort_by_key(|(feed, _)| *feed);
    for (feed, at) in positions {
        let generation = hex(&at.generation);
        writeln!(out, "position {} {:?}: {} of {generation}", feed.peer, feed.direction, at.position)
            .unwrap();
    }
    for one in store.quarantine(100).unwrap() {
        let (raw, hash) = (hex(&one.raw), hex(&one.hash));
        writeln!(out, "quarantined {} {:?} {hash}: {raw}: {}", one.from.peer, one.from.direction, one.reason)
            .unwrap();
    }
    let (_, digest) = store.digest(&|_, _| true);
    writeln!(out, "digest {:032x} of {}", digest.total().sum, digest.total().count).unwrap();
    for (bucket, digest) in digest.buckets() {
        writeln!(out, "  bucket {bucket}: {:032x} of {}", digest.sum, digest.count).unwrap();
    }
    for word in ["sky", "tea", "y", "v0"] {
        let found = store.lookup(1, &term(word.as_bytes()), None, 100).unwrap();
        writeln!(out, "word {word}: {found:?}").unwrap();
    }
    out
}

/// All directories, those of earlier releases as well.
fn directories() -> Vec<PathBuf> {
    let entries = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    found.sort();
    found
}

#[test]
fn this_release_writes_the_same_bytes() {
    for (name, storage) in made() {
        let path = folder().join(&name);
        let kept = Memory::new(0);
        copied(&path, &kept);
        let (kept, made) = (files_of(&kept), files_of(&storage));
        let names =
            |files: &[(String, Vec<u8>)]| files.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&kept), names(&made), "{name}: {UPDATE}=1 writes them anew");
        for ((file, kept), (_, made)) in kept.iter().zip(&made) {
            assert!(kept == made, "{name}/{file}: other bytes; {UPDATE}=1 writes them anew");
        }
    }
}

#[test]
fn both_log_formats_are_among_them() {
    let formats = |name: &str| {
        let storage = Memory::new(0);
        copied(&folder().join(format!("{RELEASE}-{name}")), &storage);
        let segments =
            files_of(&storage).into_iter().filter(|(name, _)| log::format::segment_of(name).is_some());
        segments.map(|(_, bytes)| bytes[8]).collect::<Vec<u8>>()
    };
    let plain = formats("plain");
    assert!(plain.len() > 1 && plain.iter().all(|format| *format == 2), "{plain:?}");
    let reclaimed = formats("reclaimed");
    assert!(reclaimed.contains(&3) && reclaimed.last() == Some(&2), "{reclaimed:?}");
}

#[test]
fn what_any_release_wrote_is_found_as_it_was() {
    let all = directories();
    assert!(all.len() >= 2, "{all:?}");
    for path in all {
        let expected = fs::read_to_string(path.join(EXPECTED)).unwrap();
        let check = |options: Options, context: &str| {
            let (store, report) = Store::open(options).unwrap();
            assert_eq!(listing(&store), expected, "{} {context}", path.display());
            assert_eq!((report.tail_cut, report.power_loss), (None, false), "{context}");
            assert!(store.verify_index().unwrap(), "{context}");
            let digest = store.recompute_digest(&|_, _| true).unwrap();
            assert_eq!(digest.kept, digest.found, "{context}");
            assert_eq!(super::scrub::scrub_all(&store, 700).1, [], "{context}");
            store
        };
        let (storage, index) = (Memory::new(0), MemoryIndex::default());
        copied(&path, &storage);
        let memory = || on(Arc::new(storage.clone()), IndexChoice::Memory(index.clone()));
        let store = check(memory(), "memory");
        now(store.close()).unwrap();
        check(memory(), "memory, opened again");

        let dir = tempfile::tempdir().unwrap();
        let files = Arc::new(Files::open(dir.path().join("log")).unwrap());
        copied(&path, &*files);
        let index = || IndexChoice::Sled { path: dir.path().join("index"), cache_bytes: 4 << 20 };
        let store = check(on(files.clone(), index()), "sled");
        now(store.close()).unwrap();
        drop(files);
        let again = Arc::new(Files::open(dir.path().join("log")).unwrap());
        check(on(again, index()), "sled, opened again");
    }
}

#[test]
fn this_release_writes_on_in_what_any_release_wrote() {
    for path in directories() {
        let storage = Memory::new(0);
        copied(&path, &storage);
        let open = || {
            let index = IndexChoice::Memory(MemoryIndex::default());
            Store::open(on(Arc::new(storage.clone()), index)).unwrap().0
        };
        let (store, before) = (open(), whole_feed(&open()));
        let epoch = store.last_epoch().unwrap().counter;
        let begun = now(store.begin_epoch(model::EpochId([2; 16]), Vec::new())).unwrap();
        assert_eq!(begun.counter, epoch + 1);
        now(store.commit(vec![draft("new", "brown tea")])).unwrap();
        now(store.close()).unwrap();
        let after = whole_feed(&open());
        assert_eq!(after[..before.len()], before, "{}", path.display());
        assert_eq!(after.last().unwrap().body(), "brown tea");
    }
}
