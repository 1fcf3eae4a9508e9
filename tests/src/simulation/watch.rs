//! What must hold at every moment, not only at the end: what a parent acknowledged, the parent has.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use model::{KeyId, Record};
use prost::Message;
use sha2::{Digest, Sha256};
use store::{Direction, FeedId, Store};

use super::ledger::Ledger;
use super::node::Seat;

/// How far each link has been looked at, in the child's numbering.
#[derive(Debug)]
pub struct Watch {
    checked: Vec<u64>,
}

impl Watch {
    pub fn new(nodes: usize) -> Self {
        Self { checked: vec![0; nodes] }
    }

    /// A node went down: what it has acknowledged is looked at again when it is back.
    pub fn forget(&mut self, node: usize, seats: &[Arc<Seat>]) {
        for (checked, seat) in self.checked.iter_mut().zip(seats) {
            if seat.member.parent == Some(node) || seat.place == node {
                *checked = 0;
            }
        }
    }

    /// Looks at what was acknowledged since the last look.
    pub fn look(&mut self, seats: &[Arc<Seat>], ledger: &Ledger) {
        let (forged, lies) = (ledger.forged(), ledger.lies());
        let lost = seats.iter().any(|seat| seat.tampered.load(Ordering::Relaxed));
        for seat in seats {
            let Some(above) = seat.member.parent else { continue };
            // The parent's position in a feed that was set back and has grown again says too much until a proof mends it.
            // The same of one over which somebody lied.
            if seat.tampered.load(Ordering::Relaxed) || lies.contains(&seat.place) {
                continue;
            }
            let (live, parent) = (seat.live.lock().clone(), seats[above].live.lock().clone());
            let (Some(live), Some(parent)) = (live, parent) else { continue };
            let Some(link) = seat.member.path.parent().and_then(|path| live.links.view(&path)) else {
                continue;
            };
            // A parent that has come back has not said yet how much it has.
            let Some(told) = parent.links.view(&seat.member.path).filter(|told| told.connected) else {
                continue;
            };
            let acknowledged = link.position.min(told.position);
            let checked = &mut self.checked[seat.place];
            let below: Vec<KeyId> = seats
                .iter()
                .filter(|other| seat.member.path.contains(&other.member.path))
                .map(|other| other.member.signing.id())
                .collect();
            let mut reader = live.store.feed_reader(*checked);
            while reader.position() < acknowledged {
                // One commit at a time, to stop at the acknowledged position.
                let Ok(slice) = reader.next(1, 1, &|envelope| below.contains(&envelope.key_id)) else {
                    break;
                };
                if slice.upto > acknowledged || slice.upto == *checked {
                    break;
                }
                *checked = slice.upto;
                for record in
                    slice.records.iter().filter(|record| !forged.iter().any(|(_, one)| one == *record))
                {
                    let (key, version) = (record.key(), record.envelope().version);
                    // What it was told to forget since, because the hospital moved away, it had.
                    let there = parent.store.known_version(&key).expect("a memory index is read");
                    if there.is_none_or(|there| there < version)
                        && !(lost && is_quarantined(&parent.store, seat, record))
                    {
                        let (from, to) = (&seat.member.path, &seats[above].member.path);
                        ledger.violation(format!(
                            "{to} acknowledged {key} {version} of {from} and holds {there:?}"
                        ));
                    }
                }
            }
        }
    }
}

/// Whether a parent keeps a child's record until it knows more: after a loss it may not know yet who has moved where, and judges it
/// again when it does. At the end it has it.
fn is_quarantined(parent: &Store, child: &Seat, record: &Record) -> bool {
    let hash: [u8; 32] = Sha256::digest(record.to_raw().encode_to_vec()).into();
    let feed = FeedId { peer: child.member.origin, direction: Direction::Up };
    parent.is_quarantined(&hash, &feed).expect("a memory index is read")
}
