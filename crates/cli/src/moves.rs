//! `move`: has an institution, or all of a node, file with another node.

pub(crate) mod all;

use std::fmt::Write;

use model::NodePath;
use wire::v1;

use crate::connection::Connection;
use crate::error::CliError;
use crate::json;
use crate::output::Output;
use crate::text::{bytes, count, plain};
use all::Merge;

/// Arguments of `move`.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Move {
    /// Hands an institution to another node. Ask the lowest node above the old one and the new one. Asked again it changes
    /// nothing and says what is still waited for.
    Institution {
        /// Its code, as in its certificates.
        code: String,
        /// Path of the node that it is to file with.
        #[arg(long, value_name = "PATH")]
        to: NodePath,
        /// Only say what would happen.
        #[arg(long)]
        dry_run: bool,
        /// The old node is dead and will not come back: do not wait for it. What it wrote and this node has not yet may be
        /// overruled; it is then kept in quarantine if it ever comes. Also for a move that was decided already.
        #[arg(long)]
        without_old_writer: bool,
    },
    /// Hands every institution of a node to another, as when a county is merged into its neighbour. Ask the lowest node above
    /// both. It can be run again at any time: it goes on, and says what the old node is still needed for.
    All {
        /// Path of the node that they file with.
        #[arg(long, value_name = "PATH")]
        from: NodePath,
        /// Path of the node that they are to file with.
        #[arg(long, value_name = "PATH")]
        to: NodePath,
        /// Only say what would happen.
        #[arg(long)]
        dry_run: bool,
        /// The old node is dead and will not come back: do not wait for it, for none of its institutions; also for those that were
        /// moved to the new one before. What this means: see `move institution --help`.
        #[arg(long)]
        without_old_writer: bool,
    },
    /// Has one node stand for another: a county that comes under another prefecture, is merged, or gets a prefecture above it.
    /// Does what `all` does; then everybody asks the new node for the old one's documents too, and it fetches them. Run it again
    /// until it says what to stop. Of a node that is dead move the institutions with `all --without-old-writer` before.
    Node {
        /// Path of the node that is given up.
        #[arg(long, value_name = "PATH")]
        from: NodePath,
        /// Path of the node that stands for it then. It must be there already.
        #[arg(long, value_name = "PATH")]
        to: NodePath,
        /// Only say what would happen.
        #[arg(long)]
        dry_run: bool,
    },
}

impl Move {
    pub(crate) async fn run(
        self,
        connection: &Connection<'_>,
        output: &mut Output<'_>,
    ) -> Result<(), CliError> {
        let (code, to, dry_run, without_old_writer) = match self {
            Self::Institution { code, to, dry_run, without_old_writer } => {
                (code, to, dry_run, without_old_writer)
            }
            Self::All { from, to, dry_run, without_old_writer } => {
                let merge = Merge { dead: without_old_writer, ..Merge::new(from, to, dry_run) };
                return all::run(merge, connection, output).await;
            }
            Self::Node { from, to, dry_run } => {
                let merge = Merge { whole: true, ..Merge::new(from, to, dry_run) };
                return all::run(merge, connection, output).await;
            }
        };
        let to = to.to_string();
        let expected_from = String::new();
        let request = v1::MoveInstitutionRequest { code, to, dry_run, without_old_writer, expected_from };
        let reply = connection.client().await?.move_institution(request).await?;
        output.answer(|| text(&reply), || json::InstitutionMove::from(reply.clone()))
    }
}

fn text(reply: &v1::MoveInstitutionReply) -> String {
    let mut text = String::new();
    let mut line = |label: &str, value: String| {
        let _ = writeln!(text, "{label:<12} {}", plain(&value));
    };
    let outcome = match reply.outcome() {
        v1::MoveOutcome::Possible => "nothing was changed; this would happen",
        v1::MoveOutcome::Decided => "decided; everything else follows by itself",
        v1::MoveOutcome::There => "decided before",
        v1::MoveOutcome::Unspecified => "unknown",
    };
    line("move", format!("{} -> {}, term {}: {outcome}", reply.from, reply.to, reply.term));
    line(
        "records",
        format!(
            "{}, {}, {} withdrawn; {}, of which {} travel; up to position {}",
            count(reply.registrations, "registration", "registrations"),
            count(reply.document_entries, "document entry", "document entries"),
            reply.withdrawn,
            bytes(reply.bytes),
            reply.travelling,
            reply.upto
        ),
    );
    for (label, link) in [("from", &reply.from_link), ("to", &reply.to_link)] {
        line(label, link.as_ref().map_or_else(|| "this node".to_owned(), link_text));
    }
    let waits = match (reply.outcome(), reply.awaited_term) {
        (v1::MoveOutcome::Possible, _) => return text,
        (_, 0) => {
            "nothing, as far as is known here: the new node writes as soon as it has the records".to_owned()
        }
        (_, term) => format!("{} to learn of it and end its term {term}", reply.awaited_writer),
    };
    line("waits for", waits);
    text
}

fn link_text(link: &v1::MoveLink) -> String {
    let state = json::health(link.health());
    let connected = if link.connected { "connected" } else { "NOT CONNECTED" };
    let proven = if link.proven_ms == 0 { "not proven since the start" } else { "proven" };
    let why = if link.reason.is_empty() { String::new() } else { format!(": {}", link.reason) };
    format!("{} {state}, {connected}, {proven}, at {} of {}{why}", link.path, link.position, link.head)
}
