//! `document submit|find|get|deprecate|withdraw`.

mod get;
mod render;
mod submit;

use model::query::{DocumentQuery, DocumentsOf, MAX_PAGE};
use model::{Availability, RecordKey};
use wire::v1;

use crate::connection::Connection;
use crate::error::CliError;
use crate::json;
use crate::output::Output;
use crate::patient::{Exactly, HowFar, Named, WHOM};
use crate::text::parse_time;

/// Submits, finds and fetches documents, and changes their status.
#[derive(Clone, clap::Subcommand)]
pub enum Document {
    /// Submits a document of the calling institution: a file, or a reference to where the institution holds it.
    Submit(Box<submit::Submit>),
    /// Finds documents of a person, newest first.
    Find(Find),
    /// Fetches a document's content through the tree; resumes where an earlier attempt stopped.
    Get(get::Get),
    /// Marks a document as out of date.
    Deprecate(Change),
    /// Withdraws a document: it should not have been filed.
    Withdraw(Change),
}

#[derive(Clone, clap::Args)]
#[command(group = clap::ArgGroup::new("patient").required(true))]
pub struct Find {
    #[command(flatten)]
    exactly: Exactly,
    /// Key of a registration of the person (`patient show`).
    #[arg(long, value_name = "KEY", group = "patient")]
    registration: Option<RecordKey>,
    /// Document type (WS/T 500, WS/T 483); repeatable.
    #[arg(long = "type", value_name = "CODE")]
    type_code: Vec<String>,
    /// Created at or after this time: YYYY-MM-DD or YYYY-MM-DDTHH:MM[:SS], Beijing time.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    from: Option<u64>,
    /// Created before this time.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    to: Option<u64>,
    /// approved, deprecated, withdrawn; repeatable [default: approved].
    #[arg(long, value_name = "STATE", value_parser = state)]
    state: Vec<Availability>,
    /// Most documents to answer.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=MAX_PAGE as i64))]
    limit: u32,
    /// Goes on after the page that ended with this token.
    #[arg(long, value_name = "TOKEN")]
    page_token: Option<String>,
    #[command(flatten)]
    how_far: HowFar,
}

#[derive(Clone, clap::Args)]
pub struct Change {
    /// Id of the document within the institution.
    document_id: String,
    /// The patient's id in the source system.
    #[arg(long, value_name = "ID")]
    local_id: String,
    /// Assigning system within the institution, when it has several.
    #[arg(long, value_name = "SYSTEM", default_value = "", hide_default_value = true)]
    source_system: String,
    /// Why, at most 256 characters; needed for a withdrawal.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
}

redacted!(Document, Find, Change);

fn state(text: &str) -> Result<Availability, &'static str> {
    let known = [Availability::Approved, Availability::Deprecated, Availability::Withdrawn];
    known
        .into_iter()
        .find(|state| json::availability(*state) == text)
        .ok_or("must be approved, deprecated or withdrawn")
}

impl Document {
    pub(crate) async fn run(
        self,
        connection: &Connection<'_>,
        output: &mut Output<'_>,
    ) -> Result<(), CliError> {
        match self {
            Self::Submit(submit) => submit.run(connection, output).await,
            Self::Find(find) => find.run(connection, output).await,
            Self::Get(get) => get.run(connection, output).await,
            Self::Deprecate(change) => change.run(Availability::Deprecated, connection, output).await,
            Self::Withdraw(change) if change.reason.is_empty() => {
                Err(CliError::Usage("a withdrawal needs its --reason"))
            }
            Self::Withdraw(change) => change.run(Availability::Withdrawn, connection, output).await,
        }
    }
}

impl Change {
    async fn run(
        self,
        to: Availability,
        connection: &Connection<'_>,
        output: &mut Output<'_>,
    ) -> Result<(), CliError> {
        let request = v1::ChangeDocumentStatusRequest {
            document_id: self.document_id.clone(),
            source_system: self.source_system,
            local_id: self.local_id,
            availability: to as i32,
            reason: self.reason,
            ..Default::default()
        };
        let reply = connection.client().await?.change_document(request).await?;
        output.answer(
            || render::submitted(&self.document_id, &reply),
            || json::Submitted::new(&self.document_id, &reply),
        )
    }
}

impl Find {
    async fn run(self, connection: &Connection<'_>, output: &mut Output<'_>) -> Result<(), CliError> {
        let query = self.query(connection)?;
        let answer = connection.client().await?.find_documents(query).await?;
        output.answer(|| render::list(&answer), || json::Documents::from(&answer))?;
        if answer.documents.is_empty() {
            return Err(CliError::nothing("no such document of this patient", answer.scope.complete));
        }
        if !answer.next_page_token.is_empty() {
            output.note(&format!(
                "note: there are more; go on with --page-token {}",
                crate::text::plain(&answer.next_page_token)
            ));
        }
        Ok(())
    }

    fn query(self, connection: &Connection<'_>) -> Result<DocumentQuery, CliError> {
        let of = match (self.registration, self.exactly.named()?) {
            (Some(key), _) => DocumentsOf::Registration(key),
            (None, Some(Named::Identifier(identifier))) => DocumentsOf::Identifier(identifier),
            (None, Some(Named::Number(number))) => DocumentsOf::Number(number),
            (None, Some(Named::Local(local))) => DocumentsOf::Local(local),
            (None, None) => return Err(WHOM),
        };
        Ok(DocumentQuery {
            of,
            type_codes: self.type_code,
            created_from_ms: self.from.unwrap_or(0),
            created_to_ms: self.to.unwrap_or(0),
            availabilities: self.state,
            page_size: self.limit as usize,
            page_token: self.page_token.unwrap_or_default(),
            reach: self.how_far.reach(),
            context: connection.context(),
        })
    }
}
