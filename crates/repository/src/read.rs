//! Reading content: a stream of chunks whose hash is checked over the whole.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt, try_unfold};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use sha2::{Digest, Sha256};

use crate::content_id::{Sha256Bytes, path_of};
use crate::repository::Inner;
use crate::{CHUNK, RepositoryError};

/// Content in chunks of at most [`CHUNK`] bytes. It ends after the first error.
pub type ContentStream = BoxStream<'static, Result<Bytes, RepositoryError>>;

struct Reading {
    inner: Arc<Inner>,
    path: Path,
    id: Sha256Bytes,
    offset: u64,
    /// Known once the first chunk was asked for.
    size: Option<u64>,
    /// Hash of everything so far, if reading started at the beginning.
    hash: Option<Sha256>,
}

pub(crate) fn read(inner: Arc<Inner>, id: Sha256Bytes, offset: u64) -> ContentStream {
    let hash = (offset == 0).then(Sha256::new);
    let reading = Reading { inner, path: path_of(&id), id, offset, size: None, hash };
    try_unfold(reading, |mut reading| async move { Ok(reading.next().await?.map(|chunk| (chunk, reading))) })
        .boxed()
}

impl Reading {
    async fn next(&mut self) -> Result<Option<Bytes>, RepositoryError> {
        let size = match self.size {
            Some(size) => size,
            None => self.begin().await?,
        };
        if self.offset == size {
            let hash = self.hash.take().map(Sha256::finalize);
            return if hash.is_none_or(|hash| hash[..] == self.id) {
                Ok(None)
            } else {
                Err(RepositoryError::Corrupt)
            };
        }
        let end = size.min(self.offset + CHUNK as u64);
        let chunk = match self.inner.store.get_range(&self.path, self.offset..end).await {
            Ok(chunk) if chunk.len() as u64 == end - self.offset => chunk,
            Ok(_) => return Err(RepositoryError::Corrupt),
            Err(error) => return Err(self.why(size, error).await),
        };
        if let Some(hash) = &mut self.hash {
            hash.update(&chunk);
        }
        self.offset = end;
        Ok(Some(chunk))
    }

    async fn begin(&mut self) -> Result<u64, RepositoryError> {
        let found = self.inner.store.head(&self.path).await;
        let size = found.map_err(|error| RepositoryError::object("read content", error))?.size;
        if self.offset > size {
            return Err(RepositoryError::OffsetOutOfRange { offset: self.offset, size });
        }
        self.size = Some(size);
        Ok(size)
    }

    /// A file that became shorter while it was read is damaged; the store below has no clear error for it.
    async fn why(&self, size: u64, error: object_store::Error) -> RepositoryError {
        match self.inner.store.head(&self.path).await {
            Ok(now) if now.size != size => RepositoryError::Corrupt,
            _ => RepositoryError::object("read content", error),
        }
    }
}
