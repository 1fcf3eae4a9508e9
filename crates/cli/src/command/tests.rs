//! What is accepted on the command line, and what is not.

use clap::{CommandFactory, Parser};

use super::*;

#[derive(Debug, Parser)]
struct Tiermesh {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

fn parse(line: &str) -> Result<Tiermesh, clap::Error> {
    Tiermesh::try_parse_from(format!("tiermesh {line}").split_whitespace())
}

#[test]
fn the_definition_holds_together() {
    Tiermesh::command().debug_assert();
}

#[test]
fn accepted() {
    for line in [
        "patient register --local-id P1 --name 王小明 --sex 1 --birth-date 1990-01-01 --id 530102199001011234",
        "patient register --file x.json --expected-version 1.2.3",
        "patient register --local-id P1 --withdraw",
        "patient register --local-id P1 --identifier EHC=123 --identifier 03=E123 --phone 1 --phone 2 --address 大理 --region 532901",
        "patient find --id 530102199001011234",
        "patient find --id E123 --id-type 03 --limit 100 --here",
        "patient find --number ZM38P0QYQHH5CVC7",
        "patient find --name 王小明 --birth-date 1990 --sex 1",
        "patient find --local-id P1 --source-system HIS --institution 53010212345678901A1001",
        "patient show --number zm38p0qy-qhh5cvc7",
        "document submit a.pdf --local-id P1 --type C0007 --title 检验报告 --replaces D0 --confidentiality R",
        "document submit --reference https://his.example/1 --local-id P1 --type C0007 --title 检验 --id D1 --created 2026-11-21",
        "document find --number ZM38P0QYQHH5CVC7 --type C0007 --type C0053 --from 2026-01-01 --to 2026-02-01T12:00 --state deprecated --state approved",
        "document find --registration fd068b02febc62566d87f78e11321fa4 --page-token abc",
        "document get fd068b02febc62566d87f78e11321fa4@530000/532900 --out a.pdf --force",
        "document deprecate D1 --local-id P1",
        "document withdraw D1 --local-id P1 --reason 错",
        "status",
        "scrub",
        "quarantine",
        "quarantine --from 530000/532900 --limit 5000 --json",
        "quarantine --from 大理州",
        "move institution 53010212345678901A1001 --to 530000/532900/532901 --dry-run",
        "move institution 53010212345678901A1001 --to 530000/532900 --without-old-writer --json",
        "scrub --no-wait --json",
        "status --watch --interval 5 --looks 3",
        "status --node 10.0.0.1:7400 --node-path 530000/532900 --identity here --timeout 2.5 --json --practitioner d1 --purpose public-health",
        "--json status --cert c.pem --key c.key --root root.pem",
    ] {
        if let Err(error) = parse(line) {
            panic!("{line}: {error}");
        }
    }
}

#[test]
fn refused() {
    use clap::error::ErrorKind::{
        ArgumentConflict, DisplayHelpOnMissingArgumentOrSubcommand, InvalidValue, MissingRequiredArgument,
        UnknownArgument, ValueValidation,
    };
    for (line, kind) in [
        ("patient", DisplayHelpOnMissingArgumentOrSubcommand),
        ("patient register", MissingRequiredArgument),
        ("patient register --name 王", MissingRequiredArgument),
        ("patient register --file x.json --local-id P1", ArgumentConflict),
        ("patient register --file x.json --name 王", ArgumentConflict),
        ("patient register --local-id P1 --id-type 03", MissingRequiredArgument),
        ("patient register --local-id P1 --identifier 123", ValueValidation),
        ("patient register --local-id P1 --region 532901", MissingRequiredArgument),
        ("patient register --local-id P1 --expected-version 7", ValueValidation),
        ("patient find", MissingRequiredArgument),
        ("patient find --birth-date 1990", MissingRequiredArgument),
        ("patient find --id 1 --number ZM38P0QYQHH5CVC7", ArgumentConflict),
        ("patient find --number 12", ValueValidation),
        ("patient find --id 1 --limit 0", ValueValidation),
        ("patient find --id 1 --limit 101", ValueValidation),
        ("patient find --source-system HIS", MissingRequiredArgument),
        ("patient show --name 王", UnknownArgument),
        ("document submit --local-id P1 --type C0007 --title t", MissingRequiredArgument),
        ("document submit a.pdf --reference u --local-id P1 --type C0007 --title t", ArgumentConflict),
        ("document submit --reference u --local-id P1 --type C0007 --title t", MissingRequiredArgument),
        ("document submit a.pdf --type C0007 --title t", MissingRequiredArgument),
        ("document find --registration 12", ValueValidation),
        ("document find --id 1 --state gone", ValueValidation),
        ("document find --id 1 --from yesterday", ValueValidation),
        ("document find --id 1 --limit 201", ValueValidation),
        ("document get fd068b02febc62566d87f78e11321fa4", MissingRequiredArgument),
        ("document get 12 --out a", ValueValidation),
        ("document withdraw D1", MissingRequiredArgument),
        ("quarantine --limit 0", ValueValidation),
        ("quarantine 530000", UnknownArgument),
        ("status --interval 2", MissingRequiredArgument),
        ("status --watch --interval 0", ValueValidation),
        ("status --timeout 0", ValueValidation),
        ("status --timeout 3601", ValueValidation),
        ("status --timeout nan", ValueValidation),
        ("status --purpose curiosity", ValueValidation),
        ("status --node-path 53/54", ValueValidation),
        ("status --json=yes", clap::error::ErrorKind::TooManyValues),
        ("patient find --sex", InvalidValue),
    ] {
        match parse(line) {
            Ok(_) => panic!("{line}: was accepted"),
            Err(error) => assert_eq!(error.kind(), kind, "{line}: {error}"),
        }
    }
}

#[test]
fn defaults() {
    let parsed = parse("status").unwrap();
    assert_eq!(parsed.global.node, "127.0.0.1:7400");
    assert_eq!(parsed.global.purpose, model::query::Purpose::Treatment);
    assert_eq!((parsed.global.timeout, parsed.global.json), (None, false));
    let asked = parse("status --purpose Public-Health --timeout 0.5").unwrap();
    assert_eq!(asked.global.purpose, model::query::Purpose::PublicHealth);
    assert_eq!(asked.global.timeout, Some(std::time::Duration::from_millis(500)));
}

#[test]
fn nothing_personal_is_printed() {
    let parsed = parse("patient register --local-id P1 --name 王小明 --id 530102199001011234").unwrap();
    let printed = format!("{:?}", parsed.command);
    assert!(!printed.contains("王") && !printed.contains("5301"), "{printed}");
}
