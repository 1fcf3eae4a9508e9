//! Links between registrations: what nodes and humans decided about pairs, and which pairs are joined by it (design.md, *Identity*).
//!
//! A pair's state depends on the records about it and on its two registrations only, never on the order in which they came; so nodes
//! that hold the same records have the same persons.

use std::cmp::Reverse;

use crate::body::{LinkBasis, LinkDecision, LinkLayer, PersonLink, RegistrationRef};
use crate::{Kind, OriginId, Record, RecordId, RecordKey, Version};

/// Most fields of a link's explanation, and decisions before this one that it remembers, as this release writes them.
pub const MAX_FIELDS: usize = 16;
pub const MAX_PAST: usize = 16;
/// Most of either that is read: a later release may write more.
const MAX_READ: usize = 64;
/// Most characters of the model's version and of the operator's name.
pub const MAX_NAME: usize = 64;
/// Most characters of a human's reason.
pub const MAX_REASON: usize = 256;
/// Furthest that a weight goes either way, in thousandths of a bit.
pub const MAX_WEIGHT: i32 = 1_000_000;

/// A registration in one of its lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct End {
    pub key: RecordKey,
    /// When that life was recorded first.
    pub born_ms: u64,
}

/// What one node decided about one pair in one layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decided {
    /// The smaller key.
    pub a: End,
    pub b: End,
    /// Their institutions.
    pub origins: [OriginId; 2],
    pub layer: LinkLayer,
    pub decision: LinkDecision,
    pub basis: LinkBasis,
    pub weight_millibits: i32,
    pub doubtful: bool,
    /// The node that decided.
    pub by: OriginId,
}

/// Why the body of a link is no good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PersonLinkError {
    #[error("link")]
    Form,
    #[error("ends of a link")]
    Ends,
    #[error("a link's id or subject is not that of its ends")]
    Id,
    #[error("a link's text or list is too long")]
    TooLong,
    #[error("a link's weight")]
    Weight,
}

impl Decided {
    /// Reads a link. A layer, decision or basis of a later release is read as unspecified, which decides nothing.
    pub fn of(record: &Record) -> Result<Self, PersonLinkError> {
        let envelope = record.envelope();
        if envelope.kind != Kind::Link as u32 || envelope.tombstone {
            return Err(PersonLinkError::Form);
        }
        let body: PersonLink = record.decode_body().map_err(|_| PersonLinkError::Form)?;
        let this = Self::read(&body, envelope.origin)?;
        let named = envelope.subject == Some(this.a.key)
            && envelope.id == link_id(body.layer, &this.a.key, &this.b.key);
        if named { Ok(this) } else { Err(PersonLinkError::Id) }
    }

    /// The same for a body and the node that decided.
    pub fn read(body: &PersonLink, by: OriginId) -> Result<Self, PersonLinkError> {
        let (a, origin_a) = end(body.a.as_ref())?;
        let (b, origin_b) = end(body.b.as_ref())?;
        if a.key >= b.key {
            return Err(PersonLinkError::Ends);
        }
        let long = |text: &str, most: usize| text.chars().count() > most;
        let past =
            body.past.iter().any(|past| long(&past.operator, MAX_NAME) || long(&past.reason, MAX_REASON));
        if body.fields.len() > MAX_READ
            || body.past.len() > MAX_READ
            || long(&body.model, MAX_NAME)
            || long(&body.operator, MAX_NAME)
            || long(&body.reason, MAX_REASON)
            || past
        {
            return Err(PersonLinkError::TooLong);
        }
        if body.weight_millibits.unsigned_abs() > MAX_WEIGHT.unsigned_abs() {
            return Err(PersonLinkError::Weight);
        }
        Ok(Self {
            a,
            b,
            origins: [origin_a, origin_b],
            layer: body.layer(),
            decision: body.decision(),
            basis: body.basis(),
            weight_millibits: body.weight_millibits,
            doubtful: body.doubtful,
            by,
        })
    }

    /// The id of its record.
    pub fn id(&self) -> RecordId {
        link_id(self.layer as i32, &self.a.key, &self.b.key)
    }

    /// The other end than the one with this key.
    pub fn other(&self, key: &RecordKey) -> &End {
        if self.a.key == *key { &self.b } else { &self.a }
    }

    /// Whether it says anything about who is the same person, so that it can stand against others. `None` overrules nothing.
    fn is_opinion(&self) -> bool {
        let decides = match self.layer {
            LinkLayer::Machine => {
                matches!(self.basis, LinkBasis::Rule | LinkBasis::Score | LinkBasis::Conflict)
            }
            LinkLayer::Human => self.basis == LinkBasis::Human,
            LinkLayer::Suspension | LinkLayer::Unspecified => false,
        };
        decides
            && matches!(self.decision, LinkDecision::Same | LinkDecision::Possible | LinkDecision::Different)
    }

    /// What comes first decides: a human; of machines what the one said whose pair it is, unless it only thought it possible; rule before
    /// score; then the higher tier; different before same before possible; the weight; the node.
    fn strength(&self, standing: Standing) -> impl Ord + use<> {
        let is_word = standing.is_judge && self.decision != LinkDecision::Possible;
        let of_another_judge = self.layer == LinkLayer::Machine && !is_word;
        let basis = match self.basis {
            LinkBasis::Human => 0,
            LinkBasis::Rule | LinkBasis::Conflict => 1,
            LinkBasis::Score | LinkBasis::Unspecified => 2,
        };
        let decision = match self.decision {
            LinkDecision::Different => 0,
            LinkDecision::Same => 1,
            _ => 2,
        };
        (
            basis != 0,
            of_another_judge,
            basis,
            standing.depth,
            decision,
            Reverse(self.weight_millibits),
            self.by,
        )
    }
}

/// The id of the link record of a pair in the layer of this number; `a` is the smaller key.
fn link_id(layer: i32, a: &RecordKey, b: &RecordKey) -> RecordId {
    RecordId::of(&[&layer.to_be_bytes()[3..], a.as_bytes(), b.as_bytes()])
}

/// Names a registration in a link, in the life and the version in which it was looked at.
pub fn reference(origin: OriginId, id: RecordId, born_ms: u64, version: Version) -> RegistrationRef {
    RegistrationRef {
        origin: origin.as_bytes().to_vec().into(),
        id: id.as_bytes().to_vec().into(),
        born_ms,
        version: version.to_string(),
    }
}

/// Where the node stands that made a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Nodes above it (the root's is 0).
    pub depth: usize,
    /// It is the lowest node above the present writers of both registrations. One that was, before an institution moved, may have lost
    /// sight of them: what its linker said stands until the one whose pair it is says something else.
    pub is_judge: bool,
    /// It is that node or one above it. One that is not, any more, does not see what it suspended a link for.
    pub is_above: bool,
}

/// The decision that counts of those about one pair, suspended or not, each with where the node stands that made it.
pub fn strongest<'a>(
    decided: impl IntoIterator<Item = (&'a Decided, Standing)>,
) -> Option<(&'a Decided, Standing)> {
    let opinions = decided.into_iter().filter(|(one, _)| one.is_opinion());
    opinions.min_by_key(|(one, standing)| one.strength(*standing))
}

/// Whether a join of a pair is suspended.
pub fn is_suspended<'a>(decided: impl IntoIterator<Item = (&'a Decided, Standing)>) -> bool {
    decided.into_iter().any(|(one, standing)| {
        let suspends = one.layer == LinkLayer::Suspension && one.decision == LinkDecision::Suspended;
        suspends && standing.is_above
    })
}

/// Whether a pair is joined by what was decided about it; none when nothing was, so that something else may tell. The registrations must
/// live, with the `born_ms` that the decisions name: whoever asks has looked.
pub fn joined<'a>(decided: impl IntoIterator<Item = (&'a Decided, Standing)> + Clone) -> Option<bool> {
    if is_suspended(decided.clone()) {
        return Some(false);
    }
    match strongest(decided)?.0.decision {
        LinkDecision::Same => Some(true),
        LinkDecision::Different => Some(false),
        _ => None,
    }
}

fn end(of: Option<&RegistrationRef>) -> Result<(End, OriginId), PersonLinkError> {
    let of = of.ok_or(PersonLinkError::Ends)?;
    let origin = OriginId::try_from(&of.origin[..]).map_err(|_| PersonLinkError::Ends)?;
    let id = RecordId::try_from(&of.id[..]).map_err(|_| PersonLinkError::Ends)?;
    of.version.parse::<Version>().map_err(|_| PersonLinkError::Ends)?;
    Ok((End { key: RecordKey::of(Kind::Registration as u32, origin, id), born_ms: of.born_ms }, origin))
}

mod suspension;
#[cfg(test)]
mod tests;

pub use suspension::{Contradiction, contradictions};
