//! What must have come down when the tree is quiet: the whole directory, and of other subtrees exactly whom an interest is in.
//!
//! Who is of interest to whom is computed here from what the hospitals wrote, and not by any code of the tree's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use model::body::{Flow, Kind, Registration};
use model::{Record, RecordKey, Version};
use store::Store;

use super::ledger::{Entry, Ledger};
use super::node::Seat;
use super::oracle::{BySigner, filed, forgot_what_was_left};

/// A registration or document as its writer holds it now.
pub(super) struct Current<'a> {
    /// Place of the writer.
    pub node: usize,
    pub entry: &'a Entry,
    pub record: &'a Record,
    /// Whom a living registration is of.
    pub person: Option<u8>,
}

pub(super) type Written<'a> = BTreeMap<RecordKey, Current<'a>>;

/// Compares what every node holds of other subtrees with what it should.
pub fn check(seats: &[Arc<Seat>], ledger: &Ledger, held: &[BySigner], wrong: &mut Vec<String>) {
    let entries = ledger.entries();
    let written = current(&entries, seats, held);
    for seat in seats.iter().filter(|seat| seat.member.parent.is_some()) {
        let path = &seat.member.path;
        // Nobody tells a node above what it had written itself and lost.
        let lost = |record: &Record| {
            let wrote = |seat: &&Arc<Seat>| seat.member.signing.id() == record.envelope().key_id;
            seats.iter().find(wrote).is_some_and(|seat| seat.tampered.load(Ordering::Relaxed))
        };
        // A root that was set back knows no more that a start of another was admitted, and admits a second one under its number: below,
        // the first one stays, and the second is in quarantine.
        let set_back = seats[0].tampered.load(Ordering::Relaxed);
        let overtaken = |there: &Record, here: Option<&Record>| {
            let is_epoch = there.envelope().kind == Kind::Epoch as u32;
            let same = |here: &Record| here.envelope().version.epoch == there.envelope().version.epoch;
            set_back && is_epoch && here.is_some_and(same)
        };
        let (root, here) = (directory(&held[0]), directory(&held[seat.place]));
        for key in root.keys().chain(here.keys()).filter(|key| root.get(key) != here.get(key)) {
            let (there, record) = (root.get(key).copied(), here.get(key).copied());
            if there.is_some_and(|there| !overtaken(there, record)) || !record.is_some_and(lost) {
                wrong.push(format!("{path} does not have the root's directory: {key} differs"));
            }
        }
        interests(seat, seats, (&written, ledger), &held[seat.place], wrong);
    }
}

pub(super) fn current<'a>(
    entries: &'a BTreeMap<RecordKey, Entry>,
    seats: &[Arc<Seat>],
    held: &'a [BySigner],
) -> Written<'a> {
    let of = |(key, entry): (&RecordKey, &'a Entry)| {
        let record = filed(key, entry, &held[entry.node], seats)?;
        Some((*key, Current { node: entry.node, entry, record, person: person(entry, record) }))
    };
    entries.iter().filter_map(of).collect()
}

/// Whom this version of a registration is of, by the ledger.
fn person(entry: &Entry, record: &Record) -> Option<u8> {
    if record.envelope().tombstone || entry.about.is_some() {
        return None;
    }
    let marker = record.decode_body::<Registration>().ok()?.contacts.first()?.name.clone();
    entry.tried.iter().find(|wanted| wanted.marker == marker)?.person
}

fn directory(held: &BySigner) -> BTreeMap<RecordKey, &Record> {
    let records = held.values().flatten();
    let records = records.filter(|(_, record)| record.envelope().known_flow() == Some(Flow::Directory));
    records.map(|(key, record)| (*key, record)).collect()
}

/// How many of these versions a node's log holds.
fn versions(store: &Store, key: &RecordKey, which: impl Fn(Version) -> bool) -> usize {
    let history = store.history(key, 64).expect("a log in memory is read");
    history.iter().filter(|(_, record)| which(record.envelope().version)).count()
}

/// Where the first of these versions stands in a node's log.
fn came(store: &Store, key: &RecordKey, which: impl Fn(Version) -> bool) -> Option<u64> {
    let history = store.history(key, 64).expect("a log in memory is read");
    history.iter().filter(|(_, record)| which(record.envelope().version)).map(|(lsn, _)| *lsn).min()
}

/// Whether a parent can tell of all that its child holds what it should be.
fn knows_all(seat: &Seat, seats: &[Arc<Seat>], written: &Written<'_>) -> bool {
    // A version that was lost above is held below, where it may still join whom nothing else does. The same of a link that the root
    // wrote before it lost its disk; and a parent that lost its own does not take from a child what it does not know.
    let above_lost = |above: &Arc<Seat>| {
        above.member.path.contains(&seat.member.path)
            && above.place != seat.place
            && above.tampered.load(Ordering::Relaxed)
    };
    written.values().all(|one| !one.entry.lost) && !seats.iter().any(above_lost)
}

fn interests(
    seat: &Seat,
    seats: &[Arc<Seat>],
    (written, ledger): (&Written<'_>, &Ledger),
    held: &BySigner,
    wrong: &mut Vec<String>,
) {
    let (path, forged) = (&seat.member.path, ledger.forged());
    let above = seat.member.parent.and_then(|above| seats[above].live.lock().clone());
    let Some(above) = above.map(|above| above.store) else { return };
    let knows_all = knows_all(seat, seats, written);
    let above = Some(&above).filter(|_| !seats.iter().any(|seat| seat.tampered.load(Ordering::Relaxed)));
    let inside = |node: usize| path.contains(&seats[node].member.path);
    let wanted: BTreeSet<u8> =
        written.values().filter(|one| inside(one.node)).filter_map(|one| one.person).collect();
    // What was filed here before its hospital moved stays, and the first change to it, until it changes again.
    let left = |entry: &Entry| entry.ever.iter().any(|place| inside(*place));
    let held: BTreeMap<&RecordKey, &Record> = held.values().flatten().collect();
    // A node that forged a record keeps it, and nodes below get nothing better from it.
    let forged: BTreeSet<RecordKey> = forged
        .iter()
        .filter(|(place, _)| seats[*place].member.path.contains(path))
        .map(|(_, record)| record.key())
        .collect();
    let honest = |key: &RecordKey, one: &Current<'_>| {
        // Whose patient was forged away is of no concern to them either.
        let forged = forged.contains(key) || one.entry.about.is_some_and(|patient| forged.contains(&patient));
        !inside(one.node) && !one.entry.lost && !forged
    };
    for (key, one) in written.iter().filter(|(key, one)| honest(key, one)) {
        let there = held.get(key).copied();
        let patient = one.entry.about.unwrap_or(*key);
        let living = written.get(&patient).and_then(|patient| patient.person);
        let forgot = there.is_none() && forgot_what_was_left(seat, (key, one.entry), ledger);
        if living.is_some_and(|person| wanted.contains(&person)) && there != Some(one.record) && !forgot {
            let (has, is) = (there.map(|there| there.envelope().version), one.record.envelope().version);
            wrong.push(format!("{path} has an interest in {key} {is} and holds {has:?}"));
        }
        let Some(there) = there else { continue };
        if left(one.entry) {
            if there != one.record && knows_all {
                let (has, is) = (there.envelope().version, one.record.envelope().version);
                wrong.push(format!(
                    "{path} keeps {key} {has} of a hospital that moved away, which is {is} by now"
                ));
            }
            continue;
        }
        let told = person(one.entry, there).filter(|_| there != one.record);
        let same = |other: &(&RecordKey, &Current<'_>)| {
            let always = other.1.entry.tried.iter().all(|tried| tried.person == told);
            // Of what its hospital takes along when it moves away only the comparison finds that it is of no concern any more.
            let stayed = other.1.entry.ever.len() == 1;
            inside(other.1.node) && other.1.person == told && always && stayed
        };
        let since = |other: (&RecordKey, &Current<'_>)| came(above?, other.0, |_| true);
        // With several changes the last may find one before it untold and look no further: known, and not judged here.
        let newer = |version| version > there.envelope().version;
        let changed = above.filter(|above| versions(above, key, newer) == 1);
        let changed = changed.and_then(|above| came(above, key, newer));
        // Of changes while there is no interest nobody tells, nor when it comes again.
        if told.is_some() && written.iter().filter(same).filter_map(since).any(|since| Some(since) < changed)
        {
            wrong.push(format!("{path} still tells {key} {}, which has changed", there.envelope().version));
        }
        if knows_all && living.is_none_or(|person| !wanted.contains(&person)) {
            wrong.push(format!("{path} holds {key} and has no interest in it"));
        }
    }
}
