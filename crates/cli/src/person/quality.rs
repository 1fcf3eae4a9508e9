//! How good the persons of a node are, as text.

use std::fmt::Write;

use wire::v1;

use crate::json::{Quality, Share, Size};
use crate::output::{cell, table};
use crate::text::{count, plain, time};

/// Population stability index above which a field is pointed out.
const STEADY: f64 = 0.1;
const SHIFTED: f64 = 0.25;

pub(super) fn text(quality: &v1::GetQualityReply) -> String {
    let quality = Quality::from(quality.clone());
    let mut text = String::new();
    let _ = writeln!(
        text,
        "counted {} with model {}: {} of {}, {:.2} each",
        time(quality.counted_ms),
        plain(&quality.model),
        count(quality.registrations, "registration", "registrations"),
        count(quality.persons, "person", "persons"),
        quality.registrations_per_person,
    );
    let _ = writeln!(text, "persons by registrations: {}", sizes(&quality));
    joins(&mut text, &quality);
    backlog(&mut text, &quality);
    suspects(&mut text, &quality);
    sample(&mut text, &quality);
    drift(&mut text, &quality);
    text
}

fn sizes(quality: &Quality) -> String {
    let mut from = 1;
    let mut shown = Vec::new();
    for Size { up_to, persons } in &quality.sizes {
        let range = match up_to {
            Some(up_to) if *up_to == from => format!("{from}"),
            Some(up_to) => format!("{from}-{up_to}"),
            None => format!("{from} and more"),
        };
        from = up_to.unwrap_or(from).saturating_add(1);
        if *persons > 0 {
            shown.push(format!("{range}: {persons}"));
        }
    }
    format!("{} (most {})", shown.join(", "), quality.largest_person)
}

fn joins(text: &mut String, quality: &Quality) {
    let all = quality.joined_by_rule + quality.joined_by_score + quality.joined_by_human;
    let share = |part: u64| format!("{part} ({:.1} %)", 100.0 * part as f64 / all.max(1) as f64);
    let _ = writeln!(
        text,
        "joined pairs: by rule {}, by score {}, by operators {}; suspended {}",
        share(quality.joined_by_rule),
        share(quality.joined_by_score),
        share(quality.joined_by_human),
        quality.suspended,
    );
}

fn backlog(text: &mut String, quality: &Quality) {
    let backlog = &quality.backlog;
    let _ = write!(text, "waiting for an operator: {}", backlog.waiting);
    if backlog.aged > 0 {
        let of = if backlog.aged < backlog.waiting {
            format!(" of the first {}", backlog.aged)
        } else {
            String::new()
        };
        let _ = write!(
            text,
            ", the oldest{of} since {}; over a day {}, over 7 days {}, over 30 days {}",
            time(backlog.oldest_ms),
            backlog.over_1_day,
            backlog.over_7_days,
            backlog.over_30_days,
        );
    }
    text.push('\n');
}

fn suspects(text: &mut String, quality: &Quality) {
    text.push_str("persons whose registrations contradict each other:\n");
    let mut rows = table(&["in", ">persons", "for example (`person show KEY`)"]);
    for one in &quality.suspects {
        let first: Vec<&str> = one.examples.iter().take(2).map(String::as_str).collect();
        rows.add_row([cell(&one.contradiction), cell(one.persons.to_string()), cell(first.join(" "))]);
    }
    let _ = writeln!(text, "{rows}");
}

fn sample(text: &mut String, quality: &Quality) {
    let share = |share: &Option<Share>| match share {
        Some(share) => format!("{:.4} ({:.4} to {:.4})", share.value, share.low, share.high),
        None => "unknown".to_owned(),
    };
    let _ = writeln!(
        text,
        "by sampled review, with 95 % intervals: precision {}, recall {} (of what was proposed; {} by operators alone)",
        share(&quality.precision),
        share(&quality.recall),
        count(quality.missed, "pair was joined", "pairs were joined"),
    );
    let mut rows = table(&["pairs held", ">all", ">answered", ">one person", ">to be answered"]);
    for one in &quality.strata {
        rows.add_row([
            cell(&one.name),
            cell(one.pairs.to_string()),
            cell(one.answered.to_string()),
            cell(one.same.to_string()),
            cell(one.open.to_string()),
        ]);
    }
    let _ = writeln!(text, "{rows}");
    if quality.precision.is_none() || quality.recall.is_none() {
        let _ = writeln!(
            text,
            "an estimate needs {} answers in each row, or all of it: `person reviews --sample` lists pairs to answer",
            quality.least_answers
        );
    }
}

fn drift(text: &mut String, quality: &Quality) {
    text.push_str("how persons agree with themselves, against what the model learned (stability index):\n");
    let mut rows = table(&["field", ">pairs", ">index", ""]);
    for one in &quality.drift {
        let said = match one.index {
            _ if one.pairs == 0 => "no pairs",
            index if index > SHIFTED => "shifted: consider training on these data",
            index if index > STEADY => "moving",
            _ => "steady",
        };
        rows.add_row([
            cell(&one.comparison),
            cell(one.pairs.to_string()),
            cell(format!("{:.3}", one.index)),
            cell(said),
        ]);
    }
    let _ = writeln!(text, "{rows}");
}
