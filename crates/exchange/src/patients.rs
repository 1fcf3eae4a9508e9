//! Registering patients.

use model::body::{Flow, InstitutionEntry, Kind, Registration};
use model::date::PartialDate;
use model::validate::{Severity, validate_registration};
use model::{Number, OriginId, RecordId, RecordKey, Version};
use prost::Message;
use store::{CommitError, Draft, Expect};

use crate::acknowledge::{Acknowledge, Durable};
use crate::caller::{Action, Caller, Role, permit};
use crate::origin::Writable;
use crate::{Deadline, Exchange, ExchangeError};

/// How often a commit is decided anew when somebody else changed the record meanwhile.
const ATTEMPTS: usize = 8;

/// A wish to register, update or withdraw a patient.
#[derive(Debug, Clone)]
pub struct RegisterPatient {
    pub registration: Registration,
    /// Do it only if this is the version held.
    pub expected: Option<Version>,
    pub withdraw: bool,
    /// Where it must be durable before the answer; none: as the node is configured.
    pub acknowledge: Option<Acknowledge>,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegisterOutcome {
    Created,
    Updated,
    Unchanged,
    Withdrawn,
}

/// The registration as held now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    pub outcome: RegisterOutcome,
    pub version: Version,
    pub number: Number,
    pub durable: Durable,
}

fn registered(outcome: RegisterOutcome, version: Version, number: Number) -> Registered {
    Registered { outcome, version, number, durable: Durable::Here }
}

/// Where a patient's registration is.
pub(crate) fn registration_id(source_system: &str, local_id: &str) -> RecordId {
    RecordId::of(&[source_system.as_bytes(), local_id.as_bytes()])
}

/// Key of the registration of a local patient of an institution.
pub(crate) fn registration_key(origin: OriginId, source_system: &str, local_id: &str) -> RecordKey {
    RecordKey::of(Kind::Registration as u32, origin, registration_id(source_system, local_id))
}

impl Exchange {
    /// Registers, updates or withdraws a patient of the calling institution; durable here when it returns. Idempotent: what
    /// is held already is answered as unchanged.
    pub async fn register(
        &self,
        caller: &Caller,
        request: RegisterPatient,
        deadline: Deadline,
    ) -> Result<Registered, ExchangeError> {
        let _permit = permit(caller, Action::File, &self.parts.node.path)?;
        let code = institution_code(caller)?;
        let level = self.level(request.acknowledge)?;
        let registration = self.checked(request.registration, code, request.withdraw)?;
        let origin = self.institution_origin(code);
        let key = registration_key(origin, &registration.source_system, &registration.local_id);
        let mut registered =
            self.register_in_turn(key, code, &registration, request.expected, request.withdraw).await?;
        registered.durable = self.durable(level, key, registered.version, deadline).await?;
        Ok(registered)
    }

    async fn register_in_turn(
        &self,
        key: RecordKey,
        code: &str,
        registration: &Registration,
        expected: Option<Version>,
        withdraw: bool,
    ) -> Result<Registered, ExchangeError> {
        let _turn = self.turns.of(&key).await;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let writable = self.writable(code).await?;
            match self.try_register(registration, expected, withdraw, writable).await {
                Err(Attempt::Changed) if attempt < ATTEMPTS => {}
                Err(Attempt::Changed) => return Err(CommitError::Changed { key: RecordKey([0; 16]) }.into()),
                Err(Attempt::Failed(error)) => return Err(error),
                Ok(registered) => return Ok(registered),
            }
        }
    }

    fn checked(
        &self,
        mut registration: Registration,
        code: &str,
        withdraw: bool,
    ) -> Result<Registration, ExchangeError> {
        if !registration.institution_code.is_empty() && registration.institution_code != code {
            return Err(ExchangeError::denied(
                "WRONG_INSTITUTION",
                "an institution registers its own patients only",
            ));
        }
        code.clone_into(&mut registration.institution_code);
        let today = PartialDate::of_unix_ms(self.parts.clock.now_ms());
        let mut violations = validate_registration(&registration, today);
        violations.retain(|violation| violation.severity == Severity::Error);
        if withdraw {
            violations
                .retain(|violation| violation.field == "local_id" || violation.field == "source_system");
        }
        if violations.is_empty() { Ok(registration) } else { Err(ExchangeError::Invalid { violations }) }
    }

    async fn try_register(
        &self,
        registration: &Registration,
        expected: Option<Version>,
        withdraw: bool,
        writable: Writable,
    ) -> Result<Registered, Attempt> {
        let key = registration_key(writable.origin, &registration.source_system, &registration.local_id);
        let number = Number::of(key);
        agrees(&registration.number, number)?;
        let held = self.parts.store.get(&key).map_err(ExchangeError::from)?;
        let held_version = held.as_ref().map(|record| record.envelope().version);
        if expected.is_some() && expected != held_version {
            return Err(ExchangeError::conflict(
                "VERSION_CONFLICT",
                "another version than the expected one is held",
            )
            .into());
        }
        let living = held.as_ref().filter(|record| !record.envelope().tombstone);
        let body = if withdraw {
            let Some(_) = living else {
                return held_version
                    .map(|version| registered(RegisterOutcome::Unchanged, version, number))
                    .ok_or_else(|| {
                        ExchangeError::not_found("UNKNOWN_PATIENT", "this patient is not registered").into()
                    });
            };
            Vec::new()
        } else {
            let mut registration = registration.clone();
            registration.number = number.to_string();
            registration.born_ms = match living {
                Some(record) => {
                    record
                        .decode_body::<Registration>()
                        .map_err(|error| ExchangeError::internal(error.to_string()))?
                        .born_ms
                }
                None => self.parts.clock.now_ms(),
            };
            registration.encode_to_vec()
        };
        if let Some(record) = living.filter(|record| !withdraw && record.body() == &body[..]) {
            let version = record.envelope().version;
            return Ok(registered(RegisterOutcome::Unchanged, version, number));
        }
        let draft = Draft {
            flow: Flow::Registration,
            kind: Kind::Registration as u32,
            id: registration_id(&registration.source_system, &registration.local_id),
            origin: writable.origin,
            term: writable.term,
            subject: Some(key),
            tombstone: withdraw,
            body: body.into(),
            expect: held_version.map_or(Expect::Absent, Expect::Version),
        };
        let existed = living.is_some();
        let version = self.commit(writable.enrolment, vec![draft]).await?;
        let outcome = match (withdraw, existed) {
            (true, _) => RegisterOutcome::Withdrawn,
            (false, true) => RegisterOutcome::Updated,
            (false, false) => RegisterOutcome::Created,
        };
        Ok(registered(outcome, version, number))
    }

    /// Commits drafts of an institution, with its enrolment before them when it is new, and answers the version of the commit.
    pub(crate) async fn commit(
        &self,
        enrolment: Option<Draft>,
        drafts: Vec<Draft>,
    ) -> Result<Version, Attempt> {
        let enrols = enrolment.is_some();
        // A child may be claiming the same institution: whoever comes second must see the first.
        let _deciding = if enrols { Some(self.parts.directory.decide().await) } else { None };
        if let Some(draft) = &enrolment
            && self.parts.directory.institution(&enrolled_origin(draft)?).is_some()
        {
            return Err(Attempt::Changed);
        }
        let drafts: Vec<Draft> = enrolment.into_iter().chain(drafts).collect();
        let committed = match self.parts.store.commit(drafts).await {
            Err(CommitError::Changed { .. }) => return Err(Attempt::Changed),
            Err(error) => return Err(Attempt::Failed(error.into())),
            Ok(committed) => committed,
        };
        if let Some(record) = committed.records.first().filter(|_| enrols) {
            self.parts.directory.learn(record);
        }
        let last =
            committed.records.last().ok_or_else(|| ExchangeError::internal("a commit without records"))?;
        Ok(last.envelope().version)
    }
}

/// A number that the caller gives must be the registration's.
fn agrees(given: &str, number: Number) -> Result<(), ExchangeError> {
    if given.is_empty() || given == number.as_str() {
        return Ok(());
    }
    Err(ExchangeError::unusable("NUMBER_DISAGREES", "the number given is not this registration's"))
}

/// The institution that an enrolment is about.
fn enrolled_origin(enrolment: &Draft) -> Result<OriginId, ExchangeError> {
    let entry = InstitutionEntry::decode(&enrolment.body[..])
        .map_err(|error| ExchangeError::internal(error.to_string()))?;
    OriginId::try_from(&entry.origin[..]).map_err(|error| ExchangeError::internal(error.to_string()))
}

/// How an attempt ended that did not succeed.
pub(crate) enum Attempt {
    /// Decide anew: the record was changed meanwhile.
    Changed,
    Failed(ExchangeError),
}

impl From<ExchangeError> for Attempt {
    fn from(error: ExchangeError) -> Self {
        Self::Failed(error)
    }
}

/// The code of the calling institution.
pub(crate) fn institution_code(caller: &Caller) -> Result<&str, ExchangeError> {
    match &caller.role {
        Role::Institution { code } => Ok(code),
        _ => Err(ExchangeError::denied("WRONG_ROLE", "only an institution files records")),
    }
}
