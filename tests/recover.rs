//! A county whose disk was lost while its parent was away: what the old disk still has is found and written again.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use bytes::Bytes;
use cli::client::Client;
use demo::tree::{LocalTree, Plan, Settings};
use model::body::{DocumentEntry, Registration};
use model::query::{ContentQuery, LocalPatient, PatientBy, PatientQuery, QueryContext, Reach};
use model::{Kind, NodePath, OriginId, RecordId, RecordKey, TrustDomain};
use tempfile::TempDir;
use wire::v1::NodeStatus;

const PREFECTURE: &str = "530000";
const COUNTY: &str = "530000/532901";

fn path(text: &str) -> NodePath {
    text.parse().expect("a path")
}

fn code() -> String {
    demo::synth::social_credit_code(path(COUNTY).region(), "M1")
}

struct Mesh {
    tree: LocalTree,
    folder: TempDir,
}

impl Mesh {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let plan = |path: &str, tier: &str| Plan {
            path: path.parse().expect("a path"),
            name: "测试".into(),
            tier: tier.into(),
        };
        let settings =
            Settings { executable: binary(), dir: folder.path().join("tree"), store: "cache_mib = 4".into() };
        let plans = vec![plan(PREFECTURE, "province"), plan(COUNTY, "county")];
        let mut tree = LocalTree::create(settings, plans).expect("certificates");
        tree.start_all(|_| ()).await.expect("the tree starts");
        let mesh = Self { tree, folder };
        mesh.until(COUNTY, |status| status.writing).await;
        mesh
    }

    async fn hospital(&self, node: &str) -> Client {
        let code =
            if node == COUNTY { code() } else { demo::synth::social_credit_code(path(node).region(), "M2") };
        let credentials = self.tree.institution(&path(node), &code).expect("a certificate");
        self.tree.connect(&path(node), &credentials).await.expect("a connection")
    }

    /// Waits until a node's status is as expected.
    async fn until(&self, node: &str, expected: impl Fn(&NodeStatus) -> bool) -> NodeStatus {
        let operator = self.tree.operator(&path(node)).await.expect("an operator");
        let ask = async {
            loop {
                let status = operator.status().await.expect("a status");
                if expected(&status) {
                    return status;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), ask).await.expect("the status comes to be so")
    }

    fn recover(&self, from: &Path, more: &[&str]) -> Output {
        let config = self.tree.node_dir(&path(COUNTY)).join("node.toml");
        let mut command = Command::new(binary());
        command.arg("recover").arg("--config").arg(config).arg("--from").arg(from).args(more);
        command.output().expect("it runs")
    }
}

fn binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_tiermesh-under-test"))
}

async fn register(hospital: &Client, local_id: &str, name: &str) {
    let registration = Registration {
        local_id: local_id.into(),
        name: name.into(),
        sex: "2".into(),
        birth_date: "1987-05-01".into(),
        ..Default::default()
    };
    hospital.register(registration).await.expect("registered");
}

async fn names(client: &Client, local_id: &str) -> Vec<String> {
    let local =
        LocalPatient { institution_code: code(), source_system: String::new(), local_id: local_id.into() };
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
async fn content_of_d1(hospital: &Client) -> Bytes {
    let domain: TrustDomain = "demo.tiermesh".parse().expect("the tree's trust domain");
    let key = RecordKey::of(
        Kind::DocumentEntry as u32,
        OriginId::of_institution(&domain, &code()),
        RecordId::of(&[b"D1"]),
    );
    let context = QueryContext { practitioner: "D001".into(), ..Default::default() };
    let wanted = ContentQuery { key, custodian_path: Some(path(COUNTY)), offset: 0, context };
    let retrieval = hospital.retrieve(wanted).await.expect("the document is there");
    retrieval.read_to_end(1 << 20).await.expect("its content is back")
}

const CONTENT: &[u8] = "检验报告".as_bytes();

fn listed(output: &Output) -> serde_json::Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Writes of the county that its parent never had, on a disk that is then replaced by an empty one; where the old one is.
async fn lose(mesh: &mut Mesh) -> PathBuf {
    let (county, parent) = (path(COUNTY), path(PREFECTURE));
    let hospital = mesh.hospital(COUNTY).await;
    register(&hospital, "P1", "段·一").await;
    mesh.until(PREFECTURE, |status| status.store.as_ref().is_some_and(|store| store.registrations == 1))
        .await;
    mesh.tree.kill(&parent).await.expect("it ran");
    register(&hospital, "Q1", "段·二").await;
    register(&hospital, "Q2", "段·三").await;
    let entry = DocumentEntry {
        document_id: "D1".into(),
        local_id: "Q1".into(),
        type_code: "C0007".into(),
        title: "检验报告".into(),
        created_ms: 1_780_000_000_000,
        confidentiality: "N".into(),
        media_type: "text/plain".into(),
        ..Default::default()
    };
    hospital.submit_bytes(entry, Bytes::from_static(CONTENT)).await.expect("submitted");
    mesh.tree.kill(&county).await.expect("it ran");
    let old = mesh.folder.path().join("old");
    std::fs::rename(mesh.tree.node_dir(&county).join("data"), &old).expect("moved");
    mesh.tree.start(&parent).await.expect("the parent starts");
    mesh.tree.start(&county).await.expect("the county starts");
    mesh.until(COUNTY, |status| status.writing).await;
    old
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_old_disk_still_has_is_listed_and_written_again() {
    let mut mesh = Mesh::start().await;
    let county = path(COUNTY);
    let old = lose(&mut mesh).await;
    let hospital = mesh.hospital(COUNTY).await;
    assert_eq!(names(&hospital, "P1").await, ["段·一"], "what the parent had is back");
    assert!(names(&hospital, "Q1").await.is_empty(), "what it never had is not");
    // Meanwhile one of them was registered anew, with another name.
    register(&hospital, "Q2", "段·三改").await;

    let running = mesh.recover(&old, &["--json"]);
    assert!(!running.status.success(), "a running node holds its data");
    mesh.tree.stop(&county).await.expect("it stops");
    let found = listed(&mesh.recover(&old, &["--json"]));
    let survivors = found["survivors"].as_array().expect("a list");
    let missing = |one: &&serde_json::Value| one["missing"] == true;
    assert_eq!((survivors.len(), survivors.iter().filter(missing).count()), (3, 2), "{found}");
    assert!(found["written_again"].is_null(), "nothing was asked to be written");
    assert!(!found.to_string().contains('段'), "no name of a patient is printed");
    let done = listed(&mesh.recover(&old, &["--import", "--json"]));
    assert_eq!((&done["written_again"], &done["without_content"]), (&2.into(), &0.into()), "{done}");
    let again = listed(&mesh.recover(&old, &["--import", "--json"]));
    let left = again["survivors"].as_array().expect("a list");
    assert!(left.iter().all(|one| one["missing"] == false), "nothing is written twice: {again}");

    mesh.tree.start(&county).await.expect("it starts");
    let hospital = mesh.hospital(COUNTY).await;
    assert_eq!(names(&hospital, "Q1").await, ["段·二"]);
    assert_eq!(names(&hospital, "Q2").await, ["段·三改"], "what was changed since is left alone");
    assert_eq!(content_of_d1(&hospital).await, CONTENT);
    mesh.until(PREFECTURE, |status| {
        status.store.as_ref().is_some_and(|store| store.registrations == 3 && store.document_entries == 1)
    })
    .await;
    let above = mesh.hospital(PREFECTURE).await;
    assert_eq!(names(&above, "Q1").await, ["段·二"]);
    mesh.tree.stop_all().await.expect("all stop");
}
