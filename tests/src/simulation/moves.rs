//! Institutions that are handed from one node to another: the operator orders it from the lowest node above both, and asks again
//! until it is decided there.
//!
//! The hospital learns of it by being refused (see `hospital`): it files wherever it is let.

use std::collections::BTreeSet;

use exchange::{Caller, ExchangeError, MoveInstitution, MoveOutcome, Role};
use futures_util::FutureExt;
use model::OriginId;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::faults::Fault;
use super::mesh::{Member, trust_domain};
use super::run::Simulation;

/// A move of one hospital.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    pub code: String,
    pub to: usize,
}

impl Order {
    pub fn institution(&self) -> OriginId {
        OriginId::of_institution(&trust_domain(), &self.code)
    }
}

/// The moves of one simulation, by the time at which they are ordered.
pub type Orders = Vec<(u64, Order)>;

/// Draws moves until `until_ms`: in two seeds of five, of one hospital or two, one after the other.
pub fn draw(seed: u64, members: &[Member], until_ms: u64) -> Orders {
    // Beside the other draws, so that a seed without moves is what it was before there were any.
    let mut rng = StdRng::seed_from_u64(seed ^ 0x6d6f_7665);
    if !rng.random_bool(0.4) {
        return Orders::new();
    }
    let mut homes: Vec<(usize, &String)> = Vec::new();
    for (place, member) in members.iter().enumerate() {
        homes.extend(member.hospitals.iter().map(|code| (place, code)));
    }
    let mut orders = Orders::new();
    for _ in 0..rng.random_range(1..=2) {
        let (home, code) = homes.swap_remove(rng.random_range(0..homes.len()));
        let mut from = home;
        for _ in 0..rng.random_range(1..=3) {
            // Often back to where it was, or to where it meets others.
            let to =
                if from != home && rng.random_bool(0.4) { home } else { rng.random_range(0..members.len()) };
            if to != from {
                orders.push((0, Order { code: code.clone(), to }));
                from = to;
            }
        }
    }
    let mut times: Vec<u64> = orders.iter().map(|_| rng.random_range(0..until_ms)).collect();
    times.sort_unstable();
    times.into_iter().zip(orders).map(|(at_ms, (_, order))| (at_ms, order)).collect()
}

/// The places of the nodes that have to do with moves.
#[derive(Debug, Clone, Default)]
pub struct Moving {
    /// The lowest nodes above both ends of one.
    deciders: BTreeSet<usize>,
    /// Those that a hospital which moves files with.
    writers: BTreeSet<usize>,
}

impl Moving {
    pub fn of(orders: &Orders, members: &[Member]) -> Self {
        let mut moving = Self::default();
        for (place, member) in members.iter().enumerate() {
            for code in &member.hospitals {
                let mut from = place;
                for (_, order) in orders.iter().filter(|(_, order)| order.code == *code) {
                    let above = members[from].path.common(&members[order.to].path);
                    let decider = members.iter().position(|one| Some(&one.path) == above.as_ref());
                    moving.deciders.extend(decider);
                    moving.writers.extend([from, order.to]);
                    from = order.to;
                }
            }
        }
        moving
    }

    pub fn any(&self) -> bool {
        !self.writers.is_empty()
    }

    /// Whether what holds at the end can be told beside this fault. Not when a decider's disk goes: nobody may know any more what it
    /// decided. And not when somebody writes on who does not know that the hospital has gone: an old copy of its node.
    pub fn lets(&self, fault: &Fault) -> bool {
        match fault {
            Fault::Lose { node, .. } => !self.deciders.contains(node),
            Fault::SetBack { node, .. } | Fault::Clone { node, .. } => {
                !self.deciders.contains(node) && !self.writers.contains(node)
            }
            _ => true,
        }
    }
}

/// The places of a hospital's nodes in all its terms but the first, each once.
pub fn places(orders: &Orders, code: &str) -> BTreeSet<usize> {
    orders.iter().filter(|(_, order)| order.code == code).map(|(_, order)| order.to).collect()
}

impl Simulation {
    /// The operator asks for the first of the moves of each institution that are not decided yet.
    pub fn decide(&mut self) {
        let mut asked = BTreeSet::new();
        let orders = std::mem::take(&mut self.orders);
        for order in orders {
            if !asked.insert(order.code.clone()) || !self.ask(&order) {
                self.orders.push(order);
            }
        }
    }

    /// Whether it is decided.
    fn ask(&self, order: &Order) -> bool {
        let institution = order.institution();
        let from = self.ledger.homes(|homes| homes.now(&institution));
        let Some(from) = from else { return false };
        if from == order.to {
            // The hospital had its answer from there before the operator had his.
            return true;
        }
        let to = self.seats[order.to].member.path.clone();
        let above = self.seats[from].member.path.common(&to);
        let decider = self.seats.iter().find(|seat| Some(&seat.member.path) == above.as_ref());
        let Some((decider, live)) = decider.and_then(|seat| Some((seat, seat.live.lock().clone()?))) else {
            return false;
        };
        // Whoever decides without having heard of the move before decides beside it: two operators at once, of whom only one
        // counts (`replication`'s directory, *moves*). So this one looks first whether the node knows where the hospital files.
        let view = live.directory.snapshot();
        let known = view.institution(&institution).map(|known| known.term as usize);
        let decided = self.ledger.homes(|homes| homes.ever(&institution)).len();
        if known.is_some_and(|known| known < decided) {
            return false;
        }
        self.ledger.homes(|homes| homes.order(&institution, order.to));
        let role = Role::Operator { name: "li".into() };
        let caller = Caller { path: decider.member.path.clone(), role };
        let request = MoveInstitution {
            code: order.code.clone(),
            to,
            dry_run: false,
            without_old_writer: false,
            expected_from: None,
        };
        // A store that works inside its caller is ready at once; and asking again tells what became of the first time.
        let answer = live.exchange.move_institution(&caller, request).now_or_never();
        let said = match &answer {
            None => "no answer yet",
            Some(Ok(moved)) => match moved.outcome {
                MoveOutcome::Possible => "possible",
                MoveOutcome::Decided => "decided",
                MoveOutcome::There => "there",
            },
            Some(Err(error)) => error.reason(),
        };
        let line = format!("{} to move from {from} to {}: {said}", order.code, order.to);
        self.ledger.trace(self.elapsed.ms(), &line);
        match answer {
            Some(Ok(_)) => self.ledger.homes(|homes| homes.decided(&institution)),
            // Its first record or the move before this one has not come there yet, or the node cannot commit now.
            None
            | Some(Err(
                ExchangeError::NotFound { .. }
                | ExchangeError::Conflict { .. }
                | ExchangeError::Unavailable { .. }
                | ExchangeError::Exhausted { .. },
            )) => return false,
            Some(Err(error)) => {
                self.ledger.violation(format!("node {} answers a move: {error}", decider.place));
                return false;
            }
        }
        true
    }
}
