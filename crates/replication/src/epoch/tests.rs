//! The table of the module's head line by line, and lineages made at random.

use model::OriginId;
use proptest::prelude::*;

use super::*;
use crate::testing::{epoch_entry, path, trust_domain};

/// `"1 2 3'"`: a chain of epochs, ascending; a prime makes another id. Each begins ten seqs after the one before.
fn chain(text: &str) -> Vec<EpochEntry> {
    let mut entries: Vec<EpochEntry> = Vec::new();
    for word in text.split_whitespace() {
        let counter: u32 = word.trim_end_matches('\'').parse().unwrap();
        let tag = counter as u8 * 10 + u8::from(word.ends_with('\''));
        let previous = match entries.last() {
            Some(before) => before.epoch_id.to_vec(),
            None if counter > 1 => vec![(counter as u8 - 1) * 10; 16],
            None => Vec::new(),
        };
        entries.push(epoch_entry(counter, tag, &previous, u64::from(counter - 1) * 10));
    }
    entries
}

fn hello(mut epochs: Vec<EpochEntry>, last_seq: u64) -> Hello {
    epochs.reverse();
    Hello {
        protocols: vec![1],
        direction: model::feed::Direction::Up,
        path: path("530000/532900"),
        origin: OriginId([1; 16]),
        trust_domain: trust_domain(),
        generation: [0; 16],
        head: 0,
        epochs,
        began: Vec::new(),
        last_seq,
        now_ms: 0,
        software: String::new(),
        introduction: Vec::new(),
    }
}

fn id(tag: u8) -> EpochId {
    EpochId([tag; 16])
}

#[test]
fn the_table() {
    let restore =
        |known_epoch, known_seq, announced| EpochVerdict::RestoreNeeded { known_epoch, known_seq, announced };
    let epoch = |counter, seq| Announced::Epoch { counter, seq };
    let fenced = |counter, tag| EpochVerdict::Fenced { counter, known: id(tag) };
    // known, last seq applied, announced, live, verdict
    let table = [
        ("", 0, "", None, EpochVerdict::Admit),
        ("", 0, "1 2 3", None, EpochVerdict::Admit),
        ("1 2", 17, "", None, restore(2, 17, Announced::Nothing)),
        ("1 2 3", 0, "1 2", None, restore(3, 20, epoch(2, 99))),
        ("1 2", 0, "1 2", None, EpochVerdict::Admit),
        ("1 2", 0, "1 2'", None, fenced(2, 20)),
        ("1 2 3", 0, "1 2' 3", None, fenced(2, 20)),
        ("1 2 3", 0, "1 2'", None, fenced(2, 20)),
        ("1 2", 0, "1 2' 3", None, fenced(2, 20)),
        ("1 2", 20, "1 2 3", None, EpochVerdict::Admit),
        ("1 2", 20, "1 2 3 4 5", None, EpochVerdict::Admit),
        ("1 2", 21, "1 2 3", None, restore(2, 21, epoch(3, 20))),
        ("1 2", 21, "1 2 3 4", None, restore(2, 21, epoch(3, 20))),
        // The list does not reach back to what is known here.
        ("1 2", 20, "3 4", None, EpochVerdict::Admit),
        ("1 2'", 20, "3 4", None, fenced(2, 21)),
        ("1 2", 40, "5 6", None, EpochVerdict::Admit),
        ("1 2", 41, "5 6", None, restore(2, 41, epoch(5, 40))),
        // Somebody is connected.
        ("1 2", 0, "1 2", Some(20), EpochVerdict::Replace),
        ("1 2", 20, "1 2 3", Some(20), EpochVerdict::AlreadyConnected { live: id(20) }),
        ("1 2", 0, "1 2'", Some(20), fenced(2, 20)),
        ("1 2", 0, "1", Some(20), restore(2, 10, epoch(1, 99))),
        ("1 2", 5, "", Some(20), restore(2, 10, Announced::Nothing)),
    ];
    for (known, known_seq, announced, live, verdict) in table {
        let found = admit_epochs(&chain(known), known_seq, &hello(chain(announced), 99), live.map(id));
        assert_eq!(found, verdict, "known {known:?} to {known_seq}, announced {announced:?}, live {live:?}");
    }
}

#[test]
fn what_is_no_chain_is_malformed() {
    let mut gap = chain("1 2 3 4");
    gap.remove(2);
    let mut unlinked = chain("1 2 3");
    unlinked[1].epoch_id = vec![7; 16].into();
    let mut backwards = chain("1 2 3");
    backwards[1].base_seq = 999;
    let mut short_id = chain("1");
    short_id[0].epoch_id = vec![1; 15].into();
    let mut first_follows = chain("1");
    first_follows[0].previous_epoch_id = vec![1; 16].into();
    let mut zero = chain("1");
    zero[0].counter = 0;
    for bad in [gap, unlinked, backwards, short_id, first_follows, zero] {
        let verdict = admit_epochs(&[], 0, &hello(bad.clone(), 99), None);
        assert!(matches!(verdict, EpochVerdict::Malformed(_)), "{bad:?}: {verdict:?}");
    }
}

#[test]
fn an_epoch_fits_beside_its_neighbours_in_any_order() {
    let all = chain("1 2 3 4");
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]] {
        let mut known: Vec<EpochEntry> = Vec::new();
        for at in order {
            assert_eq!(fits(&known, &all[at]), Ok(()), "{order:?} {at}");
            known.push(all[at].clone());
            known.sort_by_key(|entry| entry.counter);
        }
    }
    let known = chain("1 2");
    assert_eq!(fits(&known, &chain("1 2'")[1]), Err(EpochMisfit::Fenced));
    assert_eq!(fits(&known, &chain("1 2' 3")[2]), Err(EpochMisfit::NotASuccessor));
    let mut early = chain("1 2 3")[2].clone();
    early.base_seq = 9;
    assert_eq!(fits(&known, &early), Err(EpochMisfit::NotASuccessor));
}

#[test]
fn a_seq_belongs_to_the_epoch_that_was_open() {
    let known = chain("1 2 4");
    for (counter, seq, covered) in [
        (1, 1, Some(true)),
        (1, 10, Some(true)),
        (1, 11, Some(false)),
        (2, 10, Some(false)),
        (2, 11, Some(true)),
        (2, 31, Some(false)),
        (4, 1_000_000, Some(true)),
        (3, 25, None),
    ] {
        assert_eq!(covers(&known, counter, seq), covered, "{counter} {seq}");
    }
}

/// A machine: its epochs and its last seq. Copies of it share a history up to the copy.
#[derive(Debug, Clone, Default)]
struct Machine {
    epochs: Vec<EpochEntry>,
    seq: u64,
}

#[derive(Debug, Clone)]
enum Step {
    /// Machine starts, writes so many records, connects.
    Run { machine: usize, writes: u64, connects: bool },
    /// Machine becomes a copy of another one.
    Copy { from: usize, to: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let run = (0..3usize, 0..4u64, any::<bool>()).prop_map(|(machine, writes, connects)| Step::Run {
        machine,
        writes,
        connects,
    });
    let copy = (0..3usize, 0..3usize).prop_map(|(from, to)| Step::Copy { from, to });
    proptest::collection::vec(prop_oneof![4 => run, 1 => copy], 1..40)
}

impl Machine {
    fn start(&mut self, tag: u8) {
        let previous = self.epochs.last().map(|last| last.epoch_id.to_vec()).unwrap_or_default();
        let counter = self.epochs.len() as u32 + 1;
        self.epochs.push(epoch_entry(counter, tag, &previous, self.seq));
        // Opening an epoch is a commit.
        self.seq += 1;
    }

    /// Everything written, as (epoch id, seq) by seq: what makes two histories the same.
    fn history(&self) -> Vec<(u8, u64)> {
        (1..=self.seq)
            .filter_map(|seq| {
                let epoch = self.epochs.iter().rev().find(|epoch| epoch.base_seq < seq)?;
                Some((epoch.epoch_id[0], seq))
            })
            .collect()
    }
}

proptest! {
    /// Whoever is admitted has all that the parent ever applied, and the node itself is always admitted.
    #[test]
    fn only_a_continuation_of_what_was_applied_is_admitted(steps in steps()) {
        let mut machines = vec![Machine::default(); 3];
        // What the parent has applied, and the epochs that it knows.
        let (mut applied, mut known): (Vec<(u8, u64)>, Vec<EpochEntry>) = (Vec::new(), Vec::new());
        let mut tag = 0u8;
        for step in steps {
            match step {
                Step::Copy { from, to } => machines[to] = machines[from].clone(),
                Step::Run { machine, writes, connects } => {
                    tag += 1;
                    let machine = &mut machines[machine];
                    machine.start(tag);
                    machine.seq += writes;
                    if !connects {
                        continue;
                    }
                    let known_seq = applied.last().map_or(0, |(_, seq)| *seq);
                    let verdict = admit_epochs(&known, known_seq, &hello(machine.epochs.clone(), machine.seq), None);
                    let continues = machine.history().starts_with(&applied);
                    prop_assert_eq!(verdict == EpochVerdict::Admit, continues, "{:?}", verdict);
                    if continues {
                        applied = machine.history();
                        for entry in &machine.epochs {
                            prop_assert_eq!(fits(&known, entry), Ok(()));
                        }
                        known.clone_from(&machine.epochs);
                    }
                }
            }
        }
    }
}
