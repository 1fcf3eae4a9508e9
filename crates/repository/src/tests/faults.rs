//! Storage that fails: full, refusing, or stuck.

use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, UploadPart,
};

use super::*;
use crate::disk;

/// What fails, as a number so that a test can change it while uploads run.
const NOTHING: u8 = 0;
const FULL_PART: u8 = 1;
const FULL_COMPLETE: u8 = 2;
const FULL_RENAME: u8 = 3;
const FAILED_SYNC_AFTER_RENAME: u8 = 4;
const STUCK_PART: u8 = 5;
const FULL_BEGIN: u8 = 6;
const FULL_SYNC: u8 = 7;

#[derive(Debug, Clone)]
struct Faulty {
    below: LocalFileSystem,
    fault: Arc<AtomicU8>,
}

fn error(kind: io::ErrorKind) -> object_store::Error {
    object_store::Error::Generic { store: "faulty", source: Box::new(io::Error::from(kind)) }
}

impl Faulty {
    fn has(&self, fault: u8) -> bool {
        self.fault.load(Ordering::SeqCst) == fault
    }

    fn check(&self, fault: u8) -> Result<()> {
        if self.has(fault) { Err(error(io::ErrorKind::StorageFull)) } else { Ok(()) }
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("faulty")
    }
}

#[derive(Debug)]
struct FaultyUpload {
    below: Box<dyn MultipartUpload>,
    file: PathBuf,
    store: Faulty,
}

#[async_trait]
impl MultipartUpload for FaultyUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        if self.store.has(STUCK_PART) {
            return Box::pin(std::future::pending());
        }
        let (part, checked) = (self.below.put_part(data), self.store.check(FULL_PART));
        Box::pin(async move {
            part.await?;
            checked
        })
    }

    /// Fails the way the real one does: it has let go of its file, which stays under its own or its temporary name.
    async fn complete(&mut self) -> Result<PutResult> {
        let done = self.below.complete().await?;
        if self.store.has(FULL_SYNC) {
            fs::rename(&self.file, format!("{}#1", self.file.display())).unwrap();
        }
        self.store.check(FULL_SYNC)?;
        self.store.check(FULL_COMPLETE)?;
        Ok(done)
    }

    async fn abort(&mut self) -> Result<()> {
        self.below.abort().await
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(
        &self,
        location: &ObjectPath,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.below.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &ObjectPath,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.check(FULL_BEGIN)?;
        let below = self.below.put_multipart_opts(location, options).await?;
        let file = self.below.path_to_filesystem(location)?;
        Ok(Box::new(FaultyUpload { below, file, store: self.clone() }))
    }

    async fn get_opts(&self, location: &ObjectPath, options: GetOptions) -> Result<GetResult> {
        self.below.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &ObjectPath, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.below.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<ObjectPath>>,
    ) -> BoxStream<'static, Result<ObjectPath>> {
        self.below.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&ObjectPath>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.below.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&ObjectPath>) -> Result<ListResult> {
        self.below.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &ObjectPath, to: &ObjectPath, options: CopyOptions) -> Result<()> {
        self.below.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &ObjectPath, to: &ObjectPath, options: RenameOptions) -> Result<()> {
        self.check(FULL_RENAME)?;
        self.below.rename_opts(from, to, options).await?;
        if self.has(FAILED_SYNC_AFTER_RENAME) { Err(error(io::ErrorKind::Other)) } else { Ok(()) }
    }
}

struct Setup {
    dir: TempDir,
    repository: Repository,
    fault: Arc<AtomicU8>,
}

fn setup() -> Setup {
    let dir = TempDir::new().unwrap();
    let (lock, _) = disk::open(dir.path()).unwrap();
    let below = LocalFileSystem::new_with_prefix(dir.path()).unwrap().with_fsync(true);
    let fault = Arc::new(AtomicU8::new(NOTHING));
    let faulty = Faulty { below, fault: Arc::clone(&fault) };
    let repository =
        Repository::on_disk(Arc::new(faulty), dir.path(), lock, ContentLimits::default()).unwrap();
    Setup { dir, repository, fault }
}

#[tokio::test]
async fn a_full_disk_is_said_and_leaves_nothing() {
    for fault in [FULL_BEGIN, FULL_PART, FULL_SYNC, FULL_COMPLETE, FULL_RENAME] {
        let Setup { dir, repository, fault: now } = setup();
        let (before, content) = (content(100, 1), content(CHUNK * 2 + 1, 2));
        store(&repository, &before, 100).await.unwrap();
        now.store(fault, Ordering::SeqCst);
        let refused = store(&repository, &content, CHUNK).await;
        assert!(matches!(refused, Err(RepositoryError::Full)), "fault {fault}: {refused:?}");
        until("nothing is left", || incoming(dir.path()) == 0).await;
        assert!(!repository.contains(&sha256(&content)).await.unwrap(), "fault {fault}");
        assert_eq!(read(&repository, sha256(&before), 0).await.unwrap(), before, "reads go on");
        assert_eq!(counted(&repository).await.objects, 1);
        now.store(NOTHING, Ordering::SeqCst);
        store(&repository, &content, CHUNK).await.unwrap();
        assert_eq!(counted(&repository).await.objects, 2);
    }
}

#[tokio::test]
async fn content_whose_folder_could_not_be_synced_is_not_acknowledged() {
    let Setup { dir, repository, fault } = setup();
    let content = content(100, 1);
    fault.store(FAILED_SYNC_AFTER_RENAME, Ordering::SeqCst);
    assert!(matches!(store(&repository, &content, 100).await, Err(RepositoryError::Storage { .. })));
    assert_eq!(incoming(dir.path()), 0);
    // It lies in its place all the same, for garbage collection or the next attempt, and the gauges know.
    assert_eq!(counted(&repository).await.objects, 1);
    fault.store(NOTHING, Ordering::SeqCst);
    store(&repository, &content, 100).await.unwrap();
    assert_eq!(counted(&repository).await.objects, 1);
}

#[tokio::test]
async fn a_cancelled_write_spoils_the_upload() {
    let Setup { dir, repository, fault } = setup();
    let content = content(CHUNK * 2, 1);
    let mut upload = repository.begin(content.len() as u64, sha256(&content)).await.unwrap();
    fault.store(STUCK_PART, Ordering::SeqCst);
    {
        let mut write = Box::pin(upload.write(content.clone()));
        assert!(futures_util::poll!(write.as_mut()).is_pending());
    }
    fault.store(NOTHING, Ordering::SeqCst);
    assert!(matches!(upload.write(content.clone()).await, Err(RepositoryError::Aborted)));
    assert!(matches!(upload.finish().await, Err(RepositoryError::Aborted)));
    assert_eq!(incoming(dir.path()), 0);
}

/// A refused permission, in a way that also refuses root: a file stands where a folder has to be.
#[tokio::test]
async fn a_folder_that_cannot_be_used_is_a_storage_error() {
    let Setup { dir, repository, .. } = setup();
    let content = content(100, 1);
    let shard = file_of(dir.path(), &sha256(&content)).parent().unwrap().parent().unwrap().to_owned();
    fs::write(&shard, "in the way").unwrap();
    let refused = store(&repository, &content, 100).await;
    assert!(matches!(refused, Err(RepositoryError::Storage { .. })), "{refused:?}");
    assert_eq!(incoming(dir.path()), 0);
    fs::remove_file(&shard).unwrap();
    store(&repository, &content, 100).await.unwrap();
}

#[test]
fn a_repository_that_cannot_be_made_says_so() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "in the way").unwrap();
    for path in [file.clone(), file.join("below")] {
        let refused = Repository::open(&path, ContentLimits::default());
        assert!(matches!(refused, Err(RepositoryError::Storage { .. })), "{refused:?}");
    }
}

/// Root may write anywhere, so this says nothing when root runs it: the test checks what the folder's mode really does.
#[cfg(unix)]
#[tokio::test]
async fn a_read_only_folder_refuses_writes_and_goes_on_reading() {
    use std::os::unix::fs::PermissionsExt;
    let Setup { dir, repository, .. } = setup();
    let (before, content) = (content(100, 1), content(100, 2));
    store(&repository, &before, 100).await.unwrap();
    let folder = dir.path().join("incoming");
    let set = |mode| fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).unwrap();
    set(0o500);
    let writable = fs::write(folder.join("probe"), "").is_ok();
    let result = store(&repository, &content, 100).await;
    set(0o700);
    assert_eq!(result.is_ok(), writable, "{result:?}");
    assert_eq!(read(&repository, sha256(&before), 0).await.unwrap(), before);
}
