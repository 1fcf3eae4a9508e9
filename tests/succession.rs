//! One node stands for another, on a province of real processes: a county comes under another prefecture, and another one gets a
//! prefecture above it. Its records, and the content of its documents, stay within reach all the way.

use std::time::Duration;

use bytes::Bytes;
use cli::client::Client;
use model::NodePath;
use model::query::{ContentQuery, PatientBy, PatientQuery, QueryContext, Reach};
use tests::mesh::{Mesh, document, identifier, patient};
use wire::v1::{HandOverRequest, Health};

const BINARY: &str = env!("CARGO_BIN_EXE_tiermesh-under-test");
/// A resident ID of nobody.
const ID: &str = "532901198705014689";
const LIMIT: Duration = Duration::from_secs(60);
/// A county that is to have a prefecture above it, that prefecture, and the new places of this county and of the mesh's first one.
const MORE: [(&str, &str); 4] = [
    ("530000/532501", "county"),
    ("530000/532500", "prefecture"),
    ("530000/532500/532501", "county"),
    ("530000/530100/532901", "county"),
];

fn path(text: &str) -> NodePath {
    text.parse().expect("a path")
}

async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let wait = async { while !condition().await {} };
    tokio::time::timeout(LIMIT, wait).await.unwrap_or_else(|_| panic!("never came: {what}"));
}

/// A hospital of its own for each county, with a certificate of this node.
async fn hospital(mesh: &Mesh, of: &NodePath, node: &NodePath) -> Client {
    let code = demo::synth::social_credit_code(of.region(), "M7");
    let credentials = mesh.tree.institution(node, &code).expect("a certificate");
    mesh.tree.connect(node, &credentials).await.expect("a connection")
}

/// What `tiermesh move node` says at the province.
fn move_node(mesh: &Mesh, from: &NodePath, to: &NodePath, more: &[&str]) -> String {
    let province = path("530000");
    let output = std::process::Command::new(BINARY)
        .args(["move", "node", "--node", mesh.tree.address(&province).expect("it runs"), "--identity"])
        .arg(mesh.tree.node_dir(&province).join("operator"))
        .args(["--from", &from.to_string(), "--to", &to.to_string()])
        .args(more)
        .output()
        .expect("the command");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

async fn refusal(mesh: &Mesh, at: &str, from: &str, to: &str) -> String {
    let request = HandOverRequest { from: from.into(), to: to.into(), dry_run: false };
    let operator = mesh.tree.operator(&path(at)).await.expect("an operator");
    let error = operator.hand_over(request).await.expect_err("refused");
    error.reason().unwrap_or_default().to_owned()
}

/// How many registrations of the person this node finds, and whether it says that none is missing.
async fn found(client: &Client, reach: Reach) -> (usize, bool) {
    let query = PatientQuery {
        by: PatientBy::Identifier(identifier(ID)),
        limit: 50,
        reach,
        context: QueryContext::default(),
    };
    let answer = client.find_patients(query).await.expect("find");
    (answer.persons.iter().map(|person| person.registrations.len()).sum(), answer.scope.complete)
}

fn by_key(key: &[u8]) -> ContentQuery {
    ContentQuery {
        key: model::RecordKey(key.try_into().expect("a key")),
        custodian_path: None,
        as_filed: false,
        offset: 0,
        context: QueryContext::default(),
    }
}

/// Whether a node has heard of a document.
async fn knows(client: &Client, key: &[u8]) -> bool {
    match client.retrieve(by_key(key)).await {
        Err(error) if error.reason() == Some("UNKNOWN_DOCUMENT") => false,
        other => other.map(|_| true).expect("a document"),
    }
}

async fn content(client: &Client, key: &[u8]) -> Bytes {
    client.retrieve(by_key(key)).await.expect("a document").read_to_end(1024).await.expect("its content")
}

/// Moves a county with two patients and two documents to its new place, and stops it there where it was.
async fn moves(mesh: &mut Mesh, from: &NodePath, to: &NodePath) {
    let province = path("530000");
    let (old, above) = (hospital(mesh, from, from).await, hospital(mesh, from, &province).await);
    let before = found(&above, Reach::Local).await.0;
    let mut papers = Vec::new();
    for (patient_id, text) in [("P1", "one"), ("P2", "two")] {
        old.register(patient(patient_id, ID)).await.expect("registered");
        let entry = document(&format!("D-{patient_id}"), patient_id);
        let submitted = old.submit_bytes(entry, Bytes::from_static(text.as_bytes())).await;
        papers.push((submitted.expect("submitted").key, text));
    }
    until("the province has them", async || found(&above, Reach::Local).await.0 == before + 2).await;
    assert_eq!(refusal(mesh, "530000", &from.to_string(), &to.to_string()).await, "INSTITUTIONS_LEFT");
    let looked = move_node(mesh, from, to, &["--dry-run"]);
    assert!(looked.contains("1 institution would move"), "{looked}");

    until("it is handed over", async || move_node(mesh, from, to, &[]).contains("stands for it")).await;
    let new = hospital(mesh, from, to).await;
    // Before or after they were fetched: they can be had, at the new place as soon as it knows of them.
    for (key, text) in &papers {
        assert_eq!(content(&above, key).await, text.as_bytes());
        until("the new place knows the document", async || knows(&new, key).await).await;
        assert_eq!(content(&new, key).await, text.as_bytes());
    }
    let stranger = demo::synth::social_credit_code(from.region(), "M8");
    let credentials = mesh.tree.institution(from, &stranger).expect("a certificate");
    let stranger = mesh.tree.connect(from, &credentials).await.expect("a connection");
    until("the old node takes nobody any more", async || {
        stranger.register(patient("S1", ID)).await.is_err_and(|error| {
            assert!(error.to_string().contains(to.to_string().as_str()), "{error}");
            true
        })
    })
    .await;
    let operator = mesh.tree.operator(to).await.expect("an operator");
    until("its documents are fetched", async || {
        let status = operator.status().await.expect("a status");
        status.content.expect("content").objects == 2 && status.reason.is_empty()
    })
    .await;
    mesh.tree.stop(from).await.expect("stopped");
    for (key, text) in &papers {
        assert_eq!(content(&above, key).await, text.as_bytes(), "without the old node");
    }
    assert_eq!(found(&new, Reach::Local).await.0, before + 2, "the person's, from anywhere");
    new.register(patient("P3", ID)).await.expect("it files at the new place");
    until("nothing is missing above", async || found(&above, Reach::Local).await == (before + 3, true)).await;
    let parent = from.parent().expect("a county has a parent");
    let operator = mesh.tree.operator(&parent).await.expect("an operator");
    let status = operator.status().await.expect("a status");
    let link = status.children.iter().find(|link| link.path == from.to_string()).expect("its link");
    assert_eq!((link.connected, link.health()), (false, Health::Green), "{}", link.reason);
    assert!(link.reason.contains(to.to_string().as_str()), "{}", link.reason);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_county_comes_under_another_prefecture_and_one_gets_a_prefecture_above_it() {
    let mut mesh = Mesh::start_with(BINARY, &MORE).await;
    let here = mesh.here.clone();
    assert_eq!(refusal(&mesh, "530000", "530000/532900", "530000/530100").await, "NODES_BELOW");
    // As soon as it knows both.
    until("the prefecture sends to another node", async || {
        let refused = refusal(&mesh, "530000/532900", "530000/532900/532901", "530000/530100").await;
        assert!(["ASK_ANOTHER_NODE", "UNKNOWN_NODE"].contains(&refused.as_str()), "{refused}");
        refused == "ASK_ANOTHER_NODE"
    })
    .await;
    assert_eq!(refusal(&mesh, "530000", "530000/532900/532999", "530000/530100").await, "UNKNOWN_NODE");

    moves(&mut mesh, &path("530000/532501"), &path("530000/532500/532501")).await;
    moves(&mut mesh, &here, &path("530000/530100/532901")).await;
    let again = move_node(&mesh, &here, &path("530000/530100/532901"), &[]);
    assert!(again.contains("since before"), "{again}");
    let from = here.to_string();
    assert_eq!(refusal(&mesh, "530000", &from, "530000/530100").await, "SUCCEEDED");
    mesh.stop().await;
}
