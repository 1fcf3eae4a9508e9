//! Random histories of a tree, with an oracle: at the end every acknowledged registration is held by its node and by every
//! ancestor, byte for byte, once, and nothing was refused.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use model::{Clock, RecordKey};
use proptest::prelude::*;
use store::{Cut, MemoryIndex};

use crate::node::{Machine, Node, TestClock, bytes_of, door, until};
use crate::wire::{Breaks, Door, NEVER};

/// Paths, parents before children, and where each one's parent stands in the list.
const TREE: [(&str, usize); 5] = [
    ("530000", 0),
    ("530000/532900", 0),
    ("530000/532600", 0),
    ("530000/532900/532901", 1),
    ("530000/532900/532923", 1),
];

#[derive(Debug, Clone)]
enum Step {
    /// So many registrations, new or changed, of one of the node's institutions.
    Register {
        node: usize,
        institution: u8,
        patient: u8,
        count: u8,
    },
    /// The enrolment is written anew, so it moves to the end of the feed.
    Rename {
        node: usize,
        institution: u8,
    },
    Connect {
        child: usize,
        up_after: usize,
        down_after: usize,
    },
    Disconnect {
        child: usize,
    },
    /// The power fails and comes back. The root, which writes nothing here that must last and has nobody above, may be set
    /// back by some steps of its disk: a crash between any two of its writes.
    Crash {
        node: usize,
        cut: u8,
        back: u8,
        lose_index: bool,
    },
    /// The root loses its disk; nobody above knows it, so it starts from nothing.
    WipeRoot,
    /// Lets tasks run for a moment, possibly only in part.
    Yield {
        times: u8,
    },
    Wait {
        ms: u16,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let node = 0..TREE.len();
    let child = 1..TREE.len();
    let few = prop_oneof![3 => 1..12usize, 1 => Just(usize::MAX)];
    let step = prop_oneof![
        6 => (child.clone(), 0..2u8, 0..6u8, 1..6u8).prop_map(|(node, institution, patient, count)| Step::Register { node, institution, patient, count }),
        2 => (child.clone(), 0..2u8).prop_map(|(node, institution)| Step::Rename { node, institution }),
        4 => (child.clone(), few.clone(), few).prop_map(|(child, up_after, down_after)| Step::Connect { child, up_after, down_after }),
        2 => child.prop_map(|child| Step::Disconnect { child }),
        3 => (node, any::<u8>(), 0..12u8, any::<bool>()).prop_map(|(node, cut, back, lose_index)| Step::Crash { node, cut, back, lose_index }),
        2 => Just(Step::WipeRoot),
        4 => (1..40u8).prop_map(|times| Step::Yield { times }),
        3 => (1..3000u16).prop_map(|ms| Step::Wait { ms }),
    ];
    proptest::collection::vec(step, 20..80)
}

struct Mesh {
    clock: Arc<dyn Clock>,
    nodes: Vec<Option<Node>>,
    doors: Vec<Door>,
    linked: [bool; TREE.len()],
    started: u64,
    written: u64,
    /// The latest acknowledged bytes of each registration, by the node that wrote it.
    acknowledged: Vec<BTreeMap<RecordKey, Bytes>>,
}

impl Mesh {
    /// All nodes connected and writing.
    async fn new() -> Self {
        let clock: Arc<dyn Clock> = Arc::new(TestClock::new());
        let doors: Vec<Door> = TREE.iter().map(|_| door()).collect();
        let machines = TREE.iter().enumerate().map(|(at, (path, _))| Machine::new(path, at as u8 + 1));
        let nodes = machines.zip(&doors).map(|(machine, door)| Some(machine.start(&clock, door))).collect();
        let acknowledged = vec![BTreeMap::new(); TREE.len()];
        let mut mesh =
            Self { clock, nodes, doors, linked: [false; TREE.len()], started: 0, written: 0, acknowledged };
        for at in 0..TREE.len() {
            if at > 0 {
                mesh.connect(at, NEVER);
                let mut may_begin = mesh.node(at).sender.may_begin();
                may_begin.wait_for(Option::is_some).await.unwrap();
            }
            mesh.begin(at).await;
        }
        mesh
    }

    fn node(&self, at: usize) -> &Node {
        self.nodes[at].as_ref().expect("a node is only gone while it restarts")
    }

    async fn begin(&mut self, at: usize) {
        self.started += 1;
        self.node(at).begin(self.started).await;
    }

    fn connect(&mut self, child: usize, breaks: Breaks) {
        self.linked[child] = true;
        let parent = Arc::clone(&self.doors[TREE[child].1]);
        if let Some(node) = &mut self.nodes[child] {
            node.drop_link();
            node.keep_link(&parent, breaks);
        }
    }

    async fn restart(&mut self, at: usize, machine: Machine) {
        // The old process is gone before the new one opens its door.
        self.nodes[at] = None;
        self.nodes[at] = Some(machine.start(&self.clock, &self.doors[at]));
        self.begin(at).await;
        if self.linked[at] {
            self.connect(at, NEVER);
        }
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Register { node, institution, patient, count } => {
                for n in 0..count {
                    self.written += 1;
                    let (code, local_id) = (format!("H{node}{institution}"), format!("P{}", patient + n));
                    let record =
                        self.node(node).register(&code, &local_id, &self.written.to_string()).await.unwrap();
                    self.acknowledged[node].insert(record.key(), bytes_of(&record));
                }
            }
            Step::Rename { node, institution } => {
                let code = format!("H{node}{institution}");
                let node = self.node(node);
                if node.directory.institution(&node.institution(&code)).is_some() {
                    node.store.commit(vec![node.institution_draft(&code, "new")]).await.unwrap();
                }
            }
            Step::Connect { child, up_after, down_after } => {
                self.connect(child, Breaks { up_after, down_after });
            }
            Step::Disconnect { child } => {
                self.linked[child] = false;
                if let Some(node) = &mut self.nodes[child] {
                    node.drop_link();
                }
            }
            Step::Crash { node, cut, back, lose_index } => {
                let seed = u64::from(cut / 4);
                let cut =
                    [Cut::Kept, Cut::Synced, Cut::Torn { seed }, Cut::Holes { seed }][usize::from(cut % 4)];
                let mut machine =
                    self.node(node).machine.crashed_before(if node == 0 { back.into() } else { 0 }, cut);
                // An index is never ahead of its log: it only takes what is durable.
                if lose_index || node == 0 {
                    machine.index = MemoryIndex::default();
                }
                self.restart(node, machine).await;
            }
            Step::WipeRoot => {
                let machine = Machine::new(TREE[0].0, 1);
                self.restart(0, machine).await;
            }
            Step::Yield { times } => {
                for _ in 0..times {
                    tokio::task::yield_now().await;
                }
            }
            Step::Wait { ms } => tokio::time::sleep(Duration::from_millis(ms.into())).await,
        }
    }

    /// Connects everything, waits until it is quiet, and compares.
    async fn check(&mut self) {
        for child in 1..TREE.len() {
            self.connect(child, NEVER);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        until("the tree to be quiet", || self.nodes.iter().flatten().all(Node::is_caught_up)).await;
        let held: Vec<BTreeMap<RecordKey, Bytes>> = self
            .nodes
            .iter()
            .flatten()
            .map(|node| {
                let records = node.records();
                let held: BTreeMap<_, _> =
                    records.iter().map(|(key, _, bytes)| (*key, bytes.clone())).collect();
                assert_eq!(held.len(), records.len(), "a record stands in a feed once");
                held
            })
            .collect();
        for (at, (path, parent)) in TREE.iter().enumerate() {
            let status = self.node(at).store.status();
            assert_eq!(status.quarantined, 0, "{path}: {:?}", self.node(at).store.quarantine(5));
            for (key, bytes) in &self.acknowledged[at] {
                assert_eq!(held[at].get(key), Some(bytes), "{path} lost an acknowledged registration");
            }
            for (key, bytes) in &held[at] {
                assert_eq!(held[*parent].get(key), Some(bytes), "the parent of {path} lacks a record");
            }
        }
        let written: usize = self.acknowledged.iter().map(BTreeMap::len).sum();
        assert_eq!(
            self.node(0).store.status().live(1),
            written as u64,
            "the root counts what was acknowledged"
        );
    }
}

fn play(steps: Vec<Step>) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut mesh = Mesh::new().await;
        for step in steps {
            mesh.take(step).await;
        }
        mesh.check().await;
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn nothing_acknowledged_is_lost_or_doubled(steps in steps()) {
        play(steps);
    }
}
