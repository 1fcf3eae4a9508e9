//! The end of every test: every link proven equal after the last write, at both ends, and nothing lost or doubled.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use model::NodePath;
use wire::v1::{Health, LinkStatus, NodeStatus};

use super::Province;
use super::province::{ASK_EVERY, PATIENCE};
use crate::{Ledger, Writers, check};

/// How the links come to prove themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// In their own time: one more write, and the proof that the next moment of rest brings.
    Awaited,
    /// At once: the lines are cut after the last write, and a new session begins with a proof.
    AfterCut,
}

/// What a link has proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkProof {
    pub child: NodePath,
    pub records: u64,
}

/// One link from both ends.
#[derive(Debug)]
struct Ends {
    child: LinkStatus,
    parent: LinkStatus,
}

impl Ends {
    fn caught_up(&self) -> bool {
        let LinkStatus { position, head, connected, .. } = self.child;
        connected && self.parent.connected && position == head && self.parent.position == head
    }

    /// Proven at both ends after that moment, of the same.
    fn proven_since(&self, at_ms: u64) -> bool {
        self.caught_up()
            && self.child.proven_ms > at_ms
            && self.parent.proven_ms > at_ms
            && self.child.proven_records == self.parent.proven_records
            && self.child.proven_records > 0
    }

    fn check(&self, path: &NodePath) {
        for end in [&self.child, &self.parent] {
            assert_eq!(end.repaired, 0, "{path}: records had to be repaired, seen with {}", end.path);
            assert_eq!(end.quarantined, 0, "{path}: records in quarantine, seen with {}", end.path);
            assert_eq!(end.health(), Health::Green, "{path}, seen with {}: {}", end.path, end.reason);
        }
    }
}

impl Province {
    /// Lets the writers end, makes a last write at each of their nodes, waits until every link is proven equal after it, and
    /// asks everything acknowledged back, content included. Stops the tree.
    pub async fn close(mut self, writers: Option<Writers>, how: Proof) -> (Ledger, Vec<LinkProof>) {
        let written = match writers {
            Some(writers) => writers.finish().await,
            None => Ledger::default(),
        };
        let mut ledger = self.last_writes(&written).await;
        self.caught_up(&ledger).await;
        let at_ms = now_ms();
        match how {
            Proof::AfterCut => self.lines().for_each(super::Proxy::cut),
            // A link that has proven itself and rests is not proven again for minutes.
            Proof::Awaited => ledger = self.last_writes(&written).await,
        }
        let proofs = self.proven(at_ms).await;
        self.ask_back(&ledger).await;
        self.tree.stop_all().await.expect("all stop");
        (ledger, proofs)
    }

    /// Writes once more at every node that has hospitals; everything acknowledged until now.
    async fn last_writes(&mut self, written: &Ledger) -> Ledger {
        let nodes: std::collections::BTreeSet<NodePath> =
            written.patients.keys().chain(self.own.patients.keys()).map(|(node, ..)| node.clone()).collect();
        for node in &nodes {
            self.register_at_last(node).await;
        }
        let mut all = written.clone();
        all.patients.extend(self.own.patients.clone());
        all.documents.extend(self.own.documents.clone());
        all
    }

    /// Waits until every node counts what was written below it, and every link is at its head.
    async fn caught_up(&self, ledger: &Ledger) {
        for path in self.tree.paths() {
            let wanted = below(ledger, &path);
            let complete = |status: &NodeStatus| {
                status.store.as_ref().is_some_and(|store| {
                    store.registrations >= wanted.patients.len() as u64
                        && store.document_entries >= wanted.documents.len() as u64
                })
            };
            self.status_until(&path, "it holds everything below it", complete).await;
        }
        let end = Instant::now() + PATIENCE;
        for path in self.children() {
            while !self.ends(&path).await.is_some_and(|ends| ends.caught_up()) {
                assert!(Instant::now() < end, "{path} does not reach its head");
                tokio::task::yield_now().await;
            }
        }
    }

    async fn proven(&self, at_ms: u64) -> Vec<LinkProof> {
        let end = Instant::now() + PATIENCE;
        let mut proofs = Vec::new();
        for path in self.children() {
            let ends = loop {
                match self.ends(&path).await {
                    Some(ends) if ends.proven_since(at_ms) => break ends,
                    ends => {
                        assert!(Instant::now() < end, "{path} is not proven: {ends:?}, since {at_ms}");
                        tokio::time::sleep(ASK_EVERY).await;
                    }
                }
            };
            ends.check(&path);
            proofs.push(LinkProof { records: ends.child.proven_records, child: path });
        }
        proofs
    }

    fn children(&self) -> Vec<NodePath> {
        self.tree.paths().into_iter().filter(|path| path.parent().is_some()).collect()
    }

    async fn ends(&self, path: &NodePath) -> Option<Ends> {
        let status = |path: NodePath| async move {
            let operator = self.tree.operator(&path).await.ok()?;
            operator.status().await.ok()
        };
        let child = status(path.clone()).await?.parent?;
        let children = status(path.parent()?).await?.children;
        let name = path.to_string();
        let parent = children.into_iter().find(|link| link.path == name)?;
        Some(Ends { child, parent })
    }

    async fn ask_back(&self, ledger: &Ledger) {
        let paths = self.tree.paths();
        // Every document is fetched through the tree, by a hospital as far away as there is.
        let (_, far) = self.hospital(paths.last().expect("a node"), "R1").await;
        for path in &paths {
            let (_, reader) = self.hospital(path, "R1").await;
            let fetch = path.parent().is_none().then_some(&far);
            check(&reader, &below(ledger, path), fetch).await;
        }
    }
}

fn below(ledger: &Ledger, path: &NodePath) -> Ledger {
    let mut below = ledger.clone();
    below.patients.retain(|key, _| path.contains(&key.0));
    below.documents.retain(|key, _| path.contains(&key.0));
    below
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
