//! `scrub`: has a node read its log again now, and says what was found.

use std::time::Duration;

use crate::connection::Connection;
use crate::error::CliError;
use crate::json;
use crate::output::Output;
use crate::status::render;

/// Between two looks whether the pass has ended.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Arguments of `scrub`.
#[derive(Debug, Clone, clap::Args)]
pub struct Scrub {
    /// Only begin it; `status` shows how far it has come.
    #[arg(long)]
    no_wait: bool,
}

impl Scrub {
    pub(crate) async fn run(
        self,
        connection: &Connection<'_>,
        output: &mut Output<'_>,
    ) -> Result<(), CliError> {
        let client = connection.client().await?;
        let pass = client.scrub().await?;
        let mut status = client.status().await?;
        let ended = |status: &wire::v1::NodeStatus| {
            status.store.as_ref().is_some_and(|store| store.scrub_passes >= pass)
        };
        while !self.no_wait && !ended(&status) {
            tokio::time::sleep(LOOK_EVERY).await;
            status = client.status().await?;
        }
        output.answer(|| render::scrub(&status), || json::Status::from(status.clone()))
    }
}
