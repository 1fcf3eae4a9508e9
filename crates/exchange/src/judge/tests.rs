//! The linker of a prefecture over what its two counties register: who is joined, what is taken back, and what a restart writes.

mod survey;
mod tree;
mod whole;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use model::body::{Flow, Identifier, LinkDecision, PastDecision, PersonLink, Registration};
use model::record::Unsigned;
use model::{EpochId, Record, RecordId, RecordKey, SigningKey, Version};
use prost::Message;
use replication::Fact;
use store::Memory;

use super::*;
use crate::stand_in::{self, Fake};
use crate::{Exchange, TermKey};

const NODE: OriginId = OriginId([2; 16]);
const COUNTIES: [OriginId; 2] = [OriginId([3; 16]), OriginId([4; 16])];
const HOSPITALS: [OriginId; 2] = [OriginId([13; 16]), OriginId([14; 16])];

fn key(of: u8) -> SigningKey {
    SigningKey::from_seed(&[of; 32])
}

/// A registration as a county signs it; none: it is withdrawn.
fn record(seq: u64, county: usize, local_id: &str, registration: Option<Registration>) -> Record {
    let id = RecordId::of(&[b"", local_id.as_bytes()]);
    let unsigned = Unsigned {
        flow: Flow::Registration,
        kind: Kind::Registration as u32,
        id,
        origin: HOSPITALS[county],
        subject: Some(RecordKey::of(1, HOSPITALS[county], id)),
        tombstone: registration.is_none(),
        body: registration.map_or_else(Bytes::new, |body| body.encode_to_vec().into()),
    };
    Record::sign(unsigned, Version { term: 1, epoch: 1, seq }, 5, &key(3 + county as u8)).unwrap()
}

struct Prefecture {
    exchange: Exchange,
    store: Store,
    disk: Memory,
    seq: u64,
}

impl Prefecture {
    /// Over a disk that may have been used before.
    async fn start(disk: &Memory, start: u8) -> Self {
        let terms = TermKey::new([5; 32]);
        let store = stand_in::store(disk, &terms, NODE, key(2));
        store.begin_epoch(EpochId([start; 16]), Vec::new()).await.unwrap();
        let path = |text: &str| Some(text.parse().unwrap());
        let directory = Directory::default();
        directory.publish([
            Fact::Key { node: NODE, key: key(2).verifying_key(), path: path("530000/532900") },
            Fact::Key { node: COUNTIES[0], key: key(3).verifying_key(), path: path("530000/532900/532901") },
            Fact::Key { node: COUNTIES[1], key: key(4).verifying_key(), path: path("530000/532900/532922") },
        ]);
        directory.publish((0..2).map(|at| Fact::Institution {
            origin: HOSPITALS[at],
            code: format!("H{at}"),
            name: String::new(),
            writer: COUNTIES[at],
            term: 1,
            decided_by: COUNTIES[at],
            version: Version { term: 1, epoch: 1, seq: 1 },
        }));
        let peers = Arc::new(Fake::default());
        let own = "530000/532900".parse().unwrap();
        let exchange = stand_in::exchange(store.clone(), directory, peers, terms, NODE, own);
        tokio::spawn(exchange.judge().clone().run());
        Self { exchange, store, disk: disk.clone(), seq: u64::from(start) * 10_000 }
    }

    /// A registration comes up from a county; none: it is withdrawn.
    async fn comes(&mut self, county: usize, local_id: &str, registration: Option<Registration>) {
        self.come(vec![(county, local_id.to_owned(), registration)]).await;
    }

    async fn come(&mut self, registrations: Vec<(usize, String, Option<Registration>)>) {
        let mut records = Vec::new();
        for (county, local_id, registration) in registrations {
            self.seq += 1;
            records.push(record(self.seq, county, &local_id, registration));
        }
        for records in records.chunks(256) {
            self.store.apply(Apply { records: records.to_vec(), ..Apply::default() }).await.unwrap();
        }
        self.quiet().await;
    }

    async fn quiet(&self) {
        let judge = self.exchange.judge();
        while !judge.status().loaded || judge.status().judged != self.store.head() {
            tokio::task::yield_now().await;
        }
    }

    fn status(&self) -> JudgeStatus {
        self.exchange.judge().status()
    }

    /// The node's links as they are now.
    fn links(&self) -> Vec<PersonLink> {
        let is_link = |envelope: &model::Envelope| envelope.kind == Kind::Link as u32;
        let slice = self.store.feed_reader(0).next(usize::MAX, usize::MAX, &is_link).unwrap();
        slice.records.iter().map(|record| record.decode_body().unwrap()).collect()
    }

    /// Local ids by person, as queries see them.
    fn persons(&self, all: &[(usize, &str)]) -> BTreeSet<BTreeSet<String>> {
        let keys: Vec<RecordKey> = all
            .iter()
            .map(|(county, id)| RecordKey::of(1, HOSPITALS[*county], RecordId::of(&[b"", id.as_bytes()])))
            .collect();
        let groups = self.exchange.persons_of(&keys).unwrap().0;
        let ids =
            |group: crate::find::Found| group.into_values().map(|one| one.registration.local_id).collect();
        groups.into_iter().map(ids).collect()
    }
}

fn person(local_id: &str, name: &str, birth_date: &str, phone: &str) -> Registration {
    Registration {
        local_id: local_id.into(),
        name: name.into(),
        sex: "1".into(),
        birth_date: birth_date.into(),
        phones: vec![phone.into()],
        born_ms: 1_780_000_000_000,
        ..Registration::default()
    }
}

fn li(local_id: &str) -> Registration {
    person(local_id, "李国强", "1967-11-23", "13987654321")
}

fn he(local_id: &str) -> Registration {
    person(local_id, "和顺昌", "1949-03-30", "15812345678")
}

fn sets(of: &[&[&str]]) -> BTreeSet<BTreeSet<String>> {
    of.iter().map(|set| set.iter().map(|id| (*id).to_owned()).collect()).collect()
}

#[tokio::test]
async fn pairs_across_counties_are_this_nodes_to_judge_and_others_are_not() {
    let mut prefecture = Prefecture::start(&Memory::new(1), 1).await;
    prefecture.comes(0, "A1", Some(li("A1"))).await;
    prefecture.comes(0, "A2", Some(li("A2"))).await;
    assert_eq!(prefecture.links().len(), 0, "both are one county's");
    prefecture.comes(1, "B1", Some(li("B1"))).await;
    prefecture.comes(1, "B2", Some(he("B2"))).await;
    let all = [(0, "A1"), (0, "A2"), (1, "B1"), (1, "B2")];
    assert_eq!(prefecture.persons(&all), sets(&[&["A1", "A2", "B1"], &["B2"]]));
    assert_eq!(prefecture.links().len(), 2, "the new one with each that its county has not joined yet");
    let status = prefecture.status();
    assert_eq!((status.registrations, status.persons, status.written), (4, 2, 2));
    let link = &prefecture.links()[0];
    assert_eq!(link.decision(), LinkDecision::Same);
    assert!(!link.fields.is_empty() && link.weight_millibits > 0 && link.model == status.model);
}

#[tokio::test]
async fn a_restart_writes_nothing_and_joins_what_came_meanwhile() {
    let disk = Memory::new(1);
    let mut before = Prefecture::start(&disk, 1).await;
    before.comes(0, "A1", Some(li("A1"))).await;
    // And somebody of whom nothing is sure.
    let uncertain = Registration { birth_date: "1967".into(), phones: Vec::new(), ..li("B9") };
    before.comes(1, "B9", Some(uncertain)).await;
    before.comes(1, "B1", Some(li("B1"))).await;
    let links = before.links();
    assert_eq!(links.len(), 2);
    // From the first position, and from one that was noted.
    for start in 2..4 {
        let again = Prefecture::start(&disk, start).await;
        again.quiet().await;
        assert_eq!((again.status().written, again.status().persons), (0, 2));
        assert_eq!(again.links(), links);
        again.exchange.judge().note(again.store.head()).await.unwrap();
    }
    let mut last = Prefecture::start(&disk, 4).await;
    last.comes(0, "A2", Some(li("A2"))).await;
    assert_eq!(last.persons(&[(0, "A1"), (0, "A2"), (1, "B1")]), sets(&[&["A1", "A2", "B1"]]));
    assert_eq!(last.status().written, 2, "with the one of the other county, and a question about B9");
}

#[tokio::test]
async fn whoever_turns_out_to_be_somebody_else_leaves_and_the_others_stay() {
    let mut prefecture = Prefecture::start(&Memory::new(1), 1).await;
    let all = [(0, "A1"), (1, "B1"), (1, "B2"), (1, "B3")];
    // Everybody is linked to A1, the only one of its county.
    prefecture.comes(0, "A1", Some(li("A1"))).await;
    for id in ["B1", "B2", "B3"] {
        prefecture.comes(1, id, Some(li(id))).await;
    }
    assert_eq!(prefecture.persons(&all), sets(&[&["A1", "B1", "B2", "B3"]]));
    prefecture.comes(0, "A1", Some(he("A1"))).await;
    assert_eq!(prefecture.persons(&[(0, "A1")]), sets(&[&["A1"]]), "the links are taken back");
    let decisions: Vec<LinkDecision> = prefecture.links().iter().map(PersonLink::decision).collect();
    assert!(decisions.iter().all(|decision| *decision == LinkDecision::None), "{decisions:?}");
    // And it was a mistake.
    prefecture.comes(0, "A1", Some(li("A1"))).await;
    assert_eq!(prefecture.persons(&all), sets(&[&["A1", "B1", "B2", "B3"]]));
    let link = &prefecture.links()[0];
    let past: Vec<LinkDecision> = link.past.iter().map(PastDecision::decision).collect();
    assert_eq!(past, [LinkDecision::Same, LinkDecision::None], "what was decided before stays known");
}

#[tokio::test]
async fn links_that_were_held_together_by_one_that_leaves_are_made_anew() {
    let mut prefecture = Prefecture::start(&Memory::new(1), 1).await;
    let all = [(0, "A1"), (0, "A2"), (1, "B1")];
    prefecture.comes(0, "A1", Some(li("A1"))).await;
    prefecture.comes(1, "B1", Some(li("B1"))).await;
    prefecture.comes(0, "A2", Some(li("A2"))).await;
    assert_eq!(prefecture.persons(&all), sets(&[&["A1", "A2", "B1"]]));
    for gone in [None, Some(he("B1"))] {
        prefecture.comes(1, "B1", gone).await;
        prefecture.comes(1, "B2", Some(li("B2"))).await;
        let rest = [(0, "A1"), (0, "A2"), (1, "B2")];
        assert_eq!(prefecture.persons(&rest), sets(&[&["A1", "A2", "B2"]]));
        prefecture.comes(1, "B2", None).await;
        prefecture.comes(1, "B1", Some(li("B1"))).await;
        assert_eq!(prefecture.persons(&all), sets(&[&["A1", "A2", "B1"]]));
    }
}

#[tokio::test]
async fn whoever_was_linked_through_one_that_leaves_is_linked_directly() {
    // Somebody else by mistake; withdrawn; and the local id given to somebody else.
    let later = Registration { born_ms: 1_790_000_000_000, ..he("A1") };
    for gone in [Some(he("A1")), None, Some(later)] {
        let mut prefecture = Prefecture::start(&Memory::new(1), 1).await;
        for (county, id) in [(0, "A1"), (1, "B1"), (1, "B2"), (0, "A2")] {
            prefecture.comes(county, id, Some(li(id))).await;
        }
        prefecture.comes(0, "A1", gone).await;
        let rest = [(0, "A2"), (1, "B1"), (1, "B2")];
        assert_eq!(prefecture.persons(&rest), sets(&[&["A2", "B1", "B2"]]));
    }
}

#[tokio::test]
async fn a_local_id_that_is_given_to_somebody_else_inherits_no_links() {
    let mut prefecture = Prefecture::start(&Memory::new(1), 1).await;
    prefecture.comes(0, "A1", Some(li("A1"))).await;
    prefecture.comes(1, "B1", Some(li("B1"))).await;
    assert_eq!(prefecture.persons(&[(0, "A1"), (1, "B1")]), sets(&[&["A1", "B1"]]));
    prefecture.comes(1, "B1", None).await;
    let later = Registration { born_ms: 1_790_000_000_000, ..he("B1") };
    prefecture.comes(1, "B1", Some(later)).await;
    assert_eq!(prefecture.persons(&[(0, "A1"), (1, "B1")]), sets(&[&["A1"], &["B1"]]));
    assert_eq!(prefecture.status().persons, 2);
}

#[tokio::test]
async fn many_who_share_a_name_are_nobody_and_many_visits_are_one_person_up_to_the_bound() {
    let mut prefecture = Prefecture::start(&Memory::new(1), 1).await;
    let named = |at: usize| {
        let local_id = format!("N{at}");
        let body =
            Registration { local_id: local_id.clone(), name: "张伟".into(), ..Registration::default() };
        (at % 2, local_id, Some(body))
    };
    prefecture.come((0..600).map(named).collect()).await;
    assert_eq!((prefecture.status().persons, prefecture.links().len()), (600, 0));
    let numbered = |at: usize| {
        let local_id = format!("V{at}");
        let mut body = person(&local_id, "段·金花", "1987-05-01", "13700001111");
        let value = "532901198705014689".into();
        body.identifiers = vec![Identifier { r#type: "01".into(), value, assigner: String::new() }];
        (at % 2, local_id, Some(body))
    };
    prefecture.come((0..400).map(numbered).collect()).await;
    let status = prefecture.status();
    assert!(status.refused > 0, "{status:?}");
    let links = prefecture.links().len();
    assert!((255..=400).contains(&links), "{links} links");
    assert!(status.persons > 601 && status.persons < 600 + 400, "{status:?}");
}

#[tokio::test]
async fn what_is_possible_waits_for_a_human_until_it_is_settled() {
    let mut prefecture = Prefecture::start(&Memory::new(1), 1).await;
    prefecture.comes(0, "A1", Some(li("A1"))).await;
    let uncertain = Registration { birth_date: "1967".into(), phones: Vec::new(), ..li("B1") };
    prefecture.comes(1, "B1", Some(uncertain)).await;
    let caller = |role| crate::Caller { path: "530000/532900".parse().unwrap(), role };
    let operator = caller(crate::Role::Operator { name: "li.wei".into() });
    let exchange = prefecture.exchange.clone();
    let waiting = async || exchange.reviews(&operator, None, 10).await.unwrap().pairs;
    let pairs = waiting().await;
    assert_eq!((pairs.len(), pairs[0].one_person), (1, false));
    let keys = [pairs[0].registrations[0].key, pairs[0].registrations[1].key];
    let say =
        |say, reason: &str| crate::Decide { pair: keys, say, reason: reason.into(), expected: [None, None] };
    let same = || say(crate::Say::Same, "又名");

    let refusals = [
        (say(crate::Say::Same, "  "), "REASON_NEEDED"),
        (say(crate::Say::Same, &"长".repeat(257)), "REASON_FORM"),
        (say(crate::Say::Same, "两\n行"), "REASON_FORM"),
        (crate::Decide { pair: [keys[0]; 2], ..same() }, "ONE_REGISTRATION"),
        (crate::Decide { pair: [keys[0], RecordKey([9; 16])], ..same() }, "UNKNOWN_REGISTRATION"),
        (
            crate::Decide { expected: [None, Some(Version { term: 1, epoch: 9, seq: 9 })], ..same() },
            "CHANGED_MEANWHILE",
        ),
        (say(crate::Say::Nothing, "x"), "NOTHING_TO_UNDO"),
    ];
    for (request, reason) in refusals {
        assert_eq!(exchange.decide(&operator, request).await.unwrap_err().reason(), reason);
    }
    let hospital = caller(crate::Role::Institution { code: "H0".into() });
    assert_eq!(exchange.decide(&hospital, same()).await.unwrap_err().reason(), "WRONG_ROLE");
    assert_eq!(exchange.reviews(&hospital, None, 1).await.unwrap_err().reason(), "WRONG_ROLE");
    assert_eq!(prefecture.persons(&[(0, "A1"), (1, "B1")]).len(), 2, "nothing was changed");

    assert!(exchange.decide(&operator, same()).await.unwrap());
    assert!(!exchange.decide(&operator, same()).await.unwrap(), "said before");
    assert_eq!(prefecture.persons(&[(0, "A1"), (1, "B1")]).len(), 1);
    assert_eq!(waiting().await.len(), 0);
    assert!(exchange.decide(&operator, say(crate::Say::Nothing, "看错了")).await.unwrap());
    assert_eq!(prefecture.persons(&[(0, "A1"), (1, "B1")]).len(), 2);
    assert_eq!(waiting().await.len(), 1, "open again");
    let pair = exchange.explain_pair(&operator, keys).await.unwrap();
    let human = pair.links.iter().find(|link| link.body.operator == "li.wei").unwrap();
    assert_eq!(human.body.past.iter().map(|past| past.reason.as_str()).collect::<Vec<_>>(), ["又名"]);
    assert!(
        pair.links.iter().any(|link| link.weights.iter().any(|(comparison, ..)| comparison == "birth_date"))
    );
    // It settles itself when the birth date becomes known.
    prefecture.comes(1, "B1", Some(li("B1"))).await;
    assert_eq!((waiting().await.len(), prefecture.persons(&[(0, "A1"), (1, "B1")]).len()), (0, 1));
}

#[tokio::test]
async fn whom_a_human_separated_nobody_joins_again() {
    let mut prefecture = Prefecture::start(&Memory::new(1), 1).await;
    let at_home = |registration: Registration| {
        let text = "云南省大理白族自治州漾濞彝族自治县苍山西镇河西村12号".into();
        Registration { addresses: vec![model::body::Address { text, ..Default::default() }], ..registration }
    };
    // A chain from the one to the other, all of it this node's: A1, B0, A0, B1.
    prefecture.comes(0, "A1", Some(li("A1"))).await;
    prefecture.comes(1, "B0", Some(li("B0"))).await;
    prefecture.comes(0, "A0", Some(at_home(li("A0")))).await;
    prefecture.comes(1, "B1", Some(at_home(li("B1")))).await;
    let chain = [(0, "A1"), (1, "B0"), (0, "A0"), (1, "B1")];
    assert_eq!(prefecture.persons(&chain), sets(&[&["A1", "B0", "A0", "B1"]]));
    let operator = crate::Caller {
        path: "530000/532900".parse().unwrap(),
        role: crate::Role::Operator { name: "li.wei".into() },
    };
    let key = |at: usize, id: &str| RecordKey::of(1, HOSPITALS[at], RecordId::of(&[b"", id.as_bytes()]));
    let pair = [key(0, "A1"), key(1, "B1")];
    let separate =
        crate::Decide { pair, say: crate::Say::Different, reason: "父子".into(), expected: [None, None] };
    assert!(prefecture.exchange.decide(&operator, separate).await.unwrap());
    prefecture.quiet().await;
    // Others who are as much the one as the other, and new versions of both.
    for id in ["A2", "A3"] {
        prefecture.comes(0, id, Some(li(id))).await;
    }
    for id in ["B2", "B1"] {
        let elsewhere = Registration { sex: "0".into(), ..li(id) };
        prefecture.comes(1, id, Some(elsewhere)).await;
    }
    let again = Prefecture::start(&prefecture.disk, 2).await;
    again.quiet().await;
    for node in [&prefecture, &again] {
        let persons =
            node.persons(&[(0, "A0"), (0, "A1"), (0, "A2"), (0, "A3"), (1, "B0"), (1, "B1"), (1, "B2")]);
        let together = |person: &BTreeSet<String>| person.contains("A1") && person.contains("B1");
        assert!(!persons.iter().any(together), "{persons:?}");
    }
}

#[tokio::test]
async fn humans_do_not_contradict_each_other_without_a_word() {
    let mut prefecture = Prefecture::start(&Memory::new(1), 1).await;
    // Three who have nothing to do with each other.
    let all = [(0, "A1", "段小芳"), (0, "A2", "阿依木"), (1, "B1", "和顺昌")];
    for (county, id, name) in all {
        let body = Registration { phones: Vec::new(), ..person(id, name, "", "") };
        prefecture.comes(county, id, Some(body)).await;
    }
    let operator = crate::Caller {
        path: "530000/532900".parse().unwrap(),
        role: crate::Role::Operator { name: "li.wei".into() },
    };
    let key = |at: usize| RecordKey::of(1, HOSPITALS[all[at].0], RecordId::of(&[b"", all[at].1.as_bytes()]));
    let exchange = prefecture.exchange.clone();
    let decide = async |one: usize, other: usize, say| {
        let request = crate::Decide {
            pair: [key(one), key(other)],
            say,
            reason: "核对".into(),
            expected: [None, None],
        };
        exchange.decide(&operator, request).await.map_err(|error| error.reason().to_owned())
    };
    let ids = all.map(|(county, id, _)| (county, id));
    assert_eq!(decide(0, 2, crate::Say::Same).await, Ok(true));
    assert_eq!(decide(1, 2, crate::Say::Same).await, Ok(true));
    assert_eq!(decide(0, 1, crate::Say::Different).await, Err("JOINED_BY_OPERATORS".into()));
    assert_eq!(prefecture.persons(&ids).len(), 1);
    assert_eq!(decide(1, 2, crate::Say::Nothing).await, Ok(true));
    assert_eq!(decide(0, 1, crate::Say::Different).await, Ok(true));
    assert_eq!(decide(1, 2, crate::Say::Same).await, Err("SEPARATED_BY_OPERATORS".into()));
    assert_eq!(decide(0, 1, crate::Say::Same).await, Ok(true), "the same pair may be decided anew");
    assert_eq!(decide(1, 2, crate::Say::Same).await, Ok(true));
    prefecture.quiet().await;
    assert_eq!(prefecture.persons(&ids).len(), 1);
}

#[tokio::test]
async fn what_changes_while_it_is_loaded_counts_as_it_is_in_the_end() {
    let prefecture = Prefecture::start(&Memory::new(1), 1).await;
    let mut desk = desk(prefecture.exchange.judge());
    let loaded = [
        record(1, 0, "A1", Some(li("A1"))),
        record(2, 1, "B1", Some(li("B1"))),
        record(3, 0, "A2", Some(he("A2"))),
        record(4, 0, "A1", None),
        record(5, 0, "A2", Some(li("A2"))),
    ];
    for record in &loaded {
        desk.load(record);
    }
    let keys = desk.loaded();
    assert_eq!((keys.len(), desk.registrations(), desk.persons()), (2, 2, 2));
    for key in &keys {
        desk.enter(key);
    }
    for key in &keys {
        desk.judge_again(key).unwrap();
    }
    assert_eq!((desk.drafts().len(), desk.persons()), (1, 1), "A2 as it is now with B1, and nobody with A1");
}

fn desk(judge: &Judge) -> Desk {
    let place = (judge.path.clone(), NODE);
    let view = judge.directory.snapshot();
    Desk::new(place, judge.store.clone(), view, (*judge.scorer).clone(), Queue::default())
}

#[tokio::test]
async fn a_link_that_comes_back_while_its_successor_is_written_holds_up_no_other() {
    let prefecture = Prefecture::start(&Memory::new(1), 1).await;
    let judge = prefecture.exchange.judge();
    let mut desk = desk(judge);
    let known = [
        record(1, 0, "A1", Some(li("A1"))),
        record(2, 1, "B1", Some(li("B1"))),
        record(3, 0, "A2", Some(he("A2"))),
        record(4, 1, "B2", Some(he("B2"))),
    ];
    for record in &known {
        desk.meet(record).unwrap();
    }
    let lost = said_by((NODE, key(2)), 90_001, LinkDecision::Different, ["A1", "B1"]);
    prefecture.store.apply(Apply { records: vec![lost], ..Apply::default() }).await.unwrap();
    judge.write(&mut desk).await.unwrap();
    let said: Vec<LinkDecision> = prefecture.links().iter().map(PersonLink::decision).collect();
    assert_eq!(said, [LinkDecision::Different, LinkDecision::Same], "the lost one, and the other pair");
}

#[tokio::test]
async fn a_link_about_an_unknown_institution_waits_for_it() {
    let prefecture = Prefecture::start(&Memory::new(1), 1).await;
    let judge = prefecture.exchange.judge();
    let whole = judge.directory.snapshot();
    // At first only the first county and its hospital are known.
    let young = Directory::default();
    let at = |path: &str| Some(path.parse().unwrap());
    young.publish([
        Fact::Key { node: NODE, key: key(2).verifying_key(), path: at("530000/532900") },
        Fact::Key { node: COUNTIES[0], key: key(3).verifying_key(), path: at("530000/532900/532901") },
        Fact::Institution {
            origin: HOSPITALS[0],
            code: "H0".into(),
            name: String::new(),
            writer: COUNTIES[0],
            term: 1,
            decided_by: COUNTIES[0],
            version: Version { term: 1, epoch: 1, seq: 1 },
        },
    ]);
    let place = (judge.path.clone(), NODE);
    let (store, scorer) = (judge.store.clone(), (*judge.scorer).clone());
    let mut desk = Desk::new(place, store, young.snapshot(), scorer, Queue::default());
    let all = [
        record(1, 0, "A1", Some(li("A1"))),
        record(2, 1, "B1", Some(he("B1"))),
        said_by((NODE, key(2)), 90_001, LinkDecision::Same, ["A1", "B1"]),
    ];
    prefecture.store.apply(Apply { records: all.to_vec(), ..Apply::default() }).await.unwrap();
    for record in &all {
        desk.meet(record).unwrap();
    }
    assert_eq!((desk.registrations(), desk.drafts().len()), (1, 0));
    assert!(desk.see(whole).unwrap());
    assert_eq!(
        (desk.registrations(), desk.drafts().len()),
        (2, 1),
        "the two are not one person: it is taken back"
    );
}

/// What a county said of a registration of its own and one of the other's, as long as it was the judge of both.
fn said_by_county(seq: u64, decision: LinkDecision, ids: [&str; 2]) -> Record {
    said_by((COUNTIES[0], key(3)), seq, decision, ids)
}

fn said_by(
    (by, signing): (OriginId, SigningKey),
    seq: u64,
    decision: LinkDecision,
    ids: [&str; 2],
) -> Record {
    let version = Version { term: 1, epoch: 1, seq: 1 };
    let mut ends = [0, 1].map(|county| {
        let id = RecordId::of(&[b"", ids[county].as_bytes()]);
        let born_ms = li("").born_ms;
        let named = model::person_link::reference(HOSPITALS[county], id, born_ms, version);
        (RecordKey::of(1, HOSPITALS[county], id), named)
    });
    ends.sort_by_key(|(key, _)| *key);
    let [(subject, a), (_, b)] = ends;
    let body = PersonLink {
        a: Some(a),
        b: Some(b),
        layer: model::body::LinkLayer::Machine as i32,
        decision: decision as i32,
        basis: model::body::LinkBasis::Score as i32,
        ..PersonLink::default()
    };
    let unsigned = Unsigned {
        flow: Flow::Link,
        kind: Kind::Link as u32,
        id: model::person_link::Decided::read(&body, by).unwrap().id(),
        origin: by,
        subject: Some(subject),
        tombstone: false,
        body: body.encode_to_vec().into(),
    };
    Record::sign(unsigned, Version { term: 1, epoch: 1, seq }, 5, &signing).unwrap()
}

#[tokio::test]
async fn what_this_node_itself_said_and_lost_is_judged_when_it_comes_back() {
    let mut prefecture = Prefecture::start(&Memory::new(1), 1).await;
    let all = [(0, "A1"), (1, "B1")];
    prefecture.comes(0, "A1", Some(li("A1"))).await;
    prefecture.comes(1, "B1", Some(he("B1"))).await;
    assert!(prefecture.links().is_empty());
    let lost = said_by((NODE, key(2)), 90_001, LinkDecision::Same, ["A1", "B1"]);
    prefecture.store.apply(Apply { records: vec![lost], ..Apply::default() }).await.unwrap();
    while prefecture.links().iter().all(|link| link.decision() != LinkDecision::None) {
        tokio::task::yield_now().await;
    }
    assert_eq!(prefecture.persons(&all), sets(&[&["A1"], &["B1"]]));
}

/// The second hospital files at this county's node from this term on.
fn filed(term: u32, writer: OriginId) -> Fact {
    Fact::Institution {
        origin: HOSPITALS[1],
        code: "H1".into(),
        name: String::new(),
        writer,
        term,
        decided_by: NODE,
        version: Version { term: 1, epoch: 1, seq: u64::from(term) },
    }
}

#[tokio::test]
async fn whom_a_former_judge_held_apart_the_present_one_may_join() {
    let mut prefecture = Prefecture::start(&Memory::new(1), 1).await;
    let all = [(0, "A1"), (1, "B1")];
    prefecture.comes(0, "A1", Some(li("A1"))).await;
    // The county, whose pair it was, has lost sight of the second one, and will never take it back.
    prefecture.exchange.judge().directory.publish([filed(2, COUNTIES[0]), filed(3, COUNTIES[1])]);
    while prefecture.status().loaded {
        tokio::task::yield_now().await;
    }
    prefecture.quiet().await;
    let before = said_by_county(90_001, LinkDecision::Different, ["A1", "B1"]);
    prefecture.store.apply(Apply { records: vec![before], ..Apply::default() }).await.unwrap();
    prefecture.comes(1, "B1", Some(li("B1"))).await;
    assert_eq!(prefecture.persons(&all), sets(&[&["A1", "B1"]]));
}

#[tokio::test]
async fn a_former_judge_is_overruled_only_as_long_as_it_is_wrong() {
    let mut prefecture = Prefecture::start(&Memory::new(1), 1).await;
    let all = [(0, "A1"), (1, "B1")];
    prefecture.comes(0, "A1", Some(li("A1"))).await;
    prefecture.comes(1, "B1", Some(he("B1"))).await;
    // The second hospital was the first county's for a while.
    let judge = prefecture.exchange.judge();
    judge.directory.publish([filed(2, COUNTIES[0]), filed(3, COUNTIES[1])]);
    // It begins anew for that; what comes later it must look at by itself.
    while judge.status().loaded {
        tokio::task::yield_now().await;
    }
    prefecture.quiet().await;
    let late = said_by_county(90_001, LinkDecision::Same, ["A1", "B1"]);
    prefecture.store.apply(Apply { records: vec![late], ..Apply::default() }).await.unwrap();
    let own = |prefecture: &Prefecture| -> Vec<LinkDecision> {
        let view = |envelope: &model::Envelope| envelope.origin == NODE;
        let links = prefecture.store.feed_reader(0).next(usize::MAX, usize::MAX, &view).unwrap().records;
        let links = links.iter().filter(|record| record.envelope().kind == Kind::Link as u32);
        links.map(|record| record.decode_body::<PersonLink>().unwrap().decision()).collect()
    };
    while own(&prefecture) != [LinkDecision::Different] {
        tokio::task::yield_now().await;
    }
    assert_eq!(prefecture.persons(&all), sets(&[&["A1"], &["B1"]]));
    // The county is judge again, and it was right after all: it would be bound by what this node no longer means.
    prefecture.exchange.judge().directory.publish([filed(4, COUNTIES[0])]);
    while prefecture.status().loaded {
        tokio::task::yield_now().await;
    }
    prefecture.quiet().await;
    assert_eq!(own(&prefecture), [LinkDecision::Different]);
    prefecture.comes(1, "B1", Some(li("B1"))).await;
    assert_eq!(prefecture.persons(&all), sets(&[&["A1", "B1"]]));
    assert_eq!(own(&prefecture), [LinkDecision::None]);
}
