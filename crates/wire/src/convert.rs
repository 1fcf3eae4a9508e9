//! Wire ↔ model.

use bytes::Bytes;
use model::query::{self, DocumentsOf, MAX_PAGE, MAX_PERSONS, PatientBy, Purpose};
use model::{NodePath, RecordKey};

use crate::v1;

mod patient;

/// A request field that does not have the form its comment in `proto/` states. Never holds the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {rule}")]
pub struct ConvertError {
    /// Path of the field in the request.
    pub field: &'static str,
    /// What it must be, for people.
    pub rule: &'static str,
}

fn bad<T>(field: &'static str, rule: &'static str) -> Result<T, ConvertError> {
    Err(ConvertError { field, rule })
}

fn key(bytes: &[u8], field: &'static str) -> Result<RecordKey, ConvertError> {
    RecordKey::try_from(bytes).or_else(|_| bad(field, "must be 16 bytes"))
}

fn path(text: &str, field: &'static str) -> Result<Option<NodePath>, ConvertError> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).or_else(|_| bad(field, "must be region codes joined by '/'"))
}

fn bounded(text: String, most: usize, field: &'static str) -> Result<String, ConvertError> {
    if text.chars().count() > most { bad(field, "is longer than its limit") } else { Ok(text) }
}

fn bytes_of(key: RecordKey) -> Bytes {
    Bytes::copy_from_slice(key.as_bytes())
}

fn count(asked: u32, default: usize, most: usize, field: &'static str) -> Result<usize, ConvertError> {
    match asked as usize {
        0 => Ok(default),
        n if n <= most => Ok(n),
        _ => bad(field, "is above its limit"),
    }
}

impl TryFrom<Option<v1::QueryContext>> for Context {
    type Error = ConvertError;
    fn try_from(context: Option<v1::QueryContext>) -> Result<Self, ConvertError> {
        let Some(context) = context else { return Ok(Self(query::QueryContext::default())) };
        let trace_id = match context.trace_id.len() {
            0 => [0; 16],
            _ => context.trace_id[..].try_into().or_else(|_| bad("context.trace_id", "must be 16 bytes"))?,
        };
        let Some(purpose) = Purpose::from_name(&context.purpose) else {
            return bad("context.purpose", "must be one of the purposes of use");
        };
        Ok(Self(query::QueryContext {
            practitioner: bounded(context.practitioner, 64, "context.practitioner")?,
            institution_code: bounded(context.institution_code, 32, "context.institution_code")?,
            purpose,
            trace_id,
            hops: context.hops,
            asked_at: path(&context.asked_at, "context.asked_at")?,
        }))
    }
}

struct Context(query::QueryContext);

impl From<query::QueryContext> for v1::QueryContext {
    fn from(context: query::QueryContext) -> Self {
        Self {
            practitioner: context.practitioner,
            institution_code: context.institution_code,
            purpose: context.purpose.name().to_owned(),
            trace_id: Bytes::copy_from_slice(&context.trace_id),
            hops: context.hops,
            asked_at: context.asked_at.map(|path| path.to_string()).unwrap_or_default(),
        }
    }
}

fn reach(reach: i32) -> Result<query::Reach, ConvertError> {
    match v1::Reach::try_from(reach) {
        Ok(v1::Reach::Unspecified | v1::Reach::Tree) => Ok(query::Reach::Tree),
        Ok(v1::Reach::Local) => Ok(query::Reach::Local),
        Ok(v1::Reach::Fresh) => Ok(query::Reach::Fresh),
        Err(_) => bad("reach", "must be TREE, LOCAL or FRESH"),
    }
}

fn reach_to_wire(reach: query::Reach) -> i32 {
    match reach {
        query::Reach::Tree => v1::Reach::Tree as i32,
        query::Reach::Local => v1::Reach::Local as i32,
        query::Reach::Fresh => v1::Reach::Fresh as i32,
    }
}

fn local(local: v1::LocalPatient) -> Result<query::LocalPatient, ConvertError> {
    Ok(query::LocalPatient {
        institution_code: bounded(local.institution_code, 32, "local.institution_code")?,
        source_system: bounded(local.source_system, 32, "local.source_system")?,
        local_id: bounded(local.local_id, 64, "local.local_id")?,
    })
}

fn local_to_wire(local: query::LocalPatient) -> v1::LocalPatient {
    v1::LocalPatient {
        institution_code: local.institution_code,
        source_system: local.source_system,
        local_id: local.local_id,
    }
}

fn identifier(identifier: model::body::Identifier) -> Result<model::body::Identifier, ConvertError> {
    if identifier.value.is_empty() || identifier.value.chars().count() > 64 {
        return bad("identifier.value", "must have 1 to 64 characters");
    }
    if identifier.r#type.len() > 8 {
        return bad("identifier.type", "must have at most 8 characters");
    }
    Ok(identifier)
}

fn typed(given: model::body::Identifier) -> Result<model::body::Identifier, ConvertError> {
    if given.r#type.is_empty() { bad("identifier.type", "must be given") } else { identifier(given) }
}

fn number(text: &str) -> Result<model::Number, ConvertError> {
    text.parse().or_else(|_| bad("number", "must be a person index number of 16 characters"))
}

impl TryFrom<v1::FindPatientsRequest> for query::PatientQuery {
    type Error = ConvertError;
    fn try_from(request: v1::FindPatientsRequest) -> Result<Self, ConvertError> {
        use v1::find_patients_request::By;
        let by = match request.by {
            None => return bad("by", "must be given"),
            Some(By::Identifier(given)) => PatientBy::Identifier(identifier(given)?),
            Some(By::Number(text)) => PatientBy::Number(number(&text)?),
            Some(By::Local(given)) => PatientBy::Local(local(given)?),
            Some(By::Phone(text)) => PatientBy::Phone(bounded(text, 32, "phone")?),
            Some(By::Search(given)) => PatientBy::Search(patient::search(given)?),
            Some(By::Demographics(given)) => PatientBy::Demographics {
                name: bounded(given.name, 128, "demographics.name")?,
                birth_date: bounded(given.birth_date, 10, "demographics.birth_date")?,
                sex: bounded(given.sex, 1, "demographics.sex")?,
            },
        };
        let limit = count(request.limit, 20, MAX_PERSONS, "limit")?;
        Ok(Self { by, limit, reach: reach(request.reach)?, context: Context::try_from(request.context)?.0 })
    }
}

impl From<query::PatientQuery> for v1::FindPatientsRequest {
    fn from(query: query::PatientQuery) -> Self {
        use v1::find_patients_request::By;
        let by = match query.by {
            PatientBy::Identifier(identifier) => By::Identifier(identifier),
            PatientBy::Number(number) => By::Number(number.to_string()),
            PatientBy::Local(local) => By::Local(local_to_wire(local)),
            PatientBy::Demographics { name, birth_date, sex } => {
                By::Demographics(v1::Demographics { name, birth_date, sex })
            }
            PatientBy::Phone(text) => By::Phone(text),
            PatientBy::Search(search) => By::Search(search.into()),
        };
        Self {
            by: Some(by),
            limit: query.limit as u32,
            reach: reach_to_wire(query.reach),
            context: Some(query.context.into()),
        }
    }
}

impl TryFrom<v1::FindDocumentsRequest> for query::DocumentQuery {
    type Error = ConvertError;
    fn try_from(request: v1::FindDocumentsRequest) -> Result<Self, ConvertError> {
        use v1::find_documents_request::Patient;
        let of = match request.patient {
            None => return bad("patient", "must be given"),
            Some(Patient::Identifier(given)) => DocumentsOf::Identifier(typed(given)?),
            Some(Patient::Number(text)) => DocumentsOf::Number(number(&text)?),
            Some(Patient::Local(given)) => DocumentsOf::Local(local(given)?),
            Some(Patient::RegistrationKey(bytes)) => {
                DocumentsOf::Registration(key(&bytes, "registration_key")?)
            }
        };
        if request.type_codes.len() > 73 || request.type_codes.iter().any(|code| code.len() > 16) {
            return bad("type_codes", "must be document type codes");
        }
        let availabilities = request
            .availabilities
            .into_iter()
            .map(|value| {
                model::Availability::try_from(value)
                    .or_else(|_| bad("availabilities", "must be known values"))
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            of,
            type_codes: request.type_codes,
            created_from_ms: request.created_from_ms,
            created_to_ms: request.created_to_ms,
            availabilities,
            page_size: count(request.page_size, 50, MAX_PAGE, "page_size")?,
            page_token: bounded(request.page_token, 128, "page_token")?,
            reach: reach(request.reach)?,
            context: Context::try_from(request.context)?.0,
        })
    }
}

impl From<query::DocumentQuery> for v1::FindDocumentsRequest {
    fn from(query: query::DocumentQuery) -> Self {
        use v1::find_documents_request::Patient;
        let patient = match query.of {
            DocumentsOf::Identifier(identifier) => Patient::Identifier(identifier),
            DocumentsOf::Number(number) => Patient::Number(number.to_string()),
            DocumentsOf::Local(local) => Patient::Local(local_to_wire(local)),
            DocumentsOf::Registration(key) => Patient::RegistrationKey(bytes_of(key)),
        };
        Self {
            patient: Some(patient),
            type_codes: query.type_codes,
            created_from_ms: query.created_from_ms,
            created_to_ms: query.created_to_ms,
            availabilities: query.availabilities.into_iter().map(|value| value as i32).collect(),
            page_size: query.page_size as u32,
            page_token: query.page_token,
            reach: reach_to_wire(query.reach),
            context: Some(query.context.into()),
        }
    }
}

impl TryFrom<v1::RetrieveDocumentRequest> for query::ContentQuery {
    type Error = ConvertError;
    fn try_from(request: v1::RetrieveDocumentRequest) -> Result<Self, ConvertError> {
        Ok(Self {
            key: key(&request.key, "key")?,
            custodian_path: path(&request.custodian_path, "custodian_path")?,
            as_filed: request.as_filed,
            offset: request.offset,
            context: Context::try_from(request.context)?.0,
        })
    }
}

impl From<query::ContentQuery> for v1::RetrieveDocumentRequest {
    fn from(query: query::ContentQuery) -> Self {
        Self {
            key: bytes_of(query.key),
            custodian_path: query.custodian_path.map(|path| path.to_string()).unwrap_or_default(),
            as_filed: query.as_filed,
            offset: query.offset,
            context: Some(query.context.into()),
        }
    }
}

impl From<query::AnswerScope> for v1::AnswerScope {
    fn from(scope: query::AnswerScope) -> Self {
        let source = |source: query::Source| v1::Source {
            path: source.path.to_string(),
            state: match source.state {
                query::SourceState::Live => v1::SourceState::Live,
                query::SourceState::Replicated => v1::SourceState::Replicated,
                query::SourceState::NoReply => v1::SourceState::NoReply,
            } as i32,
            heard_ms: source.heard_ms,
            newest_record_ms: source.newest_record_ms,
            behind: source.behind,
            reason: source.reason,
        };
        Self {
            answered_by: scope.answered_by.to_string(),
            complete: scope.complete,
            sources: scope.sources.into_iter().map(source).collect(),
            answered_ms: scope.answered_ms,
        }
    }
}

impl TryFrom<v1::AnswerScope> for query::AnswerScope {
    type Error = ConvertError;
    fn try_from(scope: v1::AnswerScope) -> Result<Self, ConvertError> {
        let node =
            |text: &str| path(text, "scope.path")?.map_or_else(|| bad("scope.path", "must be given"), Ok);
        let source = |source: v1::Source| {
            Ok(query::Source {
                path: node(&source.path)?,
                state: match v1::SourceState::try_from(source.state) {
                    Ok(v1::SourceState::Live) => query::SourceState::Live,
                    Ok(v1::SourceState::Replicated) => query::SourceState::Replicated,
                    // Also for a state that only a newer node knows: the least that can be claimed.
                    _ => query::SourceState::NoReply,
                },
                heard_ms: source.heard_ms,
                newest_record_ms: source.newest_record_ms,
                behind: source.behind,
                reason: source.reason,
            })
        };
        Ok(Self {
            answered_by: node(&scope.answered_by)?,
            complete: scope.complete,
            sources: scope.sources.into_iter().map(source).collect::<Result<_, ConvertError>>()?,
            answered_ms: scope.answered_ms,
        })
    }
}

impl From<query::FoundRegistration> for v1::PatientRegistration {
    fn from(found: query::FoundRegistration) -> Self {
        Self {
            registration: Some(found.registration),
            version: found.version.to_string(),
            recorded_ms: found.recorded_ms,
            node_path: found.node_path,
            key: bytes_of(found.key),
        }
    }
}

impl From<query::PatientAnswer> for v1::FindPatientsReply {
    fn from(answer: query::PatientAnswer) -> Self {
        let person = |person: query::Person| v1::Person {
            number: person.number.to_string(),
            registrations: person.registrations.into_iter().map(Into::into).collect(),
            r#match: person.matched.map(Into::into),
        };
        Self {
            persons: answer.persons.into_iter().map(person).collect(),
            truncated: answer.truncated,
            scope: Some(answer.scope.into()),
        }
    }
}

impl TryFrom<v1::FindPatientsReply> for query::PatientAnswer {
    type Error = ConvertError;
    fn try_from(reply: v1::FindPatientsReply) -> Result<Self, ConvertError> {
        let registration = |found: v1::PatientRegistration| {
            Ok(query::FoundRegistration {
                registration: found.registration.map_or_else(|| bad("registration", "must be given"), Ok)?,
                version: found.version.parse().or_else(|_| bad("version", "must be term.epoch.seq"))?,
                recorded_ms: found.recorded_ms,
                node_path: found.node_path,
                key: key(&found.key, "key")?,
            })
        };
        let person = |person: v1::Person| {
            Ok(query::Person {
                number: number(&person.number)?,
                registrations: person
                    .registrations
                    .into_iter()
                    .map(registration)
                    .collect::<Result<_, ConvertError>>()?,
                matched: person.r#match.map(query::Match::try_from).transpose()?,
            })
        };
        Ok(Self {
            persons: reply.persons.into_iter().map(person).collect::<Result<_, ConvertError>>()?,
            truncated: reply.truncated,
            scope: reply.scope.map_or_else(|| bad("scope", "must be given"), Ok)?.try_into()?,
        })
    }
}

impl From<query::DocumentAnswer> for v1::FindDocumentsReply {
    fn from(answer: query::DocumentAnswer) -> Self {
        let document = |found: query::FoundDocument| v1::FoundDocument {
            entry: Some(found.entry),
            version: found.version.to_string(),
            recorded_ms: found.recorded_ms,
            custodian_path: found.custodian_path,
            key: bytes_of(found.key),
        };
        Self {
            documents: answer.documents.into_iter().map(document).collect(),
            next_page_token: answer.next_page_token,
            scope: Some(answer.scope.into()),
        }
    }
}

impl TryFrom<v1::FindDocumentsReply> for query::DocumentAnswer {
    type Error = ConvertError;
    fn try_from(reply: v1::FindDocumentsReply) -> Result<Self, ConvertError> {
        let document = |found: v1::FoundDocument| {
            Ok(query::FoundDocument {
                entry: found.entry.map_or_else(|| bad("entry", "must be given"), Ok)?,
                version: found.version.parse().or_else(|_| bad("version", "must be term.epoch.seq"))?,
                recorded_ms: found.recorded_ms,
                custodian_path: found.custodian_path,
                key: key(&found.key, "key")?,
            })
        };
        Ok(Self {
            documents: reply.documents.into_iter().map(document).collect::<Result<_, ConvertError>>()?,
            next_page_token: reply.next_page_token,
            scope: reply.scope.map_or_else(|| bad("scope", "must be given"), Ok)?.try_into()?,
        })
    }
}
