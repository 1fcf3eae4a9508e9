//! How good an index is, told without knowing the truth: contradictions inside a person, drift against the model, and precision and
//! recall from pairs that humans looked at.

use std::ops::RangeInclusive;

use crate::compare::{BirthLevel, COMPARISONS, IdentifierLevel, Levels, MISSING, NameLevel, SexLevel, field};
use crate::model::{Class, Model};

/// What contradicts in two registrations of one person, by name.
pub const CONTRADICTIONS: [&str; 4] = ["resident_id", "name", "birth_date", "sex"];

/// Which of [`CONTRADICTIONS`] two registrations show: different valid resident IDs, names that have nothing in common, birth dates that
/// are no slip of each other, sexes. One alone may be a slip or a changed name; two make a wrong join likely.
pub fn contradictions(levels: &Levels) -> [bool; CONTRADICTIONS.len()] {
    let birth = levels[field::BIRTH];
    [
        levels[field::IDENTIFIER] == IdentifierLevel::Different as u8,
        levels[field::NAME] == NameLevel::Different as u8,
        birth == BirthLevel::Different as u8 || birth == BirthLevel::NotYetBorn as u8,
        levels[field::SEX] == SexLevel::Different as u8,
    ]
}

/// Most levels of a comparison.
const MAX_LEVELS: usize = 16;

/// How often pairs of one person reach each comparison level.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Drift {
    counts: [[u64; MAX_LEVELS]; COMPARISONS.len()],
}

/// How far one comparison is from what the model learned.
#[derive(Debug, Clone, PartialEq)]
pub struct ComparisonDrift {
    pub comparison: &'static str,
    /// Pairs in which both have the value.
    pub pairs: u64,
    /// Population stability index, sum over levels of (observed - expected) * ln(observed / expected): up to 0.1 is steady, above 0.25
    /// (Siddiqi 2006) something else than what was learned.
    pub index: f64,
}

impl Drift {
    pub fn add(&mut self, levels: &Levels) {
        for (counts, level) in self.counts.iter_mut().zip(levels) {
            if *level != MISSING {
                counts[usize::from(*level)] += 1;
            }
        }
    }

    /// Against the m probabilities of a model. Shares of levels are smoothed by half a pair, so that none is infinitely far.
    pub fn against(&self, model: &Model) -> Vec<ComparisonDrift> {
        let expected = &model.probabilities[Class::Same as usize];
        let of = |place: usize| {
            let comparison = &COMPARISONS[place];
            let counts = &self.counts[place][..comparison.levels.len()];
            let pairs: u64 = counts.iter().sum();
            // Probabilities add up to one in each part: what decides between the parts is what is there, which the model does not tell.
            let (first, second) = counts.split_at(comparison.first_part);
            let (m_first, m_second) = expected[place].split_at(comparison.first_part);
            let parts = [(first, m_first), (second, m_second)];
            let index = parts.map(|(counts, m)| {
                counts.iter().sum::<u64>() as f64 / pairs.max(1) as f64 * stability(counts, m)
            });
            ComparisonDrift { comparison: comparison.name, pairs, index: index.iter().sum() }
        };
        (0..COMPARISONS.len()).map(of).collect()
    }
}

fn stability(counts: &[u64], expected: &[f64]) -> f64 {
    let all = counts.iter().sum::<u64>() as f64;
    let smooth = |share: f64| (share * all + 0.5) / (all + 0.5 * counts.len() as f64);
    let terms = counts.iter().zip(expected).map(|(count, m)| {
        let (observed, expected) = (smooth(*count as f64 / all.max(1.0)), smooth(*m));
        (observed - expected) * (observed / expected).ln()
    });
    terms.sum()
}

/// Pairs that the linker holds alike, some of which humans were asked about.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Stratum {
    /// Whether its pairs are joined.
    pub joined: bool,
    pub pairs: u64,
    /// Of its sample: how many are answered, and how many of these are one person.
    pub answered: u64,
    pub same: u64,
}

/// A share between 0 and 1, with its 95 % interval.
#[derive(Debug, Clone, PartialEq)]
pub struct Estimate {
    pub value: f64,
    pub interval: RangeInclusive<f64>,
}

/// Fewest answers of a stratum from which anything is estimated.
pub const LEAST_ANSWERS: u64 = 10;

/// Precision of the joined pairs: of each stratum the share that humans hold to be one person, weighed by its pairs (Cochran 1977, 5.3).
/// None before each stratum that has pairs has [`LEAST_ANSWERS`], or as many as it has pairs.
pub fn precision(strata: &[Stratum]) -> Option<Estimate> {
    let joined: Vec<Stratum> = strata.iter().copied().filter(|stratum| stratum.joined).collect();
    let all: u64 = joined.iter().map(|stratum| stratum.pairs).sum();
    let (same, variance) = one_person(&joined)?;
    (all > 0).then(|| estimate(same / all as f64, variance.sqrt() / all as f64))
}

/// Recall among the pairs that the linker proposed and those that `missed` humans joined without it: what it never held possible nobody
/// counts. None as for [`precision`].
pub fn recall(strata: &[Stratum], missed: u64) -> Option<Estimate> {
    let (joined, apart): (Vec<Stratum>, Vec<Stratum>) = strata.iter().partition(|stratum| stratum.joined);
    let ((found, found_variance), (left, left_variance)) = (one_person(&joined)?, one_person(&apart)?);
    let left = left + missed as f64;
    let all = found + left;
    // Of found / (found + left), by the delta method.
    let variance = (left * left * found_variance + found * found * left_variance) / all.powi(4);
    (all > 0.0).then(|| estimate(found / all, variance.sqrt()))
}

/// Pairs of these strata that are one person, and the variance of that.
fn one_person(strata: &[Stratum]) -> Option<(f64, f64)> {
    let (mut same, mut variance) = (0.0, 0.0);
    for stratum in strata.iter().filter(|stratum| stratum.pairs > 0) {
        let (pairs, answered) = (stratum.pairs as f64, stratum.answered as f64);
        if stratum.answered < LEAST_ANSWERS.min(stratum.pairs) {
            return None;
        }
        same += pairs * stratum.same as f64 / answered;
        // Agresti and Coull's (1998) two more of each, or a sample without an error would leave no doubt at all.
        let share = (stratum.same as f64 + 2.0) / (answered + 4.0);
        let rest = 1.0 - answered / pairs;
        variance += pairs * pairs * rest.max(0.0) * share * (1.0 - share) / (answered + 4.0);
    }
    Some((same, variance))
}

fn estimate(value: f64, deviation: f64) -> Estimate {
    Estimate { value, interval: (value - 1.96 * deviation).max(0.0)..=(value + 1.96 * deviation).min(1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stratum(joined: bool, pairs: u64, answered: u64, same: u64) -> Stratum {
        Stratum { joined, pairs, answered, same }
    }

    #[test]
    fn strata_weigh_as_many_as_they_are() {
        let strata = [stratum(true, 900, 20, 20), stratum(true, 100, 20, 10), stratum(false, 200, 20, 5)];
        let precision = precision(&strata).unwrap();
        assert!((precision.value - 0.95).abs() < 1e-9, "{precision:?}");
        assert!(*precision.interval.start() < 0.95 && *precision.interval.start() > 0.8, "{precision:?}");
        // 950 found, 50 among the possible, and 50 that humans found by themselves.
        let recall = recall(&strata, 50).unwrap();
        assert!((recall.value - 950.0 / 1050.0).abs() < 1e-9, "{recall:?}");
        assert!(recall.interval.contains(&recall.value) && *recall.interval.end() < 1.0, "{recall:?}");
    }

    #[test]
    fn without_answers_nothing_is_claimed() {
        assert_eq!(precision(&[stratum(true, 900, 20, 20), stratum(true, 100, 9, 9)]), None);
        assert_eq!(precision(&[]), None);
        assert_eq!(recall(&[stratum(true, 900, 20, 20), stratum(false, 30, 0, 0)], 0), None);
        let all_answered = precision(&[stratum(true, 3, 3, 3)]).unwrap();
        assert_eq!(all_answered, Estimate { value: 1.0, interval: 1.0..=1.0 });
    }

    #[test]
    fn what_the_model_learned_is_no_drift_and_another_mix_is() {
        let model = Model::shipped();
        let mut drift = Drift::default();
        let empty = drift.against(&model);
        assert!(empty.iter().all(|one| one.pairs == 0 && one.index.abs() < 1e-9), "{empty:?}");
        for (place, counts) in drift.counts.iter_mut().enumerate() {
            for (level, m) in model.probabilities[Class::Same as usize][place].iter().enumerate() {
                counts[level] = (m * 10_000.0).round() as u64;
            }
        }
        assert!(drift.against(&model).iter().all(|one| one.index < 0.01), "{:?}", drift.against(&model));
        drift.counts[field::PHONE].swap(0, 2);
        let moved = drift.against(&model);
        assert!(moved[field::PHONE].index > 0.25 && moved[field::NAME].index < 0.01, "{moved:?}");
    }

    #[test]
    fn only_what_is_plainly_different_contradicts() {
        let mut levels = [MISSING; COMPARISONS.len()];
        assert_eq!(contradictions(&levels), [false; 4]);
        levels[field::NAME] = NameLevel::SurnameSame as u8;
        levels[field::BIRTH] = BirthLevel::TwoYears as u8;
        levels[field::SEX] = SexLevel::Different as u8;
        assert_eq!(contradictions(&levels), [false, false, false, true]);
        levels[field::IDENTIFIER] = IdentifierLevel::Different as u8;
        levels[field::BIRTH] = BirthLevel::NotYetBorn as u8;
        assert_eq!(contradictions(&levels), [true, false, true, true]);
    }
}
