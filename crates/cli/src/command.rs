//! The commands, and how one is run.

use std::io;
use std::process::ExitCode;
use std::sync::Arc;

use model::Clock;

use crate::connection::{Connection, Global};
use crate::document::Document;
use crate::error::CliError;
use crate::moves::Move;
use crate::output::Output;
use crate::patient::Patient;
use crate::person::Person;
use crate::quarantine::Quarantine;
use crate::scrub::Scrub;
use crate::status::Status;

/// The online commands; the binary flattens them into its own, and [`Global`] beside them.
#[derive(Clone, clap::Subcommand)]
pub enum Command {
    #[command(subcommand)]
    Patient(Patient),
    #[command(subcommand)]
    Document(Document),
    /// Shows what a node says about itself and its links.
    Status(Status),
    /// Lists what a node refused of what its neighbours sent, each with why and whether it is settled since. Ask the node that
    /// received it; no record's contents are shown.
    Quarantine(Quarantine),
    /// Has a node read its log again now, and says what was found.
    Scrub(Scrub),
    /// Has an institution file with another node.
    #[command(subcommand)]
    Move(Move),
    /// Shows and decides which registrations are one person.
    #[command(subcommand)]
    Person(Person),
}

redacted!(Command);

/// Runs a command on a runtime of its own, with the output of this process. The code is one of [`crate::Exit`].
pub fn run(command: Command, global: &Global, clock: Arc<dyn Clock>) -> ExitCode {
    let (mut data, mut messages) = (io::stdout(), io::stderr());
    let mut output = Output::of_process(&mut data, &mut messages, global.json);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(command.run(&Connection { global, clock }, &mut output)),
        Err(error) => Err(CliError::Process(error.to_string())),
    };
    output.end(ended).into()
}

impl Command {
    pub(crate) async fn run(
        self,
        connection: &Connection<'_>,
        output: &mut Output<'_>,
    ) -> Result<(), CliError> {
        match self {
            Self::Patient(patient) => patient.run(connection, output).await,
            Self::Document(document) => document.run(connection, output).await,
            Self::Status(status) => status.run(connection, output).await,
            Self::Quarantine(quarantine) => quarantine.run(connection, output).await,
            Self::Scrub(scrub) => scrub.run(connection, output).await,
            Self::Move(moved) => moved.run(connection, output).await,
            Self::Person(person) => person.run(connection, output).await,
        }
    }
}

#[cfg(test)]
mod tests;
