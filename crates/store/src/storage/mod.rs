//! Where the log's bytes are: the seam under the log.
//!
//! Two implementations: [`Files`] in a directory, and [`Memory`], which forgets what was not synced, tears writes and
//! runs full when a test asks it to. Names are flat file names. A file's bytes are durable after `sync_data`, its name
//! after `sync_dir`; nothing else is promised, as on a disk.

mod files;
mod memory;

use std::fmt::Debug;
use std::io;

pub use files::Files;
pub use memory::{Cut, Memory};

/// Append-only files in one flat directory.
pub trait Storage: Send + Sync + Debug {
    /// Names of all files, in no particular order.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Makes an empty file; what had the name before is gone.
    fn create(&self, name: &str) -> io::Result<()>;
    /// Writes at `at`, which is the file's length. After an error any part may have been written.
    fn append(&self, name: &str, at: u64, bytes: &[u8]) -> io::Result<()>;
    /// Makes the file's bytes and length durable. After an error the bytes written since the last success are lost
    /// and must not be synced again as if they were there.
    fn sync_data(&self, name: &str) -> io::Result<()>;
    /// Makes creations, renames and removals durable.
    fn sync_dir(&self) -> io::Result<()>;
    /// Reads up to `into.len()` bytes from `at`; fewer only at the file's end.
    fn read_at(&self, name: &str, at: u64, into: &mut [u8]) -> io::Result<usize>;
    /// Cuts the file to `len` bytes.
    fn truncate(&self, name: &str, len: u64) -> io::Result<()>;
    /// The file's length in bytes.
    fn len(&self, name: &str) -> io::Result<u64>;
    /// Renames a file in one step; what had the name `to` is gone.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Bytes that may still be written here.
    fn free_bytes(&self) -> io::Result<u64>;
    /// Fills `out` with random bytes (seeded in simulations).
    fn random(&self, out: &mut [u8]) -> io::Result<()>;
}

/// Reads a whole file of at most `most` bytes; none if there is no such file.
pub(crate) fn read_small(storage: &dyn Storage, name: &str, most: usize) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = vec![0; most];
    match storage.read_at(name, 0, &mut bytes) {
        Ok(read) => {
            bytes.truncate(read);
            Ok(Some(bytes))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Puts a small file in place in one step: after a crash it is the old one or the new one.
pub(crate) fn replace_small(storage: &dyn Storage, name: &str, bytes: &[u8]) -> io::Result<()> {
    let fresh = format!("{name}.new");
    storage.create(&fresh)?;
    storage.append(&fresh, 0, bytes)?;
    storage.sync_data(&fresh)?;
    storage.rename(&fresh, name)?;
    storage.sync_dir()
}
