//! What the ledger knows of versions that went with a disk.

use model::RecordId;

use super::*;

const PLACE: usize = 3;

fn version(seq: u64) -> Version {
    Version { term: 1, epoch: 1, seq }
}

fn wanted(marker: &str) -> Wanted {
    Wanted { marker: marker.into(), withdrawn: false, person: None }
}

/// A ledger with one record, acknowledged by the node at [`PLACE`].
fn ledger() -> (Ledger, RecordKey) {
    let (ledger, institution) = (Ledger::default(), OriginId([7; 16]));
    ledger.homes(|homes| homes.first(institution, PLACE, 0));
    let key = RecordKey::of(Kind::DocumentEntry as u32, institution, RecordId::of(&[b"D1"]));
    ledger.begin(institution, (key, None), wanted("one"));
    ledger.acknowledged(Some(PLACE), key, version(5), wanted("one"));
    (ledger, key)
}

#[test]
fn only_a_writer_that_was_set_back_with_its_note_writes_versions_again() {
    for (set_back, violations) in [(PLACE, 0), (PLACE + 1, 1)] {
        let (ledger, key) = ledger();
        ledger.branches(set_back);
        ledger.acknowledged(Some(PLACE), key, version(4), wanted("two"));
        assert_eq!(ledger.violations().len(), violations, "{set_back}");
    }
}

#[test]
fn a_version_that_only_its_writer_had_goes_with_its_disk() {
    let (ledger, key) = ledger();
    // Another document replaced it: nobody was told of this version.
    let held = ledger.held_by(PLACE, |_| Some(version(9)));
    assert_eq!(held, Held::from([(key, version(9))]));
    assert_eq!(ledger.held_by(PLACE + 1, |_| Some(version(9))), Held::new());
    ledger.lose(&held, |_, _| Some(version(9)));
    assert!(!ledger.entries()[&key].lost, "a node above has it");
    ledger.lose(&held, |_, _| Some(version(5)));
    assert!(ledger.entries()[&key].lost);
    ledger.acknowledged(Some(PLACE), key, version(10), wanted("two"));
    assert!(!ledger.entries()[&key].lost, "what is written again comes everywhere");
}
