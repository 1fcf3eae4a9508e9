//! The rules of a registration.

use super::{
    Findings, MAX_ADDRESS, MAX_ADDRESSES, MAX_CONTACTS, MAX_IDENTIFIER, MAX_IDENTIFIERS, MAX_NAME, MAX_PHONE,
    MAX_PHONES, MAX_RELATION, Violation,
};
use crate::body::{Address, Contact, Identifier, Registration};
use crate::codes;
use crate::date::{DateError, PartialDate};
use crate::{Number, RegionCode, ResidentId};

/// Every rule that a registration breaks, in the order of its fields; empty when it is in order. `today` is a full date.
///
/// A resident ID that does not parse is a warning: hospitals hold mistyped numbers and the mesh indexes what they have.
/// It is kept as written and has no key ([`crate::normalise::identifier_key`]).
pub fn validate_registration(registration: &Registration, today: PartialDate) -> Vec<Violation> {
    let mut findings = Findings::default();
    findings.patient_key(&registration.local_id, &registration.source_system);
    if is_resident_id_as_written(&registration.local_id) {
        let message = "a local id names a patient in logs and paths; it should not be a resident ID";
        findings.warning("local_id", "local id", "LOCAL_ID_IS_RESIDENT_ID", message);
    }
    findings.institution_code(&registration.institution_code);
    if !registration.number.is_empty() && !is_canonical_number(&registration.number) {
        findings.error("number", "person index number", "NUMBER_FORM", "16 characters of Crockford base32");
    }
    findings.required_text("name", "name", &registration.name, MAX_NAME);
    findings.code("sex", "sex", codes::SEX.contains(&registration.sex), "GB/T 2261.1");
    let born = date(&mut findings, "birth_date", &registration.birth_date, today, false);
    findings.count("identifiers", "identifiers", registration.identifiers.len(), MAX_IDENTIFIERS);
    for (place, item) in registration.identifiers.iter().take(MAX_IDENTIFIERS).enumerate() {
        identifier(&mut findings, place, item, today);
    }
    findings.count("phones", "phones", registration.phones.len(), MAX_PHONES);
    for (place, phone) in registration.phones.iter().take(MAX_PHONES).enumerate() {
        findings.text(&format!("phones[{place}]"), "phone", phone, MAX_PHONE);
    }
    findings.count("addresses", "addresses", registration.addresses.len(), MAX_ADDRESSES);
    for (place, item) in registration.addresses.iter().take(MAX_ADDRESSES).enumerate() {
        address(&mut findings, place, item);
    }
    let known = |set: &codes::CodeSet, code: &str| code.is_empty() || set.contains(code);
    let (ethnicity, marital) = (&registration.ethnicity, &registration.marital_status);
    findings.code("ethnicity", "ethnicity", known(&codes::ETHNICITY, ethnicity), "GB/T 3304");
    findings.code("marital_status", "marital status", known(&codes::MARITAL_STATUS, marital), "GB/T 2261.2");
    findings.count("contacts", "contacts", registration.contacts.len(), MAX_CONTACTS);
    for (place, item) in registration.contacts.iter().take(MAX_CONTACTS).enumerate() {
        contact(&mut findings, place, item);
    }
    let died = date(&mut findings, "deceased_date", &registration.deceased_date, today, true);
    if let (Some(born), Some(died)) = (born, died)
        && born.is_after(died)
    {
        let message = "before the birth date";
        findings.error("deceased_date", "date", "DATE_DECEASED_BEFORE_BIRTH", message);
    }
    date(&mut findings, "registered_date", &registration.registered_date, today, true);
    findings.0
}

/// A date that may be empty. Returns it if it is good.
fn date(
    findings: &mut Findings,
    field: &str,
    text: &str,
    today: PartialDate,
    full: bool,
) -> Option<PartialDate> {
    if text.is_empty() {
        return None;
    }
    let (rule, message) = match text.parse::<PartialDate>() {
        Ok(date) if date.is_after(today) => ("DATE_IN_FUTURE", "after today".to_owned()),
        Ok(date) if full && !date.is_full() => ("DATE_INCOMPLETE", "written YYYY-MM-DD".to_owned()),
        Ok(date) => return Some(date),
        Err(error) => (date_rule(error), error.to_string()),
    };
    findings.error(field, "date", rule, message);
    None
}

fn date_rule(error: DateError) -> &'static str {
    match error {
        DateError::Form => "DATE_FORM",
        DateError::NoSuchDay => "DATE_NO_SUCH_DAY",
        DateError::TooEarly => "DATE_TOO_EARLY",
    }
}

fn identifier(findings: &mut Findings, place: usize, identifier: &Identifier, today: PartialDate) {
    let type_field = format!("identifiers[{place}].type");
    let value_field = format!("identifiers[{place}].value");
    let known = codes::identifier_type(&identifier.r#type).is_some();
    findings.code(&type_field, "identifier type", known, "CV02.01.101, HC, EHC or EHR");
    let before = findings.0.len();
    findings.required_text(&value_field, "identifier", &identifier.value, MAX_IDENTIFIER);
    if identifier.r#type == codes::RESIDENT_ID && findings.0.len() == before {
        match ResidentId::parse(&identifier.value) {
            Ok(id) if id.birth_date().is_after(today) => {
                let message = "the birth date in the resident ID is after today";
                findings.warning(&value_field, "resident ID", "RESIDENT_ID_IN_FUTURE", message);
            }
            Ok(_) => {}
            Err(error) => findings.warning(&value_field, "resident ID", error.rule(), error.to_string()),
        }
    }
    findings.text(
        &format!("identifiers[{place}].assigner"),
        "assigner",
        &identifier.assigner,
        MAX_IDENTIFIER,
    );
}

fn address(findings: &mut Findings, place: usize, address: &Address) {
    findings.text(&format!("addresses[{place}].text"), "address", &address.text, MAX_ADDRESS);
    if !address.region_code.is_empty() && address.region_code.parse::<RegionCode>().is_err() {
        let field = format!("addresses[{place}].region_code");
        findings.error(&field, "region code", "REGION_CODE_FORM", "six digits (GB/T 2260)");
    }
}

fn contact(findings: &mut Findings, place: usize, contact: &Contact) {
    findings.text(&format!("contacts[{place}].name"), "name", &contact.name, MAX_NAME);
    findings.text(&format!("contacts[{place}].relation"), "relation", &contact.relation, MAX_RELATION);
    findings.text(&format!("contacts[{place}].phone"), "phone", &contact.phone, MAX_PHONE);
}

/// Only all 18 characters count: a random number of 15 digits often has the old form.
fn is_resident_id_as_written(text: &str) -> bool {
    text.len() == 18 && ResidentId::parse(text).is_ok()
}

fn is_canonical_number(text: &str) -> bool {
    text.parse::<Number>().is_ok_and(|number| number.as_str() == text)
}
