//! `tiermesh linkage`: trains, judges and explains the record linker on a population in files. Needs no running node.

mod evaluate;
mod explain;
mod population;
mod train;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use linkage::{Model, ModelError};

use super::{FAILED, fail};

pub use population::PopulationError;

/// Trains, judges and explains record linkage on populations in files.
#[derive(Debug, clap::Subcommand)]
pub enum Linkage {
    Train(train::Train),
    Evaluate(evaluate::Evaluate),
    Explain(explain::Explain),
    DryRun(evaluate::DryRun),
}

/// Why a command failed. Names files, columns and rows, never a value of a person.
#[derive(Debug, thiserror::Error)]
enum LinkageError {
    #[error(transparent)]
    Population(#[from] PopulationError),
    #[error("{0}: {1}")]
    File(PathBuf, std::io::Error),
    #[error("{0}: {1}; the model is not used")]
    Model(PathBuf, ModelError),
    #[error("the population has no registration with that reg_id: give two of registrations.csv")]
    NoSuchRegistration,
    #[error("the population has no registrations")]
    Empty,
    #[error("--answered needs truth.csv beside registrations.csv")]
    NoTruth,
    #[error("two registrations at least are needed to learn from")]
    TooFew,
}

pub fn run(command: &Linkage) -> ExitCode {
    let done = match command {
        Linkage::Train(args) => train::run(args),
        Linkage::Evaluate(args) => evaluate::run(args),
        Linkage::Explain(args) => explain::run(args),
        Linkage::DryRun(args) => evaluate::dry_run(args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, FAILED),
    }
}

/// The model in a file, or the shipped one.
fn model(file: Option<&Path>) -> Result<Model, LinkageError> {
    let Some(file) = file else { return Ok(Model::shipped()) };
    let text = std::fs::read_to_string(file).map_err(|error| LinkageError::File(file.into(), error))?;
    Model::from_json(&text).map_err(|error| LinkageError::Model(file.into(), error))
}

/// Writes a new file; one that is there already stays as it is, for it may be the population itself.
fn write(file: &Path, bytes: &[u8]) -> Result<(), LinkageError> {
    let create = std::fs::OpenOptions::new().write(true).create_new(true).open(file);
    create.and_then(|mut new| new.write_all(bytes)).map_err(|error| LinkageError::File(file.into(), error))
}
