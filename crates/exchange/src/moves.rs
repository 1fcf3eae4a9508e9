//! Handing an institution from one node to another: the operator's call, and ending this node's own terms.
//!
//! Whoever is asked must be the lowest node above both writers. It commits one directory record; everything else follows by
//! itself, through any number of restarts (see `replication`'s directory, *moves*): the old writer refuses and ends its term,
//! the records and then the end come down to the new one, and it writes.

use std::time::Duration;

use bytes::Bytes;
use model::body::{InstitutionEntry, Kind, TermEndEntry};
use model::{NodePath, OriginId};
use prost::Message;
use replication::{Awaited, DirectoryView, Health, InstitutionFact};
use store::{Draft, Expect};

use crate::caller::{Action, Caller, permit};
use crate::{Exchange, ExchangeError};

/// Positions of the log read between letting others run.
const STEP_RECORDS: usize = 1000;
const STEP_BYTES: usize = 1024 * 1024;
/// When ending a term is tried again that the store refused.
const RETRY: Duration = Duration::from_secs(1);

/// A wish to have an institution file with another node.
#[derive(Debug, Clone)]
pub struct MoveInstitution {
    pub code: String,
    pub to: NodePath,
    /// Only say what would happen.
    pub dry_run: bool,
    /// The old writer is dead: do not wait for it to end its term.
    pub without_old_writer: bool,
    /// Only if it is this node whose term ends; none: whichever it is.
    pub expected_from: Option<NodePath>,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MoveOutcome {
    /// Nothing was done; without `dry_run` it would be.
    Possible,
    /// Decided, and durable here.
    Decided,
    /// It files there already; `awaited` says what its node waits for.
    There,
}

/// A move, as the node sees it that decides.
#[derive(Debug, Clone)]
pub struct InstitutionMove {
    pub outcome: MoveOutcome,
    pub from: NodePath,
    pub to: NodePath,
    /// The term in which `to` writes.
    pub term: u32,
    /// Current records of the institution held here, withdrawn ones apart; their bytes.
    pub registrations: u64,
    pub document_entries: u64,
    pub withdrawn: u64,
    pub bytes: u64,
    /// How many of all these the new writer's part of the tree does not have yet, because it did not write them.
    pub travelling: u64,
    /// Up to this position of the log here.
    pub upto: u64,
    /// Towards the old and the new writer; none where that is this node.
    pub from_link: Option<MoveLink>,
    pub to_link: Option<MoveLink>,
    /// What the new writer waits for; none: it has all, as far as is known here.
    pub awaited: Option<Awaited>,
}

/// The link to the child towards one of the writers, with the feed that a move needs: up from the old one, down to the new one.
#[derive(Debug, Clone)]
pub struct MoveLink {
    pub path: NodePath,
    pub connected: bool,
    pub health: Health,
    /// Why it is not green.
    pub reason: String,
    pub position: u64,
    pub head: u64,
    /// This node's clock when its up feed was last proven; 0: not since the start.
    pub proven_ms: u64,
}

/// The parties to a move.
struct Parties {
    institution: InstitutionFact,
    from: NodePath,
    to: NodePath,
    new_writer: OriginId,
}

#[derive(Default)]
struct Count {
    registrations: u64,
    document_entries: u64,
    withdrawn: u64,
    bytes: u64,
    travelling: u64,
    upto: u64,
}

impl Exchange {
    /// Has an institution file with another node. Asking again for what is decided changes nothing and says how far it is.
    pub async fn move_institution(
        &self,
        caller: &Caller,
        request: MoveInstitution,
    ) -> Result<InstitutionMove, ExchangeError> {
        let _permit = permit(caller, Action::Operate, &self.parts.node.path)?;
        let origin = self.institution_origin(&request.code);
        let (parties, outcome) = self.decided(&request, origin).await?;
        let counted = self.count(origin, &parties.to).await?;
        let view = self.parts.directory.snapshot();
        let term = parties.institution.term + u32::from(outcome == MoveOutcome::Possible);
        Ok(InstitutionMove {
            outcome,
            term,
            registrations: counted.registrations,
            document_entries: counted.document_entries,
            withdrawn: counted.withdrawn,
            bytes: counted.bytes,
            travelling: counted.travelling,
            upto: counted.upto,
            from_link: self.move_link(&parties.from, true),
            to_link: self.move_link(&parties.to, false),
            awaited: view.awaited(&origin),
            from: parties.from,
            to: parties.to,
        })
    }

    /// Checks the request and, unless it is only to be looked at, commits the decision.
    async fn decided(
        &self,
        request: &MoveInstitution,
        origin: OriginId,
    ) -> Result<(Parties, MoveOutcome), ExchangeError> {
        // What the old writer's records reach here, read before the gate: it takes a look at the log.
        let view = self.parts.directory.snapshot();
        let before = self.parties(&view, request, origin)?;
        let ends = ending(&view, &before);
        // Asked again after all has ended, nobody is done without.
        let held_seq = if request.without_old_writer && ends.writer != before.new_writer {
            // A look may be taken at what would become of it.
            if !request.dry_run {
                self.check_dead(&view, &ends)?;
            }
            self.parts.receiver.last_seq(&ends.writer).await?
        } else {
            0
        };
        let _deciding = self.parts.directory.decide().await;
        let view = self.parts.directory.snapshot();
        let parties = self.parties(&view, request, origin)?;
        let ends_now = ending(&view, &parties);
        let another = (ends.writer, ends.term) != (ends_now.writer, ends_now.term);
        if request.without_old_writer && another && ends_now.writer != parties.new_writer {
            return Err(ExchangeError::conflict(
                "CHANGED_MEANWHILE",
                "the institution was moved at this moment: look at it again",
            ));
        }
        if parties.institution.writer == parties.new_writer {
            let before = view.institution_in(&origin, parties.institution.term.saturating_sub(1));
            let from = before.and_then(|before| view.path_of(&before.writer)).unwrap_or(&parties.to).clone();
            let waits = view.awaited(&origin).is_some_and(|awaited| awaited.term == ends.term);
            if request.without_old_writer && waits && !request.dry_run {
                self.do_without(&view, &ends, held_seq).await?;
            }
            return Ok((Parties { from, ..parties }, MoveOutcome::There));
        }
        if request.dry_run {
            return Ok((parties, MoveOutcome::Possible));
        }
        let institution =
            self.commit_decision(&parties, request.without_old_writer.then_some(held_seq)).await?;
        tracing::info!(from = %parties.from, to = %parties.to, term = institution.term, "an institution moves");
        Ok((Parties { institution, ..parties }, MoveOutcome::Decided))
    }

    /// Refuses to do without a node that is known to live: this one, or a child that is connected.
    fn check_dead(&self, view: &DirectoryView, ends: &InstitutionFact) -> Result<(), ExchangeError> {
        let lives = |who: String| {
            ExchangeError::conflict(
                "OLD_WRITER_LIVES",
                format!(
                    "{who} is the old writer and alive: leave --without-old-writer out, or stop it first (or cut it off, if it cannot be stopped)"
                ),
            )
        };
        if ends.writer == self.parts.node.origin {
            return Err(lives("this node".to_owned()));
        }
        let writer = view.path_of(&ends.writer);
        let connected = |path: &&NodePath| self.parts.links.view(path).is_some_and(|link| link.connected);
        writer.filter(connected).map_or(Ok(()), |path| Err(lives(path.to_string())))
    }

    /// Ends a term whose next one was decided already, and whose writer is dead: its decider's to do.
    async fn do_without(
        &self,
        view: &DirectoryView,
        ending: &InstitutionFact,
        held_seq: u64,
    ) -> Result<(), ExchangeError> {
        let next = view.institution_in(&ending.origin, ending.term + 1);
        let next = next.ok_or_else(|| ExchangeError::internal("a term is awaited that none follows"))?;
        if next.decided_by != self.parts.node.origin {
            let decider = view.path_of(&next.decided_by).map_or_else(String::new, ToString::to_string);
            return Err(ExchangeError::conflict(
                "ASK_ANOTHER_NODE",
                format!("{decider} decided this move; only there the old writer can be done without"),
            ));
        }
        let end = self.end_without(ending, next.writer, held_seq);
        let committed = self.parts.store.commit(vec![end]).await?;
        committed.records.iter().for_each(|record| self.parts.directory.learn(record));
        tracing::info!(term = ending.term, "an institution's dead writer is done without");
        Ok(())
    }

    /// The end of a term by whoever decided the next one.
    fn end_without(&self, ending: &InstitutionFact, next: OriginId, held_seq: u64) -> Draft {
        let end = TermEndEntry { without_writer: true, held_seq, ..term_end(ending, next) };
        let about = (ending.origin, ending.term);
        self.directory_draft(Kind::TermEnd, about, end.encode_to_vec(), Expect::Anything)
    }

    fn parties(
        &self,
        view: &DirectoryView,
        request: &MoveInstitution,
        origin: OriginId,
    ) -> Result<Parties, ExchangeError> {
        let Some(institution) = view.institution(&origin).cloned() else {
            return Err(ExchangeError::not_found(
                "UNKNOWN_INSTITUTION",
                "no institution with this code has filed anything that is known here",
            ));
        };
        let unknown =
            |what: String| ExchangeError::not_found("UNKNOWN_NODE", format!("{what} is not known here"));
        let new_writer = view.origin_at(&request.to).ok_or_else(|| unknown(request.to.to_string()))?;
        let from = view.path_of(&institution.writer).cloned();
        let from = from.ok_or_else(|| unknown(format!("the institution's writer {}", institution.writer)))?;
        let to = request.to.clone();
        check_expected(view, request, &institution, &new_writer)?;
        // Of a move that is decided whoever holds the decision may be asked how far it is.
        if institution.writer == new_writer {
            return Ok(Parties { institution, from, to, new_writer });
        }
        let own = &self.parts.node.path;
        match from.common(&to) {
            Some(decider) if decider == *own => {}
            Some(decider) => {
                return Err(ExchangeError::conflict(
                    "ASK_ANOTHER_NODE",
                    format!(
                        "the institution files with {from}; only {decider}, the lowest node above it and {to}, decides this"
                    ),
                ));
            }
            None => return Err(unknown(to.to_string())),
        }
        if let Some(awaited) = view.awaited(&origin).filter(|_| !request.without_old_writer) {
            let by = awaited.writer.map_or_else(String::new, |path| format!(" by {path}"));
            return Err(ExchangeError::conflict(
                "MOVE_UNDER_WAY",
                format!(
                    "the institution is on its way to {from}: the end of its term {}{by} has not come; try again when it has",
                    awaited.term
                ),
            ));
        }
        Ok(Parties { institution, from, to, new_writer })
    }

    /// Commits who writes from now on, and the end of the old term where its writer is dead.
    async fn commit_decision(
        &self,
        parties: &Parties,
        held_seq: Option<u64>,
    ) -> Result<InstitutionFact, ExchangeError> {
        let known = &parties.institution;
        let entry = InstitutionEntry {
            origin: Bytes::copy_from_slice(known.origin.as_bytes()),
            code: known.code.clone(),
            name: known.name.clone(),
            writer: Bytes::copy_from_slice(parties.new_writer.as_bytes()),
            term: known.term + 1,
        };
        let about = (known.origin, entry.term);
        let mut drafts =
            vec![self.directory_draft(Kind::Institution, about, entry.encode_to_vec(), Expect::Absent)];
        if let Some(held_seq) = held_seq {
            drafts.push(self.end_without(known, parties.new_writer, held_seq));
        }
        let committed = self.parts.store.commit(drafts).await?;
        committed.records.iter().for_each(|record| self.parts.directory.learn(record));
        let decided = self.parts.directory.institution(&known.origin);
        decided.ok_or_else(|| ExchangeError::internal("a decision that was committed is not known"))
    }

    /// Counts what is held here of the institution, letting others run in between.
    async fn count(&self, origin: OriginId, to: &NodePath) -> Result<Count, ExchangeError> {
        let (view, own) = (self.parts.directory.snapshot(), &self.parts.node.path);
        let subtree = own.child_towards(to);
        let mut reader = self.parts.store.feed_reader(0);
        let mut count = Count::default();
        loop {
            let slice = reader.next(STEP_RECORDS, STEP_BYTES, &|envelope| envelope.origin == origin)?;
            for record in &slice.records {
                let envelope = record.envelope();
                count.bytes += record.size() as u64;
                match (envelope.tombstone, envelope.kind) {
                    (true, _) => count.withdrawn += 1,
                    (false, kind) if kind == Kind::Registration as u32 => count.registrations += 1,
                    (false, kind) if kind == Kind::DocumentEntry as u32 => count.document_entries += 1,
                    (false, _) => {}
                }
                let signer = view.key_path(&envelope.key_id);
                let there = |path: &NodePath| subtree.as_ref().is_none_or(|subtree| subtree.contains(path));
                count.travelling += u64::from(!signer.is_some_and(there));
            }
            count.upto = slice.upto;
            if slice.upto >= slice.head {
                // What the new writer's own log holds need not travel to it.
                count.travelling = if subtree.is_none() { 0 } else { count.travelling };
                return Ok(count);
            }
            tokio::task::yield_now().await;
        }
    }

    fn move_link(&self, towards: &NodePath, up: bool) -> Option<MoveLink> {
        let parts = &self.parts;
        let child = parts.node.path.child_towards(towards)?;
        let never = || replication::LinkView::never(child.clone());
        let feed = parts.links.view(&child).unwrap_or_else(never);
        let proven_ms = feed.proven_ms;
        let feed = if up { feed } else { parts.links.down().view(&child).unwrap_or_else(never) };
        let (health, reason) = feed.health(parts.clock.now_ms());
        let (connected, position) = (feed.connected, feed.position);
        let head = if up { feed.head } else { parts.store.head() };
        Some(MoveLink { path: child, connected, health, reason, position, head, proven_ms })
    }

    /// Ends this node's terms of institutions that others write for now, whenever it learns of one. Runs until it is dropped.
    pub async fn end_terms(&self) {
        let mut moves = self.parts.directory.watch_moves();
        loop {
            moves.borrow_and_update();
            let retry = match self.end_open_terms().await {
                Ok(()) => Duration::MAX,
                Err(error) => {
                    tracing::warn!(%error, "the end of a term cannot be written; trying again");
                    RETRY
                }
            };
            // An error means that the directory is gone, and with it this node.
            if let Ok(Err(_)) = tokio::time::timeout(retry, moves.changed()).await {
                return;
            }
        }
    }

    async fn end_open_terms(&self) -> Result<(), ExchangeError> {
        let (own, directory) = (self.parts.node.origin, &self.parts.directory);
        if directory.snapshot().to_end(&own).is_empty() {
            return Ok(());
        }
        // Whoever asked before this node knew has committed when this is held; whoever asks later is refused.
        let _nobody_writes = self.terms.write().await;
        for (then, next) in directory.snapshot().to_end(&own) {
            let entry = term_end(&then, next);
            let about = (then.origin, then.term);
            let draft = self.directory_draft(Kind::TermEnd, about, entry.encode_to_vec(), Expect::Anything);
            let committed = self.parts.store.commit(vec![draft]).await?;
            committed.records.iter().for_each(|record| directory.learn(record));
            tracing::info!(term = then.term, "a term of an institution that moved has ended here");
        }
        Ok(())
    }
}

/// The term that a move ends: of one that is decided already the one whose end is waited for.
fn ending(view: &DirectoryView, parties: &Parties) -> InstitutionFact {
    ending_of(view, &parties.institution, &parties.new_writer)
}

fn ending_of(view: &DirectoryView, known: &InstitutionFact, new_writer: &OriginId) -> InstitutionFact {
    let awaited = view.awaited(&known.origin).filter(|_| known.writer == *new_writer);
    awaited.and_then(|awaited| view.institution_in(&known.origin, awaited.term)).unwrap_or(known).clone()
}

/// Refuses a move that would end the term of another node than whoever asks thinks.
fn check_expected(
    view: &DirectoryView,
    request: &MoveInstitution,
    known: &InstitutionFact,
    new_writer: &OriginId,
) -> Result<(), ExchangeError> {
    let Some(expected) = &request.expected_from else { return Ok(()) };
    let ends = ending_of(view, known, new_writer);
    let from = view.path_of(&ends.writer);
    // Nothing ends where it files already and nobody is waited for.
    if ends.writer == *new_writer || from == Some(expected) {
        return Ok(());
    }
    let from = from.map_or_else(|| "another node".to_owned(), ToString::to_string);
    Err(ExchangeError::conflict(
        "OTHER_WRITER",
        format!("the term that would end is that of {from}, and not of {expected}: look at it again"),
    ))
}

fn term_end(then: &InstitutionFact, next_writer: OriginId) -> TermEndEntry {
    TermEndEntry {
        institution: Bytes::copy_from_slice(then.origin.as_bytes()),
        term: then.term,
        next_writer: Bytes::copy_from_slice(next_writer.as_bytes()),
        without_writer: false,
        held_seq: 0,
    }
}
