//! `tiermesh demo`: the main job on one machine, with everything that happens said.
//!
//! A tree of real processes; hospitals register a population at its counties and submit documents; a county is killed and
//! started again on the way; replication is watched until the province holds everything; then a doctor in one county finds
//! and fetches a document made in a county of another prefecture, and every acknowledged registration is asked back.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cli::client::Client;
use model::query::{DocumentQuery, DocumentsOf, LocalPatient, PatientBy, PatientQuery, QueryContext, Reach};
use model::{NodePath, Version};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use serde::Serialize;
use tokio::task::JoinSet;

use crate::agree;
use crate::case::{Case, documents_of};
use crate::endure::{self, Course, Province};
use crate::load::{Hospitals, Item, Ledger, PatientKey};
use crate::synth::{self, Facilities, SyntheticRegistration, Tree};
use crate::tree::{LocalTree, Plan, Settings, TreeError};

/// How long the province may take to catch up after the last acknowledgement.
const CATCH_UP: Duration = Duration::from_secs(600);

/// Counties of the largest tree.
const ALL_COUNTIES: usize = 129;
/// How long a whole province is kept busy.
const PROVINCE_LASTS: Duration = Duration::from_secs(600);

/// Shows the mesh at work on this machine: a tree of nodes, hospitals, patients, documents, a crash.
#[derive(Debug, Clone, clap::Args)]
pub struct Demo {
    /// County nodes; the prefectures above them and the province come with them. At most 129.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(2..=129))]
    counties: u16,
    /// Invented persons, who register 2.5 times on average.
    #[arg(long, default_value_t = 2000)]
    persons: u64,
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// A population file instead (CSV as `tiermesh synth` writes it).
    #[arg(long)]
    population: Option<PathBuf>,
    /// Writes of which person each registration is at the end (CSV: `reg_id,cluster_id`).
    #[arg(long, value_name = "FILE", conflicts_with_all = ["province", "lasts"])]
    clusters: Option<PathBuf>,
    /// Folder for certificates, data and logs; a temporary one that is removed at the end if left out.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// All counties of a province instead of `--counties`, under load and faults, ten minutes if `--for` says nothing.
    #[arg(long, value_enum, conflicts_with_all = ["counties", "population"])]
    province: Option<Province>,
    /// Keeps the tree under load for so long (`90s`, `10m`), four fifths of it with a fault every few seconds, and then
    /// proves every link and asks for everything acknowledged.
    #[arg(long = "for", value_name = "TIME", value_parser = endure::duration, conflicts_with = "population")]
    lasts: Option<Duration>,
    /// With `--for`: registrations a second, over all hospitals.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
    /// With `--for`: seconds between two faults, on average.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=3600))]
    fault_every: u16,
    /// Leaves the tree running at the end until Ctrl-C, and says how to talk to it.
    #[arg(long)]
    keep: bool,
    /// One closing JSON object on standard output.
    #[arg(long)]
    pub(crate) json: bool,
}

/// The closing object of `--json`.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Outcome {
    pub nodes: usize,
    /// Registrations acknowledged, each once.
    pub registrations: usize,
    pub documents: usize,
    /// Acknowledgements of registrations, repeats of the same included.
    pub acknowledged: u64,
    /// Registrations that the province counts at the end.
    pub held_by_province: u64,
    /// Links whose two ends were proven to hold the same after the last write.
    pub links_proven: usize,
    /// Acknowledged registrations and documents that the province did not give back in the acknowledged version or a later one.
    pub lost: usize,
    /// Persons of whom the registrations are, as the province has it.
    pub persons: usize,
    /// Registrations of which the node where they were made names another person than the province.
    pub disagreeing: usize,
    /// Registrations of the patient that the doctor found.
    pub found: usize,
    pub fetched_bytes: usize,
    pub seconds: f64,
    /// Calls that were made again because a node was down.
    pub repeated_calls: u64,
    /// Calls given up, by reason.
    pub refused: std::collections::BTreeMap<String, u64>,
    /// Seconds by step.
    pub steps: Vec<(String, f64)>,
}

/// Why a demo did not end well.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error(transparent)]
    Tree(#[from] TreeError),
    #[error(transparent)]
    Synth(#[from] synth::SynthError),
    #[error("a call of the demo failed: {0}")]
    Call(#[from] cli::CliError),
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    NotShown(String),
}

impl Demo {
    /// The course, if the tree is to be kept busy.
    fn course(&self) -> Option<Course> {
        let lasts = self.lasts.or(self.province.map(|_| PROVINCE_LASTS))?;
        Some(Course { lasts, rate: self.rate, fault_every: Duration::from_secs(u64::from(self.fault_every)) })
    }
}

/// Says what happens, on standard error.
pub(crate) struct Teller {
    started: Instant,
    step: Option<(String, Instant)>,
    steps: Vec<(String, f64)>,
    bar: Option<indicatif::ProgressBar>,
}

impl Teller {
    fn new() -> Self {
        Self { started: Instant::now(), step: None, steps: Vec::new(), bar: None }
    }

    pub(crate) fn begin(&mut self, step: &str) {
        self.end();
        self.say(step);
        self.step = Some((step.to_owned(), Instant::now()));
    }

    pub(crate) fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        if let Some((step, since)) = self.step.take() {
            self.steps.push((step, since.elapsed().as_secs_f64()));
        }
    }

    pub(crate) fn say(&self, text: &str) {
        let line = format!("[{:7.1} s] {text}", self.started.elapsed().as_secs_f64());
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{line}")),
            None => eprintln!("{line}"),
        }
    }

    /// Shows how far the step is; on a terminal as a bar, elsewhere as ten lines.
    fn progress(&mut self, done: u64, of: u64) {
        if std::io::stderr().is_terminal() {
            let bar = self.bar.get_or_insert_with(|| indicatif::ProgressBar::new(of));
            bar.set_length(of);
            bar.set_position(done);
        } else if of >= 10 && done > 0 && done.is_multiple_of(of / 10) {
            self.say(&format!("  {done} of {of}"));
        }
    }
}

/// Runs the demo with `executable` as the nodes' binary.
pub async fn run(demo: &Demo, executable: PathBuf) -> Result<(), DemoError> {
    let temporary = if demo.dir.is_none() {
        Some(tempfile::Builder::new().prefix("tiermesh-demo").tempdir()?)
    } else {
        None
    };
    let dir = match (&demo.dir, &temporary) {
        (Some(dir), _) => std::path::absolute(dir)?,
        (None, Some(temporary)) => temporary.path().to_owned(),
        (None, None) => return Err(DemoError::NotShown("no folder".into())),
    };
    let mut teller = Teller::new();
    let regions = Tree::yunnan();
    let counties = regions.select(demo.province.map_or(usize::from(demo.counties), |_| ALL_COUNTIES));
    let plans: Vec<Plan> = plans(&regions, &counties);
    teller.begin(&format!("making throw-away certificates for {} nodes in {}", plans.len(), dir.display()));
    let settings = Settings { executable, dir, store: store_settings(plans.len()) };
    let mut tree = LocalTree::create(settings, plans)?;
    teller.begin(&format!("starting {} nodes", tree.paths().len()));
    let mut up = 0;
    tree.start_all(|path| {
        up += 1;
        if path.depth() < 2 || up % 10 == 0 {
            eprintln!("             {path} is up ({up})");
        }
    })
    .await?;
    if let Some(course) = demo.course() {
        let ended = endure::run(demo, course, &mut tree, &regions, &counties, &mut teller).await;
        teller.say("stopping the nodes");
        tree.stop_all().await?;
        return ended;
    }
    let outcome = show(demo, &mut tree, &regions, &counties, &mut teller).await;
    if let (Ok(outcome), true) = (&outcome, demo.keep) {
        close(demo, outcome);
        how_to_talk(&tree);
        tokio::signal::ctrl_c().await?;
    }
    teller.say("stopping the nodes");
    tree.stop_all().await?;
    if let (Ok(outcome), false) = (&outcome, demo.keep) {
        close(demo, outcome);
    }
    outcome.map(|_| ())
}

/// Small caches when many nodes share the machine.
fn store_settings(nodes: usize) -> String {
    if nodes > 20 { "cache_mib = 8\noverlay_mib = 4\nsegment_mib = 16".into() } else { String::new() }
}

fn plans(regions: &Tree, counties: &[model::RegionCode]) -> Vec<Plan> {
    let mut paths: Vec<NodePath> = regions.nodes(counties).into_iter().collect();
    paths.sort_by_key(|path| (path.depth(), path.clone()));
    let plan = |path: NodePath| {
        let region = regions.get(path.region());
        let name = region.map_or_else(String::new, |region| region.name.clone());
        let tier = region.map_or("county", |region| region.tier.label()).to_owned();
        Plan { path, name, tier }
    };
    paths.into_iter().map(plan).collect()
}

async fn show(
    demo: &Demo,
    tree: &mut LocalTree,
    regions: &Tree,
    counties: &[model::RegionCode],
    teller: &mut Teller,
) -> Result<Outcome, DemoError> {
    let mut hospitals = Hospitals::default();
    let (total, population) = population(demo, regions, counties)?;
    teller.begin(&format!("hospitals register {total} patients and submit documents, over mutual TLS"));
    let killed = counties_of(tree, counties).last().cloned();
    load(tree, &mut hospitals, population, total, killed.as_ref(), teller).await?;

    let case = Case::new(tree, &mut hospitals, regions, counties, &regions.nodes(counties)).await?;
    teller.say(&format!(
        "  {} registered in {} and, from another prefecture, in {}",
        case.name,
        tree.name(&case.here),
        tree.name(&case.there)
    ));
    case.file(&mut hospitals).await;
    hospitals.settle().await;
    let ledger = hospitals.ledger();

    let root = tree.paths()[0].clone();
    // A hospital of the province's own: operators see status, not records.
    let code = synth::social_credit_code(root.region(), "530000-Z");
    let province = hospitals.client(tree, &root, &code).await?;
    teller.begin(&format!(
        "replication: waiting until the province holds {} registrations",
        ledger.registrations.len()
    ));
    let held = catch_up(&province, &ledger, teller).await?;

    teller.begin("proof: waiting until both ends of every link hold the same");
    let links_proven = prove(tree, CATCH_UP, teller).await?;

    teller.begin("asking every acknowledged registration and document back from the province");
    let lost = missing(&province, &ledger, teller).await;

    let agreed = agree::ask(tree, &mut hospitals, &province, &ledger, teller).await?;
    demo.clusters.as_ref().map(|file| agree::write(&agreed.numbers, file)).transpose()?;

    teller.begin(&format!(
        "a doctor in {} looks for the patient and fetches the document made in {}",
        tree.name(&case.here),
        tree.name(&case.there)
    ));
    let (found, fetched_bytes) = case.doctor(teller).await?;
    teller.end();
    let outcome = Outcome {
        nodes: tree.paths().len(),
        registrations: ledger.registrations.len(),
        documents: ledger.documents.len(),
        acknowledged: ledger.acknowledged,
        held_by_province: held,
        links_proven,
        lost,
        persons: agreed.persons,
        disagreeing: agreed.disagree,
        found,
        fetched_bytes,
        seconds: teller.started.elapsed().as_secs_f64(),
        repeated_calls: ledger.repeated_calls,
        refused: ledger.refused,
        steps: teller.steps.clone(),
    };
    check(&outcome)?;
    Ok(outcome)
}

fn check(outcome: &Outcome) -> Result<(), DemoError> {
    let refused: u64 = outcome.refused.values().sum();
    if outcome.lost > 0
        || outcome.disagreeing > 0
        || outcome.held_by_province != outcome.registrations as u64
        || outcome.found != 2
        || outcome.links_proven + 1 != outcome.nodes
        || refused > 0
    {
        let text = format!(
            "the mesh did not show what it should: {} registrations acknowledged, {} held by the province, {} of {} links proven, {} lost, {} of another person at their node, {} found of 2, refused {:?}",
            outcome.registrations,
            outcome.held_by_province,
            outcome.links_proven,
            outcome.nodes - 1,
            outcome.lost,
            outcome.disagreeing,
            outcome.found,
            outcome.refused
        );
        return Err(DemoError::NotShown(text));
    }
    Ok(())
}

pub(crate) fn counties_of(tree: &LocalTree, counties: &[model::RegionCode]) -> Vec<NodePath> {
    tree.paths().into_iter().filter(|path| counties.contains(&path.region())).collect()
}

type Rows = Box<dyn Iterator<Item = Result<SyntheticRegistration, synth::SynthError>> + Send>;

/// How many registrations there are, and the registrations.
fn population(demo: &Demo, regions: &Tree, counties: &[model::RegionCode]) -> Result<(u64, Rows), DemoError> {
    if let Some(file) = &demo.population {
        let reader = || -> Result<_, DemoError> {
            let facilities = Facilities::new(regions.clone(), regions.nodes(counties));
            Ok(synth::csv::Reader::new(std::io::BufReader::new(std::fs::File::open(file)?), facilities)?)
        };
        let mut total = 0;
        for row in reader()? {
            row?;
            total += 1;
        }
        return Ok((total, Box::new(reader()?)));
    }
    let options = synth::Options::new(demo.persons, demo.seed).living_in(counties.to_vec());
    let population = synth::Population::new(regions, &options)?;
    let total = population.totals().registrations;
    Ok((total, Box::new(population.map(Ok))))
}

/// Every how manyth registration comes with its documents.
const DOCUMENTS_EVERY: u64 = 10;

async fn load(
    tree: &mut LocalTree,
    hospitals: &mut Hospitals,
    population: Rows,
    total: u64,
    kill: Option<&NodePath>,
    teller: &mut Teller,
) -> Result<(), DemoError> {
    let (kill_at, start_at) = (total * 4 / 10, total * 6 / 10);
    let (mut with_documents, mut waited) = (Vec::new(), Vec::new());
    let mut sent = 0;
    for row in population {
        let row = row?;
        if let Some(path) = kill {
            if sent == kill_at {
                teller.say(&format!(
                    "  killing {} ({path}) with -9; its hospitals go on trying",
                    tree.name(path)
                ));
                tree.kill(path).await?;
            }
            if sent == start_at {
                tree.start(path).await?;
                teller.say(&format!("  {} is up again", tree.name(path)));
            }
        }
        sent += 1;
        let facility = row.facility.clone();
        let down =
            kill.is_some_and(|path| *path == facility.node) && (kill_at + 1..=start_at).contains(&sent);
        let client = match hospitals.client(tree, &facility.node, &facility.code).await {
            Ok(client) => client,
            // A hospital that never connected before its node died waits until the node is back.
            Err(_) if down => {
                waited.push(row);
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        if sent % DOCUMENTS_EVERY == 0 {
            with_documents.push(row.clone());
        }
        hospitals.send(client, facility.code.clone(), Item::Patient(Box::new(row.registration))).await;
        teller.progress(sent, total);
    }
    hospitals.settle().await;
    for row in &waited {
        let client = hospitals.client(tree, &row.facility.node, &row.facility.code).await?;
        hospitals
            .send(client, row.facility.code.clone(), Item::Patient(Box::new(row.registration.clone())))
            .await;
    }
    hospitals.settle().await;
    let mut rng = SmallRng::seed_from_u64(1);
    for row in with_documents.iter().chain(&waited) {
        let client = hospitals.client(tree, &row.facility.node, &row.facility.code).await?;
        for document in synth::documents_for(row, &mut rng) {
            let item = Item::Document(Box::new(document.entry), Bytes::from(document.content));
            hospitals.send(client.clone(), row.facility.code.clone(), item).await;
        }
    }
    hospitals.settle().await;
    Ok(())
}

/// Waits until the province counts as many registrations and documents as were acknowledged; answers how many it counts.
pub(crate) async fn catch_up(
    province: &Client,
    ledger: &Ledger,
    teller: &mut Teller,
) -> Result<u64, DemoError> {
    let wanted = (ledger.registrations.len() as u64, ledger.documents.len() as u64);
    let since = Instant::now();
    loop {
        let store = province.status().await?.store.unwrap_or_default();
        let held = (store.registrations, store.document_entries);
        if held.0 >= wanted.0 && held.1 >= wanted.1 {
            teller.say(&format!(
                "  the province holds {} registrations and {} document entries",
                held.0, held.1
            ));
            return Ok(held.0);
        }
        if since.elapsed() > CATCH_UP {
            return Ok(held.0);
        }
        if teller.bar.is_none() || std::io::stderr().is_terminal() {
            teller.progress(held.0, wanted.0);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Waits until every link is proven equal up to its head, and answers how many are.
pub(crate) async fn prove(
    tree: &LocalTree,
    patience: Duration,
    teller: &mut Teller,
) -> Result<usize, DemoError> {
    let since = Instant::now();
    let mut open: Vec<Client> = Vec::new();
    for path in tree.paths().iter().filter(|path| path.parent().is_some()) {
        open.push(tree.operator(path).await?);
    }
    let (links, mut records) = (open.len(), 0);
    while !open.is_empty() && since.elapsed() < patience {
        let mut still = Vec::new();
        for operator in open {
            let link = operator.status().await?.parent.unwrap_or_default();
            if link.proven_ms > 0 && link.proven_position == link.head {
                records += link.proven_records;
            } else {
                still.push(operator);
            }
        }
        open = still;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let proven = links - open.len();
    teller.say(&format!("  {proven} of {links} links hold the same at both ends, {records} records in all"));
    Ok(proven)
}

/// How many acknowledged records the province does not give back in the acknowledged version or a later one.
pub(crate) async fn missing(province: &Client, ledger: &Ledger, teller: &mut Teller) -> usize {
    let mut calls: JoinSet<usize> = JoinSet::new();
    let mut lost = 0;
    let documents = Arc::new(documents_by_patient(ledger));
    let total = ledger.registrations.len() as u64;
    for (done, (key, version)) in (1..).zip(&ledger.registrations) {
        while calls.len() >= 32 {
            lost += calls.join_next().await.map_or(0, |ended| ended.unwrap_or(1));
        }
        let (province, key, version, documents) =
            (province.clone(), key.clone(), version.clone(), documents.clone());
        calls.spawn(async move { missing_of(&province, &key, &version, documents.get(&key)).await });
        teller.progress(done, total);
    }
    while let Some(ended) = calls.join_next().await {
        lost += ended.unwrap_or(1);
    }
    lost
}

type Documents = std::collections::BTreeMap<PatientKey, Vec<(String, String)>>;

fn documents_by_patient(ledger: &Ledger) -> Documents {
    let mut documents = Documents::new();
    for ((patient, id), version) in &ledger.documents {
        documents.entry(patient.clone()).or_default().push((id.clone(), version.clone()));
    }
    documents
}

/// Asks for what a node holds itself.
pub(crate) fn held_here(key: &PatientKey) -> PatientQuery {
    PatientQuery {
        by: PatientBy::Local(local(key)),
        limit: 1,
        reach: Reach::Local,
        context: QueryContext::default(),
    }
}

/// The version of a registration that a node holds itself; none if it holds none or does not answer.
pub(crate) async fn held_version(node: &Client, key: &PatientKey) -> Option<Version> {
    let answer = node.find_patients(held_here(key)).await.ok()?;
    let registrations = answer.persons.iter().flat_map(|person| &person.registrations);
    registrations.filter(|one| one.registration.local_id == key.local_id).map(|one| one.version).max()
}

async fn missing_of(
    province: &Client,
    key: &PatientKey,
    version: &str,
    documents: Option<&Vec<(String, String)>>,
) -> usize {
    let at_least = |held: Version, acknowledged: &str| {
        acknowledged.parse().is_ok_and(|acknowledged: Version| held >= acknowledged)
    };
    let held = held_version(province, key).await.is_some_and(|held| at_least(held, version));
    let mut lost = usize::from(!held);
    if let Some(documents) = documents {
        let query =
            DocumentQuery { page_size: 200, ..documents_of(DocumentsOf::Local(local(key)), Reach::Local) };
        let answer = province.find_documents(query).await;
        let found = |id: &str, version: &str| {
            answer.as_ref().is_ok_and(|answer| {
                answer
                    .documents
                    .iter()
                    .any(|one| one.entry.document_id == id && at_least(one.version, version))
            })
        };
        lost += documents.iter().filter(|(id, version)| !found(id, version)).count();
    }
    lost
}

fn local(key: &PatientKey) -> LocalPatient {
    LocalPatient {
        institution_code: key.institution_code.clone(),
        source_system: key.source_system.clone(),
        local_id: key.local_id.clone(),
    }
}

fn close(demo: &Demo, outcome: &Outcome) {
    if demo.json {
        match serde_json::to_string(outcome) {
            Ok(text) => println!("{text}"),
            Err(error) => eprintln!("tiermesh: {error}"),
        }
        return;
    }
    println!("\nWhat happened");
    for (step, seconds) in &outcome.steps {
        println!("  {seconds:7.1} s  {step}");
    }
    println!("\n  nodes              {:>9}", outcome.nodes);
    println!(
        "  registrations      {:>9}   acknowledged, each durable before its answer",
        outcome.registrations
    );
    println!("  documents          {:>9}", outcome.documents);
    println!("  held by province   {:>9}", outcome.held_by_province);
    println!("  links proven       {:>9}   both ends hold the same, by digest", outcome.links_proven);
    println!("  lost               {:>9}", outcome.lost);
    println!(
        "  persons            {:>9}   the same at the province and wherever they registered",
        outcome.persons
    );
    println!("  calls made again   {:>9}   while a county was down", outcome.repeated_calls);
    println!("  found              {:>9}   registrations of one patient, in two prefectures", outcome.found);
    println!("  fetched            {:>9}   bytes, from the other county", outcome.fetched_bytes);
    println!("  in all             {:>9.1} s", outcome.seconds);
    if !demo.keep {
        println!(
            "\nLook next: `tiermesh demo --keep` leaves the tree running and says how to talk to it; `README.md` sets up real"
        );
        println!("nodes; `crates/README.md` leads from a gRPC call to the bytes on disk.");
    }
}

fn how_to_talk(tree: &LocalTree) {
    println!("\nThe tree is running. Ctrl-C stops it. Talk to it from another terminal:");
    for path in tree.paths().iter().filter(|path| path.depth() != 1).take(3) {
        let (Some(address), dir) = (tree.address(path), tree.node_dir(path)) else { continue };
        println!(
            "  tiermesh status --node {address} --node-path {path} --identity {}",
            dir.join("operator").display()
        );
        if path.depth() == 2 {
            // The hospital of the demo's own patient: see `Case::new`.
            let code = synth::social_credit_code(path.region(), &format!("{}-Z", path.region()));
            let identity = dir.join("institutions").join(code);
            if identity.exists() {
                println!(
                    "  tiermesh patient find --local-id DEMO-A-1 --node {address} --node-path {path} --identity {}",
                    identity.display()
                );
            }
        }
    }
}
