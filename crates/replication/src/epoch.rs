//! Epochs: which start of a writer is admitted. Decides without I/O.
//!
//! Every start of a writer opens an epoch that names the one before it, so the epochs of one node form a chain. The parent
//! admits one successor per epoch: whoever announces another one is a clone or an old backup.
//!
//! ```text
//! known here      announced                       verdict
//! ─────────────   ─────────────────────────────   ──────────────────────────────────────────────
//! nothing         nothing (an empty store)        Admit: it may open its first epoch
//! nothing         1 ← 2 ← 3                       Admit: this receiver is the one that is new
//! 1 ← 2           nothing                         RestoreNeeded: lost disk
//! 1 ← 2 ← 3       1 ← 2                           RestoreNeeded: old backup
//! 1 ← 2           1 ← 2'                          Fenced
//! 1 ← 2           1 ← 2 ← 3, from our last seq    Admit
//! 1 ← 2           1 ← 2 ← 3, from an older seq    RestoreNeeded: old backup, started since
//! 1 ← 2, 2 live   1 ← 2                           Replace: the same start connects again
//! 1 ← 2, 2 live   1 ← 2 ← 3                       AlreadyConnected: started beside the living node
//! ```
//!
//! Does not see a machine that was set back within one epoch, unless its feed ends before what was applied here.

use std::cmp::Ordering;

use model::EpochId;
use model::body::EpochEntry;
use model::feed::Hello;

use crate::error::Announced;

/// What becomes of a greeting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EpochVerdict {
    /// Welcome, with a new session.
    Admit,
    /// Welcome, and the live session of the same start ends.
    Replace,
    /// More is known here than announced.
    RestoreNeeded { known_epoch: u32, known_seq: u64, announced: Announced },
    /// Another start is known under an announced counter.
    Fenced { counter: u32, known: EpochId },
    /// Another start is connected now.
    AlreadyConnected { live: EpochId },
    /// The announced epochs are no chain.
    Malformed(&'static str),
}

/// Why an epoch does not belong to those known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EpochMisfit {
    #[error("an epoch's counter is at least 1 and its id 16 bytes")]
    Malformed,
    #[error("another start is known under this counter")]
    Fenced,
    #[error("it does not follow the epoch before it")]
    NotASuccessor,
}

/// Judges a greeting. `known` are the epochs known of the announced origin, ascending by counter; `known_seq` is the last seq
/// applied from it (0 if that was not looked up, which only [`needs_known_seq`] allows); `live` the epoch of a session that is
/// alive now.
pub fn admit_epochs(
    known: &[EpochEntry],
    known_seq: u64,
    hello: &Hello,
    live: Option<EpochId>,
) -> EpochVerdict {
    if let Err(why) = check_chain(&hello.epochs) {
        return EpochVerdict::Malformed(why);
    }
    let Some(newest) = hello.epochs.first() else { return judge_empty(known, known_seq) };
    if let Some(fenced) = first_conflict(known, &hello.epochs) {
        return fenced;
    }
    if let Some(restore) = behind(known, known_seq, hello, newest) {
        return restore;
    }
    match (live, epoch_id(newest)) {
        (Some(live), Some(id)) if live == id => EpochVerdict::Replace,
        (Some(live), _) => EpochVerdict::AlreadyConnected { live },
        (None, _) => EpochVerdict::Admit,
    }
}

/// Whether [`admit_epochs`] must know the last seq applied: unless the newest epochs are the same, or none is known here.
pub fn needs_known_seq(known: &[EpochEntry], hello: &Hello) -> bool {
    known
        .last()
        .is_some_and(|known| hello.epochs.first().map(|newest| &newest.epoch_id) != Some(&known.epoch_id))
}

/// Whether an epoch can stand beside those known of the same node (ascending by counter). Gaps are allowed, because records
/// may arrive in any order; a second start under one counter is not.
pub fn fits(known: &[EpochEntry], entry: &EpochEntry) -> Result<(), EpochMisfit> {
    if entry.counter == 0 || entry.epoch_id.len() != 16 {
        return Err(EpochMisfit::Malformed);
    }
    if entry.counter == 1 && !entry.previous_epoch_id.is_empty() {
        return Err(EpochMisfit::NotASuccessor);
    }
    match known.binary_search_by_key(&entry.counter, |held| held.counter) {
        Ok(at) if known[at].epoch_id == entry.epoch_id => Ok(()),
        Ok(_) => Err(EpochMisfit::Fenced),
        Err(at) => {
            let before = at.checked_sub(1).map(|at| &known[at]);
            let follows_before = before.is_none_or(|before| follows(before, entry));
            let followed = known.get(at).is_none_or(|after| follows(entry, after));
            if follows_before && followed { Ok(()) } else { Err(EpochMisfit::NotASuccessor) }
        }
    }
}

/// Whether `seq` can have been committed in the epoch with this counter: after what came before it, and not after the next
/// one began. None if the epoch is not known.
pub fn covers(known: &[EpochEntry], counter: u32, seq: u64) -> Option<bool> {
    let at = known.binary_search_by_key(&counter, |held| held.counter).ok()?;
    let next = known.get(at + 1);
    Some(seq > known[at].base_seq && next.is_none_or(|next| seq <= next.base_seq))
}

/// The id of an epoch, if it is well formed.
pub fn epoch_id(entry: &EpochEntry) -> Option<EpochId> {
    EpochId::try_from(&entry.epoch_id[..]).ok()
}

/// Whether `later` can come after `earlier`; adjacent ones must name each other.
fn follows(earlier: &EpochEntry, later: &EpochEntry) -> bool {
    let named = later.previous_epoch_id == earlier.epoch_id;
    later.base_seq >= earlier.base_seq && (named || later.counter > earlier.counter + 1)
}

/// Announced epochs are newest first, without gaps, each naming the one before it.
fn check_chain(newest_first: &[EpochEntry]) -> Result<(), &'static str> {
    for entry in newest_first {
        fits(&[], entry).map_err(|_| "an epoch is malformed")?;
    }
    let linked = |pair: &[EpochEntry]| pair[0].counter == pair[1].counter + 1 && follows(&pair[1], &pair[0]);
    if newest_first.windows(2).all(linked) { Ok(()) } else { Err("the epochs do not follow each other") }
}

fn judge_empty(known: &[EpochEntry], known_seq: u64) -> EpochVerdict {
    match known.last() {
        None => EpochVerdict::Admit,
        Some(newest) => EpochVerdict::RestoreNeeded {
            known_epoch: newest.counter,
            known_seq: known_seq.max(newest.base_seq),
            announced: Announced::Nothing,
        },
    }
}

/// The oldest announced epoch under whose counter another start is known, or that names another one before it.
fn first_conflict(known: &[EpochEntry], newest_first: &[EpochEntry]) -> Option<EpochVerdict> {
    newest_first.iter().rev().find_map(|announced| {
        let fenced =
            |at: &EpochEntry| epoch_id(at).map(|known| EpochVerdict::Fenced { counter: at.counter, known });
        let held = |counter: u32| {
            known.binary_search_by_key(&counter, |held| held.counter).ok().map(|at| &known[at])
        };
        let same = held(announced.counter).filter(|held| held.epoch_id != announced.epoch_id);
        let before = announced.counter.checked_sub(1).and_then(held);
        let before = before.filter(|before| before.epoch_id != announced.previous_epoch_id);
        same.or(before).and_then(fenced)
    })
}

/// Whether the sender lacks something that was applied here.
fn behind(known: &[EpochEntry], known_seq: u64, hello: &Hello, newest: &EpochEntry) -> Option<EpochVerdict> {
    let held = known.last()?;
    let announced = match newest.counter.cmp(&held.counter) {
        Ordering::Less => Some(Announced::Epoch { counter: newest.counter, seq: hello.last_seq }),
        Ordering::Equal => None,
        Ordering::Greater => {
            // The first epoch after the newest known one; the oldest announced one if the list does not reach back so far.
            let reaches = hello.epochs.iter().rev().find(|entry| entry.counter > held.counter)?;
            let lacks = reaches.base_seq < known_seq;
            lacks.then_some(Announced::Epoch { counter: reaches.counter, seq: reaches.base_seq })
        }
    }?;
    let known_seq = known_seq.max(held.base_seq);
    Some(EpochVerdict::RestoreNeeded { known_epoch: held.counter, known_seq, announced })
}

#[cfg(test)]
mod tests;
