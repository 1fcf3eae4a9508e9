//! JSON of pairs of registrations: the messages of `proto/tiermesh/v1/linkage.proto`, weights in bits.

use model::body::{Kind, LinkBasis, LinkDecision, LinkLayer, RegistrationRef};
use model::{OriginId, RecordId, RecordKey};
use serde::Serialize;
use wire::v1;

use super::patient::Registration;

#[derive(Serialize)]
pub(crate) struct Reviews {
    pub pairs: Vec<LinkedPair>,
    /// There are more than were asked for.
    pub more: bool,
}

#[derive(Serialize)]
pub(crate) struct Decided {
    /// False: it was said before.
    pub changed: bool,
}

#[derive(Serialize)]
pub(crate) struct LinkedPair {
    pub registrations: Vec<Shown>,
    pub links: Vec<HeldLink>,
    pub one_person: bool,
}

#[derive(Serialize)]
pub(crate) struct WholePerson {
    pub number: String,
    pub registrations: Vec<Shown>,
    pub links: Vec<LinkOf>,
    pub truncated: bool,
    /// A decision does not remember what it said at the time asked for.
    pub incomplete: bool,
}

/// A link, and the keys of the registrations that it is about.
#[derive(Serialize)]
pub(crate) struct LinkOf {
    pub a: String,
    pub b: String,
    #[serde(flatten)]
    pub link: HeldLink,
}

#[derive(Serialize)]
pub(crate) struct Shown {
    pub key: String,
    pub version: String,
    pub recorded_ms: u64,
    pub node_path: String,
    pub registration: Registration,
}

#[derive(Serialize)]
pub(crate) struct HeldLink {
    pub decided_by: String,
    pub version: String,
    pub recorded_ms: u64,
    /// `machine`, `human` or `suspension`.
    pub layer: &'static str,
    /// `same`, `different`, `possible`, `suspended` or `none`.
    pub decision: &'static str,
    /// `rule`, `score`, `human` or `conflict`.
    pub basis: &'static str,
    pub bits: f64,
    pub doubtful: bool,
    pub model: String,
    pub fields: Vec<Field>,
    pub operator: String,
    pub reason: String,
    pub past: Vec<Past>,
}

#[derive(Serialize)]
pub(crate) struct Field {
    pub comparison: String,
    pub level: String,
    pub bits: f64,
}

#[derive(Serialize)]
pub(crate) struct Past {
    pub recorded_ms: u64,
    pub decision: &'static str,
    pub operator: String,
    pub reason: String,
}

fn decision(decision: LinkDecision) -> &'static str {
    match decision {
        LinkDecision::None => "none",
        LinkDecision::Same => "same",
        LinkDecision::Possible => "possible",
        LinkDecision::Different => "different",
        LinkDecision::Suspended => "suspended",
        LinkDecision::Unspecified => "unknown",
    }
}

fn bits(millibits: i32) -> f64 {
    f64::from(millibits) / 1000.0
}

impl From<v1::LinkedPair> for LinkedPair {
    fn from(pair: v1::LinkedPair) -> Self {
        Self {
            registrations: pair.registrations.into_iter().map(Shown::from).collect(),
            links: pair.links.into_iter().map(HeldLink::from).collect(),
            one_person: pair.one_person,
        }
    }
}

impl From<v1::GetPersonReply> for WholePerson {
    fn from(person: v1::GetPersonReply) -> Self {
        Self {
            number: person.number,
            registrations: person.registrations.into_iter().map(Shown::from).collect(),
            links: person.links.into_iter().map(LinkOf::from).collect(),
            truncated: person.truncated,
            incomplete: person.incomplete,
        }
    }
}

impl From<v1::HeldLink> for LinkOf {
    fn from(held: v1::HeldLink) -> Self {
        let key = |end: Option<&RegistrationRef>| {
            let end = end.and_then(|end| {
                let (origin, id) = (end.origin[..].try_into().ok()?, end.id[..].try_into().ok()?);
                Some(RecordKey::of(Kind::Registration as u32, OriginId(origin), RecordId(id)))
            });
            end.map(|key| key.to_string()).unwrap_or_default()
        };
        let link = held.link.as_ref();
        let [a, b] = [link.and_then(|link| link.a.as_ref()), link.and_then(|link| link.b.as_ref())];
        Self { a: key(a), b: key(b), link: HeldLink::from(held) }
    }
}

impl From<v1::PatientRegistration> for Shown {
    fn from(found: v1::PatientRegistration) -> Self {
        Self {
            key: RecordKey::try_from(&found.key[..]).map(|key| key.to_string()).unwrap_or_default(),
            version: found.version,
            recorded_ms: found.recorded_ms,
            node_path: found.node_path,
            registration: Registration::from(&found.registration.unwrap_or_default()),
        }
    }
}

impl From<v1::NamedWeight> for Field {
    fn from(weight: v1::NamedWeight) -> Self {
        Self { comparison: weight.comparison, level: weight.level, bits: bits(weight.weight_millibits) }
    }
}

impl From<v1::HeldLink> for HeldLink {
    fn from(held: v1::HeldLink) -> Self {
        let link = held.link.unwrap_or_default();
        let layer = match link.layer() {
            LinkLayer::Machine => "machine",
            LinkLayer::Human => "human",
            LinkLayer::Suspension => "suspension",
            LinkLayer::Unspecified => "unknown",
        };
        let basis = match link.basis() {
            LinkBasis::Rule => "rule",
            LinkBasis::Score => "score",
            LinkBasis::Human => "human",
            LinkBasis::Conflict => "conflict",
            LinkBasis::Unspecified => "unknown",
        };
        Self {
            decided_by: held.decided_by,
            version: held.version,
            recorded_ms: held.recorded_ms,
            layer,
            decision: decision(link.decision()),
            basis,
            bits: bits(link.weight_millibits),
            doubtful: link.doubtful,
            fields: held.weights.into_iter().map(Field::from).collect(),
            past: link
                .past
                .iter()
                .map(|past| Past {
                    recorded_ms: past.recorded_ms,
                    decision: decision(past.decision()),
                    operator: past.operator.clone(),
                    reason: past.reason.clone(),
                })
                .collect(),
            model: link.model,
            operator: link.operator,
            reason: link.reason,
        }
    }
}
