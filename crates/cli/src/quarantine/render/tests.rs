//! Golden text of a quarantine.

use wire::v1;
use wire::v1::QuarantineStanding as Standing;

use super::*;

fn refused(key: u8, standing: Standing, held_version: &str) -> v1::QuarantinedRecord {
    v1::QuarantinedRecord {
        from_path: "530000/532900".into(),
        from_name: "大理州".into(),
        from_origin: vec![2; 16].into(),
        direction: v1::Direction::Up.into(),
        reason: "a rule".into(),
        kind: 1,
        key: vec![key; 16].into(),
        version: "1.2.30".into(),
        origin: vec![3; 16].into(),
        institution_code: "H1".into(),
        writer_path: "530000/532900/532901".into(),
        standing: standing.into(),
        held_version: held_version.into(),
        bytes: 1_500,
        ..Default::default()
    }
}

#[test]
fn a_quarantine() {
    let mut records = vec![
        refused(1, Standing::Missing, ""),
        refused(2, Standing::Held, "1.2.30"),
        refused(3, Standing::Superseded, "1.2.31"),
    ];
    records.push(v1::QuarantinedRecord {
        from_origin: vec![2; 16].into(),
        direction: v1::Direction::Restore.into(),
        reason: "\u{1b}[2Jno rule".into(),
        bytes: 7,
        ..Default::default()
    });
    let text = list(&Listed { records, unreadable: 2, more: true });
    let expected = "\
┌───────────────────────────────────────────────┬─────────┬──────────────┬──────────────────────────────────┬─────────┬──────────────────────┬─────────────┬────────┬────────────────────┬─────────────┐
│ from                                          ┆ link    ┆ kind         ┆ key                              ┆ version ┆ writer               ┆ institution ┆   size ┆ here now           ┆ reason      │
╞═══════════════════════════════════════════════╪═════════╪══════════════╪══════════════════════════════════╪═════════╪══════════════════════╪═════════════╪════════╪════════════════════╪═════════════╡
│ 530000/532900 大理州                          ┆ up      ┆ registration ┆ 01010101010101010101010101010101 ┆  1.2.30 ┆ 530000/532900/532901 ┆ H1          ┆ 1.5 kB ┆ nothing            ┆ a rule      │
│ 530000/532900 大理州                          ┆ up      ┆ registration ┆ 02020202020202020202020202020202 ┆  1.2.30 ┆ 530000/532900/532901 ┆ H1          ┆ 1.5 kB ┆ held since         ┆ a rule      │
│ 530000/532900 大理州                          ┆ up      ┆ registration ┆ 03030303030303030303030303030303 ┆  1.2.30 ┆ 530000/532900/532901 ┆ H1          ┆ 1.5 kB ┆ superseded: 1.2.31 ┆ a rule      │
│ unknown node 02020202020202020202020202020202 ┆ restore ┆              ┆                                  ┆         ┆                      ┆             ┆    7 B ┆ no record          ┆ �[2Jno rule │
└───────────────────────────────────────────────┴─────────┴──────────────┴──────────────────────────────────┴─────────┴──────────────────────┴─────────────┴────────┴────────────────────┴─────────────┘
4 records; 2 not settled: act on the reasons; 2 more cannot be read, the log is damaged there; there are more: --limit";
    assert_eq!(text, expected);
}

#[test]
fn what_is_settled_needs_nothing_and_what_is_not_is_counted() {
    use Standing::{Forgotten, Held, Missing, Older, OtherBytes, Overruled, Superseded, Unspecified};
    let told = |standings: &[Standing]| {
        let records = standings.iter().map(|standing| refused(1, *standing, "1.2.3")).collect();
        list(&Listed { records, ..Listed::default() })
    };
    let settled = told(&[Held, Superseded, Forgotten]);
    assert!(settled.ends_with("3 records; all settled: what is here now is the same or later"), "{settled}");
    let open = told(&[Held, Missing, Older, OtherBytes, Overruled, Unspecified]);
    assert!(open.contains("overruled: 1.2.3"), "{open}");
    assert!(open.ends_with("6 records; 5 not settled: act on the reasons"), "{open}");
    assert_eq!(told(&[]), "nothing in quarantine");
}

#[test]
fn what_nobody_knows_is_shown_as_what_it_is() {
    let mut one = refused(1, Standing::Older, "1.1.9");
    (one.from_path, one.from_name) = (String::new(), String::new());
    (one.institution_code, one.kind) = (String::new(), 77);
    one.origin = vec![3; 16].into();
    let text = list(&Listed { records: vec![one], ..Listed::default() });
    for wanted in [
        "unknown node 02020202020202020202020202020202",
        "origin 03030303030303030303030303030303",
        "kind 77",
        "older: 1.1.9",
    ] {
        assert!(text.contains(wanted), "{wanted} in {text}");
    }
}
