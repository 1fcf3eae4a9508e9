//! How good the persons of a node's subtree are, as far as it can tell (issue "One person, one index number", *Quality view*).
//!
//! Precision and recall are estimated from a sample: of the pairs that the linker holds alike (a *stratum*), [`SAMPLE`] are drawn by lot, the
//! same ones every time. Humans answer them as they answer any pair, and only answers to drawn pairs count, since those that somebody
//! went looking for are no fair sample. What the linker held of a pair before it was answered is told by its link, which remembers.

use std::collections::BTreeSet;
use std::time::Duration;

use linkage::quality::{CONTRADICTIONS, LEAST_ANSWERS, precision, recall};
pub use linkage::quality::{ComparisonDrift, Estimate, Stratum};
use model::RecordKey;
use model::body::{LinkDecision, LinkLayer};
use model::person_link::Decided;
use tokio::task::yield_now;
use tokio::time::Instant;

use crate::caller::{Action, Caller, permit};
use crate::decide::MAX_REVIEWS;
use crate::judge::survey::{Drawn, Held, SAMPLE, SIZES, Sample, Survey, Suspects};
use crate::person_links::{said_at, said_first};
use crate::{Exchange, ExchangeError, Pair};

/// Age up to which a survey serves again.
const FRESH: Duration = Duration::from_secs(60);
/// Items of the queue whose age is looked up.
const MAX_AGED: usize = 10_000;
/// Reads after which others get a turn.
const YIELD_EVERY: usize = 64;
const DAY_MS: u64 = 24 * 3_600_000;
/// Ages of what waits for a human that are counted, in days.
const AGES: [u64; 3] = [1, 7, 30];

/// See the module. Counts are of registrations of the node's subtree, and of decisions in effect between them, whoever made them.
#[derive(Debug, Clone)]
pub struct Quality {
    pub model: String,
    /// This node's clock when it was counted.
    pub counted_ms: u64,
    pub registrations: u64,
    pub persons: u64,
    /// Persons by how many registrations they have: up to this many, and more than the bound before. The last bound is `usize::MAX`.
    pub sizes: Vec<(usize, u64)>,
    pub largest: u64,
    /// Pairs joined by rule, by score, and by a human.
    pub joins: [u64; 3],
    pub suspended: u64,
    pub backlog: Backlog,
    /// Persons whose registrations contradict each other, by what contradicts; and in two of these in one pair of registrations.
    pub suspects: Vec<(&'static str, u64, Vec<RecordKey>)>,
    pub strata: Vec<SampledStratum>,
    /// Pairs that humans joined and the linker held to be nothing.
    pub missed: u64,
    /// Answers of a stratum that are needed before anything is estimated.
    pub least_answers: u64,
    pub precision: Option<Estimate>,
    pub recall: Option<Estimate>,
    pub drift: Vec<ComparisonDrift>,
}

/// Pairs that the linker holds alike, with its answers.
#[derive(Debug, Clone, Copy)]
pub struct SampledStratum {
    pub name: &'static str,
    pub of: Stratum,
    /// Drawn, and not answered yet.
    pub open: u64,
}

/// What waits for humans.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Backlog {
    pub waiting: u64,
    /// How many of those whose age was looked up, the first 10,000 by key, have waited for longer than each of [`AGES`].
    pub aged: u64,
    pub older: [u64; AGES.len()],
    /// The oldest of these, this node's clock; 0: there is none.
    pub oldest_ms: u64,
}

/// One stratum with its answers.
#[derive(Debug, Default)]
struct Asked {
    sample: Sample,
    same: BTreeSet<[RecordKey; 2]>,
    different: BTreeSet<[RecordKey; 2]>,
}

impl Exchange {
    /// Counts how good the persons here are. Nobody waits for it but the caller; what was counted within a minute serves again.
    pub async fn quality(&self, caller: &Caller) -> Result<Quality, ExchangeError> {
        let _permit = permit(caller, Action::Review, &self.parts.node.path)?;
        let survey = self.survey().await?;
        let (asked, missed) = self.answers(&survey).await?;
        let strata: Vec<SampledStratum> =
            Held::ALL.into_iter().zip(&asked).map(|(held, asked)| asked.stratum(held)).collect();
        let plain: Vec<Stratum> = strata.iter().map(|stratum| stratum.of).collect();
        let suspects = CONTRADICTIONS.iter().zip(&survey.suspects);
        let suspects =
            suspects.map(|(name, one)| (*name, one)).chain([("two_of_these", &survey.twice_suspect)]);
        let listed = |(name, one): (&'static str, &Suspects)| (name, one.persons, one.examples.clone());
        let age = survey.taken.map_or(Duration::ZERO, |taken: Instant| taken.elapsed());
        let scorer = self.judge.scorer();
        Ok(Quality {
            model: scorer.model().version.clone(),
            counted_ms: self.parts.clock.now_ms().saturating_sub(age.as_millis() as u64),
            registrations: survey.registrations,
            persons: survey.persons,
            sizes: SIZES.into_iter().zip(survey.sizes).collect(),
            largest: survey.largest,
            joins: survey.joins,
            suspended: survey.suspended,
            backlog: self.backlog().await?,
            suspects: suspects.map(listed).collect(),
            precision: precision(&plain),
            recall: recall(&plain, missed),
            strata,
            missed,
            least_answers: LEAST_ANSWERS,
            drift: survey.drift.against(scorer.model()),
        })
    }

    /// Pairs of the samples that no human has answered, `limit` at most, one of each stratum in turn, so that a few answers tell something
    /// of each. After the first `skip`; how many to skip for the next ones, if there are any.
    pub async fn sampled(
        &self,
        caller: &Caller,
        skip: usize,
        limit: usize,
    ) -> Result<(Vec<Pair>, Option<usize>), ExchangeError> {
        let _permit = permit(caller, Action::Review, &self.parts.node.path)?;
        let survey = self.survey().await?;
        let (asked, _) = self.answers(&survey).await?;
        let open = in_turn(asked.iter().map(|asked| asked.open().collect()).collect());
        let mut pairs = Vec::new();
        for (at, drawn) in open.iter().enumerate().skip(skip) {
            if pairs.len() == limit.clamp(1, MAX_REVIEWS) {
                return Ok((pairs, Some(at)));
            }
            let pair = self.pair(drawn.pair)?;
            if pair.registrations.len() == 2 {
                pairs.push(pair);
            }
        }
        Ok((pairs, None))
    }

    async fn survey(&self) -> Result<std::sync::Arc<Survey>, ExchangeError> {
        let status = self.judge.status();
        if !status.loaded {
            return Err(ExchangeError::unavailable(
                "NOT_READY",
                "the linker takes in what is held here: try again when `status` shows how many persons there are",
            ));
        }
        Ok(self.judge.survey(FRESH).await)
    }

    /// The strata with what humans said of their samples, and how many pairs they joined of which the linker held nothing.
    async fn answers(&self, survey: &Survey) -> Result<([Asked; Held::ALL.len()], u64), ExchangeError> {
        let mut asked: [Asked; Held::ALL.len()] = Default::default();
        for (asked, unanswered) in asked.iter_mut().zip(&survey.unanswered) {
            asked.sample = unanswered.clone();
            // They may have been answered since.
            for drawn in unanswered.first() {
                if let Some((_, same)) = self.answer(&drawn)? {
                    asked.answered(&drawn, same);
                }
            }
            yield_now().await;
        }
        let mut missed = 0;
        for (at, drawn) in survey.answered.first().into_iter().enumerate() {
            if at % YIELD_EVERY == 0 {
                yield_now().await;
            }
            let Some((held, same)) = self.answer(&drawn)? else { continue };
            let Some(held) = held else {
                missed += u64::from(same);
                continue;
            };
            let asked = &mut asked[held as usize];
            asked.sample.draw(drawn, SAMPLE);
            asked.answered(&drawn, same);
        }
        Ok((asked, missed))
    }

    /// What the linker held of a pair when a human decided, and what that was; none when nobody decides about it any more.
    fn answer(&self, drawn: &Drawn) -> Result<Option<(Option<Held>, bool)>, ExchangeError> {
        let [a, b] = drawn.pair;
        let mut links = self.persons.links(&a)?;
        links.retain(|link| Decided::of(link).is_ok_and(|decided| decided.other(&a).key == b));
        let human = |link: &&model::Record| {
            Decided::of(link).is_ok_and(|said| {
                said.layer == LinkLayer::Human
                    && matches!(said.decision, LinkDecision::Same | LinkDecision::Different)
            })
        };
        let Some(human) = links.iter().filter(human).min_by_key(|link| link.envelope().recorded_ms) else {
            return Ok(None);
        };
        let same = Decided::of(human).is_ok_and(|said| said.decision == LinkDecision::Same);
        // The linker may have taken its word back because of it. Of a node whose clock is ahead, what it said first.
        let before_ms = human.envelope().recorded_ms.saturating_sub(1);
        let sure_from = self.judge.scorer().model().sure_from;
        let held = links.iter().filter_map(|link| {
            let said = said_at(link, Some(before_ms)).or_else(|| said_first(link))?.body;
            let machine = said.layer() == LinkLayer::Machine;
            Held::of(said.decision(), said.basis(), said.weight_millibits, sure_from).filter(|_| machine)
        });
        Ok(Some((held.min(), same)))
    }

    async fn backlog(&self) -> Result<Backlog, ExchangeError> {
        let now_ms = self.parts.clock.now_ms();
        let mut backlog = Backlog { waiting: self.judge.status().reviews, ..Backlog::default() };
        for (at, (link, _)) in self.judge.waiting(None, MAX_AGED).into_iter().enumerate() {
            if at % YIELD_EVERY == 0 {
                yield_now().await;
            }
            let Some(record) = self.parts.store.get(&link)? else { continue };
            let recorded_ms = record.envelope().recorded_ms;
            backlog.aged += 1;
            for (older, days) in backlog.older.iter_mut().zip(AGES) {
                *older += u64::from(now_ms.saturating_sub(recorded_ms) > days * DAY_MS);
            }
            if backlog.oldest_ms == 0 || recorded_ms < backlog.oldest_ms {
                backlog.oldest_ms = recorded_ms;
            }
        }
        Ok(backlog)
    }
}

/// One of each list, then the next of each.
fn in_turn(lists: Vec<Vec<Drawn>>) -> Vec<Drawn> {
    let most = lists.iter().map(Vec::len).max().unwrap_or_default();
    (0..most).flat_map(|at| lists.iter().filter_map(move |list| list.get(at).copied())).collect()
}

impl Asked {
    fn answered(&mut self, drawn: &Drawn, same: bool) {
        if same { &mut self.same } else { &mut self.different }.insert(drawn.pair);
    }

    fn stratum(&self, held: Held) -> SampledStratum {
        let (mut answered, mut same) = (0, 0);
        for drawn in self.sample.first() {
            same += u64::from(self.same.contains(&drawn.pair));
            answered += u64::from(self.same.contains(&drawn.pair) || self.different.contains(&drawn.pair));
        }
        let of = Stratum { joined: held != Held::Possible, pairs: self.sample.drawn, answered, same };
        SampledStratum { name: held.name(), of, open: self.open().count() as u64 }
    }

    /// Drawn and not answered.
    fn open(&self) -> impl Iterator<Item = Drawn> {
        let all = self.sample.first().into_iter();
        all.filter(|one| !self.same.contains(&one.pair) && !self.different.contains(&one.pair))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_a_page_are_of_every_stratum() {
        let pair = |list: u8, at: u8| Drawn::new(RecordKey([list; 16]), RecordKey([100 + at; 16]));
        let lists = [3, 0, 1, 2].into_iter().enumerate();
        let open =
            in_turn(lists.map(|(list, len)| (0..len).map(|at| pair(list as u8, at)).collect()).collect());
        let from: Vec<u8> = open.iter().map(|drawn| drawn.pair[0].0[0]).collect();
        assert_eq!(from, [0, 2, 3, 0, 3, 0]);
    }
}
