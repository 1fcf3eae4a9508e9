//! What a parent gives back.

use store::bucket_of;

use super::*;
use crate::testing::{Writer, node};

/// A bucket of more keys than are looked at together, those of another subtree among them.
#[test]
fn all_that_a_child_lacks_of_a_large_bucket_is_given_back_and_nothing_else() {
    let (mut child, mut other) = (Writer::new(1, "530000/530100"), Writer::new(2, "530000/532900"));
    let mut records = child.introduction();
    records.extend(other.introduction());
    let bucket = 7;
    let mut of_child = Vec::new();
    for number in 0.. {
        let (mine, theirs) =
            (child.registration("H1", &number.to_string()), other.registration("H2", &number.to_string()));
        if bucket_of(&mine.key()) == bucket {
            of_child.push(mine.key());
            records.push(mine);
        }
        if bucket_of(&theirs.key()) == bucket {
            records.push(theirs);
        }
        if of_child.len() == 5 * PAGE {
            break;
        }
    }
    of_child.sort_unstable();
    let (store, directory) = node(&Writer::new(9, "530000"), records);
    let (view, subtree) = (directory.snapshot(), "530000/530100".parse().unwrap());
    let given = |there: &[RecordKey]| {
        let is_there = |key: &RecordKey, _| there.contains(key);
        let records = held_of(&store, &view, &subtree, &[bucket], &is_there).unwrap();
        records.iter().map(Record::key).collect::<Vec<_>>()
    };
    let (last, there) = of_child.split_last().unwrap();
    assert_eq!(given(there), [*last], "the last of the last page");
    assert_eq!(given(&[]), of_child);
    assert_eq!(given(&of_child), []);
}
