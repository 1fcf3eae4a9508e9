//! Files read what they wrote, and say where a row is bad.

use std::collections::BTreeSet;

use super::{Problem, Reader};
use crate::synth::tests::{facilities, from_csv, population, tags, to_csv};
use crate::synth::{FacilityError, SynthError, Tag};

#[test]
fn a_population_survives_csv() {
    let rows: Vec<_> = population(2000, 8).collect();
    let (registrations, truth) = to_csv(&rows);
    let read = from_csv(&registrations, &truth, 129);
    assert_eq!(read.len(), rows.len());
    for (read, row) in read.iter().zip(&rows) {
        assert!(read == row, "{}", row.registration.local_id);
    }
}

#[test]
fn the_reference_sample_reads() {
    let registrations = include_bytes!("../../../data/sample_registrations.csv");
    let truth = include_bytes!("../../../data/sample_truth.csv");
    let rows = from_csv(registrations, truth, 4);
    assert_eq!(rows.len(), 200);
    let seen: BTreeSet<_> = rows.iter().flat_map(|row| tags(row).iter().collect::<Vec<_>>()).collect();
    assert_eq!(seen.len(), Tag::ALL.len());
    // Nothing is lost but the ethnicity of foreigners, which has no code.
    let (again, truth_again) = to_csv(&rows);
    assert_eq!(String::from_utf8(truth_again).unwrap(), std::str::from_utf8(truth).unwrap());
    let without = |bytes: &[u8]| std::str::from_utf8(bytes).unwrap().replace(",外籍,", ",,");
    assert_eq!(without(&again), without(registrations));
    assert!(rows.iter().all(|row| row.facility.node.to_string().starts_with("530000")));
}

#[test]
fn bad_rows_are_named_by_line_and_column() {
    let header = "reg_id,facility,county,reg_time,name,sex,birth_date,id_type,id_no,phone,address,ethnicity,contact_name,contact_relation";
    let good =
        "R1,530826-Z,530826,2015-01-01T11:03:13,苏龙,1,1968-05-18,01,53272719680518585X,13505534622,x,哈尼,,";
    let problem = |row: &str| {
        let text = format!("{header}\n{good}\n{row}\n{good}\n");
        let mut reader = Reader::new(text.as_bytes(), facilities(129)).unwrap();
        assert!(reader.next().unwrap().is_ok());
        let Err(SynthError::Row { line, problem }) = reader.next().unwrap() else { panic!("{row}") };
        assert_eq!(line, 3);
        assert!(reader.next().unwrap().is_ok() && reader.next().is_none(), "goes on after {row}");
        problem
    };
    for (from, to, expected) in [
        ("R1,", ",", Problem::Empty("reg_id")),
        ("530826-Z", "530826Z", Problem::Facility(FacilityError::Form)),
        ("530826-Z", "440103-Z", Problem::Facility(FacilityError::UnknownCounty)),
        (",530826,", ",530825,", Problem::OtherCounty),
        (",530826,", ",53082,", Problem::Malformed("county")),
        ("T11", " 11", Problem::Malformed("reg_time")),
        ("苏龙", "", Problem::Empty("name")),
        (",1,1968", ",3,1968", Problem::Malformed("sex")),
        ("1968-05-18", "1968-05-32", Problem::Malformed("birth_date")),
        (",01,53", ",1,53", Problem::Malformed("id_type")),
        ("13505534622", &"1".repeat(33), Problem::TooLong("phone")),
        (",哈尼", ",哈尼,", Problem::Width),
    ] {
        assert_eq!(problem(&good.replace(from, to)), expected, "{from} → {to}");
    }
    let missing = header.replace("id_no", "id_number");
    assert!(matches!(Reader::new(missing.as_bytes(), facilities(4)), Err(SynthError::NoColumn("id_no"))));
    let mut invalid = format!("{header}\n").into_bytes();
    invalid.extend(b"R1,\xFF\n");
    let error = Reader::new(&invalid[..], facilities(4)).unwrap().next().unwrap().unwrap_err();
    assert!(matches!(error, SynthError::Row { line: 2, .. }), "{error}");
}

#[test]
fn truth_must_match_row_by_row() {
    let rows: Vec<_> = population(20, 1).collect();
    let (registrations, truth) = to_csv(&rows);
    let truth = String::from_utf8(truth).unwrap();
    let failure = |truth: &str| {
        let reader = Reader::with_truth(&registrations[..], truth.as_bytes(), facilities(129)).unwrap();
        match reader.into_iter().find_map(Result::err) {
            Some(SynthError::Row { problem, .. }) => problem,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(failure(&truth.replacen("R00000001", "R00000009", 1)), Problem::OtherRegistration);
    assert_eq!(failure(truth.trim_end().rsplit_once('\n').unwrap().0), Problem::TruthLength);
    assert_eq!(failure(&format!("{truth}R99,P1,H1,\n")), Problem::TruthLength);
    assert_eq!(failure(&truth.replacen(",P", ",Q", 1)), Problem::Malformed("person_id"));
}
