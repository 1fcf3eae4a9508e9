//! The quarantine as text.

use std::fmt::Write;

use crate::json::{Quarantine, Quarantined};
use crate::output::{cell, table};
use crate::text::{bytes, count};

use super::Listed;

pub(super) fn list(listed: &Listed) -> String {
    let shown = Quarantine::from(listed.clone());
    if shown.records.is_empty() && shown.unreadable == 0 {
        return "nothing in quarantine".to_owned();
    }
    let mut text = String::new();
    if !shown.records.is_empty() {
        let mut rows = table(&[
            "from",
            "link",
            "kind",
            "key",
            ">version",
            "writer",
            "institution",
            ">size",
            "here now",
            "reason",
        ]);
        for one in &shown.records {
            rows.add_row([
                cell(from(one)),
                cell(one.direction),
                cell(&one.kind),
                cell(&one.key),
                cell(&one.version),
                cell(&one.writer_path),
                cell(of(one)),
                cell(bytes(one.bytes)),
                cell(now(one)),
                cell(&one.reason),
            ]);
        }
        let _ = writeln!(text, "{rows}");
    }
    text.push_str(&summary(&shown));
    text
}

fn from(one: &Quarantined) -> String {
    match (one.from_path.as_str(), one.from_name.as_str()) {
        ("", _) => format!("unknown node {}", one.from_origin),
        (path, "") => path.to_owned(),
        (path, name) => format!("{path} {name}"),
    }
}

/// Whose record it is; an origin that is no known institution is a node's or unknown.
fn of(one: &Quarantined) -> String {
    match (one.institution_code.as_str(), one.institution_name.as_str()) {
        ("", _) if one.origin.is_empty() => String::new(),
        ("", _) => format!("origin {}", one.origin),
        (code, "") => code.to_owned(),
        (code, name) => format!("{code} {name}"),
    }
}

fn now(one: &Quarantined) -> String {
    let held = &one.held_version;
    match one.standing {
        "missing" => "nothing".to_owned(),
        "older" => format!("older: {held}"),
        "held" => "held since".to_owned(),
        "superseded" => format!("superseded: {held}"),
        "overruled" => format!("overruled: {held}"),
        "other_bytes" => "other bytes".to_owned(),
        "forgotten" => "forgotten since".to_owned(),
        _ => "no record".to_owned(),
    }
}

fn summary(shown: &Quarantine) -> String {
    let mut parts = vec![count(shown.records.len() as u64, "record", "records")];
    let open = shown.records.iter().filter(|one| !one.settled).count();
    parts.push(match open {
        0 => "all settled: what is here now is the same or later".to_owned(),
        open => format!("{open} not settled: act on the reasons"),
    });
    if shown.unreadable > 0 {
        parts.push(format!("{} more cannot be read, the log is damaged there", shown.unreadable));
    }
    if shown.more {
        parts.push("there are more: --limit".to_owned());
    }
    parts.join("; ")
}

#[cfg(test)]
mod tests;
