//! `tiermesh linkage train`: a model learned from populations, without their truth.

use std::path::PathBuf;

use super::population::Population;
use super::{LinkageError, model, write};

/// Learns a model from populations, without looking at their truth, and writes it to a file.
#[derive(Debug, clap::Args)]
pub struct Train {
    /// Folders with registrations.csv; their persons must be different ones.
    #[arg(required = true)]
    populations: Vec<PathBuf>,
    /// The file to write the model to; it must not be there yet.
    #[arg(long)]
    out: PathBuf,
    /// The version of the model that explanations show, such as cn-2026.2.
    #[arg(long)]
    name: String,
    /// Where it came from, for people.
    #[arg(long, default_value = "")]
    source: String,
}

pub fn run(args: &Train) -> Result<(), LinkageError> {
    let mut features = Vec::new();
    for folder in &args.populations {
        features.extend(Population::read(folder)?.features());
    }
    if features.len() < 2 {
        return Err(LinkageError::TooFew);
    }
    let learned = linkage::train::train(&features, &model(None)?, &args.name, &args.source);
    learned.validate().map_err(|error| LinkageError::Model(args.out.clone(), error))?;
    let text = serde_json::to_string_pretty(&learned).expect("a model is plain data");
    write(&args.out, (text + "\n").as_bytes())?;
    println!("learned from {} registrations: {}", features.len(), args.out.display());
    Ok(())
}
