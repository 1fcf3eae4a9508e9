//! `person` as an operator runs it, against a node that knows two persons.

use model::body::{
    Kind, LinkBasis, LinkDecision, LinkLayer, PastDecision, PersonLink, Registration, RegistrationRef,
};
use model::{OriginId, RecordId, RecordKey};
use tonic::{Request, Response, Status};
use wire::v1;
use wire::v1::get_person_request::By;
use wire::v1::linkage_service_server::LinkageService;

use super::commands::run;
use super::node::{NOW_MS, PATH, TestNode};
use super::replies::{Behaviour, NUMBER};
use crate::Exit;

const OTHER: &str = "0123456789ABCDEF";
/// Another number of the first person.
const ALIAS: &str = "00000000000000Z9";
const ORIGIN: [u8; 16] = [9; 16];

fn registration(id: u8) -> v1::PatientRegistration {
    v1::PatientRegistration {
        registration: Some(Registration {
            local_id: format!("P{id}"),
            name: "段·金花".into(),
            ..Registration::default()
        }),
        version: format!("1.1.{id}"),
        recorded_ms: NOW_MS,
        node_path: PATH.into(),
        key: key(id).as_bytes().to_vec().into(),
    }
}

fn key(id: u8) -> RecordKey {
    RecordKey::of(Kind::Registration as u32, OriginId(ORIGIN), RecordId([id; 16]))
}

/// What a node counted that has too few answers for recall.
fn counted() -> v1::GetQualityReply {
    let stratum = |name: &str, pairs, answered, same, open| v1::Stratum {
        name: name.into(),
        pairs,
        answered,
        same,
        open,
    };
    let drift =
        |comparison: &str, pairs, index| v1::ComparisonDrift { comparison: comparison.into(), pairs, index };
    v1::GetQualityReply {
        model: "2026-11".into(),
        counted_ms: NOW_MS,
        registrations: 1000,
        persons: 400,
        sizes: [(1, 100), (2, 250), (3, 0), (0, 50)]
            .map(|(up_to, persons)| v1::PersonsOfSize { up_to, persons })
            .into(),
        largest_person: 9,
        joined_by_rule: 300,
        joined_by_score: 99,
        joined_by_human: 1,
        suspended: 2,
        backlog: Some(v1::ReviewBacklog {
            waiting: 12_000,
            aged: 10_000,
            over_1_day: 30,
            over_7_days: 20,
            over_30_days: 10,
            oldest_ms: NOW_MS - 40 * 24 * 3_600_000,
        }),
        suspects: vec![v1::Suspects {
            contradiction: "birth_date".into(),
            persons: 1,
            examples: vec![key(1).as_bytes().to_vec().into()],
        }],
        strata: vec![stratum("rule", 300, 100, 99, 0), stratum("possible", 12_000, 3, 1, 97)],
        missed: 1,
        least_answers: 10,
        precision: Some(v1::Share { value: 0.99, low: 0.97, high: 1.0 }),
        recall: None,
        drift: vec![drift("name", 300, 0.02), drift("phone", 300, 0.3), drift("address", 0, 0.0)],
    }
}

/// Two registrations that an operator joined, which another one had separated.
fn joined() -> v1::HeldLink {
    let end = |id: u8| RegistrationRef {
        origin: ORIGIN.to_vec().into(),
        id: vec![id; 16].into(),
        ..Default::default()
    };
    let past = PastDecision {
        recorded_ms: NOW_MS - 1000,
        decision: LinkDecision::Different.into(),
        operator: "li".into(),
        reason: "同名".into(),
        ..PastDecision::default()
    };
    let link = PersonLink {
        a: Some(end(1)),
        b: Some(end(2)),
        layer: LinkLayer::Human.into(),
        decision: LinkDecision::Same.into(),
        basis: LinkBasis::Human.into(),
        operator: "anna".into(),
        reason: "又名".into(),
        past: vec![past],
        ..PersonLink::default()
    };
    v1::HeldLink { link: Some(link), decided_by: PATH.into(), recorded_ms: NOW_MS, ..Default::default() }
}

#[tonic::async_trait]
impl LinkageService for Behaviour {
    async fn decide(&self, request: Request<v1::DecideRequest>) -> Result<Response<v1::DecideReply>, Status> {
        self.decisions.lock().unwrap().push(request.into_inner());
        Ok(Response::new(v1::DecideReply { changed: true }))
    }

    async fn explain_pair(
        &self,
        _: Request<v1::ExplainPairRequest>,
    ) -> Result<Response<v1::LinkedPair>, Status> {
        Err(Status::unimplemented("not here"))
    }

    /// The second registration came a second ago.
    async fn get_person(
        &self,
        request: Request<v1::GetPersonRequest>,
    ) -> Result<Response<v1::GetPersonReply>, Status> {
        let request = request.into_inner();
        let is_first = match &request.by {
            Some(By::Number(number)) => number == NUMBER || number == ALIAS,
            Some(By::RegistrationKey(bytes)) => *bytes == key(1).as_bytes()[..],
            None => false,
        };
        let number = if is_first { NUMBER } else { OTHER };
        let early = request.as_of_ms > 0 && request.as_of_ms < NOW_MS;
        let (registrations, links) = match (is_first, early) {
            (true, false) => (vec![registration(1), registration(2)], vec![joined()]),
            (true, true) => (vec![registration(1)], Vec::new()),
            (false, _) => (vec![registration(3)], Vec::new()),
        };
        let (number, incomplete) = (number.into(), early);
        Ok(Response::new(v1::GetPersonReply { number, registrations, links, truncated: false, incomplete }))
    }

    async fn get_quality(
        &self,
        _: Request<v1::GetQualityRequest>,
    ) -> Result<Response<v1::GetQualityReply>, Status> {
        Ok(Response::new(counted()))
    }

    async fn list_reviews(
        &self,
        _: Request<v1::ListReviewsRequest>,
    ) -> Result<Response<v1::ListReviewsReply>, Status> {
        Ok(Response::new(v1::ListReviewsReply::default()))
    }
}

#[tokio::test]
async fn a_person_is_shown_with_the_decisions_that_make_it_one() {
    let node = TestNode::start().await;
    for who in [NUMBER.to_owned(), ALIAS.to_lowercase(), key(1).to_string()] {
        let shown = run(&node, &format!("person show {who}")).await;
        assert!(shown.data.contains(&format!("person {NUMBER}, 2 registrations")), "{shown:?}");
        let line = format!("{} {}: same at 530000 on 2026-11-22 07:17:51: by anna: 又名", key(1), key(2));
        assert!(shown.data.contains(&line), "{shown:?}");
        assert!(shown.data.contains("before: different on 2026-11-22 07:17:50 by li: 同名"), "{shown:?}");
    }
    let json = run(&node, &format!("--json person show {NUMBER}")).await.json();
    assert_eq!(json["number"], NUMBER);
    assert_eq!(
        (json["links"][0]["a"].as_str(), json["links"][0]["layer"].as_str()),
        (Some(&*key(1).to_string()), Some("human"))
    );

    let then = run(&node, &format!("person show {NUMBER} --as-of 2026-11-22T07:17:50")).await;
    assert!(then.data.contains(&format!("person {NUMBER}, 1 registration\n")), "{then:?}");
    assert!(then.data.contains("does not remember"), "{then:?}");
}

#[tokio::test]
async fn two_persons_are_merged_by_their_oldest_registrations_as_they_were_looked_at() {
    let node = TestNode::start().await;
    let merged = run(&node, &format!("person merge {OTHER} {ALIAS} --reason 又名")).await;
    assert_eq!((merged.exit, merged.data.as_str()), (Exit::Ok, "one person\n"), "{merged:?}");
    let decided = node.behaviour.decisions.lock().unwrap().clone();
    let expected = v1::DecideRequest {
        a: key(3).as_bytes().to_vec().into(),
        b: key(1).as_bytes().to_vec().into(),
        decision: LinkDecision::Same.into(),
        reason: "又名".into(),
        expected_version_a: "1.1.3".into(),
        expected_version_b: "1.1.1".into(),
    };
    assert_eq!(decided, [expected]);

    let before = run(&node, &format!("--json person merge {NUMBER} {} --reason 又名", key(1))).await;
    assert_eq!(before.json()["changed"], false, "they are one person");
    assert_eq!(node.behaviour.decisions.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn quality_says_what_is_known_and_what_is_missing_for_the_rest() {
    let node = TestNode::start().await;
    let shown = run(&node, "person quality").await;
    let example = key(1).to_string();
    for part in [
        "with model 2026-11: 1000 registrations of 400 persons, 2.50 each",
        "1: 100, 2: 250, 4 and more: 50 (most 9)",
        "by rule 300 (75.0 %), by score 99 (24.8 %), by operators 1 (0.2 %); suspended 2",
        "waiting for an operator: 12000, the oldest of the first 10000 since 2026-10-13",
        &example,
        "precision 0.9900 (0.9700 to 1.0000), recall unknown (of what was proposed; 1 pair was joined by operators alone)",
        "an estimate needs 10 answers in each row",
        "shifted: consider training on these data",
        "no pairs",
    ] {
        assert!(shown.data.contains(part), "{part}: {}", shown.data);
    }
    let json = run(&node, "--json person quality").await.json();
    assert_eq!((json["precision"]["low"].as_f64(), json["recall"].is_null()), (Some(0.97), true));
    assert_eq!((json["sizes"][3]["up_to"].is_null(), json["strata"][1]["open"].as_u64()), (true, Some(97)));
}
