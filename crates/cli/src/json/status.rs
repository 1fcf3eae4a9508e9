//! JSON of a node's status: the fields of `NodeStatus` in `proto/tiermesh/v1/node.proto`.

use serde::Serialize;
use wire::v1;

#[derive(Serialize)]
pub(crate) struct Status {
    pub path: String,
    pub name: String,
    pub tier: String,
    pub trust_domain: String,
    pub software: String,
    pub origin: String,
    pub now_ms: u64,
    pub started_ms: u64,
    pub writing: bool,
    pub not_writing_reason: String,
    pub epoch: u32,
    pub certificate_not_after_ms: u64,
    /// Of the node itself, apart from its links: `green`, `amber`, `red` or `unknown`.
    pub health: &'static str,
    pub reason: String,
    pub store: Store,
    pub content: Content,
    pub linker: Linker,
    /// Null on a root, and for callers that may not see links.
    pub parent: Option<Link>,
    pub children: Vec<Link>,
    /// The down feed from the parent, and those to the children.
    pub parent_down: Option<Link>,
    pub children_down: Vec<Link>,
}

/// What decides which registrations are one person.
#[derive(Serialize)]
pub(crate) struct Linker {
    pub judged: u64,
    pub registrations: u64,
    pub persons: u64,
    pub loading: bool,
    pub links: u64,
    pub written: u64,
    pub refused: u64,
    pub held_up: String,
    pub model: String,
    pub reviews: u64,
}

#[derive(Serialize)]
pub(crate) struct Store {
    pub head: u64,
    pub log_bytes: u64,
    pub record_bytes: u64,
    pub index_bytes: u64,
    pub registrations: u64,
    pub document_entries: u64,
    pub directory_records: u64,
    pub quarantined: u64,
    pub index: String,
    pub disk_full: bool,
    pub corrupt: Vec<String>,
    pub opened: String,
    pub open_ms: u64,
    pub scrubbed_upto: u64,
    pub scrubbing: bool,
    pub scrub_passes: u64,
    pub scrub_passed_ms: u64,
    pub scrub_days: u32,
    pub damaged_places: u64,
    pub repaired_records: u64,
    pub damaged_records: u64,
    pub lost_records: u64,
    pub mended: Vec<String>,
    pub dead_bytes: u64,
    pub reclaimed_bytes: u64,
    pub reclaiming: bool,
    pub reclaimed_ms: u64,
    pub reclaim_held_up: String,
}

#[derive(Serialize)]
pub(crate) struct Content {
    pub objects: u64,
    pub bytes: u64,
}

#[derive(Serialize)]
pub(crate) struct Link {
    pub path: String,
    /// `green`, `amber`, `red` or `unknown`.
    pub health: &'static str,
    pub reason: String,
    pub connected: bool,
    pub callable: bool,
    pub position: u64,
    pub head: u64,
    pub applied: u64,
    pub repeated: u64,
    pub quarantined: u64,
    pub heard_ms: u64,
    pub clock_offset_ms: i64,
    pub progress_ms: u64,
    pub proven_ms: u64,
    pub proven_position: u64,
    pub proven_records: u64,
    pub repaired: u64,
}

/// The word for a link's health.
pub(crate) fn health(health: v1::Health) -> &'static str {
    match health {
        v1::Health::Green => "green",
        v1::Health::Amber => "amber",
        v1::Health::Red => "red",
        v1::Health::Unspecified => "unknown",
    }
}

impl From<v1::NodeStatus> for Status {
    fn from(status: v1::NodeStatus) -> Self {
        let health_now = health(status.health());
        let store = status.store.unwrap_or_default();
        let content = status.content.unwrap_or_default();
        let linker = status.linker.unwrap_or_default();
        Self {
            health: health_now,
            reason: status.reason,
            path: status.path,
            name: status.name,
            tier: status.tier,
            trust_domain: status.trust_domain,
            software: status.software,
            origin: status.origin,
            now_ms: status.now_ms,
            started_ms: status.started_ms,
            writing: status.writing,
            not_writing_reason: status.not_writing_reason,
            epoch: status.epoch,
            certificate_not_after_ms: status.certificate_not_after_ms,
            store: store.into(),
            content: Content { objects: content.objects, bytes: content.bytes },
            linker: linker.into(),
            parent: status.parent.map(Link::from),
            children: status.children.into_iter().map(Link::from).collect(),
            parent_down: status.parent_down.map(Link::from),
            children_down: status.children_down.into_iter().map(Link::from).collect(),
        }
    }
}

impl From<v1::LinkerStatus> for Linker {
    fn from(linker: v1::LinkerStatus) -> Self {
        Self {
            judged: linker.judged,
            registrations: linker.registrations,
            persons: linker.persons,
            loading: linker.loading,
            links: linker.links,
            written: linker.written,
            refused: linker.refused,
            held_up: linker.held_up,
            model: linker.model,
            reviews: linker.reviews,
        }
    }
}

impl From<v1::StoreStatus> for Store {
    fn from(store: v1::StoreStatus) -> Self {
        Self {
            head: store.head,
            log_bytes: store.log_bytes,
            record_bytes: store.record_bytes,
            index_bytes: store.index_bytes,
            registrations: store.registrations,
            document_entries: store.document_entries,
            directory_records: store.directory_records,
            quarantined: store.quarantined,
            index: store.index,
            disk_full: store.disk_full,
            corrupt: store.corrupt,
            opened: store.opened,
            open_ms: store.open_ms,
            scrubbed_upto: store.scrubbed_upto,
            scrubbing: store.scrubbing,
            scrub_passes: store.scrub_passes,
            scrub_passed_ms: store.scrub_passed_ms,
            scrub_days: store.scrub_days,
            damaged_places: store.damaged_places,
            repaired_records: store.repaired_records,
            damaged_records: store.damaged_records,
            lost_records: store.lost_records,
            mended: store.mended,
            dead_bytes: store.dead_bytes,
            reclaimed_bytes: store.reclaimed_bytes,
            reclaiming: store.reclaiming,
            reclaimed_ms: store.reclaimed_ms,
            reclaim_held_up: store.reclaim_held_up,
        }
    }
}

impl From<v1::LinkStatus> for Link {
    fn from(link: v1::LinkStatus) -> Self {
        Self {
            health: health(link.health()),
            path: link.path,
            reason: link.reason,
            connected: link.connected,
            callable: link.callable,
            position: link.position,
            head: link.head,
            applied: link.applied,
            repeated: link.repeated,
            quarantined: link.quarantined,
            heard_ms: link.heard_ms,
            clock_offset_ms: link.clock_offset_ms,
            progress_ms: link.progress_ms,
            proven_ms: link.proven_ms,
            proven_position: link.proven_position,
            proven_records: link.proven_records,
            repaired: link.repaired,
        }
    }
}
