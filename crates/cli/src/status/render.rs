//! A node's status as text.

use std::fmt::Write;

use wire::v1;

use crate::json::{Link, Status};
use crate::output::{cell, table};
use crate::text::{bytes, count, plain, span, time};

/// The status, with the `most_links` worst links.
pub(super) fn status(status: &v1::NodeStatus, most_links: usize) -> String {
    let status = Status::from(status.clone());
    let mut text = String::new();
    for (label, value) in lines(&status) {
        let _ = writeln!(text, "{label:<12} {}", plain(&value));
    }
    text.push_str(&links(&status, most_links));
    text
}

fn lines(status: &Status) -> Vec<(&'static str, String)> {
    let up = span(status.now_ms.saturating_sub(status.started_ms));
    let mut lines = vec![
        ("node", format!("{} {} ({}) in {}", status.path, status.name, status.tier, status.trust_domain)),
        (
            "software",
            format!("{}, up {up}, epoch {}, clock {}", status.software, status.epoch, time(status.now_ms)),
        ),
        (
            "writing",
            if status.writing { "yes".to_owned() } else { format!("NO: {}", status.not_writing_reason) },
        ),
    ];
    if status.writing && matches!(status.health, "amber" | "red") {
        lines.push(("health", format!("{}: {}", status.health.to_uppercase(), status.reason)));
    }
    if status.certificate_not_after_ms > 0 {
        lines.push(("certificate", certificate(status)));
    }
    let store = &status.store;
    lines.push((
        "records",
        format!(
            "{}, {}, {} of the directory; {} quarantined{}; head {}",
            count(store.registrations, "registration", "registrations"),
            count(store.document_entries, "document entry", "document entries"),
            store.directory_records,
            store.quarantined,
            if store.quarantined > 0 { " (`quarantine` says why)" } else { "" },
            store.head
        ),
    ));
    lines.extend(persons_line(status));
    let full = if store.disk_full { "; DISK FULL: make room, writes resume by themselves" } else { "" };
    lines.push((
        "store",
        format!(
            "log {}, records {}, index {} ({}); opened in {}: {}{full}",
            bytes(store.log_bytes),
            bytes(store.record_bytes),
            bytes(store.index_bytes),
            store.index,
            span(store.open_ms),
            if store.opened.is_empty() { "nothing to say" } else { &store.opened }
        ),
    ));
    lines.extend(scrub_lines(status));
    lines.extend(reclaim_line(status));
    lines.push((
        "content",
        format!("{}, {}", count(status.content.objects, "object", "objects"), bytes(status.content.bytes)),
    ));
    lines
}

/// What became of a scrub, by itself.
pub(crate) fn scrub(status: &v1::NodeStatus) -> String {
    let status = Status::from(status.clone());
    let mut text = String::new();
    for (label, value) in scrub_lines(&status) {
        let _ = writeln!(text, "{label:<12} {}", plain(&value));
    }
    text
}

fn scrub_lines(status: &Status) -> Vec<(&'static str, String)> {
    let store = &status.store;
    let last = match store.scrub_passed_ms {
        0 => "no full pass since the start".to_owned(),
        at => format!("last full pass {} ago", span(status.now_ms.saturating_sub(at))),
    };
    let now = if store.scrubbing {
        format!("reading the log again, up to {} of {}; ", store.scrubbed_upto, store.head)
    } else {
        String::new()
    };
    let every = match store.scrub_days {
        0 => "only when asked for".to_owned(),
        days => format!("every {}", count(days.into(), "day", "days")),
    };
    let mut lines = vec![("scrub", format!("{now}{last}; {every}"))];
    if store.damaged_places > 0 {
        let lost = match store.lost_records {
            0 => String::new(),
            lost => format!(", of which {lost} NOBODY HAS"),
        };
        lines.push((
            "damage",
            format!(
                "{} found, {} repaired from neighbours, {} still damaged{lost}",
                count(store.damaged_places, "place", "places"),
                count(store.repaired_records, "record", "records"),
                store.damaged_records
            ),
        ));
    }
    lines.extend(store.corrupt.iter().map(|place| ("CORRUPT", place.clone())));
    lines.extend(store.mended.iter().map(|place| ("mended", place.clone())));
    lines
}

/// Nothing to say of a node without a linker, which an earlier release is.
fn persons_line(status: &Status) -> Option<(&'static str, String)> {
    let linker = &status.linker;
    if linker.model.is_empty() {
        return None;
    }
    let persons = format!(
        "{} of {} under this node, {}",
        count(linker.persons, "person", "persons"),
        count(linker.registrations, "registration", "registrations"),
        count(linker.links, "link", "links")
    );
    let now = match (linker.loading, status.store.head.saturating_sub(linker.judged)) {
        _ if !linker.held_up.is_empty() => format!("HELD UP: {}", linker.held_up),
        (true, _) => "taking in what was there at the start".to_owned(),
        (false, 0) => "all judged".to_owned(),
        (false, behind) => format!("{} behind", count(behind, "commit", "commits")),
    };
    let refused = match linker.refused {
        0 => String::new(),
        refused => format!("; {refused} joins refused: more than 256 registrations of one person"),
    };
    let reviews = match linker.reviews {
        0 => String::new(),
        reviews => format!("; {reviews} to look at (person reviews)"),
    };
    Some(("persons", format!("{persons}; {now}{reviews}; model {}{refused}", linker.model)))
}

/// Nothing to say of a log that has nothing superseded and never had.
fn reclaim_line(status: &Status) -> Option<(&'static str, String)> {
    let store = &status.store;
    if store.dead_bytes == 0 && store.reclaimed_bytes == 0 && store.reclaim_held_up.is_empty() {
        return None;
    }
    let now = if store.reclaiming { "rewriting a segment; " } else { "" };
    let last = match store.reclaimed_ms {
        0 => "not done yet since the start".to_owned(),
        at => format!("last done {} ago", span(status.now_ms.saturating_sub(at))),
    };
    let held_up = match store.reclaim_held_up.as_str() {
        "" => String::new(),
        why => format!("; HELD UP: {why}"),
    };
    let (dead, freed) = (bytes(store.dead_bytes), bytes(store.reclaimed_bytes));
    Some(("reclaim", format!("{now}{dead} superseded, {freed} freed since the start; {last}{held_up}")))
}

fn certificate(status: &Status) -> String {
    let end = time(status.certificate_not_after_ms);
    match status.certificate_not_after_ms.checked_sub(status.now_ms) {
        None => format!("EXPIRED {end}: renew it"),
        Some(left) => format!("ends {end}, in {}", span(left)),
    }
}

/// The worst first, so that a cut list loses nothing that needs a hand.
fn links(status: &Status, most: usize) -> String {
    let rank =
        |link: &Link| ["red", "amber", "unknown", "green"].iter().position(|word| *word == link.health);
    let parent = status.parent.iter().map(|link| ("parent", link));
    let parent = parent.chain(status.parent_down.iter().map(|link| ("parent, down", link)));
    let children = status.children.iter().map(|link| ("child", link));
    let mut children: Vec<_> =
        children.chain(status.children_down.iter().map(|link| ("child, down", link))).collect();
    children.sort_by(|(_, a), (_, b)| (rank(a), &a.path).cmp(&(rank(b), &b.path)));
    let all: Vec<_> = parent.chain(children).collect();
    if all.is_empty() {
        return String::new();
    }
    let heads = [
        "end",
        "path",
        "health",
        "link",
        ">behind",
        ">applied",
        ">quarantined",
        "proven equal",
        "heard",
        ">clock offset",
        "reason",
    ];
    let mut table = table(&heads);
    for (end, link) in all.iter().take(most) {
        table.add_row([
            cell(end),
            cell(&link.path),
            cell(link.health),
            cell(connections(link)),
            cell(link.head.saturating_sub(link.position).to_string()),
            cell(link.applied.to_string()),
            cell(link.quarantined.to_string()),
            cell(proven(status.now_ms, link)),
            cell(heard(status.now_ms, link)),
            cell(format!("{:+.3} s", link.clock_offset_ms as f64 / 1000.0)),
            cell(&link.reason),
        ]);
    }
    let mut table = table.to_string();
    if all.iter().any(|(_, link)| link.quarantined > 0) {
        table.push_str(
            "\nquarantined records are with the receiver of a link: `tiermesh quarantine` there says which and why",
        );
    }
    let rest = &all[all.len().min(most)..];
    match rest.iter().find(|(_, link)| link.health != "green") {
        _ if rest.is_empty() => format!("{table}\n"),
        None => format!("{table}\nand {} more, all green\n", rest.len()),
        Some(_) => format!("{table}\nand {} more, not all green\n", rest.len()),
    }
}

fn connections(link: &Link) -> &'static str {
    match (link.connected, link.callable) {
        (true, true) => "both ways",
        (true, false) => "up only",
        (false, true) => "down only",
        (false, false) => "closed",
    }
}

/// When both ends were last proven to hold the same, how many records, and if not all, up to where.
fn proven(now_ms: u64, link: &Link) -> String {
    match link.proven_ms {
        0 => "not yet".to_owned(),
        at => {
            let whole = if link.proven_position == link.head {
                "whole".to_owned()
            } else {
                format!("up to {} of {}", link.proven_position, link.head)
            };
            let ago = span(now_ms.saturating_sub(at));
            format!("{whole}, {ago} ago, {} records", link.proven_records)
        }
    }
}

fn heard(now_ms: u64, link: &Link) -> String {
    match link.heard_ms {
        0 => "never".to_owned(),
        at => format!("{} ago", span(now_ms.saturating_sub(at))),
    }
}

#[cfg(test)]
mod tests;
