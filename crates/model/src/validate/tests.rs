//! Every rule of both bodies, once broken and otherwise kept.

use proptest::prelude::*;

use super::*;
use crate::body::{Address, Availability, Contact, DocumentEntry, Identifier, Registration};
use crate::date::PartialDate;

fn today() -> PartialDate {
    PartialDate::from_day(2024, 5, 1).unwrap()
}

fn identifier(identifier_type: &str, value: &str) -> Identifier {
    Identifier { r#type: identifier_type.into(), value: value.into(), assigner: String::new() }
}

fn registration() -> Registration {
    Registration {
        local_id: "P0001".into(),
        institution_code: "12345678X53010211A1001".into(),
        name: "热合曼·艾合买提".into(),
        sex: "1".into(),
        birth_date: "1949-12-31".into(),
        identifiers: vec![identifier("01", "11010519491231002X"), identifier("EHC", "A0")],
        phones: vec!["13505534622".into()],
        addresses: vec![Address { text: "云南省普洱市".into(), region_code: "530826".into() }],
        ethnicity: "05".into(),
        marital_status: "20".into(),
        contacts: vec![Contact { name: "赵霞仙".into(), relation: "母亲".into(), phone: String::new() }],
        ..Default::default()
    }
}

fn entry() -> DocumentEntry {
    DocumentEntry {
        document_id: "D0001".into(),
        institution_code: "12345678X53010211A1001".into(),
        local_id: "P0001".into(),
        type_code: "C0007".into(),
        title: "检验报告".into(),
        created_ms: 1_700_000_000_000,
        authors: vec!["苏龙".into()],
        confidentiality: "N".into(),
        media_type: "text/xml; charset=utf-8".into(),
        language: "zh-CN".into(),
        availability: Availability::Approved.into(),
        size: 3,
        sha256: vec![1; 32].into(),
        sha1: vec![1; 20].into(),
        custodian: vec![1; 16].into(),
        ..Default::default()
    }
}

type Found = Vec<(String, &'static str, Severity)>;

fn found(violations: Vec<Violation>) -> Found {
    violations.into_iter().map(|violation| (violation.field, violation.rule, violation.severity)).collect()
}

#[test]
fn good_bodies_have_no_violations() {
    assert_eq!(validate_registration(&registration(), today()), []);
    assert_eq!(validate_document_entry(&entry()), []);
    let least = Registration {
        local_id: "1".into(),
        institution_code: "91350100M000100Y43".into(),
        name: "无名氏".into(),
        sex: "0".into(),
        ..Default::default()
    };
    assert_eq!(validate_registration(&least, today()), []);
    let elsewhere = DocumentEntry {
        reference: "pacs://1.2.3".into(),
        sha256: vec![].into(),
        language: String::new(),
        availability: Availability::Withdrawn.into(),
        ..entry()
    };
    assert_eq!(validate_document_entry(&elsewhere), []);
    assert_eq!(validate_document_entry(&DocumentEntry { sha1: vec![].into(), ..entry() }), []);
}

/// One way to break a registration, the field that must be named and the rule.
type BadRegistration = (fn(&mut Registration), &'static str, &'static str);

#[test]
fn each_rule_of_a_registration() {
    let table: &[BadRegistration] = &[
        (|r| r.local_id.clear(), "local_id", "REQUIRED"),
        (|r| r.local_id = " \u{3000}".into(), "local_id", "REQUIRED"),
        (|r| r.local_id = "x".repeat(65), "local_id", "TOO_LONG"),
        (|r| r.local_id = "P\n1".into(), "local_id", "CONTROL_CHARACTER"),
        (|r| r.source_system = "x".repeat(33), "source_system", "TOO_LONG"),
        (|r| r.institution_code.clear(), "institution_code", "INSTITUTION_CODE_LENGTH"),
        (
            |r| r.institution_code = "91350100M000100Y44".into(),
            "institution_code",
            "INSTITUTION_CODE_CHECK_CHARACTER",
        ),
        (
            |r| r.institution_code = "12345678-X53010211A1001".into(),
            "institution_code",
            "INSTITUTION_CODE_NOT_CANONICAL",
        ),
        (
            |r| r.institution_code = "91350100m000100y43".into(),
            "institution_code",
            "INSTITUTION_CODE_NOT_CANONICAL",
        ),
        (|r| r.number = "zm38p0qyqhh5cvc7".into(), "number", "NUMBER_FORM"),
        (|r| r.name.clear(), "name", "REQUIRED"),
        (|r| r.name = "　".into(), "name", "REQUIRED"),
        (|r| r.name = "王".repeat(129), "name", "TOO_LONG"),
        (|r| r.name = "王\u{7f}五".into(), "name", "CONTROL_CHARACTER"),
        (|r| r.name = "王\u{0}五".into(), "name", "CONTROL_CHARACTER"),
        (|r| r.sex = "3".into(), "sex", "UNKNOWN_CODE"),
        (|r| r.sex.clear(), "sex", "UNKNOWN_CODE"),
        (|r| r.birth_date = "1949-02-29".into(), "birth_date", "DATE_NO_SUCH_DAY"),
        (|r| r.birth_date = "31.12.1949".into(), "birth_date", "DATE_FORM"),
        (|r| r.birth_date = "1849-12-31".into(), "birth_date", "DATE_TOO_EARLY"),
        (|r| r.birth_date = "2024-05-02".into(), "birth_date", "DATE_IN_FUTURE"),
        (|r| r.birth_date = "2025".into(), "birth_date", "DATE_IN_FUTURE"),
        (|r| r.identifiers = vec![identifier("03", "E1"); 17], "identifiers", "TOO_MANY"),
        (|r| r.identifiers[1].r#type = "00".into(), "identifiers[1].type", "UNKNOWN_CODE"),
        (|r| r.identifiers[1].value.clear(), "identifiers[1].value", "REQUIRED"),
        (|r| r.identifiers[0].value.clear(), "identifiers[0].value", "REQUIRED"),
        (|r| r.identifiers[0].value = "1".repeat(65), "identifiers[0].value", "TOO_LONG"),
        (|r| r.identifiers[1].assigner = "x".repeat(65), "identifiers[1].assigner", "TOO_LONG"),
        (|r| r.phones = vec!["1".into(); 9], "phones", "TOO_MANY"),
        (|r| r.phones[0] = "1".repeat(33), "phones[0]", "TOO_LONG"),
        (|r| r.addresses = vec![Address::default(); 9], "addresses", "TOO_MANY"),
        (|r| r.addresses[0].text = "云".repeat(257), "addresses[0].text", "TOO_LONG"),
        (|r| r.addresses[0].region_code = "53".into(), "addresses[0].region_code", "REGION_CODE_FORM"),
        (|r| r.ethnicity = "57".into(), "ethnicity", "UNKNOWN_CODE"),
        (|r| r.ethnicity = "汉族".into(), "ethnicity", "UNKNOWN_CODE"),
        (|r| r.marital_status = "1".into(), "marital_status", "UNKNOWN_CODE"),
        (|r| r.contacts = vec![Contact::default(); 9], "contacts", "TOO_MANY"),
        (|r| r.contacts[0].name = "王".repeat(129), "contacts[0].name", "TOO_LONG"),
        (|r| r.contacts[0].relation = "x".repeat(33), "contacts[0].relation", "TOO_LONG"),
        (|r| r.contacts[0].phone = "\t".into(), "contacts[0].phone", "CONTROL_CHARACTER"),
        (|r| r.deceased_date = "2024".into(), "deceased_date", "DATE_INCOMPLETE"),
        (|r| r.deceased_date = "2024-05-02".into(), "deceased_date", "DATE_IN_FUTURE"),
        (|r| r.deceased_date = "1949-12-30".into(), "deceased_date", "DATE_DECEASED_BEFORE_BIRTH"),
        (|r| r.registered_date = "2024-04".into(), "registered_date", "DATE_INCOMPLETE"),
        (|r| r.registered_date = "2024-05-02".into(), "registered_date", "DATE_IN_FUTURE"),
    ];
    for (break_it, field, rule) in table {
        let mut bad = registration();
        break_it(&mut bad);
        let violations = validate_registration(&bad, today());
        assert!(has_errors(&violations), "{field} {rule}");
        assert_eq!(found(violations), [((*field).to_owned(), *rule, Severity::Error)]);
    }
}

#[test]
fn a_wrong_resident_id_is_a_warning() {
    for (value, rule) in [
        ("110105194912310021", "RESIDENT_ID_CHECK_DIGIT"),
        ("未带证件", "RESIDENT_ID_CHARACTER"),
        ("1101051949123100", "RESIDENT_ID_LENGTH"),
        ("999999999999999999", "RESIDENT_ID_PLACEHOLDER"),
        ("530000000000000000", "RESIDENT_ID_BIRTH_DATE"),
        ("010105194912310021", "RESIDENT_ID_REGION"),
    ] {
        let mut odd = registration();
        odd.identifiers[0].value = value.into();
        let violations = validate_registration(&odd, today());
        assert!(!has_errors(&violations));
        assert_eq!(found(violations), [("identifiers[0].value".to_owned(), rule, Severity::Warning)]);
        assert_eq!(crate::normalise::identifier_key("01", value), None, "{value} must not find anybody");
    }
}

#[test]
fn what_the_day_decides() {
    let mut young = registration();
    young.birth_date = "2024-05-01".into();
    young.identifiers[0].value = "530102202405010010".into();
    let on = |day| found(validate_registration(&young, PartialDate::from_day(2024, 4, day).unwrap()));
    let future = [
        ("birth_date".to_owned(), "DATE_IN_FUTURE", Severity::Error),
        ("identifiers[0].value".to_owned(), "RESIDENT_ID_IN_FUTURE", Severity::Warning),
    ];
    assert_eq!(on(30), future);
    let id = crate::ResidentId::parse("530102240501001").unwrap();
    assert_eq!(id.birth_date().year(), 1924, "old numbers are of the last century");
    young.deceased_date = "2024-05-01".into();
    assert!(
        !has_errors(&validate_registration(&young, today())),
        "to be born and to die in one day is possible"
    );
}

#[test]
fn a_resident_id_as_local_id_is_a_warning() {
    let mut odd = registration();
    odd.local_id = "11010519491231002X".into();
    let expected = ("local_id".to_owned(), "LOCAL_ID_IS_RESIDENT_ID", Severity::Warning);
    assert_eq!(found(validate_registration(&odd, today())), [expected]);
}

/// One way to break a document entry, the field that must be named and the rule.
type BadEntry = (fn(&mut DocumentEntry), &'static str, &'static str);

#[test]
fn each_rule_of_a_document_entry() {
    let table: &[BadEntry] = &[
        (|d| d.document_id.clear(), "document_id", "REQUIRED"),
        (|d| d.document_id = "x".repeat(65), "document_id", "TOO_LONG"),
        (|d| d.institution_code = "x".into(), "institution_code", "INSTITUTION_CODE_LENGTH"),
        (|d| d.local_id.clear(), "local_id", "REQUIRED"),
        (|d| d.source_system = "\u{1}".into(), "source_system", "CONTROL_CHARACTER"),
        (|d| d.type_code = "C0054".into(), "type_code", "UNKNOWN_CODE"),
        (|d| d.type_code.clear(), "type_code", "UNKNOWN_CODE"),
        (|d| d.title = "题".repeat(257), "title", "TOO_LONG"),
        (|d| d.created_ms = 0, "created_ms", "REQUIRED"),
        (|d| d.created_ms = END_OF_TIME_MS, "created_ms", "TIME_OUT_OF_RANGE"),
        (|d| d.service_stop_ms = u64::MAX, "service_stop_ms", "TIME_OUT_OF_RANGE"),
        (|d| (d.service_start_ms, d.service_stop_ms) = (2, 1), "service_stop_ms", "TIME_ORDER"),
        (|d| d.authors = vec!["苏龙".into(); 9], "authors", "TOO_MANY"),
        (|d| d.authors = vec!["苏".repeat(129)], "authors[0]", "TOO_LONG"),
        (|d| d.authors = vec![String::new()], "authors[0]", "REQUIRED"),
        (|d| d.department = "科".repeat(129), "department", "TOO_LONG"),
        (|d| d.confidentiality = "X".into(), "confidentiality", "UNKNOWN_CODE"),
        (|d| d.confidentiality.clear(), "confidentiality", "UNKNOWN_CODE"),
        (|d| d.media_type.clear(), "media_type", "REQUIRED"),
        (|d| d.media_type = "xml".into(), "media_type", "MEDIA_TYPE_FORM"),
        (|d| d.media_type = "text/".into(), "media_type", "MEDIA_TYPE_FORM"),
        (|d| d.media_type = "text/x y".into(), "media_type", "MEDIA_TYPE_FORM"),
        (|d| d.media_type = format!("text/{}", "x".repeat(124)), "media_type", "TOO_LONG"),
        (|d| d.language = "中文".into(), "language", "LANGUAGE_FORM"),
        (|d| d.language = "zh_CN".into(), "language", "LANGUAGE_FORM"),
        (|d| d.language = "zh-".into(), "language", "LANGUAGE_FORM"),
        (|d| d.language = "zh-".repeat(12) + "CN", "language", "LANGUAGE_FORM"),
        (|d| d.availability = 0, "availability", "UNKNOWN_CODE"),
        (|d| d.availability = 9, "availability", "UNKNOWN_CODE"),
        (|d| d.replaces = "D0001".into(), "replaces", "DOCUMENT_REPLACES_ITSELF"),
        (|d| d.replaced_by = "x".repeat(65), "replaced_by", "TOO_LONG"),
        (|d| d.status_reason = "因".repeat(257), "status_reason", "TOO_LONG"),
        (|d| d.sha256 = vec![1; 31].into(), "sha256", "HASH_LENGTH"),
        (|d| d.sha256 = vec![].into(), "sha256", "REQUIRED"),
        (|d| d.sha1 = vec![1; 32].into(), "sha1", "HASH_LENGTH"),
        (|d| d.custodian = vec![].into(), "custodian", "ORIGIN_ID_LENGTH"),
        (|d| d.reference = "x".repeat(1025), "reference", "TOO_LONG"),
    ];
    for (break_it, field, rule) in table {
        let mut bad = entry();
        break_it(&mut bad);
        assert_eq!(found(validate_document_entry(&bad)), [((*field).to_owned(), *rule, Severity::Error)]);
    }
}

#[test]
fn limits_are_in_characters_and_inclusive() {
    let mut long = registration();
    long.name = "王".repeat(MAX_NAME);
    long.local_id = "~".repeat(MAX_ID);
    assert_eq!(validate_registration(&long, today()), []);
}

#[test]
fn an_id_has_one_way_to_be_written() {
    for id in [" A-1", "A-1 ", "A 1", "Ａ-1", "a\u{202e}b", "号"] {
        let mut odd = registration();
        odd.local_id = id.into();
        let expected = [("local_id".to_owned(), "NOT_ASCII", Severity::Error)];
        assert_eq!(found(validate_registration(&odd, today())), expected, "{id:?}");
    }
}

proptest! {
    /// A violation goes to logs and to the caller's screen: what was typed must not be in it.
    #[test]
    fn violations_never_show_the_value(secret in "[一-龥]{6}[0-9]{8}\u{1}") {
        let mut bad = registration();
        for field in [&mut bad.local_id, &mut bad.institution_code, &mut bad.name, &mut bad.sex, &mut bad.birth_date,
            &mut bad.ethnicity, &mut bad.marital_status, &mut bad.deceased_date, &mut bad.registered_date, &mut bad.number, &mut bad.source_system] {
            field.clone_from(&secret);
        }
        bad.identifiers = vec![identifier(&secret, &secret), identifier("01", &secret)];
        bad.phones = vec![secret.clone()];
        bad.addresses = vec![Address { text: secret.clone(), region_code: secret.clone() }];
        let violations = validate_registration(&bad, today());
        prop_assert!(violations.len() >= 16);
        let shown = format!("{violations:?}");
        let part: String = secret.chars().take(6).collect();
        prop_assert!(!shown.contains(&part));
    }
}
