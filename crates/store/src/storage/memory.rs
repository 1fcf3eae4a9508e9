//! The log in memory, with a disk's bad habits.
//!
//! It behaves like a file system whose power may fail: what was not synced may be there, in part, or not at all.
//! [`Memory::image`] gives the disk as it could be found after a crash at any moment of a recorded run. Faults can be
//! put in beforehand: a full disk, a failing write, a failing sync (after which the bytes it was to make durable can
//! still be read, but never become durable: what Linux does).

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::Storage;

/// Unit in which unsynced bytes reach a disk out of order.
const PAGE: usize = 4096;

/// What a crash leaves of what was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Everything: the process was killed, the system went on.
    Kept,
    /// Nothing.
    Synced,
    /// The first `steps` writes and directory changes, and `bytes` bytes of the next write.
    Prefix { steps: usize, bytes: usize },
    /// A random part, per file and for the directory: some first steps and a torn one.
    Torn { seed: u64 },
    /// All lengths and names, but random pages hold zeros instead of what was written.
    Holes { seed: u64 },
}

#[derive(Debug, Clone)]
enum Step {
    Create {
        name: String,
        inode: usize,
    },
    Rename {
        from: String,
        to: String,
    },
    Remove {
        name: String,
    },
    Write {
        inode: usize,
        at: usize,
        bytes: Arc<[u8]>,
    },
    Truncate {
        inode: usize,
        len: usize,
    },
    SyncData {
        inode: usize,
    },
    /// A sync that failed: what it was to cover will never be durable.
    LoseData {
        inode: usize,
    },
    SyncDir,
}

/// Names and contents.
#[derive(Debug, Clone, Default)]
struct Disk {
    names: BTreeMap<String, usize>,
    inodes: BTreeMap<usize, Vec<u8>>,
}

#[derive(Debug, Default)]
struct State {
    disk: Disk,
    base: Disk,
    history: Vec<Step>,
    next_inode: usize,
    capacity: Option<u64>,
    fail_write_in: Option<u64>,
    fail_sync_in: Option<u64>,
    random: u64,
}

/// Files in memory. Clones are handles to the same files.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    state: Arc<Mutex<State>>,
}

impl Memory {
    /// An empty one whose random bytes follow from `seed`.
    pub fn new(seed: u64) -> Self {
        let memory = Self::default();
        memory.state.lock().random = seed;
        memory
    }

    /// Limits all files together to so many bytes; none for no limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state.lock().capacity = bytes;
    }

    /// Lets the `nth` write from now fail (1 is the next), after half of it was made.
    pub fn fail_write(&self, nth: u64) {
        self.state.lock().fail_write_in = Some(nth);
    }

    /// Lets the `nth` sync of data from now fail (1 is the next).
    pub fn fail_sync(&self, nth: u64) {
        self.state.lock().fail_sync_in = Some(nth);
    }

    /// Steps taken so far: moments at which [`Memory::image`] can be asked for.
    pub fn steps(&self) -> usize {
        self.state.lock().history.len()
    }

    /// The disk as a crash after the first `steps` steps can leave it.
    pub fn image(&self, steps: usize, cut: Cut) -> Self {
        let state = self.state.lock();
        let mut durable = Durable { disk: state.base.clone(), pending: Vec::new() };
        for step in &state.history[..steps] {
            durable.take(step);
        }
        Self::of(durable.crash(cut), state.random ^ steps as u64, state.next_inode)
    }

    /// A copy of what is there now, as if everything had been synced.
    pub fn copy(&self) -> Self {
        let state = self.state.lock();
        Self::of(state.disk.clone(), state.random, state.next_inode)
    }

    fn of(disk: Disk, random: u64, next_inode: usize) -> Self {
        let state = State { base: disk.clone(), disk, random, next_inode, ..State::default() };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Changes bytes behind the store's back, for damage tests.
    pub fn damage(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state.lock();
        if let Ok(bytes) = state.disk.content(name) {
            change(bytes);
        }
        state.base = state.disk.clone();
        state.history.clear();
    }
}

impl Disk {
    fn content(&mut self, name: &str) -> io::Result<&mut Vec<u8>> {
        let inode = self.inode(name)?;
        Ok(self.inodes.entry(inode).or_default())
    }

    fn inode(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Create { name, inode } => {
                self.names.insert(name.clone(), *inode);
                self.inodes.entry(*inode).or_default();
            }
            Step::Rename { from, to } => {
                if let Some(inode) = self.names.remove(from) {
                    self.names.insert(to.clone(), inode);
                }
            }
            Step::Remove { name } => drop(self.names.remove(name)),
            Step::Write { inode, at, bytes } => {
                let content = self.inodes.entry(*inode).or_default();
                content.resize(content.len().max(at + bytes.len()), 0);
                content[*at..at + bytes.len()].copy_from_slice(bytes);
            }
            Step::Truncate { inode, len } => self.inodes.entry(*inode).or_default().resize(*len, 0),
            Step::SyncData { .. } | Step::LoseData { .. } | Step::SyncDir => {}
        }
    }
}

impl Step {
    /// The file whose bytes this changes; none for a change of names.
    fn inode(&self) -> Option<usize> {
        match self {
            Self::Write { inode, .. } | Self::Truncate { inode, .. } => Some(*inode),
            _ => None,
        }
    }

    fn torn(&self, bytes: usize) -> Option<Self> {
        match self {
            Self::Write { inode, at, bytes: all } if bytes > 0 => {
                Some(Self::Write { inode: *inode, at: *at, bytes: all[..bytes.min(all.len())].into() })
            }
            _ => None,
        }
    }
}

/// What is certain to survive, and what came since.
struct Durable {
    disk: Disk,
    pending: Vec<Step>,
}

impl Durable {
    fn take(&mut self, step: &Step) {
        let of = |pending: &Step, inode: usize| pending.inode() == Some(inode);
        match step {
            Step::SyncData { inode } => self.settle(|pending| of(pending, *inode)),
            Step::LoseData { inode } => self.pending.retain(|pending| !of(pending, *inode)),
            Step::SyncDir => self.settle(|pending| pending.inode().is_none()),
            step => self.pending.push(step.clone()),
        }
    }

    fn settle(&mut self, which: impl Fn(&Step) -> bool) {
        let (settled, rest) = std::mem::take(&mut self.pending).into_iter().partition(which);
        self.pending = rest;
        let settled: Vec<Step> = settled;
        settled.iter().for_each(|step| self.disk.take(step));
    }

    fn crash(mut self, cut: Cut) -> Disk {
        let pending = std::mem::take(&mut self.pending);
        match cut {
            Cut::Synced => {}
            Cut::Kept => pending.iter().for_each(|step| self.disk.take(step)),
            Cut::Prefix { steps, bytes } => {
                pending.iter().take(steps).for_each(|step| self.disk.take(step));
                if let Some(torn) = pending.get(steps).and_then(|step| step.torn(bytes)) {
                    self.disk.take(&torn);
                }
            }
            Cut::Torn { seed } => self.tear(&pending, seed),
            Cut::Holes { seed } => self.pierce(&pending, seed),
        }
        self.disk
    }

    /// Keeps a random first part of each file's steps, and of the directory's.
    fn tear(&mut self, pending: &[Step], mut seed: u64) {
        let groups: BTreeSet<Option<usize>> = pending.iter().map(Step::inode).collect();
        for group in groups {
            let steps: Vec<&Step> = pending.iter().filter(|step| step.inode() == group).collect();
            let kept = below(&mut seed, steps.len() as u64 + 1) as usize;
            steps[..kept].iter().for_each(|step| self.disk.take(step));
            if let Some(Step::Write { bytes, .. }) = steps.get(kept) {
                let torn = below(&mut seed, bytes.len() as u64 + 1) as usize;
                steps[kept].torn(torn).iter().for_each(|step| self.disk.take(step));
            }
        }
    }

    /// Applies everything, then puts zeros into random pages of what was written.
    fn pierce(&mut self, pending: &[Step], mut seed: u64) {
        pending.iter().for_each(|step| self.disk.take(step));
        for step in pending {
            let Step::Write { inode, at, bytes } = step else { continue };
            for page in at / PAGE..(at + bytes.len()).div_ceil(PAGE) {
                if below(&mut seed, 2) == 0 {
                    continue;
                }
                let content = self.disk.inodes.entry(*inode).or_default();
                let until = ((page + 1) * PAGE).min(at + bytes.len()).min(content.len());
                let from = (page * PAGE).max(*at).min(until);
                content[from..until].fill(0);
            }
        }
    }
}

/// A random number under `end`, which is over 0 (SplitMix64).
fn below(seed: &mut u64, end: u64) -> u64 {
    next(seed) % end
}

fn next(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *seed;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

impl State {
    fn take(&mut self, step: Step) {
        self.disk.take(&step);
        self.history.push(step);
    }

    fn used(&self) -> u64 {
        self.disk
            .names
            .values()
            .filter_map(|inode| self.disk.inodes.get(inode))
            .map(|bytes| bytes.len() as u64)
            .sum()
    }

    /// How many of `wanted` bytes may be written, and the error for the rest.
    fn admit(&mut self, wanted: usize) -> (usize, Option<io::Error>) {
        if due(&mut self.fail_write_in) {
            return (wanted / 2, Some(io::Error::other("injected write failure")));
        }
        let room = self.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(self.used()));
        if room < wanted as u64 {
            return (room as usize, Some(io::Error::from(io::ErrorKind::StorageFull)));
        }
        (wanted, None)
    }
}

fn due(countdown: &mut Option<u64>) -> bool {
    match countdown {
        Some(1) => {
            *countdown = None;
            true
        }
        Some(left) => {
            *left -= 1;
            false
        }
        None => false,
    }
}

impl Storage for Memory {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.state.lock().disk.names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        let inode = state.next_inode;
        state.next_inode += 1;
        state.take(Step::Create { name: name.to_owned(), inode });
        Ok(())
    }

    fn append(&self, name: &str, at: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state.lock();
        let inode = state.disk.inode(name)?;
        let (admitted, error) = state.admit(bytes.len());
        if admitted > 0 {
            state.take(Step::Write { inode, at: at as usize, bytes: bytes[..admitted].into() });
        }
        error.map_or(Ok(()), Err)
    }

    fn sync_data(&self, name: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        let inode = state.disk.inode(name)?;
        if due(&mut state.fail_sync_in) {
            state.take(Step::LoseData { inode });
            return Err(io::Error::other("injected sync failure"));
        }
        state.take(Step::SyncData { inode });
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.state.lock().take(Step::SyncDir);
        Ok(())
    }

    fn read_at(&self, name: &str, at: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut state = self.state.lock();
        let content = state.disk.content(name)?;
        let from = (at as usize).min(content.len());
        let read = into.len().min(content.len() - from);
        into[..read].copy_from_slice(&content[from..from + read]);
        Ok(read)
    }

    fn truncate(&self, name: &str, len: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        let inode = state.disk.inode(name)?;
        state.take(Step::Truncate { inode, len: len as usize });
        Ok(())
    }

    fn len(&self, name: &str) -> io::Result<u64> {
        Ok(self.state.lock().disk.content(name)?.len() as u64)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        state.disk.inode(from)?;
        state.take(Step::Rename { from: from.to_owned(), to: to.to_owned() });
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        state.disk.inode(name)?;
        state.take(Step::Remove { name: name.to_owned() });
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let state = self.state.lock();
        Ok(state.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(state.used())))
    }

    fn random(&self, out: &mut [u8]) -> io::Result<()> {
        let mut state = self.state.lock();
        out.fill_with(|| next(&mut state.random) as u8);
        Ok(())
    }
}
