//! How much content there is, exactly, without a slow start: counted in the background, one shard after the other.
//!
//! A shard is all content whose hash starts with the same byte. Whoever changes a shard holds its lock; the count of a shard
//! holds it too, so nothing is counted twice or missed, and an upload waits at most for the count of one shard in 256.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use tokio::sync::{Mutex, MutexGuard};

use crate::content_id::CONTENT;

const SHARDS: usize = 256;

#[derive(Debug)]
pub(crate) struct Counter {
    shards: Vec<Mutex<Shard>>,
    /// Sums over the counted shards.
    objects: AtomicU64,
    bytes: AtomicU64,
    uncounted: AtomicUsize,
    stop: AtomicBool,
}

#[derive(Debug)]
pub(crate) struct Shard {
    counted: bool,
    /// Which of the shard's folders are known to be durable, by the second byte of the hash.
    pub(crate) durable: [bool; 256],
}

impl Counter {
    /// A counter of content that is all still to be counted, or of none.
    pub(crate) fn new(empty: bool) -> Self {
        let shard = || Mutex::new(Shard { counted: empty, durable: [false; 256] });
        Self {
            shards: std::iter::repeat_with(shard).take(SHARDS).collect(),
            objects: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            uncounted: AtomicUsize::new(if empty { 0 } else { SHARDS }),
            stop: AtomicBool::new(false),
        }
    }

    /// The shard of content, locked for changing it.
    pub(crate) async fn shard(&self, first_byte: u8) -> MutexGuard<'_, Shard> {
        self.shards[usize::from(first_byte)].lock().await
    }

    /// Notes that content of a locked shard changed from one size to another; none means absent.
    pub(crate) fn changed(&self, shard: &Shard, before: Option<u64>, after: Option<u64>) {
        if !shard.counted {
            return;
        }
        // Wrapping sums: a shrinking is an addition of the complement.
        let objects = u64::from(after.is_some()).wrapping_sub(u64::from(before.is_some()));
        self.objects.fetch_add(objects, Ordering::Relaxed);
        self.bytes.fetch_add(after.unwrap_or(0).wrapping_sub(before.unwrap_or(0)), Ordering::Relaxed);
    }

    /// Objects and bytes of the shards counted so far, and whether those are all.
    pub(crate) fn totals(&self) -> (u64, u64, bool) {
        let counted = self.uncounted.load(Ordering::Acquire) == 0;
        (self.objects.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed), counted)
    }

    /// Ends a running count; the repository is closing.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Starts counting the content below `dir` in a thread of its own.
    pub(crate) fn start(self: &Arc<Self>, dir: &Path) -> io::Result<()> {
        let (counter, content) = (Arc::clone(self), dir.join(CONTENT));
        std::thread::Builder::new().name("content-count".into()).spawn(move || counter.count(&content))?;
        Ok(())
    }

    fn count(&self, content: &Path) {
        for byte in 0..=u8::MAX {
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            let mut shard = self.shards[usize::from(byte)].blocking_lock();
            match count_folder(&content.join(format!("{byte:02x}"))) {
                Ok((objects, bytes)) => {
                    self.objects.fetch_add(objects, Ordering::Relaxed);
                    self.bytes.fetch_add(bytes, Ordering::Relaxed);
                    shard.counted = true;
                    self.uncounted.fetch_sub(1, Ordering::Release);
                }
                // The status goes on to say that the count is incomplete.
                Err(error) => tracing::error!(shard = byte, %error, "content could not be counted"),
            }
        }
    }
}

/// Files and bytes two levels down.
fn count_folder(shard: &Path) -> io::Result<(u64, u64)> {
    let (mut objects, mut bytes) = (0, 0);
    for folder in entries(shard)? {
        for file in entries(&folder)? {
            objects += 1;
            bytes += fs::metadata(file)?.len();
        }
    }
    Ok((objects, bytes))
}

/// What a folder holds; nothing if it is missing.
fn entries(dir: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(dir) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}
