//! Epochs as a model: one node whose disk is lost, set back and copied, its parent, and every verdict of the rules. Many cheap
//! steps: `TIERMESH_STEPS` says how many, `TIERMESH_SEED` from which seed on.
//!
//! What must hold: whoever is admitted lacks nothing that the parent has applied; the parent has all that the node's log holds up
//! to where it says that the feed goes on; one version never stands for two contents at the parent; and a node that is refused
//! is admitted after a restore.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use model::EpochId;
use model::body::EpochEntry;
use model::feed::{Direction, Hello, PROTOCOLS};
use replication::epoch::{EpochVerdict, admit_epochs, covers, epoch_id, fits, needs_known_seq};
use replication::numbering::{current, still_holds};
use store::FeedPosition;

/// As the store's, when epochs of the log are lost.
const LOST_SEQS: u64 = 1 << 40;
/// Steps of one history: short ones, so that every state begins again and again.
const HISTORY: u64 = 60;

/// A generator of its own, so that a seed gives the same history for ever.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (x ^ (x >> 31)) % sides
    }
}

/// What one commit holds: an epoch, a write whose content nobody else has, or what a neighbour shipped.
#[derive(Debug, Clone, PartialEq)]
enum Commit {
    Epoch(EpochEntry),
    Write { epoch: u32, seq: u64, content: u64 },
    Passed(u64),
}

/// A disk and the process on it. Copies share the generation, as copies of a disk do.
#[derive(Debug, Clone, Default)]
struct Node {
    log: Vec<Commit>,
    generation: u64,
    noted: Option<EpochEntry>,
    /// Of this start; none before it may write.
    open: Option<u32>,
}

#[derive(Debug, Default)]
struct Parent {
    epochs: Vec<EpochEntry>,
    applied: BTreeMap<(u32, u64), u64>,
    passed: BTreeSet<u64>,
    position: Option<FeedPosition>,
    /// The epoch of the session that is alive.
    live: Option<EpochId>,
}

impl Node {
    fn epochs(&self) -> Vec<EpochEntry> {
        let of = |commit: &Commit| if let Commit::Epoch(entry) = commit { Some(entry.clone()) } else { None };
        let mut all: Vec<EpochEntry> = self.log.iter().filter_map(of).collect();
        // A restore brings them in any order.
        all.sort_by_key(|entry| entry.counter);
        all
    }

    fn last_seq(&self) -> u64 {
        let seq = |commit: &Commit| match commit {
            Commit::Epoch(entry) => entry.base_seq + 1,
            Commit::Write { seq, .. } => *seq,
            Commit::Passed(_) => 0,
        };
        self.log.iter().map(seq).max().unwrap_or(0)
    }

    fn holds(&self, version: (u32, u64), content: u64) -> bool {
        self.log.contains(&Commit::Write { epoch: version.0, seq: version.1, content })
    }

    fn start(&mut self, id: u64) {
        let (mut last, mut base_seq) = (self.epochs().pop(), self.last_seq());
        let before = last.as_ref().map_or(0, |last| last.counter);
        if let Some(noted) = self.noted.clone().filter(|noted| noted.counter > before) {
            base_seq = base_seq.max(noted.base_seq + LOST_SEQS);
            last = Some(noted);
        }
        let mut epoch_id = [0; 16];
        epoch_id[..8].copy_from_slice(&id.to_be_bytes());
        let entry = EpochEntry {
            counter: last.as_ref().map_or(0, |last| last.counter) + 1,
            epoch_id: Bytes::copy_from_slice(&epoch_id),
            previous_epoch_id: last.map(|last| last.epoch_id).unwrap_or_default(),
            base_seq,
            started_ms: 0,
        };
        self.open = Some(entry.counter);
        self.noted = Some(entry.clone());
        self.log.push(Commit::Epoch(entry));
    }

    /// As the sender does: the newest epochs without a gap.
    fn hello(&self) -> Hello {
        let mut epochs: Vec<EpochEntry> = Vec::new();
        for entry in self.epochs().into_iter().rev() {
            if epochs.last().is_none_or(|after| after.counter == entry.counter + 1) {
                epochs.push(entry);
            } else {
                break;
            }
        }
        let began = |entry: &EpochEntry| {
            let at = self.log.iter().position(|commit| *commit == Commit::Epoch(entry.clone()));
            at.map_or(0, |at| at as u64 + 1)
        };
        Hello {
            protocols: PROTOCOLS.to_vec(),
            direction: Direction::Up,
            path: "530000/532900".parse().unwrap(),
            origin: model::OriginId([1; 16]),
            trust_domain: "tiermesh.test".parse().unwrap(),
            generation: [self.generation.to_be_bytes(); 2].concat().try_into().unwrap(),
            head: self.log.len() as u64,
            began: epochs.iter().map(began).collect(),
            epochs,
            last_seq: self.last_seq(),
            now_ms: 0,
            software: String::new(),
            introduction: Vec::new(),
        }
    }
}

impl Parent {
    fn known_seq(&self) -> u64 {
        let written = self.applied.keys().map(|(_, seq)| *seq).max().unwrap_or(0);
        written.max(self.epochs.last().map_or(0, |last| last.base_seq + 1))
    }

    /// Where the feed goes on, or the verdict that refuses it.
    fn greet(&mut self, node: &Node) -> Result<u64, EpochVerdict> {
        let hello = node.hello();
        let known_seq = if needs_known_seq(&self.epochs, &hello) { self.known_seq() } else { 0 };
        match admit_epochs(&self.epochs, known_seq, &hello, self.live) {
            EpochVerdict::Admit | EpochVerdict::Replace => {}
            refused => return Err(refused),
        }
        let holds = self.position.and_then(|held| still_holds(held, &hello));
        let position = holds.unwrap_or(0);
        if holds.is_some_and(|holds| Some(holds) < self.position.map(|held| held.position))
            || position > hello.head
        {
            return Err(EpochVerdict::Malformed(FEED_ENDS));
        }
        for entry in hello.epochs.iter().rev() {
            self.learn(entry);
        }
        self.live = hello.epochs.first().and_then(epoch_id);
        Ok(position)
    }

    fn learn(&mut self, entry: &EpochEntry) {
        if fits(&self.epochs, entry).is_ok() && !self.epochs.iter().any(|held| held.counter == entry.counter)
        {
            self.epochs.push(entry.clone());
            self.epochs.sort_by_key(|entry| entry.counter);
        }
    }

    fn ship(&mut self, node: &Node, after: u64, upto: u64) {
        for commit in &node.log[after as usize..upto as usize] {
            match commit {
                Commit::Epoch(entry) => self.learn(entry),
                Commit::Passed(content) => {
                    self.passed.insert(*content);
                }
                Commit::Write { epoch, seq, content } => {
                    // What a closed epoch cannot hold is quarantined.
                    if covers(&self.epochs, *epoch, *seq) == Some(true) {
                        let held = *self.applied.entry((*epoch, *seq)).or_insert(*content);
                        assert_eq!(held, *content, "two contents under version {epoch} {seq}");
                    }
                }
            }
        }
        self.position = Some(FeedPosition { generation: current(&node.hello()), position: upto });
    }

    /// What a node gets back that lost everything.
    fn restored(&self, generation: u64) -> Node {
        let mut log: Vec<Commit> = self.epochs.iter().cloned().map(Commit::Epoch).collect();
        let write = |((epoch, seq), content): (&(u32, u64), &u64)| Commit::Write {
            epoch: *epoch,
            seq: *seq,
            content: *content,
        };
        log.extend(self.applied.iter().map(write));
        log.extend(self.passed.iter().copied().map(Commit::Passed));
        Node { log, generation, noted: None, open: None }
    }
}

/// Stands for the refusal of a feed that ends before what was applied of it, which is not a verdict on epochs.
const FEED_ENDS: &str = "its feed ends before what was applied here";

struct World {
    dice: Dice,
    node: Node,
    clone: Option<Node>,
    backup: Option<Node>,
    parent: Parent,
    next: u64,
}

impl World {
    fn next(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn write(&mut self, of_clone: bool) {
        let content = self.next();
        let Some(node) = (if of_clone { self.clone.as_mut() } else { Some(&mut self.node) }) else { return };
        let Some(epoch) = node.open else { return };
        let seq = node.last_seq() + 1;
        node.log.push(Commit::Write { epoch, seq, content });
    }

    /// A neighbour ships something to the node; from above also before it may write.
    fn pass(&mut self) {
        let content = self.next();
        self.node.log.push(Commit::Passed(content));
    }

    /// What the parent takes for applied it has, but for what it overruled.
    fn check_position(&self, node: &Node, position: u64) {
        for commit in &node.log[..position as usize] {
            let has = match commit {
                Commit::Epoch(_) => true,
                Commit::Passed(content) => self.parent.passed.contains(content),
                Commit::Write { epoch, seq, content } => {
                    covers(&self.parent.epochs, *epoch, *seq) != Some(true)
                        || self.parent.applied.get(&(*epoch, *seq)) == Some(content)
                }
            };
            assert!(has, "{commit:?} is said to be applied up to {position}: {node:#?} {:#?}", self.parent);
        }
    }

    /// One of the two connects and ships a part of what it has.
    fn connect(&mut self, of_clone: bool) {
        let Some(node) = (if of_clone { self.clone.clone() } else { Some(self.node.clone()) }) else {
            return;
        };
        if node.open.is_none() {
            return;
        }
        match self.parent.greet(&node) {
            Ok(after) => {
                for (version, content) in &self.parent.applied {
                    let lacks = !node.holds(*version, *content);
                    assert!(!lacks, "admitted, and lacks {version:?}: {node:#?} {:#?}", self.parent);
                }
                self.check_position(&node, after);
                let upto = after + self.dice.roll(node.log.len() as u64 - after + 1);
                self.parent.ship(&node, after, upto);
            }
            Err(EpochVerdict::AlreadyConnected { .. }) => {}
            Err(EpochVerdict::Malformed(why)) if why != FEED_ENDS => {
                panic!("an honest greeting is malformed: {why}")
            }
            // The operator restores the node; a clone is stopped.
            Err(_) if of_clone => self.clone = None,
            Err(_) => self.restore(),
        }
    }

    fn restore(&mut self) {
        let generation = self.next();
        let noted = self.node.noted.clone();
        self.node = Node { noted, ..self.parent.restored(generation) };
        let id = self.next();
        self.node.start(id);
        self.parent.live = None;
        let welcome = self.parent.greet(&self.node);
        assert!(
            welcome.is_ok(),
            "a restored node is refused: {welcome:?} {:#?} {:#?}",
            self.node,
            self.parent
        );
        self.parent.live = None;
    }

    /// A start. A log that ends before the noted epoch waits for the parent's word first.
    fn begin(&mut self) {
        let known = self.node.epochs().last().map_or(0, |last| last.counter);
        let set_back = self.node.noted.as_ref().is_some_and(|noted| noted.counter > known);
        if set_back && self.parent.greet(&self.node).is_err() {
            return self.restore();
        }
        self.parent.live = None;
        let id = self.next();
        self.node.start(id);
    }

    fn step(&mut self) {
        match self.dice.roll(28) {
            0..6 => self.write(false),
            20..28 => self.pass(),
            6 => self.write(true),
            7..11 => self.connect(false),
            11..13 => self.connect(true),
            // The connection ends.
            13 => self.parent.live = None,
            14 => {
                self.parent.live = None;
                self.begin();
            }
            15 => {
                let id = self.next();
                if let Some(clone) = &mut self.clone {
                    clone.start(id);
                }
            }
            16 => self.backup = Some(self.node.clone()),
            17 => {
                if let Some(backup) = self.backup.clone() {
                    // With the note that was kept beside the disk, or set back as a whole.
                    let noted =
                        if self.dice.roll(2) == 0 { self.node.noted.clone() } else { backup.noted.clone() };
                    self.node = Node { noted, open: None, ..backup };
                    // Not seen: a copy that ships between the parent's word and this node's next greeting.
                    (self.parent.live, self.clone) = (None, None);
                    self.begin();
                }
            }
            18 => {
                self.clone = Some(self.node.clone());
                let id = self.next();
                if let Some(clone) = &mut self.clone {
                    clone.start(id);
                }
            }
            _ => {
                // The disk is lost. A node that its parent knows waits for what comes back.
                let generation = self.next();
                let noted = self.node.noted.clone();
                if self.parent.epochs.is_empty() {
                    self.clone = None;
                    self.node = Node { generation, noted, ..Node::default() };
                    let id = self.next();
                    self.node.start(id);
                } else {
                    self.restore();
                }
            }
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn whoever_is_admitted_lacks_nothing() {
    let (steps, from) = (number("TIERMESH_STEPS").unwrap_or(200_000), number("TIERMESH_SEED").unwrap_or(0));
    for seed in from..from + steps.div_ceil(HISTORY) {
        let mut world = World {
            dice: Dice(seed),
            node: Node::default(),
            clone: None,
            backup: None,
            parent: Parent::default(),
            next: 1,
        };
        world.node.start(1);
        let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..HISTORY {
                world.step();
            }
        }));
        if let Err(why) = told {
            println!("replay with TIERMESH_SEED={seed} TIERMESH_STEPS=1");
            std::panic::resume_unwind(why);
        }
    }
}
