//! `move all`: every institution of one node files with another from now on. `move node`: then that one stands for it.

use std::fmt::Write;

use model::NodePath;
use wire::v1;

use crate::client::Client;
use crate::connection::Connection;
use crate::error::CliError;
use crate::json;
use crate::output::Output;
use crate::text::{bytes, count, plain};

/// What became of one node's institutions.
#[derive(Debug)]
pub(crate) struct Merge {
    pub from: NodePath,
    pub to: NodePath,
    pub dry_run: bool,
    pub moved: Vec<Moved>,
    /// Code, and why it was not moved.
    pub refused: Vec<(String, CliError)>,
    /// Codes of those that left, now or before, and whose term the old node has not ended as far as is known.
    pub leaving: Vec<String>,
    /// The new node is to stand for the old one as well.
    pub whole: bool,
    /// The old node is dead: its terms are ended without it.
    pub dead: bool,
    /// What came of that; none: it is too early.
    pub handed_over: Option<v1::HandOverReply>,
}

impl Merge {
    /// Of nothing yet but the institutions, of a node that lives.
    pub fn new(from: NodePath, to: NodePath, dry_run: bool) -> Self {
        let (moved, refused, leaving) = (Vec::new(), Vec::new(), Vec::new());
        Self { from, to, dry_run, moved, refused, leaving, whole: false, dead: false, handed_over: None }
    }

    fn request(&self, code: &str) -> v1::MoveInstitutionRequest {
        v1::MoveInstitutionRequest {
            code: code.to_owned(),
            to: self.to.to_string(),
            dry_run: self.dry_run,
            without_old_writer: self.dead,
            expected_from: self.from.to_string(),
        }
    }

    /// Whether nothing is left that only the old node can do.
    fn is_empty(&self) -> bool {
        self.refused.is_empty() && self.leaving.is_empty() && (!self.dry_run || self.moved.is_empty())
    }
}

/// An institution that was moved, or would be.
#[derive(Debug)]
pub(crate) struct Moved {
    pub code: String,
    pub name: String,
    pub reply: v1::MoveInstitutionReply,
}

pub(super) async fn run(
    mut merge: Merge,
    connection: &Connection<'_>,
    output: &mut Output<'_>,
) -> Result<(), CliError> {
    if merge.from == merge.to {
        return Err(CliError::Usage("--from and --to are the same node"));
    }
    let client = connection.client().await?;
    for v1::InstitutionAt { code, name, leaving, .. } in list(&client, &merge.from).await? {
        let moved = if !leaving {
            client.move_institution(merge.request(&code)).await.map(Some)
        } else if merge.dead && !merge.dry_run {
            end_without(&client, &merge, &code).await
        } else {
            Ok(None)
        };
        match moved {
            Ok(Some(reply)) => merge.moved.push(Moved { code, name, reply }),
            Ok(None) => {}
            // The others can be moved all the same; a connection that fails ends it all, and it can be run again.
            Err(error @ CliError::Refused(_)) => merge.refused.push((code, error)),
            Err(error) => return Err(error),
        }
    }
    let left = list(&client, &merge.from).await?.into_iter().filter(|one| one.leaving);
    merge.leaving = left.map(|one| one.code).collect();
    if merge.whole && merge.is_empty() {
        let (from, to) = (merge.from.to_string(), merge.to.to_string());
        let request = v1::HandOverRequest { from, to, dry_run: merge.dry_run };
        merge.handed_over = Some(client.hand_over(request).await?);
    }
    output.answer(|| text(&merge), || json::Merge::from(&merge))?;
    merge.refused.into_iter().next().map_or(Ok(()), |(_, error)| Err(error))
}

/// Ends the dead node's term of an institution that was moved before. One that went to a third node stays where it is: nothing is
/// done, and it is still told among those that are waited for.
async fn end_without(
    client: &Client,
    merge: &Merge,
    code: &str,
) -> Result<Option<v1::MoveInstitutionReply>, CliError> {
    // Of whom the term is that would end is what is asked.
    let look =
        v1::MoveInstitutionRequest { dry_run: true, expected_from: String::new(), ..merge.request(code) };
    let now = client.move_institution(look).await?;
    let there = now.outcome() == v1::MoveOutcome::There && now.awaited_writer == merge.from.to_string();
    if !there {
        return Ok(None);
    }
    client.move_institution(merge.request(code)).await.map(Some)
}

/// All pages.
async fn list(client: &Client, writer: &NodePath) -> Result<Vec<v1::InstitutionAt>, CliError> {
    let mut all: Vec<v1::InstitutionAt> = Vec::new();
    loop {
        let after = all.last().map_or_else(String::new, |last| last.code.clone());
        let request = v1::ListInstitutionsRequest { writer: writer.to_string(), after };
        let page = client.list_institutions(request).await?;
        let more = page.more && !page.institutions.is_empty();
        all.extend(page.institutions);
        if !more {
            return Ok(all);
        }
    }
}

fn text(merge: &Merge) -> String {
    let mut text = String::new();
    let mut line = |label: &str, value: String| {
        let _ = writeln!(text, "{label:<12} {}", plain(&value));
    };
    let institutions = count(merge.moved.len() as u64, "institution", "institutions");
    let done = if merge.dry_run { "would move; nothing was changed" } else { "moved" };
    line("merge", format!("{} -> {}: {institutions} {done}", merge.from, merge.to));
    for Moved { code, name, reply } in &merge.moved {
        let registrations = count(reply.registrations, "registration", "registrations");
        let entries = count(reply.document_entries, "document entry", "document entries");
        let (term, travelling) = (reply.term, reply.travelling);
        let name = if name.is_empty() { String::new() } else { format!(" {name}") };
        line(
            "institution",
            format!("{code}{name}: term {term}, {registrations}, {entries}, of which {travelling} travel"),
        );
    }
    for (code, error) in &merge.refused {
        line("refused", format!("{code}: {error}"));
    }
    if !merge.leaving.is_empty() {
        let terms = count(merge.leaving.len() as u64, "term", "terms");
        line("waits for", format!("{} to end {terms}: {}", merge.from, merge.leaving.join(", ")));
    }
    if let Some(over) = &merge.handed_over {
        let done = match over.outcome() {
            v1::MoveOutcome::Possible => "would stand for it; nothing was changed",
            v1::MoveOutcome::There => "stands for it since before",
            _ => "stands for it from now on",
        };
        let documents = count(over.documents, "document", "documents");
        let size = bytes(over.bytes);
        line(
            "node",
            format!("{} {done}; {documents} of {size} are to be fetched from {}", merge.to, merge.from),
        );
    }
    if let Some(next) = next(merge) {
        line("next", next);
    }
    text
}

/// What is left for somebody to do; nothing after a dry run.
pub(crate) fn next(merge: &Merge) -> Option<String> {
    let from = &merge.from;
    if merge.dry_run {
        return None;
    }
    if !merge.refused.is_empty() {
        return Some("see to what was refused, then run this again".into());
    }
    if merge.dead && merge.leaving.is_empty() {
        return Some(format!(
            "{from} is done without; documents whose content it alone keeps cannot be fetched any more. `move node` has {} stand for it",
            merge.to
        ));
    }
    if merge.dead {
        return Some(
            "those still waited for file with a third node: `move institution CODE --to` that one `--without-old-writer`".into(),
        );
    }
    if !merge.leaving.is_empty() {
        return Some(format!("leave {from} running until it has learnt of this; run this again to see"));
    }
    if merge.handed_over.is_some() {
        return Some(format!(
            "leave {from} running until `tiermesh status` of {} names no documents of it any more and {from}'s link is proven whole; then stop it",
            merge.to
        ));
    }
    Some(format!(
        "all terms of {from} have ended; stop it once its link is proven whole (`tiermesh status`). Its records stay valid; documents whose content it keeps are fetched from it only while it runs"
    ))
}
