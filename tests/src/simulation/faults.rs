//! What goes wrong in a simulation: drawn from the seed before it begins.

use rand::Rng;
use rand::rngs::StdRng;
use store::Cut;

use super::disk::Moment;
use super::forgery::Forgery;
use super::mesh::Member;
use super::moves::Moving;

/// A day, in milliseconds.
const DAY_MS: i64 = 24 * 3600 * 1000;

/// One thing that goes wrong. Nodes are named by their places; the link of a node is the one to its parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// What is sent over the link is lost.
    Partition { link: usize, for_ms: u64 },
    /// What is sent one way is lost.
    OneWay { link: usize, up: bool, for_ms: u64 },
    /// What is sent over the link waits.
    Hold { link: usize, for_ms: u64 },
    /// The link gets slow.
    Slow { link: usize, latency_ms: u64, for_ms: u64 },
    /// The node stops between two steps.
    Crash { node: usize, crash: Crash },
    /// The node stops in the midst of its `nth` commit from now.
    Stop { node: usize, nth: u32, moment: Moment, crash: Crash },
    /// The next sync fails; the node is restarted after a while.
    FailSync { node: usize, crash: Crash },
    /// The disk has room for so many bytes only.
    Full { node: usize, room: u64, for_ms: u64 },
    /// The node's clock is set wrong by so much.
    Skew { node: usize, skew_ms: i64 },
    /// The node, which is not the root, forges a record.
    Forge { node: usize, forgery: Forgery },
    /// The disk is lost; what is kept beside it (keys, origin, the note of the last epoch) is not.
    Lose { node: usize, crash: Crash },
    /// After a while the disk is set back to what it is now; with the note, as a virtual machine that is rolled back.
    SetBack { node: usize, note: bool, after_ms: u64, crash: Crash },
    /// A second node with a copy of all that the node has starts beside it.
    Clone { node: usize, for_ms: u64 },
}

/// How a node goes down and comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crash {
    /// What is left of what was not synced; none if only the process dies.
    pub cut: Option<Cut>,
    pub index: IndexLeft,
    /// The neighbours are not told: their connections hang.
    pub silent: bool,
    pub down_ms: u64,
}

/// What a crash leaves of the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexLeft {
    AsItWas,
    /// As it was when the node started.
    Old,
    Nothing,
}

/// The faults of one simulation, by the time at which they come.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    pub faults: Vec<(u64, Fault)>,
}

/// Kinds of faults that a seed may have.
const KINDS: u32 = 13;
/// From here on disks are lost or set back. Not together with forgeries: whether those are kept would follow from luck.
const LOSSES: u32 = 10;
const FORGERIES: u32 = 9;
/// Most losses of one simulation.
const MOST_LOSSES: u32 = 3;

impl Plan {
    /// Draws faults until `until_ms`. Each seed has some kinds only and its own rate: a little of everything always hides
    /// what much of one thing shows. Where hospitals move, disks are lost and set back too, as far as `moving` lets them.
    pub fn draw(rng: &mut StdRng, members: &[Member], (until_ms, moving): (u64, &Moving)) -> Self {
        let moves = moving.any();
        let kinds: Vec<u32> = (0..KINDS).filter(|_| rng.random_bool(0.6)).collect();
        let losses = rng.random_bool(0.3);
        let fits = |kind: &u32| match *kind {
            FORGERIES => !losses && !moves,
            kind => kind < LOSSES || losses,
        };
        let kinds: Vec<u32> = kinds.into_iter().filter(fits).collect();
        let every_ms = rng.random_range(150..2500);
        let mut plan = Self::default();
        let mut at_ms = rng.random_range(0..3000);
        let mut lost = 0;
        while at_ms < until_ms && !kinds.is_empty() {
            let kind = kinds[rng.random_range(0..kinds.len())];
            // A tree whose disks all go one after the other has nothing left to be right about.
            at_ms += rng.random_range(1..2 * every_ms);
            lost += u32::from(kind >= LOSSES);
            if kind >= LOSSES && lost > MOST_LOSSES {
                continue;
            }
            let fault = fault(rng, kind, members.len());
            if !moves || moving.lets(&fault) {
                plan.faults.push((at_ms, fault));
            }
        }
        plan
    }
}

fn fault(rng: &mut StdRng, kind: u32, nodes: usize) -> Fault {
    let node = rng.random_range(0..nodes);
    // The root has no link up.
    let link = rng.random_range(1..nodes);
    let for_ms = rng.random_range(50..8000);
    match kind {
        0 => Fault::Partition { link, for_ms },
        1 => Fault::OneWay { link, up: rng.random(), for_ms },
        2 => Fault::Hold { link, for_ms },
        3 => Fault::Slow { link, latency_ms: rng.random_range(50..800), for_ms },
        4 => Fault::Crash { node, crash: crash(rng) },
        5 => {
            let moments = [Moment::InWrite, Moment::BeforeSync, Moment::AfterSync];
            let moment = moments[rng.random_range(0..moments.len())];
            Fault::Stop { node, nth: rng.random_range(1..8), moment, crash: power_loss(rng) }
        }
        6 => Fault::FailSync { node, crash: crash(rng) },
        7 => Fault::Full { node, room: rng.random_range(0..20_000), for_ms },
        8 => Fault::Skew { node, skew_ms: rng.random_range(-DAY_MS..DAY_MS) },
        10 => Fault::Lose { node, crash: power_loss(rng) },
        // Nobody is above a root who could tell that its note was set back as well.
        11 => {
            let (note, after_ms) = (node > 0 && rng.random(), rng.random_range(200..8000));
            Fault::SetBack { node, note, after_ms, crash: power_loss(rng) }
        }
        12 => Fault::Clone { node: link, for_ms },
        _ => {
            let forgeries = [Forgery::Signature, Forgery::ForeignOrigin, Forgery::UnknownKey];
            Fault::Forge { node: link, forgery: forgeries[rng.random_range(0..forgeries.len())] }
        }
    }
}

fn crash(rng: &mut StdRng) -> Crash {
    let killed = rng.random_bool(0.4);
    if killed { Crash { cut: None, ..power_loss(rng) } } else { power_loss(rng) }
}

fn power_loss(rng: &mut StdRng) -> Crash {
    let cut = match rng.random_range(0..4) {
        0 => Cut::Synced,
        1 => Cut::Kept,
        2 => Cut::Torn { seed: rng.random() },
        _ => Cut::Holes { seed: rng.random() },
    };
    let index = match rng.random_range(0..6) {
        0 => IndexLeft::Nothing,
        1 | 2 => IndexLeft::Old,
        _ => IndexLeft::AsItWas,
    };
    Crash { cut: Some(cut), index, silent: rng.random(), down_ms: rng.random_range(10..6000) }
}
