//! What the comparison of a down feed had to tell although nobody lied, lost anything or moved: the feed itself forgot to tell it.
//!
//! Without this, the comparison would hide a feed that tells too little: it is over before the oracle looks. What a child was left with
//! too much is not counted, and it is not rare (in 6 of the 13 hardest seeds, 1 to 3 records): when several registrations leave a person
//! at about the same time, the turn of each may find the others gone already, and the comparison is what makes the child forget them
//! (`replication::interest`). Nor are links: they say nothing without their registrations.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::ledger::Ledger;
use super::node::Seat;

/// Counts what was told late since the processes that run now were started.
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
                "{parent} had to mend {mended} records that {child} lacked and its feed should have told"
            ));
        }
    }
}
