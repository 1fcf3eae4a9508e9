//! `tiermesh linkage evaluate` and `dry-run`: a population registered in file order, and what comes out.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Instant;

use linkage::evaluate::{Scores, score};
use linkage::linker::Place;
use linkage::{Features, Linker, Model, Outcome, Scorer};

use super::population::Population;
use super::{LinkageError, model, write};
use crate::commands::print_json;

/// Registers a population one by one in file order and measures the result; by truth.csv where there is one.
#[derive(Debug, clap::Args)]
pub struct Evaluate {
    /// Folder with registrations.csv (UTF-8; columns reg_id and name, and where there: county, reg_time, sex, birth_date, id_type,
    /// id_no, phone, address, ethnicity, contact_name, contact_relation), and truth.csv (reg_id, person_id) when it is known who is who.
    population: PathBuf,
    /// A model in a file, instead of the shipped one.
    #[arg(long)]
    model: Option<PathBuf>,
    /// Writes reg_id,cluster_id to this new file: registrations with one cluster_id are held to be one person.
    #[arg(long)]
    clusters: Option<PathBuf>,
    /// Also registers all a second time, answering every question to a human from truth.csv; adds the answered_ figures.
    #[arg(long)]
    answered: bool,
    /// One JSON object instead of lines.
    #[arg(long)]
    json: bool,
}

/// Lists the persons that another model would split or join.
#[derive(Debug, clap::Args)]
pub struct DryRun {
    /// Folder with registrations.csv.
    population: PathBuf,
    /// The model to try.
    #[arg(long)]
    model: PathBuf,
    /// The model in use, instead of the shipped one.
    #[arg(long)]
    instead_of: Option<PathBuf>,
    /// One JSON object instead of lines.
    #[arg(long)]
    json: bool,
}

/// What a run over a population gave.
struct Run {
    linker: Linker,
    outcomes: Vec<Outcome>,
    seconds: f64,
    p99_us: u128,
    questions: usize,
}

pub fn run(args: &Evaluate) -> Result<(), LinkageError> {
    let model = model(args.model.as_deref())?;
    let population = Population::read(&args.population)?;
    if args.answered && population.truth.is_none() {
        return Err(LinkageError::NoTruth);
    }
    if population.ids.is_empty() {
        return Err(LinkageError::Empty);
    }
    let run = register(&population, &model, None);
    if let Some(file) = &args.clusters {
        write(file, &clusters_csv(&population, &run.linker))?;
    }
    let answered = args.answered.then(|| register(&population, &model, population.truth.as_deref()));
    let figures = figures(&population, &run, answered.as_ref());
    if args.json {
        print_json(&figures);
    } else {
        for (name, value) in figures.as_object().into_iter().flatten() {
            println!("{name:<44} {value}");
        }
    }
    Ok(())
}

/// Registers everybody in order. With the truth, every question is answered at once.
fn register(population: &Population, model: &Model, truth: Option<&[String]>) -> Run {
    let mut linker = Linker::new(Scorer::new(model.clone()));
    let mut outcomes: Vec<Outcome> = Vec::with_capacity(population.ids.len());
    let mut taken: Vec<u128> = Vec::with_capacity(population.ids.len());
    let mut questions = 0;
    let start = Instant::now();
    for (registration, place) in &population.registrations {
        let before = Instant::now();
        let outcome = linker.register(Features::of(registration, place.as_ref()));
        taken.push(before.elapsed().as_micros());
        if let Some(truth) = truth.filter(|_| outcome.is_for_review()) {
            let doubtful = outcome.same.filter(|_| outcome.doubtful);
            for link in outcome.possible.iter().chain(doubtful.as_ref()) {
                questions += 1;
                let same = truth[outcome.place as usize] == truth[link.other as usize];
                linker.decide(outcome.place, link.other, same);
            }
        }
        outcomes.push(outcome);
    }
    // With the truth the time of answering is in it; without, it is reading and registering alone.
    let seconds = start.elapsed().as_secs_f64();
    taken.sort_unstable();
    let p99_us = taken.get(taken.len() * 99 / 100).copied().unwrap_or(0);
    Run { linker, outcomes, seconds, p99_us, questions }
}

fn clusters_csv(population: &Population, linker: &Linker) -> Vec<u8> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    let rows =
        population.ids.iter().cloned().zip(clusters(linker).into_iter().map(|cluster| cluster.to_string()));
    let header = [("reg_id".to_owned(), "cluster_id".to_owned())];
    for row in header.into_iter().chain(rows) {
        csv.write_record([row.0, row.1]).expect("writing to memory does not fail");
    }
    csv.into_inner().expect("writing to memory does not fail")
}

fn clusters(linker: &Linker) -> Vec<u32> {
    (0..linker.len()).map(|place| linker.person_of(place as Place)).collect()
}

fn figures(population: &Population, run: &Run, answered: Option<&Run>) -> serde_json::Value {
    let n = run.linker.len().max(1) as f64;
    let reviews = run.outcomes.iter().filter(|outcome| outcome.is_for_review()).count();
    let (keys, closed) = run.linker.keys();
    let mut figures = serde_json::json!({
        "registrations": run.linker.len(),
        "clusters": run.linker.persons(),
        "model": run.linker.scorer().model().version,
        "reviews_per_1000": reviews as f64 * 1000.0 / n,
        "registrations_per_s": (n / run.seconds.max(1e-9)).round(),
        "p99_us": run.p99_us as u64,
        "blocking_keys": keys,
        "blocking_keys_closed": closed,
    });
    let Some(truth) = &population.truth else { return figures };
    let found = clusters(&run.linker);
    let scores = score(truth, &found);
    for (name, value) in [
        ("precision", scores.precision),
        ("recall", scores.recall),
        ("f1", scores.f1),
        ("bcubed_precision", scores.bcubed_precision),
        ("bcubed_recall", scores.bcubed_recall),
        ("bcubed_f1", scores.bcubed_f1),
    ] {
        figures[name] = value.into();
    }
    figures["persons"] = scores.persons.into();
    figures["false_pairs"] = scores.false_pairs.into();
    figures["missed_pairs"] = scores.missed_pairs.into();
    let (own, any) = false_links_between_ids(population, truth, &run.linker, &found);
    figures["false_links_between_different_valid_ids"] = own.into();
    figures["false_links_with_anothers_card"] = (any - own).into();
    if let Some(answered) = answered {
        let scores: Scores = score(truth, &clusters(&answered.linker));
        let asked = answered.outcomes.iter().filter(|outcome| outcome.is_for_review()).count();
        figures["answered_f1"] = scores.f1.into();
        figures["answered_bcubed_f1"] = scores.bcubed_f1.into();
        figures["answered_reviews_per_1000"] = (asked as f64 * 1000.0 / n).into();
        figures["answered_questions"] = answered.questions.into();
    }
    figures
}

/// Pairs of different persons in one cluster with different valid resident IDs: those whose IDs are their own, and all, with those
/// where somebody else's card was shown (a child's guardian's).
fn false_links_between_ids(
    population: &Population,
    truth: &[String],
    linker: &Linker,
    found: &[u32],
) -> (usize, usize) {
    let mut members: HashMap<u32, Vec<usize>> = HashMap::new();
    for (place, cluster) in found.iter().enumerate() {
        members.entry(*cluster).or_default().push(place);
    }
    let (mut own, mut any) = (0, 0);
    for members in members.values() {
        for (at, a) in members.iter().enumerate() {
            for b in &members[at + 1..] {
                let (Some(one), Some(other)) = (&population.resident_ids[*a], &population.resident_ids[*b])
                else {
                    continue;
                };
                if one == other || truth[*a] == truth[*b] {
                    continue;
                }
                any += 1;
                let (one, other) = (linker.features(*a as Place), linker.features(*b as Place));
                own += usize::from(one.own_number().is_some() && other.own_number().is_some());
            }
        }
    }
    (own, any)
}

pub fn dry_run(args: &DryRun) -> Result<(), LinkageError> {
    let (new, old) = (model(Some(&args.model))?, model(args.instead_of.as_deref())?);
    let population = Population::read(&args.population)?;
    let before = persons(&register(&population, &old, None).linker);
    let after = persons(&register(&population, &new, None).linker);
    let ids = |places: &[usize]| -> Vec<&str> {
        places.iter().map(|place| population.ids[*place].as_str()).collect()
    };
    let mut changes = Vec::new();
    let mut registrations = 0;
    for person in &before.members {
        let mut now: Vec<usize> = person.iter().map(|place| after.of[*place]).collect();
        now.sort_unstable();
        now.dedup();
        // A person is one change, however many registrations it has.
        if now.len() > 1 || after.members[now[0]].len() != person.len() {
            let becomes: Vec<Vec<&str>> = now.iter().map(|person| ids(&after.members[*person])).collect();
            registrations += person.len();
            changes.push(serde_json::json!({ "person": ids(person), "becomes": becomes }));
        }
    }
    if args.json {
        print_json(&serde_json::json!({
            "registrations": population.ids.len(), "changed": registrations, "persons_changed": changes.len(), "changes": changes,
        }));
        return Ok(());
    }
    for change in &changes {
        println!("{} becomes {}", change["person"], change["becomes"]);
    }
    println!("{registrations} of {} registrations are of persons that would change", population.ids.len());
    Ok(())
}

/// Who is with whom: members by person, and the person of each registration.
struct Persons {
    members: Vec<Vec<usize>>,
    of: Vec<usize>,
}

fn persons(linker: &Linker) -> Persons {
    let mut place_of: HashMap<u32, usize> = HashMap::new();
    let mut persons = Persons { members: Vec::new(), of: Vec::new() };
    for (place, cluster) in clusters(linker).into_iter().enumerate() {
        let person = *place_of.entry(cluster).or_insert(persons.members.len());
        if person == persons.members.len() {
            persons.members.push(Vec::new());
        }
        persons.members[person].push(place);
        persons.of.push(person);
    }
    persons
}
