//! Where a feed goes, and which records stand in it.

use std::sync::Arc;

use model::feed::Direction;
use model::{Envelope, Flow, KeyId, NodePath, OriginId, Record};
use store::ReadError;

use super::Sender;
use super::express::Lanes;
use crate::flow::{class_goes_up, known};
use crate::interest::{Interest, Moves, Selected, Selection, concerns_down, flow_concerns_down};
use crate::restore::Restores;
use crate::{Confirmations, DirectoryView, flows_up, proof};

/// Registrations that a slice of a down feed looks at: each may bring its whole person.
const MAX_LOOKED_AT: usize = 128;

/// The rule of a feed.
#[derive(Debug, Clone)]
pub(super) enum Route {
    /// To the parent: all of this node's subtree that flows up.
    Up,
    /// To a child: what concerns it and is not of its own subtree.
    Down(Arc<dyn Interest>),
    /// To a child that lost its records: those of its own subtree.
    Restore,
}

impl Route {
    pub fn direction(&self) -> Direction {
        match self {
            Self::Up => Direction::Up,
            Self::Down(_) => Direction::Down,
            Self::Restore => Direction::Restore,
        }
    }

    pub fn is_up(&self) -> bool {
        matches!(self, Self::Up)
    }

    /// What selects for a session, if the envelopes alone do not.
    pub fn selection(&self, to: &NodePath, began: u64, view: Arc<DirectoryView>) -> Option<Selection> {
        match self {
            Self::Down(interest) => {
                Some(Selection::new(Arc::clone(interest), to.clone(), Moves::new(began, view)))
            }
            Self::Up | Self::Restore => None,
        }
    }

    /// What goes ahead of a backlog; none in a restore, where everything is waited for.
    pub fn lanes(&self, thin: bool) -> Option<Lanes> {
        match self {
            Self::Up => Some(Lanes { of_persons: true, thin }),
            Self::Down(_) => Some(Lanes { of_persons: false, thin }),
            Self::Restore => None,
        }
    }

    pub fn max_records(&self, settings: usize) -> usize {
        if matches!(self, Self::Down(_)) { settings.min(MAX_LOOKED_AT) } else { settings }
    }

    /// Whether a record with this envelope is to be looked at.
    pub fn takes(&self, envelope: &Envelope, view: &DirectoryView, own: &NodePath, to: &NodePath) -> bool {
        match self {
            Self::Up => proof::ships_up(view, &envelope.key_id, own) && flows_up(envelope),
            Self::Down(_) => concerns_down(envelope),
            Self::Restore => view.key_path(&envelope.key_id).is_some_and(|path| to.contains(path)),
        }
    }

    /// The same as far as signing key and flow class say.
    pub fn may_take(
        &self,
        signer: &KeyId,
        flow: u32,
        view: &DirectoryView,
        own: &NodePath,
        to: &NodePath,
    ) -> bool {
        match self {
            Self::Up => proof::ships_up(view, signer, own) && class_goes_up(flow),
            Self::Down(_) => flow_concerns_down(known(flow)),
            Self::Restore => view.key_path(signer).is_some_and(|path| to.contains(path)),
        }
    }
}

impl Route {
    /// Whether the other end takes a directory record in this feed that others need: not what it must have itself.
    pub fn carries(&self, envelope: &Envelope, view: &DirectoryView, own: &NodePath, to: &NodePath) -> bool {
        match self {
            // What those above decided they may have lost.
            Self::Up => {
                view.key_path(&envelope.key_id).is_none_or(|path| own.contains(path) || path.contains(own))
            }
            Self::Down(_) => view.key_path(&envelope.key_id).is_none_or(|path| !to.contains(path)),
            Self::Restore => true,
        }
    }
}

/// What a parent lost and asks its children for: its links of earlier epochs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lost {
    pub by: OriginId,
    /// 0: it lost nothing.
    pub before: u32,
}

impl Lost {
    /// Whether this is one of them.
    pub fn was(&self, envelope: &Envelope) -> bool {
        envelope.known_flow() == Some(Flow::Link)
            && envelope.origin == self.by
            && envelope.version.epoch < self.before
    }
}

/// Makes the senders to children. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Children {
    /// With everything that does not depend on the child.
    template: Sender,
    interest: Arc<dyn Interest>,
    restores: Restores,
}

impl Children {
    /// `like` is any sender of this node; its settings are taken over.
    pub fn new(like: &Sender, interest: Arc<dyn Interest>, restores: Restores) -> Self {
        Self { template: like.clone(), interest, restores }
    }

    /// The down feed of a child.
    pub fn down(&self, child: &NodePath) -> Sender {
        self.to(child, Route::Down(Arc::clone(&self.interest)))
    }

    /// Sends a child its own records back; its session ends by itself.
    pub fn restore(&self, child: &NodePath) -> Sender {
        self.to(child, Route::Restore)
    }

    /// Which children need that.
    pub fn restores(&self) -> &Restores {
        &self.restores
    }

    fn to(&self, child: &NodePath, route: Route) -> Sender {
        let links = match route {
            Route::Restore => self.template.links.restores(),
            Route::Up | Route::Down(_) => self.template.links.down(),
        };
        Sender {
            to: Some(child.clone()),
            links,
            route,
            // Each child's own wish counts, and not the line to this node's parent.
            line_bytes_per_s: None,
            welcome: Arc::default(),
            confirmations: Confirmations::default(),
            ..self.template.clone()
        }
    }
}

/// Selects from a slice what goes.
pub(super) async fn select(
    selection: Option<&mut Selection>,
    records: Vec<Record>,
    after: u64,
    view: &DirectoryView,
    store: &store::Store,
) -> Result<Selected, ReadError> {
    match selection {
        Some(selection) => selection.of(records, after, view, store).await,
        None => Ok(Selected { records, retractions: Vec::new() }),
    }
}
