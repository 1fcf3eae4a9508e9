//! Explanations: why a pair has its weight, field by field, as people can check it.

use std::fmt;

use serde::Serialize;

use crate::compare::{COMPARISONS, Levels, MISSING};
use crate::features::Features;
use crate::linker::Linker;
use crate::model::{CLASSES, Class, Frequencies, Scorer, probability};

/// A pair's score taken apart, as the fields alone give it. Rules, human decisions, resident IDs that bar, and other registrations may
/// decide otherwise. Holds levels and weights, no value of a person.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    pub model_version: String,
    /// What the two most likely are, if not the same person; the fields' weights are against that.
    pub against: &'static str,
    /// Prior match weight: log2 of how much more often than `against` the same person is met, before anything is compared.
    pub expectation: f32,
    pub fields: Vec<Field>,
    /// log2 of what the other classes take away.
    pub others: f32,
    /// Sum of all: log2 of the odds that the two are the same person, by score alone.
    pub weight: f32,
    pub probability: f32,
}

/// What one field says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Field {
    pub comparison: &'static str,
    /// The comparison level, `missing` when there was nothing to compare.
    pub level: &'static str,
    /// Bits for (positive) or against the same person.
    pub weight: f32,
}

/// The fields of a pair as numbers: comparison and level, counted through the lists of the model's [form](crate::model::FORM), and bits
/// for or against; what is missing is left out.
pub fn numbers(linker: &Linker, a: &Features, b: &Features) -> Vec<(u8, u8, f32)> {
    let (levels, frequencies, score) = linker.compare(a, b);
    let (scorer, rival) = (linker.scorer(), score.rival());
    let told = levels.iter().enumerate().filter(|(_, level)| **level != MISSING);
    let weight = |place, level| {
        let log = |class| scorer.log(class, place, level, &frequencies);
        log(CLASSES[0]) - log(rival)
    };
    told.map(|(place, level)| (place as u8, *level, weight(place, *level))).collect()
}

impl Explanation {
    /// Explains two registrations as this linker compares them.
    pub fn of(linker: &Linker, a: &Features, b: &Features) -> Self {
        let (levels, frequencies, score) = linker.compare(a, b);
        let (rival, weight) = (score.rival(), score.weight());
        let scorer = linker.scorer();
        let fields = fields(scorer, &levels, &frequencies, rival);
        let told: f32 = fields.iter().map(|field| field.weight).sum();
        let against = score.classes[Class::Same as usize] - score.classes[rival as usize];
        Self {
            model_version: scorer.model().version.clone(),
            against: rival.name(),
            expectation: against - told,
            fields,
            others: weight - against,
            weight,
            probability: probability(weight),
        }
    }
}

pub(crate) fn fields(
    scorer: &Scorer,
    levels: &Levels,
    frequencies: &Frequencies,
    rival: Class,
) -> Vec<Field> {
    let field = |(place, level): (usize, &u8)| {
        let comparison = &COMPARISONS[place];
        let log = |class| scorer.log(class, place, *level, frequencies);
        let name = if *level == MISSING { "missing" } else { comparison.levels[usize::from(*level)] };
        Field { comparison: comparison.name, level: name, weight: log(CLASSES[0]) - log(rival) }
    };
    levels.iter().enumerate().map(field).collect()
}

/// A waterfall: a line a field, each with the sum so far.
impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sum = self.expectation;
        writeln!(f, "{:<34} {:>8} {:>8}", format!("same person or {}?", self.against), "bits", "sum")?;
        writeln!(f, "{:<34} {:>+8.1} {sum:>+8.1}", "prior", self.expectation)?;
        for field in &self.fields {
            sum += field.weight;
            let bar = "█".repeat((field.weight.abs() / 2.0).round().min(12.0) as usize);
            let name = format!("{:<11} {}", field.comparison, field.level);
            writeln!(f, "{name:<34} {:>+8.1} {sum:>+8.1}  {bar}", field.weight)?;
        }
        writeln!(f, "{:<34} {:>+8.1} {:>+8.1}", "other explanations", self.others, self.weight)?;
        write!(f, "probability {:.4}, model {}", self.probability, self.model_version)
    }
}
