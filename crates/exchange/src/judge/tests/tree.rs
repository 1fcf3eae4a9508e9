//! A whole tree of linkers and operators, with links that come and go in any order: at rest every node has the same persons, and nobody
//! is one with whom a human separated it from.

use proptest::prelude::*;
use replication::Interest;

use super::*;
use crate::persons::Member;
use crate::{Caller, Decide, Role, Say};

/// Path and parent; a parent stands before its children.
const PLACES: [(&str, Option<usize>); 7] = [
    ("530000", None),
    ("530000/530100", Some(0)),
    ("530000/532900", Some(0)),
    ("530000/530100/530102", Some(1)),
    ("530000/530100/530111", Some(1)),
    ("530000/532900/532901", Some(2)),
    ("530000/532900/532922", Some(2)),
];
/// Where hospitals file, one each: every county, one prefecture.
const FILING: [usize; 5] = [3, 4, 5, 6, 1];
/// Patients of each hospital.
const PATIENTS: usize = 2;
/// Rounds of replication within which a tree must come to rest.
const ROUNDS: usize = 40;

#[derive(Debug, Clone)]
enum Op {
    /// A hospital says that a patient is one of three humans, or withdraws the registration.
    File {
        hospital: usize,
        patient: usize,
        human: Option<usize>,
    },
    Decide {
        node: usize,
        pair: [(usize, usize); 2],
        say: Say,
    },
    /// Everything goes up, or down, over the link above a node.
    Up(usize),
    Down(usize),
}

fn patient() -> impl Strategy<Value = (usize, usize)> {
    (0..FILING.len(), 0..PATIENTS)
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        2 => (patient(), 0usize..3).prop_map(|((hospital, patient), human)| Op::File {
            hospital,
            patient,
            human: Some(human)
        }),
        1 => patient().prop_map(|(hospital, patient)| Op::File { hospital, patient, human: None }),
        8 => (0..PLACES.len(), [patient(), patient()], 0u8..5).prop_map(|(node, pair, say)| Op::Decide {
            node,
            pair,
            say: match say {
                0..2 => Say::Same,
                2..4 => Say::Different,
                _ => Say::Nothing,
            }
        }),
        3 => (1..PLACES.len()).prop_map(Op::Up),
        2 => (1..PLACES.len()).prop_map(Op::Down),
    ]
}

fn path(of: usize) -> NodePath {
    PLACES[of].0.parse().unwrap()
}

fn hospital(of: usize) -> OriginId {
    OriginId([20 + of as u8; 16])
}

fn key_of((of, patient): (usize, usize)) -> RecordKey {
    RecordKey::of(1, hospital(of), RecordId::of(&[b"", format!("P{patient}").as_bytes()]))
}

struct Tree {
    nodes: Vec<(Exchange, Store)>,
    seq: u64,
    /// When the life of each patient's registration began; none while it is withdrawn.
    lives: BTreeMap<(usize, usize), u64>,
}

impl Tree {
    async fn start() -> Self {
        let mut nodes = Vec::new();
        for place in 0..PLACES.len() {
            let (signer, terms) = (place as u8 + 1, TermKey::new([5; 32]));
            let origin = OriginId([signer; 16]);
            let store = stand_in::store(&Memory::new(place as u64), &terms, origin, key(signer));
            store.begin_epoch(EpochId([1; 16]), Vec::new()).await.unwrap();
            let directory = Directory::default();
            directory.publish((0..PLACES.len()).map(|at| Fact::Key {
                node: OriginId([at as u8 + 1; 16]),
                key: key(at as u8 + 1).verifying_key(),
                path: Some(path(at)),
            }));
            directory.publish(FILING.iter().enumerate().map(|(of, writer)| Fact::Institution {
                origin: hospital(of),
                code: format!("H{of}"),
                name: String::new(),
                writer: OriginId([*writer as u8 + 1; 16]),
                term: 1,
                decided_by: OriginId([*writer as u8 + 1; 16]),
                version: Version { term: 1, epoch: 1, seq: 1 },
            }));
            let peers = Arc::new(Fake::default());
            let exchange = stand_in::exchange(store.clone(), directory, peers, terms, origin, path(place));
            tokio::spawn(exchange.judge().clone().run());
            nodes.push((exchange, store));
        }
        Self { nodes, seq: 0, lives: BTreeMap::new() }
    }

    async fn happen(&mut self, op: &Op) {
        match op {
            Op::File { hospital, patient, human } => self.file((*hospital, *patient), *human).await,
            Op::Decide { node, pair, say } if pair[0] != pair[1] => {
                let role = Role::Operator { name: "li.wei".into() };
                let caller = Caller { path: path(*node), role };
                let (pair, reason) = (pair.map(key_of), "核对".into());
                let request = Decide { pair, say: *say, reason, expected: [None, None] };
                // It may not be held there, not be that node's to decide, or contradict what others said: then nothing happens.
                let _ = self.nodes[*node].0.decide(&caller, request).await;
            }
            Op::Decide { .. } => {}
            Op::Up(link) => self.up(*link).await,
            Op::Down(link) => self.down(*link).await,
        }
        self.quiet().await;
    }

    async fn file(&mut self, of: (usize, usize), human: Option<usize>) {
        self.seq += 1;
        let writer = FILING[of.0];
        let body = human.map(|human| {
            let born_ms = *self.lives.entry(of).or_insert(1_780_000_000_000 + self.seq);
            let local_id = format!("P{}", of.1);
            let body =
                [li(&local_id), he(&local_id), person(&local_id, "段小芳", "2001-02-03", "13712345678")];
            Registration { born_ms, ..body[human].clone() }
        });
        if body.is_none() && self.lives.remove(&of).is_none() {
            return;
        }
        let id = RecordId::of(&[b"", format!("P{}", of.1).as_bytes()]);
        let unsigned = Unsigned {
            flow: Flow::Registration,
            kind: Kind::Registration as u32,
            id,
            origin: hospital(of.0),
            subject: Some(key_of(of)),
            tombstone: body.is_none(),
            body: body.map_or_else(Bytes::new, |body| body.encode_to_vec().into()),
        };
        let version = Version { term: 1, epoch: 1, seq: self.seq };
        let record = Record::sign(unsigned, version, 5, &key(writer as u8 + 1)).unwrap();
        let apply = Apply { records: vec![record], ..Apply::default() };
        self.nodes[writer].1.apply(apply).await.unwrap();
    }

    /// Registrations and links that a node holds.
    fn held(&self, node: usize) -> Vec<Record> {
        let mut reader = self.nodes[node].1.feed_reader(0);
        let slice = reader.next(usize::MAX, usize::MAX, &|envelope| {
            envelope.kind == Kind::Registration as u32 || envelope.kind == Kind::Link as u32
        });
        slice.unwrap().records
    }

    /// Whether a record was signed in the subtree of a node.
    fn is_of(record: &Record, node: usize) -> bool {
        let signs = |at: &usize| key(*at as u8 + 1).verifying_key().id() == record.envelope().key_id;
        (0..PLACES.len()).find(signs).is_some_and(|at| path(node).contains(&path(at)))
    }

    async fn up(&self, child: usize) {
        let mut records = self.held(child);
        records.retain(|record| Self::is_of(record, child));
        let parent = &self.nodes[PLACES[child].1.unwrap()].1;
        parent.apply(Apply { records, ..Apply::default() }).await.unwrap();
    }

    /// What concerns whoever is registered in the child's subtree; it forgets what does not any more.
    async fn down(&self, child: usize) {
        let parent = PLACES[child].1.unwrap();
        let persons = &self.nodes[parent].0.persons;
        let mut told: BTreeMap<RecordKey, Record> = BTreeMap::new();
        for registration in self.held(parent) {
            let is_registration = registration.envelope().kind == Kind::Registration as u32;
            if !is_registration || !Self::is_of(&registration, child) {
                continue;
            }
            let mut members = Interest::person(persons, &registration).unwrap();
            members.push(registration);
            for member in members {
                let links = Interest::links(persons, &member.key()).unwrap();
                told.extend(links.into_iter().map(|link| (link.key(), link)));
                told.insert(member.key(), member);
            }
        }
        told.retain(|_, record| !Self::is_of(record, child));
        let mut forget = Vec::new();
        for record in self.held(child) {
            if !Self::is_of(&record, child) && !told.contains_key(&record.key()) {
                forget.push((record.key(), record.envelope().version));
            }
        }
        let records = told.into_values().collect();
        let store = &self.nodes[child].1;
        store.apply(Apply { forget, ..Apply::default() }).await.unwrap();
        store.apply(Apply { records, ..Apply::default() }).await.unwrap();
    }

    async fn quiet(&self) {
        for (exchange, store) in &self.nodes {
            while !exchange.judge().status().loaded || exchange.judge().status().judged != store.head() {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Everything goes everywhere until nothing is new.
    async fn rest(&self) -> Result<(), String> {
        let heads = || self.nodes.iter().map(|(_, store)| store.head()).collect::<Vec<_>>();
        for _ in 0..ROUNDS {
            let before = heads();
            for link in (1..PLACES.len()).rev() {
                self.up(link).await;
                self.quiet().await;
            }
            for link in 1..PLACES.len() {
                self.down(link).await;
                self.quiet().await;
            }
            if heads() == before {
                return Ok(());
            }
        }
        Err(format!("the tree does not come to rest: {:?}", heads()))
    }

    fn person(&self, node: usize, key: &RecordKey) -> BTreeSet<RecordKey> {
        let (exchange, store) = &self.nodes[node];
        let Some(start) = store.get(key).unwrap().and_then(Member::of) else { return BTreeSet::new() };
        let members = exchange.persons.walk().person(start).unwrap().members;
        members.into_iter().map(|member| member.record.key()).collect()
    }

    /// Every node has of its own patients the persons that the province has.
    fn agree(&self) -> Result<(), String> {
        for of in self.lives.keys() {
            let (key, writer) = (key_of(*of), path(FILING[of.0]));
            let above = self.person(0, &key);
            for (node, (place, _)) in
                PLACES.iter().enumerate().filter(|(node, _)| path(*node).contains(&writer))
            {
                let here = self.person(node, &key);
                if here != above {
                    return Err(format!("of {of:?} {place} has {here:?}, the province {above:?}"));
                }
            }
        }
        Ok(())
    }

    /// Nobody is one person with whom a human separated it from.
    fn apart(&self) -> Result<(), String> {
        let desk = self.nodes[0].0.judge();
        let mut all = Vec::new();
        for of in self.lives.keys() {
            all.push(key_of(*of));
        }
        for one in &all {
            let person = self.person(0, one);
            for other in person.iter().filter(|other| *other > one) {
                if separated(&desk.store, &desk.directory.snapshot(), one, other) {
                    return Err(format!("{one} and {other} are one person though a human separated them"));
                }
            }
        }
        Ok(())
    }
}

/// Whether what counts of what humans say of two is that they are not one.
fn separated(store: &Store, view: &replication::DirectoryView, one: &RecordKey, other: &RecordKey) -> bool {
    let born = |key| store.get(key).unwrap().and_then(Member::of).map(|member| member.body.born_ms);
    let lives = [born(one), born(other)];
    let mut said = Vec::new();
    for link in store.about(one, Kind::Link as u32, None, 1000).unwrap() {
        let Some(decided) =
            store.get(&link).unwrap().and_then(|record| model::person_link::Decided::of(&record).ok())
        else {
            continue;
        };
        let human = decided.layer == model::body::LinkLayer::Human;
        if human && decided.b.key == *other && [Some(decided.a.born_ms), Some(decided.b.born_ms)] == lives {
            let standing = replication::standing(&decided, view.path_of(&decided.by).unwrap(), view);
            said.push((decided, standing));
        }
    }
    model::person_link::joined(said.iter().map(|(decided, standing)| (decided, *standing))) == Some(false)
}

/// All patients are filed and known everywhere; then this happens. What does not hold at rest.
fn run(humans: &[usize], ops: &[Op]) -> Result<(), String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut tree = Tree::start().await;
        for (at, human) in humans.iter().enumerate() {
            tree.file((at / PATIENTS, at % PATIENTS), Some(*human)).await;
        }
        tree.rest().await?;
        for op in ops {
            tree.happen(op).await;
        }
        tree.rest().await?;
        tree.agree()?;
        tree.apart()
    })
}

/// A prefecture joined three, two of whom the province had separated: it did not know that yet.
#[test]
fn what_is_suspended_waits_for_a_human_and_comes_back_when_it_may() {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut tree = Tree::start().await;
        for (patient, human) in [((2, 0), 0), ((3, 0), 1), ((3, 1), 2)] {
            tree.file(patient, Some(human)).await;
        }
        tree.rest().await.unwrap();
        let say = |node, pair, say| Op::Decide { node, pair, say };
        tree.happen(&say(0, [(2, 0), (3, 0)], Say::Different)).await;
        tree.happen(&say(2, [(2, 0), (3, 1)], Say::Same)).await;
        tree.happen(&say(2, [(3, 1), (3, 0)], Say::Same)).await;
        tree.rest().await.unwrap();
        let reviews = async |tree: &Tree, node: usize| {
            let caller = Caller { path: path(node), role: Role::Operator { name: "li.wei".into() } };
            tree.nodes[node].0.reviews(&caller, None, 10).await.unwrap().pairs
        };
        assert_eq!(reviews(&tree, 0).await.len(), 0, "the prefecture sees as much");
        let waiting = reviews(&tree, 2).await;
        let said: Vec<_> =
            waiting.iter().flat_map(|pair| &pair.links).map(|link| link.body.decision()).collect();
        assert!(waiting.len() == 1 && said.contains(&LinkDecision::Suspended), "{said:?}");
        assert_eq!((tree.agree(), tree.apart()), (Ok(()), Ok(())));
        let sizes = |tree: &Tree| [(2, 0), (3, 0), (3, 1)].map(|of| tree.person(0, &key_of(of)).len());
        assert_eq!(sizes(&tree).iter().sum::<usize>(), 2 + 2 + 1);
        // The province takes its word back.
        tree.happen(&say(0, [(2, 0), (3, 0)], Say::Nothing)).await;
        tree.rest().await.unwrap();
        assert_eq!(reviews(&tree, 2).await.len(), 0);
        assert_eq!((sizes(&tree), tree.agree()), ([3, 3, 3], Ok(())));
    });
}

/// The linker would join somebody to one of two whom a county joined, while the other one is held apart from it.
#[test]
fn whoever_comes_with_a_person_is_held_apart_too() {
    let file = |hospital, patient, human| Op::File { hospital, patient, human: Some(human) };
    let ops = [
        file(0, 0, 2),
        file(2, 0, 2),
        Op::Decide { node: 0, pair: [(4, 1), (3, 1)], say: Say::Different },
        file(3, 1, 2),
        file(2, 1, 2),
        Op::Decide { node: 0, pair: [(2, 0), (4, 1)], say: Say::Same },
    ];
    assert_eq!(run(&[0, 0, 0, 0, 1, 0, 2, 0, 0, 0], &ops), Ok(()));
}

/// `PROPTEST_CASES`, for a longer look.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(48)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]
    #[test]
    fn all_tiers_have_the_same_persons_and_humans_are_heard(
        humans in prop::collection::vec(0usize..3, FILING.len() * PATIENTS),
        ops in prop::collection::vec(op(), 1..60),
    ) {
        let said = run(&humans, &ops);
        prop_assert!(said.is_ok(), "{}", said.unwrap_err());
    }
}
