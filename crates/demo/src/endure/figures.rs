//! What a course came to.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::show::DemoError;
use crate::tree::LocalTree;

/// The closing figures; with `--json` one object.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Figures {
    pub nodes: usize,
    /// From the last node's start until every link was proven.
    pub steady_s: f64,
    pub seconds_of_load: u64,
    pub wanted_per_s: u32,
    pub sent: u64,
    /// Not sent, because too much waited for nodes that were away.
    pub left_out: u64,
    pub faults: BTreeMap<&'static str, u64>,
    /// From the county's acknowledgement until the province finds it, without faults.
    pub calm: Latency,
    /// The same with faults, nodes on the way being away included.
    pub faulty: Latency,
    /// Most resident memory of a node of each tier, seen every ten seconds.
    pub memory: Vec<Peak>,
    pub registrations: usize,
    pub documents: usize,
    pub held_by_province: u64,
    pub catch_up_s: f64,
    pub proof_s: f64,
    pub links_proven: usize,
    pub lost: usize,
    pub repeated_calls: u64,
    pub refused: BTreeMap<String, u64>,
}

/// Milliseconds.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Latency {
    pub samples: usize,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
}

impl Latency {
    pub fn of(mut took: Vec<Duration>) -> Self {
        took.sort_unstable();
        let at = |share: f64| {
            let place = (took.len() as f64 * share) as usize;
            took.get(place.min(took.len().saturating_sub(1))).map_or(0.0, |took| took.as_secs_f64() * 1000.0)
        };
        Self { samples: took.len(), p50_ms: at(0.5), p99_ms: at(0.99), max_ms: at(1.0) }
    }
}

/// Memory of the nodes of one depth.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Peak {
    pub depth: usize,
    /// Of the largest node at any time.
    pub largest_mib: f64,
    /// Mean over the tier's nodes, each at its largest.
    pub mean_mib: f64,
}

/// The most memory that each node was seen with.
#[derive(Debug, Default)]
pub(super) struct Memory {
    nodes: BTreeMap<String, (usize, u64)>,
}

impl Memory {
    /// Looks at every node that runs; where the system does not say, nothing is noted.
    pub fn look(&mut self, tree: &LocalTree) {
        for path in tree.paths() {
            let Some(bytes) = tree.process_id(&path).and_then(resident) else { continue };
            let held = self.nodes.entry(path.to_string()).or_insert((path.depth(), 0));
            held.1 = held.1.max(bytes);
        }
    }

    pub fn peaks(&self) -> Vec<Peak> {
        let mut tiers: BTreeMap<usize, Vec<u64>> = BTreeMap::new();
        for (depth, bytes) in self.nodes.values() {
            tiers.entry(*depth).or_default().push(*bytes);
        }
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let peak = |(depth, all): (usize, Vec<u64>)| Peak {
            depth,
            largest_mib: mib(all.iter().copied().max().unwrap_or_default()),
            mean_mib: mib(all.iter().sum::<u64>()) / all.len().max(1) as f64,
        };
        tiers.into_iter().map(peak).collect()
    }
}

/// Resident bytes of a process, as Linux tells them.
fn resident(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

impl Figures {
    /// Prints them, and says whether the province came through.
    pub fn close(&self, json: bool) -> Result<(), DemoError> {
        if json {
            println!("{}", serde_json::to_string(self).map_err(std::io::Error::other)?);
        } else {
            self.print();
        }
        let refused: u64 = self.refused.values().sum();
        let held = self.held_by_province == self.registrations as u64;
        if self.lost == 0 && held && self.links_proven + 1 == self.nodes && refused == 0 {
            return Ok(());
        }
        Err(DemoError::NotShown(format!(
            "the province did not come through: {} registrations acknowledged, {} held by the province, {} of {} links \
             proven, {} lost, refused {:?}",
            self.registrations,
            self.held_by_province,
            self.links_proven,
            self.nodes - 1,
            self.lost,
            self.refused
        )))
    }

    fn print(&self) {
        println!("\nWhat happened");
        println!("  nodes              {:>9}", self.nodes);
        println!("  steady after       {:>9.1} s", self.steady_s);
        println!("  load               {:>9}   registrations sent in {} s", self.sent, self.seconds_of_load);
        println!("  left out           {:>9}   their nodes were away for too long", self.left_out);
        for (fault, times) in &self.faults {
            println!("  {fault:<18} {times:>9}   times");
        }
        let latency = |name: &str, one: &Latency| {
            println!(
                "  {name:<18} {:>9.1} ms p50, {:.1} ms p99, {:.1} ms at most, county to province ({} samples)",
                one.p50_ms, one.p99_ms, one.max_ms, one.samples
            );
        };
        latency("calm", &self.calm);
        latency("with faults", &self.faulty);
        for peak in &self.memory {
            println!(
                "  memory at depth {}  {:>9.1} MiB at most, {:.1} MiB on average",
                peak.depth, peak.largest_mib, peak.mean_mib
            );
        }
        println!(
            "  registrations      {:>9}   acknowledged, each durable before its answer",
            self.registrations
        );
        println!("  documents          {:>9}", self.documents);
        println!(
            "  held by province   {:>9}   {:.1} s after the end",
            self.held_by_province, self.catch_up_s
        );
        println!("  links proven       {:>9}   in {:.1} s more", self.links_proven, self.proof_s);
        println!("  lost               {:>9}", self.lost);
        println!("  calls made again   {:>9}", self.repeated_calls);
    }
}
