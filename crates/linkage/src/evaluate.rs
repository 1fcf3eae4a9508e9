//! How good a clustering is, when the truth is known: pairs and B-cubed (Bagga and Baldwin 1998).

use std::collections::HashMap;
use std::hash::Hash;

/// Scores of a clustering against the truth; shares are between 0 and 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    pub registrations: usize,
    pub persons: usize,
    pub clusters: usize,
    pub true_pairs: u64,
    pub false_pairs: u64,
    pub missed_pairs: u64,
    pub precision: f64,
    pub recall: f64,
    pub f1: f64,
    pub bcubed_precision: f64,
    pub bcubed_recall: f64,
    pub bcubed_f1: f64,
}

/// Scores clusters, given for each registration, against persons, given in the same order.
pub fn score<P: Hash + Eq, C: Hash + Eq>(persons: &[P], clusters: &[C]) -> Scores {
    let mut by_person: HashMap<&P, u64> = HashMap::new();
    let mut by_cluster: HashMap<&C, u64> = HashMap::new();
    let mut by_both: HashMap<(&P, &C), u64> = HashMap::new();
    for (person, cluster) in persons.iter().zip(clusters) {
        *by_person.entry(person).or_default() += 1;
        *by_cluster.entry(cluster).or_default() += 1;
        *by_both.entry((person, cluster)).or_default() += 1;
    }
    let pairs = |count: &u64| count * (count - 1) / 2;
    let found: u64 = by_both.values().map(pairs).sum();
    let linked: u64 = by_cluster.values().map(pairs).sum();
    let true_pairs: u64 = by_person.values().map(pairs).sum();
    let n = persons.len().min(clusters.len()) as f64;
    let mut bcubed = (0.0, 0.0);
    for ((person, cluster), count) in &by_both {
        let square = (count * count) as f64;
        bcubed.0 += square / by_cluster[cluster] as f64;
        bcubed.1 += square / by_person[person] as f64;
    }
    let (precision, recall) = (share(found as f64, linked as f64), share(found as f64, true_pairs as f64));
    let (bcubed_precision, bcubed_recall) = (share(bcubed.0, n), share(bcubed.1, n));
    Scores {
        registrations: persons.len(),
        persons: by_person.len(),
        clusters: by_cluster.len(),
        true_pairs,
        false_pairs: linked - found,
        missed_pairs: true_pairs - found,
        precision,
        recall,
        f1: harmonic(precision, recall),
        bcubed_precision,
        bcubed_recall,
        bcubed_f1: harmonic(bcubed_precision, bcubed_recall),
    }
}

/// Nothing out of nothing is all of it.
fn share(part: f64, whole: f64) -> f64 {
    if whole == 0.0 { 1.0 } else { part / whole }
}

fn harmonic(a: f64, b: f64) -> f64 {
    if a + b == 0.0 { 0.0 } else { 2.0 * a * b / (a + b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_of_a_small_clustering() {
        // Persons a a a b b, clusters 1 1 2 2 3: of four true pairs one is found, and one linked pair is false.
        let scores = score(&["a", "a", "a", "b", "b"], &[1, 1, 2, 2, 3]);
        assert_eq!((scores.true_pairs, scores.false_pairs, scores.missed_pairs), (4, 1, 3));
        assert!((scores.precision - 0.5).abs() < 1e-9 && (scores.recall - 0.25).abs() < 1e-9);
        assert!((scores.f1 - 1.0 / 3.0).abs() < 1e-9);
        // By hand: precision (1+1+½+½+1)/5, recall (⅔+⅔+⅓+½+½)/5.
        assert!((scores.bcubed_precision - 0.8).abs() < 1e-9);
        assert!((scores.bcubed_recall - (2.0 / 3.0 + 2.0 / 3.0 + 1.0 / 3.0 + 1.0) / 5.0).abs() < 1e-9);
    }

    #[test]
    fn perfect_and_empty() {
        let scores = score(&["a", "b", "a"], &[7, 8, 7]);
        assert!(scores.f1 > 0.999 && scores.bcubed_f1 > 0.999 && scores.false_pairs == 0);
        assert!(score::<u8, u8>(&[], &[]).f1 > 0.999);
    }
}
