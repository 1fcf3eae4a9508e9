//! What the comparison of a down feed had to mend although nobody lied, lost anything or moved: the feed itself forgot to tell it.
//!
//! Without this, the comparison would hide any fault of the feed: it is over before the oracle looks. A record that a child lacked is
//! one too many. Of those that it was left with too much a few are let pass: when several registrations leave a person at about the
//! same time, the turn of each may find the others gone already, and then the comparison is what makes the child forget them
//! (`replication::interest`). A feed that does not retract leaves more of them, and in most seeds. Links are not counted: they say
//! nothing without their registrations.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::ledger::Ledger;
use super::node::Seat;

/// Records that one run's feeds may leave to the comparison to retract; of 10,000 seeds 21 left any, 3 at most.
const MOST_LATE: u64 = 6;

/// Counts what was mended since the processes that run now were started.
pub fn check(seats: &[Arc<Seat>], ledger: &Ledger, wrong: &mut Vec<String>) {
    let moved = ledger.entries().values().any(|entry| entry.ever.len() > 1);
    let lost = seats.iter().any(|seat| seat.tampered.load(Ordering::Relaxed));
    if moved || lost || !ledger.lies().is_empty() || !ledger.forged().is_empty() {
        return;
    }
    let (mut retracted, mut late) = (0, 0);
    for seat in seats {
        let Some(live) = seat.live.lock().clone() else { continue };
        for link in live.links.down().all() {
            retracted += link.retracted;
            late += link.retracted_late;
            if link.mended > 0 {
                let (parent, child, mended) = (&seat.member.path, &link.path, link.mended);
                wrong.push(format!(
                    "{parent} had to mend {mended} records that {child} lacked and its feed should have told"
                ));
            }
        }
    }
    if late > 0 {
        println!("left to the comparison: {late} of {retracted} retractions");
    }
    if late > MOST_LATE {
        wrong.push(format!(
            "of {retracted} retractions {late} were left to the comparison; {MOST_LATE} may be"
        ));
    }
}
