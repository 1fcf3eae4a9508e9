//! Measures a store on this disk: commits, reads, the size of log and index, rebuilding.
//!
//! `cargo bench -p store -- [RECORDS] [DIRECTORY]`: 300,000 records in a directory that is removed afterwards, by default.
//! Bodies have about 400 bytes and 4 lookup terms. Prints one line per figure.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use model::{Clock, EpochId, Flow, OriginId, Record, RecordId, RecordKey, SigningKey};
use store::{
    Apply, Derivation, Draft, Expect, FeedId, FeedPosition, Files, IndexChoice, Limits, Options, Run, Store,
    Term,
};

#[derive(Debug)]
struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> u64 {
        std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |elapsed| elapsed.as_millis() as u64)
    }
}

/// Four terms per record, each shared by few, as identifiers and blocking keys are.
#[derive(Debug)]
struct FourTerms;

impl Derivation for FourTerms {
    fn version(&self) -> u32 {
        1
    }

    fn terms(&self, record: &Record, out: &mut Vec<Term>) {
        out.extend(
            record
                .body()
                .get(..64)
                .unwrap_or_default()
                .chunks(16)
                .zip(0..)
                .map(|(chunk, space)| Term { space, term: chunk.try_into().unwrap_or_default() }),
        );
    }
}

fn draft(number: usize) -> Draft {
    let mut body = vec![0; 400];
    for (at, chunk) in body.chunks_mut(16).enumerate() {
        let shared = if at < 4 { number / 3 } else { number };
        chunk.copy_from_slice(&RecordId::of(&[&shared.to_be_bytes(), &at.to_be_bytes()]).0);
    }
    Draft {
        flow: Flow::Registration,
        kind: 1,
        id: RecordId::of(&[&number.to_be_bytes()]),
        origin: OriginId([3; 16]),
        term: 1,
        subject: None,
        tombstone: false,
        body: Bytes::from(body),
        expect: Expect::Absent,
    }
}

fn open(root: &Path) -> (Store, store::OpenReport) {
    open_under("bench", root)
}

fn open_under(boot_id: &str, root: &Path) -> (Store, store::OpenReport) {
    open_with(boot_id, root, Limits::default())
}

fn open_with(boot_id: &str, root: &Path, limits: Limits) -> (Store, store::OpenReport) {
    Store::open(Options {
        storage: Arc::new(Files::open(root.join("log")).expect("the directory can be made")),
        index: IndexChoice::Sled { path: root.join("index"), cache_bytes: 32 << 20 },
        derivation: Arc::new(FourTerms),
        clock: Arc::new(SystemClock),
        boot_id: boot_id.to_owned(),
        node: OriginId([7; 16]),
        signing: SigningKey::from_seed(&[9; 32]),
        run: Run::Threads,
        limits,
    })
    .expect("the store opens")
}

/// Resident memory in bytes, where the system tells.
fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    pages.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or_default() * 4096
}

/// Processor time that this process has used, where the system tells.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks = stat.split(' ').skip(13).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>();
    Duration::from_millis(ticks * 10)
}

/// Commits records `from..to` with 64 callers at a time, and prints the rate of every tenth.
async fn commit(store: &Store, from: usize, to: usize) {
    let next = Arc::new(AtomicUsize::new(from));
    let callers: Vec<_> = (0..64)
        .map(|_| {
            let (store, next) = (store.clone(), next.clone());
            tokio::spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= to {
                        break;
                    }
                    store.commit(vec![draft(number)]).await.expect("the commit is made");
                }
            })
        })
        .collect();
    let (began, cpu_before) = (Instant::now(), cpu());
    let before = store.status();
    for tenth in 1..=10 {
        let (count, part) = (from + (to - from) * tenth / 10, Instant::now());
        while next.load(Ordering::Relaxed) < count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let rate = ((to - from) / 10) as f64 / part.elapsed().as_secs_f64();
        println!("  up to {count}: {rate:.0} commits/s");
    }
    for caller in callers {
        caller.await.expect("the caller ends");
    }
    let after = store.status();
    let (commits, syncs) = (after.commits - before.commits, after.syncs - before.syncs);
    let rate = commits as f64 / began.elapsed().as_secs_f64();
    let each = cpu().saturating_sub(cpu_before).as_secs_f64() / commits as f64;
    let per_sync = commits as f64 / syncs as f64;
    println!(
        "commits/s with 64 callers: {rate:.0} ({per_sync:.1} per sync, {:.0} us of processor each)",
        each * 1e6
    );
}

fn key(number: usize) -> RecordKey {
    draft(number).key()
}

fn print_resident(when: &str) {
    println!("resident memory {when}: {:.1} MB", resident() as f64 / 1e6);
}

fn percentile(mut times: Vec<Duration>, share: f64) -> Duration {
    times.sort_unstable();
    times[((times.len() - 1) as f64 * share) as usize]
}

fn reads(store: &Store, records: usize) {
    let numbers: Vec<usize> = (0..20_000).map(|at| at * 7919 % records).collect();
    let keys: Vec<RecordKey> = numbers.iter().map(|number| key(*number)).collect();
    let mut times = Vec::new();
    let cpu_before = cpu();
    for key in &keys {
        let began = Instant::now();
        store.get(key).expect("the record is read").expect("the record is there");
        times.push(began.elapsed());
    }
    let mean = times.iter().sum::<Duration>() / times.len() as u32;
    let each = cpu().saturating_sub(cpu_before).as_nanos() / keys.len() as u128;
    let p99 = percentile(times, 0.99).as_nanos();
    println!("get: {} ns mean, {p99} ns p99, {each} ns of processor", mean.as_nanos());
    let mut times = Vec::new();
    for number in &numbers {
        let mut terms = Vec::new();
        let body = draft(*number).body;
        terms.extend_from_slice(&body[..16]);
        let began = Instant::now();
        let found =
            store.lookup(0, &terms.try_into().unwrap_or_default(), None, 10).expect("the index is read");
        times.push(began.elapsed());
        assert!(found.contains(&key(*number)), "the record is found");
    }
    let mean = times.iter().sum::<Duration>() / times.len() as u32;
    println!("lookup: {} ns mean, {} ns p99", mean.as_nanos(), percentile(times, 0.99).as_nanos());
}

fn feed(store: &Store) -> Vec<Record> {
    let began = Instant::now();
    let (mut reader, mut records) = (store.feed_reader(0), 0);
    let mut first = Vec::new();
    loop {
        let slice = reader.next(500, 1 << 20, &|_| true).expect("the log is read");
        records += slice.records.len();
        if first.len() < 20_000 {
            first.extend(slice.records);
        }
        if slice.upto >= slice.head {
            break;
        }
    }
    println!("feed: {:.0} records/s", records as f64 / began.elapsed().as_secs_f64());
    first
}

/// Applies what a child would send, in batches of 500.
async fn apply(root: &Path, records: &[Record]) {
    let (store, _) = open(root);
    let from = FeedId { peer: OriginId([1; 16]), direction: store::Direction::Up };
    let began = Instant::now();
    for (at, batch) in records.chunks(500).enumerate() {
        let position = FeedPosition { generation: [1; 16], position: at as u64 };
        let apply = Apply {
            records: batch.to_vec(),
            quarantined: vec![],
            forget: vec![],
            position: Some((from, position)),
        };
        store.apply(apply).await.expect("the batch is applied");
    }
    println!("apply: {:.0} records/s", records.len() as f64 / began.elapsed().as_secs_f64());
}

/// Commits a new version of every record with 64 callers at a time, and tells how many a second.
async fn update(store: &Store, records: usize) -> f64 {
    let next = Arc::new(AtomicUsize::new(0));
    let began = Instant::now();
    let callers: Vec<_> = (0..64)
        .map(|_| {
            let (store, next) = (store.clone(), next.clone());
            tokio::spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= records {
                        break;
                    }
                    let draft = Draft { expect: Expect::Anything, ..draft(number) };
                    store.commit(vec![draft]).await.expect("the commit is made");
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.expect("the caller ends");
    }
    records as f64 / began.elapsed().as_secs_f64()
}

/// Five updates of every record, and what is left of the log when they are reclaimed: at rest, and beside commits.
async fn reclaim(root: &Path, records: usize) {
    // So small that there are many closed ones whatever the number of records.
    let limits = Limits { segment_bytes: 4 << 20, ..Limits::default() };
    let (store, _) = open_with("bench", root, limits);
    store.begin_epoch(EpochId([1; 16]), Vec::new()).await.expect("an epoch is opened");
    let mut alone = 0.0;
    for _ in 0..6 {
        alone = update(&store, records).await;
    }
    let (before, began) = (store.status().log_bytes, Instant::now());
    while store.reclaim(4 << 20).expect("the log is rewritten").more {}
    let took = began.elapsed().as_secs_f64();
    let status = store.status();
    let live = status.live_bytes as f64;
    println!(
        "reclaim: log {:.1} MB before ({:.2} x the records), {:.1} MB after ({:.2} x), {:.0} MB/s",
        before as f64 / 1e6,
        before as f64 / live,
        status.log_bytes as f64 / 1e6,
        status.log_bytes as f64 / live,
        before as f64 / 1e6 / took
    );
    let began = Instant::now();
    store.commit(vec![Draft { expect: Expect::Anything, ..draft(0) }]).await.expect("the commit is made");
    store.reclaim(1).expect("the index is looked through");
    println!("reclaim: a look at {records} records: {:.0} ms", began.elapsed().as_secs_f64() * 1e3);
    let (reclaimer, ended) = (store.clone(), Arc::new(AtomicUsize::new(0)));
    let until = ended.clone();
    let beside = std::thread::spawn(move || {
        while until.load(Ordering::Relaxed) == 0 {
            reclaimer.reclaim(4 << 20).expect("the log is rewritten");
        }
    });
    let rate = update(&store, records).await;
    ended.store(1, Ordering::Relaxed);
    beside.join().expect("the thread ends");
    println!(
        "reclaim: {rate:.0} commits/s beside it without pauses, {:.2} of {alone:.0} alone",
        rate / alone
    );
    reads(&store, records);
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let records: usize = arguments.next().and_then(|count| count.parse().ok()).unwrap_or(300_000);
    let root =
        arguments.next().map_or_else(|| std::env::temp_dir().join("tiermesh-store-bench"), PathBuf::from);
    // What an earlier run that was broken off left behind.
    drop(std::fs::remove_dir_all(&root));
    let (store, _) = open(&root);
    store.begin_epoch(EpochId([1; 16]), Vec::new()).await.expect("an epoch is opened");
    commit(&store, 0, 10_000.min(records)).await;
    print_resident("at 10,000 records");
    if records > 10_000 {
        commit(&store, 10_000, records).await;
    }
    print_resident("after the commits");
    reads(&store, records);
    print_resident("after the reads");
    let first = feed(&store);
    apply(&root.join("parent"), &first).await;
    print_resident("after feed and apply");
    let began = Instant::now();
    store.close().await.expect("the store closes");
    println!("close: {:.1} s", began.elapsed().as_secs_f64());
    print_resident("closed");
    let (store, report) = open(&root);
    print_resident("started");
    println!("start after close: {:.2} s", report.total.as_secs_f64());
    let status = store.status();
    let plain: u64 = first.iter().map(|record| record.size() as u64).sum::<u64>() / first.len() as u64;
    println!(
        "bytes per record: {plain} itself, {} in the log, {} in the index",
        status.log_bytes / records as u64,
        status.index_bytes / records as u64
    );
    reads(&store, records);
    store.begin_epoch(EpochId([2; 16]), Vec::new()).await.expect("an epoch is opened");
    commit(&store, records, records + 5000).await;
    drop(store);
    let (store, report) = open(&root);
    let verified = if report.verified { ", verified" } else { "" };
    println!("start after kill: {:.2} s, {} replayed{verified}", report.total.as_secs_f64(), report.replayed);
    drop(store);
    let (store, report) = open_under("bench after a power loss", &root);
    println!("start after power loss: {:.2} s, {:?}", report.total.as_secs_f64(), report.rebuilt);
    drop(store);
    drop(std::fs::remove_dir_all(root.join("index")));
    let (store, report) = open(&root);
    println!("start with rebuild: {:.1} s ({:?})", report.total.as_secs_f64(), report.rebuilt);
    println!("index after rebuild: {} bytes per record", store.status().index_bytes / records as u64);
    print_resident("after the rebuild");
    drop(store);
    reclaim(&root.join("worn"), records.min(100_000)).await;
    print_resident("after reclaiming");
    drop(std::fs::remove_dir_all(&root));
}
