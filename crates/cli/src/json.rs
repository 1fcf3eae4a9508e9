//! The JSON of `--json`: one object per command. Fields are only added; what is here keeps its name and meaning.
//!
//! | command | object |
//! | --- | --- |
//! | `patient register` | [`Registered`] |
//! | `patient find`, `patient show` | [`Persons`] |
//! | `document submit`, `deprecate`, `withdraw` | [`Submitted`] |
//! | `document find` | [`Documents`] |
//! | `document get` | [`Fetched`] |
//! | `status` | [`Status`]; with `--watch` one per line |
//! | `move institution` | [`InstitutionMove`] |
//! | `move all` | [`Merge`] |
//! | `quarantine` | [`Quarantine`] |
//! | `person reviews` | [`Reviews`] |
//! | `person quality` | [`Quality`] |
//! | `person show` | [`WholePerson`] |
//! | `person pair` | [`LinkedPair`] |
//! | `person link`, `separate`, `merge`, `undo` | [`Decided`] |
//! | any, when it failed | [`Failed`] |
//!
//! [`Registration`] is also what `patient register --file` reads. Names are those of `proto/`; times are milliseconds since
//! 1970-01-01 UTC, hashes and keys lower-case hexadecimal, enumerations lower-case words.

mod document;
mod moves;
mod patient;
mod person;
mod quality;
mod quarantine;
mod status;

use model::query::{AnswerScope, SourceState};
use serde::Serialize;
use wire::v1;

use crate::error::CliError;

pub(crate) use document::{Documents, Fetched, Submitted, availability};
pub(crate) use moves::{InstitutionMove, Merge};
pub(crate) use patient::{Persons, Registered, Registration};
pub(crate) use person::{Decided, HeldLink, LinkedPair, Reviews, Shown, WholePerson};
pub(crate) use quality::{Quality, Share, Size};
pub(crate) use quarantine::{Quarantine, Quarantined};
pub(crate) use status::{Link, Status, health};

/// The word for where something is durable.
pub(crate) fn durability(durability: v1::Durability) -> &'static str {
    match durability {
        v1::Durability::Local => "local",
        v1::Durability::Parent => "parent",
        v1::Durability::Unspecified => "unknown",
    }
}

/// What every answer says about itself.
#[derive(Serialize)]
pub(crate) struct Scope {
    pub answered_by: String,
    /// False when a node that could know more did not reply.
    pub complete: bool,
    /// Clock of the answering node.
    pub answered_ms: u64,
    pub sources: Vec<Source>,
}

#[derive(Serialize)]
pub(crate) struct Source {
    pub path: String,
    /// `live`, `replicated` or `no_reply`.
    pub state: &'static str,
    /// By the answering node's clock; 0: never, or itself.
    pub heard_ms: u64,
    pub newest_record_ms: u64,
    pub behind: u64,
    pub reason: String,
}

impl From<&AnswerScope> for Scope {
    fn from(scope: &AnswerScope) -> Self {
        let source = |source: &model::query::Source| Source {
            path: source.path.to_string(),
            state: match source.state {
                SourceState::Live => "live",
                SourceState::Replicated => "replicated",
                SourceState::NoReply => "no_reply",
            },
            heard_ms: source.heard_ms,
            newest_record_ms: source.newest_record_ms,
            behind: source.behind,
            reason: source.reason.clone(),
        };
        Self {
            answered_by: scope.answered_by.to_string(),
            complete: scope.complete,
            answered_ms: scope.answered_ms,
            sources: scope.sources.iter().map(source).collect(),
        }
    }
}

#[derive(Serialize)]
pub(crate) struct Failed {
    pub error: Failure,
}

#[derive(Serialize)]
pub(crate) struct Failure {
    /// The exit code: see [`crate::Exit`].
    pub exit: u8,
    /// Machine-readable reason of the node; empty when it gave none.
    pub reason: String,
    /// The line on standard error.
    pub message: String,
    pub violations: Vec<Violation>,
}

#[derive(Serialize)]
pub(crate) struct Violation {
    pub field: String,
    pub rule: String,
}

impl From<&CliError> for Failed {
    fn from(error: &CliError) -> Self {
        let pairs = match error {
            CliError::Refused(refusal) => refusal.violations.as_slice(),
            _ => &[],
        };
        let violation =
            |(field, rule): &(String, String)| Violation { field: field.clone(), rule: rule.clone() };
        Self {
            error: Failure {
                exit: error.exit() as u8,
                reason: error.reason().unwrap_or_default().to_owned(),
                message: error.to_string(),
                violations: pairs.iter().map(violation).collect(),
            },
        }
    }
}
