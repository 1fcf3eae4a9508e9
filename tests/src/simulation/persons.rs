//! Links when the tree is quiet: every node's linker has joined exactly whom the hospitals said to be one person, and whatever link a
//! child holds, its parent holds just so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use model::body::{Kind, Registration};
use model::person_link::{Decided, End, Standing, joined};
use model::{NodePath, Record, RecordKey};

use super::down::{Written, current};
use super::ledger::Ledger;
use super::node::Seat;
use super::oracle::BySigner;

/// Compares the persons that each node's links make with those of the ledger.
pub fn check(seats: &[Arc<Seat>], ledger: &Ledger, held: &[BySigner], wrong: &mut Vec<String>) {
    let entries = ledger.entries();
    let written = current(&entries, seats, held);
    let tampered = seats.iter().any(|seat| seat.tampered.load(Ordering::Relaxed));
    let forged = ledger.forged();
    for seat in seats {
        // What a forger holds itself, and those below it, may be joined by what it forged.
        let path = &seat.member.path;
        if !forged.iter().any(|(place, _)| seats[*place].member.path.contains(path)) {
            linked(seat, seats, &written, &held[seat.place], wrong);
        }
        if !tampered && forged.is_empty() {
            told(seat, &held[seat.place], held, wrong);
        }
    }
}

/// Decisions about pairs, by the pair.
type Pairs = BTreeMap<(RecordKey, RecordKey), Vec<(Decided, Standing)>>;

fn pairs(seats: &[Arc<Seat>], written: &Written<'_>, held: &BySigner) -> Pairs {
    let mut pairs = Pairs::new();
    let writer = |key: &RecordKey| written.get(key).map(|one| &seats[one.node].member.path);
    for record in links(held) {
        let Ok(decided) = Decided::of(record) else { continue };
        let by = seats.iter().find(|seat| seat.member.origin == decided.by).map(|seat| &seat.member.path);
        let judge = writer(&decided.a.key).zip(writer(&decided.b.key)).and_then(|(a, b)| a.common(b));
        let depth = by.map_or(usize::MAX, NodePath::depth);
        let is_above = by.zip(judge.as_ref()).is_some_and(|(by, judge)| by.contains(judge));
        let standing = Standing { depth, is_judge: by.is_some() && judge.as_ref() == by, is_above };
        pairs.entry((decided.a.key, decided.b.key)).or_default().push((decided, standing));
    }
    pairs
}

fn links(held: &BySigner) -> impl Iterator<Item = &Record> {
    held.values().flat_map(BTreeMap::values).filter(|record| record.envelope().kind == Kind::Link as u32)
}

/// All registrations of the subtree that name one human being are connected by links, and by none to another.
fn linked(seat: &Seat, seats: &[Arc<Seat>], written: &Written<'_>, held: &BySigner, wrong: &mut Vec<String>) {
    let path = &seat.member.path;
    let here: BTreeMap<&RecordKey, &Record> = held.values().flatten().collect();
    let inside = |node: usize| path.contains(&seats[node].member.path);
    let mut ends: BTreeMap<RecordKey, (End, Option<u8>)> = BTreeMap::new();
    for (key, one) in written.iter().filter(|(_, one)| inside(one.node)) {
        // What is held is what was written: others look after that.
        if one.record.envelope().tombstone || here.get(key) != Some(&one.record) {
            continue;
        }
        let born_ms = one.record.decode_body::<Registration>().map_or(0, |body| body.born_ms);
        ends.insert(*key, (End { key: *key, born_ms }, one.person));
    }
    let mut label: BTreeMap<RecordKey, RecordKey> = ends.keys().map(|key| (*key, *key)).collect();
    for ((a, b), decided) in pairs(seats, written, held) {
        let (Some((end_a, one)), Some((end_b, other))) = (ends.get(&a), ends.get(&b)) else { continue };
        let living = decided.iter().filter(|(decided, _)| decided.a == *end_a && decided.b == *end_b);
        if joined(living.map(|(decided, standing)| (decided, *standing))) != Some(true) {
            continue;
        }
        if one != other || one.is_none() {
            let said = said(&decided, seats);
            wrong.push(format!("{path} joins {a} of {one:?} and {b} of {other:?}, by {said:?}"));
        }
        let (keep, drop) = (label[&a].min(label[&b]), label[&a].max(label[&b]));
        label.values_mut().filter(|label| **label == drop).for_each(|label| *label = keep);
    }
    let mut of_person: BTreeMap<u8, BTreeSet<RecordKey>> = BTreeMap::new();
    for (key, (_, person)) in &ends {
        if let Some(person) = person {
            of_person.entry(*person).or_default().insert(label[key]);
        }
    }
    for (person, parts) in of_person.iter().filter(|(_, parts)| parts.len() > 1) {
        let writer = |key: &RecordKey| &seats[written[key].node].member.path;
        let about = |part: &RecordKey| {
            let of_part =
                pairs(seats, written, held).into_iter().filter(|((a, b), _)| a == part || b == part);
            let decisions: Vec<_> = of_part.map(|(_, decided)| said(&decided, seats)).collect();
            format!("{part} at {}, {decisions:?}", writer(part))
        };
        let parts: Vec<String> = parts.iter().map(about).collect();
        wrong.push(format!("{path} holds person {person} in {} parts: {parts:?}", parts.len()));
    }
}

/// Who said what of a pair.
fn said(decided: &[(Decided, Standing)], seats: &[Arc<Seat>]) -> Vec<String> {
    let path =
        |one: &Decided| seats.iter().find(|seat| seat.member.origin == one.by).map(|seat| &seat.member.path);
    decided.iter().map(|(one, _)| format!("{:?} {:?}", path(one), one.decision)).collect()
}

/// Whatever links a child holds from above, its parent holds just so.
fn told(seat: &Seat, here: &BySigner, held: &[BySigner], wrong: &mut Vec<String>) {
    let Some(parent) = seat.member.parent else { return };
    let above: BTreeMap<RecordKey, &Record> =
        links(&held[parent]).map(|record| (record.key(), record)).collect();
    for link in links(here) {
        if above.get(&link.key()) != Some(&link) {
            wrong.push(format!("{} holds link {}, its parent another or none", seat.member.path, link.key()));
        }
    }
}
