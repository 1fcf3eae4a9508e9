//! What humans decide about persons: two registrations are the same, or are not; and the queue of what they should look at.
//!
//! A decision is a link record of the layer of humans, so it travels, is told and counts like any link, before every rule and score. The
//! queue is no list that somebody keeps: it is the linker's doubtful and possible links, without those that a human decided about or
//! whose registrations are one person by now. So nothing in it can be out of date.

use model::RecordKey;
use model::body::{FieldWeight, LinkBasis, LinkDecision, LinkLayer, PersonLink};
use model::person_link::{Decided, MAX_REASON};
use model::query::FoundRegistration;
use model::{NodePath, Record, Version};

use crate::caller::{Action, Caller, Role, permit};
use crate::person_links::{DraftError, Said, link_draft, said_at};
use crate::persons::Member;
use crate::{Exchange, ExchangeError};

/// Most items of one page of the queue, and links looked at for it.
pub const MAX_REVIEWS: usize = 100;
const MAX_LOOKED_AT: usize = 2_000;

/// A wish to say what two registrations are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Say {
    Same,
    Different,
    /// What this node's operators said before is taken back, and the linker decides again.
    Nothing,
}

/// A human's decision about two registrations.
#[derive(Debug, Clone)]
pub struct Decide {
    pub pair: [RecordKey; 2],
    pub say: Say,
    /// Why, for whoever looks at it later; needed. Names no person.
    pub reason: String,
    /// The versions that the operator saw; none: whatever is held.
    pub expected: [Option<Version>; 2],
}

/// A link as a node holds it.
#[derive(Debug, Clone)]
pub struct HeldLink {
    pub body: PersonLink,
    /// Where the node stands that decided; empty when the directory does not know it.
    pub by: String,
    pub version: Version,
    pub recorded_ms: u64,
    /// Comparison, level, and thousandths of a bit for or against one person.
    pub weights: Vec<(String, String, i32)>,
}

/// Two registrations and all that was decided about them.
#[derive(Debug, Clone)]
pub struct Pair {
    /// As they are held now.
    pub registrations: Vec<FoundRegistration>,
    pub links: Vec<HeldLink>,
    /// Whether they are one person now, by these links or by others.
    pub one_person: bool,
}

/// A page of the queue.
#[derive(Debug, Clone, Default)]
pub struct Reviews {
    pub pairs: Vec<Pair>,
    /// Where to go on; none at the end.
    pub next: Option<RecordKey>,
}

impl Exchange {
    /// Says what two registrations are. Answers whether that changes anything.
    pub async fn decide(&self, caller: &Caller, request: Decide) -> Result<bool, ExchangeError> {
        let _permit = permit(caller, Action::Review, &self.parts.node.path)?;
        let Role::Operator { name } = &caller.role else {
            return Err(ExchangeError::denied("WRONG_ROLE", "only an operator decides who is one person"));
        };
        let reason = request.reason.trim();
        check_reason(reason)?;
        let [mut a, mut b] = request.pair;
        let [mut seen_a, mut seen_b] = request.expected;
        if a == b {
            return Err(ExchangeError::unusable("ONE_REGISTRATION", "a decision is about two registrations"));
        }
        if b < a {
            (a, b, seen_a, seen_b) = (b, a, seen_b, seen_a);
        }
        let (one, two) = (self.seen(&a, seen_a)?, self.seen(&b, seen_b)?);
        self.may_decide(&one, &two)?;
        self.agrees_with_humans(request.say, &one, &two)?;
        let decision = match request.say {
            Say::Same => LinkDecision::Same,
            Say::Different => LinkDecision::Different,
            Say::Nothing => LinkDecision::None,
        };
        let body = PersonLink {
            a: Some(one.reference()),
            b: Some(two.reference()),
            layer: LinkLayer::Human as i32,
            decision: decision as i32,
            basis: LinkBasis::Human as i32,
            operator: name.clone(),
            reason: reason.to_owned(),
            ..PersonLink::default()
        };
        let (draft, before) =
            link_draft(body, self.parts.node.origin, &self.parts.store).map_err(draft_error)?;
        let said = before.as_ref().and_then(|record| Decided::of(record).ok());
        // Of another life of the registrations nothing was said yet.
        let said =
            said.filter(|said| said.a.born_ms == one.body.born_ms && said.b.born_ms == two.body.born_ms);
        if said.map_or(LinkDecision::None, |said| said.decision) == decision {
            return match (request.say, said) {
                (Say::Nothing, _) => Err(self.nothing_to_undo([a, b])?),
                _ => Ok(false),
            };
        }
        self.parts.store.commit(vec![draft]).await?;
        Ok(true)
    }

    /// Two registrations and what was decided about them, for operators. Only of pairs about which something was decided.
    pub async fn explain_pair(&self, caller: &Caller, pair: [RecordKey; 2]) -> Result<Pair, ExchangeError> {
        let _permit = permit(caller, Action::Review, &self.parts.node.path)?;
        self.judge.catch_up().await;
        let pair = self.pair(pair)?;
        if pair.one_person || !pair.links.is_empty() {
            return Ok(pair);
        }
        Err(ExchangeError::not_found(
            "NO_LINK",
            "nothing was decided here about these two registrations, and they are not one person",
        ))
    }

    /// What humans should look at, in pages: pairs that may be one person, and links that are doubtful.
    pub async fn reviews(
        &self,
        caller: &Caller,
        after: Option<RecordKey>,
        limit: usize,
    ) -> Result<Reviews, ExchangeError> {
        let _permit = permit(caller, Action::Review, &self.parts.node.path)?;
        self.judge.catch_up().await;
        let mut reviews = Reviews::default();
        let waiting = self.judge.waiting(after, MAX_LOOKED_AT);
        let more = waiting.len() == MAX_LOOKED_AT;
        let last = waiting.last().map(|(link, _)| *link);
        for (link, ends) in waiting {
            let pair = self.pair(ends)?;
            if is_open(&pair, &self.parts.node.path) {
                reviews.pairs.push(pair);
                if reviews.pairs.len() == limit.clamp(1, MAX_REVIEWS) {
                    reviews.next = Some(link).filter(|link| more || Some(*link) != last);
                    return Ok(reviews);
                }
            }
        }
        reviews.next = last.filter(|_| more);
        Ok(reviews)
    }

    pub(crate) fn pair(&self, [a, b]: [RecordKey; 2]) -> Result<Pair, ExchangeError> {
        let mut links = Vec::new();
        for record in self.persons.links(&a)? {
            let Ok(decided) = Decided::of(&record) else { continue };
            if decided.other(&a).key == b {
                links.extend(said_at(&record, None).map(|said| self.held_link(&record, said)));
            }
        }
        let (mut walk, mut registrations, mut one_person) = (self.persons.walk(), Vec::new(), false);
        for (key, other) in [(a, b), (b, a)] {
            if let Some(member) = walk.registration(&key)? {
                registrations.push(self.found(&member).1);
                let members = walk.person(member)?.members;
                one_person |= members.iter().any(|member| member.record.key() == other);
            }
        }
        Ok(Pair { registrations, links, one_person })
    }

    /// What a link says, with the name of the node that decided.
    pub(crate) fn held_link(&self, record: &Record, said: Said) -> HeldLink {
        let by = self.parts.directory.path_of(&record.envelope().origin);
        let by = by.map(|path| path.to_string()).unwrap_or_default();
        let Said { body, version, recorded_ms } = said;
        let weights = weights(&body);
        HeldLink { body, by, version, recorded_ms, weights }
    }

    fn seen(&self, key: &RecordKey, expected: Option<Version>) -> Result<Member, ExchangeError> {
        let member = self.parts.store.get(key)?.and_then(Member::of).ok_or_else(|| {
            ExchangeError::not_found("UNKNOWN_REGISTRATION", "no living registration has this key here")
        })?;
        if expected.is_some_and(|expected| expected != member.record.envelope().version) {
            return Err(ExchangeError::conflict(
                "CHANGED_MEANWHILE",
                "a registration was changed since it was shown: look at the pair again",
            ));
        }
        Ok(member)
    }

    /// Refuses what would contradict other decisions of humans: it would have no effect, or undo theirs without a word.
    fn agrees_with_humans(&self, say: Say, one: &Member, two: &Member) -> Result<(), ExchangeError> {
        let keys =
            |members: Vec<Member>| members.into_iter().map(|member| member.record.key()).collect::<Vec<_>>();
        let (a, b) = (one.record.key(), two.record.key());
        let mut walk = self.persons.walk();
        let (of_a, of_b) = (keys(walk.by_humans(one, &b)?), keys(walk.by_humans(two, &a)?));
        match say {
            Say::Different if of_a.contains(&b) => Err(ExchangeError::conflict(
                "JOINED_BY_OPERATORS",
                "operators joined these two through other registrations: undo one of those decisions first",
            )),
            Say::Same => {
                for key in &of_a {
                    let apart = walk.held_apart_by_humans(key, &of_b)?;
                    if let Some(other) = apart.filter(|other| (*key, *other) != (a, b)) {
                        return Err(ExchangeError::conflict(
                            "SEPARATED_BY_OPERATORS",
                            format!(
                                "this would join {key} and {other}, which an operator separated: undo that first"
                            ),
                        ));
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Where somebody could undo something.
    fn nothing_to_undo(&self, pair: [RecordKey; 2]) -> Result<ExchangeError, ExchangeError> {
        let links = self.pair(pair)?.links;
        let human = |link: &&HeldLink| {
            link.body.layer() == LinkLayer::Human && link.body.decision() != LinkDecision::None
        };
        let by: Vec<String> = links.iter().filter(human).map(|link| link.by.clone()).collect();
        let rest = if by.is_empty() { String::new() } else { format!("; undo it at {}", by.join(", ")) };
        let message = format!("no decision of an operator of this node about these two stands{rest}");
        Ok(ExchangeError::not_found("NOTHING_TO_UNDO", message))
    }

    /// Whether this node is the lowest one above both, or one above that.
    fn may_decide(&self, one: &Member, two: &Member) -> Result<(), ExchangeError> {
        let path = |record: &Record| self.parts.directory.writer_path(&record.envelope().origin);
        let lowest = path(&one.record).zip(path(&two.record)).and_then(|(one, two)| one.common(&two));
        match lowest {
            Some(lowest) if self.parts.node.path.contains(&lowest) => Ok(()),
            Some(lowest) => Err(ExchangeError::denied(
                "ASK_ANOTHER_NODE",
                format!("{lowest} decides about these two, or a node above it: ask there"),
            )),
            None => Err(ExchangeError::unavailable(
                "UNKNOWN_INSTITUTION",
                "the institution of one of the two is not known here yet: try again later",
            )),
        }
    }
}

fn check_reason(reason: &str) -> Result<(), ExchangeError> {
    if reason.is_empty() {
        return Err(ExchangeError::unusable("REASON_NEEDED", "a decision needs a reason"));
    }
    if reason.chars().count() > MAX_REASON || reason.chars().any(char::is_control) {
        return Err(ExchangeError::unusable(
            "REASON_FORM",
            format!("a reason is one line of at most {MAX_REASON} characters"),
        ));
    }
    Ok(())
}

/// Whether a human should still look at a pair.
fn is_open(pair: &Pair, own: &NodePath) -> bool {
    let decided = |link: &HeldLink| {
        link.body.layer() == LinkLayer::Human
            && matches!(link.body.decision(), LinkDecision::Same | LinkDecision::Different)
    };
    let own = own.to_string();
    let asks = |link: &HeldLink| match link.body.decision() {
        LinkDecision::Possible => !pair.one_person,
        LinkDecision::Same => link.body.doubtful && pair.one_person,
        _ => false,
    };
    let machine = |link: &&HeldLink| link.by == own && link.body.layer() == LinkLayer::Machine;
    // Humans contradict each other there: one of them must say what holds.
    let suspended = |link: &HeldLink| {
        let decision = link.body.decision() == LinkDecision::Suspended;
        link.by == own && link.body.layer() == LinkLayer::Suspension && decision
    };
    let undecided = || !pair.links.iter().any(decided) && pair.links.iter().filter(machine).any(asks);
    pair.registrations.len() == 2 && (pair.links.iter().any(suspended) || undecided())
}

/// What the fields of a link say, by name; by number where this release does not know the form.
fn weights(link: &PersonLink) -> Vec<(String, String, i32)> {
    let known = link.form == linkage::model::FORM;
    let weight = |field: &FieldWeight| {
        let comparison = linkage::compare::COMPARISONS.get(field.comparison as usize).filter(|_| known);
        let level = comparison.and_then(|comparison| comparison.levels.get(field.level as usize));
        let (comparison, level) = match (comparison, level) {
            (Some(comparison), Some(level)) => (comparison.name.to_owned(), (*level).to_owned()),
            _ => (field.comparison.to_string(), field.level.to_string()),
        };
        (comparison, level, field.weight_millibits)
    };
    link.fields.iter().map(weight).collect()
}

fn draft_error(error: DraftError) -> ExchangeError {
    match error {
        DraftError::Read(error) => error.into(),
        DraftError::Link(error) => ExchangeError::internal(error.to_string()),
    }
}
