//! What is done on the file system directly: folders made durable, the lock, and cleaning up after a crash.
//!
//! All of it blocks; async callers go through the blocking pool.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::RepositoryError;
use crate::content_id::{CONTENT, INCOMING};

const LOCK: &str = "lock";

/// Makes the folders of a repository durable, takes its lock and removes what uploads left when the process died.
/// Returns the lock and how many leftovers there were.
pub(crate) fn open(dir: &Path) -> Result<(File, usize), RepositoryError> {
    let failed = |doing| move |error: io::Error| RepositoryError::storage(doing, error);
    make_durable(dir).map_err(failed("make the content folder"))?;
    let lock = OpenOptions::new().create(true).truncate(false).write(true).open(dir.join(LOCK));
    let lock = lock.map_err(failed("open the lock of the content folder"))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(RepositoryError::InUse),
        Err(TryLockError::Error(error)) => return Err(failed("lock the content folder")(error)),
    }
    for folder in [CONTENT, INCOMING] {
        make_durable(&dir.join(folder)).map_err(failed("make the content folder"))?;
    }
    let leftovers = remove_all(&dir.join(INCOMING)).map_err(failed("clean up unfinished uploads"))?;
    Ok((lock, leftovers))
}

/// Makes a folder and those above it that are missing, readable by their owner only, and syncs the folders that got a new
/// entry. A folder that exists is synced into its parent all the same: an earlier process may have died before it did.
pub(crate) fn make_durable(dir: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    let mut missing: Vec<PathBuf> = Vec::new();
    let mut at = dir;
    while !at.is_dir() {
        missing.push(at.to_owned());
        match at.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => at = parent,
            _ => break,
        }
    }
    for folder in missing.iter().rev() {
        match builder.create(folder) {
            // Another call made it at the same moment; whether it is a folder shows when it is used.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => other?,
        }
    }
    for folder in std::iter::once(dir).chain(missing.iter().skip(1).map(PathBuf::as_path)) {
        sync_folder(parent_of(folder))?;
    }
    Ok(())
}

/// Makes a folder's entries durable.
pub(crate) fn sync_folder(dir: &Path) -> io::Result<()> {
    // Elsewhere folders cannot be opened as files, and their entries are durable without.
    if cfg!(unix) { File::open(dir)?.sync_all() } else { Ok(()) }
}

fn parent_of(dir: &Path) -> &Path {
    match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) => Path::new("."),
        None => dir,
    }
}

/// Removes a file; that it is gone already is fine.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Removes every file in a folder. The removals need no sync: what comes back after a power loss is removed again.
fn remove_all(dir: &Path) -> io::Result<usize> {
    let mut removed = 0;
    for entry in fs::read_dir(dir)? {
        remove(&entry?.path())?;
        removed += 1;
    }
    Ok(removed)
}
