//! Which joins give way.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::body::{LinkBasis, LinkDecision, LinkLayer};
use crate::person_link::End;
use crate::{OriginId, RecordId};

fn key(of: u8) -> RecordKey {
    RecordKey::of(1, OriginId([1; 16]), RecordId([of; 16]))
}

/// A join by a human, or by a machine with a weight; none of two registrations that are the same.
fn join(one: u8, other: u8, human: bool, weight: i32) -> Option<(Decided, Standing)> {
    let (a, b) = (key(one).min(key(other)), key(one).max(key(other)));
    let decided = Decided {
        a: End { key: a, born_ms: 1 },
        b: End { key: b, born_ms: 1 },
        origins: [OriginId([1; 16]); 2],
        layer: if human { LinkLayer::Human } else { LinkLayer::Machine },
        decision: LinkDecision::Same,
        basis: if human { LinkBasis::Human } else { LinkBasis::Score },
        weight_millibits: weight,
        doubtful: false,
        by: OriginId([2; 16]),
    };
    (a != b).then_some((decided, Standing { depth: 1, is_judge: true, is_above: true }))
}

fn ends(of: &[Contradiction]) -> BTreeSet<[RecordKey; 2]> {
    of.iter().map(|one| [one.join.a.key, one.join.b.key]).collect()
}

fn pair(one: u8, other: u8) -> [RecordKey; 2] {
    [key(one).min(key(other)), key(one).max(key(other))]
}

#[test]
fn the_weakest_join_between_two_who_are_apart_gives_way() {
    let joins: Vec<_> =
        [join(1, 2, true, 0), join(2, 3, false, 9), join(3, 4, false, 5), join(4, 5, false, 7)]
            .into_iter()
            .flatten()
            .collect();
    let found = contradictions(&joins, &[pair(1, 5)]);
    assert_eq!(ends(&found), BTreeSet::from([pair(3, 4)]));
    assert_eq!(found[0].members.iter().copied().collect::<BTreeSet<_>>(), (1..=5).map(key).collect());
    assert_eq!(contradictions(&joins, &[pair(1, 6)]), [], "nobody who is not joined");
    let found = contradictions(&joins, &[pair(1, 5), pair(4, 5)]);
    assert_eq!(ends(&found), BTreeSet::from([pair(4, 5)]), "one may settle both");
}

/// Whom each registration is with over these joins, but for those left out.
fn connected(
    joins: &[(Decided, Standing)],
    but: &BTreeSet<[RecordKey; 2]>,
    from: RecordKey,
) -> BTreeSet<RecordKey> {
    let mut met = BTreeSet::from([from]);
    loop {
        let before = met.len();
        for (join, _) in joins.iter().filter(|(join, _)| !but.contains(&[join.a.key, join.b.key])) {
            if met.contains(&join.a.key) || met.contains(&join.b.key) {
                met.extend([join.a.key, join.b.key]);
            }
        }
        if met.len() == before {
            return met;
        }
    }
}

proptest! {
    /// Nobody who is apart stays together, none gives way that need not, and the order in which links came makes no difference.
    #[test]
    fn what_gives_way_is_enough_and_no_more(
        joins in prop::collection::vec((1u8..8, 1u8..8, any::<bool>(), 0i32..5), 0..14),
        apart in prop::collection::vec((1u8..8, 1u8..8), 0..4),
        turn in 0usize..14,
    ) {
        let mut all: Vec<_> = joins.iter().filter_map(|(a, b, human, weight)| join(*a, *b, *human, *weight)).collect();
        let mut seen = BTreeSet::new();
        all.retain(|(join, _)| seen.insert([join.a.key, join.b.key]));
        let apart: Vec<_> = apart.iter().filter(|(a, b)| a != b).map(|(a, b)| pair(*a, *b)).collect();
        let found = ends(&contradictions(&all, &apart));
        for [one, other] in &apart {
            prop_assert!(!connected(&all, &found, *one).contains(other));
        }
        for join in &found {
            let mut without = found.clone();
            without.remove(join);
            let together = |[one, other]: &[RecordKey; 2]| connected(&all, &without, *one).contains(other);
            prop_assert!(apart.iter().any(together), "{join:?} need not give way");
        }
        if !all.is_empty() {
            let turn = turn % all.len();
            all.rotate_left(turn);
        }
        prop_assert_eq!(ends(&contradictions(&all, &apart)), found);
    }
}
