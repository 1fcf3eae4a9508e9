//! Joins that contradict what humans separated (design.md, *Identity*: decisions apply strongest first, and a link that would join a
//! separated pair is suspended).

use std::collections::BTreeMap;

use super::{Decided, Standing};
use crate::RecordKey;

/// A join that would make one person of two registrations that a human separated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contradiction {
    pub join: Decided,
    /// Whom it would bring together, those separated among them. Whoever sees all of these sees the contradiction.
    pub members: Vec<RecordKey>,
}

/// Takes the joins of a person, each by the decision that counts for its pair, strongest first, and answers those that would bring together
/// two that are to stay `apart`. Answers the same in whatever order they are given. Quadratic in the separated pairs, of which a
/// person has few.
pub fn contradictions(joins: &[(Decided, Standing)], apart: &[[RecordKey; 2]]) -> Vec<Contradiction> {
    let mut joins: Vec<&(Decided, Standing)> = joins.iter().collect();
    joins.sort_by(|(one, of_one), (other, of_other)| {
        let (strength, of_other) = (one.strength(*of_one), other.strength(*of_other));
        strength.cmp(&of_other).then((one.a, one.b).cmp(&(other.a, other.b)))
    });
    let (mut group_of, mut groups) = (BTreeMap::<RecordKey, usize>::new(), Vec::<Vec<RecordKey>>::new());
    let mut found = Vec::new();
    for (join, _) in joins {
        let [a, b] = [join.a.key, join.b.key].map(|key| {
            *group_of.entry(key).or_insert_with(|| {
                groups.push(vec![key]);
                groups.len() - 1
            })
        });
        if a == b {
            continue;
        }
        let crosses = |pair: &[RecordKey; 2]| {
            let at = pair.each_ref().map(|key| group_of.get(key).copied());
            at == [Some(a), Some(b)] || at == [Some(b), Some(a)]
        };
        if apart.iter().any(crosses) {
            let members = groups[a].iter().chain(&groups[b]).copied().collect();
            found.push(Contradiction { join: *join, members });
            continue;
        }
        let moved = std::mem::take(&mut groups[b]);
        group_of.extend(moved.iter().map(|key| (*key, a)));
        groups[a].extend(moved);
    }
    found
}

#[cfg(test)]
mod tests;
