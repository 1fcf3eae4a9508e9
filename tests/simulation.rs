//! Seeds of the simulation. `TIERMESH_SEEDS=FROM..TO` chooses them, `TIERMESH_SEEDS=N` replays one, and with
//! `TIERMESH_TRACE=1` it tells all that happens. `TIERMESH_LOG=warn` adds what the nodes log. `TIERMESH_FIRST=1` ends at the first
//! seed that fails, and says how long that took.
//!
//! Whom tokio wakes first is drawn from the seed only in a build with `RUSTFLAGS="--cfg tokio_unstable"`, as `just simulate` makes
//! it: the next run of a seed is then the same but for real seconds (see [`RUNS`]). In other builds it is one of a few.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use tests::simulation::{Outcome, run_caught};
use tracing_subscriber::filter::LevelFilter;

/// Seeds of an ordinary run.
const SEEDS: Range<u64> = 0..24;
/// Lines that are told of a seed that failed.
const TOLD: usize = 12;

fn seeds() -> Range<u64> {
    let Ok(text) = std::env::var("TIERMESH_SEEDS") else { return SEEDS };
    let number = |text: &str| text.parse::<u64>().expect("TIERMESH_SEEDS is FROM..TO or one seed");
    match text.split_once("..") {
        Some((from, to)) => number(from)..number(to),
        None => number(&text)..number(&text) + 1,
    }
}

/// What the nodes log goes to the standard output, if anybody asks.
fn log() {
    let Ok(level) = std::env::var("TIERMESH_LOG") else { return };
    let level: LevelFilter = level.parse().expect("TIERMESH_LOG is a level, say warn");
    tracing_subscriber::fmt().with_max_level(level).without_time().with_ansi(false).init();
}

fn tell(outcome: &Outcome) {
    let Outcome { seed, trace, writes, faults, quiet_ms, wrong } = outcome;
    println!("seed {seed}: {faults} faults, {writes} writes, quiet at {quiet_ms} ms, trace {trace}");
    for wrong in wrong.iter().take(TOLD) {
        println!("seed {seed}: {wrong}");
    }
}

#[test]
fn nothing_acknowledged_is_lost() {
    log();
    let (seeds, began) = (seeds(), Instant::now());
    let (next, writes) = (AtomicU64::new(seeds.start), AtomicU64::new(0));
    let failed = Mutex::new(Vec::new());
    let only_first = std::env::var_os("TIERMESH_FIRST").is_some();
    // A simulation is one thread; several of them share the cores.
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || only_first && !failed.lock().unwrap().is_empty() {
                        return;
                    }
                    let outcome = run_caught(seed);
                    tell(&outcome);
                    writes.fetch_add(outcome.writes, Ordering::Relaxed);
                    if !outcome.wrong.is_empty() {
                        let seconds = began.elapsed().as_secs_f64();
                        println!("found by seed {seed} after {seconds:.1} s");
                        failed.lock().unwrap().push(seed);
                    }
                }
            });
        }
    });
    let (mut failed, ran) = (failed.into_inner().unwrap(), seeds.end.saturating_sub(seeds.start));
    failed.sort_unstable();
    let (writes, seconds) = (writes.into_inner(), began.elapsed().as_secs_f64());
    println!("{writes} writes, {:.2} seeds a second", ran as f64 / seconds);
    println!("{} passed, {} failed", ran - failed.len() as u64, failed.len());
    assert!(failed.is_empty(), "replay with just simulate N 1: {failed:?}");
}

/// Runs of one seed until two are the same. h2 remembers the streams that it reset for a second of the real clock, not of the
/// simulated one; on a busy machine that second may end in the midst of a run, and an answer more is sent.
const RUNS: usize = 6;

#[test]
fn a_seed_gives_the_same_run_twice() {
    for seed in [1, 2] {
        let mut runs: Vec<Outcome> = Vec::new();
        let same = loop {
            let again = run_caught(seed);
            assert!(again.faults > 10 && again.writes > 50, "seed {seed} has little to show");
            if runs.contains(&again) {
                break true;
            }
            runs.push(again);
            if runs.len() == RUNS {
                break false;
            }
        };
        assert!(same, "seed {seed}: {runs:?}");
    }
}
