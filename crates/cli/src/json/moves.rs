//! JSON of a move: the fields of `MoveInstitutionReply` in `proto/tiermesh/v1/node.proto`.

use serde::Serialize;
use wire::v1;

use super::status::health;
use crate::moves::all;

#[derive(Serialize)]
pub(crate) struct InstitutionMove {
    /// `possible`, `decided` or `there`.
    pub outcome: &'static str,
    pub from: String,
    pub to: String,
    pub term: u32,
    pub registrations: u64,
    pub document_entries: u64,
    pub withdrawn: u64,
    pub bytes: u64,
    pub travelling: u64,
    pub upto: u64,
    /// Null where the node that was asked is the writer itself.
    pub from_link: Option<MoveLink>,
    pub to_link: Option<MoveLink>,
    /// 0: nothing is waited for, as far as is known there.
    pub awaited_term: u32,
    pub awaited_writer: String,
}

#[derive(Serialize)]
pub(crate) struct MoveLink {
    pub path: String,
    pub connected: bool,
    pub health: &'static str,
    pub reason: String,
    pub position: u64,
    pub head: u64,
    pub proven_ms: u64,
}

fn outcome(outcome: v1::MoveOutcome) -> &'static str {
    match outcome {
        v1::MoveOutcome::Possible => "possible",
        v1::MoveOutcome::Decided => "decided",
        v1::MoveOutcome::There => "there",
        v1::MoveOutcome::Unspecified => "unknown",
    }
}

impl From<v1::MoveInstitutionReply> for InstitutionMove {
    fn from(reply: v1::MoveInstitutionReply) -> Self {
        Self {
            outcome: outcome(reply.outcome()),
            from: reply.from,
            to: reply.to,
            term: reply.term,
            registrations: reply.registrations,
            document_entries: reply.document_entries,
            withdrawn: reply.withdrawn,
            bytes: reply.bytes,
            travelling: reply.travelling,
            upto: reply.upto,
            from_link: reply.from_link.map(MoveLink::from),
            to_link: reply.to_link.map(MoveLink::from),
            awaited_term: reply.awaited_term,
            awaited_writer: reply.awaited_writer,
        }
    }
}

impl From<v1::MoveLink> for MoveLink {
    fn from(link: v1::MoveLink) -> Self {
        Self {
            health: health(link.health()),
            path: link.path,
            connected: link.connected,
            reason: link.reason,
            position: link.position,
            head: link.head,
            proven_ms: link.proven_ms,
        }
    }
}

/// All institutions of one node.
#[derive(Serialize)]
pub(crate) struct Merge {
    pub from: String,
    pub to: String,
    pub dry_run: bool,
    pub moved: Vec<Moved>,
    pub refused: Vec<Refused>,
    /// Codes of those that left and whose term the old node has not ended, as far as is known.
    pub leaving: Vec<String>,
    /// Whether the new node stands for the old one; null if it was not asked for, or is too early.
    pub handed_over: Option<HandedOver>,
    /// What is left to do, for people; null after a dry run.
    pub next: Option<String>,
}

/// The fields of `HandOverReply`.
#[derive(Serialize)]
pub(crate) struct HandedOver {
    /// `possible`, `decided` or `there`.
    pub outcome: &'static str,
    pub documents: u64,
    pub bytes: u64,
}

#[derive(Serialize)]
pub(crate) struct Moved {
    pub code: String,
    pub name: String,
    #[serde(flatten)]
    pub institution: InstitutionMove,
}

#[derive(Serialize)]
pub(crate) struct Refused {
    pub code: String,
    /// Machine-readable; empty when the node gave none.
    pub reason: String,
    pub message: String,
}

impl From<&all::Merge> for Merge {
    fn from(merge: &all::Merge) -> Self {
        let moved = |moved: &all::Moved| Moved {
            code: moved.code.clone(),
            name: moved.name.clone(),
            institution: moved.reply.clone().into(),
        };
        let refused = |(code, error): &(String, crate::error::CliError)| Refused {
            code: code.clone(),
            reason: error.reason().unwrap_or_default().to_owned(),
            message: error.to_string(),
        };
        Self {
            from: merge.from.to_string(),
            to: merge.to.to_string(),
            dry_run: merge.dry_run,
            moved: merge.moved.iter().map(moved).collect(),
            refused: merge.refused.iter().map(refused).collect(),
            leaving: merge.leaving.clone(),
            handed_over: merge.handed_over.as_ref().map(|over| HandedOver {
                outcome: outcome(over.outcome()),
                documents: over.documents,
                bytes: over.bytes,
            }),
            next: all::next(merge),
        }
    }
}
