//! Golden text, with names as they are in Yunnan.

use model::body::{Address, Contact, Identifier};
use model::query::{AnswerScope, Source, SourceState};

use super::*;

fn found(local_id: &str, name: &str, node: &str) -> FoundRegistration {
    FoundRegistration {
        registration: Registration {
            local_id: local_id.into(),
            institution_code: "53290112345678901A1001".into(),
            number: "ZM38P0QYQHH5CVC7".into(),
            born_ms: 1_795_303_000_000,
            name: name.into(),
            sex: "2".into(),
            birth_date: "1988-02-03".into(),
            identifiers: vec![Identifier {
                r#type: "01".into(),
                value: "532901198802030028".into(),
                assigner: String::new(),
            }],
            ..Default::default()
        },
        version: "1.1.7".parse().unwrap(),
        recorded_ms: 1_795_303_071_000,
        node_path: node.into(),
        key: "fd068b02febc62566d87f78e11321fa4".parse().unwrap(),
    }
}

fn source(path: &str, state: SourceState, heard_ms: u64, behind: u64, reason: &str) -> Source {
    Source {
        path: path.parse().unwrap(),
        state,
        heard_ms,
        newest_record_ms: 0,
        behind,
        reason: reason.into(),
    }
}

fn answer() -> PatientAnswer {
    let mut second = found("M-0007", "阿依·古丽", "530000/530100/530102");
    second.registration.source_system = "HIS".into();
    let other = found("P0002", "王小明", "530000/532900/532901");
    PatientAnswer {
        persons: vec![
            Person {
                number: "ZM38P0QYQHH5CVC7".parse().unwrap(),
                registrations: vec![found("P0001", "阿依·古丽", "530000/532900/532901"), second],
                matched: None,
            },
            Person { number: "0123456789ABCDEF".parse().unwrap(), registrations: vec![other], matched: None },
        ],
        truncated: false,
        scope: AnswerScope {
            answered_by: "530000".parse().unwrap(),
            complete: true,
            sources: vec![
                source("530000", SourceState::Live, 0, 0, ""),
                source("530000/532900/532901", SourceState::Replicated, 999_600, 0, ""),
                source("530000/530100", SourceState::NoReply, 0, 0, "not connected since 12:00"),
            ],
            answered_ms: 1_000_000,
        },
    }
}

#[test]
fn a_list_of_persons() {
    let expected = "\
┌──────────────────┬───────────┬────────┬────────────┬───────────────────────┬────────────────────────┬──────────────┬──────────────────────┐
│ number           ┆ name      ┆ sex    ┆ born       ┆ identifiers           ┆ institution            ┆ local id     ┆ node                 │
╞══════════════════╪═══════════╪════════╪════════════╪═══════════════════════╪════════════════════════╪══════════════╪══════════════════════╡
│ ZM38P0QYQHH5CVC7 ┆ 阿依·古丽 ┆ 2 女性 ┆ 1988-02-03 ┆ 01 532901198802030028 ┆ 53290112345678901A1001 ┆ P0001        ┆ 530000/532900/532901 │
│   same person    ┆ 阿依·古丽 ┆ 2 女性 ┆ 1988-02-03 ┆ 01 532901198802030028 ┆ 53290112345678901A1001 ┆ M-0007 (HIS) ┆ 530000/530100/530102 │
│ 0123456789ABCDEF ┆ 王小明    ┆ 2 女性 ┆ 1988-02-03 ┆ 01 532901198802030028 ┆ 53290112345678901A1001 ┆ P0002        ┆ 530000/532900/532901 │
└──────────────────┴───────────┴────────┴────────────┴───────────────────────┴────────────────────────┴──────────────┴──────────────────────┘
answered by 530000 (complete); 530000/530100 did not reply: not connected since 12:00; 530000/532900/532901 heard 0.4 s ago, 0 behind";
    assert_eq!(list(&answer()), expected);
}

#[test]
fn candidates_say_why() {
    let mut answer = answer();
    let field = |comparison: &str, level: &str, weight| MatchField {
        comparison: comparison.into(),
        level: level.into(),
        weight,
    };
    answer.persons.truncate(1);
    answer.persons[0].registrations.truncate(1);
    answer.persons[0].matched = Some(Match {
        registration: answer.persons[0].registrations[0].key,
        weight: 7.25,
        probability: 0.99,
        fields: vec![field("name", "pinyin", 9.04), field("sex", "different", -6.5)],
    });
    let text = list(&answer);
    let row = text.lines().nth(3).unwrap();
    assert!(text.lines().nth(1).unwrap().contains("┆ bits ┆ because of"), "{text}");
    assert!(row.ends_with("┆ +7.2 ┆ name pinyin +9.0, sex different -6.5 │"), "{text}");
}

#[test]
fn an_empty_answer_is_its_scope() {
    let mut answer = answer();
    answer.persons.clear();
    answer.scope.complete = false;
    answer.scope.sources.truncate(1);
    assert_eq!(list(&answer), "answered by 530000 (INCOMPLETE)");
}

#[test]
fn everything_known_of_a_person() {
    let mut answer = answer();
    answer.persons.truncate(1);
    answer.persons[0].registrations.truncate(1);
    let held = &mut answer.persons[0].registrations[0].registration;
    held.phones = vec!["13800000000".into()];
    held.addresses = vec![Address { text: "大理市人民路1号".into(), region_code: "532901".into() }];
    held.contacts =
        vec![Contact { name: "王大\u{1b}[31m明".into(), relation: "1".into(), phone: String::new() }];
    held.ethnicity = "14".into();
    let expected = "\
person ZM38P0QYQHH5CVC7: 1 registration

  registration P0001 at 53290112345678901A1001
  name         阿依·古丽
  sex          2 女性
  born         1988-02-03
  identifier   01 居民身份证 532901198802030028
  phone        13800000000
  address      大理市人民路1号 532901
  ethnicity    14 白族
  contact      王大\u{fffd}[31m明 1
  number       ZM38P0QYQHH5CVC7
  written by   530000/532900/532901
  recorded     2026-11-22 07:17:51, first 2026-11-22 07:16:40
  version      1.1.7
  key          fd068b02febc62566d87f78e11321fa4

answered by 530000 (complete); ";
    let text = details(&answer);
    assert!(text.starts_with(expected), "{text}");
}

#[test]
fn a_registration_is_confirmed() {
    let reply = v1::RegisterReply {
        outcome: v1::RegisterOutcome::Created as i32,
        version: "1.1.7".into(),
        number: "ZM38P0QYQHH5CVC7".into(),
        durability: v1::Durability::Local as i32,
        not_above: String::new(),
    };
    assert_eq!(registered(&reply), "created: number ZM38P0QYQHH5CVC7, version 1.1.7; durable at this node");
    let late = v1::RegisterReply { not_above: "the parent cannot be reached".into(), ..reply };
    assert!(
        registered(&late).ends_with("durable at this node, not yet above (the parent cannot be reached)")
    );
}
