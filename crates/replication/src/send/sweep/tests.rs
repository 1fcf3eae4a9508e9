//! Steps of the comparison, answer by answer.

use super::*;

const PAUSE: Duration = Duration::from_secs(3600);

fn key(bucket: u16, low: u8) -> RecordKey {
    let mut key = [low; 16];
    key[..2].copy_from_slice(&(bucket << 6).to_be_bytes());
    RecordKey(key)
}

fn version(seq: u64) -> Version {
    Version { term: 1, epoch: 1, seq }
}

fn told(low: u8, seq: u64) -> Told {
    Told { key: key(0, low), version: version(seq), duty: Duty::Current }
}

fn held(low: u8, seq: u64) -> HeldVersion {
    HeldVersion { key: key(0, low), version: version(seq), quarantined: false }
}

fn answer(comparison: Comparison, bucket: u16, held: &[HeldVersion]) -> CheckAnswer {
    CheckAnswer { position: 5, comparison, bucket, held: held.to_vec(), incomplete: false }
}

/// Gathers a step in whose first bucket the child is to hold these, and asks. How many buckets it had.
fn step(sweep: &mut Sweep, in_first: &[Told]) -> usize {
    let view = Arc::new(DirectoryView::default());
    for told in in_first {
        sweep.gathering(5, &view).tell(*told, u128::from(told.version.seq));
    }
    while sweep.question().is_none() {
        sweep.gathering(5, &view);
        assert_eq!(sweep.closed(Instant::now()), Found::Nothing);
    }
    let buckets = sweep.question().unwrap().sums.len();
    sweep.went();
    buckets
}

fn heard(sweep: &mut Sweep, answer: &CheckAnswer) -> Found {
    // Everything but what ends in 9 is known here.
    sweep.heard(answer, &|key, _| Ok(key.0[15] % 10 != 9), Instant::now()).unwrap()
}

/// Finds all that is left of a pass equal.
fn rest_of_pass(sweep: &mut Sweep) -> Found {
    loop {
        step(sweep, &[]);
        let found = heard(sweep, &answer(Comparison::Equal, 0, &[]));
        if found != Found::Nothing {
            return found;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_pass_that_is_equal_throughout_is_a_proof_and_rests_an_hour() {
    let mut sweep = Sweep::new(Instant::now(), PAUSE);
    assert_eq!(step(&mut sweep, &[told(1, 1), told(2, 3)]), MAX_CHECKED);
    assert_eq!(sweep.due(), None, "one question at a time");
    assert_eq!(heard(&mut sweep, &answer(Comparison::Equal, 0, &[])), Found::Nothing);
    assert_eq!(sweep.due(), Some(Instant::now() + LEAST_REST));
    assert_eq!(rest_of_pass(&mut sweep), Found::Proven(2));
    assert_eq!(sweep.due(), Some(Instant::now() + PAUSE));
}

#[tokio::test(start_paused = true)]
async fn what_a_move_may_have_changed_is_compared_at_once_and_once() {
    let mut sweep = Sweep::new(Instant::now(), PAUSE);
    rest_of_pass(&mut sweep);
    sweep.hasten(Instant::now());
    assert_eq!(sweep.due(), Some(Instant::now()), "it rested");
    step(&mut sweep, &[]);
    sweep.hasten(Instant::now());
    heard(&mut sweep, &answer(Comparison::Equal, 0, &[]));
    assert_eq!(rest_of_pass(&mut sweep), Found::Proven(0));
    assert_eq!(
        sweep.due(),
        Some(Instant::now() + LEAST_REST),
        "what was compared before the move does not count"
    );
    assert_eq!(rest_of_pass(&mut sweep), Found::Proven(0));
    assert_eq!(sweep.due(), Some(Instant::now() + PAUSE));
}

#[tokio::test(start_paused = true)]
async fn what_differs_is_mended_and_compared_again() {
    let mut sweep = Sweep::new(Instant::now(), PAUSE);
    let all = [told(1, 1), told(2, 3), told(3, 1)];
    step(&mut sweep, &all);
    // One is missing, one is older, and one is too much.
    let found = heard(&mut sweep, &answer(Comparison::Different, 0, &[held(2, 2), held(3, 1), held(4, 1)]));
    assert_eq!(found, Found::Mend(2, 1));
    assert_eq!(sweep.to_ship, [(key(0, 1), version(1)), (key(0, 2), version(3))]);
    assert_eq!(sweep.to_retract, [(key(0, 4), version(1))]);
    assert_eq!(sweep.due(), None, "first that");
    (sweep.to_ship, sweep.to_retract) = Default::default();
    step(&mut sweep, &all);
    heard(&mut sweep, &answer(Comparison::Equal, 0, &[]));
    assert_eq!(rest_of_pass(&mut sweep), Found::Proven(3));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_known_here_is_counted_and_kept() {
    let mut sweep = Sweep::new(Instant::now(), PAUSE);
    step(&mut sweep, &[told(1, 1)]);
    let found = heard(&mut sweep, &answer(Comparison::Different, 0, &[held(1, 2), held(9, 1)]));
    assert_eq!(found, Found::Nothing);
    assert!(!sweep.mends());
    assert_eq!(rest_of_pass(&mut sweep), Found::Different { buckets: 0, surplus: 2 });
    assert_eq!(sweep.due(), Some(Instant::now() + AFTER_DIFFERENT));
}

#[tokio::test(start_paused = true)]
async fn what_is_quarantined_or_may_wait_is_no_difference() {
    let mut sweep = Sweep::new(Instant::now(), PAUSE);
    let all = [told(1, 1), Told { duty: Duty::Any, ..told(2, 2) }];
    step(&mut sweep, &all);
    let refused = |low| HeldVersion { quarantined: true, ..held(low, 1) };
    let has = answer(Comparison::Different, 0, &[refused(1), held(2, 1), refused(4)]);
    assert_eq!(heard(&mut sweep, &has), Found::Mend(1, 0), "it may have come altered");
    assert_eq!(sweep.to_ship, [(key(0, 1), version(1))]);
    sweep.to_ship.clear();
    step(&mut sweep, &all);
    assert_eq!((heard(&mut sweep, &has), sweep.mends()), (Found::Nothing, false));
    assert!(matches!(rest_of_pass(&mut sweep), Found::Proven(_)));
}

#[tokio::test(start_paused = true)]
async fn of_what_moved_away_the_child_has_the_current_version_or_none() {
    let mut sweep = Sweep::new(Instant::now(), PAUSE);
    let left = |low| Told { duty: Duty::CurrentOrNone, ..told(low, 3) };
    let all = [left(1), left(2), left(3)];
    step(&mut sweep, &all);
    let found = heard(&mut sweep, &answer(Comparison::Different, 0, &[held(1, 3), held(2, 2)]));
    assert_eq!(found, Found::Mend(0, 1));
    assert_eq!(sweep.to_retract, [(key(0, 2), version(2))]);
    sweep.to_retract.clear();
    step(&mut sweep, &all);
    assert_eq!(heard(&mut sweep, &answer(Comparison::Different, 0, &[held(1, 3)])), Found::Nothing);
    assert!(matches!(rest_of_pass(&mut sweep), Found::Proven(_)));
}

#[tokio::test(start_paused = true)]
async fn what_stays_different_is_left_to_the_next_pass_and_said() {
    let mut sweep = Sweep::new(Instant::now(), PAUSE);
    for _ in 0..=MAX_ROUNDS {
        step(&mut sweep, &[told(1, 1)]);
        assert_eq!(heard(&mut sweep, &answer(Comparison::Different, 0, &[])), Found::Mend(1, 0));
        sweep.to_ship.clear();
    }
    assert_eq!(rest_of_pass(&mut sweep), Found::Different { buckets: 1, surplus: 0 });
    // The same versions and other sums: other bytes at one end.
    step(&mut sweep, &[told(1, 1)]);
    assert_eq!(heard(&mut sweep, &answer(Comparison::Different, 0, &[held(1, 1)])), Found::Nothing);
    assert_eq!(rest_of_pass(&mut sweep), Found::Different { buckets: 1, surplus: 0 });
}

#[tokio::test(start_paused = true)]
async fn a_long_list_comes_in_pages() {
    let mut sweep = Sweep::new(Instant::now(), PAUSE);
    let all = [told(1, 1), told(2, 1), told(3, 1), told(4, 1)];
    step(&mut sweep, &all);
    let first = answer(Comparison::Different, 0, &[held(2, 1)]);
    assert_eq!(heard(&mut sweep, &CheckAnswer { incomplete: true, ..first }), Found::Mend(1, 0));
    let more = sweep.question().expect("the next page");
    assert_eq!((more.page, more.sums.len()), (Some(key(0, 2)), 1));
    sweep.went();
    assert_eq!(
        heard(&mut sweep, &answer(Comparison::Different, 0, &[held(4, 1), held(5, 1)])),
        Found::Mend(1, 1)
    );
    assert_eq!(sweep.to_ship, [(key(0, 1), version(1)), (key(0, 3), version(1))]);
}

#[tokio::test(start_paused = true)]
async fn what_the_log_outran_is_gathered_again() {
    let mut sweep = Sweep::new(Instant::now(), PAUSE);
    step(&mut sweep, &[told(1, 1)]);
    assert_eq!(heard(&mut sweep, &answer(Comparison::NotYet, 0, &[])), Found::Nothing);
    let view = Arc::new(DirectoryView::default());
    sweep.gathering(5, &view).tell(told(1, 1), 1);
    sweep.closed(Instant::now());
    assert_eq!(sweep.gathering(6, &view).sums.len(), 0, "another position");
    sweep.outrun(Instant::now());
    assert_eq!(sweep.due(), Some(Instant::now() + AGAIN));
    step(&mut sweep, &[told(1, 1)]);
    heard(&mut sweep, &answer(Comparison::Equal, 0, &[]));
    assert_eq!(rest_of_pass(&mut sweep), Found::Proven(1));
}
