//! The repository: opening, finding, deleting and listing content.

use std::fs::File;
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::stream::{BoxStream, StreamExt};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::content_id::{CONTENT, INCOMING, Sha256Bytes, id_at, path_of};
use crate::counter::{Counter, Shard};
use crate::disk;
use crate::read::{self, ContentStream};
use crate::{RepositoryError, Upload};

/// What a repository accepts.
#[derive(Debug, Clone, Copy)]
pub struct ContentLimits {
    /// Largest content in bytes; 1 GiB by default.
    pub max_bytes: u64,
}

impl Default for ContentLimits {
    fn default() -> Self {
        Self { max_bytes: 1 << 30 }
    }
}

/// Gauges of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RepositoryStatus {
    /// Contents stored.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Uploads begun and not yet finished or dropped.
    pub uploads: u64,
    /// Whether `objects` and `bytes` cover everything; right after a start they are still being counted.
    pub counted: bool,
}

/// Content as garbage collection sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListedContent {
    pub sha256: Sha256Bytes,
    /// Bytes.
    pub size: u64,
    /// When it was stored last, milliseconds since 1970-01-01 UTC by the file system's clock. What was just stored may not be
    /// referenced yet: spare what is young.
    pub stored_ms: u64,
}

/// A store of content by its SHA-256. Cheap to clone; the folder is released when the last clone, upload and stream is gone.
#[derive(Debug, Clone)]
pub struct Repository {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) uploads: AtomicU64,
    limits: ContentLimits,
    counter: Arc<Counter>,
    next_upload: AtomicU64,
    /// None in memory.
    disk: Option<Disk>,
}

#[derive(Debug)]
struct Disk {
    dir: PathBuf,
    /// Held open for its lock.
    _lock: File,
}

impl Repository {
    /// Opens the repository in `dir`, making it if it is missing, and removes what unfinished uploads left behind.
    pub fn open(dir: &FsPath, limits: ContentLimits) -> Result<Self, RepositoryError> {
        let (lock, leftovers) = disk::open(dir)?;
        if leftovers > 0 {
            tracing::info!(leftovers, "removed unfinished uploads");
        }
        let store = LocalFileSystem::new_with_prefix(dir);
        let store = store
            .map_err(|error| RepositoryError::object("open the content folder", error))?
            .with_fsync(true);
        Self::on_disk(Arc::new(store), dir, lock, limits)
    }

    /// A repository that forgets: for simulations, which run everything in one thread.
    pub fn in_memory(limits: ContentLimits) -> Self {
        Self { inner: Arc::new(Inner::new(Arc::new(InMemory::new()), None, limits)) }
    }

    /// `store` has its root in `dir`.
    pub(crate) fn on_disk(
        store: Arc<dyn ObjectStore>,
        dir: &FsPath,
        lock: File,
        limits: ContentLimits,
    ) -> Result<Self, RepositoryError> {
        let disk = Disk { dir: dir.to_owned(), _lock: lock };
        let inner = Arc::new(Inner::new(store, Some(disk), limits));
        let counting = inner.counter.start(dir);
        counting.map_err(|error| RepositoryError::storage("start counting content", error))?;
        Ok(Self { inner })
    }

    /// Begins to take content of exactly this size and hash.
    pub async fn begin(
        &self,
        expected_size: u64,
        expected_sha256: Sha256Bytes,
    ) -> Result<Upload, RepositoryError> {
        let limit = self.inner.limits.max_bytes;
        if expected_size > limit {
            return Err(RepositoryError::TooLarge { size: expected_size, limit });
        }
        let number = self.inner.next_upload.fetch_add(1, Ordering::Relaxed);
        let staged = Path::from_iter([INCOMING, &number.to_string()]);
        let parts = self.inner.store.put_multipart(&staged).await;
        let parts = parts.map_err(|error| RepositoryError::object("begin to write content", error))?;
        Ok(Upload::new(Arc::clone(&self.inner), parts, staged, expected_size, expected_sha256))
    }

    /// Reads content from `offset` in bytes on. Errors come as the stream's first or last item: not found, an offset beyond the
    /// end, and, when reading began at 0 and reached the end, content that does not have its hash.
    pub fn read(&self, sha256: Sha256Bytes, offset: u64) -> ContentStream {
        read::read(Arc::clone(&self.inner), sha256, offset)
    }

    /// Whether this content is stored. Its bytes are not checked.
    pub async fn contains(&self, sha256: &Sha256Bytes) -> Result<bool, RepositoryError> {
        Ok(self.size(sha256).await?.is_some())
    }

    /// The size of this content in bytes, if it is stored.
    pub async fn size(&self, sha256: &Sha256Bytes) -> Result<Option<u64>, RepositoryError> {
        self.inner.size(&path_of(sha256)).await
    }

    /// Deletes content, durably. Returns whether it was there. A stream that reads it ends with an error.
    pub async fn delete(&self, sha256: &Sha256Bytes) -> Result<bool, RepositoryError> {
        let (inner, sha256) = (Arc::clone(&self.inner), *sha256);
        // Like publishing, it is not to stop between the file and the count when the caller goes away.
        let deleting = tokio::spawn(async move { inner.delete(&sha256).await });
        deleting.await.map_err(|error| RepositoryError::storage("delete content", error))?
    }

    /// Everything stored, in no order. Files that this crate did not put there are left out.
    pub fn list(&self) -> BoxStream<'static, Result<ListedContent, RepositoryError>> {
        let inner = Arc::clone(&self.inner);
        let listed = inner.store.list(Some(&Path::from(CONTENT))).filter_map(move |item| {
            // The stream keeps the folder locked as long as it is read.
            let _open = &inner;
            let listed = match item {
                Ok(meta) => id_at(&meta.location).map(|sha256| {
                    let stored_ms = u64::try_from(meta.last_modified.timestamp_millis()).unwrap_or(0);
                    Ok(ListedContent { sha256, size: meta.size, stored_ms })
                }),
                Err(error) => Some(Err(RepositoryError::object("list content", error))),
            };
            std::future::ready(listed)
        });
        listed.boxed()
    }

    /// The gauges now.
    pub fn status(&self) -> RepositoryStatus {
        let (objects, bytes, counted) = self.inner.counter.totals();
        RepositoryStatus { objects, bytes, uploads: self.inner.uploads.load(Ordering::Relaxed), counted }
    }
}

impl Inner {
    fn new(store: Arc<dyn ObjectStore>, disk: Option<Disk>, limits: ContentLimits) -> Self {
        let counter = Arc::new(Counter::new(disk.is_none()));
        Self { store, uploads: AtomicU64::new(0), limits, counter, next_upload: AtomicU64::new(0), disk }
    }

    async fn size(&self, path: &Path) -> Result<Option<u64>, RepositoryError> {
        match self.store.head(path).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(RepositoryError::object("look for content", error)),
        }
    }

    /// Moves durable content to its place, replacing what may be there: it has the same hash, or is damaged.
    pub(crate) async fn publish(
        &self,
        staged: &Path,
        id: &Sha256Bytes,
        size: u64,
    ) -> Result<(), RepositoryError> {
        let path = path_of(id);
        let mut shard = self.counter.shard(id[0]).await;
        self.prepare_folder(&mut shard, id).await?;
        let before = self.size(&path).await?;
        let renamed = self.store.rename(staged, &path).await;
        // A rename can fail after the file has moved, when the folder could not be synced.
        let after = if renamed.is_ok() { Some(size) } else { self.size(&path).await.unwrap_or(before) };
        self.counter.changed(&shard, before, after);
        renamed.map_err(|error| RepositoryError::object("publish content", error))
    }

    /// Makes the folder of `id` durable, once per start.
    async fn prepare_folder(&self, shard: &mut Shard, id: &Sha256Bytes) -> Result<(), RepositoryError> {
        let Some(disk) = &self.disk else { return Ok(()) };
        let known = &mut shard.durable[usize::from(id[1])];
        if *known {
            return Ok(());
        }
        let content = disk.dir.join(CONTENT);
        let (first, second) = (format!("{:02x}", id[0]), format!("{:02x}", id[1]));
        blocking("make a content folder", move || {
            let outer = content.join(first);
            disk::make_durable(&outer)?;
            disk::make_durable(&outer.join(second))
        })
        .await?;
        *known = true;
        Ok(())
    }

    async fn delete(&self, id: &Sha256Bytes) -> Result<bool, RepositoryError> {
        let path = path_of(id);
        let shard = self.counter.shard(id[0]).await;
        let Some(size) = self.size(&path).await? else { return Ok(false) };
        let deleted = self.store.delete(&path).await;
        deleted.map_err(|error| RepositoryError::object("delete content", error))?;
        self.counter.changed(&shard, Some(size), None);
        // `object_store` does not sync deletes: without this, deleted content could come back after a power loss.
        if let Some(disk) = &self.disk {
            let folder = disk.dir.join(CONTENT).join(format!("{:02x}", id[0])).join(format!("{:02x}", id[1]));
            blocking("make a deletion durable", move || disk::sync_folder(&folder)).await?;
        }
        Ok(true)
    }

    /// Removes what a failed upload may have left under its own name or, `object_store`'s way, under that and `#1`.
    pub(crate) async fn discard(&self, staged: &Path) {
        let removed = match &self.disk {
            Some(disk) => {
                let file = disk.dir.join(staged.as_ref());
                let part = disk.dir.join(format!("{staged}#1"));
                blocking("remove a failed upload", move || disk::remove(&file).and(disk::remove(&part))).await
            }
            None => match self.store.delete(staged).await {
                Err(object_store::Error::NotFound { .. }) | Ok(()) => Ok(()),
                Err(error) => Err(RepositoryError::object("remove a failed upload", error)),
            },
        };
        if let Err(error) = removed {
            tracing::warn!(%error, "a failed upload could not be removed; the next start will");
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.counter.stop();
    }
}

/// Runs file system work on the blocking pool.
async fn blocking(
    doing: &'static str,
    work: impl FnOnce() -> std::io::Result<()> + Send + 'static,
) -> Result<(), RepositoryError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| RepositoryError::storage(doing, error))?
        .map_err(|error| RepositoryError::storage(doing, error))
}
