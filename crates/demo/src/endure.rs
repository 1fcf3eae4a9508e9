//! `tiermesh demo --for`: a whole province on one machine, under load, with a fault every few seconds; then the faults end, and
//! every link must prove that both ends hold the same, and everything acknowledged must be there.
//!
//! Faults are those that need no privilege: a node killed with -9, stopped in an orderly way, or frozen (SIGSTOP) so that its
//! neighbours wait on open connections. `tests/faults.rs` has the others.

mod fault;
mod figures;
mod probe;

use std::time::{Duration, Instant};

use bytes::Bytes;
use model::{NodePath, RegionCode};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::sync::mpsc;

use self::fault::Faults;
use self::figures::{Figures, Latency, Memory};
use self::probe::Probe;
use crate::load::{Hospitals, Item};
use crate::show::{self, Demo, DemoError, Teller};
use crate::synth::{self, SyntheticRegistration, Tree};
use crate::tree::LocalTree;

/// How often the load is topped up.
const TICK: Duration = Duration::from_millis(50);
/// Every how manyth registration comes with its documents.
const DOCUMENTS_EVERY: u64 = 10;
/// Registrations of hospitals whose node is down, which wait for it; beyond that a registration is left out, and counted.
const MAX_WAITING: usize = 20_000;
/// How often the nodes' memory is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How long the tree may take to its first proof of every link.
const STEADY: Duration = Duration::from_secs(600);

/// How a province is kept busy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Course {
    /// With load, the first fifth without faults.
    pub lasts: Duration,
    /// Registrations a second, over all hospitals.
    pub rate: u32,
    /// Between two faults, on average.
    pub fault_every: Duration,
}

/// The tree and what happens in it.
struct Endurance<'a> {
    tree: &'a mut LocalTree,
    hospitals: Hospitals,
    population: synth::Population,
    rng: SmallRng,
    faults: Faults,
    memory: Memory,
    /// Registrations of hospitals that could not connect.
    waiting: Vec<SyntheticRegistration>,
    sent: u64,
    left_out: u64,
}

/// Runs the course on a tree that has been started.
pub(crate) async fn run(
    demo: &Demo,
    course: Course,
    tree: &mut LocalTree,
    regions: &Tree,
    counties: &[RegionCode],
    teller: &mut Teller,
) -> Result<(), DemoError> {
    let registrations = u64::from(course.rate) * course.lasts.as_secs().max(1);
    // 2.5 registrations a person; more than are wanted, since the course ends by the clock.
    let options = synth::Options::new(registrations / 2 + 1000, demo.seed).living_in(counties.to_vec());
    let root = tree.paths()[0].clone();
    let mut hospitals = Hospitals::default();
    let code = synth::social_credit_code(root.region(), "530000-Z");
    let province = hospitals.client(tree, &root, &code).await?;

    teller.begin("steady state: waiting until every node writes and every link is proven");
    let steady = Instant::now();
    show::prove(tree, STEADY, teller).await?;
    let steady_s = steady.elapsed().as_secs_f64();

    let (seen, sample) = mpsc::channel(probe::QUEUE);
    hospitals.sample(seen);
    let probe = Probe::start(province.clone(), sample);
    let mut endurance = Endurance {
        tree,
        hospitals,
        population: synth::Population::new(regions, &options)?,
        rng: SmallRng::seed_from_u64(demo.seed),
        faults: Faults::new(course.fault_every, demo.seed),
        memory: Memory::default(),
        waiting: Vec::new(),
        sent: 0,
        left_out: 0,
    };
    let calm = course.lasts / 5;
    let busy = course.lasts.saturating_sub(calm);
    teller.begin(&format!("{} s of load, {} registrations a second, no faults", calm.as_secs(), course.rate));
    endurance.load(course.rate, calm, false, teller).await?;
    let before = probe.take();
    teller.begin(&format!("{} s of load and faults", busy.as_secs()));
    endurance.load(course.rate, busy, true, teller).await?;
    teller.begin("the faults end: everybody comes back, and what waited is registered");
    endurance.heal(teller).await?;
    let during = probe.take();
    let Endurance { mut hospitals, faults, memory, tree, sent, left_out, .. } = endurance;
    hospitals.settle().await;
    let mut figures = Figures {
        nodes: tree.paths().len(),
        steady_s,
        seconds_of_load: course.lasts.as_secs(),
        wanted_per_s: course.rate,
        sent,
        left_out,
        faults: faults.counts(),
        calm: Latency::of(before),
        faulty: Latency::of(during),
        memory: memory.peaks(),
        ..Figures::default()
    };
    settle(&mut figures, &hospitals, &province, tree, teller).await?;
    figures.close(demo.json)
}

/// Waits for the end of replication, and asks for everything.
async fn settle(
    figures: &mut Figures,
    hospitals: &Hospitals,
    province: &cli::client::Client,
    tree: &LocalTree,
    teller: &mut Teller,
) -> Result<(), DemoError> {
    let ledger = hospitals.ledger();
    teller.begin(&format!("waiting until the province holds {} registrations", ledger.registrations.len()));
    let since = Instant::now();
    figures.held_by_province = show::catch_up(province, &ledger, teller).await?;
    figures.catch_up_s = since.elapsed().as_secs_f64();
    teller.begin("proof: waiting until both ends of every link hold the same");
    let since = Instant::now();
    figures.links_proven = show::prove(tree, STEADY, teller).await?;
    figures.proof_s = since.elapsed().as_secs_f64();
    teller.begin("asking every acknowledged registration and document back from the province");
    figures.lost = show::missing(province, &ledger, teller).await;
    figures.registrations = ledger.registrations.len();
    figures.documents = ledger.documents.len();
    figures.repeated_calls = ledger.repeated_calls;
    figures.refused = ledger.refused;
    teller.end();
    Ok(())
}

impl Endurance<'_> {
    /// Registers at the rate for so long, with faults or without.
    async fn load(
        &mut self,
        rate: u32,
        lasts: Duration,
        with_faults: bool,
        teller: &mut Teller,
    ) -> Result<(), DemoError> {
        let (began, mut sent, mut look) = (Instant::now(), 0, Instant::now());
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        while began.elapsed() < lasts {
            ticks.tick().await;
            let due = (began.elapsed().as_secs_f64() * f64::from(rate)) as u64;
            while sent < due {
                sent += 1;
                let Some(row) = self.population.next() else { break };
                self.send(row).await?;
            }
            if with_faults {
                self.faults.happen(self.tree, teller).await?;
            }
            if look.elapsed() >= LOOK_EVERY {
                look = Instant::now();
                self.memory.look(self.tree);
                teller.say(&format!(
                    "  {} sent, {} acknowledged, {} nodes away",
                    self.sent,
                    self.hospitals.acknowledged(),
                    self.faults.away()
                ));
            }
        }
        Ok(())
    }

    /// Sends a registration, and sometimes documents with it.
    async fn send(&mut self, row: SyntheticRegistration) -> Result<(), DemoError> {
        self.sent += 1;
        let facility = row.facility.clone();
        if self.faults.is_away(&facility.node) && !self.hospitals.has_client(&facility.node, &facility.code) {
            if self.waiting.len() < MAX_WAITING {
                self.waiting.push(row);
            } else {
                self.left_out += 1;
            }
            return Ok(());
        }
        let client = self.hospitals.client(self.tree, &facility.node, &facility.code).await?;
        let documents = if self.sent.is_multiple_of(DOCUMENTS_EVERY) {
            synth::documents_for(&row, &mut self.rng)
        } else {
            Vec::new()
        };
        let patient = Item::Patient(Box::new(row.registration));
        let documents = documents
            .into_iter()
            .map(|one| Item::Document(Box::new(one.entry), Bytes::from(one.content)))
            .collect();
        self.hospitals.send_in_order(client, facility.code.clone(), patient, documents).await;
        Ok(())
    }

    /// Brings every node back and sends what waited.
    async fn heal(&mut self, teller: &Teller) -> Result<(), DemoError> {
        self.faults.heal(self.tree, teller).await?;
        for row in std::mem::take(&mut self.waiting) {
            self.sent -= 1;
            self.send(row).await?;
        }
        self.memory.look(self.tree);
        self.hospitals.settle().await;
        Ok(())
    }
}

/// The node's folder, for telling.
pub(crate) fn place(tree: &LocalTree, path: &NodePath) -> String {
    format!("{} ({path})", tree.name(path))
}

/// A time as `90s`, `10m` or `1h`; a number alone is seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "a time is written as 90s, 10m or 1h".to_owned();
    let (digits, unit) = match text.char_indices().find(|(_, c)| !c.is_ascii_digit()) {
        Some((at, _)) => text.split_at(at),
        None => (text, "s"),
    };
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(wrong()),
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    let seconds = number.checked_mul(seconds).filter(|seconds| (10..=86_400).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| "a time between 10 seconds and a day".to_owned())
}

/// Provinces that can be started as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Province {
    /// 530000: 16 prefectures and 129 counties.
    Yunnan,
}
