//! What can go wrong with an online command, each as one line that says what to do.

use std::path::PathBuf;
use std::time::Duration;

use identity::IdentityError;
use tonic::{Code, Status};
use tonic_types::StatusExt;
use wire::ConvertError;

use crate::exit::Exit;
use crate::text::plain;

/// Why an online command, or a call of [`crate::client::Client`], failed. Named by what the caller should do.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// Correct the command line.
    #[error("{0}")]
    Usage(&'static str),
    /// Correct or provide a file on this machine. Never holds what is in the file.
    #[error("{}: {why}", path.display())]
    File { path: PathBuf, why: String },
    /// Correct or renew this side's certificate, key or root certificate.
    #[error("{0}")]
    Identity(Box<IdentityError>),
    /// Look after the node or the network, or the address; then try again.
    #[error("cannot reach {address}: {why}")]
    Unreachable { address: String, why: String },
    /// Get the right certificate, for this side or the other; `--node-path` when another node was meant.
    #[error("{address}: {why}")]
    Certificate { address: String, why: String },
    /// The node answered with an error.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// The answer did not come in time.
    #[error("no answer within {} s; try again, or allow more with --timeout", .0.as_secs_f32())]
    Deadline(Duration),
    /// The node speaks another version of the protocol, or has a fault.
    #[error("the node's answer does not have the form of the protocol: {0}")]
    Answer(#[from] ConvertError),
    /// Search for something else.
    #[error("{0}")]
    NothingFound(&'static str),
    /// Nothing matched where an answer came from, and somebody who may know more did not reply: ask again later.
    #[error("{0} where an answer came from; a node that may know more did not reply: try again later")]
    NothingFoundYet(&'static str),
    /// What was received is not the document.
    #[error("{0}")]
    ContentCorrupt(&'static str),
    /// Standard output or the runtime of this process failed.
    #[error("cannot go on: {0}")]
    Process(String),
}

/// An error that a node answered with: a gRPC status and its google.rpc details.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub code: Code,
    /// Machine-readable reason, as the services in `proto/` list them; empty when the answer has none.
    pub reason: String,
    /// For people; without personal data.
    pub message: String,
    /// Request fields that are wrong, each with the rule it breaks.
    pub violations: Vec<(String, String)>,
    /// When to try again, if the node says so.
    pub retry_after: Option<Duration>,
}

impl CliError {
    /// The exit code of a command that ends with this error.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) | Self::File { .. } | Self::Identity(_) => Exit::Usage,
            Self::Unreachable { .. } | Self::Deadline(_) | Self::NothingFoundYet(_) => Exit::Unavailable,
            Self::Certificate { .. } => Exit::Denied,
            Self::Refused(refusal) => refusal.code.into(),
            Self::Answer(_) | Self::Process(_) => Exit::Unexpected,
            Self::NothingFound(_) => Exit::NotFound,
            Self::ContentCorrupt(_) => Exit::DataLoss,
        }
    }

    /// That nothing was found, by an answer that was complete or not.
    pub(crate) fn nothing(what: &'static str, complete: bool) -> Self {
        if complete { Self::NothingFound(what) } else { Self::NothingFoundYet(what) }
    }

    /// The machine-readable reason a node gave, if a node gave one.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Refused(refusal) if !refusal.reason.is_empty() => Some(&refusal.reason),
            _ => None,
        }
    }

    pub(crate) fn file(path: impl Into<PathBuf>, error: &std::io::Error) -> Self {
        use std::io::ErrorKind;
        let why = match error.kind() {
            ErrorKind::NotFound => "no such file; check the path".to_owned(),
            ErrorKind::PermissionDenied => "not permitted; check its owner and mode".to_owned(),
            ErrorKind::StorageFull => "the disk is full; make room and run it again".to_owned(),
            _ => error.to_string(),
        };
        Self::File { path: path.into(), why }
    }
}

impl From<IdentityError> for CliError {
    fn from(error: IdentityError) -> Self {
        Self::Identity(Box::new(error))
    }
}

impl From<Status> for CliError {
    fn from(status: Status) -> Self {
        Self::Refused(Box::new(status.into()))
    }
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        let details = status.get_error_details();
        let violations = details.bad_request().map(|bad| {
            let pairs = bad.field_violations.iter();
            pairs.map(|violation| (plain(&violation.field), plain(&violation.description))).collect()
        });
        Self {
            code: status.code(),
            reason: details.error_info().map(|info| plain(&info.reason)).unwrap_or_default(),
            message: plain(status.message()),
            violations: violations.unwrap_or_default(),
            retry_after: details.retry_info().and_then(|info| info.retry_delay),
        }
    }
}

impl Refusal {
    /// What the caller can do about it.
    pub fn advice(&self) -> &'static str {
        match (self.reason.as_str(), self.code) {
            ("UNKNOWN_PATIENT", _) => "register the patient at this institution first",
            ("UNKNOWN_DOCUMENT", _) => "look the document up with `document find`",
            ("DOCUMENT_ID_TAKEN", _) => {
                "submit it under another --id, with --replaces if it takes the other's place"
            }
            ("VERSION_CONFLICT", _) => "read the patient again, then decide",
            ("WRONG_NODE", _) => "file at that node, with a certificate that it issued",
            ("ASK_ANOTHER_NODE", _) => {
                "run it there: --node and --node-path of it, --identity of its operator"
            }
            ("UNKNOWN_NODE", _) => "start that node, and wait until `status` above it shows its link green",
            ("CONTENT_MISSING", _) => {
                "bring `content` in its node's data folder back from the backup, or have it filed again"
            }
            ("WRONG_ROLE", _) => "use a certificate with the role for this",
            ("WRONG_INSTITUTION", _) => "use the certificate of the institution concerned",
            ("HASH_MISMATCH" | "SIZE_MISMATCH", _) => {
                "the file changed while it was read, or on the way: submit it again"
            }
            ("CONTENT_TOO_LARGE", _) => "submit it with --reference, or in parts",
            ("DISK_FULL", _) => "make room at the node; writes resume by themselves",
            ("NOT_WRITING", _) => "`status` says why the node does not accept writes",
            ("CUSTODIAN_UNREACHABLE", _) => "try again when the custodian's link is up; `status` shows links",
            ("CONTENT_CORRUPT" | "STORE_CORRUPT", _) => "report it to the operator of the node that holds it",
            (_, Code::InvalidArgument | Code::OutOfRange) => "correct what is named and run it again",
            (_, Code::PermissionDenied | Code::Unauthenticated) => "use a certificate that may do this",
            (_, Code::NotFound) => "check the ids",
            (_, Code::AlreadyExists | Code::FailedPrecondition | Code::Aborted) => {
                "look at what is there, then decide"
            }
            (_, Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::ResourceExhausted) => {
                "try again later"
            }
            (_, Code::DataLoss) => "report it to the operator of the node",
            (_, Code::Unimplemented) => "the node is older than this program: update it",
            _ => "report it, with the node's log of this moment",
        }
    }

    fn what(&self) -> &'static str {
        match Exit::from(self.code) {
            Exit::Refused => "the node refused the input",
            Exit::NotFound => "not found",
            Exit::Denied => "not permitted",
            Exit::Unavailable => "not available",
            Exit::Conflict => "in conflict with what the node holds",
            Exit::Exhausted => "the node has no room or capacity for it",
            Exit::DataLoss => "damaged data",
            Exit::Ok | Exit::Unexpected | Exit::Usage => "the node failed",
        }
    }
}

impl std::fmt::Display for Refusal {
    /// One line: what, reason, message, fields, when and what to do.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.what())?;
        if !self.reason.is_empty() {
            write!(f, " ({})", self.reason)?;
        }
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        // A node may have said in its message already which field is wrong, and after a semicolon what to do.
        for (field, rule) in self.violations.iter().filter(|(_, rule)| !self.message.contains(rule)) {
            write!(f, "; {field}: {rule}")?;
        }
        if let Some(wait) = self.retry_after {
            write!(f, "; retry after {:.1} s", wait.as_secs_f32())?;
        }
        if self.message.contains(';') { Ok(()) } else { write!(f, "; {}", self.advice()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(message: &str, violations: &[(&str, &str)]) -> String {
        let pair = |(field, rule): &(&str, &str)| ((*field).to_owned(), (*rule).to_owned());
        Refusal {
            code: Code::InvalidArgument,
            reason: "INVALID".to_owned(),
            message: message.to_owned(),
            violations: violations.iter().map(pair).collect(),
            retry_after: None,
        }
        .to_string()
    }

    #[test]
    fn nothing_is_said_twice() {
        let start = "the node refused the input (INVALID)";
        let rule = "the calendar has no such date";
        let advice = "correct what is named and run it again";
        assert_eq!(
            refusal("two fields are wrong", &[("birth_date", rule), ("sex", "not a code of GB/T 2261.1")]),
            format!(
                "{start}: two fields are wrong; birth_date: {rule}; sex: not a code of GB/T 2261.1; {advice}"
            )
        );
        assert_eq!(
            refusal(&format!("birth_date: {rule}"), &[("birth_date", rule)]),
            format!("{start}: birth_date: {rule}; {advice}")
        );
        assert_eq!(refusal("unknown; register it", &[]), format!("{start}: unknown; register it"));
        assert_eq!(refusal("", &[]), format!("{start}; {advice}"));
    }

    #[test]
    fn a_node_cannot_steer_the_terminal() {
        let refusal = Refusal::from(Status::not_found("\u{1b}[2Jgone\nerror: fake"));
        assert_eq!(refusal.message, "\u{fffd}[2Jgone\u{fffd}error: fake");
    }
}
