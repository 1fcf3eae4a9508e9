//! Institutions handed from one node to another, on a province of real processes: nothing is lost, doubled or unreachable on
//! the way, whoever is dead meanwhile.

use std::time::Duration;

use bytes::Bytes;
use cli::CliError;
use cli::client::Client;
use model::NodePath;
use model::query::{ContentQuery, DocumentQuery, DocumentsOf, PatientBy, PatientQuery, QueryContext, Reach};
use tests::mesh::{Mesh, document, identifier, patient};
use wire::v1::{MoveInstitutionReply, MoveInstitutionRequest, MoveOutcome};

/// Resident IDs of nobody.
const ID: &str = "532901198705014689";
const OTHER_ID: &str = "532901199001011230";
const LIMIT: Duration = Duration::from_secs(60);

async fn start() -> Mesh {
    Mesh::start(env!("CARGO_BIN_EXE_tiermesh-under-test")).await
}

fn path(text: &str) -> NodePath {
    text.parse().expect("a path")
}

/// Code of the hospital of these tests.
fn code() -> String {
    demo::synth::social_credit_code(path("530000/532900").region(), "M7")
}

/// The hospital of these tests, with a certificate of this node.
async fn hospital(mesh: &Mesh, node: &NodePath) -> Client {
    let credentials = mesh.tree.institution(node, &code()).expect("a certificate");
    mesh.tree.connect(node, &credentials).await.expect("a connection")
}

async fn moved(
    mesh: &Mesh,
    at: &str,
    request: MoveInstitutionRequest,
) -> Result<MoveInstitutionReply, CliError> {
    mesh.tree.operator(&path(at)).await.expect("an operator").move_institution(request).await
}

fn request(to: &NodePath) -> MoveInstitutionRequest {
    MoveInstitutionRequest { code: code(), to: to.to_string(), dry_run: false, without_old_writer: false }
}

async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let wait = async { while !condition().await {} };
    tokio::time::timeout(LIMIT, wait).await.unwrap_or_else(|_| panic!("never came: {what}"));
}

/// Registers until the node takes it; refusals on the way must be of the move.
async fn register(hospital: &Client, local_id: &str, id: &str) {
    let write = async || match hospital.register(patient(local_id, id)).await {
        Ok(_) => true,
        Err(error) if matches!(error.reason(), Some("NOT_READY" | "NOT_WRITING")) => false,
        Err(error) => panic!("{error}"),
    };
    until("a write is taken", write).await;
}

/// Waits until the node refuses the hospital because it files elsewhere.
async fn refused(hospital: &Client) {
    until("the old writer refuses", async || match hospital.register(patient("P0", ID)).await {
        Ok(_) => false,
        Err(error) => {
            assert_eq!(error.reason(), Some("WRONG_NODE"), "{error}");
            true
        }
    })
    .await;
}

/// Local ids of the person's registrations, as this node answers, and documents.
async fn found(client: &Client, id: &str, reach: Reach) -> (Vec<String>, usize) {
    let query = PatientQuery {
        by: PatientBy::Identifier(identifier(id)),
        limit: 50,
        reach,
        context: QueryContext::default(),
    };
    let answer = client.find_patients(query).await.expect("find");
    let all = answer.persons.into_iter().flat_map(|person| person.registrations);
    let mut ids: Vec<String> = all.map(|one| one.registration.local_id).collect();
    ids.sort();
    let query = DocumentQuery {
        of: DocumentsOf::Identifier(identifier(id)),
        type_codes: Vec::new(),
        created_from_ms: 0,
        created_to_ms: 0,
        availabilities: Vec::new(),
        page_size: 50,
        page_token: String::new(),
        reach,
        context: QueryContext::default(),
    };
    let documents = client.find_documents(query).await.map_or(0, |answer| answer.documents.len());
    (ids, documents)
}

fn ids(numbers: impl IntoIterator<Item = u32>) -> Vec<String> {
    let mut ids: Vec<String> = numbers.into_iter().map(|number| format!("P{number}")).collect();
    ids.sort();
    ids
}

async fn content(client: &Client, key: &[u8]) -> Bytes {
    let query = ContentQuery {
        key: model::RecordKey(key.try_into().expect("a key")),
        offset: 0,
        custodian_path: None,
        context: QueryContext::default(),
    };
    client.retrieve(query).await.expect("a document").read_to_end(1024).await.expect("its content")
}

/// Waits until every up link of the tree is proven whole with nothing in quarantine anywhere.
async fn proven(mesh: &Mesh) {
    for node in mesh.tree.paths() {
        until(&format!("{node} is proven"), async || {
            let Ok(operator) = mesh.tree.operator(&node).await else { return false };
            let Ok(status) = operator.status().await else { return false };
            let store = status.store.expect("a store");
            assert_eq!(store.quarantined, 0, "{node}");
            let links = status.children.iter().chain(&status.parent);
            links.clone().for_each(|link| assert!(link.quarantined == 0, "{node}: {link:?}"));
            status.parent.is_none_or(|link| link.proven_ms > 0 && link.proven_position == link.head)
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prefecture_hands_a_hospital_to_its_county_and_gets_it_back() {
    let mesh = start().await;
    let (county, prefecture) = (mesh.here.clone(), mesh.here.parent().expect("a parent"));
    let old = hospital(&mesh, &prefecture).await;
    for number in 0..20 {
        old.register(patient(&format!("P{number}"), ID)).await.expect("registered");
    }
    let paper =
        old.submit_bytes(document("LAB1", "P3"), Bytes::from_static(b"one")).await.expect("submitted");

    let asked = moved(&mesh, "530000", request(&county)).await.expect_err("not the decider");
    assert_eq!(asked.reason(), Some("ASK_ANOTHER_NODE"));
    assert!(asked.to_string().contains(prefecture.to_string().as_str()), "{asked}");
    let at = prefecture.to_string();
    let dry = moved(&mesh, &at, MoveInstitutionRequest { dry_run: true, ..request(&county) }).await;
    let dry = dry.expect("a dry run");
    assert_eq!(dry.outcome(), MoveOutcome::Possible);
    assert_eq!((dry.registrations, dry.document_entries, dry.travelling, dry.term), (20, 1, 21, 2));
    old.register(patient("P1", ID)).await.expect("a dry run changes nothing");

    let decided = moved(&mesh, &at, request(&county)).await.expect("decided");
    assert_eq!(decided.outcome(), MoveOutcome::Decided);
    refused(&old).await;
    let new = hospital(&mesh, &county).await;
    register(&new, "P20", ID).await;
    // All of it is held, or the write would have been refused.
    assert_eq!(found(&new, ID, Reach::Local).await, (ids(0..21), 1));
    // It updates what its predecessor wrote.
    let before = new.register(patient("P3", ID)).await.expect("unchanged");
    assert_eq!(before.outcome, wire::v1::RegisterOutcome::Unchanged as i32);
    let after = new.register(patient("P3", OTHER_ID)).await.expect("updated");
    assert!(after.version.starts_with("2."), "{after:?}");
    assert_eq!(content(&new, &paper.key).await, Bytes::from_static(b"one"), "at the old custodian");
    let again = moved(&mesh, &at, request(&county)).await.expect("asked again");
    assert_eq!((again.outcome(), again.awaited_term), (MoveOutcome::There, 0));
    new.submit_bytes(document("LAB2", "P4"), Bytes::from_static(b"two")).await.expect("submitted");
    proven(&mesh).await;
    for node in ["530000", "530000/532900"] {
        let client = hospital(&mesh, &path(node)).await;
        assert_eq!(found(&client, ID, Reach::Tree).await.0, ids((0..21).filter(|n| *n != 3)), "{node}");
    }

    // And back up.
    moved(&mesh, &at, request(&prefecture)).await.expect("decided");
    refused(&new).await;
    register(&old, "P21", ID).await;
    let back = old.register(patient("P4", OTHER_ID)).await.expect("updated");
    assert!(back.version.starts_with("3."), "{back:?}");
    proven(&mesh).await;
    assert_eq!(found(&old, OTHER_ID, Reach::Local).await, (ids([3, 4]), 2));
    mesh.stop().await;
}
