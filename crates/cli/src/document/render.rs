//! Documents as text.

use std::fmt::Write;

use model::codes;
use model::query::{DocumentAnswer, FoundDocument};
use wire::v1;

use crate::json;
use crate::output::{cell, not_above, scope_line, table};
use crate::text::{bytes, plain, time};

pub(super) fn submitted(document_id: &str, reply: &v1::SubmitDocumentReply) -> String {
    let said = json::Submitted::new(document_id, reply);
    let content = match reply.content_durability() {
        v1::Durability::Unspecified => "no content filed".to_owned(),
        _ => format!("content durable {}", place(said.content_durability)),
    };
    let entry = place(said.durability);
    format!(
        "{}: document {}, version {}; entry durable {entry}{}, {content}; key {}",
        said.outcome,
        plain(document_id),
        plain(&said.version),
        not_above(&said.not_above),
        said.key
    )
}

fn place(durability: &str) -> &'static str {
    if durability == "parent" { "here and at the parent" } else { "at this node" }
}

pub(super) fn fetched(fetched: &json::Fetched) -> String {
    let resumed = match fetched.resumed_at {
        0 => String::new(),
        at => format!(", resumed after {}", bytes(at)),
    };
    let checked = if fetched.checked { "hash checked" } else { "hash NOT checked" };
    format!("{}: {}{resumed}, {checked}", fetched.file, bytes(fetched.bytes))
}

/// A table of documents. The last column is what `document get` takes.
pub(super) fn list(answer: &DocumentAnswer) -> String {
    let mut table =
        table(&["created", "type", "title", "institution", "state", "conf.", ">size", "get with"]);
    for found in &answer.documents {
        let entry = &found.entry;
        table.add_row([
            cell(time(entry.created_ms)),
            cell(type_name(&entry.type_code)),
            cell(&entry.title),
            cell(&entry.institution_code),
            cell(state(found)),
            cell(&entry.confidentiality),
            cell(if entry.size == 0 { "-".to_owned() } else { bytes(entry.size) }),
            cell(handle(found)),
        ]);
    }
    let mut text = String::new();
    if !answer.documents.is_empty() {
        let _ = writeln!(text, "{table}");
    }
    text + &scope_line(&answer.scope)
}

fn type_name(code: &str) -> String {
    codes::DOCUMENT_TYPES.name(code).map_or_else(|| code.to_owned(), |name| format!("{code} {name}"))
}

fn state(found: &FoundDocument) -> String {
    let state = json::availability(found.entry.availability());
    match found.entry.replaced_by.as_str() {
        "" => state.to_owned(),
        by => format!("{state}, replaced by {by}"),
    }
}

fn handle(found: &FoundDocument) -> String {
    match found.custodian_path.as_str() {
        "" => found.key.to_string(),
        path => format!("{}@{path}", found.key),
    }
}
