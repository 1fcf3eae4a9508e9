//! `status`: what a node says about itself and its links.

pub(crate) mod render;

use std::time::Duration;

use tokio::time::MissedTickBehavior;

use crate::client::Client;
use crate::connection::Connection;
use crate::error::CliError;
use crate::json;
use crate::output::Output;

/// Links shown while watching, the worst first: a redraw must fit the screen.
const WATCHED_LINKS: usize = 20;

/// Arguments of `status`.
#[derive(Debug, Clone, clap::Args)]
pub struct Status {
    /// Show it again every --interval seconds, until Ctrl-C.
    #[arg(long)]
    watch: bool,
    /// With --watch: seconds between two looks, 1 to 3600.
    #[arg(long, value_name = "SECONDS", default_value_t = 2, requires = "watch", value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: u64,
    /// With --watch: end after this many looks.
    #[arg(long, value_name = "N", requires = "watch")]
    looks: Option<u64>,
}

impl Status {
    pub(crate) async fn run(
        self,
        connection: &Connection<'_>,
        output: &mut Output<'_>,
    ) -> Result<(), CliError> {
        let client = connection.client().await?;
        if !self.watch {
            return look(&client, output, usize::MAX).await;
        }
        tokio::select! {
            ended = self.watch(&client, output) => ended,
            stop = tokio::signal::ctrl_c() => stop.map_err(|error| CliError::Process(error.to_string())),
        }
    }

    /// A node that restarts is a reason to go on watching, so errors are shown and do not end it.
    async fn watch(&self, client: &Client, output: &mut Output<'_>) -> Result<(), CliError> {
        let mut ticks = tokio::time::interval(Duration::from_secs(self.interval));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for look_number in 1.. {
            ticks.tick().await;
            output.clear()?;
            let seen = look(client, output, WATCHED_LINKS).await;
            if self.looks == Some(look_number) || matches!(seen, Err(CliError::Process(_))) {
                return seen;
            }
            if let Err(error) = seen {
                output.note(&format!("error: {error}"));
            }
        }
        Ok(())
    }
}

async fn look(client: &Client, output: &mut Output<'_>, most_links: usize) -> Result<(), CliError> {
    let status = client.status().await?;
    output.answer(|| render::status(&status, most_links), || json::Status::from(status.clone()))
}
