//! The repository on a real folder. Faults of the storage below are in `faults`.

mod faults;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::*;

fn content(size: usize, seed: u64) -> Bytes {
    let mut bytes = vec![0; size];
    StdRng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes.into()
}

fn sha256(content: &[u8]) -> Sha256Bytes {
    Sha256::digest(content).into()
}

fn open(dir: &Path) -> Repository {
    Repository::open(dir, ContentLimits::default()).unwrap()
}

async fn store(repository: &Repository, content: &Bytes, piece: usize) -> Result<Stored, RepositoryError> {
    let mut upload = repository.begin(content.len() as u64, sha256(content)).await?;
    for piece in content.chunks(piece) {
        upload.write(content.slice_ref(piece)).await?;
    }
    upload.finish().await
}

async fn read(repository: &Repository, id: Sha256Bytes, offset: u64) -> Result<Vec<u8>, RepositoryError> {
    let chunks: Vec<Bytes> = repository.read(id, offset).try_collect().await?;
    assert!(chunks.iter().all(|chunk| (1..=CHUNK).contains(&chunk.len())));
    Ok(chunks.concat())
}

fn file_of(dir: &Path, id: &Sha256Bytes) -> PathBuf {
    dir.join(content_id::path_of(id).as_ref())
}

/// Files on their way in.
fn incoming(dir: &Path) -> usize {
    fs::read_dir(dir.join("incoming")).unwrap().count()
}

/// Waits until `holds`; a test that waits in vain ends with the harness's patience and says for what.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting)
        .await
        .unwrap_or_else(|_| panic!("waited in vain: {what}"));
}

async fn counted(repository: &Repository) -> RepositoryStatus {
    until("the count ends", || repository.status().counted).await;
    repository.status()
}

#[tokio::test]
async fn content_of_any_size_comes_back() {
    let dir = TempDir::new().unwrap();
    let repository = open(dir.path());
    let mut bytes = 0;
    for (seed, size) in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 5 << 20].into_iter().enumerate() {
        let content = content(size, seed as u64);
        let id = sha256(&content);
        for piece in [100_000, CHUNK, 7 << 20] {
            let stored = store(&repository, &content, piece).await.unwrap();
            assert_eq!(stored, Stored { sha256: id, sha1: Sha1::digest(&content).into(), size: size as u64 });
        }
        assert_eq!(fs::read(file_of(dir.path(), &id)).unwrap(), content);
        assert_eq!(read(&repository, id, 0).await.unwrap(), content);
        for offset in [size / 2, size.saturating_sub(1), size] {
            assert_eq!(read(&repository, id, offset as u64).await.unwrap(), content[offset..]);
        }
        let beyond = read(&repository, id, size as u64 + 1).await;
        assert!(matches!(beyond, Err(RepositoryError::OffsetOutOfRange { .. })));
        assert_eq!(repository.size(&id).await.unwrap(), Some(size as u64));
        bytes += size as u64;
    }
    let expected = RepositoryStatus { objects: 6, bytes, uploads: 0, counted: true };
    assert_eq!(counted(&repository).await, expected);
    assert_eq!(incoming(dir.path()), 0);
    drop(repository);
    assert_eq!(counted(&open(dir.path())).await, expected);
}

#[tokio::test]
async fn many_small_pieces_are_one_content() {
    let dir = TempDir::new().unwrap();
    let repository = open(dir.path());
    let content = content(CHUNK + 1000, 1);
    store(&repository, &content, 777).await.unwrap();
    assert_eq!(read(&repository, sha256(&content), 0).await.unwrap(), content);
}

#[tokio::test]
async fn what_is_not_as_announced_leaves_nothing() {
    let dir = TempDir::new().unwrap();
    let repository = open(dir.path());
    let content = content(CHUNK * 2, 1);
    let id = sha256(&content);

    let mut wrong = repository.begin(content.len() as u64, [7; 32]).await.unwrap();
    wrong.write(content.clone()).await.unwrap();
    assert!(matches!(wrong.finish().await, Err(RepositoryError::HashMismatch)));
    assert_eq!(incoming(dir.path()), 0);

    let mut short = repository.begin(content.len() as u64 + 1, id).await.unwrap();
    short.write(content.clone()).await.unwrap();
    assert!(matches!(short.finish().await, Err(RepositoryError::SizeMismatch { .. })));
    assert_eq!(incoming(dir.path()), 0);

    let mut long = repository.begin(content.len() as u64 - 1, id).await.unwrap();
    assert!(matches!(long.write(content.clone()).await, Err(RepositoryError::SizeMismatch { .. })));
    assert!(matches!(long.write(Bytes::new()).await, Err(RepositoryError::Aborted)));
    assert!(matches!(long.finish().await, Err(RepositoryError::Aborted)));
    assert_eq!(incoming(dir.path()), 0);

    assert!(!repository.contains(&id).await.unwrap());
    assert!(matches!(read(&repository, id, 0).await, Err(RepositoryError::NotFound)));
    assert_eq!(
        counted(&repository).await,
        RepositoryStatus { objects: 0, bytes: 0, uploads: 0, counted: true }
    );
}

#[tokio::test]
async fn too_large_is_refused_before_anything_is_written() {
    let dir = TempDir::new().unwrap();
    let repository = Repository::open(dir.path(), ContentLimits { max_bytes: 10 }).unwrap();
    let refused = repository.begin(11, [0; 32]).await;
    assert!(matches!(refused, Err(RepositoryError::TooLarge { size: 11, limit: 10 })));
    assert_eq!(incoming(dir.path()), 0);
    store(&repository, &content(10, 1), 10).await.unwrap();
}

#[tokio::test]
async fn a_dropped_upload_leaves_nothing() {
    let dir = TempDir::new().unwrap();
    let repository = open(dir.path());
    let content = content(CHUNK * 2, 1);
    let mut upload = repository.begin(content.len() as u64, sha256(&content)).await.unwrap();
    upload.write(content.slice(..CHUNK + 5)).await.unwrap();
    assert_eq!((incoming(dir.path()), repository.status().uploads), (1, 1));
    drop(upload);
    until("the upload is gone", || incoming(dir.path()) == 0).await;
    assert_eq!(repository.status().uploads, 0);
    assert!(!repository.contains(&sha256(&content)).await.unwrap());
}

#[tokio::test]
async fn a_finish_that_nobody_awaits_is_whole() {
    let dir = TempDir::new().unwrap();
    let repository = open(dir.path());
    let content = content(CHUNK, 1);
    let mut upload = repository.begin(content.len() as u64, sha256(&content)).await.unwrap();
    upload.write(content.clone()).await.unwrap();
    // One poll starts the last step; dropping the call must not stop it half way.
    let mut finish = Box::pin(upload.finish());
    assert!(futures_util::poll!(finish.as_mut()).is_pending());
    drop(finish);
    until("the upload ends", || repository.status().uploads == 0).await;
    assert_eq!(read(&repository, sha256(&content), 0).await.unwrap(), content);
    assert_eq!(incoming(dir.path()), 0);
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

#[tokio::test]
async fn opening_after_a_crash_keeps_content_and_removes_the_rest() {
    let (dir, image) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let repository = open(dir.path());
    let (whole, unfinished) = (content(1000, 1), content(CHUNK * 2, 2));
    store(&repository, &whole, 1000).await.unwrap();
    let mut upload = repository.begin(unfinished.len() as u64, sha256(&unfinished)).await.unwrap();
    upload.write(unfinished.slice(..CHUNK)).await.unwrap();
    copy_folder(dir.path(), image.path());
    assert_eq!(incoming(image.path()), 1);

    let reopened = open(image.path());
    assert_eq!(incoming(image.path()), 0);
    assert_eq!(read(&reopened, sha256(&whole), 0).await.unwrap(), whole);
    assert!(!reopened.contains(&sha256(&unfinished)).await.unwrap());
    assert_eq!(counted(&reopened).await.objects, 1);
}

#[tokio::test]
async fn a_folder_has_one_user_at_a_time() {
    let dir = TempDir::new().unwrap();
    let repository = open(dir.path());
    let second = Repository::open(dir.path(), ContentLimits::default());
    assert!(matches!(second, Err(RepositoryError::InUse)));
    drop(repository);
    open(dir.path());
}

#[tokio::test]
async fn damage_is_detected_and_repaired_by_storing_again() {
    let dir = TempDir::new().unwrap();
    let repository = open(dir.path());
    let content = content(CHUNK * 3, 1);
    let id = sha256(&content);
    store(&repository, &content, CHUNK).await.unwrap();
    let file = file_of(dir.path(), &id);
    let mut flipped = content.to_vec();
    flipped[CHUNK + 17] ^= 0x10;
    for damaged in [flipped, content[..CHUNK * 2].to_vec(), [&content[..], b"x"].concat(), Vec::new()] {
        fs::write(&file, &damaged).unwrap();
        assert!(
            matches!(read(&repository, id, 0).await, Err(RepositoryError::Corrupt)),
            "{} bytes",
            damaged.len()
        );
        store(&repository, &content, CHUNK).await.unwrap();
        assert_eq!(read(&repository, id, 0).await.unwrap(), content);
    }
}

#[tokio::test]
async fn content_cut_off_while_it_is_read_is_damaged() {
    let dir = TempDir::new().unwrap();
    let repository = open(dir.path());
    let content = content(CHUNK * 3, 1);
    let id = sha256(&content);
    store(&repository, &content, CHUNK).await.unwrap();
    for left in [CHUNK + 10, CHUNK, 0] {
        let mut reading = repository.read(id, 0);
        assert_eq!(reading.try_next().await.unwrap().unwrap(), content[..CHUNK]);
        fs::write(file_of(dir.path(), &id), &content[..left]).unwrap();
        assert!(matches!(reading.try_next().await, Err(RepositoryError::Corrupt)), "{left} bytes");
        assert!(matches!(reading.try_next().await, Ok(None)), "nothing follows an error");
        store(&repository, &content, CHUNK).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn simultaneous_uploads_of_one_content_store_it_once() {
    let dir = TempDir::new().unwrap();
    let repository = open(dir.path());
    let content = content(CHUNK + 3, 1);
    let uploads: Vec<_> = (0..16)
        .map(|_| {
            let (repository, content) = (repository.clone(), content.clone());
            tokio::spawn(async move { store(&repository, &content, 50_000).await })
        })
        .collect();
    for upload in uploads {
        assert_eq!(upload.await.unwrap().unwrap().size, content.len() as u64);
        assert_eq!(read(&repository, sha256(&content), 0).await.unwrap(), content);
    }
    let status = counted(&repository).await;
    assert_eq!((status.objects, status.bytes), (1, content.len() as u64));
    assert_eq!(incoming(dir.path()), 0);
}

#[tokio::test]
async fn lists_and_deletes_what_it_put_there() {
    let dir = TempDir::new().unwrap();
    let repository = open(dir.path());
    let (one, other) = (content(10, 1), content(20, 2));
    store(&repository, &one, 10).await.unwrap();
    store(&repository, &other, 20).await.unwrap();
    fs::write(dir.path().join("content").join("README"), "foreign").unwrap();
    let mut listed: Vec<ListedContent> = repository.list().try_collect().await.unwrap();
    listed.sort_by_key(|item| item.size);
    assert_eq!(
        listed.iter().map(|item| (item.sha256, item.size)).collect::<Vec<_>>(),
        [(sha256(&one), 10), (sha256(&other), 20)]
    );
    assert!(listed.iter().all(|item| item.stored_ms > 0));

    assert!(repository.delete(&sha256(&one)).await.unwrap());
    assert!(!repository.delete(&sha256(&one)).await.unwrap());
    assert!(!file_of(dir.path(), &sha256(&one)).exists());
    assert!(matches!(read(&repository, sha256(&one), 0).await, Err(RepositoryError::NotFound)));
    let status = counted(&repository).await;
    assert_eq!((status.objects, status.bytes), (1, 20));
}

/// Random operations against a map, with reopening: what is stored, its bytes and its gauges agree at every step.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agrees_with_a_map() {
    let dir = TempDir::new().unwrap();
    let seed: u64 = StdRng::from_os_rng().random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut expected: HashMap<Sha256Bytes, Bytes> = HashMap::new();
    for _ in 0..6 {
        let repository = open(dir.path());
        for _ in 0..20 {
            let content = content(random.random_range(0..3000), random.random_range(0..12));
            let id = sha256(&content);
            match random.random_range(0..3) {
                0 => assert_eq!(repository.delete(&id).await.unwrap(), expected.remove(&id).is_some()),
                1 => assert_eq!(
                    read(&repository, id, 0).await.ok().map(Bytes::from),
                    expected.get(&id).cloned()
                ),
                _ => {
                    store(&repository, &content, 1000).await.unwrap();
                    expected.insert(id, content);
                }
            }
        }
        let status = counted(&repository).await;
        let bytes: usize = expected.values().map(Bytes::len).sum();
        assert_eq!((status.objects, status.bytes), (expected.len() as u64, bytes as u64));
        for (id, content) in &expected {
            assert_eq!(read(&repository, *id, 0).await.unwrap(), *content);
        }
    }
}

#[tokio::test]
async fn in_memory_behaves_alike() {
    let repository = Repository::in_memory(ContentLimits::default());
    let content = content(CHUNK * 2 + 1, 1);
    let id = sha256(&content);
    store(&repository, &content, 1000).await.unwrap();
    store(&repository, &content, CHUNK).await.unwrap();
    assert_eq!(read(&repository, id, 0).await.unwrap(), content);
    assert_eq!(read(&repository, id, 5).await.unwrap(), content[5..]);
    assert_eq!(
        repository.status(),
        RepositoryStatus { objects: 1, bytes: content.len() as u64, uploads: 0, counted: true }
    );
    assert_eq!(repository.list().try_collect::<Vec<_>>().await.unwrap().len(), 1);
    assert!(repository.delete(&id).await.unwrap());
    assert!(matches!(read(&repository, id, 0).await, Err(RepositoryError::NotFound)));
}

#[cfg(unix)]
#[tokio::test]
async fn folders_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let dir = TempDir::new().unwrap();
    let repository = open(&dir.path().join("a/b"));
    let content = content(1, 1);
    store(&repository, &content, 1).await.unwrap();
    let file = file_of(&dir.path().join("a/b"), &sha256(&content));
    for folder in [file.parent().unwrap(), &dir.path().join("a/b"), &dir.path().join("a/b/incoming")] {
        assert_eq!(fs::metadata(folder).unwrap().permissions().mode() & 0o777, 0o700);
    }
}
