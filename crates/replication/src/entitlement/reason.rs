//! Why a record is quarantined. Names rules, nodes and institutions; never a person.

use model::{KeyId, NodePath, OriginId, RecordError};

use crate::epoch::EpochMisfit;

/// The rule that a record breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    #[error("{0}")]
    Record(#[from] RecordError),
    #[error("signed with key {0}, which is not known here")]
    UnknownKey(KeyId),
    #[error("the signature is not its key's")]
    Signature,
    #[error("signed by {path}, which does not stand under the sender {sender}")]
    Outside { path: NodePath, sender: NodePath },
    #[error("signed by {path}, which stands under this node: nobody above sends that")]
    OwnSubtree { path: NodePath },
    #[error("other bytes are held under the same version")]
    OtherBytes,
    #[error("{path} does not write for origin {origin}")]
    NotTheWriter { path: NodePath, origin: OriginId },
    #[error("{path} wrote for this institution in another term; in term {term} {by} does")]
    OtherWriter { path: NodePath, term: u32, by: String },
    #[error("what became of institution {code} in term {before} is not known here")]
    UnknownTerm { code: String, before: u32 },
    #[error("institution {code} is given to {node}, which is not known here")]
    UnknownNode { code: String, node: OriginId },
    #[error(
        "only {decider}, under which both writers stand, decides who writes for institution {code}; {path} does not"
    )]
    NotTheDecider { code: String, path: NodePath, decider: String },
    #[error(
        "only {decider}, the lowest node above both, says which node stands for another; {path} does not"
    )]
    NotItsSuccession { path: NodePath, decider: String },
    #[error("{node}, which stands for another node or is stood for, is not known here")]
    StrangerSucceeds { node: OriginId },
    #[error("another node stands for {path} already, or it would stand for itself")]
    Succeeded { path: NodePath },
    #[error("{path} was not the writer of term {term}, so it cannot end it")]
    NotItsTerm { path: NodePath, term: u32 },
    #[error(
        "written by {path} after its successor had taken over without it, and the successor has written this record too"
    )]
    OverruledBySuccessor { path: String },
    #[error("written in term {stated}, the origin is in term {current}")]
    OtherTerm { current: u32, stated: u32 },
    #[error("epoch {epoch} of {path} is not known here")]
    UnknownEpoch { path: NodePath, epoch: u32 },
    #[error("seq {seq} does not belong to epoch {epoch} of {path} as it was admitted here")]
    Overruled { path: NodePath, epoch: u32, seq: u64 },
    #[error("the flow class is not that of its kind")]
    WrongFlow,
    #[error("the id is not that of its natural key")]
    WrongId,
    #[error("the subject is not the registration that its body names")]
    WrongSubject,
    #[error("the origin is not that of the institution or node that its body names")]
    WrongOrigin,
    #[error("directory records are not withdrawn")]
    Withdrawn,
    #[error("links are not withdrawn, they are taken back")]
    LinkWithdrawn,
    #[error("{0} is not the lowest node above both registrations, nor may it overrule what that one decides")]
    NotTheJudge(NodePath),
    #[error("the body is not well formed: {0}")]
    Body(&'static str),
    #[error("the signing key is refused: {0}")]
    KeyRefused(String),
    #[error("{path} is known here as origin {known}")]
    PathTaken { path: NodePath, known: OriginId },
    #[error("origin {origin} is known here as {known}")]
    OriginTaken { origin: OriginId, known: String },
    #[error("the node stands at {certified}, not at {stated}")]
    WrongPath { certified: NodePath, stated: String },
    #[error("the node belongs to another mesh")]
    WrongTree,
    #[error("institution {code} already files with {by}")]
    Claimed { code: String, by: String },
    #[error("a node enrols an institution for itself and in term 1; {path} does not")]
    NotItsOwn { path: NodePath },
    #[error("epoch {counter} of {path}: {why}")]
    Epoch { path: NodePath, counter: u32, why: EpochMisfit },
}
