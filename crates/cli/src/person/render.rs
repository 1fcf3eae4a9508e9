//! Pairs of registrations as text.

use std::fmt::Write;

use model::body::LinkDecision;
use wire::v1;

use crate::json;
use crate::output::{cell, table};
use crate::text::{count, plain, time};

pub(super) fn decided(decision: LinkDecision, changed: bool) -> String {
    let said = match decision {
        LinkDecision::Same => "one person",
        LinkDecision::Different => "two persons",
        _ => "taken back: the linker decides again",
    };
    let before = if changed { "" } else { " (said before; nothing was changed)" };
    format!("{said}{before}")
}

pub(super) fn reviews(pairs: &[v1::LinkedPair], more: bool) -> String {
    if pairs.is_empty() {
        return "nothing waits for a human".to_owned();
    }
    let mut text = String::new();
    for one in pairs {
        text.push_str(&pair(one));
        text.push('\n');
    }
    let rest = if more { "; there are more: --limit" } else { "" };
    let _ = write!(text, "{}{rest}", count(pairs.len() as u64, "pair", "pairs"));
    text
}

/// Both registrations side by side, and who decided what and why.
pub(super) fn pair(pair: &v1::LinkedPair) -> String {
    let pair = json::LinkedPair::from(pair.clone());
    let mut text = registrations(&pair.registrations);
    let now = if pair.one_person { "one person now" } else { "two persons now" };
    let through = if pair.one_person && pair.links.is_empty() { ", through other registrations" } else { "" };
    let _ = writeln!(text, "{now}{through}");
    for one in &pair.links {
        let _ = writeln!(text, "  {}", plain(&line(one)));
        details(&mut text, one);
    }
    text
}

/// All registrations of a person, and the decisions that make them one; each with the keys of the two that it is about.
pub(super) fn person(person: &v1::GetPersonReply) -> String {
    let person = json::WholePerson::from(person.clone());
    let mut text = registrations(&person.registrations);
    let shown = count(person.registrations.len() as u64, "registration", "registrations");
    let _ = writeln!(text, "person {}, {shown}", person.number);
    for one in &person.links {
        let _ = writeln!(text, "  {} {}: {}", one.a, one.b, plain(&line(&one.link)));
        details(&mut text, &one.link);
    }
    if person.truncated {
        text.push_str("there are more registrations or decisions than these\n");
    }
    if person.incomplete {
        text.push_str("a decision has been changed so often that it does not remember what it said then\n");
    }
    text
}

fn registrations(all: &[json::Shown]) -> String {
    let mut shown =
        table(&["key", "name", "sex", "born", "identifiers", "phones", "address", "institution", "version"]);
    for one in all {
        let held = &one.registration;
        let all = |values: Vec<&str>| values.join(" ");
        shown.add_row([
            cell(&one.key),
            cell(&held.name),
            cell(&held.sex),
            cell(&held.birth_date),
            cell(all(held.identifiers.iter().map(|one| one.value.as_str()).collect())),
            cell(all(held.phones.iter().map(String::as_str).collect())),
            cell(all(held.addresses.iter().map(|one| one.text.as_str()).collect())),
            cell(&held.institution_code),
            cell(&one.version),
        ]);
    }
    format!("{shown}\n")
}

/// What a decision rests on, and what it was before.
fn details(text: &mut String, link: &json::HeldLink) {
    if !link.fields.is_empty() {
        let told: f64 = link.fields.iter().map(|field| field.bits).sum();
        let _ = writeln!(text, "    {:<34} {:>+7.1} bits", "how often such pairs are met", link.bits - told);
    }
    for field in &link.fields {
        let _ = writeln!(text, "    {:<11} {:<22} {:>+7.1} bits", field.comparison, field.level, field.bits);
    }
    for past in &link.past {
        let human = if past.operator.is_empty() {
            String::new()
        } else {
            format!(" by {}: {}", past.operator, past.reason)
        };
        let at = time(past.recorded_ms);
        let _ = writeln!(text, "    before: {} on {at}{}", past.decision, plain(&human));
    }
}

fn line(link: &json::HeldLink) -> String {
    let decision = if link.decision == "none" { "taken back" } else { link.decision };
    let doubt = if link.doubtful { ", doubtful" } else { "" };
    let why = match link.layer {
        "human" => format!("by {}: {}", link.operator, link.reason),
        _ => format!("{} {:+.1} bits{doubt}, model {}", link.basis, link.bits, link.model),
    };
    format!("{decision} at {} on {}: {why}", link.decided_by, time(link.recorded_ms))
}
