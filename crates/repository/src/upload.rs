//! Content on its way in: checked, made durable, then published under its hash.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{MultipartUpload, PutPayloadMut};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::content_id::Sha256Bytes;
use crate::repository::Inner;
use crate::{CHUNK, RepositoryError};

/// Content that [`Upload::finish`] has made durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    pub sha256: Sha256Bytes,
    /// IHE's `DocumentEntry.hash`.
    pub sha1: [u8; 20],
    /// Bytes.
    pub size: u64,
}

/// Content being written. Dropping it at any moment leaves nothing.
#[derive(Debug)]
pub struct Upload {
    inner: Arc<Inner>,
    parts: Box<dyn MultipartUpload>,
    staged: Path,
    expected_size: u64,
    expected_sha256: Sha256Bytes,
    received: u64,
    sha256: Sha256,
    sha1: Sha1,
    /// Less than [`CHUNK`] bytes that are not on the disk yet.
    pending: PutPayloadMut,
    /// Set while a piece is on its way, so that a failed or cancelled call spoils the upload rather than its content.
    broken: bool,
}

impl Upload {
    pub(crate) fn new(
        inner: Arc<Inner>,
        parts: Box<dyn MultipartUpload>,
        staged: Path,
        expected_size: u64,
        expected_sha256: Sha256Bytes,
    ) -> Self {
        inner.uploads.fetch_add(1, Ordering::Relaxed);
        Self {
            inner,
            parts,
            staged,
            expected_size,
            expected_sha256,
            received: 0,
            sha256: Sha256::new(),
            sha1: Sha1::new(),
            pending: PutPayloadMut::new(),
            broken: false,
        }
    }

    /// Takes the next piece, of any size. Returns when at most [`CHUNK`] bytes wait in memory: that is the back-pressure.
    ///
    /// After an error, or when the call was cancelled, the upload is [`RepositoryError::Aborted`].
    pub async fn write(&mut self, mut piece: Bytes) -> Result<(), RepositoryError> {
        if self.broken {
            return Err(RepositoryError::Aborted);
        }
        self.received = self.received.saturating_add(piece.len() as u64);
        if self.received > self.expected_size {
            self.broken = true;
            return Err(RepositoryError::SizeMismatch {
                expected: self.expected_size,
                received: self.received,
            });
        }
        while !piece.is_empty() {
            let taken = piece.split_to(piece.len().min(CHUNK - self.pending.content_length()));
            self.sha256.update(&taken);
            self.sha1.update(&taken);
            // Many small pieces are copied together; a large one is passed on as it is.
            if taken.len() < CHUNK / 4 {
                self.pending.extend_from_slice(&taken);
            } else {
                self.pending.push(taken);
            }
            if self.pending.content_length() == CHUNK {
                self.flush().await?;
            }
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), RepositoryError> {
        let payload = std::mem::take(&mut self.pending).freeze();
        self.broken = true;
        let written = self.parts.put_part(payload).await;
        written.map_err(|error| RepositoryError::object("write content", error))?;
        self.broken = false;
        Ok(())
    }

    /// Checks size and hash and makes the content durable under its hash. After an error nothing is left; content that was
    /// stored before under the same hash is replaced by the same bytes, which also repairs it.
    ///
    /// The last step runs to its end even if this call is cancelled.
    pub async fn finish(mut self) -> Result<Stored, RepositoryError> {
        let checked = self.check().await;
        let stored = match checked {
            Ok(stored) => stored,
            Err(error) => {
                self.abort().await;
                return Err(error);
            }
        };
        let publishing = tokio::spawn(async move {
            let published = self.publish(stored.size).await;
            if published.is_err() {
                self.inner.discard(&self.staged).await;
            }
            published
        });
        publishing.await.map_err(|error| RepositoryError::storage("publish content", error))??;
        Ok(stored)
    }

    async fn check(&mut self) -> Result<Stored, RepositoryError> {
        if self.broken {
            return Err(RepositoryError::Aborted);
        }
        if self.received != self.expected_size {
            return Err(RepositoryError::SizeMismatch {
                expected: self.expected_size,
                received: self.received,
            });
        }
        let sha256: Sha256Bytes = std::mem::take(&mut self.sha256).finalize().into();
        if sha256 != self.expected_sha256 {
            return Err(RepositoryError::HashMismatch);
        }
        if self.pending.content_length() > 0 {
            self.flush().await?;
        }
        let sha1 = std::mem::take(&mut self.sha1).finalize().into();
        Ok(Stored { sha256, sha1, size: self.received })
    }

    async fn publish(&mut self, size: u64) -> Result<(), RepositoryError> {
        let completed = self.parts.complete().await;
        completed.map_err(|error| RepositoryError::object("make content durable", error))?;
        self.inner.publish(&self.staged, &self.expected_sha256, size).await
    }

    /// Removes what was written so far before an error is returned; dropping would do it a moment later.
    async fn abort(&mut self) {
        if let Err(error) = self.parts.abort().await {
            tracing::warn!(%error, "an unfinished upload could not be removed; the next start will");
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.inner.uploads.fetch_sub(1, Ordering::Relaxed);
    }
}
