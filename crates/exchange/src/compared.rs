//! Whether those above have to be asked about persons that are known here (design.md, *Queries and retrieval*).
//!
//! What the nodes above have judged they tell with the down feed ([`replication::judged`]), after all that follows. So whoever has
//! only registrations here that all of them have judged is known here as they know them, as of the time that they say.

use std::fmt;
use std::time::Duration;

use model::RecordKey;
use model::query::{AnswerScope, DocumentsOf, PatientBy, Reach, Source, SourceState};
use tokio::time::Instant;

use crate::{Exchange, ExchangeError};

/// Whoever was compared longer ago is asked for: a feed that rests is told of every few seconds.
const LATELY: Duration = Duration::from_secs(30);

/// How far the nodes above know the registrations of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compared {
    /// Nothing of the kind was found here.
    Nothing,
    /// One of them has not judged all of them yet, or has not said so since this node started.
    NotYet,
    /// All have; what they knew so long ago is held here.
    Before(Duration),
}

impl Compared {
    /// Whether nobody above need be asked, as long as the parent is heard.
    fn is_enough(self, reach: Reach) -> bool {
        reach == Reach::Tree && matches!(self, Self::Before(ago) if ago <= LATELY)
    }
}

/// What an answer adds that had to do without those above.
impl fmt::Display for Compared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => Ok(()),
            Self::NotYet => {
                f.write_str("; nobody above has said yet that all that is held here was compared there")
            }
            Self::Before(ago) => {
                write!(f, "; what is held here was last compared above {} s ago", ago.as_secs())
            }
        }
    }
}

/// Whether a question names its person, so that whoever is found is all there is to find. Of those who share a telephone number or a
/// name, others may be elsewhere.
pub(crate) fn names_one(by: &PatientBy) -> bool {
    match by {
        PatientBy::Identifier(identifier) => !identifier.r#type.is_empty(),
        PatientBy::Number(_) | PatientBy::Local(_) => true,
        PatientBy::Demographics { .. } | PatientBy::Phone(_) | PatientBy::Search(_) => false,
    }
}

/// The same of a question for documents.
pub(crate) fn names_one_patient(of: &DocumentsOf) -> bool {
    match of {
        DocumentsOf::Identifier(identifier) => !identifier.r#type.is_empty(),
        DocumentsOf::Number(_) | DocumentsOf::Local(_) | DocumentsOf::Registration(_) => true,
    }
}

impl Exchange {
    /// How far those above know these registrations, all that were found here.
    pub(crate) fn compared_above<'a>(
        &self,
        registrations: impl Iterator<Item = &'a RecordKey>,
    ) -> Result<Compared, ExchangeError> {
        let mut newest = None;
        for key in registrations {
            // One that went while it was looked at is no longer what was found.
            let Some(position) = self.parts.store.lsn(key)? else { return Ok(Compared::NotYet) };
            newest = newest.max(Some(position));
        }
        let Some(newest) = newest else { return Ok(Compared::Nothing) };
        let covered = self.parts.links.judged().covers(&self.parts.node.path, newest, Instant::now());
        Ok(covered.map_or(Compared::NotYet, Compared::Before))
    }

    /// Whether the answer is here. Without the parent it would only be as good as it can be, and the answer is to say so.
    pub(crate) fn need_not_ask(&self, compared: Compared, reach: Reach) -> bool {
        let parent = self.parts.node.path.parent();
        compared.is_enough(reach)
            && parent.is_some_and(|parent| self.parts.links.down().is_connected(&parent))
    }

    /// Names those above in the scope of an answer that needed none of them, as of when they are known here.
    pub(crate) fn note_compared(&self, scope: &mut AnswerScope) {
        let (now, now_ms) = (Instant::now(), self.parts.clock.now_ms());
        for (path, word) in self.parts.links.judged().above() {
            if scope.sources.iter().any(|source| source.path == path) {
                continue;
            }
            let ago_ms =
                u64::try_from(now.saturating_duration_since(word.as_of).as_millis()).unwrap_or(u64::MAX);
            scope.sources.push(Source {
                path,
                state: SourceState::Replicated,
                heard_ms: now_ms.saturating_sub(ago_ms),
                newest_record_ms: 0,
                behind: 0,
                reason: String::new(),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use model::body::Identifier;

    use super::*;

    #[test]
    fn only_what_was_compared_lately_is_enough() {
        let lately = Compared::Before(LATELY);
        assert!(lately.is_enough(Reach::Tree));
        assert!(!lately.is_enough(Reach::Fresh), "whoever asks for it is told from above");
        assert!(!Compared::Before(LATELY + Duration::from_millis(1)).is_enough(Reach::Tree));
        assert!(!Compared::NotYet.is_enough(Reach::Tree));
        assert!(!Compared::Nothing.is_enough(Reach::Tree), "nobody is known here");
    }

    #[test]
    fn an_answer_without_those_above_says_how_far_they_know() {
        assert_eq!(Compared::Nothing.to_string(), "");
        assert!(Compared::NotYet.to_string().contains("nobody above has said yet"));
        assert!(Compared::Before(Duration::from_secs(75)).to_string().ends_with("compared above 75 s ago"));
    }

    #[test]
    fn others_may_share_a_telephone_or_a_name() {
        let identifier = |r#type: &str| {
            let (r#type, value, assigner) = (r#type.into(), "1".into(), String::new());
            PatientBy::Identifier(Identifier { r#type, value, assigner })
        };
        assert!(names_one(&identifier("01")));
        assert!(!names_one(&identifier("")), "of whatever kind");
        assert!(!names_one(&PatientBy::Phone("13900000000".into())));
    }
}
