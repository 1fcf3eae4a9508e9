//! Disks that are lost or set back, copies that run beside the living node, and what the operator does about it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use model::{Record, RecordKey};
use store::{LastEpoch, Memory, MemoryIndex, Store};

use super::faults::Crash;
use super::ledger::Held;
use super::node::Seat;
use super::run::{Event, KILLED, Simulation};

/// How long a node is refused before the operator takes its disk out.
const PATIENCE_MS: u64 = 2000;

/// What becomes of the noted epoch when a disk is set back.
#[derive(Debug, Clone, Copy)]
enum Note {
    Kept,
    SetBack(Option<LastEpoch>),
}

/// A backup.
#[derive(Debug, Clone)]
pub struct Copied {
    memory: Memory,
    index: MemoryIndex,
    /// Of a machine that is set back as a whole, the note too.
    note: Note,
}

impl Copied {
    pub fn of(seat: &Seat, note: bool) -> Self {
        let (memory, index) = (seat.disk.copy(), seat.index.lock().copy());
        Self { memory, index, note: if note { Note::SetBack(*seat.note.lock()) } else { Note::Kept } }
    }
}

impl Simulation {
    /// The disk is replaced by an empty one.
    pub fn lose(&mut self, node: usize, crash: Crash) {
        // Another disk has other random bytes.
        let memory = Memory::new(self.seed ^ (self.elapsed.ms() << 20) ^ node as u64);
        self.set_back(node, Copied { memory, index: MemoryIndex::default(), note: Note::Kept }, crash);
    }

    /// The disk is replaced by a copy.
    pub fn set_back(&mut self, node: usize, copied: Copied, crash: Crash) {
        self.ledger.trace(self.elapsed.ms(), &format!("the disk of {node} is replaced"));
        let seat = self.seats[node].clone();
        let before = seat.on_disk();
        let version = |key: &RecordKey| before.as_ref()?.version(key).ok()?;
        let held = self.ledger.held_by(node, version);
        drop(before);
        self.crash(node, crash);
        seat.tampered.store(true, Ordering::Relaxed);
        seat.disk.replace(copied.memory);
        *seat.index.lock() = copied.index;
        if let Note::SetBack(note) = copied.note {
            *seat.note.lock() = note;
            self.ledger.branches(node);
        }
        self.refused[node] = None;
        self.fall_back(node, &held);
    }

    /// What the writer and all above it do not have any more is what nobody can know.
    fn fall_back(&self, node: usize, held: &Held) {
        let stores: Vec<Option<Store>> = self.seats.iter().map(|seat| seat.on_disk()).collect();
        let left = |writers: &[usize], key: &RecordKey| {
            let mut best: Option<Record> = None;
            let parent = |at: &usize| self.seats[*at].member.parent;
            for at in writers.iter().flat_map(|writer| std::iter::successors(Some(*writer), parent)) {
                let held = stores[at].as_ref().and_then(|store| store.get(key).ok().flatten());
                let version = |record: &Record| record.envelope().version;
                // Of two with the same version the ancestors' counts: a writer that was set back is overruled.
                if let Some(held) = held
                    && best.as_ref().is_none_or(|best| version(best) <= version(&held))
                {
                    best = Some(held);
                }
            }
            best
        };
        let lost = &self.seats[node].member.path;
        let writers: Vec<usize> = self
            .seats
            .iter()
            .filter(|seat| lost.contains(&seat.member.path))
            .map(|seat| seat.place)
            .collect();
        self.ledger.fall_back(&writers, left);
        self.ledger.lose(held, |ever, key| left(ever, key).map(|left| left.envelope().version));
    }

    /// Starts a copy of a node that is up.
    pub fn start_clone(&mut self, node: usize, for_ms: u64) {
        let seat = &self.seats[node];
        if self.down[node] || seat.live.lock().as_ref().is_none_or(|live| live.store.last_epoch().is_none()) {
            return;
        }
        seat.tampered.store(true, Ordering::Relaxed);
        let clone = Arc::new(seat.copy(self.seed ^ self.elapsed.ms()));
        let name = format!("clone{}", self.elapsed.ms());
        if self.clones.contains(&name) {
            return;
        }
        self.sim.host(name.clone(), move || clone.clone().live());
        self.clones.push(name.clone());
        self.after(for_ms, Event::EndClone(name));
    }

    pub fn end_clone(&mut self, name: &str) {
        if self.clones.iter().any(|clone| clone == name) {
            self.clones.retain(|clone| clone != name);
            self.sim.crash(name);
        }
    }

    /// The operator restores a node from its parent when the parent refuses it for good, as the refusal says.
    pub fn operate(&mut self) {
        let now_ms = self.elapsed.ms();
        for node in 1..self.seats.len() {
            let seat = self.seats[node].clone();
            let refused = is_refused(&seat);
            let since = *self.refused[node].get_or_insert(now_ms);
            if !refused {
                self.refused[node] = None;
            } else if now_ms - since >= PATIENCE_MS {
                self.ledger.trace(now_ms, &format!("the operator restores {node}"));
                self.lose(node, KILLED);
            }
        }
    }
}

/// Whether the parent refuses a node for good.
fn is_refused(seat: &Seat) -> bool {
    let (live, above) = (seat.live.lock().clone(), seat.member.path.parent());
    let Some((live, above)) = live.zip(above) else { return false };
    let reason = live.links.view(&above).and_then(|link| link.last_error).map(|error| error.reason);
    let restoring = live.store.last_epoch().is_none() || replication::is_restoring(&live.store);
    // While a restore is under way it is said to be needed. One whose parent has lost everything meanwhile does not end.
    let hopeless = match reason.as_deref() {
        Some("RESTORE_NEEDED" | "EPOCH_FENCED") => !restoring,
        Some("PROTOCOL") => restoring,
        _ => false,
    };
    // A node that nobody tampered with must never need it: it stays refused, and that is found.
    hopeless && seat.tampered.load(Ordering::Relaxed)
}
