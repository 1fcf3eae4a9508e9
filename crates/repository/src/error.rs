//! Errors, named by what the caller should do.

use std::error::Error;
use std::io;

/// Why content could not be stored or read. Texts contain no path, so they may go to a caller; the log has the details.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    /// Send less, or raise the limit.
    #[error("content of {size} bytes is larger than the limit of {limit}")]
    TooLarge { size: u64, limit: u64 },
    /// Send the announced number of bytes.
    #[error("{expected} bytes of content were announced, {received} or more came")]
    SizeMismatch { expected: u64, received: u64 },
    /// Send the content that the hash names.
    #[error("the content does not have the announced SHA-256")]
    HashMismatch,
    /// A call on this upload failed or was cancelled before: begin again.
    #[error("the upload failed before and cannot go on")]
    Aborted,
    /// Ask elsewhere.
    #[error("no such content here")]
    NotFound,
    /// Ask for an offset within the content.
    #[error("the offset {offset} is beyond the {size} bytes of the content")]
    OffsetOutOfRange { offset: u64, size: u64 },
    /// Fetch the content again from elsewhere; storing it again repairs it.
    #[error("the stored content is damaged")]
    Corrupt,
    /// Make room; nothing was left behind.
    #[error("no room on the disk for content")]
    Full,
    /// Stop the other process that has the repository open.
    #[error("the content folder is in use by another process")]
    InUse,
    /// Look at the disk, its permissions and the log.
    #[error("content storage failed: {doing}")]
    Storage {
        doing: &'static str,
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

impl RepositoryError {
    /// What an error of the storage below means. A missing object is for callers to tell apart before.
    pub(crate) fn storage(doing: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let source = source.into();
        if is_full(source.as_ref()) {
            return Self::Full;
        }
        let cause = Causes(source.as_ref());
        tracing::error!(doing, %cause, "content storage failed");
        Self::Storage { doing, source }
    }

    /// Like [`RepositoryError::storage`], for calls to which a missing object is an answer.
    pub(crate) fn object(doing: &'static str, error: object_store::Error) -> Self {
        match error {
            object_store::Error::NotFound { .. } => Self::NotFound,
            error => Self::storage(doing, error),
        }
    }
}

/// Whether an I/O error among the causes says that there is no room.
fn is_full(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>()
            && matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        {
            return true;
        }
        cause = error.source();
    }
    false
}

/// An error with its causes on one line. Paths in it are of hashes and counters, never of people.
struct Causes<'a>(&'a (dyn Error + 'static));

impl std::fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_recognised_however_deep() {
        for kind in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
            let generic =
                object_store::Error::Generic { store: "test", source: Box::new(io::Error::from(kind)) };
            assert!(matches!(RepositoryError::object("write", generic), RepositoryError::Full));
        }
        assert!(matches!(
            RepositoryError::storage("write", io::Error::from_raw_os_error(28)),
            RepositoryError::Full
        ));
    }

    #[test]
    fn a_refused_permission_is_a_storage_error_without_its_path() {
        let denied = io::Error::new(io::ErrorKind::PermissionDenied, "/secret/path");
        let error = RepositoryError::storage("write", denied);
        assert_eq!(error.to_string(), "content storage failed: write");
        assert!(error.source().is_some_and(|source| source.to_string().contains("/secret/path")));
    }
}
