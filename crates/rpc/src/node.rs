//! `NodeService`: identify, convert, call, convert back.

mod quarantine;

use std::sync::Arc;

use exchange::feed::Health;
use exchange::{
    Exchange, HandOver, HandedOver, HeldUp, InstitutionAt, InstitutionMove, MoveInstitution, MoveLink,
    MoveOutcome, ScrubStatus, Status as NodeState, StoreStatus as StoreState,
};
use model::{Clock, Kind};
use tonic::{Request, Response, Status};
use wire::{ConvertError, v1};

use crate::caller::identify;
use crate::error::{malformed, to_status};

/// The service over a node's use cases.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub exchange: Exchange,
    pub clock: Arc<dyn Clock>,
}

#[tonic::async_trait]
impl v1::node_service_server::NodeService for Node {
    async fn get_status(
        &self,
        request: Request<v1::GetStatusRequest>,
    ) -> Result<Response<v1::NodeStatus>, Status> {
        let caller = identify(&request)?;
        let status = self.exchange.status(&caller).map_err(to_status)?;
        Ok(Response::new(node_status(status)))
    }

    async fn ping(&self, request: Request<v1::PingRequest>) -> Result<Response<v1::PingReply>, Status> {
        identify(&request)?;
        Ok(Response::new(v1::PingReply { now_ms: self.clock.now_ms() }))
    }

    async fn scrub(&self, request: Request<v1::ScrubRequest>) -> Result<Response<v1::ScrubReply>, Status> {
        let caller = identify(&request)?;
        let pass = self.exchange.scrub(&caller).map_err(to_status)?;
        Ok(Response::new(v1::ScrubReply { pass }))
    }

    async fn move_institution(
        &self,
        request: Request<v1::MoveInstitutionRequest>,
    ) -> Result<Response<v1::MoveInstitutionReply>, Status> {
        let caller = identify(&request)?;
        let asked = request.into_inner();
        let to = asked.to.parse().map_err(|_| malformed(ConvertError { field: "to", rule: "a path" }))?;
        let from = |text: &str| match text {
            "" => Ok(None),
            text => text.parse().map(Some),
        };
        let expected_from = from(&asked.expected_from)
            .map_err(|_| malformed(ConvertError { field: "expected_from", rule: "a path" }))?;
        let v1::MoveInstitutionRequest { code, dry_run, without_old_writer, .. } = asked;
        let request = MoveInstitution { code, to, dry_run, without_old_writer, expected_from };
        let moved = self.exchange.move_institution(&caller, request).await.map_err(to_status)?;
        Ok(Response::new(move_reply(moved)))
    }

    async fn hand_over(
        &self,
        request: Request<v1::HandOverRequest>,
    ) -> Result<Response<v1::HandOverReply>, Status> {
        let caller = identify(&request)?;
        let v1::HandOverRequest { from, to, dry_run } = request.into_inner();
        let path =
            |text: &str, field| text.parse().map_err(|_| malformed(ConvertError { field, rule: "a path" }));
        let request = HandOver { from: path(&from, "from")?, to: path(&to, "to")?, dry_run };
        let HandedOver { outcome, documents, bytes } =
            self.exchange.hand_over(&caller, request).await.map_err(to_status)?;
        Ok(Response::new(v1::HandOverReply { outcome: outcome_to_wire(outcome).into(), documents, bytes }))
    }

    async fn list_institutions(
        &self,
        request: Request<v1::ListInstitutionsRequest>,
    ) -> Result<Response<v1::ListInstitutionsReply>, Status> {
        let caller = identify(&request)?;
        let asked = request.into_inner();
        let writer =
            asked.writer.parse().map_err(|_| malformed(ConvertError { field: "writer", rule: "a path" }))?;
        let found = self.exchange.institutions(&caller, &writer, &asked.after).map_err(to_status)?;
        let institution =
            |InstitutionAt { code, name, term, leaving }| v1::InstitutionAt { code, name, term, leaving };
        let institutions = found.institutions.into_iter().map(institution).collect();
        Ok(Response::new(v1::ListInstitutionsReply { institutions, more: found.more }))
    }

    async fn list_quarantine(
        &self,
        request: Request<v1::ListQuarantineRequest>,
    ) -> Result<Response<v1::ListQuarantineReply>, Status> {
        let caller = identify(&request)?;
        let asked = request.into_inner();
        let (limit, after) = (quarantine::page_size(asked.page_size)?, quarantine::place(&asked.page_token)?);
        let page = self.exchange.quarantine(&caller, &asked.from, after, limit).await.map_err(to_status)?;
        Ok(Response::new(quarantine::reply(page)))
    }
}

fn outcome_to_wire(outcome: MoveOutcome) -> v1::MoveOutcome {
    match outcome {
        MoveOutcome::Possible => v1::MoveOutcome::Possible,
        MoveOutcome::Decided => v1::MoveOutcome::Decided,
        MoveOutcome::There => v1::MoveOutcome::There,
    }
}

fn move_reply(moved: InstitutionMove) -> v1::MoveInstitutionReply {
    let outcome = outcome_to_wire(moved.outcome);
    let awaited_term = moved.awaited.as_ref().map_or(0, |awaited| awaited.term);
    let awaited_writer = moved.awaited.and_then(|awaited| awaited.writer);
    v1::MoveInstitutionReply {
        outcome: outcome.into(),
        from: moved.from.to_string(),
        to: moved.to.to_string(),
        term: moved.term,
        registrations: moved.registrations,
        document_entries: moved.document_entries,
        withdrawn: moved.withdrawn,
        bytes: moved.bytes,
        travelling: moved.travelling,
        upto: moved.upto,
        from_link: moved.from_link.map(move_link),
        to_link: moved.to_link.map(move_link),
        awaited_term,
        awaited_writer: awaited_writer.map_or_else(String::new, |path| path.to_string()),
    }
}

fn move_link(link: MoveLink) -> v1::MoveLink {
    v1::MoveLink {
        path: link.path.to_string(),
        connected: link.connected,
        health: health(link.health).into(),
        reason: link.reason,
        position: link.position,
        head: link.head,
        proven_ms: link.proven_ms,
    }
}

fn node_status(status: NodeState) -> v1::NodeStatus {
    let NodeState { node, store, scrub, linker, .. } = status;
    v1::NodeStatus {
        path: node.path.to_string(),
        name: node.name,
        tier: node.tier,
        trust_domain: node.trust_domain.to_string(),
        software: node.software,
        origin: node.origin.to_string(),
        now_ms: status.now_ms,
        started_ms: status.started_ms,
        writing: status.not_writing.is_none(),
        not_writing_reason: status.not_writing.unwrap_or_default(),
        epoch: status.epoch,
        store: Some(v1::StoreStatus {
            opened: status.opened,
            open_ms: status.open_ms,
            reclaimed_ms: status.reclaimed_ms,
            ..store_status(&store, &scrub)
        }),
        content: Some(v1::ContentStatus { objects: status.content_objects, bytes: status.content_bytes }),
        parent: status.parent.map(link_status),
        children: status.children.into_iter().map(link_status).collect(),
        parent_down: status.parent_down.map(link_status),
        children_down: status.children_down.into_iter().map(link_status).collect(),
        certificate_not_after_ms: status.certificate_not_after_ms,
        health: health(status.health).into(),
        reason: status.reason,
        linker: Some(v1::LinkerStatus {
            judged: linker.judged,
            registrations: linker.registrations,
            persons: linker.persons,
            loading: !linker.loaded,
            links: store.live(Kind::Link as u32),
            written: linker.written,
            refused: linker.refused,
            held_up: linker.held_up,
            model: linker.model,
            reviews: linker.reviews,
        }),
    }
}

fn held_up(why: HeldUp) -> String {
    match why {
        HeldUp::NoRoom => "no room on the disk for a copy of a segment: free some".into(),
        HeldUp::Damaged => "a segment has damaged records that are not mended".into(),
        HeldUp::Failed(kind) => format!("the copy of a segment could not be written: {kind}"),
    }
}

fn store_status(store: &StoreState, scrub: &ScrubStatus) -> v1::StoreStatus {
    let count = |kind: Kind| store.live(kind as u32);
    let directory = [
        Kind::Node,
        Kind::Institution,
        Kind::Practitioner,
        Kind::SigningKey,
        Kind::Epoch,
        Kind::TermEnd,
        Kind::Succession,
    ];
    let places = |healed: bool| {
        let places = store.damaged.iter().filter(move |place| place.healed == healed);
        places
            .map(|place| format!("{} at byte {}, position {}", place.segment, place.offset, place.lsn))
            .collect()
    };
    v1::StoreStatus {
        head: store.head,
        log_bytes: store.log_bytes,
        record_bytes: store.live_bytes,
        index_bytes: store.index_bytes,
        registrations: count(Kind::Registration),
        document_entries: count(Kind::DocumentEntry),
        directory_records: directory.into_iter().map(count).sum(),
        quarantined: store.quarantined,
        index: index_name(&store.index),
        disk_full: store.disk_full,
        corrupt: places(false),
        syncs: store.syncs,
        commits: store.commits,
        scrubbed_upto: scrub.upto,
        scrubbing: scrub.running,
        scrub_passes: scrub.passes,
        scrub_passed_ms: scrub.passed_ms,
        scrub_days: scrub.every.map_or(0, |every| (every.as_secs() / 86_400) as u32),
        damaged_places: store.damaged_found,
        repaired_records: scrub.repaired,
        damaged_records: scrub.damaged,
        lost_records: scrub.lost,
        mended: places(true),
        dead_bytes: store.reclaim.dead_bytes,
        reclaimed_bytes: store.reclaim.reclaimed_bytes,
        reclaiming: store.reclaim.running,
        reclaim_held_up: store.reclaim.held_up.map_or_else(String::new, held_up),
        ..Default::default()
    }
}

fn health(health: Health) -> v1::Health {
    match health {
        Health::Green => v1::Health::Green,
        Health::Amber => v1::Health::Amber,
        Health::Red => v1::Health::Red,
    }
}

/// The name of the variant; where its files are is of no interest to a caller.
fn index_name(index: &impl std::fmt::Debug) -> String {
    format!("{index:?}").split('(').next().unwrap_or_default().to_lowercase()
}

fn link_status(status: exchange::LinkStatus) -> v1::LinkStatus {
    let link = status.link;
    v1::LinkStatus {
        path: link.path.to_string(),
        health: health(status.health).into(),
        reason: status.reason,
        connected: link.connected,
        callable: status.callable,
        position: link.position,
        head: link.head,
        applied: link.applied,
        repeated: link.repeated,
        quarantined: link.quarantined,
        heard_ms: link.heard_ms,
        clock_offset_ms: link.clock_offset_ms,
        progress_ms: link.progress_ms,
        proven_ms: link.proven_ms,
        proven_records: link.proven_records,
        repaired: link.repaired,
        proven_position: link.proven_position,
    }
}
