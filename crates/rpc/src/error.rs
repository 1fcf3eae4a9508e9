//! The one mapping between errors of the use cases and gRPC statuses, both ways.
//!
//! A status of ours always carries `google.rpc.ErrorInfo` with the machine-readable reason in the domain `tiermesh`;
//! field violations travel as `BadRequest`, waits as `RetryInfo`. What comes back from a neighbour becomes the same
//! error again, so a caller sees the custodian's reason and not the last hop's.

use std::collections::HashMap;
use std::time::Duration;

use exchange::ExchangeError;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};
use wire::ConvertError;

/// `ErrorInfo.domain` of every reason of ours.
pub const DOMAIN: &str = "tiermesh";

/// The status a caller gets for an error of a use case.
pub fn to_status(error: ExchangeError) -> Status {
    let code = match &error {
        ExchangeError::Invalid { .. } | ExchangeError::Unusable { .. } => Code::InvalidArgument,
        ExchangeError::NotFound { .. } => Code::NotFound,
        ExchangeError::Exists { .. } => Code::AlreadyExists,
        ExchangeError::Conflict { .. } => Code::FailedPrecondition,
        ExchangeError::Denied { .. } => Code::PermissionDenied,
        ExchangeError::Exhausted { .. } => Code::ResourceExhausted,
        ExchangeError::Unavailable { .. } => Code::Unavailable,
        ExchangeError::Deadline { .. } => Code::DeadlineExceeded,
        ExchangeError::DataLoss { .. } => Code::DataLoss,
        ExchangeError::Internal { .. } => Code::Internal,
    };
    let mut details = ErrorDetails::new();
    let mut metadata = HashMap::new();
    if let ExchangeError::Invalid { violations } = &error {
        if let Some(first) = violations.first() {
            metadata.insert("field".to_owned(), first.field.clone());
            metadata.insert("value_class".to_owned(), first.value_class.to_owned());
            metadata.insert("rule".to_owned(), first.rule.to_owned());
        }
        details.set_bad_request(violations.iter().map(field_violation).collect::<Vec<_>>());
    }
    details.set_error_info(error.reason(), DOMAIN, metadata);
    if let Some(wait) = error.retry_after_ms() {
        details.set_retry_info(Some(Duration::from_millis(wait)));
    }
    Status::with_error_details(code, error.to_string(), details)
}

fn field_violation(violation: &model::validate::Violation) -> FieldViolation {
    FieldViolation {
        field: violation.field.clone(),
        description: violation.message.clone(),
        reason: violation.rule.to_owned(),
        localized_message: None,
    }
}

/// The status for a request whose field has not the form that `proto/` states.
pub fn malformed(error: ConvertError) -> Status {
    let mut details = ErrorDetails::new();
    details.set_bad_request(vec![FieldViolation {
        field: error.field.to_owned(),
        description: error.rule.to_owned(),
        reason: "MALFORMED".to_owned(),
        localized_message: None,
    }]);
    let metadata = HashMap::from([("field".to_owned(), error.field.to_owned())]);
    details.set_error_info("INVALID", DOMAIN, metadata);
    Status::with_error_details(Code::InvalidArgument, error.to_string(), details)
}

/// A status with a machine-readable reason of ours.
pub fn status_for(code: Code, reason: &str, message: impl Into<String>) -> Status {
    Status::with_error_details(code, message, ErrorDetails::with_error_info(reason, DOMAIN, HashMap::new()))
}

/// The status for a caller who may not do this.
pub fn denied(reason: &str, message: impl Into<String>) -> Status {
    to_status(ExchangeError::denied(reason, message))
}

/// The error of the use case that a neighbour answered with, or none when the status is not one of ours: then the link
/// or the software there failed, not the use case.
pub fn from_status(status: &Status) -> Option<ExchangeError> {
    let info = status.get_details_error_info().filter(|info| info.domain == DOMAIN)?;
    let (reason, message) = (info.reason, status.message().to_owned());
    Some(match status.code() {
        // The rules that were broken are the neighbour's; its fields and words are in the message already.
        Code::InvalidArgument => ExchangeError::Unusable { reason, message },
        Code::NotFound => ExchangeError::NotFound { reason, message },
        Code::AlreadyExists => ExchangeError::Exists { reason, message },
        Code::FailedPrecondition => ExchangeError::Conflict { reason, message },
        Code::PermissionDenied => ExchangeError::Denied { reason, message },
        Code::ResourceExhausted => {
            ExchangeError::Exhausted { reason, message, retry_after_ms: retry_after(status) }
        }
        Code::Unavailable => ExchangeError::Unavailable { reason, message },
        Code::DeadlineExceeded => ExchangeError::Deadline { message },
        Code::DataLoss => ExchangeError::DataLoss { reason, message },
        Code::Internal => ExchangeError::Internal { message },
        _ => return None,
    })
}

fn retry_after(status: &Status) -> Option<u64> {
    let wait = status.get_details_retry_info()?.retry_delay?;
    u64::try_from(wait.as_millis()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::validate::{Severity, Violation};

    #[test]
    fn errors_survive_the_way_there_and_back() {
        let errors = [
            ExchangeError::unusable("HASH_MISMATCH", "m"),
            ExchangeError::not_found("UNKNOWN_PATIENT", "m"),
            ExchangeError::exists("DOCUMENT_ID_TAKEN", "m"),
            ExchangeError::conflict("VERSION_CONFLICT", "m"),
            ExchangeError::denied("WRONG_ROLE", "m"),
            ExchangeError::Exhausted {
                reason: "OVERLOADED".into(),
                message: "m".into(),
                retry_after_ms: Some(1250),
            },
            ExchangeError::unavailable("CUSTODIAN_UNREACHABLE", "m"),
            ExchangeError::Deadline { message: "m".into() },
            ExchangeError::data_loss("CONTENT_CORRUPT", "m"),
            ExchangeError::internal("m"),
        ];
        for error in errors {
            assert_eq!(from_status(&to_status(error.clone())), Some(error));
        }
    }

    #[test]
    fn violations_are_named() {
        let violation = Violation {
            field: "identifiers[0].value".into(),
            value_class: "resident ID",
            rule: "RESIDENT_ID_CHECK_DIGIT",
            severity: Severity::Error,
            message: "the check digit is wrong".into(),
        };
        let status = to_status(ExchangeError::Invalid { violations: vec![violation] });
        assert_eq!(status.code(), Code::InvalidArgument);
        let fields = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!(
            (fields[0].field.as_str(), fields[0].reason.as_str()),
            ("identifiers[0].value", "RESIDENT_ID_CHECK_DIGIT")
        );
        let info = status.get_details_error_info().unwrap();
        assert_eq!((info.reason.as_str(), info.domain.as_str()), ("INVALID", DOMAIN));
        assert_eq!(info.metadata["value_class"], "resident ID");
    }

    #[test]
    fn a_status_of_somebody_else_is_not_an_answer_of_ours() {
        assert_eq!(from_status(&Status::unavailable("connection reset")), None);
    }
}
