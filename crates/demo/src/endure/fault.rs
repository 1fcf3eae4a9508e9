//! Faults for the nodes of a local tree, one every few seconds, each undone after a while.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use model::NodePath;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rustix::process::{Pid, Signal, kill_process};

use super::place;
use crate::show::{DemoError, Teller};
use crate::tree::LocalTree;

/// Shortest and longest time that a node is away.
const AWAY_S: std::ops::Range<f64> = 0.2..20.0;
/// Most nodes away at once.
const MAX_AWAY: usize = 8;

/// What happens to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    Killed,
    Stopped,
    Frozen,
}

impl Fault {
    fn name(self) -> &'static str {
        match self {
            Self::Killed => "killed with -9",
            Self::Stopped => "stopped",
            Self::Frozen => "frozen",
        }
    }
}

/// The faults of one course.
#[derive(Debug)]
pub(super) struct Faults {
    every: Duration,
    next: Instant,
    away: BTreeMap<NodePath, (Fault, Instant)>,
    counts: BTreeMap<&'static str, u64>,
    rng: SmallRng,
}

impl Faults {
    pub fn new(every: Duration, seed: u64) -> Self {
        let rng = SmallRng::seed_from_u64(seed ^ 0xFA17);
        Self { every, next: Instant::now(), away: BTreeMap::new(), counts: BTreeMap::new(), rng }
    }

    /// How often each fault happened.
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.counts.clone()
    }

    pub fn away(&self) -> usize {
        self.away.len()
    }

    pub fn is_away(&self, path: &NodePath) -> bool {
        self.away.contains_key(path)
    }

    /// Brings back who is due, and lets the next fault happen if it is time.
    pub async fn happen(&mut self, tree: &mut LocalTree, teller: &Teller) -> Result<(), DemoError> {
        let now = Instant::now();
        let due: Vec<NodePath> =
            self.away.iter().filter(|(_, (_, back))| *back <= now).map(|(path, _)| path.clone()).collect();
        for path in due {
            self.back(tree, &path).await?;
        }
        if now < self.next || self.away.len() >= MAX_AWAY {
            return Ok(());
        }
        self.next = now + self.every.mul_f64(self.rng.random_range(0.3..1.7));
        // The few nodes above matter as much as the many counties: of ten faults one is the province's and three a prefecture's.
        let depth = [0, 1, 1, 1, 2, 2, 2, 2, 2, 2][self.rng.random_range(0..10)];
        let up = |path: &NodePath| path.depth() == depth && !self.away.contains_key(path);
        let tier: Vec<NodePath> = tree.paths().into_iter().filter(up).collect();
        let Some(victim) = tier.choose(&mut self.rng).cloned() else { return Ok(()) };
        self.begin(tree, &victim, teller).await
    }

    async fn begin(
        &mut self,
        tree: &mut LocalTree,
        victim: &NodePath,
        teller: &Teller,
    ) -> Result<(), DemoError> {
        let fault =
            [Fault::Killed, Fault::Killed, Fault::Stopped, Fault::Frozen][self.rng.random_range(0..4)];
        match fault {
            Fault::Killed => tree.kill(victim).await?,
            Fault::Stopped => tree.stop(victim).await?,
            Fault::Frozen => signal(tree, victim, Signal::STOP)?,
        }
        let back = Duration::from_secs_f64(self.rng.random_range(AWAY_S));
        *self.counts.entry(fault.name()).or_default() += 1;
        self.away.insert(victim.clone(), (fault, Instant::now() + back));
        let seconds = back.as_secs_f64();
        teller.say(&format!("  {} is {} for {seconds:.1} s", place(tree, victim), fault.name()));
        Ok(())
    }

    async fn back(&mut self, tree: &mut LocalTree, path: &NodePath) -> Result<(), DemoError> {
        match self.away.remove(path) {
            Some((Fault::Frozen, _)) => signal(tree, path, Signal::CONT),
            Some(_) => Ok(tree.start(path).await?),
            None => Ok(()),
        }
    }

    /// Brings everybody back.
    pub async fn heal(&mut self, tree: &mut LocalTree, teller: &Teller) -> Result<(), DemoError> {
        let away: Vec<NodePath> = self.away.keys().cloned().collect();
        for path in away {
            self.back(tree, &path).await?;
            teller.say(&format!("  {} is back", place(tree, &path)));
        }
        Ok(())
    }
}

fn signal(tree: &LocalTree, path: &NodePath, signal: Signal) -> Result<(), DemoError> {
    let pid = tree.process_id(path).and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
    let Some(pid) = pid else { return Err(DemoError::NotShown(format!("{path} has no process"))) };
    Ok(kill_process(pid, signal).map_err(std::io::Error::from)?)
}
