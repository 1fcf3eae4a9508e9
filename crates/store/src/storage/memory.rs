//! The log in memory, with a disk's bad habits.
//!
//! It behaves like a file system whose power may fail: what was not synced may be there, in part, or not at all.
//! [`Memory::image`] gives the disk as it could be found after a crash at any moment of a recorded run. Faults can be
//! put in beforehand: a full disk, a failing write, a failing sync (after which the bytes it was to make durable can
//! still be read, but never become durable: what Linux does).

mod crash;

use std::io;
use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;

use super::Storage;
pub use crash::Cut;
use crash::{Disk, Step, next, survivors};

#[derive(Debug, Default)]
struct State {
    disk: Disk,
    base: Disk,
    history: Vec<Step>,
    next_inode: usize,
    capacity: Option<u64>,
    fail_write_in: Option<u64>,
    fail_sync_in: Option<u64>,
    unreadable: Vec<(String, Range<u64>)>,
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

    /// Lets every read that touches these bytes of a file fail, as on a disk with a bad sector.
    pub fn fail_reads(&self, name: &str, bytes: Range<u64>) {
        self.state.lock().unreadable.push((name.to_owned(), bytes));
    }

    /// Steps taken so far: moments at which [`Memory::image`] can be asked for.
    pub fn steps(&self) -> usize {
        self.state.lock().history.len()
    }

    /// The disk as a crash after the first `steps` steps can leave it.
    #[must_use]
    pub fn image(&self, steps: usize, cut: Cut) -> Self {
        let state = self.state.lock();
        let disk = survivors(&state.base, &state.history[..steps], cut);
        Self::of(disk, state.random ^ steps as u64, state.next_inode)
    }

    /// The disk after the first `steps` steps, when the process was killed and the system went on: everything is there,
    /// and what was not synced still is not.
    #[must_use]
    pub fn killed(&self, steps: usize) -> Self {
        let state = self.state.lock();
        let history = state.history[..steps].to_vec();
        let disk = survivors(&state.base, &history, Cut::Kept);
        let (base, next_inode) = (state.base.clone(), state.next_inode);
        let state = State { base, disk, history, next_inode, random: state.random, ..State::default() };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// A copy of what is there now, as if everything had been synced.
    #[must_use]
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
        let end = at + into.len() as u64;
        let touches =
            |(bad, bytes): &(String, Range<u64>)| bad == name && bytes.start < end && at < bytes.end;
        if state.unreadable.iter().any(touches) {
            return Err(rustix::io::Errno::IO.into());
        }
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
