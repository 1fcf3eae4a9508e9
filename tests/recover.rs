//! A county whose disk was lost while its parent was away: what the old disk still has is found and written again.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use bytes::Bytes;
use cli::client::Client;
use model::body::Registration;
use model::query::{ContentQuery, LocalPatient, PatientBy, PatientQuery, QueryContext, Reach};
use model::{Kind, NodePath, OriginId, RecordId, RecordKey, TrustDomain};
use tests::mesh::{Mesh, document, patient};
use wire::v1::NodeStatus;

const BINARY: &str = env!("CARGO_BIN_EXE_tiermesh-under-test");
/// Resident IDs of nobody.
const IDS: [&str; 3] = ["532901198705014689", "53290119870501462X", "532901198705014662"];
const CONTENT: &[u8] = "检验报告".as_bytes();

fn code(county: &NodePath) -> String {
    demo::synth::social_credit_code(county.region(), "M1")
}

/// Waits until a node's status is as expected.
async fn until(mesh: &Mesh, node: &NodePath, expected: impl Fn(&NodeStatus) -> bool) {
    let operator = mesh.tree.operator(node).await.expect("an operator");
    let ask = async {
        while !expected(&operator.status().await.expect("a status")) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), ask).await.expect("the status comes to be so");
}

fn recover(mesh: &Mesh, from: &Path, more: &[&str]) -> Output {
    let config = mesh.tree.node_dir(&mesh.here).join("node.toml");
    let mut command = Command::new(BINARY);
    command.arg("recover").arg("--config").arg(config).arg("--from").arg(from).args(more);
    command.output().expect("it runs")
}

async fn register(hospital: &Client, number: usize, name: &str) {
    let registration = Registration { name: name.into(), ..patient(&format!("P{number}"), IDS[number]) };
    hospital.register(registration).await.expect("registered");
}

/// Names of a patient as a node holds them itself.
async fn names(client: &Client, county: &NodePath, number: usize) -> Vec<String> {
    let local = LocalPatient {
        institution_code: code(county),
        source_system: String::new(),
        local_id: format!("P{number}"),
    };
    let query = PatientQuery {
        by: PatientBy::Local(local),
        limit: 2,
        reach: Reach::Local,
        context: QueryContext::default(),
    };
    let answer = client.find_patients(query).await.expect("an answer");
    let registrations = answer.persons.into_iter().flat_map(|person| person.registrations);
    registrations.map(|one| one.registration.name).collect()
}

/// The content of the county's document, by its node.
async fn content(hospital: &Client, county: &NodePath) -> Bytes {
    let domain: TrustDomain = "demo.tiermesh".parse().expect("the tree's trust domain");
    let origin = OriginId::of_institution(&domain, &code(county));
    let key = RecordKey::of(Kind::DocumentEntry as u32, origin, RecordId::of(&[b"D1"]));
    let context = QueryContext { practitioner: "D001".into(), ..Default::default() };
    let wanted =
        ContentQuery { key, custodian_path: Some(county.clone()), as_filed: false, offset: 0, context };
    let retrieval = hospital.retrieve(wanted).await.expect("the document is there");
    retrieval.read_to_end(1 << 20).await.expect("its content is back")
}

fn listed(output: &Output) -> serde_json::Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Writes of the county that its parent never had, on a disk that is then replaced by an empty one; where the old one is.
async fn lose(mesh: &mut Mesh) -> PathBuf {
    let county = mesh.here.clone();
    let parent = county.parent().expect("a county has a parent");
    let hospital = mesh.hospital(&county).await;
    register(&hospital, 0, "段·一").await;
    until(mesh, &parent, |status| status.store.as_ref().is_some_and(|store| store.registrations == 1)).await;
    mesh.tree.kill(&parent).await.expect("it ran");
    register(&hospital, 1, "段·二").await;
    register(&hospital, 2, "段·三").await;
    hospital.submit_bytes(document("D1", "P1"), Bytes::from_static(CONTENT)).await.expect("submitted");
    mesh.tree.kill(&county).await.expect("it ran");
    let (data, old) =
        (mesh.tree.node_dir(&county).join("data"), mesh.tree.node_dir(&county).join("old data"));
    std::fs::rename(data, &old).expect("moved");
    mesh.tree.start(&parent).await.expect("the parent starts");
    mesh.tree.start(&county).await.expect("the county starts");
    until(mesh, &county, |status| status.writing).await;
    old
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_old_disk_still_has_is_listed_and_written_again() {
    let mut mesh = Mesh::start(BINARY).await;
    let county = mesh.here.clone();
    let old = lose(&mut mesh).await;
    let hospital = mesh.hospital(&county).await;
    assert_eq!(names(&hospital, &county, 0).await, ["段·一"], "what the parent had is back");
    assert!(names(&hospital, &county, 1).await.is_empty(), "what it never had is not");
    // Meanwhile one of them was registered anew, with another name.
    register(&hospital, 2, "段·三改").await;

    let running = recover(&mesh, &old, &["--json"]);
    assert!(!running.status.success(), "a running node holds its data");
    mesh.tree.stop(&county).await.expect("it stops");
    let found = listed(&recover(&mesh, &old, &["--json"]));
    let survivors = found["survivors"].as_array().expect("a list");
    let missing = |one: &&serde_json::Value| one["missing"] == true;
    assert_eq!((survivors.len(), survivors.iter().filter(missing).count()), (3, 2), "{found}");
    assert!(found["written_again"].is_null(), "nothing was asked to be written");
    assert!(!found.to_string().contains('段'), "no name of a patient is printed");
    let done = listed(&recover(&mesh, &old, &["--import", "--json"]));
    assert_eq!((&done["written_again"], &done["without_content"]), (&2.into(), &0.into()), "{done}");
    let again = listed(&recover(&mesh, &old, &["--import", "--json"]));
    let left = again["survivors"].as_array().expect("a list");
    assert!(left.iter().all(|one| one["missing"] == false), "nothing is written twice: {again}");

    mesh.tree.start(&county).await.expect("it starts");
    let hospital = mesh.hospital(&county).await;
    assert_eq!(names(&hospital, &county, 1).await, ["段·二"]);
    assert_eq!(names(&hospital, &county, 2).await, ["段·三改"], "what was changed since is left alone");
    assert_eq!(content(&hospital, &county).await, CONTENT);
    let province: NodePath = "530000".parse().expect("a path");
    until(&mesh, &province, |status| {
        status.store.as_ref().is_some_and(|store| store.registrations == 3 && store.document_entries == 1)
    })
    .await;
    let above = mesh.hospital(&province).await;
    assert_eq!(names(&above, &county, 1).await, ["段·二"]);
    mesh.stop().await;
}
