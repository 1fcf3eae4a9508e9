//! One simulation: a tree under faults for a while, then healed, then judged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use replication::{ReceiverSettings, SenderSettings};
use rpc::KeepAlive;
use store::{Limits, MemoryIndex};
use turmoil::Sim;

use super::byzantine::{self, Lie};
use super::faults::{Crash, Fault, IndexLeft, Plan};
use super::forgery::forge;
use super::hospital::Hospital;
use super::ledger::Ledger;
use super::losses::Copied;
use super::mesh::members;
use super::moves::{self, Moving, Order, Orders};
use super::node::{Seat, Settings, host};
use super::oracle;
use super::seams::{Elapsed, SkewedClock};
use super::settling::{SWEEP_PAUSE, Settling};
use super::watch::Watch;

/// Steps of the simulation: a fine one takes nearly twice as long to run.
const FINE_TICK_MS: u64 = 5;
const TICK_MS: u64 = 20;
/// No simulation takes longer, in simulated time.
const END_MS: u64 = 90_000;
/// Longest pause of a hospital between two calls, at least, where feeds are slow.
const SLOW_PAUSE_MS: u64 = 600;
/// How long a node stays up after a sync failed, before somebody restarts it.
const NOTICED_MS: u64 = 1500;

/// What a simulation came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub seed: u64,
    /// Hash of all that hospitals and oracle saw: equal for two runs of one seed.
    pub trace: String,
    /// Writes that were acknowledged.
    pub writes: u64,
    pub faults: usize,
    /// When the tree was quiet, in simulated milliseconds.
    pub quiet_ms: u64,
    /// What did not hold; empty if all did.
    pub wrong: Vec<String>,
}

/// Something that is to happen at a time.
#[derive(Debug, Clone)]
pub(super) enum Event {
    Fault(Fault),
    RepairLink(usize),
    RepairHost(usize),
    FastLink(usize),
    Room(usize),
    Down(usize, Crash),
    Up(usize),
    SetBack(usize, Box<Copied>, Crash),
    EndClone(String),
    Lie(Lie),
    EndLie(String),
    Move(Order),
}

pub(super) struct Simulation {
    pub sim: Sim<'static>,
    pub seed: u64,
    pub seats: Vec<Arc<Seat>>,
    /// Hosts of copies that run beside their originals.
    pub clones: Vec<String>,
    /// Hosts of neighbours that lie, and who is at both ends.
    pub liars: Vec<(String, [usize; 2])>,
    /// Since when each node is refused by its parent.
    pub refused: Vec<Option<u64>>,
    /// Of each node, its index as it was at its last start.
    old_indexes: Vec<MemoryIndex>,
    /// How a machine goes down that stops by itself.
    stops: Vec<Option<Crash>>,
    /// Nodes that are down.
    pub down: Vec<bool>,
    events: BTreeMap<(u64, u64), Event>,
    next_event: u64,
    pub elapsed: Elapsed,
    pub ledger: Ledger,
    pub watch: Watch,
    /// Moves that the operator was asked for and that are not decided.
    pub orders: Vec<Order>,
    tick_ms: u64,
    latency_ms: u64,
}

/// Runs one seed.
pub fn run(seed: u64) -> Outcome {
    let mut rng = StdRng::seed_from_u64(seed);
    let faults_until_ms = rng.random_range(4000..20_000);
    let orders = moves::draw(seed, members(), faults_until_ms);
    let mut simulation = Simulation::new(seed, &mut rng, (faults_until_ms, &orders));
    let plan = Plan::draw(&mut rng, members(), (faults_until_ms, &Moving::of(&orders, members())));
    for (at_ms, fault) in &plan.faults {
        simulation.at(*at_ms, Event::Fault(*fault));
    }
    for (at_ms, order) in &orders {
        simulation.at(*at_ms, Event::Move(order.clone()));
    }
    // What a liar did to whoever lost a disk, or beside forged records, would be a matter of luck.
    let honest = |fault: &Fault| {
        !matches!(
            fault,
            Fault::Forge { .. } | Fault::Lose { .. } | Fault::SetBack { .. } | Fault::Clone { .. }
        )
    };
    let lies = if plan.faults.iter().all(|(_, fault)| honest(fault)) {
        byzantine::draw(seed, members(), faults_until_ms)
    } else {
        Vec::new()
    };
    for (at_ms, lie) in &lies {
        simulation.at(*at_ms, Event::Lie(*lie));
    }
    let mut outcome = Outcome {
        seed,
        trace: String::new(),
        writes: 0,
        faults: plan.faults.len() + orders.len() + lies.len(),
        quiet_ms: 0,
        wrong: Vec::new(),
    };
    outcome.wrong = simulation.go_through(faults_until_ms).err().unwrap_or_default();
    outcome.quiet_ms = simulation.elapsed.ms();
    outcome.writes = simulation.ledger.writes();
    if outcome.wrong.is_empty() {
        outcome.wrong = oracle::check(&simulation.seats, &simulation.ledger);
    }
    outcome.wrong.extend(oracle::whereabouts(&simulation.seats, &outcome.wrong));
    outcome.trace = simulation.ledger.trace_hash();
    simulation.end();
    outcome
}

fn settings(rng: &mut StdRng) -> Settings {
    let limits = Limits {
        segment_bytes: 1 << rng.random_range(12..18),
        overlay_bytes: 1 << rng.random_range(13..18),
        reserve_bytes: [0, 4096][rng.random_range(0..2)],
        ..Limits::default()
    };
    let sender = SenderSettings {
        head_interval: Duration::from_millis(rng.random_range(300..2000)),
        silence_limit: Duration::from_secs(6),
        max_batch_records: [1, 2, 5, 1000][rng.random_range(0..4)],
        max_in_flight: [1, 2, 8][rng.random_range(0..3)],
        sweep_pause: SWEEP_PAUSE,
        ..SenderSettings::default()
    };
    let receiver = ReceiverSettings {
        silence_limit: Duration::from_secs(6),
        read_ahead: rng.random_range(1..4),
        ..ReceiverSettings::default()
    };
    let keep_alive = KeepAlive { every: Duration::from_secs(2), within: Duration::from_secs(2) };
    Settings { limits, sender, receiver, keep_alive }
}

impl Simulation {
    fn new(seed: u64, rng: &mut StdRng, (until_ms, orders): (u64, &Orders)) -> Self {
        let (elapsed, ledger) = (Elapsed::default(), Ledger::default());
        let settings = settings(rng);
        let latency_ms = rng.random_range(5..100);
        // One record after the other is all that some feeds carry: nobody files faster than that for long.
        let slow = settings.sender.max_batch_records * settings.sender.max_in_flight <= 2;
        // What a hospital leaves behind where it moves away is taken back in up to 1024 questions, one after the other.
        let least_ms = if slow { SLOW_PAUSE_MS } else { 300 * u64::from(!orders.is_empty()) };
        let pause_ms = rng.random_range(100..1500).max(least_ms);
        let tick_ms = if seed.is_multiple_of(8) { FINE_TICK_MS } else { TICK_MS };
        let mut sim = turmoil::Builder::new()
            .rng_seed(seed)
            .tick_duration(Duration::from_millis(tick_ms))
            .simulation_duration(Duration::from_millis(2 * END_MS))
            .min_message_latency(Duration::from_millis(1))
            .max_message_latency(Duration::from_millis(latency_ms))
            .tcp_capacity(1024)
            .enable_random_order()
            .build();
        let mut seats = Vec::new();
        let mut all = Vec::new();
        for (place, member) in members().iter().enumerate() {
            for code in &member.hospitals {
                let seeds = (rng.random(), pause_ms);
                let hospital = Hospital::new((place, member), code, seeds, ledger.clone(), elapsed.clone());
                let moves = orders.iter().filter(|(_, order)| order.code == *code).count();
                ledger.homes(|homes| homes.first(hospital.institution(), place, moves));
                all.push((hospital, moves::places(orders, code)));
            }
        }
        for (place, member) in members().iter().enumerate() {
            let files_here = |(hospital, places): &(Hospital, BTreeSet<usize>)| {
                (hospital.node == place || places.contains(&place)).then(|| hospital.beside((place, member)))
            };
            let hospitals = all.iter().filter_map(files_here).collect();
            let clock = SkewedClock::new(elapsed.clone());
            let times = (seed, until_ms);
            let seat = Arc::new(Seat::new((place, member), clock, hospitals, settings.clone(), times));
            let lives = seat.clone();
            sim.host(host(place), move || lives.clone().live());
            seats.push(seat);
        }
        Self {
            sim,
            seed,
            clones: Vec::new(),
            liars: Vec::new(),
            refused: vec![None; seats.len()],
            old_indexes: vec![MemoryIndex::default(); seats.len()],
            stops: vec![None; seats.len()],
            down: vec![false; seats.len()],
            watch: Watch::new(seats.len()),
            seats,
            events: BTreeMap::new(),
            next_event: 0,
            elapsed,
            ledger,
            orders: Vec::new(),
            tick_ms,
            latency_ms,
        }
    }

    /// The faults, the healing, and the wait for quiet.
    fn go_through(&mut self, faults_until_ms: u64) -> Result<(), Vec<String>> {
        while self.elapsed.ms() < faults_until_ms {
            self.step()?;
        }
        self.heal();
        let mut settling = Settling::new(self.seats.len(), self.latency_ms);
        let mut quiet = false;
        while !quiet {
            if self.elapsed.ms() >= END_MS {
                let why = oracle::unrest(&self.seats, &self.ledger);
                let why = why.unwrap_or_else(|| settling.waits_for(&self.seats));
                let mut wrong = vec![format!("no quiet after {END_MS} ms: {why}")];
                wrong.extend(oracle::check(&self.seats, &self.ledger));
                return Err(wrong);
            }
            self.step()?;
            if self.elapsed.ms().is_multiple_of(100) {
                self.restart_failed();
                quiet = self.events.is_empty()
                    && self.orders.is_empty()
                    && oracle::is_quiet(&self.seats, &self.ledger)
                    && settling.is_over(self.elapsed.ms(), &self.seats, &self.ledger);
            }
        }
        Ok(())
    }

    fn at(&mut self, at_ms: u64, event: Event) {
        self.next_event += 1;
        self.events.insert((at_ms, self.next_event), event);
    }

    pub fn after(&mut self, wait_ms: u64, event: Event) {
        self.at(self.elapsed.ms() + wait_ms, event);
    }

    fn step(&mut self) -> Result<(), Vec<String>> {
        let now_ms = self.elapsed.ms();
        while let Some(entry) = self.events.first_entry().filter(|entry| entry.key().0 <= now_ms) {
            let event = entry.remove();
            if !matches!(event, Event::SetBack(..)) {
                self.ledger.trace(now_ms, &format!("{event:?}"));
            }
            self.happen(event);
        }
        self.sim.step().map_err(|error| vec![format!("a node ended: {error}")])?;
        self.elapsed.set(now_ms + self.tick_ms);
        for node in 0..self.seats.len() {
            if self.seats[node].disk.has_stopped() && !self.down[node] {
                let crash = self.stops[node].take();
                self.crash(node, crash.unwrap_or(KILLED));
            }
        }
        if now_ms.is_multiple_of(1000) {
            self.look();
        }
        if now_ms.is_multiple_of(200) {
            self.watch.look(&self.seats, &self.ledger);
            self.operate();
            self.decide();
        }
        Ok(())
    }

    /// Puts what can be seen of the nodes into the trace.
    fn look(&self) {
        for seat in &self.seats {
            if let Some(live) = &*seat.live.lock() {
                let links: Vec<_> =
                    live.links.all().iter().map(|link| (link.connected, link.position, link.head)).collect();
                let (place, head) = (seat.place, live.store.head());
                self.ledger.trace(self.elapsed.ms(), &format!("{place} at {head}: {links:?}"));
            }
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Fault(fault) => self.fault(fault),
            Event::RepairLink(link) => self.repair(link),
            Event::RepairHost(node) => self.each_link_of(node, Self::repair),
            Event::FastLink(link) => self.latency(link, self.latency_ms),
            Event::Room(node) => self.seats[node].disk.set_room(None),
            Event::Down(node, crash) => self.crash(node, crash),
            Event::Up(node) => self.start(node),
            Event::SetBack(node, copied, crash) => self.set_back(node, *copied, crash),
            Event::EndClone(name) => self.end_clone(&name),
            Event::Lie(lie) => self.begin_lie(lie),
            Event::EndLie(name) => self.end_lies(|known, _| known == name),
            Event::Move(order) => self.orders.push(order),
        }
    }

    fn fault(&mut self, fault: Fault) {
        match fault {
            Fault::Partition { link, for_ms } => {
                let (a, b) = self.ends(link);
                self.sim.partition(a, b);
                self.after(for_ms, Event::RepairLink(link));
            }
            Fault::OneWay { link, up, for_ms } => {
                let (child, parent) = self.ends(link);
                let (from, to) = if up { (child, parent) } else { (parent, child) };
                self.sim.partition_oneway(from, to);
                self.after(for_ms, Event::RepairLink(link));
            }
            Fault::Hold { link, for_ms } => {
                let (a, b) = self.ends(link);
                self.sim.hold(a, b);
                self.after(for_ms, Event::RepairLink(link));
            }
            Fault::Slow { link, latency_ms, for_ms } => {
                self.latency(link, latency_ms);
                self.after(for_ms, Event::FastLink(link));
            }
            Fault::Crash { node, crash } => self.crash(node, crash),
            Fault::Stop { node, nth, moment, crash } => {
                self.stops[node] = Some(crash);
                self.seats[node].disk.stop_in(nth, moment);
            }
            Fault::FailSync { node, crash } => {
                self.seats[node].disk.fail_next_sync();
                self.after(NOTICED_MS, Event::Down(node, crash));
            }
            Fault::Full { node, room, for_ms } => {
                self.seats[node].disk.set_room(Some(room));
                self.after(for_ms, Event::Room(node));
            }
            Fault::Skew { node, skew_ms } => self.seats[node].clock.set_skew(skew_ms),
            Fault::Lose { node, crash } => self.lose(node, crash),
            Fault::SetBack { node, note, after_ms, crash } => {
                let copied = Copied::of(&self.seats[node], note);
                self.after(after_ms, Event::SetBack(node, Box::new(copied), crash));
            }
            Fault::Clone { node, for_ms } => self.start_clone(node, for_ms),
            Fault::Forge { node, forgery } => {
                let number = self.ledger.forged().len() + 1;
                if let Some(record) = forge(&self.seats[node], forgery, number) {
                    self.ledger.forgery(node, record);
                }
            }
        }
    }

    fn ends(&self, link: usize) -> (String, String) {
        (host(link), host(self.seats[link].member.parent.unwrap_or(0)))
    }

    fn repair(&mut self, link: usize) {
        let (a, b) = self.ends(link);
        self.sim.release(a, b);
    }

    fn latency(&mut self, link: usize, latency_ms: u64) {
        let (a, b) = self.ends(link);
        self.sim.set_link_max_message_latency(a, b, Duration::from_millis(latency_ms));
    }

    fn each_link_of(&mut self, node: usize, change: fn(&mut Self, usize)) {
        for link in 1..self.seats.len() {
            if link == node || self.seats[link].member.parent == Some(node) {
                change(self, link);
            }
        }
    }

    pub fn crash(&mut self, node: usize, crash: Crash) {
        if self.down[node] {
            return;
        }
        self.down[node] = true;
        self.watch.forget(node, &self.seats);
        if crash.silent {
            self.each_link_of(node, |simulation, link| {
                let (a, b) = simulation.ends(link);
                simulation.sim.partition(a, b);
            });
            self.after(crash.down_ms, Event::RepairHost(node));
        }
        let seat = self.seats[node].clone();
        self.end_lies(|_, ends| ends.contains(&node));
        *seat.live.lock() = None;
        self.sim.crash(host(node));
        seat.disk.restart(crash.cut);
        if crash.cut.is_some() {
            seat.boots.fetch_add(1, Ordering::Relaxed);
            match crash.index {
                IndexLeft::AsItWas => {}
                IndexLeft::Old => *seat.index.lock() = self.old_indexes[node].copy(),
                IndexLeft::Nothing => *seat.index.lock() = MemoryIndex::default(),
            }
        }
        self.after(crash.down_ms, Event::Up(node));
    }

    fn start(&mut self, node: usize) {
        if self.down[node] {
            self.old_indexes[node] = self.seats[node].index.lock().copy();
            self.down[node] = false;
            self.sim.bounce(host(node));
        }
    }

    /// Ends what lasts: what is down comes back at once. A stop or a failing sync that waits for its commit may still come, and clocks
    /// stay wrong.
    fn heal(&mut self) {
        self.ledger.trace(self.elapsed.ms(), "healed");
        let pending: Vec<Event> = std::mem::take(&mut self.events).into_values().collect();
        for event in pending {
            if matches!(event, Event::Up(_) | Event::Room(_) | Event::Move(_)) {
                self.happen(event);
            }
        }
        for seat in &self.seats {
            seat.disk.set_room(None);
        }
        for name in std::mem::take(&mut self.clones) {
            self.sim.crash(name);
        }
        self.end_lies(|_, _| true);
        for link in 1..self.seats.len() {
            self.repair(link);
            self.latency(link, self.latency_ms);
        }
    }

    /// Restarts nodes that say that they must be.
    fn restart_failed(&mut self) {
        for node in 0..self.seats.len() {
            let live = self.seats[node].live.lock().clone();
            let failed = live.is_some_and(|live| {
                let status = live.store.status();
                status.log_failed || status.index_failed
            });
            if failed || self.seats[node].disk.has_failed() {
                self.crash(node, KILLED);
            }
        }
    }

    /// Lets everything go before its network does.
    fn end(mut self) {
        for seat in &self.seats {
            *seat.live.lock() = None;
        }
        for node in 0..self.seats.len() {
            self.sim.crash(host(node));
        }
    }
}

/// The process is killed and comes back soon.
pub const KILLED: Crash = Crash { cut: None, index: IndexLeft::AsItWas, silent: false, down_ms: 100 };
