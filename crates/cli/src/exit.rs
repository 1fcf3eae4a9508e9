//! Exit codes: what a script that calls the command may do next.

use std::process::ExitCode;

/// How an online command ended. The numbers are part of the interface and never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// A fault of the node or of this program: report it.
    Unexpected = 1,
    /// The command line, a file or a certificate on this machine is wrong (clap uses the same number): correct it.
    Usage = 2,
    /// The node refused the input as invalid: correct what it names.
    Refused = 3,
    /// Nothing matched: an unknown patient or document, or a search without a hit.
    NotFound = 4,
    /// This certificate may not do that, or one side refused the other's certificate.
    Denied = 5,
    /// The node, or a node behind it, cannot be reached or did not answer in time: try again later.
    Unavailable = 6,
    /// Something else already holds the place, or changed since it was read: read again, then decide.
    Conflict = 7,
    /// No room or too much load at the node, or content above its limit.
    Exhausted = 8,
    /// Content or a record is damaged, and was not delivered.
    DataLoss = 9,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl From<tonic::Code> for Exit {
    fn from(code: tonic::Code) -> Self {
        use tonic::Code;
        match code {
            Code::Ok => Self::Ok,
            Code::InvalidArgument | Code::OutOfRange => Self::Refused,
            Code::NotFound => Self::NotFound,
            Code::PermissionDenied | Code::Unauthenticated => Self::Denied,
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => Self::Unavailable,
            Code::AlreadyExists | Code::FailedPrecondition | Code::Aborted => Self::Conflict,
            Code::ResourceExhausted => Self::Exhausted,
            Code::DataLoss => Self::DataLoss,
            Code::Unknown | Code::Internal | Code::Unimplemented => Self::Unexpected,
        }
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    #[test]
    fn every_status_has_its_exit_code() {
        for (code, exit) in [
            (Code::Ok, 0),
            (Code::Unknown, 1),
            (Code::Internal, 1),
            (Code::Unimplemented, 1),
            (Code::InvalidArgument, 3),
            (Code::OutOfRange, 3),
            (Code::NotFound, 4),
            (Code::PermissionDenied, 5),
            (Code::Unauthenticated, 5),
            (Code::Unavailable, 6),
            (Code::DeadlineExceeded, 6),
            (Code::Cancelled, 6),
            (Code::AlreadyExists, 7),
            (Code::FailedPrecondition, 7),
            (Code::Aborted, 7),
            (Code::ResourceExhausted, 8),
            (Code::DataLoss, 9),
        ] {
            assert_eq!(Exit::from(code) as u8, exit, "{code:?}");
        }
        assert_eq!(Exit::Usage as u8, 2);
    }
}
