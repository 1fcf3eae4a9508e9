//! `tiermesh linkage explain`: why two registrations of a population are held to be one person, or are not.

use std::path::PathBuf;

use linkage::linker::Place;
use linkage::{Explanation, Linker, Scorer};

use super::population::Population;
use super::{LinkageError, model};
use crate::commands::print_json;

/// Shows field by field how two registrations compare, after all of the population was registered, and whether they ended as one
/// person. A rule (same document and name), a different resident ID or other registrations may outweigh the fields.
#[derive(Debug, clap::Args)]
pub struct Explain {
    /// Folder with registrations.csv.
    population: PathBuf,
    /// reg_id of one registration.
    a: String,
    /// reg_id of the other.
    b: String,
    /// A model in a file, instead of the shipped one.
    #[arg(long)]
    model: Option<PathBuf>,
    /// One JSON object instead of lines.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Explain) -> Result<(), LinkageError> {
    let model = model(args.model.as_deref())?;
    let population = Population::read(&args.population)?;
    let place =
        |id: &str| population.place(id).map(|place| place as Place).ok_or(LinkageError::NoSuchRegistration);
    let (a, b) = (place(&args.a)?, place(&args.b)?);
    let mut linker = Linker::new(Scorer::new(model));
    for features in population.features() {
        linker.register(features);
    }
    let explanation = Explanation::of(&linker, &linker.features(a), &linker.features(b));
    let same = linker.person_of(a) == linker.person_of(b);
    if args.json {
        let mut value = serde_json::to_value(&explanation).expect("an explanation is plain data");
        value["same_person"] = same.into();
        print_json(&value);
    } else {
        println!("{explanation}");
        println!("{}", if same { "held to be one person" } else { "held to be two persons" });
    }
    Ok(())
}
