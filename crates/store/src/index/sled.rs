//! The index in sled 0.34.
//!
//! sled does not sync what it flushes, panics on damage and may open empty without a word. So every call is made under
//! `catch_unwind`, the first failure ends the use of the index until the next start, files are synced and digested
//! here when the store closes, and nothing it says is believed without [`super::meta`].

use std::fs::{self, File};
use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::RwLock;

use super::block::{Block, NotABlock};
use super::meta::pair_hash;
use super::{Index, IndexFailed, Pair};
use crate::keys::PARTITIONS;

/// Bytes of a sled segment. Smaller ones are reused sooner: the file stays smaller.
const SEGMENT_BYTES: usize = 512 * 1024;
/// What sled leaves when it dies while it writes a snapshot, and then takes for one.
const UNFINISHED: &str = ".generating";

/// Why sled did not open.
#[derive(Debug)]
pub(crate) enum SledError {
    /// Somebody else has it.
    InUse,
    /// It cannot be used as it is.
    Failed,
    /// The directory cannot be used.
    Io(io::Error),
}

pub(crate) struct SledIndex {
    db: RwLock<Option<sled::Db>>,
    path: PathBuf,
    failed: AtomicBool,
}

impl std::fmt::Debug for SledIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SledIndex").field("path", &self.path).finish_non_exhaustive()
    }
}

impl SledIndex {
    pub(crate) fn open(path: &Path, cache_bytes: u64) -> Result<Self, SledError> {
        if path.exists() && !path.is_dir() {
            return Err(SledError::Failed);
        }
        if stays_locked(path).map_err(SledError::Io)? {
            return Err(SledError::InUse);
        }
        remove_unfinished(path).map_err(SledError::Io)?;
        let config = sled::Config::new()
            .path(path)
            .cache_capacity(cache_bytes)
            .segment_size(SEGMENT_BYTES)
            .flush_every_ms(None)
            .use_compression(false)
            .mode(sled::Mode::LowSpace);
        match guarded(|| config.open()) {
            Ok(db) => {
                let db = RwLock::new(Some(db));
                Ok(Self { db, path: path.to_owned(), failed: AtomicBool::new(false) })
            }
            Err(IndexFailed) => Err(SledError::Failed),
        }
    }

    /// Makes a call to sled unless one failed before.
    fn call<T>(&self, call: impl FnOnce(&sled::Db) -> sled::Result<T>) -> Result<T, IndexFailed> {
        if self.failed.load(Ordering::SeqCst) {
            return Err(IndexFailed);
        }
        let db = self.db.read();
        let result = db.as_ref().ok_or(IndexFailed).and_then(|db| guarded(|| call(db)));
        if result.is_err() {
            self.failed.store(true, Ordering::SeqCst);
        }
        result
    }
}

/// sled's key of a partition's meta, which stands apart so that it can be read without a block.
fn meta_key(partition: u8) -> [u8; 2] {
    [partition, 0]
}

/// sled's key of the block that begins with this key of ours.
fn block_key(start: &[u8]) -> Vec<u8> {
    let partition = start.first().copied().unwrap_or_default();
    [&[partition, 1], start].concat()
}

fn is_meta(key: &[u8]) -> bool {
    key.len() == 2 && key[1] == 0
}

/// The block that covers a key of ours, and where it begins. Every partition's first block begins with the partition's
/// byte alone; before the first batch there is none.
fn find(db: &sled::Db, key: &[u8]) -> sled::Result<Option<(Vec<u8>, sled::IVec)>> {
    let mut above = block_key(key);
    above.push(0);
    let found = db.get_lt(above)?;
    let in_partition = |found: &sled::IVec| found.len() > 2 && found[0] == key[0] && found[1] == 1;
    Ok(found.filter(|(found, _)| in_partition(found)).map(|(found, block)| (found[2..].to_vec(), block)))
}

fn parse(bytes: &[u8]) -> sled::Result<Block<'_>> {
    Block::parse(bytes).map_err(|NotABlock| corrupt())
}

fn corrupt() -> sled::Error {
    sled::Error::Corruption { at: None, bt: () }
}

impl Index for SledIndex {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexFailed> {
        if is_meta(key) {
            return self.call(|db| Ok(db.get(meta_key(key[0]))?.map(|value| value.to_vec())));
        }
        self.call(|db| match find(db, key)? {
            Some((_, block)) => parse(&block)?.get(key).map_err(|NotABlock| corrupt()),
            None => Ok(None),
        })
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>, IndexFailed> {
        let mut found = Vec::new();
        if prefix.is_empty() {
            // Everything: partition by partition.
            let first = after.map_or(0, |after| after[0]);
            for partition in first..PARTITIONS as u8 {
                let after = after.filter(|after| after[0] == partition);
                found.extend(self.scan(&[partition], after, limit - found.len())?);
                if found.len() >= limit {
                    break;
                }
            }
            return Ok(found);
        }
        let meta = meta_key(prefix[0]);
        if meta.starts_with(prefix)
            && after.is_none_or(|after| after < &meta[..])
            && let Some(value) = self.get(&meta)?
        {
            found.push((meta.to_vec(), value));
        }
        let from = after.unwrap_or(prefix);
        self.call(|db| {
            let mut next = find(db, from)?.map(|(_, block)| block);
            while let Some(bytes) = next.take() {
                let block = parse(&bytes)?;
                let mut entries = block.entries();
                while let Some(value) = entries.next().map_err(|NotABlock| corrupt())? {
                    let key = entries.key();
                    if key < from || Some(key) == after {
                        continue;
                    }
                    if !key.starts_with(prefix) || found.len() >= limit {
                        return Ok(());
                    }
                    found.push((key.to_vec(), value.to_vec()));
                }
                if let Some(end) = block.end() {
                    next = Some(db.get(block_key(end))?.ok_or_else(corrupt)?);
                }
            }
            Ok(())
        })?;
        found.truncate(limit);
        Ok(found)
    }

    fn apply(&self, mut pairs: Vec<Pair>) -> Result<(), IndexFailed> {
        pairs.sort_unstable();
        self.call(|db| {
            let mut batch = sled::Batch::default();
            let mut rest = pairs.as_slice();
            while let Some((key, value)) = rest.first() {
                if is_meta(key) {
                    batch.insert(meta_key(key[0]).as_slice(), value.as_slice());
                    rest = &rest[1..];
                    continue;
                }
                let found = find(db, key)?;
                let (start, block) = match &found {
                    Some((start, bytes)) => (start.clone(), parse(bytes)?),
                    None => (vec![key[0]], Block::EMPTY),
                };
                let covered = rest.partition_point(|(key, _)| block.covers(key));
                for (start, bytes) in block.merge(&start, &rest[..covered]).map_err(|NotABlock| corrupt())? {
                    batch.insert(block_key(&start), bytes);
                }
                rest = &rest[covered..];
            }
            db.apply_batch(batch)
        })
    }

    fn flush(&self) -> Result<(), IndexFailed> {
        self.call(|db| db.flush().map(drop))
    }

    fn close(&self) -> Result<Option<u64>, IndexFailed> {
        self.call(|db| db.flush().map(drop))?;
        let db = self.db.write().take();
        guarded(|| {
            drop(db);
            Ok(())
        })?;
        let settled = sync_tree(&self.path).and_then(|()| digest(&self.path));
        settled.map(Some).map_err(|error| {
            tracing::warn!(%error, "index files could not be synced");
            IndexFailed
        })
    }

    fn bytes(&self) -> u64 {
        files(&self.path).map_or(0, |files| {
            files.iter().filter_map(|file| file.metadata().ok()).map(|meta| meta.len()).sum()
        })
    }
}

impl Drop for SledIndex {
    fn drop(&mut self) {
        let db = self.db.write().take();
        // sled flushes when it is dropped, and may panic over what made it fail before.
        let _failed = guarded(|| {
            drop(db);
            Ok(())
        })
        .is_err();
    }
}

/// Calls sled; a panic is a failure like any other.
fn guarded<T>(call: impl FnOnce() -> sled::Result<T>) -> Result<T, IndexFailed> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => {
            tracing::warn!(%error, "index failed");
            Err(IndexFailed)
        }
        Err(_panic) => {
            tracing::warn!("index panicked");
            Err(IndexFailed)
        }
    }
}

/// Whether somebody has it open, and keeps it open for a second. sled's own threads may let go of its file a little after the last
/// handle is gone.
fn stays_locked(path: &Path) -> io::Result<bool> {
    for pause_ms in [1, 10, 100, 900] {
        if !is_locked(path)? {
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(pause_ms));
    }
    is_locked(path)
}

/// Whether another handle has sled's lock.
fn is_locked(path: &Path) -> io::Result<bool> {
    match File::open(path.join("db")) {
        Ok(file) => match file.try_lock() {
            Ok(()) => Ok(false),
            Err(fs::TryLockError::WouldBlock) => Ok(true),
            Err(fs::TryLockError::Error(error)) => Err(error),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn remove_unfinished(path: &Path) -> io::Result<()> {
    for file in files(path)? {
        if file.path().to_string_lossy().ends_with(UNFINISHED) {
            fs::remove_file(file.path())?;
        }
    }
    Ok(())
}

/// Whether there is anything in the index's directory.
pub(crate) fn exists(path: &Path) -> io::Result<bool> {
    match fs::read_dir(path) {
        Ok(mut entries) => Ok(entries.next().is_some()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(true),
        Err(error) => Err(error),
    }
}

/// Removes the index. It is renamed first, so that a removal which is interrupted leaves nothing that looks like one.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    let mut old = path.as_os_str().to_owned();
    old.push(".old");
    let old = PathBuf::from(old);
    let gone = |result: io::Result<()>| match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    gone(remove_any(&old))?;
    gone(fs::rename(path, &old))?;
    if let Some(above) = path.parent().filter(|above| !above.as_os_str().is_empty()) {
        File::open(above)?.sync_all()?;
    }
    gone(remove_any(&old))
}

fn remove_any(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

/// All files under a directory.
fn files(path: &Path) -> io::Result<Vec<fs::DirEntry>> {
    let entries = match fs::read_dir(path) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.extend(files(&entry.path())?);
        } else {
            found.push(entry);
        }
    }
    Ok(found)
}

fn sync_tree(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_tree(&entry.path())?;
        } else {
            File::open(entry.path())?.sync_all()?;
        }
    }
    File::open(path)?.sync_all()
}

/// A digest of all files with their names.
pub(crate) fn digest(path: &Path) -> io::Result<u64> {
    let mut sum = 0u64;
    let mut chunk = vec![0; 1 << 20];
    for entry in files(path)? {
        let name = entry.path();
        let name = name.strip_prefix(path).unwrap_or(&name).to_string_lossy().into_owned();
        let mut file = File::open(entry.path())?;
        let (mut crc, mut len) = (0, 0u64);
        loop {
            let read = file.read(&mut chunk)?;
            if read == 0 {
                break;
            }
            crc = crc32c::crc32c_append(crc, &chunk[..read]);
            len += read as u64;
        }
        let value = [u64::from(crc).to_le_bytes(), len.to_le_bytes()].concat();
        sum = sum.wrapping_add(pair_hash(name.as_bytes(), &value));
    }
    Ok(sum)
}
