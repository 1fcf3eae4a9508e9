//! The node about itself, for operators, the parent and tools. Tells what is so, never what should be.

use std::sync::atomic::Ordering;

use model::NodePath;
use replication::{Health, LinkView};

use crate::caller::{Action, Caller, Role, permit};
use crate::{Exchange, ExchangeError, Hop, JudgeStatus, Node, ScrubStatus, TakeOver};

/// The node now.
#[derive(Debug, Clone)]
pub struct Status {
    pub node: Node,
    pub now_ms: u64,
    pub started_ms: u64,
    /// None when writes are accepted; otherwise why not and what to do.
    pub not_writing: Option<String>,
    /// Counter of the current epoch; 0 before the first.
    pub epoch: u32,
    /// How the node itself is, apart from its links.
    pub health: Health,
    /// Why it is not green, and what to do.
    pub reason: String,
    pub store: store::StoreStatus,
    pub scrub: ScrubStatus,
    pub linker: JudgeStatus,
    /// This node's clock when there was last nothing more to reclaim; 0 before the first time.
    pub reclaimed_ms: u64,
    /// What the store found at its start.
    pub opened: String,
    pub open_ms: u64,
    pub content_objects: u64,
    pub content_bytes: u64,
    /// None for a root.
    pub parent: Option<LinkStatus>,
    /// Every child heard of. Empty for callers who may not see links.
    pub children: Vec<LinkStatus>,
    /// The down feed from the parent, and those to the children.
    pub parent_down: Option<LinkStatus>,
    pub children_down: Vec<LinkStatus>,
    pub certificate_not_after_ms: u64,
}

/// One link now.
#[derive(Debug, Clone)]
pub struct LinkStatus {
    pub health: Health,
    /// Why it is not green, and what to do.
    pub reason: String,
    /// Whether a call over it would go out now.
    pub callable: bool,
    pub link: LinkView,
}

/// How a node is, apart from its links, and if it is not green, why and what to do.
fn health(not_writing: Option<&str>, store: &store::StoreStatus, scrub: &ScrubStatus) -> (Health, String) {
    if let Some(why) = not_writing {
        return (Health::Red, why.to_owned());
    }
    if scrub.lost > 0 {
        let why = format!(
            "{} records are damaged and no neighbour has them: put back a good copy of the damaged segments of the log, or have them filed again",
            scrub.lost
        );
        return (Health::Red, why);
    }
    if scrub.damaged > 0 {
        let why = format!(
            "{} records are damaged; the neighbours that have them are asked again by themselves: check the links and the disk",
            scrub.damaged
        );
        return (Health::Amber, why);
    }
    if store.damaged.iter().any(|place| !place.healed) {
        return (Health::Amber, "the log is damaged; what was there is being looked for".to_owned());
    }
    if !store.damaged.is_empty() {
        let why = format!(
            "the log has damaged places ({} found since the start); no record is lost; until their segments are rewritten the index cannot be made again from this log: check the disk",
            store.damaged_found
        );
        return (Health::Amber, why);
    }
    (Health::Green, String::new())
}

/// How long before its end a certificate is to be renewed.
const RENEW_MS: u64 = 30 * 24 * 3600 * 1000;

/// What there is to say of the node's certificate; none while nothing is to be done.
fn certificate_health(not_after_ms: u64, now_ms: u64) -> Option<(Health, String)> {
    let left_ms = not_after_ms.saturating_sub(now_ms);
    let renew = "have the node above issue a new one (`ca issue node`) and copy node.pem and node.key of it into the identity folder; then start anew";
    match left_ms {
        0 => Some((
            Health::Red,
            format!("the node's certificate has ended, and no neighbour talks to it: {renew}"),
        )),
        RENEW_MS.. => None,
        left_ms => {
            let days = left_ms / (24 * 3600 * 1000);
            Some((Health::Amber, format!("the node's certificate ends in {days} days: {renew}")))
        }
    }
}

impl Exchange {
    /// The node's status. Institutions see no link details.
    pub fn status(&self, caller: &Caller) -> Result<Status, ExchangeError> {
        let _permit = permit(caller, Action::Status, &self.parts.node.path)?;
        let links = !matches!(caller.role, Role::Institution { .. });
        let parts = &self.parts;
        let now_ms = parts.clock.now_ms();
        let content = parts.repository.status();
        let (not_writing, store, scrub) = (self.not_writing(), parts.store.status(), self.scrubber.status());
        let (health, reason) = self.own_health(health(not_writing.as_deref(), &store, &scrub));
        let view = parts.directory.snapshot();
        let gone = |path: &NodePath| {
            let next = view.origin_at(path).filter(|node| view.successor(node).is_some());
            next.map(|node| view.stands_for(&node)).and_then(|next| view.path_of(&next).cloned())
        };
        let status = |link: LinkView, hop: Hop| {
            let (health, reason) = match gone(&link.path).filter(|_| !link.connected) {
                Some(next) => (Health::Green, format!("it has handed over to {next}; it need not come back")),
                None => link.health(now_ms),
            };
            LinkStatus { health, reason, callable: parts.peers.callable(&hop), link }
        };
        let parent = parts.node.path.parent().filter(|_| links).map(|path| {
            let link = parts.links.view(&path).unwrap_or_else(|| LinkView::never(path));
            status(link, Hop::Parent)
        });
        let children =
            parts.links.all().into_iter().filter(|link| links && parts.node.path.is_parent_of(&link.path));
        let mut parent_down = None;
        let mut children_down = Vec::new();
        for link in parts.links.down().all().into_iter().filter(|_| links) {
            if link.path.is_parent_of(&parts.node.path) {
                parent_down = Some(status(link, Hop::Parent));
            } else if parts.node.path.is_parent_of(&link.path) {
                let hop = Hop::Child(link.path.clone());
                children_down.push(status(link, hop));
            }
        }
        Ok(Status {
            node: parts.node.clone(),
            now_ms,
            started_ms: self.started_ms,
            not_writing,
            health,
            reason,
            epoch: parts.store.last_epoch().map_or(0, |epoch| epoch.counter),
            store,
            scrub,
            linker: self.judge.status(),
            reclaimed_ms: self.reclaimer.looked_ms(),
            opened: parts.opened.clone(),
            open_ms: parts.open_ms,
            content_objects: content.objects,
            content_bytes: content.bytes,
            parent,
            children: children
                .map(|link| {
                    let hop = Hop::Child(link.path.clone());
                    status(link, hop)
                })
                .collect(),
            parent_down,
            children_down,
            certificate_not_after_ms: parts.certificate_not_after_ms,
        })
    }

    /// The worst of what can be said of the node itself.
    fn own_health(&self, of_records: (Health, String)) -> (Health, String) {
        let known = if of_records.0 == Health::Green { self.succession_health() } else { of_records };
        let certificate = certificate_health(self.parts.certificate_not_after_ms, self.parts.clock.now_ms());
        certificate.filter(|_| known.0 != Health::Red).unwrap_or(known)
    }

    /// How far this node is with taking over from another, or another from it.
    fn succession_health(&self) -> (Health, String) {
        let TakeOver { documents, missing, missing_bytes } = self.taking_over();
        if missing > 0 {
            let why = format!(
                "{missing} of {documents} documents ({missing_bytes} bytes) of nodes that this one stands for are still there: keep those running until all are here"
            );
            return (Health::Amber, why);
        }
        let handed = self.handed_over_to().map(|to| {
            format!(
                "this node has handed over to {to}; stop it when that one has no documents to fetch any more"
            )
        });
        (Health::Green, handed.unwrap_or_default())
    }

    /// The parent's words when it refused this node, for example because the node's disk was lost and it must be restored first.
    fn refused_by(&self, parent: &NodePath) -> Option<String> {
        let link = self.parts.links.view(parent)?;
        let last = link.last_error.filter(|last| last.is_refusal() && !link.connected)?;
        Some(format!(": {}", last.message))
    }

    /// Why writes are refused now, and what to do; none when they are accepted.
    pub fn not_writing(&self) -> Option<String> {
        let store = self.parts.store.status();
        if store.log_failed {
            return Some(
                "a write to the log failed: look at the disk and restart the node; reads go on".into(),
            );
        }
        if store.index_failed {
            return Some("the index failed: restart the node, which rebuilds it from the log".into());
        }
        if store.disk_full {
            return Some("the disk is full: free room; writes resume by themselves".into());
        }
        if self.writing.load(Ordering::SeqCst) {
            return None;
        }
        Some(match self.parts.node.path.parent() {
            Some(parent) if replication::is_restoring(&self.parts.store) => {
                let restore = parts_of_restore(&self.parts.links.restores(), &parent);
                format!("this node lost its records and {parent} is sending them back{restore}")
            }
            Some(parent) if self.refused_by(&parent).is_some() => {
                format!("{parent} refuses this node{}", self.refused_by(&parent).unwrap_or_default())
            }
            Some(parent) if self.parts.store.last_epoch().is_none() => {
                format!(
                    "the store is empty and waits for {parent} to say that it knows nothing of this node: check the link"
                )
            }
            _ => "the node is starting".into(),
        })
    }
}

/// How far a restore is, in words.
fn parts_of_restore(links: &replication::Links, parent: &NodePath) -> String {
    links.view(parent).map_or_else(String::new, |link| {
        format!(": {} records so far, at position {} of {}", link.applied, link.position, link.head)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_to_be_renewed_in_time() {
        let of = |left_ms: u64| certificate_health(1_000_000 + left_ms, 1_000_000).map(|(health, _)| health);
        assert_eq!(of(RENEW_MS), None);
        assert_eq!(of(RENEW_MS - 1), Some(Health::Amber));
        assert_eq!(of(1), Some(Health::Amber));
        assert_eq!(of(0), Some(Health::Red));
        assert_eq!(certificate_health(0, 1_000_000).map(|(health, _)| health), Some(Health::Red));
    }
}
