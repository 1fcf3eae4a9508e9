//! `LinkageService`: identify, convert, call, convert back.

use bytes::Bytes;
use exchange::{Decide, Exchange, HeldLink, MAX_REVIEWS, Pair, PersonBy, Say};
use model::body::LinkDecision;
use model::{RecordKey, Version};
use tonic::{Request, Response, Status};
use wire::v1::get_person_request::By;
use wire::{ConvertError, v1};

use crate::caller::identify;
use crate::error::{malformed, to_status};

/// Items of a page of the queue unless asked for more or fewer.
const PAGE: usize = 20;

/// The service over a node's use cases.
#[derive(Debug, Clone)]
pub(crate) struct Linkage {
    pub exchange: Exchange,
}

#[tonic::async_trait]
impl v1::linkage_service_server::LinkageService for Linkage {
    async fn decide(&self, request: Request<v1::DecideRequest>) -> Result<Response<v1::DecideReply>, Status> {
        let caller = identify(&request)?;
        let asked = request.into_inner();
        let say = match asked.decision() {
            LinkDecision::Same => Say::Same,
            LinkDecision::Different => Say::Different,
            LinkDecision::None => Say::Nothing,
            _ => return Err(bad("decision", "must be SAME, DIFFERENT or NONE")),
        };
        let request = Decide {
            pair: [key(&asked.a, "a")?, key(&asked.b, "b")?],
            say,
            expected: [
                version(&asked.expected_version_a, "expected_version_a")?,
                version(&asked.expected_version_b, "expected_version_b")?,
            ],
            reason: asked.reason,
        };
        let changed = self.exchange.decide(&caller, request).await.map_err(to_status)?;
        Ok(Response::new(v1::DecideReply { changed }))
    }

    async fn explain_pair(
        &self,
        request: Request<v1::ExplainPairRequest>,
    ) -> Result<Response<v1::LinkedPair>, Status> {
        let caller = identify(&request)?;
        let asked = request.into_inner();
        let pair = [key(&asked.a, "a")?, key(&asked.b, "b")?];
        let pair = self.exchange.explain_pair(&caller, pair).await.map_err(to_status)?;
        Ok(Response::new(linked_pair(pair)))
    }

    async fn get_person(
        &self,
        request: Request<v1::GetPersonRequest>,
    ) -> Result<Response<v1::GetPersonReply>, Status> {
        let caller = identify(&request)?;
        let asked = request.into_inner();
        let by = match &asked.by {
            Some(By::Number(text)) => {
                PersonBy::Number(text.parse().map_err(|_| bad("number", "must be a person index number"))?)
            }
            Some(By::RegistrationKey(bytes)) => PersonBy::Registration(key(bytes, "registration_key")?),
            None => return Err(bad("by", "must be set")),
        };
        let as_of_ms = Some(asked.as_of_ms).filter(|as_of_ms| *as_of_ms > 0);
        let person = self.exchange.whole_person(&caller, by, as_of_ms).await.map_err(to_status)?;
        Ok(Response::new(v1::GetPersonReply {
            number: person.number.to_string(),
            registrations: person.registrations.into_iter().map(Into::into).collect(),
            links: person.links.into_iter().map(held_link).collect(),
            truncated: person.truncated,
            incomplete: person.incomplete,
        }))
    }

    async fn list_reviews(
        &self,
        request: Request<v1::ListReviewsRequest>,
    ) -> Result<Response<v1::ListReviewsReply>, Status> {
        let caller = identify(&request)?;
        let asked = request.into_inner();
        let limit = match asked.page_size as usize {
            0 => PAGE,
            size if size <= MAX_REVIEWS => size,
            _ => return Err(bad("page_size", "is above its limit")),
        };
        let after =
            if asked.page_token.is_empty() { None } else { Some(key(&asked.page_token, "page_token")?) };
        let reviews = self.exchange.reviews(&caller, after, limit).await.map_err(to_status)?;
        Ok(Response::new(v1::ListReviewsReply {
            pairs: reviews.pairs.into_iter().map(linked_pair).collect(),
            next_page_token: reviews.next.map_or_else(Bytes::new, bytes),
        }))
    }
}

fn bad(field: &'static str, rule: &'static str) -> Status {
    malformed(ConvertError { field, rule })
}

fn key(bytes: &[u8], field: &'static str) -> Result<RecordKey, Status> {
    RecordKey::try_from(bytes).map_err(|_| bad(field, "must be 16 bytes"))
}

fn version(text: &str, field: &'static str) -> Result<Option<Version>, Status> {
    match text {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| bad(field, "must be term.epoch.seq")),
    }
}

fn bytes(key: RecordKey) -> Bytes {
    Bytes::copy_from_slice(key.as_bytes())
}

fn linked_pair(pair: Pair) -> v1::LinkedPair {
    v1::LinkedPair {
        registrations: pair.registrations.into_iter().map(Into::into).collect(),
        links: pair.links.into_iter().map(held_link).collect(),
        one_person: pair.one_person,
    }
}

fn held_link(held: HeldLink) -> v1::HeldLink {
    let weight =
        |(comparison, level, weight_millibits)| v1::NamedWeight { comparison, level, weight_millibits };
    v1::HeldLink {
        link: Some(held.body),
        weights: held.weights.into_iter().map(weight).collect(),
        decided_by: held.by,
        version: held.version.to_string(),
        recorded_ms: held.recorded_ms,
    }
}
