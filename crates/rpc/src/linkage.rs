//! `LinkageService`: identify, convert, call, convert back.

use bytes::Bytes;
use exchange::quality::{ComparisonDrift, Estimate, Stratum};
use exchange::{Decide, Exchange, HeldLink, MAX_REVIEWS, Pair, PersonBy, Quality, SampledStratum, Say};
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
        if asked.sample {
            let skip = match &asked.page_token[..] {
                [] => 0,
                token => token
                    .try_into()
                    .map(u32::from_be_bytes)
                    .map_err(|_| bad("page_token", "is from no page"))?,
            };
            let (pairs, next) =
                self.exchange.sampled(&caller, skip as usize, limit).await.map_err(to_status)?;
            return Ok(Response::new(v1::ListReviewsReply {
                pairs: pairs.into_iter().map(linked_pair).collect(),
                next_page_token: next
                    .map_or_else(Bytes::new, |next| (next as u32).to_be_bytes().to_vec().into()),
            }));
        }
        let after =
            if asked.page_token.is_empty() { None } else { Some(key(&asked.page_token, "page_token")?) };
        let reviews = self.exchange.reviews(&caller, after, limit).await.map_err(to_status)?;
        Ok(Response::new(v1::ListReviewsReply {
            pairs: reviews.pairs.into_iter().map(linked_pair).collect(),
            next_page_token: reviews.next.map_or_else(Bytes::new, bytes),
        }))
    }

    async fn get_quality(
        &self,
        request: Request<v1::GetQualityRequest>,
    ) -> Result<Response<v1::GetQualityReply>, Status> {
        let caller = identify(&request)?;
        Ok(Response::new(quality(self.exchange.quality(&caller).await.map_err(to_status)?)))
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

fn quality(quality: Quality) -> v1::GetQualityReply {
    let [joined_by_rule, joined_by_score, joined_by_human] = quality.joins;
    let [over_1_day, over_7_days, over_30_days] = quality.backlog.older;
    let share = |estimate: Estimate| v1::Share {
        value: estimate.value,
        low: *estimate.interval.start(),
        high: *estimate.interval.end(),
    };
    let of_size = |(most, persons)| v1::PersonsOfSize { up_to: u32::try_from(most).unwrap_or(0), persons };
    v1::GetQualityReply {
        model: quality.model,
        counted_ms: quality.counted_ms,
        registrations: quality.registrations,
        persons: quality.persons,
        sizes: quality.sizes.into_iter().map(of_size).collect(),
        largest_person: quality.largest,
        joined_by_rule,
        joined_by_score,
        joined_by_human,
        suspended: quality.suspended,
        backlog: Some(v1::ReviewBacklog {
            waiting: quality.backlog.waiting,
            aged: quality.backlog.aged,
            over_1_day,
            over_7_days,
            over_30_days,
            oldest_ms: quality.backlog.oldest_ms,
        }),
        suspects: quality.suspects.into_iter().map(suspects).collect(),
        strata: quality.strata.into_iter().map(stratum).collect(),
        missed: quality.missed,
        least_answers: quality.least_answers,
        precision: quality.precision.map(share),
        recall: quality.recall.map(share),
        drift: quality.drift.into_iter().map(drift).collect(),
    }
}

fn suspects((contradiction, persons, examples): (&'static str, u64, Vec<RecordKey>)) -> v1::Suspects {
    let examples = examples.into_iter().map(bytes).collect();
    v1::Suspects { contradiction: contradiction.to_owned(), persons, examples }
}

fn stratum(held: SampledStratum) -> v1::Stratum {
    let SampledStratum { name, of: Stratum { pairs, answered, same, .. }, open } = held;
    v1::Stratum { name: name.to_owned(), pairs, answered, same, open }
}

fn drift(drift: ComparisonDrift) -> v1::ComparisonDrift {
    let ComparisonDrift { comparison, pairs, index } = drift;
    v1::ComparisonDrift { comparison: comparison.to_owned(), pairs, index }
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
