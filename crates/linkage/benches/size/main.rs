//! What registrations cost in a large index: `cargo bench -p linkage -- 10000000` (a million by default).
//!
//! Registers an invented population one by one, and prints a line for each tenth of it: how many a second, how long one took (reading it
//! included), with how many others one would be compared, and what memory the process has grown by for each registration held. Figures only:
//! nothing is asserted, since machines differ. Where `cpu` is under 100, others used the machine too, and the times are theirs as well.

use std::time::{Duration, Instant};

use linkage::{Features, Linker, Model, Scorer, block};
use population::Population;

mod population;

/// One registration in so many is asked for its candidates before it is registered, and left out of the times: it is read already.
const ASKED: u64 = 16;

fn main() {
    // `cargo test --benches` runs it too, without this argument: then a few show that it works.
    let timed = std::env::args().any(|argument| argument == "--bench");
    let given = std::env::args().find_map(|argument| argument.parse().ok());
    let registrations: u64 = given.unwrap_or(if timed { 1_000_000 } else { 2_000 });
    let population = Population::of(registrations);
    let read = |number| {
        let (registration, county) = population.registration(number);
        move || Features::of(&registration, county.parse().ok().as_ref())
    };
    let mut linker = Linker::new(Scorer::new(Model::shipped()));
    // The tables of characters are made when the first registration is read.
    read(registrations)();
    let before = resident_bytes();
    println!(
        "{:>13} {:>8} {:>9} {:>9} {:>9} {:>11} {:>9} {:>6} {:>5}",
        "registrations", "per s", "p50 us", "p99 us", "most us", "candidates", "persons", "bytes", "cpu %"
    );
    let mut tenth = Tenth::start();
    for number in 0..registrations {
        let registration = read(number);
        if number % ASKED == 0 {
            let features = registration();
            tenth.candidates.push(linker.candidates(&block::keys(&features)));
            linker.register(features);
        } else {
            let start = Instant::now();
            linker.register(registration());
            tenth.times.push(start.elapsed());
        }
        if (number + 1) * 10 / registrations > number * 10 / registrations {
            let grown = resident_bytes().zip(before).map(|(now, before)| now.saturating_sub(before));
            std::mem::replace(&mut tenth, Tenth::start()).print(&linker, grown);
        }
    }
    let (keys, closed) = linker.keys();
    println!("{keys} blocking keys, {closed} of them closed");
}

/// What was measured since the last line.
struct Tenth {
    start: Instant,
    used: Option<Duration>,
    times: Vec<Duration>,
    candidates: Vec<usize>,
}

impl Tenth {
    fn start() -> Self {
        Self { start: Instant::now(), used: processor_time(), times: Vec::new(), candidates: Vec::new() }
    }

    fn print(mut self, linker: &Linker, grown: Option<usize>) {
        self.times.sort_unstable();
        let us = |time: Option<&Duration>| time.map_or(0.0, |time| time.as_secs_f64() * 1e6);
        let share = |share: usize| us(self.times.get(self.times.len() * share / 100));
        let total: Duration = self.times.iter().sum();
        let used = processor_time().zip(self.used).map(|(now, before)| now.saturating_sub(before));
        let unknown = || "?".to_owned();
        println!(
            "{:>13} {:>8.0} {:>9.1} {:>9.1} {:>9.1} {:>11.1} {:>9} {:>6} {:>5}",
            linker.len(),
            self.times.len() as f64 / total.as_secs_f64(),
            share(50),
            share(99),
            us(self.times.last()),
            self.candidates.iter().sum::<usize>() as f64 / self.candidates.len().max(1) as f64,
            linker.persons(),
            grown.map_or_else(unknown, |bytes| (bytes / linker.len().max(1)).to_string()),
            used.map_or_else(unknown, |used| format!(
                "{:.0}",
                100.0 * used.div_duration_f64(self.start.elapsed())
            )),
        );
    }
}

/// How long this thread has had a processor, from Linux; none elsewhere.
fn processor_time() -> Option<Duration> {
    let times = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    times.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}

/// Memory of the process that is in use, from Linux; none elsewhere.
fn resident_bytes() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<usize>().ok().map(|kilobytes| kilobytes * 1024)
}
