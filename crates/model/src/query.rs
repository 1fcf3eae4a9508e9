//! Questions and answers that travel the tree: what `exchange` works on and `wire` converts.

use crate::body::{Availability, DocumentEntry, Identifier, Registration};
use crate::{NodePath, Number, PartialDate, RecordKey, RegionCode, Version};

/// Most persons in one answer.
pub const MAX_PERSONS: usize = 100;
/// Most document entries in one page.
pub const MAX_PAGE: usize = 200;
/// A query that has passed this many nodes is refused: it goes in a circle.
pub const MAX_HOPS: u32 = 16;

/// Who asks, for what. Passed on unchanged from node to node, but for `hops`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QueryContext {
    pub practitioner: String,
    pub institution_code: String,
    pub purpose: Purpose,
    /// The same in the logs of every node on the way.
    pub trace_id: [u8; 16],
    pub hops: u32,
    /// Where the question was asked; none until a node has taken it.
    pub asked_at: Option<NodePath>,
}

/// Purpose of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Purpose {
    #[default]
    Treatment,
    Emergency,
    Recognition,
    Referral,
    PublicHealth,
    Statistics,
    Patient,
    Administration,
}

impl Purpose {
    /// Every purpose with its name in the protocol.
    pub const NAMES: [(&'static str, Self); 8] = [
        ("TREATMENT", Self::Treatment),
        ("EMERGENCY", Self::Emergency),
        ("RECOGNITION", Self::Recognition),
        ("REFERRAL", Self::Referral),
        ("PUBLIC_HEALTH", Self::PublicHealth),
        ("STATISTICS", Self::Statistics),
        ("PATIENT", Self::Patient),
        ("ADMINISTRATION", Self::Administration),
    ];

    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, purpose)| *purpose == self).map_or("TREATMENT", |(name, _)| name)
    }

    /// None for a name that is not a purpose; the empty name is treatment.
    pub fn from_name(name: &str) -> Option<Self> {
        if name.is_empty() {
            return Some(Self::Treatment);
        }
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, purpose)| *purpose)
    }
}

/// How far to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reach {
    /// The whole tree; what is held here when the way up is closed, and the answer says so. Nobody above is asked for whom all above
    /// have compared and told of lately: see [`crate::feed::JudgedUpTo`].
    #[default]
    Tree,
    /// This node's own store.
    Local,
    /// The whole tree, and above they are asked even so.
    Fresh,
}

/// A patient as an institution knows them.
#[derive(Clone, PartialEq, Eq)]
pub struct LocalPatient {
    /// Empty: the calling institution.
    pub institution_code: String,
    pub source_system: String,
    pub local_id: String,
}

/// What is known of somebody who is looked for. Candidates are ranked.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Search {
    /// As written, or in pinyin.
    pub name: String,
    /// Whether `name` is only a part of the name.
    pub part: bool,
    /// None: any.
    pub birth_date: Option<PartialDate>,
    /// GB/T 2261.1; empty: any.
    pub sex: String,
    /// Registered at a node of this region, or below it; none: anywhere.
    pub region: Option<RegionCode>,
}

/// What to find patients by.
#[derive(Clone, PartialEq)]
pub enum PatientBy {
    Identifier(Identifier),
    Number(Number),
    Local(LocalPatient),
    Demographics {
        name: String,
        birth_date: String,
        sex: String,
    },
    /// A telephone number in any written form.
    Phone(String),
    Search(Search),
}

/// A question for persons.
#[derive(Clone, PartialEq)]
pub struct PatientQuery {
    pub by: PatientBy,
    /// 1 to [`MAX_PERSONS`].
    pub limit: usize,
    pub reach: Reach,
    pub context: QueryContext,
}

/// Whose documents to find.
#[derive(Clone, PartialEq)]
pub enum DocumentsOf {
    Identifier(Identifier),
    Number(Number),
    Local(LocalPatient),
    Registration(RecordKey),
}

/// A question for document entries of one person.
#[derive(Clone, PartialEq)]
pub struct DocumentQuery {
    pub of: DocumentsOf,
    /// Empty: every type.
    pub type_codes: Vec<String>,
    /// [from, to) in milliseconds since 1970; 0: open.
    pub created_from_ms: u64,
    pub created_to_ms: u64,
    /// Empty: approved only.
    pub availabilities: Vec<Availability>,
    /// 1 to [`MAX_PAGE`].
    pub page_size: usize,
    pub page_token: String,
    pub reach: Reach,
    pub context: QueryContext,
}

/// A wish for a document's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentQuery {
    pub key: RecordKey,
    pub custodian_path: Option<NodePath>,
    /// From the custodian that the entry names, also when another node stands for it: so that one fetches what it lacks.
    pub as_filed: bool,
    /// Leave out this many bytes.
    pub offset: u64,
    pub context: QueryContext,
}

/// State of a node whose records an answer holds, or should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceState {
    /// The answering node itself.
    Live,
    /// As replicated.
    Replicated,
    /// Asked, and did not reply.
    NoReply,
}

/// A node whose records an answer holds, or should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    pub path: NodePath,
    pub state: SourceState,
    /// Answering node's clock when it last heard from this node; 0: never, or itself.
    pub heard_ms: u64,
    /// Newest record held from it, by its writer's clock.
    pub newest_record_ms: u64,
    /// Records it had not shipped when last heard.
    pub behind: u64,
    /// Why it did not reply, for people; without personal data.
    pub reason: String,
}

/// What every answer says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerScope {
    pub answered_by: NodePath,
    /// False when a node that could know more did not reply.
    pub complete: bool,
    pub sources: Vec<Source>,
    pub answered_ms: u64,
}

/// One registration in an answer.
#[derive(Clone, PartialEq)]
pub struct FoundRegistration {
    pub registration: Registration,
    pub version: Version,
    pub recorded_ms: u64,
    /// Node that wrote it.
    pub node_path: String,
    pub key: RecordKey,
}

/// What one compared field says for or against a candidate.
#[derive(Clone, PartialEq)]
pub struct MatchField {
    /// Name of the comparison: `name`, `birth_date`, `sex`.
    pub comparison: String,
    /// How far it agrees: a level of the linkage model, for names also `pinyin` and `part`.
    pub level: String,
    /// Bits for (positive) or against the person asked for.
    pub weight: f32,
}

/// Why a person is a candidate of a [`Search`], by the registration that fits best.
#[derive(Clone, PartialEq)]
pub struct Match {
    /// That registration.
    pub registration: RecordKey,
    /// log2 of the odds that this is the person asked for.
    pub weight: f32,
    pub probability: f32,
    pub fields: Vec<MatchField>,
}

/// Registrations held to be one human being.
#[derive(Clone, PartialEq)]
pub struct Person {
    pub number: Number,
    pub registrations: Vec<FoundRegistration>,
    /// In answers to a [`Search`].
    pub matched: Option<Match>,
}

/// Answer to a [`PatientQuery`].
#[derive(Clone, PartialEq)]
pub struct PatientAnswer {
    pub persons: Vec<Person>,
    pub truncated: bool,
    pub scope: AnswerScope,
}

/// One document entry in an answer.
#[derive(Clone, PartialEq)]
pub struct FoundDocument {
    pub entry: DocumentEntry,
    pub version: Version,
    pub recorded_ms: u64,
    /// Node to ask for the content; empty when the directory does not know it.
    pub custodian_path: String,
    pub key: RecordKey,
}

/// Answer to a [`DocumentQuery`].
#[derive(Clone, PartialEq)]
pub struct DocumentAnswer {
    pub documents: Vec<FoundDocument>,
    /// Empty on the last page.
    pub next_page_token: String,
    pub scope: AnswerScope,
}

macro_rules! redacted {
    ($($name:ident),*) => {$(
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!(stringify!($name), "(\"...\")"))
            }
        }
    )*};
}
redacted!(
    LocalPatient,
    Search,
    PatientBy,
    PatientQuery,
    DocumentsOf,
    DocumentQuery,
    FoundRegistration,
    MatchField,
    Match,
    Person,
    PatientAnswer,
    FoundDocument,
    DocumentAnswer
);
