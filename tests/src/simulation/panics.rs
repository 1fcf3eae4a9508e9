//! Panics inside a simulated node: tasks swallow them, so a hook notes them for the thread that simulates.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;
use std::thread;

use super::run::{Outcome, run};

thread_local! {
    static NOTED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Runs one seed; a panic anywhere in it is something that does not hold.
pub fn run_caught(seed: u64) -> Outcome {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            NOTED.with_borrow_mut(|noted| noted.push(info.to_string()));
            before(info);
        }));
    });
    // A thread of its own: what a dependency keeps for each thread would let one seed depend on those before it.
    let (outcome, noted) = thread::scope(|scope| {
        let caught = || (catch_unwind(AssertUnwindSafe(|| run(seed))), NOTED.take());
        scope.spawn(caught).join().expect("its panics are caught")
    });
    let mut outcome = outcome.unwrap_or_else(|_| Outcome {
        seed,
        trace: String::new(),
        writes: 0,
        faults: 0,
        quiet_ms: 0,
        wrong: Vec::new(),
    });
    outcome.wrong.extend(noted);
    outcome
}
