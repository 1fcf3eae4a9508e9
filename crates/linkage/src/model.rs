//! The model: what every comparison level says about whether two registrations are the same human being.
//!
//! Fellegi and Sunter's (1969) match weights, with one difference. Theirs hold agreement against chance: m is the probability of a
//! level among registrations of one person, u among those of two. But two people who share a telephone, an address and a contact
//! do so because they are a family, not by four coincidences; a model of one u joins brothers. So here the pairs that are not the
//! same person are of four kinds, each with its own u: members of a **household**, **twins**, **namesakes** with the same birth date, and
//! **strangers**. A pair's weight holds "the same" against all of them, each as often as it is to be expected.

use serde::{Deserialize, Serialize};

use crate::compare::{AddressLevel, COMPARISONS, Levels, MISSING, NameLevel, PhoneLevel, PlaceLevel, field};

/// What two registrations may be to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    Same = 0,
    Household = 1,
    Twin = 2,
    Namesake = 3,
    Stranger = 4,
}

/// All classes, in the order in which the model keeps them.
pub const CLASSES: [Class; 5] =
    [Class::Same, Class::Household, Class::Twin, Class::Namesake, Class::Stranger];

impl Class {
    pub fn name(self) -> &'static str {
        ["same", "household", "twin", "namesake", "stranger"][self as usize]
    }
}

/// Version of the form of a model; another one is refused.
pub const FORM: u32 = 1;

/// The probabilities of a class: one list per comparison, one number per level.
pub type Probabilities = Vec<Vec<f64>>;

/// Most levels of a comparison.
const MAX_LEVELS: usize = 16;

/// The least probability of a level: rarer ones are not learned from any population, and nothing must be impossible.
const LEAST: f64 = 1e-9;

/// A model, as it is stored and shipped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Model {
    pub form: u32,
    /// Names this model in explanations and records.
    pub version: String,
    /// How it came about, for people.
    pub source: String,
    /// Probabilities of the levels by class: m of `same`, u of the others.
    pub probabilities: [Probabilities; CLASSES.len()],
    /// How many registrations of each class one registration meets in a full index; of strangers that is the index itself.
    pub expected: [f64; CLASSES.len() - 1],
    /// Probability from which two registrations are linked, and from which they are shown to a human.
    pub same_from: f32,
    pub possible_from: f32,
    /// Probability from which a link is made without a human being asked to look at it.
    pub sure_from: f32,
}

/// Why a model is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    #[error("the model file is not of form {FORM}, the only one that this release reads")]
    Form,
    #[error("the model lacks probabilities of comparison {0}")]
    Comparison(&'static str),
    #[error("the probabilities of comparison {0} are not all between 1e-9 and 1, or do not add up to 1")]
    Probability(&'static str),
    #[error("the model's expectations must be between 1e-9 and 1000")]
    Expected,
    #[error(
        "the model's thresholds must be ordered: 1e-6 <= possible_from <= same_from <= sure_from < 1, same_from 0.5 at least"
    )]
    Thresholds,
    #[error("not a model: {0}")]
    Json(String),
}

impl Model {
    /// The model that is shipped. See `data/README.md` for what it learned from.
    pub fn shipped() -> Self {
        Self::from_json(include_str!("../data/model.json")).expect("the shipped model is valid")
    }

    pub fn from_json(text: &str) -> Result<Self, ModelError> {
        // Where it stops being one is told, never what stands there: the file may be any.
        let told = |error: serde_json::Error| {
            ModelError::Json(format!("line {}, column {}", error.line(), error.column()))
        };
        let model: Self = serde_json::from_str(text).map_err(told)?;
        model.validate()?;
        Ok(model)
    }

    pub fn validate(&self) -> Result<(), ModelError> {
        if self.form != FORM {
            return Err(ModelError::Form);
        }
        for class in &self.probabilities {
            if class.len() > COMPARISONS.len() {
                return Err(ModelError::Form);
            }
            for (place, comparison) in COMPARISONS.iter().enumerate() {
                let levels = class.get(place).filter(|levels| levels.len() == comparison.levels.len());
                let levels = levels.ok_or(ModelError::Comparison(comparison.name))?;
                let parts = levels.split_at(comparison.first_part);
                let adds_up = |part: &[f64]| part.is_empty() || (part.iter().sum::<f64>() - 1.0).abs() < 1e-3;
                if !levels.iter().all(|p| *p >= LEAST && *p < 1.0) || !adds_up(parts.0) || !adds_up(parts.1) {
                    return Err(ModelError::Probability(comparison.name));
                }
            }
        }
        if !self.expected.iter().all(|expected| *expected >= LEAST && *expected < 1000.0) {
            return Err(ModelError::Expected);
        }
        let ordered = 1e-6 <= self.possible_from
            && 0.5 <= self.same_from
            && self.possible_from <= self.same_from
            && self.same_from <= self.sure_from
            && self.sure_from < 1.0;
        if ordered { Ok(()) } else { Err(ModelError::Thresholds) }
    }
}

/// How common the values are on which two registrations agree (term frequencies): name and telephone as shares of persons, place and
/// county as shares of registrations.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Frequencies {
    /// Of the name as it sounds.
    pub name: f32,
    /// Of the telephone number.
    pub phone: f32,
    /// Of the county of the institution, or of its prefecture where only that agrees; 0 when not known. A county's own node has
    /// nobody from elsewhere, so there the same place says nothing.
    pub place: f32,
    /// Of the county of the address; 0 when not known.
    pub county: f32,
    /// Whether one of the two is said to be one of several children of a birth: then the other child is as likely to be met.
    pub twin: bool,
}

impl Frequencies {
    /// Whether strangers reach this level as often as the value is common.
    pub(crate) fn asked(comparison: usize, level: u8) -> bool {
        match comparison {
            // Two who sound alike, or whose mothers do.
            field::NAME => [NameLevel::Same, NameLevel::SoundsSame, NameLevel::NewbornSameMother]
                .iter()
                .any(|asked| *asked as u8 == level),
            field::PHONE => level == PhoneLevel::Same as u8,
            field::PLACE => level <= PlaceLevel::SamePrefecture as u8,
            field::ADDRESS => level < AddressLevel::Elsewhere as u8,
            _ => false,
        }
    }
}

/// A model made ready for scoring.
#[derive(Debug, Clone)]
pub struct Scorer {
    model: Model,
    /// log2 of the probabilities; places beyond a comparison's last level are not used.
    logs: [[[f32; MAX_LEVELS]; COMPARISONS.len()]; CLASSES.len()],
    expected: [f32; CLASSES.len() - 1],
    /// How often two strangers' addresses are in one county, where the model was learned.
    same_county: f32,
}

/// What the classes say about a pair: log2 of expectation times probability.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    pub classes: [f32; CLASSES.len()],
}

impl Score {
    /// log2 of the odds that the two are the same person.
    pub fn weight(self) -> f32 {
        let against: f32 = self.classes[1..].iter().map(|log| log.exp2()).sum();
        self.classes[0] - against.max(f32::MIN_POSITIVE).log2()
    }

    /// The likeliest of the classes that are not the same person.
    pub fn rival(self) -> Class {
        let best = (1..CLASSES.len()).max_by(|a, b| self.classes[*a].total_cmp(&self.classes[*b]));
        CLASSES[best.unwrap_or(Class::Stranger as usize)]
    }
}

/// Probability for a weight in bits.
pub fn probability(weight: f32) -> f32 {
    1.0 / (1.0 + (-weight).exp2())
}

impl Scorer {
    pub fn new(model: Model) -> Self {
        let mut logs = [[[0.0; MAX_LEVELS]; COMPARISONS.len()]; CLASSES.len()];
        for (class, comparisons) in model.probabilities.iter().enumerate() {
            for (comparison, levels) in comparisons.iter().enumerate() {
                for (level, probability) in levels.iter().enumerate() {
                    logs[class][comparison][level] = (*probability as f32).log2();
                }
            }
        }
        let expected = model.expected.map(|expected| (expected as f32).log2());
        let same_county = model.probabilities[Class::Stranger as usize][field::ADDRESS]
            [..AddressLevel::Elsewhere as usize]
            .iter()
            .sum::<f64>() as f32;
        Self { model, logs, expected, same_county }
    }

    pub fn model(&self) -> &Model {
        &self.model
    }

    /// log2 of the probability of a level in a class.
    pub fn log(&self, class: Class, comparison: usize, level: u8, frequencies: &Frequencies) -> f32 {
        if level == MISSING {
            return 0.0;
        }
        let log = self.logs[class as usize][comparison][usize::from(level)];
        if class != Class::Stranger {
            return log;
        }
        match comparison {
            _ if !Frequencies::asked(comparison, level) => log,
            field::NAME => frequencies.name.log2(),
            field::PHONE => frequencies.phone.max(log.exp2()).log2(),
            field::PLACE if frequencies.place > 0.0 => frequencies.place.log2(),
            field::ADDRESS if frequencies.county > 0.0 => {
                log + (frequencies.county / self.same_county).log2()
            }
            _ => log,
        }
    }

    /// Scores a pair in an index of `persons` persons.
    pub fn score(&self, levels: &Levels, frequencies: &Frequencies, persons: f32) -> Score {
        let mut classes = [persons.max(1.0).log2(); CLASSES.len()];
        classes[..CLASSES.len() - 1].copy_from_slice(&self.expected);
        if frequencies.twin {
            classes[Class::Twin as usize] = self.expected[Class::Same as usize];
        }
        for class in CLASSES {
            for (comparison, level) in levels.iter().enumerate() {
                classes[class as usize] += self.log(class, comparison, *level, frequencies);
            }
        }
        Score { classes }
    }
}
