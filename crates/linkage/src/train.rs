//! Training: probabilities of the levels, learned from a population without knowing who is who.
//!
//! u of strangers comes from pairs picked by fixed strides; u of twins and namesakes from pairs whose resident IDs tell what they
//! are; m and u of households from expectation maximisation (Winkler 2000) over the pairs that blocking proposes, starting from
//! such pairs. The same number or document is the same person; another number with the same birth date and telephone or mother is
//! a twin, with a telephone or a house in common a household, with name and birth date in common a namesake. How identifiers and
//! the names of newborns agree is set by hand (`beforehand`): it stays so for strangers, twins and namesakes, and is where the
//! others start.

use std::collections::{BTreeMap, HashMap};

use crate::block;
use crate::compare::{
    AddressLevel, BirthLevel, COMPARISONS, ContactLevel, IdentifierLevel, Levels, MISSING, NameLevel,
    PhoneLevel, compare, field,
};
use crate::features::Features;
use crate::index::BlockingIndex;
use crate::model::{CLASSES, Class, FORM, Frequencies, Model, Probabilities, Scorer};

/// Rounds of expectation maximisation; it settles in about ten.
const ROUNDS: usize = 15;
/// Random pairs for strangers, per registration.
const STRANGERS: usize = 10;
/// Share of persons who are one of twins: 16.4 to 18.8 of 1,000 births in China 2007–2014 were multiple (Deng et al., BMC Pregnancy
/// Childbirth 2019), two children each; fewer among those born before.
const TWINS: f64 = 0.015;
/// Pairs added to each level's count in proportion to what is known of it otherwise, so that nothing is impossible.
const PRIOR: f64 = 4.0;

/// Identifiers that tell the same person.
const SAME_NUMBER: [u8; 3] = [
    IdentifierLevel::Same as u8,
    IdentifierLevel::SamePerhapsAnothers as u8,
    IdentifierLevel::DocumentSame as u8,
];

/// Pairs that agree alike, and how many there are.
///
/// In order, so that the sums are the same in every run.
type Patterns = BTreeMap<(Levels, i8), f64>;

type Counts = [Vec<Vec<f64>>; CLASSES.len()];

/// Learns a model from a population; thresholds come from `base`.
pub fn train(features: &[Features], base: &Model, version: &str, source: &str) -> Model {
    let patterns = patterns(features);
    let mut model = Model { form: FORM, version: version.into(), source: source.into(), ..base.clone() };
    let strangers = strangers(features);
    let known = labelled(&patterns);
    model.probabilities[Class::Stranger as usize] = normalise(&strangers, &even());
    let floor = model.probabilities[Class::Stranger as usize].clone();
    for class in [Class::Same, Class::Household, Class::Twin, Class::Namesake] {
        model.probabilities[class as usize] = normalise(&known[class as usize], &floor);
    }
    beforehand(&mut model);
    let registrations = features.len() as f64;
    for _ in 0..ROUNDS {
        let (counts, totals) = expect(&patterns, &Scorer::new(model.clone()), registrations as f32);
        for class in [Class::Same, Class::Household] {
            model.probabilities[class as usize] = normalise(&counts[class as usize], &floor);
            model.expected[class as usize] = (totals[class as usize] / registrations).max(1e-4);
        }
        // Twins and namesakes are too few to be told apart from the rest without their identifiers; those say how many there are.
        let told = total(&known, Class::Same) / totals[Class::Same as usize].max(1.0);
        for class in [Class::Twin, Class::Namesake] {
            model.expected[class as usize] =
                (total(&known, class) / told.max(0.05) / registrations).max(1e-4);
        }
        // Children are the ones without numbers, so twins are told too seldom: at least as many as are born.
        let born = model.expected[Class::Same as usize] * TWINS;
        model.expected[Class::Twin as usize] = model.expected[Class::Twin as usize].max(born);
    }
    model
}

/// Pairs that blocking proposes, by how they agree and how common the name is (log2 of its share).
fn patterns(features: &[Features]) -> Patterns {
    let mut index = BlockingIndex::default();
    let mut names: HashMap<u64, u32> = HashMap::new();
    for of in features {
        if let Some(key) = block::name_key(&of.name) {
            *names.entry(key).or_default() += 1;
        }
    }
    // Nobody is known to be anybody yet.
    let everybody: Vec<u32> = (0..features.len() as u32).collect();
    let mut patterns = Patterns::new();
    for (place, of) in features.iter().enumerate() {
        let keys = block::keys(of);
        let common = block::name_key(&of.name).and_then(|key| names.get(&key)).copied().unwrap_or(1);
        // Persons register two or three times: a share of registrations overstates by that.
        let share = (f64::from(common) / 2.5).max(1.0) / features.len() as f64;
        for other in index.candidates(&keys) {
            let levels = compare(of, &features[other as usize]);
            *patterns.entry((levels, share.log2().round() as i8)).or_default() += 1.0;
        }
        index.insert(&keys, place as u32, &everybody);
    }
    patterns
}

fn strangers(features: &[Features]) -> Vec<Vec<f64>> {
    let mut counts = zeros();
    // A fixed stride stands for randomness: the crate draws none, and the population is in no order that matters.
    let n = features.len();
    for (place, of) in features.iter().enumerate() {
        for draw in 1..=STRANGERS {
            let other = (place + draw * 7919 + draw * draw * 104_729) % n.max(1);
            let levels = compare(of, &features[other]);
            let same_number = SAME_NUMBER.contains(&levels[field::IDENTIFIER])
                || levels[field::IDENTIFIER] == IdentifierLevel::SameOfAnother as u8;
            if other != place && !same_number {
                add(&mut counts, &levels, 1.0);
            }
        }
    }
    counts
}

/// Counts of the pairs whose identifiers tell what they are.
fn labelled(patterns: &Patterns) -> Counts {
    let mut counts: Counts = std::array::from_fn(|_| zeros());
    for ((levels, _), count) in patterns {
        let is = |place: usize, level: u8| levels[place] == level;
        let born_together = is(field::BIRTH, BirthLevel::Same as u8);
        let phone = is(field::PHONE, PhoneLevel::Same as u8);
        let class = if SAME_NUMBER.contains(&levels[field::IDENTIFIER]) {
            Class::Same
        } else if !is(field::IDENTIFIER, IdentifierLevel::Different as u8) {
            continue;
        } else if born_together && (phone || is(field::CONTACT, ContactLevel::MotherSame as u8)) {
            Class::Twin
        } else if phone || is(field::ADDRESS, AddressLevel::House as u8) {
            Class::Household
        } else if born_together && levels[field::NAME] <= NameLevel::SoundsSame as u8 {
            Class::Namesake
        } else {
            continue;
        };
        add(&mut counts[class as usize], levels, *count);
    }
    counts
}

/// Labelled pairs of a class; each has an identifier level.
fn total(counts: &Counts, class: Class) -> f64 {
    counts[class as usize][field::IDENTIFIER].iter().sum()
}

/// What labels by identifiers cannot tell: how identifiers themselves agree, and how the names of newborns do, who have none.
fn beforehand(model: &mut Model) {
    let same = [0.91, 0.05, 0.005, 0.03, 0.004, 0.0005, 0.0005, 0.01, 0.002, 0.90, 0.06, 0.04];
    let other = [1e-6, 1e-6, 0.004, 0.0001, 0.0005, 0.88, 0.05, 0.03, 0.03, 1e-5, 0.001, 0.998];
    let relative = [1e-5, 2e-4, 0.02, 0.0004, 0.004, 0.88, 0.03, 0.04, 0.02, 1e-4, 0.004, 0.995];
    let identifier = |levels: &[f64]| scaled(COMPARISONS[field::IDENTIFIER].first_part, levels);
    model.probabilities[Class::Same as usize][field::IDENTIFIER] = identifier(&same);
    for class in [Class::Household, Class::Twin] {
        model.probabilities[class as usize][field::IDENTIFIER] = identifier(&relative);
    }
    for class in [Class::Namesake, Class::Stranger] {
        model.probabilities[class as usize][field::IDENTIFIER] = identifier(&other);
    }
    // same mother, numbered as another twin, another mother
    let newborn = [
        (Class::Same, [0.97, 0.001, 0.029]),
        (Class::Household, [0.4, 0.02, 0.58]),
        (Class::Twin, [0.5, 0.49, 0.01]),
        (Class::Namesake, [0.02, 0.001, 0.979]),
        (Class::Stranger, [1e-4, 1e-5, 0.99989]),
    ];
    for (class, levels) in newborn {
        let name = &mut model.probabilities[class as usize][field::NAME];
        name.truncate(COMPARISONS[field::NAME].first_part);
        name.extend(levels);
    }
}

/// The expectation step: pairs shared out over the classes by how likely each is, counted by level.
fn expect(patterns: &Patterns, scorer: &Scorer, registrations: f32) -> (Counts, [f64; CLASSES.len()]) {
    let mut counts: Counts = std::array::from_fn(|_| zeros());
    let mut totals = [0.0; CLASSES.len()];
    for ((levels, share), count) in patterns {
        let frequencies =
            Frequencies { name: f32::from(*share).exp2(), phone: 0.0, place: 0.0, county: 0.0, twin: false };
        let score = scorer.score(levels, &frequencies, registrations / 5.0);
        let most = score.classes.iter().copied().fold(f32::MIN, f32::max);
        let weights = score.classes.map(|class| f64::from((class - most).exp2()));
        let sum: f64 = weights.iter().sum();
        for class in CLASSES {
            let part = count * weights[class as usize] / sum;
            add(&mut counts[class as usize], levels, part);
            totals[class as usize] += part;
        }
    }
    (counts, totals)
}

fn add(counts: &mut [Vec<f64>], levels: &Levels, count: f64) {
    for (comparison, level) in levels.iter().enumerate() {
        if *level != MISSING {
            counts[comparison][usize::from(*level)] += count;
        }
    }
}

fn normalise(counts: &[Vec<f64>], prior: &Probabilities) -> Probabilities {
    COMPARISONS
        .iter()
        .zip(counts.iter().zip(prior))
        .map(|(comparison, (levels, prior))| {
            let smoothed: Vec<f64> =
                levels.iter().zip(prior).map(|(count, prior)| count + PRIOR * prior + 0.05).collect();
            scaled(comparison.first_part, &smoothed)
        })
        .collect()
}

/// Divided by their sum, each part by its own.
fn scaled(first_part: usize, levels: &[f64]) -> Vec<f64> {
    let (first, second) = levels.split_at(first_part);
    let part = |levels: &[f64]| -> Vec<f64> {
        let sum: f64 = levels.iter().sum();
        levels.iter().map(|level| level / sum).collect()
    };
    [part(first), part(second)].concat()
}

fn zeros() -> Vec<Vec<f64>> {
    COMPARISONS.iter().map(|comparison| vec![0.0; comparison.levels.len()]).collect()
}

fn even() -> Probabilities {
    COMPARISONS
        .iter()
        .map(|comparison| scaled(comparison.first_part, &vec![1.0; comparison.levels.len()]))
        .collect()
}
