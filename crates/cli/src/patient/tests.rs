//! What a command line asks for.

use clap::Parser;

use super::*;

#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    patient: Patient,
}

fn parse(line: &str) -> Patient {
    Line::try_parse_from(format!("patient {line}").split_whitespace())
        .unwrap_or_else(|e| panic!("{line}: {e}"))
        .patient
}

fn by(line: &str) -> Result<PatientBy, CliError> {
    match parse(line) {
        Patient::Find(find) => find.by(),
        _ => panic!("{line}: not a find"),
    }
}

fn registration(line: &str) -> v1::RegisterRequest {
    match parse(line) {
        Patient::Register(register) => register.request().unwrap(),
        _ => panic!("{line}: not a register"),
    }
}

#[test]
fn questions() {
    let identifier = |class: &str, value: &str| {
        PatientBy::Identifier(Identifier {
            r#type: class.into(),
            value: value.into(),
            assigner: String::new(),
        })
    };
    assert!(by("find --id 53X").unwrap() == identifier("01", "53X"));
    assert!(by("find --id E1 --id-type 03").unwrap() == identifier("03", "E1"));
    assert!(
        by("find --number ZM38P0QYQHH5CVC7").unwrap()
            == PatientBy::Number("ZM38P0QYQHH5CVC7".parse().unwrap())
    );
    let local = LocalPatient {
        institution_code: "A1B2C3".into(),
        source_system: "HIS".into(),
        local_id: "P1".into(),
    };
    assert!(
        by("find --local-id P1 --source-system HIS --institution A1B2C3").unwrap() == PatientBy::Local(local)
    );
    assert!(by("find --id E1 --id-type any").unwrap() == identifier("", "E1"));
    assert!(by("find --phone +86-13987654321").unwrap() == PatientBy::Phone("+86-13987654321".into()));
    let search = Search {
        name: "阿依".into(),
        part: true,
        birth_date: "1988".parse().ok(),
        sex: "2".into(),
        region: "532901".parse().ok(),
    };
    assert!(
        by("find --name 阿依 --part --birth-date 1988 --sex 2 --region 532901").unwrap()
            == PatientBy::Search(search)
    );
    let search = Search { name: "ayi".into(), ..Search::default() };
    assert!(by("find --name ayi").unwrap() == PatientBy::Search(search));
}

#[test]
fn no_part_of_a_question_is_ignored() {
    for line in [
        "find --id 1 --source-system HIS",
        "find --number ZM38P0QYQHH5CVC7 --institution A1B2C3",
        "find --number ZM38P0QYQHH5CVC7 --id-type 03",
        "find --id 1 --birth-date 1988",
        "find --local-id 1 --sex 1",
        "find --phone 13987654321 --part",
        "find --number ZM38P0QYQHH5CVC7 --region 532901",
    ] {
        assert!(matches!(by(line), Err(CliError::Usage(_))), "{line}");
    }
}

#[test]
fn a_registration_from_flags() {
    let request = registration(
        "register --local-id P1 --name 阿依·古丽 --sex 2 --id 53X --identifier EHC=7=8 --address 大理 --region 532901 --ethnicity 白族 --expected-version 1.2.3",
    );
    assert_eq!((request.expected_version.as_str(), request.withdraw), ("1.2.3", false));
    let held = request.registration.unwrap();
    let ids: Vec<_> = held.identifiers.iter().map(|id| (id.r#type.as_str(), id.value.as_str())).collect();
    assert_eq!(ids, [("01", "53X"), ("EHC", "7=8")]);
    assert_eq!((held.name.as_str(), held.ethnicity.as_str()), ("阿依·古丽", "14"));
    assert_eq!((held.addresses[0].text.as_str(), held.addresses[0].region_code.as_str()), ("大理", "532901"));
    assert!(registration("register --local-id P1 --withdraw").withdraw);
}
