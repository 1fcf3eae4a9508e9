//! What is told and what is retracted because of the records of one slice.

use super::*;
use crate::testing::Writer;

#[test]
fn of_what_a_slice_tells_and_retracts_the_last_word_counts() {
    let mut writer = Writer::new(1, "530000/532900");
    let (one, two) = (writer.registration("H1", "P1"), writer.registration("H1", "P2"));
    let name = |record: &Record| (record.key(), record.envelope().version);
    let mut selected = Selected::default();
    selected.retract_also(vec![name(&one), name(&two)]);
    selected.tell_also(one.clone());
    assert_eq!(
        (selected.records.clone(), selected.retractions.clone()),
        (vec![one.clone()], vec![name(&two)])
    );
    selected.retract_also(vec![name(&one)]);
    assert_eq!((selected.records.clone(), selected.retractions.len()), (vec![], 2));
    // A later version follows the one that is retracted: the child may forget that.
    let later = writer.registration("H1", "P2");
    assert_eq!(later.key(), two.key());
    selected.tell_also(later.clone());
    selected.retract_also(vec![name(&two)]);
    assert_eq!((selected.records, selected.retractions.len()), (vec![later], 3));
}
