//! `quarantine`: what a node refused of what its neighbours sent, for its operators.

mod render;

use bytes::Bytes;
use wire::v1;

use crate::connection::Connection;
use crate::error::CliError;
use crate::json;
use crate::output::Output;

/// Records asked for at a time; the protocol allows 1,000.
const PAGE: u32 = 500;

/// Arguments of `quarantine`.
#[derive(Debug, Clone, clap::Args)]
pub struct Quarantine {
    /// Only what this neighbour sent: its path, its name or its origin.
    #[arg(long, value_name = "PATH_OR_NAME")]
    from: Option<String>,
    /// Most records; the oldest come first.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

impl Quarantine {
    pub(crate) async fn run(
        self,
        connection: &Connection<'_>,
        output: &mut Output<'_>,
    ) -> Result<(), CliError> {
        let client = connection.client().await?;
        let (from, limit) = (self.from.unwrap_or_default(), self.limit as usize);
        let mut listed = Listed { more: true, ..Listed::default() };
        let mut page_token = Bytes::new();
        let mut seen = 0;
        while listed.more && seen < limit {
            let page_size = PAGE.min((limit - seen) as u32);
            let request = v1::ListQuarantineRequest { from: from.clone(), page_size, page_token };
            let page = client.list_quarantine(request).await?;
            let given = page.records.len() + page.unreadable as usize;
            (seen, page_token) = (seen + given, page.next_page_token);
            listed.unreadable += u64::from(page.unreadable);
            listed.records.extend(page.records);
            // An empty page leads nowhere, whatever it says.
            listed.more = !page_token.is_empty() && given > 0;
        }
        output.answer(|| render::list(&listed), || json::Quarantine::from(listed.clone()))
    }
}

/// What was listed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Listed {
    pub records: Vec<v1::QuarantinedRecord>,
    /// How many are not among them, because the node's log is damaged where they are kept.
    pub unreadable: u64,
    /// There are more than were asked for.
    pub more: bool,
}
