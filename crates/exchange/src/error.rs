//! What can go wrong in a use case, named by what the caller should do. No variant ever holds a value from a record.

use model::validate::Violation;
use store::{CommitError, ReadError};

/// Why a use case did not do what it was asked. [`reason`](Self::reason) is stable and machine-readable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeError {
    /// Correct these fields.
    #[error("the request is not valid: {}", summary(violations))]
    Invalid { violations: Vec<Violation> },
    /// Correct the request as a whole.
    #[error("{message}")]
    Unusable { reason: String, message: String },
    /// There is no such thing.
    #[error("{message}")]
    NotFound { reason: String, message: String },
    /// The name is taken by something else.
    #[error("{message}")]
    Exists { reason: String, message: String },
    /// Read again, then decide again.
    #[error("{message}")]
    Conflict { reason: String, message: String },
    /// Not for this caller.
    #[error("{message}")]
    Denied { reason: String, message: String },
    /// Come back later, or free room.
    #[error("{message}")]
    Exhausted { reason: String, message: String, retry_after_ms: Option<u64> },
    /// The node or one on the way cannot now.
    #[error("{message}")]
    Unavailable { reason: String, message: String },
    /// Nobody waits any more.
    #[error("{message}")]
    Deadline { message: String },
    /// What was stored is damaged; tell the operator.
    #[error("{message}")]
    DataLoss { reason: String, message: String },
    /// A defect.
    #[error("{message}")]
    Internal { message: String },
}

fn summary(violations: &[Violation]) -> String {
    let one = |violation: &Violation| format!("{}: {}", violation.field, violation.message);
    violations.iter().take(4).map(one).collect::<Vec<_>>().join("; ")
}

impl ExchangeError {
    pub fn unusable(reason: &str, message: impl Into<String>) -> Self {
        Self::Unusable { reason: reason.into(), message: message.into() }
    }

    pub fn not_found(reason: &str, message: impl Into<String>) -> Self {
        Self::NotFound { reason: reason.into(), message: message.into() }
    }

    pub fn denied(reason: &str, message: impl Into<String>) -> Self {
        Self::Denied { reason: reason.into(), message: message.into() }
    }

    pub fn conflict(reason: &str, message: impl Into<String>) -> Self {
        Self::Conflict { reason: reason.into(), message: message.into() }
    }

    pub fn exists(reason: &str, message: impl Into<String>) -> Self {
        Self::Exists { reason: reason.into(), message: message.into() }
    }

    pub fn unavailable(reason: &str, message: impl Into<String>) -> Self {
        Self::Unavailable { reason: reason.into(), message: message.into() }
    }

    pub fn data_loss(reason: &str, message: impl Into<String>) -> Self {
        Self::DataLoss { reason: reason.into(), message: message.into() }
    }

    pub fn internal(message: impl Into<String>) -> Self {
        Self::Internal { message: message.into() }
    }

    /// The machine-readable reason.
    pub fn reason(&self) -> &str {
        match self {
            Self::Invalid { .. } => "INVALID",
            Self::Unusable { reason, .. }
            | Self::NotFound { reason, .. }
            | Self::Exists { reason, .. }
            | Self::Conflict { reason, .. }
            | Self::Denied { reason, .. }
            | Self::Exhausted { reason, .. }
            | Self::Unavailable { reason, .. }
            | Self::DataLoss { reason, .. } => reason,
            Self::Deadline { .. } => "DEADLINE",
            Self::Internal { .. } => "INTERNAL",
        }
    }

    /// Whether the request itself is at fault, so that another node would say the same.
    pub fn is_callers(&self) -> bool {
        matches!(
            self,
            Self::Invalid { .. } | Self::Unusable { .. } | Self::NotFound { .. } | Self::Denied { .. }
        )
    }

    /// After how long trying again makes sense, when that is known.
    pub fn retry_after_ms(&self) -> Option<u64> {
        match self {
            Self::Exhausted { retry_after_ms, .. } => *retry_after_ms,
            _ => None,
        }
    }
}

impl From<ReadError> for ExchangeError {
    fn from(error: ReadError) -> Self {
        Self::data_loss("STORE_CORRUPT", error.to_string())
    }
}

impl From<CommitError> for ExchangeError {
    fn from(error: CommitError) -> Self {
        let message = error.to_string();
        let exhausted = |reason: &str, retry_after_ms| Self::Exhausted {
            reason: reason.into(),
            message: message.clone(),
            retry_after_ms: Some(retry_after_ms),
        };
        match error {
            CommitError::Changed { .. } => {
                Self::conflict("VERSION_CONFLICT", "the record was changed by somebody else meanwhile")
            }
            CommitError::Full => exhausted("DISK_FULL", 30_000),
            CommitError::Overloaded => exhausted("OVERLOADED", 200),
            CommitError::TooLarge => Self::unusable("TOO_LARGE", message),
            CommitError::NotWriting => Self::unavailable("NOT_WRITING", message),
            _ => Self::unavailable("STORE_FAILED", message),
        }
    }
}
