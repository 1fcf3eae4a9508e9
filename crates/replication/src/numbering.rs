//! Which history of a log a position belongs to.
//!
//! ```text
//! the sender's log    … e1 ─────────── e2 ──────────── e3 ──▶         a position reached in e2 holds up to where e3 began
//! set back to e1      … e1 ─────── e2' ──▶                            of one reached in e2 nothing is known any more;
//!                                                                     of one reached in e1, at most what came before e2' began
//! ```
//! A log that was set back (an old backup, a machine rolled back) numbers anew what it gets from then on, under the same name. Every
//! start opens an epoch with a random id, so a position is kept together with the epoch in which it was reached, and a sender
//! says where its epochs began. Before the epoch of its start is open a sender ships nothing.

use model::body::EpochEntry;
use model::feed::Hello;
use sha2::{Digest, Sha256};
use store::{FeedPosition, Store};

/// The numbering of a feed while this epoch is its sender's newest: SHA-256("tiermesh numbering v1" 0x00 || generation ||
/// epoch id), first 16 bytes.
pub fn numbering(generation: &[u8; 16], epoch: &EpochEntry) -> [u8; 16] {
    let mut hash = Sha256::new_with_prefix(b"tiermesh numbering v1\0");
    hash.update(generation);
    hash.update(&epoch.epoch_id);
    let mut short = [0; 16];
    short.copy_from_slice(&hash.finalize()[..16]);
    short
}

/// The numbering in which a session's positions are kept.
pub fn current(hello: &Hello) -> [u8; 16] {
    hello.epochs.first().map_or(hello.generation, |newest| numbering(&hello.generation, newest))
}

/// The numbering of this node's own log now.
pub fn of(store: &Store) -> [u8; 16] {
    let generation = store.generation();
    store.last_epoch().map_or(generation, |newest| numbering(&generation, &newest))
}

/// Up to where a position that is held still says what was applied: less than the position if the sender was set back to
/// before it. None: it was reached in no epoch that the sender tells of in this log, and says nothing.
pub fn still_holds(held: FeedPosition, hello: &Hello) -> Option<u64> {
    if held.generation == current(hello) {
        return Some(held.position);
    }
    let of = |epoch: &EpochEntry| numbering(&hello.generation, epoch) == held.generation;
    let at = hello.epochs.iter().skip(1).position(of)?;
    // The epoch after it stands before it: they are told newest first.
    let next_began = hello.began.get(at)?;
    Some(held.position.min(next_began.saturating_sub(1)))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use model::OriginId;
    use model::feed::Direction;

    use super::*;

    const LOG: [u8; 16] = [7; 16];

    fn epoch(id: u8) -> EpochEntry {
        EpochEntry { epoch_id: Bytes::from(vec![id; 16]), ..EpochEntry::default() }
    }

    /// A greeting of a sender with these epochs, oldest first, and where they began.
    fn hello(epochs: &[(u8, u64)]) -> Hello {
        Hello {
            protocols: vec![1],
            direction: Direction::Up,
            path: "530000/532900".parse().unwrap(),
            origin: OriginId([1; 16]),
            trust_domain: "demo.tiermesh".parse().unwrap(),
            generation: LOG,
            head: 1000,
            epochs: epochs.iter().rev().map(|(id, _)| epoch(*id)).collect(),
            began: epochs.iter().rev().map(|(_, began)| *began).collect(),
            last_seq: 0,
            now_ms: 0,
            software: String::new(),
            introduction: Vec::new(),
        }
    }

    fn reached(position: u64, id: u8) -> FeedPosition {
        FeedPosition { generation: numbering(&LOG, &epoch(id)), position }
    }

    #[test]
    fn a_position_holds_to_the_end_of_its_epoch() {
        let lived_on = hello(&[(1, 1), (2, 100), (3, 200)]);
        assert_eq!(still_holds(reached(230, 3), &lived_on), Some(230));
        assert_eq!(still_holds(reached(150, 2), &lived_on), Some(150));
        assert_eq!(still_holds(reached(199, 2), &lived_on), Some(199));
        let set_back = hello(&[(1, 1), (2, 100), (4, 150)]);
        assert_eq!(still_holds(reached(180, 2), &set_back), Some(149), "what came after is another history");
        assert_eq!(still_holds(reached(180, 3), &set_back), None, "an epoch that never was");
        let other = FeedPosition { generation: LOG, position: 180 };
        assert_eq!(still_holds(other, &set_back), None);
        assert_eq!(still_holds(other, &hello(&[])), Some(180), "a sender without an epoch");
        let elsewhere = Hello { generation: [8; 16], ..lived_on.clone() };
        assert_eq!(still_holds(reached(150, 2), &elsewhere), None, "another log with the same epochs");
        let silent = Hello { began: Vec::new(), ..lived_on };
        assert_eq!(still_holds(reached(150, 2), &silent), None);
        assert_eq!(still_holds(reached(230, 3), &silent), Some(230));
    }
}
