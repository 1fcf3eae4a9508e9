//! What the comparison of a down feed had to mend although nobody lied, lost anything or moved: the feed itself forgot to tell it.
//!
//! Without this, the comparison would hide any fault of the feed: it is over before the oracle looks. Links are not counted: now and then
//! one stays at a child for a while when both its registrations change at about the same time, and says nothing there.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::ledger::Ledger;
use super::node::Seat;

/// Counts what was mended since the processes that run now were started.
pub fn check(seats: &[Arc<Seat>], ledger: &Ledger, wrong: &mut Vec<String>) {
    let moved = ledger.entries().values().any(|entry| entry.ever.len() > 1);
    let lost = seats.iter().any(|seat| seat.tampered.load(Ordering::Relaxed));
    if moved || lost || !ledger.lies().is_empty() || !ledger.forged().is_empty() {
        return;
    }
    for seat in seats {
        let Some(live) = seat.live.lock().clone() else { continue };
        for link in live.links.down().all().iter().filter(|link| link.mended > 0) {
            let (parent, child, mended) = (&seat.member.path, &link.path, link.mended);
            wrong.push(format!(
                "{parent} had to mend {mended} records at {child} that its feed should have told"
            ));
        }
    }
}
