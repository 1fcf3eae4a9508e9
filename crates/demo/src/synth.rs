//! A synthetic population of Yunnan: invented persons with real counties, registering at simulated hospitals, with the flaws
//! that real registrations have and the truth beside them. Deterministic by seed, of any size, in bounded memory.
//!
//! [`Population`] yields registrations in order of arrival; [`documents_for`] makes what a registration leads to;
//! [`csv`] reads and writes population files; [`write()`] is `tiermesh synth`.
//!
//! How it is drawn, bottom-up: [`regions`] is the real tree; `places` adds what is known of its people; `households` draws
//! who lives together and when they go to hospital; `register` counts once and gives out resident IDs; `family` names
//! people and gives them homes and telephones; `clerk` writes a visit down, with flaws; `population` does so in order.
//!
//! What it does not do: model illness, death or migration between visits, or update a registration once made.

pub mod chance;
mod clerk;
pub mod csv;
mod day;
mod documents;
mod facility;
mod family;
mod households;
mod misspellings;
mod names;
mod notes;
mod numbers;
mod output;
mod places;
mod population;
pub mod regions;
mod register;
mod tables;
mod tags;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use model::RegionCode;
use model::body::Registration;

pub use day::{Day, Moment};
pub use documents::{SyntheticDocument, document, documents_for};
pub use facility::{Facilities, Facility, FacilityError};
pub use numbers::{resident_id, social_credit_code};
pub use output::{Meta, write};
pub use population::{Options, Population};
pub use regions::{Region, Tier, Tree};
pub use register::{MAX_PERSONS, Totals};
pub use tags::{Tag, Tags};

/// A registration as a hospital sends it, and who it is really about.
#[derive(Debug, Clone, PartialEq)]
pub struct SyntheticRegistration {
    pub facility: Arc<Facility>,
    pub arrived: Moment,
    /// As for the wire; `number` and `born_ms` are the node's to fill.
    pub registration: Registration,
    /// For judging. None when read from a file without its truth.
    pub truth: Option<Truth>,
}

/// Who a registration is about, and what was done to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Truth {
    pub person: u64,
    pub household: u64,
    pub tags: Tags,
}

/// What can go wrong with a population. No variant carries a value of a registration.
#[derive(Debug, thiserror::Error)]
pub enum SynthError {
    #[error("a population has 1 to {MAX_PERSONS} persons, not {0}")]
    Persons(u64),
    #[error("noise is a number from 0 to 5")]
    Noise,
    #[error("{0} is not a county of the tree")]
    UnknownCounty(RegionCode),
    #[error(transparent)]
    Facility(#[from] FacilityError),
    #[error("line {line}: {problem}")]
    Row { line: u64, problem: csv::Problem },
    #[error("the file has no column {0}")]
    NoColumn(&'static str),
    #[error("cannot read or write the population")]
    Io(#[from] io::Error),
    #[error("cannot write {path}")]
    Write { path: PathBuf, source: io::Error },
}

#[cfg(test)]
mod tests;
