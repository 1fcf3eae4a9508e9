//! `PatientService`: identify, convert, call, convert back.

use exchange::{Acknowledge, Durable, Exchange, RegisterOutcome, RegisterPatient};
use model::Version;
use tonic::{Request, Response, Status};
use wire::v1;

use crate::caller::identify;
use crate::deadline::deadline_of;
use crate::error::{malformed, to_status};

/// The service over a node's use cases.
#[derive(Debug, Clone)]
pub(crate) struct Patients {
    pub exchange: Exchange,
}

#[tonic::async_trait]
impl v1::patient_service_server::PatientService for Patients {
    async fn register(
        &self,
        request: Request<v1::RegisterRequest>,
    ) -> Result<Response<v1::RegisterReply>, Status> {
        let (caller, deadline) = (identify(&request)?, deadline_of(&request));
        let request = register_patient(request.into_inner())?;
        let registered = self.exchange.register(&caller, request, deadline).await.map_err(to_status)?;
        let outcome = match registered.outcome {
            RegisterOutcome::Created => v1::RegisterOutcome::Created,
            RegisterOutcome::Updated => v1::RegisterOutcome::Updated,
            RegisterOutcome::Unchanged => v1::RegisterOutcome::Unchanged,
            RegisterOutcome::Withdrawn => v1::RegisterOutcome::Withdrawn,
        };
        let (durability, not_above) = durable(registered.durable);
        Ok(Response::new(v1::RegisterReply {
            outcome: outcome.into(),
            version: registered.version.to_string(),
            number: registered.number.to_string(),
            durability,
            not_above,
        }))
    }

    async fn find(
        &self,
        request: Request<v1::FindPatientsRequest>,
    ) -> Result<Response<v1::FindPatientsReply>, Status> {
        let (caller, deadline) = (identify(&request)?, deadline_of(&request));
        let query = request.into_inner().try_into().map_err(malformed)?;
        let answer = self.exchange.find_patients(&caller, query, deadline).await.map_err(to_status)?;
        Ok(Response::new(answer.into()))
    }
}

fn register_patient(request: v1::RegisterRequest) -> Result<RegisterPatient, Status> {
    let bad = |field, rule| malformed(wire::ConvertError { field, rule });
    let registration = request.registration.ok_or_else(|| bad("registration", "must be given"))?;
    let expected = match request.expected_version.as_str() {
        "" => None,
        text => Some(text.parse::<Version>().map_err(|_| bad("expected_version", "must be term.epoch.seq"))?),
    };
    let acknowledge = acknowledge(request.durability)?;
    Ok(RegisterPatient { registration, expected, withdraw: request.withdraw, acknowledge })
}

/// The level that a request asks for; none: as the node is configured.
pub(crate) fn acknowledge(asked: i32) -> Result<Option<Acknowledge>, Status> {
    match v1::Durability::try_from(asked) {
        Ok(v1::Durability::Unspecified) => Ok(None),
        Ok(v1::Durability::Local) => Ok(Some(Acknowledge::Local)),
        Ok(v1::Durability::Parent) => Ok(Some(Acknowledge::Parent)),
        Err(_) => Err(malformed(wire::ConvertError { field: "durability", rule: "must be LOCAL or PARENT" })),
    }
}

/// Where a write is durable, and why not above.
pub(crate) fn durable(durable: Durable) -> (i32, String) {
    match durable {
        Durable::Here => (v1::Durability::Local.into(), String::new()),
        Durable::HereOnly(why) => (v1::Durability::Local.into(), why),
        Durable::AtParent => (v1::Durability::Parent.into(), String::new()),
    }
}
