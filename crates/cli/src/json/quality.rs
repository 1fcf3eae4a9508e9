//! How good the persons of a node are, as JSON.

use model::RecordKey;
use serde::Serialize;
use wire::v1;

#[derive(Serialize)]
pub(crate) struct Quality {
    pub model: String,
    pub counted_ms: u64,
    pub registrations: u64,
    pub persons: u64,
    pub registrations_per_person: f64,
    pub sizes: Vec<Size>,
    pub largest_person: u64,
    pub joined_by_rule: u64,
    pub joined_by_score: u64,
    pub joined_by_human: u64,
    pub suspended: u64,
    pub backlog: Backlog,
    pub suspects: Vec<Suspects>,
    pub strata: Vec<Stratum>,
    pub missed: u64,
    pub least_answers: u64,
    /// Null: too few answers.
    pub precision: Option<Share>,
    pub recall: Option<Share>,
    pub drift: Vec<Drift>,
}

#[derive(Serialize)]
pub(crate) struct Size {
    /// Null: no bound.
    pub up_to: Option<u32>,
    pub persons: u64,
}

#[derive(Serialize)]
pub(crate) struct Backlog {
    pub waiting: u64,
    pub aged: u64,
    pub over_1_day: u64,
    pub over_7_days: u64,
    pub over_30_days: u64,
    pub oldest_ms: u64,
}

#[derive(Serialize)]
pub(crate) struct Suspects {
    pub contradiction: String,
    pub persons: u64,
    pub examples: Vec<String>,
}

#[derive(Serialize)]
pub(crate) struct Stratum {
    pub name: String,
    pub pairs: u64,
    pub answered: u64,
    pub same: u64,
    pub open: u64,
}

#[derive(Serialize)]
pub(crate) struct Share {
    pub value: f64,
    pub low: f64,
    pub high: f64,
}

#[derive(Serialize)]
pub(crate) struct Drift {
    pub comparison: String,
    pub pairs: u64,
    pub index: f64,
}

impl From<v1::GetQualityReply> for Quality {
    fn from(quality: v1::GetQualityReply) -> Self {
        let share = |share: v1::Share| Share { value: share.value, low: share.low, high: share.high };
        Self {
            model: quality.model,
            counted_ms: quality.counted_ms,
            registrations: quality.registrations,
            persons: quality.persons,
            registrations_per_person: quality.registrations as f64 / quality.persons.max(1) as f64,
            sizes: quality.sizes.into_iter().map(Size::from).collect(),
            largest_person: quality.largest_person,
            joined_by_rule: quality.joined_by_rule,
            joined_by_score: quality.joined_by_score,
            joined_by_human: quality.joined_by_human,
            suspended: quality.suspended,
            backlog: Backlog::from(quality.backlog.unwrap_or_default()),
            suspects: quality.suspects.into_iter().map(Suspects::from).collect(),
            strata: quality.strata.into_iter().map(Stratum::from).collect(),
            missed: quality.missed,
            least_answers: quality.least_answers,
            precision: quality.precision.map(share),
            recall: quality.recall.map(share),
            drift: quality.drift.into_iter().map(Drift::from).collect(),
        }
    }
}

impl From<v1::PersonsOfSize> for Size {
    fn from(size: v1::PersonsOfSize) -> Self {
        Self { up_to: Some(size.up_to).filter(|up_to| *up_to > 0), persons: size.persons }
    }
}

impl From<v1::ReviewBacklog> for Backlog {
    fn from(backlog: v1::ReviewBacklog) -> Self {
        Self {
            waiting: backlog.waiting,
            aged: backlog.aged,
            over_1_day: backlog.over_1_day,
            over_7_days: backlog.over_7_days,
            over_30_days: backlog.over_30_days,
            oldest_ms: backlog.oldest_ms,
        }
    }
}

impl From<v1::Suspects> for Suspects {
    fn from(suspects: v1::Suspects) -> Self {
        let key = |bytes: &bytes::Bytes| RecordKey::try_from(&bytes[..]).ok().map(|key| key.to_string());
        Self {
            contradiction: suspects.contradiction,
            persons: suspects.persons,
            examples: suspects.examples.iter().filter_map(key).collect(),
        }
    }
}

impl From<v1::Stratum> for Stratum {
    fn from(stratum: v1::Stratum) -> Self {
        Self {
            name: stratum.name,
            pairs: stratum.pairs,
            answered: stratum.answered,
            same: stratum.same,
            open: stratum.open,
        }
    }
}

impl From<v1::ComparisonDrift> for Drift {
    fn from(drift: v1::ComparisonDrift) -> Self {
        Self { comparison: drift.comparison, pairs: drift.pairs, index: drift.index }
    }
}
