//! JSON of patients.

use model::body;
use model::query::{self, FoundRegistration, PatientAnswer};
use serde::{Deserialize, Serialize};
use wire::v1;

use super::{Scope, durability};

/// A registration, as in `proto/tiermesh/v1/record.proto`.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Registration {
    pub local_id: String,
    #[serde(default)]
    pub source_system: String,
    #[serde(default)]
    pub institution_code: String,
    /// Filled by the node.
    #[serde(default)]
    pub number: String,
    /// Filled by the node.
    #[serde(default)]
    pub born_ms: u64,
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub sex: String,
    #[serde(default)]
    pub birth_date: String,
    #[serde(default)]
    pub identifiers: Vec<Identifier>,
    #[serde(default)]
    pub phones: Vec<String>,
    #[serde(default)]
    pub addresses: Vec<Address>,
    #[serde(default)]
    pub ethnicity: String,
    #[serde(default)]
    pub marital_status: String,
    #[serde(default)]
    pub contacts: Vec<Contact>,
    #[serde(default)]
    pub deceased_date: String,
    #[serde(default)]
    pub registered_date: String,
}

#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Identifier {
    pub r#type: String,
    pub value: String,
    #[serde(default)]
    pub assigner: String,
}

#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Address {
    pub text: String,
    #[serde(default)]
    pub region_code: String,
}

#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contact {
    pub name: String,
    #[serde(default)]
    pub relation: String,
    #[serde(default)]
    pub phone: String,
}

impl From<Registration> for body::Registration {
    fn from(given: Registration) -> Self {
        let identifier =
            |id: Identifier| body::Identifier { r#type: id.r#type, value: id.value, assigner: id.assigner };
        let address = |at: Address| body::Address { text: at.text, region_code: at.region_code };
        let contact =
            |who: Contact| body::Contact { name: who.name, relation: who.relation, phone: who.phone };
        Self {
            local_id: given.local_id,
            source_system: given.source_system,
            institution_code: given.institution_code,
            number: given.number,
            born_ms: given.born_ms,
            name: given.name,
            sex: given.sex,
            birth_date: given.birth_date,
            identifiers: given.identifiers.into_iter().map(identifier).collect(),
            phones: given.phones,
            addresses: given.addresses.into_iter().map(address).collect(),
            ethnicity: given.ethnicity,
            marital_status: given.marital_status,
            contacts: given.contacts.into_iter().map(contact).collect(),
            deceased_date: given.deceased_date,
            registered_date: given.registered_date,
        }
    }
}

impl From<&body::Registration> for Registration {
    fn from(held: &body::Registration) -> Self {
        let held = held.clone();
        let identifier =
            |id: body::Identifier| Identifier { r#type: id.r#type, value: id.value, assigner: id.assigner };
        let address = |at: body::Address| Address { text: at.text, region_code: at.region_code };
        let contact =
            |who: body::Contact| Contact { name: who.name, relation: who.relation, phone: who.phone };
        Self {
            local_id: held.local_id,
            source_system: held.source_system,
            institution_code: held.institution_code,
            number: held.number,
            born_ms: held.born_ms,
            name: held.name,
            sex: held.sex,
            birth_date: held.birth_date,
            identifiers: held.identifiers.into_iter().map(identifier).collect(),
            phones: held.phones,
            addresses: held.addresses.into_iter().map(address).collect(),
            ethnicity: held.ethnicity,
            marital_status: held.marital_status,
            contacts: held.contacts.into_iter().map(contact).collect(),
            deceased_date: held.deceased_date,
            registered_date: held.registered_date,
        }
    }
}

#[derive(Serialize)]
pub(crate) struct Registered {
    /// `created`, `updated`, `unchanged` or `withdrawn`.
    pub outcome: &'static str,
    /// `term.epoch.seq`.
    pub version: String,
    pub number: String,
    /// `local` or `parent`.
    pub durability: &'static str,
    /// Why it is not known to be durable at the parent, when that was asked for; empty otherwise.
    pub not_above: String,
}

impl From<&v1::RegisterReply> for Registered {
    fn from(reply: &v1::RegisterReply) -> Self {
        use v1::RegisterOutcome as Outcome;
        Self {
            outcome: match reply.outcome() {
                Outcome::Created => "created",
                Outcome::Updated => "updated",
                Outcome::Unchanged => "unchanged",
                Outcome::Withdrawn => "withdrawn",
                Outcome::Unspecified => "unknown",
            },
            version: reply.version.clone(),
            number: reply.number.clone(),
            durability: durability(reply.durability()),
            not_above: reply.not_above.clone(),
        }
    }
}

#[derive(Serialize)]
pub(crate) struct Persons {
    #[allow(clippy::struct_field_names)] // the name in the protocol
    pub persons: Vec<Person>,
    /// More persons matched than the limit.
    pub truncated: bool,
    pub scope: Scope,
}

#[derive(Serialize)]
pub(crate) struct Person {
    pub number: String,
    pub registrations: Vec<Found>,
    /// Why the person is a candidate; only in answers to a search by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r#match: Option<Match>,
}

/// See `PatientMatch` in `proto/tiermesh/v1/patient.proto`.
#[derive(Serialize)]
pub(crate) struct Match {
    /// Key of the registration that fits best.
    pub registration_key: String,
    /// Bits.
    pub weight: f32,
    pub probability: f32,
    pub fields: Vec<MatchField>,
}

#[derive(Serialize)]
pub(crate) struct MatchField {
    pub comparison: String,
    pub level: String,
    pub weight: f32,
}

impl From<&query::Match> for Match {
    fn from(held: &query::Match) -> Self {
        let field = |field: &query::MatchField| MatchField {
            comparison: field.comparison.clone(),
            level: field.level.clone(),
            weight: field.weight,
        };
        Self {
            registration_key: held.registration.to_string(),
            weight: held.weight,
            probability: held.probability,
            fields: held.fields.iter().map(field).collect(),
        }
    }
}

#[derive(Serialize)]
pub(crate) struct Found {
    pub registration: Registration,
    pub version: String,
    pub recorded_ms: u64,
    pub node_path: String,
    pub key: String,
}

impl From<&PatientAnswer> for Persons {
    fn from(answer: &PatientAnswer) -> Self {
        let found = |found: &FoundRegistration| Found {
            registration: (&found.registration).into(),
            version: found.version.to_string(),
            recorded_ms: found.recorded_ms,
            node_path: found.node_path.clone(),
            key: found.key.to_string(),
        };
        let person = |person: &query::Person| Person {
            number: person.number.to_string(),
            registrations: person.registrations.iter().map(found).collect(),
            r#match: person.matched.as_ref().map(Match::from),
        };
        Self {
            persons: answer.persons.iter().map(person).collect(),
            truncated: answer.truncated,
            scope: (&answer.scope).into(),
        }
    }
}
