//! Power losses and kills at every moment of random runs: what was acknowledged is there with the same bytes, nothing is
//! there twice or half, and the index is what the log says, however much of it survived.

use std::collections::{BTreeMap, BTreeSet};

use model::{EpochId, Record, RecordKey, Version};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::digest::check_digests;
use super::support::*;
use crate::*;

/// What the store must hold.
#[derive(Debug, Clone, Default, PartialEq)]
struct Oracle {
    head: u64,
    last_seq: u64,
    epoch: u32,
    /// Current records with the position of their commit and their place in it.
    records: BTreeMap<RecordKey, ((u64, usize), Record)>,
    positions: BTreeMap<FeedId, u64>,
    forgotten: BTreeSet<RecordKey>,
}

impl Oracle {
    fn committed(&mut self, lsn: u64, records: &[Record]) {
        self.head = lsn;
        for (at, record) in records.iter().enumerate() {
            self.records.insert(record.key(), ((lsn, at), record.clone()));
            self.forgotten.remove(&record.key());
        }
    }

    /// The records in feed order.
    fn feed(&self) -> Vec<Record> {
        let mut all: Vec<_> = self.records.values().collect();
        all.sort_by_key(|(place, _)| *place);
        all.into_iter().map(|(_, record)| record.clone()).collect()
    }

    fn check(&self, store: &Store, context: &str) {
        assert_eq!(store.head(), self.head, "{context}");
        assert_eq!(store.last_seq(), self.last_seq, "{context}");
        assert_eq!(store.last_epoch().map_or(0, |entry| entry.counter), self.epoch, "{context}");
        for (key, (_, record)) in &self.records {
            assert_eq!(store.get(key).unwrap().as_ref(), Some(record), "{context}");
        }
        for key in &self.forgotten {
            assert_eq!(store.get(key).unwrap(), None, "{context}");
            assert!(store.known_version(key).unwrap().is_some(), "{context}");
        }
        assert_eq!(whole_feed(store), self.feed(), "{context}");
        check_digests(store, &self.feed(), context);
        for (feed, at) in &self.positions {
            assert_eq!(store.position(feed), Some(position(*at)), "{context}");
        }
        let live = self.records.values().filter(|(_, record)| !record.envelope().tombstone).count() as u64;
        assert_eq!(store.status().counts.iter().map(|count| count.live).sum::<u64>(), live, "{context}");
        for word in [b"red", b"sky"] {
            let has = |record: &&Record| record.body().split(|byte| *byte == b' ').any(|found| found == word);
            let found = store.lookup(1, &term(word), None, 1000).unwrap();
            let mut wanted = self.records.values().map(|(_, record)| record).filter(has);
            assert!(wanted.all(|record| found.contains(&record.key())), "{context}");
        }
    }
}

/// A run of a store on a disk that remembers every step.
struct Run {
    storage: Memory,
    index: MemoryIndex,
    store: Option<Store>,
    rng: SmallRng,
    oracle: Oracle,
    /// Disk steps at which the store was in this state, acknowledged, with a copy of the index.
    moments: Vec<(usize, Oracle, MemoryIndex)>,
    foreign_seq: u64,
    starts: u8,
    /// Superseded records are reclaimed on the way.
    reclaims: bool,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut run = Self {
            storage: Memory::new(seed),
            index: MemoryIndex::default(),
            store: None,
            rng: SmallRng::seed_from_u64(seed),
            oracle: Oracle::default(),
            moments: vec![(0, Oracle::default(), MemoryIndex::default())],
            foreign_seq: 0,
            starts: 0,
            reclaims: false,
        };
        run.start();
        run
    }

    fn options(storage: &Memory, index: &MemoryIndex) -> Options {
        let limits = Limits {
            segment_bytes: 6 * 1024,
            overlay_bytes: 16 * 1024,
            reserve_bytes: 0,
            reclaim_percent: 20,
            ..Limits::default()
        };
        Options { limits, ..options(storage, index) }
    }

    fn start(&mut self) {
        let (store, _) = Store::open(Self::options(&self.storage, &self.index)).unwrap();
        self.moment();
        self.starts += 1;
        now(store.begin_epoch(EpochId([self.starts; 16]), Vec::new())).unwrap();
        let lsn = store.head();
        let mut reader = store.feed_reader(lsn - 1);
        let epoch = reader.next(1, 1, &|_| true).unwrap().records;
        self.oracle.committed(lsn, &epoch);
        self.oracle.epoch += 1;
        self.oracle.last_seq += 1;
        self.store = Some(store);
        self.moment();
    }

    fn moment(&mut self) {
        self.moments.push((self.storage.steps(), self.oracle.clone(), self.index.copy()));
    }

    fn reclaiming(seed: u64) -> Self {
        Self { reclaims: true, ..Self::new(seed) }
    }

    fn act(&mut self) {
        if self.reclaims && self.rng.random_range(0..3) == 0 {
            let (pieces, bytes) = (self.rng.random_range(1..12), self.rng.random_range(1..9000));
            for _ in 0..pieces {
                self.store.as_ref().unwrap().reclaim(bytes).unwrap();
                self.moment();
            }
        }
        match self.rng.random_range(0..20) {
            0 => {
                now(self.store.take().unwrap().close()).unwrap();
                self.start();
            }
            1 => {
                // Dropped without closing, as by a kill.
                self.store = None;
                self.start();
            }
            2..8 => self.apply(),
            _ => self.commit(),
        }
        self.moment();
    }

    fn drafts(&mut self) -> Vec<Draft> {
        let mut drafts = BTreeMap::new();
        for _ in 0..self.rng.random_range(1..4) {
            let name = format!("r{}", self.rng.random_range(0..25));
            let words = ["red", "sky", "tea", "oak"];
            let body = format!(
                "{} {}",
                words[self.rng.random_range(0..4)],
                "x".repeat(self.rng.random_range(0..600))
            );
            let tombstone = self.rng.random_range(0..8) == 0;
            let body = if tombstone { "" } else { &body };
            drafts.insert(name.clone(), Draft { tombstone, ..draft(&name, body) });
        }
        drafts.into_values().collect()
    }

    fn commit(&mut self) {
        let groups: Vec<_> = (0..self.rng.random_range(1..4)).map(|_| self.drafts()).collect();
        for committed in self.store.as_ref().unwrap().commit_group(groups) {
            let committed = committed.unwrap();
            self.oracle.committed(committed.lsn, &committed.records);
            self.oracle.last_seq = committed.seq;
            // With the group's one sync: a crash before it may leave any first part of the group.
            self.moment();
        }
    }

    fn apply(&mut self) {
        let mut records = Vec::new();
        let mut kept = Vec::new();
        for _ in 0..self.rng.random_range(0..4) {
            self.foreign_seq += 1;
            let seq = self.rng.random_range(self.foreign_seq.saturating_sub(3).max(1)..=self.foreign_seq);
            let record = foreign(&format!("f{}", self.rng.random_range(0..9)), seq, "sky blue");
            let repeated: Vec<&Record> =
                records.iter().filter(|other: &&Record| other.key() == record.key()).collect();
            if !repeated.is_empty() {
                continue;
            }
            let held = self.oracle.records.get(&record.key()).map(|(_, held)| held.envelope().version);
            if held.unwrap_or_default() < record.envelope().version {
                kept.push(record.clone());
            }
            records.push(record);
        }
        let peer = feed(self.rng.random_range(1..3));
        let at = self.oracle.positions.get(&peer).copied().unwrap_or(0) + 1;
        let forget = self.forget(&records);
        let gone: Vec<RecordKey> = forget.iter().map(|(key, _)| *key).collect();
        let apply = Apply { records, forget, position: Some((peer, position(at))), ..Apply::default() };
        let applied = now(self.store.as_ref().unwrap().apply(apply)).unwrap();
        assert_eq!((applied.kept, applied.forgotten), (kept.len(), gone.len()));
        for key in gone {
            self.oracle.records.remove(&key);
            self.oracle.forgotten.insert(key);
        }
        self.oracle.committed(applied.lsn, &kept);
        self.oracle.positions.insert(peer, at);
    }

    /// Some of what is held, own and foreign, less what comes now.
    fn forget(&self, but: &[Record]) -> Vec<(RecordKey, Version)> {
        let held = self.oracle.records.values().map(|(_, record)| record);
        let may: Vec<&Record> = held
            .filter(|record| {
                record.envelope().kind == KIND && but.iter().all(|new| new.key() != record.key())
            })
            .collect();
        // Its own dice, so that the rest of a run is what it is without.
        let mut dice = SmallRng::seed_from_u64(self.oracle.head);
        let chosen: Vec<bool> = may.iter().map(|_| dice.random_range(0..12) == 0).collect();
        let chosen = may.iter().zip(chosen).filter(|(_, chosen)| *chosen);
        chosen.map(|(record, _)| (record.key(), record.envelope().version)).collect()
    }

    /// Bytes by which rewritten segments are shorter now than they were.
    fn freed(&self) -> u64 {
        let layouts = self.store.as_ref().unwrap().layouts();
        layouts.iter().filter_map(|layout| Some(u64::from(layout.moved?.original_len) - layout.len)).sum()
    }

    /// What may hold after a crash at this step: the last acknowledged state, or one of the group that was under way.
    fn expected(&self, steps: usize) -> &[(usize, Oracle, MemoryIndex)] {
        let acknowledged = self.moments.partition_point(|(at, ..)| *at <= steps);
        let under_way = self.moments.get(acknowledged).map_or(0, |(next, ..)| {
            self.moments[acknowledged..].iter().take_while(|(at, ..)| at == next).count()
        });
        &self.moments[acknowledged - 1..acknowledged + under_way]
    }
}

/// Opens what a crash left, checks it against what was acknowledged, goes on with it, and compares its index with one
/// that is made from its log alone.
fn crash_and_check(run: &Run, steps: usize, cut: Cut, which_index: usize, context: &str) {
    let image = run.storage.image(steps, cut);
    let expected = run.expected(steps);
    let acknowledged = &expected[0].1;
    let earlier = run.moments.partition_point(|(at, ..)| *at <= steps);
    let index = match which_index % 4 {
        0 => run.moments[earlier - 1].2.copy(),
        1 => run.moments[earlier / 2].2.copy(),
        2 => run.moments[earlier - 1].2.mixed_with(&run.moments[earlier / 2].2),
        _ => MemoryIndex::default(),
    };
    // A log that has nothing yet next to an index that has something is refused, and never comes from a crash.
    let boot_id = if cut == Cut::Kept { "boot-1" } else { "boot-2" }.to_owned();
    let options = || Options { boot_id: boot_id.clone(), ..Run::options(&image, &index) };
    let (store, report) = Store::open(options()).unwrap_or_else(|error| panic!("{context}: {error}"));
    let head = store.head();
    assert!(head >= acknowledged.head, "{context}: acknowledged {} but {head} is there", acknowledged.head);
    let survived = expected.iter().map(|(_, oracle, _)| oracle).find(|oracle| oracle.head == head);
    survived.unwrap_or_else(|| panic!("{context}: head {head}, {report:?}")).check(&store, context);
    now(store.begin_epoch(EpochId([99; 16]), vec![draft("after", "sky")])).unwrap();
    let (live, last_seq) = (store.dump_index().unwrap(), store.last_seq());
    now(store.close()).unwrap();
    let rebuilt = Options { ..Run::options(&image.copy(), &MemoryIndex::default()) };
    let (rebuilt, report) = Store::open(rebuilt).unwrap();
    assert_eq!(report.rebuilt, Some("it was empty"), "{context}");
    if run.reclaims {
        check_rebuilt(&live, &rebuilt, context);
    } else {
        assert_eq!(rebuilt.dump_index().unwrap(), live, "{context}");
    }
    assert_eq!(rebuilt.last_seq(), last_seq, "{context}");
    let digest = rebuilt.recompute_digest(&|_, _| true).unwrap();
    assert_eq!(digest.kept, digest.found, "{context}");
}

fn cuts(steps: usize) -> Vec<Cut> {
    let seed = steps as u64;
    let mut cuts = vec![Cut::Kept, Cut::Synced];
    cuts.extend((0..3).map(|at| Cut::Torn { seed: seed * 10 + at }));
    cuts.extend((0..3).map(|at| Cut::Holes { seed: seed * 10 + at }));
    cuts.extend([1, 31, 33, 500].map(|bytes| Cut::Prefix { steps: 0, bytes }));
    cuts.push(Cut::Prefix { steps: 1, bytes: 40 });
    cuts
}

#[test]
fn a_power_loss_at_every_step_loses_nothing_acknowledged() {
    let mut run = Run::new(1);
    for _ in 0..14 {
        run.act();
    }
    assert!(run.storage.list().unwrap().len() > 2, "segments were rolled");
    for steps in 0..=run.storage.steps() {
        for (at, cut) in cuts(steps).into_iter().enumerate() {
            crash_and_check(&run, steps, cut, steps + at, &format!("step {steps}, {cut:?}"));
        }
    }
}

#[test]
fn a_power_loss_at_every_step_of_a_reclaiming_run_loses_nothing_acknowledged() {
    let mut run = Run::reclaiming(11);
    for _ in 0..18 {
        run.act();
    }
    assert!(run.freed() > 5_000, "{}", run.freed());
    for steps in 0..=run.storage.steps() {
        for (at, cut) in cuts(steps).into_iter().enumerate() {
            crash_and_check(&run, steps, cut, steps + at, &format!("step {steps}, {cut:?}"));
        }
    }
}

#[test]
fn a_power_loss_in_random_runs_loses_nothing_acknowledged() {
    check_random_runs(100, Run::new);
}

#[test]
fn a_power_loss_in_random_reclaiming_runs_loses_nothing_acknowledged() {
    check_random_runs(500, Run::reclaiming);
}

fn check_random_runs(first: u64, new: impl Fn(u64) -> Run) {
    for seed in first..first + 30 {
        let mut run = new(seed);
        for _ in 0..run.rng.random_range(5..40) {
            run.act();
        }
        for _ in 0..7 {
            let steps = run.rng.random_range(0..=run.storage.steps());
            let cuts = cuts(steps);
            let cut = cuts[run.rng.random_range(0..cuts.len())];
            let which = run.rng.random_range(0..4);
            crash_and_check(
                &run,
                steps,
                cut,
                which,
                &format!("seed {seed}, step {steps}, {cut:?}, index {which}"),
            );
        }
    }
}

#[test]
fn a_write_torn_at_any_byte_is_cut_off() {
    let mut run = Run::new(7);
    for _ in 0..3 {
        run.act();
    }
    let before = run.storage.steps();
    run.commit();
    run.moment();
    let written = run.storage.steps() - 1;
    assert!(written > before);
    for bytes in (0..80).chain((80..1500).step_by(9)) {
        crash_and_check(&run, written, Cut::Prefix { steps: 0, bytes }, bytes, &format!("{bytes} bytes"));
    }
}

#[test]
fn a_second_power_loss_during_recovery_loses_nothing_either() {
    let mut run = Run::new(3);
    for _ in 0..12 {
        run.act();
    }
    run.commit();
    run.moment();
    let steps = run.storage.steps() - 1;
    for seed in 0..20 {
        let image = run.storage.image(steps, Cut::Torn { seed });
        let index = MemoryIndex::default();
        let options = |boot: &str, storage: &Memory, index: &MemoryIndex| Options {
            boot_id: boot.to_owned(),
            ..Run::options(storage, index)
        };
        drop(Store::open(options("boot-2", &image, &index)).unwrap());
        for again in 0..=image.steps() {
            let second = image.image(again, Cut::Torn { seed });
            let (store, _) = Store::open(options("boot-3", &second, &MemoryIndex::default())).unwrap();
            assert!(store.head() >= run.expected(steps)[0].1.head, "seed {seed}, step {again}");
        }
    }
}

#[test]
fn what_a_killed_process_left_unsynced_is_durable_once_it_is_served() {
    let mut run = Run::new(5);
    for _ in 0..6 {
        run.act();
    }
    for _ in 0..8 {
        let before = run.oracle.head;
        run.commit();
        run.moment();
        // The last step was the sync; the process dies before it, with the write in the system's cache.
        let killed = run.storage.killed(run.storage.steps() - 1);
        let (store, _) = Store::open(Run::options(&killed, &MemoryIndex::default())).unwrap();
        assert!(store.head() > before);
        let after = killed.image(killed.steps(), Cut::Synced);
        let lost = Options { boot_id: "boot-2".to_owned(), ..Run::options(&after, &MemoryIndex::default()) };
        assert_eq!(Store::open(lost).unwrap().0.head(), store.head());
    }
}
