//! What of the steps taken on a disk survives a crash.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

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
pub(super) enum Step {
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
pub(super) struct Disk {
    pub names: BTreeMap<String, usize>,
    pub inodes: BTreeMap<usize, Vec<u8>>,
}

/// The disk after these steps and a crash.
pub(super) fn survivors(base: &Disk, steps: &[Step], cut: Cut) -> Disk {
    let mut durable = Durable { disk: base.clone(), pending: Vec::new() };
    for step in steps {
        durable.take(step);
    }
    durable.crash(cut)
}

impl Disk {
    fn take_all<'a>(&mut self, steps: impl IntoIterator<Item = &'a Step>) {
        for step in steps {
            self.take(step);
        }
    }

    pub(super) fn content(&mut self, name: &str) -> io::Result<&mut Vec<u8>> {
        let inode = self.inode(name)?;
        Ok(self.inodes.entry(inode).or_default())
    }

    pub(super) fn inode(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    pub(super) fn take(&mut self, step: &Step) {
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
        self.disk.take_all(&settled);
    }

    fn crash(mut self, cut: Cut) -> Disk {
        let pending = std::mem::take(&mut self.pending);
        match cut {
            Cut::Synced => {}
            Cut::Kept => self.disk.take_all(&pending),
            Cut::Prefix { steps, bytes } => {
                self.disk.take_all(&pending[..steps.min(pending.len())]);
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
            self.disk.take_all(steps[..kept].iter().copied());
            if let Some(Step::Write { bytes, .. }) = steps.get(kept) {
                let torn = below(&mut seed, bytes.len() as u64 + 1) as usize;
                self.disk.take_all(&steps[kept].torn(torn));
            }
        }
    }

    /// Applies everything, then puts zeros into random pages of what was written.
    fn pierce(&mut self, pending: &[Step], mut seed: u64) {
        self.disk.take_all(pending);
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

pub(super) fn next(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *seed;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}
