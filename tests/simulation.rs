//! Seeds of the simulation. `TIERMESH_SEEDS=FROM..TO` chooses them, `TIERMESH_SEEDS=N` replays one.

use std::time::Instant;

use tests::simulation::run_caught;

/// Seeds of an ordinary run.
const SEEDS: std::ops::Range<u64> = 0..24;

fn seeds() -> std::ops::Range<u64> {
    let Ok(text) = std::env::var("TIERMESH_SEEDS") else { return SEEDS };
    let number = |text: &str| text.parse::<u64>().expect("TIERMESH_SEEDS is FROM..TO or one seed");
    match text.split_once("..") {
        Some((from, to)) => number(from)..number(to),
        None => number(&text)..number(&text) + 1,
    }
}

#[test]
fn nothing_acknowledged_is_lost() {
    let (mut passed, mut failed, mut writes) = (0u64, Vec::new(), 0);
    let began = Instant::now();
    for seed in seeds() {
        let outcome = run_caught(seed);
        writes += outcome.writes;
        println!(
            "seed {seed}: {} faults, {} writes, quiet at {} ms, trace {}",
            outcome.faults, outcome.writes, outcome.quiet_ms, outcome.trace
        );
        if outcome.wrong.is_empty() {
            passed += 1;
        } else {
            for wrong in outcome.wrong.iter().take(12) {
                println!("seed {seed}: {wrong}");
            }
            failed.push(seed);
        }
    }
    println!("{writes} writes in {:.1} s", began.elapsed().as_secs_f64());
    println!("{passed} passed, {} failed", failed.len());
    assert!(failed.is_empty(), "replay with TIERMESH_SEEDS={}", failed[0]);
}

#[test]
fn a_seed_gives_the_same_run_twice() {
    for seed in [3, 7] {
        let (once, again) = (run_caught(seed), run_caught(seed));
        assert_eq!(once, again, "seed {seed}");
    }
}
