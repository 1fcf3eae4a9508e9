//! `person`: which registrations are one person, for operators.

mod quality;
mod render;

use std::str::FromStr;

use bytes::Bytes;
use model::body::LinkDecision;
use model::{Number, RecordKey, Version};
use wire::v1;
use wire::v1::get_person_request::By;

use crate::connection::Connection;
use crate::error::CliError;
use crate::json;
use crate::output::Output;
use crate::text::parse_time;

/// Pairs asked for at a time.
const PAGE: u32 = 100;

/// Arguments of `person`.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Person {
    /// Lists pairs of registrations that a human should look at, each with why: two persons who may be one (`possible`), and one
    /// person whose link is in doubt (`doubtful`).
    Reviews {
        /// Most pairs.
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
        /// Instead: pairs drawn by lot from all that the linker joined or holds possible. `person link` or `separate` each of them as it
        /// truly is: `person quality` estimates from these answers how often the linker is right.
        #[arg(long)]
        sample: bool,
    },
    /// Says how good the persons of the node's subtree are: who joined them, what waits for an operator and since when, whose
    /// registrations contradict each other, how often the linker is right by sampled review, and whether its model still fits.
    Quality,
    /// Shows one person: all registrations, and the decisions that make them one.
    Show {
        /// Index number of the person, or key of one of its registrations.
        #[arg(value_name = "NUMBER|KEY")]
        who: Who,
        /// Who was one person then: 2026-11-21, 2026-11-21T23:17 (Beijing time), or a time with its own offset.
        #[arg(long, value_name = "TIME", value_parser = parse_time)]
        as_of: Option<u64>,
    },
    /// Shows two registrations, and what was decided about them.
    Pair(Keys),
    /// Says that two registrations are one person.
    Link(Say),
    /// Says that two registrations are two persons. No linker joins them again, and no operator, unless this is taken back.
    Separate(Say),
    /// Says that two persons are one: of their oldest registrations.
    Merge {
        /// Index number of one person, or key of one of its registrations.
        #[arg(value_name = "NUMBER|KEY")]
        a: Who,
        /// Of the other one.
        #[arg(value_name = "NUMBER|KEY")]
        b: Who,
        /// Why, for whoever looks at it later; no names.
        #[arg(long)]
        reason: String,
    },
    /// Takes back what an operator of this node said of two registrations; ask the node where it was said.
    Undo(Say),
}

/// A person, by any of its registrations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    Number(Number),
    Key(RecordKey),
}

impl FromStr for Who {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let key = || text.parse().map(Self::Key);
        text.parse().map(Self::Number).or_else(|_| key()).map_err(|_| {
            "must be a person index number (16 letters and digits) or a key of a registration (32 hexadecimal digits)"
        })
    }
}

impl Who {
    fn request(self, as_of_ms: u64) -> v1::GetPersonRequest {
        let by = match self {
            Self::Number(number) => By::Number(number.to_string()),
            Self::Key(key) => By::RegistrationKey(bytes(key)),
        };
        v1::GetPersonRequest { by: Some(by), as_of_ms }
    }
}

/// Two registrations.
#[derive(Debug, Clone, clap::Args)]
pub struct Keys {
    /// Key of one registration, 32 hexadecimal digits, as `person reviews` and `patient find --json` show it.
    #[arg(value_name = "KEY")]
    a: RecordKey,
    /// Key of the other one.
    #[arg(value_name = "KEY")]
    b: RecordKey,
}

#[derive(Debug, Clone, clap::Args)]
pub struct Say {
    #[command(flatten)]
    keys: Keys,
    /// Why, for whoever looks at it later; no names.
    #[arg(long)]
    reason: String,
    /// Decide only if these versions are held still, as they were shown: of the first and of the second.
    #[arg(long, value_name = "VERSION", num_args = 2)]
    seen: Vec<Version>,
}

impl Person {
    pub(crate) async fn run(
        self,
        connection: &Connection<'_>,
        output: &mut Output<'_>,
    ) -> Result<(), CliError> {
        let (said, decision) = match self {
            Self::Reviews { limit, sample } => {
                return reviews((limit as usize, sample), connection, output).await;
            }
            Self::Quality => {
                let quality = connection.client().await?.get_quality().await?;
                return output.answer(|| quality::text(&quality), || json::Quality::from(quality.clone()));
            }
            Self::Show { who, as_of } => {
                let request = who.request(as_of.unwrap_or_default());
                let person = connection.client().await?.get_person(request).await?;
                return output.answer(|| render::person(&person), || json::WholePerson::from(person.clone()));
            }
            Self::Merge { a, b, reason } => return merge([a, b], reason, connection, output).await,
            Self::Pair(keys) => {
                let request = v1::ExplainPairRequest { a: bytes(keys.a), b: bytes(keys.b) };
                let pair = connection.client().await?.explain_pair(request).await?;
                return output.answer(|| render::pair(&pair), || json::LinkedPair::from(pair.clone()));
            }
            Self::Link(said) => (said, LinkDecision::Same),
            Self::Separate(said) => (said, LinkDecision::Different),
            Self::Undo(said) => (said, LinkDecision::None),
        };
        let seen = |at: usize| said.seen.get(at).map(ToString::to_string).unwrap_or_default();
        let request = v1::DecideRequest {
            a: bytes(said.keys.a),
            b: bytes(said.keys.b),
            decision: decision.into(),
            expected_version_a: seen(0),
            expected_version_b: seen(1),
            reason: said.reason,
        };
        let changed = connection.client().await?.decide(request).await?.changed;
        output.answer(|| render::decided(decision, changed), || json::Decided { changed })
    }
}

/// Joins the oldest registrations of two persons, if these are what was just looked at.
async fn merge(
    persons: [Who; 2],
    reason: String,
    connection: &Connection<'_>,
    output: &mut Output<'_>,
) -> Result<(), CliError> {
    let client = connection.client().await?;
    let [a, b] =
        [client.get_person(persons[0].request(0)).await?, client.get_person(persons[1].request(0)).await?];
    let mut changed = false;
    if a.number != b.number {
        let oldest = |person: v1::GetPersonReply| person.registrations.into_iter().next().unwrap_or_default();
        let (a, b) = (oldest(a), oldest(b));
        let request = v1::DecideRequest {
            a: a.key,
            b: b.key,
            decision: LinkDecision::Same.into(),
            reason,
            expected_version_a: a.version,
            expected_version_b: b.version,
        };
        changed = client.decide(request).await?.changed;
    }
    output.answer(|| render::decided(LinkDecision::Same, changed), || json::Decided { changed })
}

async fn reviews(
    (limit, sample): (usize, bool),
    connection: &Connection<'_>,
    output: &mut Output<'_>,
) -> Result<(), CliError> {
    let client = connection.client().await?;
    let (mut pairs, mut page_token, mut more) = (Vec::new(), Bytes::new(), true);
    while more && pairs.len() < limit {
        let page_size = PAGE.min((limit - pairs.len()) as u32);
        let page = client.list_reviews(v1::ListReviewsRequest { page_size, page_token, sample }).await?;
        pairs.extend(page.pairs);
        (more, page_token) = (!page.next_page_token.is_empty(), page.next_page_token);
    }
    output.answer(
        || render::reviews(&pairs, more),
        || json::Reviews { pairs: pairs.iter().cloned().map(json::LinkedPair::from).collect(), more },
    )
}

fn bytes(key: RecordKey) -> Bytes {
    Bytes::copy_from_slice(key.as_bytes())
}
