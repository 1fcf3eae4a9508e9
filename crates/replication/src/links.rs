//! What is known of the links to the neighbours now: for status, for answers' freshness, for whoever is on duty.
//!
//! In memory only, since the process started; positions themselves are in the store. Bounded by the neighbours that a
//! verified certificate has named.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use model::feed::{MAX_BELOW, NodeSeen};
use model::{NodePath, OriginId};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::DirectoryView;
use crate::judged::Judged;

/// A feed that is behind and has not moved for this long, or a neighbour not heard for this long, is red.
pub const STALL_MS: u64 = 30_000;

/// A link at a glance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    Green,
    /// Works, but somebody should look.
    Amber,
    /// Does not work.
    Red,
}

/// One link as this node sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkView {
    /// The neighbour.
    pub path: NodePath,
    /// A session of the feed is alive.
    pub connected: bool,
    /// Up to where the receiver has durably applied, in the sender's numbering.
    pub position: u64,
    /// Of a feed that is received: the numbering of that position, see [`crate::numbering`].
    pub numbering: [u8; 16],
    /// The sender's head when last heard.
    pub head: u64,
    /// Records of this feed since the process started: applied, and held already.
    pub applied: u64,
    pub repeated: u64,
    /// Records of this feed that the receiver holds in quarantine, from all time.
    pub quarantined: u64,
    /// Those of them of which nothing was missing when the ends last compared: see [`store::Standing::is_settled`].
    pub settled: u64,
    /// This node's clock when the neighbour was last heard; 0: never.
    pub heard_ms: u64,
    /// This node's clock when the position last moved, or the feed was last known to be caught up; 0: never.
    pub progress_ms: u64,
    /// The neighbour's clock minus this node's. The sender measures it against half a round trip, the receiver one way.
    pub clock_offset_ms: i64,
    /// Newest record that came over this link from each node that writes, by that node's clock.
    pub newest_record_ms: BTreeMap<OriginId, u64>,
    /// Why the last session ended or was refused; none while one is alive and welcome.
    pub last_error: Option<LinkTrouble>,
    /// Why records wait although the link is up: the receiver's store takes none now.
    pub stalled: Option<String>,
    /// The nodes below a child as it last told, and this node's clock then.
    pub below: BTreeMap<NodePath, NodeSeen>,
    pub below_ms: u64,
    /// This node's clock when both ends last held the same of this feed, proven by digests; 0: not since the start.
    pub proven_ms: u64,
    /// Up to which position of the feed, and records that they held then.
    pub proven_position: u64,
    pub proven_records: u64,
    /// Records that a comparison found missing at one end and that were shipped again or given back, since the start.
    pub repaired: u64,
    /// Records that this node told the child to forget, since the start.
    pub retracted: u64,
    /// Of `repaired` those that the child lacked and the feed itself should have told, no links among them.
    pub mended: u64,
    /// Of `retracted` those that a comparison found and not the feed, no links among them.
    pub retracted_late: u64,
    /// Records of a down feed that the child holds and for which this node cannot account, at the last full comparison.
    pub surplus: u64,
    /// Why the ends do not hold the same although what differed was shipped again; none while nothing is known against it.
    pub disproven: Option<String>,
}

/// Why a link does not work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkTrouble {
    /// Machine-readable.
    pub reason: String,
    /// For operators.
    pub message: String,
    pub at_ms: u64,
}

impl LinkView {
    /// A neighbour that was never heard.
    pub fn never(path: NodePath) -> Self {
        Self {
            path,
            connected: false,
            position: 0,
            numbering: [0; 16],
            head: 0,
            applied: 0,
            repeated: 0,
            quarantined: 0,
            settled: 0,
            heard_ms: 0,
            progress_ms: 0,
            clock_offset_ms: 0,
            newest_record_ms: BTreeMap::new(),
            last_error: None,
            stalled: None,
            below: BTreeMap::new(),
            below_ms: 0,
            proven_ms: 0,
            proven_position: 0,
            proven_records: 0,
            repaired: 0,
            retracted: 0,
            mended: 0,
            retracted_late: 0,
            surplus: 0,
            disproven: None,
        }
    }

    /// Positions between what was applied and the sender's head when last heard.
    pub fn behind(&self) -> u64 {
        self.head.saturating_sub(self.position)
    }

    /// How the link is, and if it is not green, why and what to do.
    pub fn health(&self, now_ms: u64) -> (Health, String) {
        let silent_ms = now_ms.saturating_sub(self.heard_ms);
        let still_ms = now_ms.saturating_sub(self.progress_ms);
        let last = self.last_error.as_ref().map_or_else(String::new, |last| format!(": {}", last.message));
        if !self.connected && self.last_error.as_ref().is_some_and(LinkTrouble::is_refusal) {
            return (Health::Red, format!("refused{last}"));
        }
        if let Some(waits) = self.last_error.as_ref().filter(|last| !self.connected && last.is_own_wait()) {
            let long = now_ms.saturating_sub(waits.at_ms) >= STALL_MS;
            return (if long { Health::Red } else { Health::Amber }, waits.message.clone());
        }
        if self.heard_ms == 0 {
            return (
                Health::Red,
                format!("never connected{last}; check addresses, certificates and that the other node runs"),
            );
        }
        if let Some(why) = &self.stalled {
            let health = if still_ms >= STALL_MS { Health::Red } else { Health::Amber };
            return (health, format!("the store takes no records: {why}"));
        }
        if silent_ms >= STALL_MS {
            let silent_s = silent_ms / 1000;
            return (
                Health::Red,
                format!("nothing heard for {silent_s} s{last}; check the network and the other node"),
            );
        }
        if self.behind() > 0 && still_ms >= STALL_MS {
            let (behind, still_s) = (self.behind(), still_ms / 1000);
            return (
                Health::Red,
                format!(
                    "{behind} commits behind without progress for {still_s} s; look at the receiver's log and disk"
                ),
            );
        }
        if let Some(why) = &self.disproven {
            return (Health::Red, why.clone());
        }
        if !self.connected {
            return (Health::Amber, format!("not connected{last}; it connects again by itself"));
        }
        let open = self.quarantined.saturating_sub(self.settled);
        if open > 0 {
            let why = format!(
                "{open} of the quarantined records not settled; `tiermesh quarantine` at the node that received them says which and why"
            );
            return (Health::Amber, why);
        }
        if self.surplus > 0 {
            let why = format!(
                "the child holds {} records from outside its subtree of which this node knows nothing or less; if it lost records they are on their way, else look where the child has them from",
                self.surplus
            );
            return (Health::Amber, why);
        }
        (Health::Green, String::new())
    }
}

impl LinkTrouble {
    /// Whether somebody must act, because connecting again leads to the same answer.
    pub fn is_refusal(&self) -> bool {
        let passes = ["BROKEN", "SILENT", "REPLACED", "NOT_READY", "NO_CONNECTION"];
        !self.is_own_wait() && !passes.contains(&self.reason.as_str())
    }

    /// Whether this node itself does not ship yet.
    fn is_own_wait(&self) -> bool {
        matches!(self.reason.as_str(), "NOT_BEGUN" | "NOT_ADMITTED")
    }
}

type Views = Arc<Mutex<BTreeMap<NodePath, LinkView>>>;

/// Which feeds a handle shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Shown {
    #[default]
    Up,
    Down,
    Restores,
}

/// The links of one node. Cheap to clone; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Links {
    shown: Shown,
    /// The feeds to parents.
    ups: Views,
    /// The neighbour to which this node sends, and the end of its own log.
    sends: Arc<OnceLock<(NodePath, watch::Receiver<u64>)>>,
    /// The feeds from parents to children, and those that restore children.
    downs: Views,
    restores: Views,
    judged: Judged,
}

impl Links {
    pub fn new() -> Self {
        Self::default()
    }

    /// The down feeds: from the parent, and to the children.
    #[must_use]
    pub fn down(&self) -> Self {
        Self { shown: Shown::Down, ..self.clone() }
    }

    /// The feeds by which lost records come back: from the parent, and to the children.
    #[must_use]
    pub fn restores(&self) -> Self {
        Self { shown: Shown::Restores, ..self.clone() }
    }

    fn views(&self) -> &Views {
        match self.shown {
            Shown::Up => &self.ups,
            Shown::Down => &self.downs,
            Shown::Restores => &self.restores,
        }
    }

    /// How far this node's log is judged, here and above.
    pub fn judged(&self) -> &Judged {
        &self.judged
    }

    /// Up to where a child's up feed has come, and in which numbering, while it ships.
    pub(crate) fn received(&self, child: &NodePath) -> Option<([u8; 16], u64)> {
        let ups = self.ups.lock();
        ups.get(child).filter(|link| link.connected).map(|link| (link.numbering, link.position))
    }

    /// A session begins: in which numbering its positions are, and where it stands.
    pub(crate) fn received_in(&self, path: &NodePath, numbering: [u8; 16], position: u64) {
        self.change(path, |link| (link.numbering, link.position) = (numbering, position));
    }

    /// The link to one neighbour, if it was ever heard.
    pub fn view(&self, path: &NodePath) -> Option<LinkView> {
        self.views().lock().get(path).map(|link| self.with_own_head(link))
    }

    /// All links, by path.
    pub fn all(&self) -> Vec<LinkView> {
        self.views().lock().values().map(|link| self.with_own_head(link)).collect()
    }

    /// Whether a session of the feed is alive.
    pub fn is_connected(&self, path: &NodePath) -> bool {
        self.views().lock().get(path).is_some_and(|link| link.connected)
    }

    /// This node's clock when the neighbour was last heard; 0: never.
    pub fn heard_ms(&self, path: &NodePath) -> u64 {
        self.views().lock().get(path).map_or(0, |link| link.heard_ms)
    }

    /// Positions between what was applied and the sender's head: its own log's end here, what it said when last heard elsewhere.
    pub fn behind(&self, path: &NodePath) -> u64 {
        self.view(path).map_or(0, |link| link.behind())
    }

    /// Notes what a child says of the nodes below it; of others it cannot speak.
    pub(crate) fn told_of(&self, child: &NodePath, below: Vec<NodeSeen>, now_ms: u64) {
        let below = below.into_iter().filter(|seen| child.contains(&seen.path) && seen.path != *child);
        self.change(child, |link| {
            link.below = below.map(|seen| (seen.path.clone(), seen)).collect();
            link.below_ms = now_ms;
        });
    }

    /// The nodes below `own`, as seen from here: the children themselves, those further down as the children tell. A child that
    /// the directory knows and that has not been heard since the start is there too.
    pub fn below(&self, own: &NodePath, directory: &DirectoryView, now_ms: u64) -> Vec<NodeSeen> {
        let views = self.views().lock();
        let mut seen: BTreeMap<NodePath, NodeSeen> = BTreeMap::new();
        for node in directory.nodes().filter(|node| own.is_parent_of(&node.path)) {
            let silent =
                NodeSeen { path: node.path.clone(), connected: false, heard_ago_ms: None, behind: 0 };
            seen.insert(node.path.clone(), silent);
        }
        for link in views.values().filter(|link| own.is_parent_of(&link.path)) {
            let heard_ago_ms = (link.heard_ms > 0).then(|| now_ms.saturating_sub(link.heard_ms));
            let child = NodeSeen {
                path: link.path.clone(),
                connected: link.connected,
                heard_ago_ms,
                behind: link.behind(),
            };
            seen.insert(link.path.clone(), child);
            let since_ms = now_ms.saturating_sub(link.below_ms);
            for further in link.below.values() {
                // Nobody hears of it while the child between is away.
                let connected = further.connected && link.connected;
                let heard_ago_ms = further.heard_ago_ms.map(|ago| ago.saturating_add(since_ms));
                seen.insert(further.path.clone(), NodeSeen { connected, heard_ago_ms, ..further.clone() });
            }
        }
        // Nothing is missing without a node that handed everything over.
        let gone = |path: &NodePath| {
            directory.origin_at(path).is_some_and(|node| directory.successor(&node).is_some())
        };
        seen.retain(|path, node| node.connected || !gone(path));
        seen.into_values().take(MAX_BELOW).collect()
    }

    /// What this node sends to `path` ends where its log ends, also while nobody listens.
    pub(crate) fn sends(&self, path: NodePath, head: watch::Receiver<u64>) {
        // A second sender of the same node has the same log.
        let _ = self.sends.set((path, head));
    }

    fn with_own_head(&self, link: &LinkView) -> LinkView {
        let mut link = link.clone();
        // Before the first welcome of this process the parent's position is not known, so neither is the difference.
        let sends = self.sends.get().filter(|_| self.shown == Shown::Up);
        if let Some((_, head)) = sends.filter(|(path, _)| *path == link.path && link.heard_ms > 0) {
            link.head = link.head.max(*head.borrow());
        }
        link
    }

    /// Notes that a neighbour could not be reached or refused; the transport calls this for what happens before a session.
    pub fn failed(&self, path: &NodePath, reason: &str, message: &str, now_ms: u64) {
        self.change(path, |link| {
            link.connected = false;
            link.stalled = None;
            link.last_error =
                Some(LinkTrouble { reason: reason.into(), message: message.into(), at_ms: now_ms });
        });
    }

    /// Notes why a session ended, whatever has come after it.
    pub(crate) fn noted(&self, path: &NodePath, reason: &str, message: &str, now_ms: u64) {
        let trouble = LinkTrouble { reason: reason.into(), message: message.into(), at_ms: now_ms };
        self.change(path, |link| link.last_error = Some(trouble));
    }

    pub(crate) fn change<T>(&self, path: &NodePath, change: impl FnOnce(&mut LinkView) -> T) -> T {
        change(self.views().lock().entry(path.clone()).or_insert_with(|| LinkView::never(path.clone())))
    }

    /// A session is welcome: where the feed stands.
    pub(crate) fn welcomed(&self, path: &NodePath, position: u64, head: u64, offset_ms: i64, now_ms: u64) {
        self.change(path, |link| {
            (link.connected, link.last_error, link.stalled) = (true, None, None);
            (link.position, link.head) = (position, head);
            (link.heard_ms, link.progress_ms) = (now_ms, now_ms);
            link.clock_offset_ms = offset_ms;
        });
    }

    /// The neighbour was heard; its head, if this end receives.
    pub(crate) fn heard(&self, path: &NodePath, head: Option<u64>, now_ms: u64) {
        self.change(path, |link| {
            // Being caught up until now is progress: what is new has not had its time yet.
            if link.behind() == 0 {
                link.progress_ms = now_ms;
            }
            link.heard_ms = now_ms;
            link.head = head.unwrap_or(link.head).max(link.position);
        });
    }

    /// Both ends hold the same.
    pub(crate) fn proven(&self, path: &NodePath, position: u64, records: u64, now_ms: u64) {
        self.change(path, |link| {
            link.proven_position = position;
            (link.proven_ms, link.proven_records, link.disproven) = (now_ms, records, None);
        });
    }

    /// They do not, and shipping again does not help.
    pub(crate) fn disproven(&self, path: &NodePath, why: String) {
        tracing::error!(neighbour = %path, why, "the two ends of a link hold different records");
        self.change(path, |link| link.disproven = Some(why));
    }

    /// The position moved, or was confirmed.
    pub(crate) fn moved(&self, path: &NodePath, position: u64, counted: Counted, now_ms: u64) {
        self.change(path, |link| {
            if position > link.position || link.behind() == 0 {
                link.progress_ms = now_ms;
            }
            link.position = position;
            link.head = link.head.max(position);
            link.applied += counted.applied;
            link.repeated += counted.repeated;
            link.quarantined += counted.quarantined;
            link.stalled = None;
        });
    }
}

/// What became of the records of one batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    pub applied: u64,
    pub repeated: u64,
    pub quarantined: u64,
}

#[cfg(test)]
mod tests;
