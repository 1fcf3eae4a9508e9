//! Waits, once the tree is quiet, until every parent has compared all that its children hold with what they are to hold.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::ledger::Ledger;
use super::node::Seat;

/// Pause between two comparisons.
pub const SWEEP_PAUSE: Duration = Duration::from_secs(2);
/// So many comparisons must have ended since: the last of them began when all was quiet.
const PASSES: u32 = 2;
/// Messages of a comparison, there and back: 64 of 1024 buckets at a time; with some more for what is mended.
const QUESTIONS: u64 = 24;
/// What a question takes beside its way.
const THINKING_MS: u64 = 40;

/// One wait.
#[derive(Debug)]
pub struct Settling {
    heads: Vec<u64>,
    since_ms: u64,
    /// Of each node, the parent's last comparison with it and how many there were since.
    compared: Vec<(u64, u32)>,
    latency_ms: u64,
}

impl Settling {
    pub fn new(nodes: usize, latency_ms: u64) -> Self {
        Self { heads: Vec::new(), since_ms: 0, compared: vec![(0, 0); nodes], latency_ms }
    }

    /// Whether all has been compared since anything was last committed. To be asked whenever the tree is quiet.
    pub fn is_over(&mut self, now_ms: u64, seats: &[Arc<Seat>], ledger: &Ledger) -> bool {
        let head = |seat: &Arc<Seat>| seat.live.lock().as_ref().map_or(0, |live| live.store.head());
        let heads: Vec<u64> = seats.iter().map(head).collect();
        let moved = heads != self.heads;
        if moved {
            (self.heads, self.since_ms) = (heads, now_ms);
        }
        for seat in seats {
            let Some(parent) = seat.member.parent else { continue };
            let links = seats[parent].live.lock().as_ref().map(|live| live.links.down());
            let proven_ms =
                links.and_then(|links| links.view(&seat.member.path)).map_or(0, |link| link.proven_ms);
            let (last, count) = &mut self.compared[seat.place];
            let again = u32::from(*last != proven_ms);
            (*last, *count) = (proven_ms, if moved { 0 } else { *count + again });
        }
        // Of what was lost or forged a parent may not know enough to find both ends equal.
        let doubtful =
            !ledger.forged().is_empty() || seats.iter().any(|seat| seat.tampered.load(Ordering::Relaxed));
        let pass_ms = QUESTIONS * (2 * self.latency_ms + THINKING_MS) + SWEEP_PAUSE.as_millis() as u64;
        let compared =
            |seat: &Arc<Seat>| seat.member.parent.is_none() || self.compared[seat.place].1 >= PASSES;
        if doubtful {
            now_ms - self.since_ms >= u64::from(PASSES) * pass_ms
        } else {
            seats.iter().all(compared)
        }
    }

    /// For whom it waits, and what is known against them.
    pub fn waits_for(&self, seats: &[Arc<Seat>]) -> String {
        let mut waits = Vec::new();
        for seat in seats {
            let Some(parent) = seat.member.parent else { continue };
            let links = seats[parent].live.lock().as_ref().map(|live| live.links.down());
            let Some(link) = links.and_then(|links| links.view(&seat.member.path)) else { continue };
            let passes = self.compared[seat.place].1;
            if passes < PASSES {
                let (path, surplus, disproven) = (&link.path, link.surplus, &link.disproven);
                waits.push(format!("{path} compared {passes} times, surplus {surplus}, {disproven:?}"));
            }
        }
        format!("heads are the same since {} ms; {}", self.since_ms, waits.join("; "))
    }
}
