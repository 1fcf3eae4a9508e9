//! A node's disk: the store's memory, in a machine that can stop at a chosen moment of its writing.
//!
//! Between two steps of the simulation a node does many things; stopping the disk in the midst of them gives the crashes
//! that a stop between steps cannot give: before a sync, and after a sync whose answer nobody got.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use store::{Cut, Memory, Storage};

/// At which step of the writing the machine stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Half of the bytes are written.
    InWrite,
    /// The bytes are written and not synced.
    BeforeSync,
    /// The bytes are durable, and nobody is told.
    AfterSync,
}

#[derive(Debug)]
struct State {
    memory: Memory,
    /// Writes or syncs until the machine stops, and when exactly.
    stop: Option<(u32, Moment)>,
    stopped: bool,
    /// The next sync fails.
    fail_sync: bool,
    /// A sync or the start itself has failed since the machine was started.
    failed: bool,
    /// It has been given little room.
    short: bool,
}

/// The disk of one machine. Clones are handles to the same.
#[derive(Debug, Clone)]
pub struct Disk {
    state: Arc<Mutex<State>>,
}

impl Disk {
    pub fn new(seed: u64) -> Self {
        let state = State {
            memory: Memory::new(seed),
            stop: None,
            stopped: false,
            fail_sync: false,
            failed: false,
            short: false,
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Lets the machine stop at this moment of the `nth` commit from now (1 is the next).
    pub fn stop_in(&self, nth: u32, moment: Moment) {
        self.state.lock().stop = Some((nth, moment));
    }

    /// The machine has stopped: nothing can be read or written before [`Disk::restart`].
    pub fn has_stopped(&self) -> bool {
        self.state.lock().stopped
    }

    /// The next sync fails, and its bytes are lost.
    pub fn fail_next_sync(&self) {
        self.state.lock().fail_sync = true;
    }

    /// The node could not start: whether the disk is the reason, so that it is to be started again later.
    pub fn explains_failed_start(&self) -> bool {
        let mut state = self.state.lock();
        state.failed |= state.stopped || state.short;
        state.failed
    }

    /// A sync, or the start because of the disk, has failed: the node has to be started again.
    pub fn has_failed(&self) -> bool {
        self.state.lock().failed
    }

    /// Leaves room for so many bytes; none for all that are wanted.
    pub fn set_room(&self, bytes: Option<u64>) {
        const LARGE: u64 = 1 << 40;
        let memory = self.memory();
        self.state.lock().short = bytes.is_some();
        memory.set_capacity(Some(LARGE));
        let used = LARGE - memory.free_bytes().unwrap_or(LARGE);
        memory.set_capacity(bytes.map(|bytes| used + bytes));
    }

    /// The machine starts again with what a crash left: everything if only the process was killed (no `cut`).
    pub fn restart(&self, cut: Option<Cut>) {
        let mut state = self.state.lock();
        let steps = state.memory.steps();
        state.memory = match cut {
            None => state.memory.killed(steps),
            Some(cut) => state.memory.image(steps, cut),
        };
        (state.stop, state.stopped) = (None, false);
        (state.fail_sync, state.failed, state.short) = (false, false, false);
    }

    /// Another disk, or this one as it was, is put in. The machine is down.
    pub fn replace(&self, memory: Memory) {
        self.state.lock().memory = memory;
    }

    /// A copy of what is there now.
    pub fn copy(&self) -> Memory {
        self.memory().copy()
    }

    fn memory(&self) -> Memory {
        self.state.lock().memory.clone()
    }

    /// The memory, unless the machine has stopped.
    fn running(&self) -> io::Result<Memory> {
        let state = self.state.lock();
        if state.stopped { Err(stopped()) } else { Ok(state.memory.clone()) }
    }

    /// Counts a write or sync; whether the machine stops at it.
    fn stops(&self, at: &[Moment]) -> Option<Moment> {
        let mut state = self.state.lock();
        let (left, moment) = state.stop.filter(|(_, moment)| at.contains(moment))?;
        state.stop = Some((left.saturating_sub(1), moment));
        state.stopped = left <= 1;
        state.stopped.then_some(moment)
    }
}

fn stopped() -> io::Error {
    io::Error::other("the machine has stopped")
}

impl Storage for Disk {
    fn list(&self) -> io::Result<Vec<String>> {
        self.running()?.list()
    }

    fn create(&self, name: &str) -> io::Result<()> {
        self.running()?.create(name)
    }

    fn append(&self, name: &str, at: u64, bytes: &[u8]) -> io::Result<()> {
        let memory = self.running()?;
        if self.stops(&[Moment::InWrite]).is_some() {
            memory.append(name, at, &bytes[..bytes.len() / 2])?;
            return Err(stopped());
        }
        memory.append(name, at, bytes)
    }

    fn sync_data(&self, name: &str) -> io::Result<()> {
        let memory = self.running()?;
        if std::mem::take(&mut self.state.lock().fail_sync) {
            self.state.lock().failed = true;
            memory.fail_sync(1);
        }
        match self.stops(&[Moment::BeforeSync, Moment::AfterSync]) {
            Some(Moment::AfterSync) => memory.sync_data(name).and(Err(stopped())),
            Some(_) => Err(stopped()),
            None => memory.sync_data(name),
        }
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.running()?.sync_dir()
    }

    fn read_at(&self, name: &str, at: u64, into: &mut [u8]) -> io::Result<usize> {
        self.running()?.read_at(name, at, into)
    }

    fn truncate(&self, name: &str, len: u64) -> io::Result<()> {
        self.running()?.truncate(name, len)
    }

    fn len(&self, name: &str) -> io::Result<u64> {
        self.running()?.len(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.running()?.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.running()?.remove(name)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.running()?.free_bytes()
    }

    fn random(&self, out: &mut [u8]) -> io::Result<()> {
        self.running()?.random(out)
    }
}
