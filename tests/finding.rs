//! Who is found by what a registration desk knows: a telephone, a number in any form, a name in characters or pinyin, a part of it,
//! a birth date, a region; here, and from another county through the tree.

use std::process::{Command, Output};
use std::time::Duration;

use cli::CliError;
use cli::client::Client;
use model::body::{Identifier, Registration};
use model::query::{PatientAnswer, PatientBy, PatientQuery, QueryContext, Reach, Search};
use tests::mesh::Mesh;

const BINARY: &str = env!("CARGO_BIN_EXE_tiermesh-under-test");
const LIMIT: Duration = Duration::from_secs(60);

fn patient(local_id: &str, name: &str, birth_date: &str, sex: &str) -> Registration {
    Registration {
        local_id: local_id.into(),
        name: name.into(),
        birth_date: birth_date.into(),
        sex: sex.into(),
        ..Registration::default()
    }
}

async fn ask(client: &Client, by: PatientBy, reach: Reach) -> Result<PatientAnswer, CliError> {
    let query = PatientQuery { by, limit: 10, reach, context: QueryContext::default() };
    client.find_patients(query).await
}

fn ids(answer: &PatientAnswer) -> Vec<String> {
    let all = answer.persons.iter().flat_map(|person| &person.registrations);
    all.map(|one| one.registration.local_id.clone()).collect()
}

fn search(name: &str, birth_date: &str) -> Search {
    Search { name: name.into(), birth_date: birth_date.parse().ok(), ..Search::default() }
}

/// Asks until exactly these are found, in this order; records need a moment through the tree.
async fn until_found(client: &Client, by: PatientBy, expected: &[&str]) -> PatientAnswer {
    let wait = async {
        loop {
            let answer = ask(client, by.clone(), Reach::Tree).await.expect("find");
            if ids(&answer) == expected {
                return answer;
            }
        }
    };
    tokio::time::timeout(LIMIT, wait).await.unwrap_or_else(|_| panic!("never found: {expected:?}"))
}

/// What `tiermesh patient find` says to the hospital of the first county.
fn find(mesh: &Mesh, more: &[&str]) -> Output {
    let code = demo::synth::social_credit_code(mesh.here.region(), "M1");
    Command::new(BINARY)
        .args(["patient", "find", "--node", mesh.tree.address(&mesh.here).expect("it runs"), "--identity"])
        .arg(mesh.tree.institution(&mesh.here, &code).expect("a certificate"))
        .args(more)
        .output()
        .expect("the command")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Local ids and scores, as `--json` tells them.
fn listed(output: &Output) -> Vec<(String, f64)> {
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let persons = said["persons"].as_array().expect("persons").iter();
    let one = |person: &serde_json::Value| {
        let id = person["registrations"][0]["registration"]["local_id"].as_str().expect("an id").to_owned();
        (id, person["match"]["weight"].as_f64().expect("a score"))
    };
    persons.map(one).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_desk_finds_by_command() {
    let mesh = Mesh::start(BINARY).await;
    let hospital = mesh.hospital(&mesh.here).await;
    for (local_id, name, birth_date) in
        [("P1", "张伟", "1988-03-02"), ("P2", "章玮", "1988-11-20"), ("P3", "张伟国", "1988-06-30")]
    {
        hospital.register(patient(local_id, name, birth_date, "1")).await.expect("registered");
    }
    let by_name = find(&mesh, &["--name", "张伟", "--birth-date", "1988-03-02", "--json", "--here"]);
    let found = listed(&by_name);
    assert_eq!(found.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["P1", "P2"]);
    assert!(found[0].1 > found[1].1, "the same characters first: {found:?}");
    let by_pinyin =
        listed(&find(&mesh, &["--name", "zhang wei", "--birth-date", "1988", "--json", "--here"]));
    assert_eq!(by_pinyin.len(), 2);
    let by_part = find(&mesh, &["--name", "伟国", "--part", "--region", "532901"]);
    let shown = text(&by_part.stdout);
    assert!(shown.contains("张伟国") && shown.contains("name part") && !shown.contains("章玮"), "{shown}");

    let wide = find(&mesh, &["--name", "张", "--part"]);
    let said = text(&wide.stderr);
    assert_eq!(wide.status.code(), Some(3), "refused input: {said}");
    assert!(said.contains("TOO_WIDE") && said.contains("birth_date") && !said.contains('张'), "{said}");
    // Of the node itself: whether its parent is linked by now is another question.
    let nobody = find(&mesh, &["--name", "zhangwei", "--birth-date", "1999", "--here"]);
    assert_eq!(nobody.status.code(), Some(4), "nobody");
    mesh.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_described_is_found_through_the_tree() {
    let mesh = Mesh::start(BINARY).await;
    let (here, there) = (mesh.hospital(&mesh.here).await, mesh.hospital(&mesh.there).await);
    let identifier = Identifier { r#type: "03".into(), value: "E12345678".into(), assigner: String::new() };
    let first = Registration {
        phones: vec!["139-8765-4321".into()],
        identifiers: vec![identifier],
        ..patient("A1", "单玉峰", "1988-03-02", "1")
    };
    here.register(first).await.expect("registered");
    here.register(patient("A2", "单玉峰", "1988-11-30", "2")).await.expect("registered");
    there.register(patient("B1", "單玉鳳", "1988-03-12", "2")).await.expect("registered");
    there.register(patient("B2", "热合曼·艾合买提", "1970-05-06", "1")).await.expect("registered");

    // From the other county, through the province, best first.
    let asked = Search { sex: "1".into(), ..search("shan yufeng", "1988-03-02") };
    let answer = until_found(&there, PatientBy::Search(asked.clone()), &["A1", "B1", "A2"]).await;
    let matched = answer.persons[0].matched.as_ref().expect("a score");
    assert!(matched.weight > 0.0 && matched.probability > 0.5, "{}", matched.weight);
    assert!(matched.fields.iter().any(|field| field.comparison == "name" && field.level == "pinyin"));
    let weights: Vec<f32> =
        answer.persons.iter().filter_map(|one| Some(one.matched.as_ref()?.weight)).collect();
    assert!(weights.len() == 3 && weights.is_sorted_by(|a, b| a >= b), "{weights:?}");
    assert!(answer.scope.complete && !answer.truncated);

    for (by, expected) in [
        (PatientBy::Phone("+86 13987654321".into()), "A1"),
        (PatientBy::Identifier(Identifier { value: "ｅ1234 5678".into(), ..Identifier::default() }), "A1"),
        (PatientBy::Search(Search { part: true, ..search("艾合买提", "") }), "B2"),
        (PatientBy::Search(search("rehemanaihemaiti", "1970")), "B2"),
        (PatientBy::Search(Search { region: "530102".parse().ok(), ..search("单玉凤", "") }), "B1"),
        (PatientBy::Search(Search { part: true, region: "530100".parse().ok(), ..search("shan", "") }), "B1"),
    ] {
        for client in [&here, &there] {
            until_found(client, by.clone(), &[expected]).await;
        }
    }

    // Only what this county holds.
    let answer = ask(&here, PatientBy::Search(asked), Reach::Local).await.expect("find");
    assert_eq!(ids(&answer), ["A1", "A2"]);
    // Too wide is said at once, and says what to add.
    let wide = PatientBy::Search(Search { part: true, ..search("单", "") });
    let error = ask(&here, wide, Reach::Tree).await.expect_err("too wide");
    assert_eq!(error.reason(), Some("TOO_WIDE"));
    assert!(error.to_string().contains("birth_date") && !error.to_string().contains('单'), "{error}");

    // Nobody else than before may ask.
    let operator = mesh.tree.operator(&mesh.here).await.expect("an operator");
    let denied = ask(&operator, PatientBy::Phone("13987654321".into()), Reach::Tree).await;
    assert_eq!(denied.expect_err("denied").reason(), Some("WRONG_ROLE"));
    mesh.stop().await;
}
