//! `tiermesh bench`: what a node and a link do on this machine, over mutual TLS on loopback.
//!
//! The callers are in this process and share the machine with the node, as a user's bench would; bare calls by the same
//! callers in the same run say what the transport alone costs, so figures can be compared as ratios.

mod link;
mod restore;

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cli::CliError;
use cli::client::Client;
use model::body::{Identifier, Registration};
use model::query::{PatientBy, PatientQuery, QueryContext, Reach};
use model::{NodePath, RegionCode};
use parking_lot::Mutex;
use serde::Serialize;
use tokio::task::JoinSet;

use crate::show::DemoError;
use crate::synth::{self, SyntheticRegistration, Tree};
use crate::tree::{LocalTree, Plan, Settings};

/// Measures on this machine.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Bench {
    /// One node: bare calls, registrations, finds.
    Node(NodeBench),
    /// A node and its parent: draining a backlog, lag, bytes.
    Link(link::LinkBench),
    /// A county that lost its disk, and a province refilled by its prefectures.
    Restore(restore::RestoreBench),
}

#[derive(Debug, Clone, clap::Args)]
pub struct NodeBench {
    #[command(flatten)]
    common: Common,
    /// Measures each phase for so long.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Added to every sync of the log, as on a slower disk.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=1000))]
    sync_delay_ms: u64,
    /// Registrations loaded before measuring.
    #[arg(long, default_value_t = 10_000)]
    preload: u64,
}

#[derive(Debug, Clone, clap::Args)]
struct Common {
    /// Calls in progress at once.
    #[arg(long, default_value_t = 128)]
    callers: usize,
    /// Connections that the callers share, each a hospital's.
    #[arg(long, default_value_t = 8)]
    connections: usize,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Folder for data; a temporary one that is removed at the end if left out.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// One JSON object on standard output.
    #[arg(long)]
    json: bool,
}

/// Figures of one node.
#[derive(Debug, Clone, Default, Serialize)]
pub struct NodeFigures {
    pub callers: usize,
    pub connections: usize,
    pub sync_delay_ms: u64,
    pub preloaded: u64,
    pub bare_calls_per_s: f64,
    pub acknowledged_per_s: f64,
    /// Acknowledged registrations by bare calls, in the same run.
    pub ratio_to_bare: f64,
    pub per_sync: f64,
    pub register_p50_ms: f64,
    pub register_p99_ms: f64,
    pub find_per_s: f64,
    /// With four callers, so that waiting for each other does not count.
    pub find_p50_ms: f64,
    pub find_p99_ms: f64,
    pub bytes_on_disk: u64,
    pub log_bytes: u64,
    pub bytes_of_records: u64,
}

/// Runs a bench with `executable` as the nodes' binary.
pub async fn run(bench: &Bench, executable: PathBuf) -> Result<(), DemoError> {
    match bench {
        Bench::Node(args) => show(&node(args, executable).await?, args.common.json),
        Bench::Link(args) => show(&link::run(args, executable).await?, args.common.json),
        Bench::Restore(args) => show(&restore::run(args, executable).await?, args.common.json),
    }
    Ok(())
}

fn show(figures: &impl Serialize, json: bool) {
    let Ok(value) = serde_json::to_value(figures) else { return };
    if json {
        println!("{value}");
        return;
    }
    for (name, figure) in value.as_object().into_iter().flatten() {
        match figure.as_f64().filter(|_| figure.is_f64()) {
            Some(number) => println!("{name:<22} {number:>14.2}"),
            None => println!("{name:<22} {figure:>14}"),
        }
    }
}

/// A tree of these nodes in a folder that goes away with the guard.
fn tree(
    common: &Common,
    executable: PathBuf,
    store: String,
    paths: &[&str],
) -> Result<(LocalTree, Option<tempfile::TempDir>), DemoError> {
    let temporary = if common.dir.is_none() {
        Some(tempfile::Builder::new().prefix("tiermesh-bench").tempdir()?)
    } else {
        None
    };
    let dir = common
        .dir
        .clone()
        .or_else(|| temporary.as_ref().map(|dir| dir.path().to_owned()))
        .unwrap_or_default();
    let regions = Tree::yunnan();
    let plan = |text: &&str| {
        let path: NodePath = text.parse().map_err(|_| DemoError::NotShown("no such path".into()))?;
        let region = regions.get(path.region());
        let tier = region.map_or("province", |region| region.tier.label()).to_owned();
        Ok(Plan { name: region.map_or_else(String::new, |region| region.name.clone()), tier, path })
    };
    let plans = paths.iter().map(plan).collect::<Result<Vec<_>, DemoError>>()?;
    let dir = std::path::absolute(dir)?;
    Ok((LocalTree::create(Settings { executable, dir, store }, plans)?, temporary))
}

/// Clients of as many hospitals as there are connections, all filing with one node.
async fn hospitals(tree: &LocalTree, node: &NodePath, connections: usize) -> Result<Vec<Client>, DemoError> {
    let mut clients = Vec::new();
    for number in 0..connections {
        let code = synth::social_credit_code(node.region(), &format!("B{number}"));
        clients.push(tree.connect(node, &tree.institution(node, &code)?).await?);
    }
    Ok(clients)
}

/// Calls made and how long each took.
#[derive(Debug, Default)]
struct Tally {
    calls: u64,
    seconds: f64,
    micros: Vec<u64>,
}

impl Tally {
    fn per_s(&self) -> f64 {
        self.calls as f64 / self.seconds
    }

    /// Milliseconds that this share of the calls stayed within.
    fn quantile(&mut self, share: f64) -> f64 {
        self.micros.sort_unstable();
        let at = ((self.micros.len() as f64 * share) as usize).min(self.micros.len().saturating_sub(1));
        self.micros.get(at).map_or(0.0, |micros| *micros as f64 / 1000.0)
    }
}

/// Keeps `callers` calls going until `until` or until `call` answers none.
async fn drive<F, Fut>(
    callers: usize,
    clients: &[Client],
    until: Option<Instant>,
    call: F,
) -> Result<Tally, DemoError>
where
    F: Fn(Client, u64) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Option<Result<(), CliError>>> + Send,
{
    let (call, next) = (Arc::new(call), Arc::new(AtomicU64::new(0)));
    let mut workers = JoinSet::new();
    let since = Instant::now();
    for worker in 0..callers {
        let (client, call, next) = (clients[worker % clients.len()].clone(), call.clone(), next.clone());
        workers.spawn(async move {
            let mut micros = Vec::new();
            while until.is_none_or(|until| Instant::now() < until) {
                let started = Instant::now();
                match call(client.clone(), next.fetch_add(1, Ordering::Relaxed)).await {
                    None => break,
                    Some(ended) => ended?,
                }
                micros.push(started.elapsed().as_micros() as u64);
            }
            Ok::<_, CliError>(micros)
        });
    }
    let mut tally = Tally::default();
    while let Some(ended) = workers.join_next().await {
        let micros = ended.map_err(|error| DemoError::NotShown(error.to_string()))??;
        tally.calls += micros.len() as u64;
        tally.micros.extend(micros);
    }
    tally.seconds = since.elapsed().as_secs_f64();
    Ok(tally)
}

/// Synthetic patients without end, each with a local id of its own; drawn ahead so that drawing is not measured.
#[derive(Clone)]
struct Patients(Arc<Mutex<Box<dyn Iterator<Item = SyntheticRegistration> + Send>>>, Arc<AtomicU64>);

impl Patients {
    fn new(county: RegionCode, seed: u64) -> Result<Self, DemoError> {
        let options = synth::Options::new(2_000_000, seed).living_in(vec![county]);
        let population = synth::Population::new(&Tree::yunnan(), &options)?;
        Ok(Self(Arc::new(Mutex::new(Box::new(population))), Arc::default()))
    }

    fn draw(&self, count: u64) -> Vec<Registration> {
        let mut population = self.0.lock();
        let mut drawn = Vec::with_capacity(count as usize);
        for row in population.by_ref().take(count as usize) {
            let mut registration = row.registration;
            registration.institution_code.clear();
            registration.local_id = format!("B{:09}", self.1.fetch_add(1, Ordering::Relaxed));
            drawn.push(registration);
        }
        drawn
    }
}

/// Registers these, each once.
async fn register_all(
    callers: usize,
    clients: &[Client],
    rows: Vec<Registration>,
) -> Result<Tally, DemoError> {
    register(callers, clients, rows, None).await
}

async fn register(
    callers: usize,
    clients: &[Client],
    rows: Vec<Registration>,
    until: Option<Instant>,
) -> Result<Tally, DemoError> {
    let rows = Arc::new(rows);
    drive(callers, clients, until, move |client, number| {
        let row = rows.get(number as usize).cloned();
        async move { Some(client.register(row?).await.map(|_| ())) }
    })
    .await
}

async fn node(args: &NodeBench, executable: PathBuf) -> Result<NodeFigures, DemoError> {
    let Common { callers, connections, seed, .. } = args.common;
    let store = format!("sync_delay_ms = {}", args.sync_delay_ms);
    let (mut tree, _folder) = tree(&args.common, executable, store, &["530000"])?;
    let path = tree.paths()[0].clone();
    tree.start(&path).await?;
    let clients = hospitals(&tree, &path, connections).await?;
    let operator = tree.operator(&path).await?;
    let patients =
        Patients::new("530102".parse().map_err(|_| DemoError::NotShown("no county".into()))?, seed)?;
    let preloaded = patients.draw(args.preload);
    let known: Arc<Vec<Identifier>> = Arc::new(
        preloaded.iter().flat_map(|row| &row.identifiers).filter(|one| one.r#type == "01").cloned().collect(),
    );
    eprintln!("loading {} registrations", preloaded.len());
    register_all(callers, &clients, preloaded).await?;

    let phase = Duration::from_secs(args.seconds);
    eprintln!("bare calls");
    let bare = drive(callers, &clients, Some(Instant::now() + phase), |client, _| async move {
        Some(client.ping().await.map(|_| ()))
    })
    .await?;
    // More than any machine registers in the time, so that the phase ends by the clock.
    let rows = patients.draw((bare.per_s() * args.seconds as f64) as u64 + 1000);
    eprintln!("registrations");
    let before = operator.status().await?.store.unwrap_or_default();
    let mut registered = register(callers, &clients, rows, Some(Instant::now() + phase)).await?;
    let after = operator.status().await?.store.unwrap_or_default();
    eprintln!("finds");
    let finds = find(callers, &clients, known.clone(), phase).await?;
    let mut few = find(4, &clients, known, phase).await?;
    tree.stop_all().await?;
    Ok(NodeFigures {
        callers,
        connections,
        sync_delay_ms: args.sync_delay_ms,
        preloaded: args.preload,
        bare_calls_per_s: bare.per_s(),
        acknowledged_per_s: registered.per_s(),
        ratio_to_bare: registered.per_s() / bare.per_s(),
        per_sync: (after.commits - before.commits) as f64 / (after.syncs - before.syncs).max(1) as f64,
        register_p50_ms: registered.quantile(0.5),
        register_p99_ms: registered.quantile(0.99),
        find_per_s: finds.per_s(),
        find_p50_ms: few.quantile(0.5),
        find_p99_ms: few.quantile(0.99),
        bytes_on_disk: bytes_in(&tree.node_dir(&path).join("data"))?,
        log_bytes: after.log_bytes,
        bytes_of_records: after.record_bytes,
    })
}

/// Finds known people by their resident ID, in an order that jumps about.
async fn find(
    callers: usize,
    clients: &[Client],
    known: Arc<Vec<Identifier>>,
    phase: Duration,
) -> Result<Tally, DemoError> {
    drive(callers, clients, Some(Instant::now() + phase), move |client, number| {
        let identifier = known[number.wrapping_mul(0x9E37_79B9) as usize % known.len()].clone();
        let query = PatientQuery {
            by: PatientBy::Identifier(identifier),
            limit: 10,
            reach: Reach::Local,
            context: QueryContext::default(),
        };
        async move { Some(client.find_patients(query).await.map(|_| ())) }
    })
    .await
}

/// Waits for a condition, at most ten minutes.
async fn until<F, Fut>(mut condition: F) -> Result<(), DemoError>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<bool, DemoError>>,
{
    let end = Instant::now() + Duration::from_secs(600);
    while !condition().await? {
        if Instant::now() > end {
            return Err(DemoError::NotShown("what was waited for did not come within ten minutes".into()));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

fn bytes_in(dir: &std::path::Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { bytes_in(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}
