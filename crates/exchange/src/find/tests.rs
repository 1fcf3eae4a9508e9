//! Who is found by telephone, by what is known of a name, and what a question may cost.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use model::body::{Flow, Identifier, Kind, Registration};
use model::query::{Match, Search};
use model::record::Unsigned;
use model::{EpochId, OriginId, Record, RecordId, RecordKey, SigningKey, Version};
use prost::Message;
use replication::{Directory, Fact};
use store::{Apply, Memory, Store};

use super::*;
use crate::stand_in::{self, Fake};
use crate::{Exchange, TermKey};

const NODE: OriginId = OriginId([2; 16]);
const TOWN: OriginId = OriginId([3; 16]);
const HOSPITALS: [OriginId; 2] = [OriginId([13; 16]), OriginId([14; 16])];
const OWN: &str = "530000/532900";

fn key(of: u8) -> SigningKey {
    SigningKey::from_seed(&[of; 32])
}

struct Node {
    exchange: Exchange,
    store: Store,
    parent: Arc<Fake>,
    seq: u64,
}

impl Node {
    /// A prefecture with a hospital of its own and one of a county below.
    async fn start() -> Self {
        let terms = TermKey::new([5; 32]);
        let store = stand_in::store(&Memory::default(), &terms, NODE, key(2));
        store.begin_epoch(EpochId([1; 16]), Vec::new()).await.unwrap();
        let path = |text: &str| Some(text.parse().unwrap());
        let directory = Directory::default();
        directory.publish([
            Fact::Key { node: NODE, key: key(2).verifying_key(), path: path(OWN) },
            Fact::Key { node: TOWN, key: key(3).verifying_key(), path: path("530000/532900/532901") },
            Fact::Key { node: OriginId([4; 16]), key: key(4).verifying_key(), path: path("530000/530100") },
        ]);
        directory.publish([NODE, TOWN].into_iter().zip(HOSPITALS).map(|(writer, origin)| {
            Fact::Institution {
                origin,
                code: format!("H{}", origin.0[0]),
                name: String::new(),
                writer,
                term: 1,
                decided_by: writer,
                version: Version { term: 1, epoch: 1, seq: 1 },
            }
        }));
        let parent = Arc::new(Fake::default());
        let own = OWN.parse().unwrap();
        let exchange = stand_in::exchange(store.clone(), directory, parent.clone(), terms, NODE, own);
        Self { exchange, store, parent, seq: 1 }
    }

    async fn hold(&mut self, registrations: impl IntoIterator<Item = (usize, Registration)>) {
        let records: Vec<Record> = registrations
            .into_iter()
            .map(|(hospital, registration)| {
                self.seq += 1;
                let id = RecordId::of(&[b"", registration.local_id.as_bytes()]);
                let unsigned = Unsigned {
                    flow: Flow::Registration,
                    kind: Kind::Registration as u32,
                    id,
                    origin: HOSPITALS[hospital],
                    subject: Some(RecordKey::of(1, HOSPITALS[hospital], id)),
                    tombstone: false,
                    body: Bytes::from(registration.encode_to_vec()),
                };
                let version = Version { term: 1, epoch: 1, seq: self.seq };
                Record::sign(unsigned, version, 5, &key(2 + hospital as u8)).unwrap()
            })
            .collect();
        for some in records.chunks(256) {
            self.store.apply(Apply { records: some.to_vec(), ..Apply::default() }).await.unwrap();
        }
    }

    async fn ask(&self, by: PatientBy, reach: Reach) -> Result<PatientAnswer, ExchangeError> {
        let query = PatientQuery { by, limit: 10, reach, context: QueryContext::default() };
        let caller =
            Caller { path: OWN.parse().unwrap(), role: Role::Institution { code: "H13".to_owned() } };
        self.exchange.find_patients(&caller, query, Deadline::after(Duration::from_secs(60))).await
    }

    /// Local ids in the order of the answer.
    async fn finds(&self, by: PatientBy) -> Vec<String> {
        ids(&self.ask(by, Reach::Local).await.unwrap())
    }

    async fn refuses(&self, by: PatientBy) -> String {
        self.ask(by, Reach::Local).await.unwrap_err().reason().to_owned()
    }
}

fn ids(answer: &PatientAnswer) -> Vec<String> {
    let registrations = answer.persons.iter().flat_map(|person| &person.registrations);
    registrations.map(|one| one.registration.local_id.clone()).collect()
}

fn patient(local_id: &str, name: &str, birth_date: &str, sex: &str) -> Registration {
    Registration {
        local_id: local_id.into(),
        name: name.into(),
        birth_date: birth_date.into(),
        sex: sex.into(),
        ..Registration::default()
    }
}

fn search(name: &str, birth_date: &str) -> Search {
    Search { name: name.into(), birth_date: birth_date.parse().ok(), ..Search::default() }
}

fn part(name: &str, birth_date: &str) -> PatientBy {
    PatientBy::Search(Search { part: true, ..search(name, birth_date) })
}

#[tokio::test]
async fn candidates_come_best_first() {
    let mut node = Node::start().await;
    node.hold([
        (0, patient("homophone", "章伟", "1988-03-02", "1")),
        (0, patient("same", "张偉", "1988-03-02", "1")),
        (0, patient("day", "张伟", "1988-09-17", "1")),
        (0, patient("sex", "张伟", "1988-03-02", "2")),
        (0, patient("unborn", "张伟", "", "1")),
        (0, patient("year", "张伟", "1975-03-02", "1")),
        (0, patient("longer", "张伟国", "1988-03-02", "1")),
    ])
    .await;
    let asked = PatientBy::Search(Search { sex: "1".into(), ..search("张伟", "1988-03-02") });
    let answer = node.ask(asked, Reach::Local).await.unwrap();
    let found = ids(&answer);
    assert_eq!(found[..2], ["same", "homophone"]);
    assert_eq!(found.len(), 5, "another year and a longer name are not meant: {found:?}");
    let weights: Vec<f32> = answer.persons.iter().map(|one| one.matched.as_ref().unwrap().weight).collect();
    assert!(weights.is_sorted_by(|a, b| a >= b) && weights[0] > 0.0, "{weights:?}");
    let why = answer.persons[0].matched.as_ref().unwrap();
    let told: Vec<_> = why.fields.iter().map(|one| (one.comparison.as_str(), one.level.as_str())).collect();
    assert_eq!(told, [("name", "same"), ("birth_date", "same"), ("sex", "same")]);

    let all = PatientBy::Search(search("zhang wei", ""));
    assert_eq!(node.finds(all).await.len(), 6, "in every year");
    assert_eq!(node.finds(part("伟国", "1988")).await, ["longer"]);
    assert_eq!(node.finds(PatientBy::Search(search("zwg", "1988"))).await, ["longer"]);
    assert_eq!(node.finds(part("zhang", "1975")).await.len(), 2, "and the one whose birth date is not known");
}

#[tokio::test]
async fn polyphones_minorities_and_letters_are_found() {
    let mut node = Node::start().await;
    node.hold([
        (0, patient("shan", "单玉峰", "1960-01-01", "1")),
        (0, patient("uyghur", "热合曼·艾合买提", "1970-01-01", "1")),
        (0, patient("latin", "Nguyễn Văn Thi", "1980-01-01", "1")),
        (0, patient("lu", "呂芳", "1990-01-01", "2")),
    ])
    .await;
    for (name, birth_date, found) in [
        ("shan yufeng", "", "shan"),
        ("dan yufeng", "1960", "shan"),
        ("热合曼•艾合买提", "", "uyghur"),
        ("rehemanaihemaiti", "1970", "uyghur"),
        ("NGUYEN VAN THI", "1980", "latin"),
        ("吕芳", "", "lu"),
        ("lv fang", "1990", "lu"),
    ] {
        assert_eq!(node.finds(PatientBy::Search(search(name, birth_date))).await, [found], "{name}");
    }
    for (name, birth_date, found) in [
        ("艾合买提", "", "uyghur"),
        ("nguyen", "1980", "latin"),
        ("shan", "1960", "shan"),
        ("玉峰", "", "shan"),
    ] {
        assert_eq!(node.finds(part(name, birth_date)).await, [found], "{name}");
    }
}

#[tokio::test]
async fn telephones_and_identifiers_in_any_form() {
    let mut node = Node::start().await;
    let identifier = |r#type: &str, value: &str| Identifier {
        r#type: r#type.into(),
        value: value.into(),
        assigner: String::new(),
    };
    let phones = vec!["139 8765-4321".to_owned()];
    let identifiers = vec![identifier("01", "11010519491231002x"), identifier("03", "E12345678")];
    node.hold([(0, Registration { phones, identifiers, ..patient("a", "张伟", "1949-12-31", "2") })]).await;
    for phone in ["13987654321", "+86 139 8765 4321", "008613987654321", "１３９８７６５４３２１"]
    {
        assert_eq!(node.finds(PatientBy::Phone(phone.into())).await, ["a"], "{phone}");
    }
    assert!(node.finds(PatientBy::Phone("13987654322".into())).await.is_empty());
    assert_eq!(node.refuses(PatientBy::Phone("110".into())).await, "PHONE_UNUSABLE");
    for (r#type, value, found) in [
        ("01", "110105491231002", true),
        ("01", "１１０１０５ 19491231 002ｘ", true),
        ("", "110105491231002", true),
        ("", "e1234-5678", true),
        ("03", "E12345678", true),
        ("02", "E12345678", false),
    ] {
        let by = PatientBy::Identifier(identifier(r#type, value));
        assert_eq!(!node.finds(by).await.is_empty(), found, "{type} {value}");
    }
}

#[tokio::test]
async fn demographics_are_exactly_these() {
    let mut node = Node::start().await;
    node.hold([
        (0, patient("same", "张·伟", "1988-03-02", "1")),
        (0, patient("homophone", "章伟", "1988-03-02", "1")),
        (0, patient("day", "张伟", "1988-03-03", "1")),
        (0, patient("undated", "张伟", "", "1")),
    ])
    .await;
    let exactly = |birth_date: &str, sex: &str| PatientBy::Demographics {
        name: "张伟".into(),
        birth_date: birth_date.into(),
        sex: sex.into(),
    };
    assert_eq!(node.finds(exactly("1988-03-02", "1")).await, ["same"]);
    assert_eq!(node.finds(exactly("1988-03", "")).await.len(), 2);
    assert_eq!(node.finds(exactly("", "")).await.len(), 3);
    assert!(node.finds(exactly("1988", "2")).await.is_empty());
}

#[tokio::test]
async fn a_region_is_where_it_was_registered() {
    let mut node = Node::start().await;
    node.hold([
        (0, patient("prefecture", "张伟", "1988-03-02", "1")),
        (1, patient("county", "张伟", "1988-03-02", "1")),
    ])
    .await;
    let within = |name: &str, region: &str| {
        PatientBy::Search(Search { region: region.parse().ok(), part: name.len() < 6, ..search(name, "") })
    };
    assert_eq!(node.finds(within("张伟", "532901")).await, ["county"]);
    assert_eq!(node.finds(within("张", "532901")).await, ["county"], "a region narrows one character down");
    assert_eq!(node.finds(within("张伟", "532900")).await.len(), 2);
    assert!(node.finds(within("张伟", "530100")).await.is_empty());
    assert_eq!(node.refuses(within("张伟", "999999")).await, "REGION_UNKNOWN");
    // The parent, which panics when asked, is not: all of the region is here.
    let answer = node.ask(within("张伟", "532901"), Reach::Tree).await.unwrap();
    assert_eq!(ids(&answer), ["county"]);
}

#[tokio::test]
async fn what_is_too_wide_is_refused() {
    let mut node = Node::start().await;
    for by in
        [part("张", ""), part("zhang", ""), PatientBy::Search(search("zgq", "")), part(&"yi".repeat(20), "")]
    {
        assert_eq!(node.refuses(by).await, "TOO_WIDE");
    }
    assert_eq!(node.refuses(PatientBy::Search(search("·", "1988"))).await, "NAME_NEEDED");
    let many = (0..2001).map(|at| (0, patient(&format!("p{at}"), "张伟", "1988-03-02", "1")));
    node.hold(many).await;
    assert_eq!(node.refuses(PatientBy::Search(search("张伟", "1988"))).await, "TOO_WIDE");
    assert_eq!(node.refuses(part("张", "1988")).await, "TOO_WIDE");
    // A part that many have is no reason when another one tells.
    node.hold([(0, patient("rare", "张骥", "1988-03-02", "1"))]).await;
    assert_eq!(node.finds(part("张骥", "1988")).await, ["rare"]);
}

#[tokio::test]
async fn a_page_is_the_best_and_says_that_there_are_more() {
    let mut node = Node::start().await;
    let others = (0..30).map(|at| (0, patient(&format!("p{at}"), "张伟", "1988-07-09", "1")));
    node.hold(others).await;
    node.hold([(0, patient("best", "张伟", "1988-03-02", "1"))]).await;
    let answer = node.ask(PatientBy::Search(search("张伟", "1988-03-02")), Reach::Local).await.unwrap();
    assert_eq!((answer.persons.len(), answer.truncated), (10, true));
    assert_eq!(ids(&answer)[0], "best");
}

#[tokio::test]
async fn a_parent_that_refuses_leaves_an_incomplete_answer() {
    let mut node = Node::start().await;
    node.hold([(0, patient("here", "张伟", "1988-03-02", "1"))]).await;
    let error = ExchangeError::unusable("TOO_WIDE", "more than 2000 fit");
    *node.parent.tells.lock() = Some(Err(PeerError::Refused { to: "530000".into(), error }));
    let answer = node.ask(PatientBy::Search(search("张伟", "1988")), Reach::Tree).await.unwrap();
    assert_eq!((ids(&answer), answer.scope.complete), (vec!["here".to_owned()], false));
    let missing = answer.scope.sources.iter().find(|source| source.path.depth() == 0).unwrap();
    assert!(missing.reason.contains("more than 2000"), "{}", missing.reason);
    // What was asked before is refused as before.
    let number = PatientBy::Number("ZM38P0QYQHH5CVC7".parse().unwrap());
    assert_eq!(node.ask(number, Reach::Tree).await.unwrap_err().reason(), "TOO_WIDE");
}

#[tokio::test]
async fn all_are_weighed_by_one_scale() {
    let mut node = Node::start().await;
    node.hold([(0, patient("sounds", "张玮", "1988-03-02", "1"))]).await;
    let own = node.ask(PatientBy::Search(search("张伟", "1988")), Reach::Local).await.unwrap();
    let elsewhere = |local_id: &str, name: &str, weight: f32| {
        let mut one = own.persons[0].registrations[0].clone();
        one.registration = patient(local_id, name, "1988-05-05", "1");
        one.node_path = "530000/530100".into();
        one.key = RecordKey::of(1, OriginId([77; 16]), RecordId::of(&[local_id.as_bytes()]));
        let fields = Vec::new();
        let matched = Match { registration: one.key, weight, probability: 0.5, fields };
        Person { number: Number::of(one.key), registrations: vec![one], matched: Some(matched) }
    };
    // Where the parent knows a thousand of the name, each of them weighs little with it.
    let persons = vec![elsewhere("same", "张伟", -50.0), elsewhere("other", "李国强", 50.0)];
    *node.parent.tells.lock() =
        Some(Ok(PatientAnswer { persons, truncated: false, scope: own.scope.clone() }));
    let answer = node.ask(PatientBy::Search(search("张伟", "1988")), Reach::Tree).await.unwrap();
    assert_eq!(ids(&answer), ["same", "sounds"], "and who does not fit is none");
    let weights: Vec<f32> = answer.persons.iter().map(|one| one.matched.as_ref().unwrap().weight).collect();
    assert!(weights[0] > weights[1] && weights[0] > -50.0, "{weights:?}");
}
