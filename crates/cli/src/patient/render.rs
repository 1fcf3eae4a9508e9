//! Patients as text.

use std::fmt::Write;

use model::body::Registration;
use model::codes;
use model::query::{FoundRegistration, Match, MatchField, PatientAnswer, Person};
use wire::v1;

use crate::json;
use crate::output::{cell, not_above, scope_line, table};
use crate::text::{count, plain, time};

pub(super) fn registered(reply: &v1::RegisterReply) -> String {
    let said = json::Registered::from(reply);
    let durable = match reply.durability() {
        v1::Durability::Parent => "durable here and at the parent",
        _ => "durable at this node",
    };
    format!(
        "{}: number {}, version {}; {durable}{}",
        said.outcome,
        plain(&said.number),
        plain(&said.version),
        not_above(&said.not_above)
    )
}

/// A table of persons, one line per registration.
pub(super) fn list(answer: &PatientAnswer) -> String {
    let is_ranked = answer.persons.iter().any(|person| person.matched.is_some());
    let mut headings =
        vec!["number", "name", "sex", "born", "identifiers", "institution", "local id", "node"];
    if is_ranked {
        headings.push("bits");
        headings.push("because of");
    }
    let mut table = table(&headings);
    for person in &answer.persons {
        for (place, found) in person.registrations.iter().enumerate() {
            let held = &found.registration;
            let number = if place == 0 { person.number.to_string() } else { "  same person".to_owned() };
            let mut row = vec![
                cell(number),
                cell(&held.name),
                cell(coded(&codes::SEX, &held.sex)),
                cell(&held.birth_date),
                cell(identifiers(held)),
                cell(&held.institution_code),
                cell(local_id(held)),
                cell(&found.node_path),
            ];
            if is_ranked {
                let own = |matched: &&Match| matched.registration == found.key;
                let matched = person.matched.as_ref().filter(own);
                row.push(cell(matched.map(|matched| format!("{:+.1}", matched.weight)).unwrap_or_default()));
                row.push(cell(matched.map(because).unwrap_or_default()));
            }
            table.add_row(row);
        }
    }
    let mut text = String::new();
    if !answer.persons.is_empty() {
        let _ = writeln!(text, "{table}");
    }
    text + &scope_line(&answer.scope)
}

/// What each field says: `name same +9.3, birth_date same +12.1`.
fn because(matched: &Match) -> String {
    let field = |field: &MatchField| format!("{} {} {:+.1}", field.comparison, field.level, field.weight);
    matched.fields.iter().map(field).collect::<Vec<_>>().join(", ")
}

/// Everything known.
pub(super) fn details(answer: &PatientAnswer) -> String {
    let persons = answer.persons.iter().map(person);
    let mut text: Vec<String> = persons.collect();
    text.push(scope_line(&answer.scope));
    text.join("\n")
}

fn person(person: &Person) -> String {
    let registrations = count(person.registrations.len() as u64, "registration", "registrations");
    let mut text = format!("person {}: {registrations}\n", person.number);
    for found in &person.registrations {
        text.push('\n');
        for (label, value) in lines(found) {
            if !value.is_empty() {
                let _ = writeln!(text, "  {label:<12} {}", plain(value.trim_end()));
            }
        }
    }
    text
}

fn lines(found: &FoundRegistration) -> Vec<(&'static str, String)> {
    let held = &found.registration;
    let mut lines = vec![
        ("registration", format!("{} at {}", local_id(held), held.institution_code)),
        ("name", held.name.clone()),
        ("sex", coded(&codes::SEX, &held.sex)),
        ("born", held.birth_date.clone()),
        ("deceased", held.deceased_date.clone()),
        ("since", held.registered_date.clone()),
    ];
    lines.extend(held.identifiers.iter().map(|id| {
        let class =
            codes::IDENTITY_DOCUMENTS.name(&id.r#type).or_else(|| card(&id.r#type)).unwrap_or_default();
        let assigner =
            if id.assigner.is_empty() { String::new() } else { format!(", assigned by {}", id.assigner) };
        ("identifier", format!("{} {class} {}{assigner}", id.r#type, id.value))
    }));
    lines.extend(held.phones.iter().map(|phone| ("phone", phone.clone())));
    lines.extend(held.addresses.iter().map(|at| ("address", format!("{} {}", at.text, at.region_code))));
    lines.extend([
        ("ethnicity", coded(&codes::ETHNICITY, &held.ethnicity)),
        ("marital", coded(&codes::MARITAL_STATUS, &held.marital_status)),
    ]);
    let contact =
        |who: &model::body::Contact| ("contact", format!("{} {} {}", who.name, who.relation, who.phone));
    lines.extend(held.contacts.iter().map(contact));
    lines.extend([
        ("number", held.number.clone()),
        ("written by", found.node_path.clone()),
        ("recorded", format!("{}, first {}", time(found.recorded_ms), time(held.born_ms))),
        ("version", found.version.to_string()),
        ("key", found.key.to_string()),
    ]);
    lines
}

fn card(class: &str) -> Option<&'static str> {
    codes::CARDS.iter().find(|(card, _)| *card == class).map(|(_, name)| *name)
}

fn coded(set: &codes::CodeSet, code: &str) -> String {
    set.name(code).map_or_else(|| code.to_owned(), |name| format!("{code} {name}"))
}

fn identifiers(held: &Registration) -> String {
    held.identifiers.iter().map(|id| format!("{} {}", id.r#type, id.value)).collect::<Vec<_>>().join(", ")
}

fn local_id(held: &Registration) -> String {
    match held.source_system.as_str() {
        "" => held.local_id.clone(),
        system => format!("{} ({system})", held.local_id),
    }
}

#[cfg(test)]
mod tests;
