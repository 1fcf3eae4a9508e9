//! Institutions handed from one node to another, on a province of real processes: nothing is lost, doubled or unreachable on
//! the way, whoever is dead meanwhile.

use std::time::Duration;

use bytes::Bytes;
use cli::CliError;
use cli::client::Client;
use model::NodePath;
use model::query::{ContentQuery, DocumentQuery, DocumentsOf, PatientBy, PatientQuery, QueryContext, Reach};
use tests::mesh::{Mesh, document, identifier, patient};
use wire::v1::{
    ListInstitutionsRequest, ListQuarantineRequest, MoveInstitutionReply, MoveInstitutionRequest,
    MoveOutcome, QuarantineStanding, QuarantinedRecord,
};

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

/// The same at the node that it moved to, once that knows of it: to a node that has never heard of the hospital it would be one that
/// files for the first time.
async fn moved_hospital(mesh: &Mesh, node: &NodePath) -> Client {
    let operator = mesh.tree.operator(node).await.expect("an operator");
    let request = ListInstitutionsRequest { writer: node.to_string(), after: String::new() };
    until("the new node knows of the hospital", async || {
        let files = operator.list_institutions(request.clone()).await;
        files.is_ok_and(|files| files.institutions.iter().any(|one| one.code == code() && one.term > 1))
    })
    .await;
    hospital(mesh, node).await
}

async fn moved(
    mesh: &Mesh,
    at: &str,
    request: MoveInstitutionRequest,
) -> Result<MoveInstitutionReply, CliError> {
    mesh.tree.operator(&path(at)).await.expect("an operator").move_institution(request).await
}

fn request(to: &NodePath) -> MoveInstitutionRequest {
    MoveInstitutionRequest { code: code(), to: to.to_string(), ..MoveInstitutionRequest::default() }
}

async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let wait = async { while !condition().await {} };
    tokio::time::timeout(LIMIT, wait).await.unwrap_or_else(|_| panic!("never came: {what}"));
}

/// Registers until the node takes it. Until it has learnt of the move it says where the hospital filed before.
async fn register(hospital: &Client, local_id: &str, id: &str) {
    let write = async || match hospital.register(patient(local_id, id)).await {
        Ok(_) => true,
        Err(error) if matches!(error.reason(), Some("NOT_READY" | "NOT_WRITING" | "WRONG_NODE")) => false,
        Err(error) => panic!("{error}"),
    };
    until("a write is taken", write).await;
}

/// Waits until the node refuses the hospital because it files elsewhere.
async fn refused(hospital: &Client) {
    until("the old writer refuses", async || match hospital.register(patient("P0", ID)).await {
        Ok(_) => false,
        Err(error) if matches!(error.reason(), Some("NOT_READY" | "NOT_WRITING")) => false,
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
        as_filed: false,
        context: QueryContext::default(),
    };
    client.retrieve(query).await.expect("a document").read_to_end(1024).await.expect("its content")
}

/// What an operator of the node sees of its quarantine; as much as its status says there is.
async fn quarantined(mesh: &Mesh, node: &NodePath) -> Vec<QuarantinedRecord> {
    let operator = mesh.tree.operator(node).await.expect("an operator");
    let known = operator.status().await.expect("status").store.expect("a store").quarantined;
    let listed = operator.list_quarantine(ListQuarantineRequest::default()).await.expect("a list");
    assert!(listed.records.len() as u64 >= known && listed.unreadable == 0, "{node}: {listed:?}");
    listed.records
}

/// Whether `tiermesh quarantine` at the node ended well, and all that it said.
fn quarantine(mesh: &Mesh, node: &NodePath, more: &[&str]) -> (bool, String) {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_tiermesh-under-test"))
        .args(["quarantine", "--node", mesh.tree.address(node).expect("it runs"), "--identity"])
        .arg(mesh.tree.node_dir(node).join("operator"))
        .args(["--node-path", &node.to_string()])
        .args(more)
        .output()
        .expect("the command");
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

/// What the node's log says of quarantine.
fn why(mesh: &Mesh, node: &NodePath) -> String {
    let log = std::fs::read_to_string(mesh.tree.node_dir(node).join("log.txt")).unwrap_or_default();
    log.lines().filter(|line| line.contains("quarantine")).collect::<Vec<_>>().join("\n")
}

/// Waits until every up link of the tree is proven whole with nothing in quarantine anywhere.
async fn proven(mesh: &Mesh) {
    for node in mesh.tree.paths() {
        until(&format!("{node} is proven"), async || {
            let Ok(operator) = mesh.tree.operator(&node).await else { return false };
            let Ok(status) = operator.status().await else { return false };
            let store = status.store.expect("a store");
            assert_eq!(store.quarantined, 0, "{node}: {}", why(mesh, &node));
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
    let new = moved_hospital(&mesh, &county).await;
    register(&new, "P20", ID).await;
    // All of it is held, or the write would have been refused.
    assert_eq!(found(&new, ID, Reach::Local).await, (ids(0..21), 1));
    // It updates what its predecessor wrote.
    let before = new.register(patient("P3", ID)).await.expect("unchanged");
    assert_eq!(before.outcome, wire::v1::RegisterOutcome::Unchanged as i32);
    let after = new.register(patient("P3", OTHER_ID)).await.expect("updated");
    assert!(after.version.starts_with("2."), "{after:?}");
    assert_eq!(content(&new, &paper.key).await, Bytes::from_static(b"one"), "at the old custodian");
    // The new writer lives, and nobody is done without any more.
    for without_old_writer in [false, true] {
        let request = MoveInstitutionRequest { without_old_writer, ..request(&county) };
        let again = moved(&mesh, &at, request).await.expect("asked again");
        assert_eq!((again.outcome(), again.awaited_term), (MoveOutcome::There, 0));
    }
    new.submit_bytes(document("LAB2", "P4"), Bytes::from_static(b"two")).await.expect("submitted");
    proven(&mesh).await;
    for node in ["530000", "530000/532900"] {
        let client = hospital(&mesh, &path(node)).await;
        assert_eq!(found(&client, ID, Reach::Tree).await.0, ids((0..21).filter(|n| *n != 3)), "{node}");
    }

    // And back up; not without its writer, which is connected.
    let dead = MoveInstitutionRequest { without_old_writer: true, ..request(&prefecture) };
    let lives = moved(&mesh, &at, dead).await.expect_err("it lives");
    assert_eq!(lives.reason(), Some("OLD_WRITER_LIVES"), "{lives}");
    moved(&mesh, &at, request(&prefecture)).await.expect("decided");
    refused(&new).await;
    register(&old, "P21", ID).await;
    let back = old.register(patient("P4", OTHER_ID)).await.expect("updated");
    assert!(back.version.starts_with("3."), "{back:?}");
    proven(&mesh).await;
    assert_eq!(found(&old, OTHER_ID, Reach::Local).await, (ids([3, 4]), 2));
    mesh.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hospital_moves_under_load_while_its_nodes_come_and_go() {
    let mut mesh = start().await;
    let (from, to) = (mesh.here.clone(), mesh.there.clone());
    let old = hospital(&mesh, &from).await;
    for number in 0..30 {
        old.register(patient(&format!("P{number}"), ID)).await.expect("registered");
    }
    let paper =
        old.submit_bytes(document("LAB1", "P3"), Bytes::from_static(b"one")).await.expect("submitted");
    // A patient of somebody else there who is the same person.
    let other = mesh.hospital(&to).await;
    other.register(patient("X1", ID)).await.expect("registered");

    // Cut off: the old writer goes on in its term, the new one waits for it.
    let between = from.parent().expect("a parent");
    let province = hospital(&mesh, &path("530000")).await;
    until("the province has them", async || found(&province, ID, Reach::Local).await.0.len() == 31).await;
    mesh.tree.kill(&between).await.expect("killed");
    for number in 30..35 {
        old.register(patient(&format!("P{number}"), ID)).await.expect("registered while cut off");
    }
    let decided = moved(&mesh, "530000", request(&to)).await.expect("decided");
    assert_eq!((decided.awaited_term, decided.awaited_writer.as_str()), (1, from.to_string().as_str()));
    let again = moved(&mesh, "530000", request(&from)).await.expect_err("one after the other");
    assert_eq!(again.reason(), Some("MOVE_UNDER_WAY"), "{again}");
    let new = moved_hospital(&mesh, &to).await;
    let early = async || new.register(patient("P40", ID)).await.expect_err("too early");
    until("the new writer knows", async || early().await.reason() == Some("NOT_READY")).await;
    assert!(early().await.to_string().contains(from.to_string().as_str()), "{}", early().await);
    for number in 35..40 {
        old.register(patient(&format!("P{number}"), ID)).await.expect("registered while cut off");
    }
    // The new writer and the root are killed while the backfill is on its way.
    mesh.tree.kill(&to).await.expect("killed");
    mesh.tree.start(&to).await.expect("started");
    mesh.tree.kill(&path("530000")).await.expect("killed");
    mesh.tree.kill(&from).await.expect("killed");
    mesh.tree.start(&from).await.expect("started");
    mesh.tree.start(&path("530000")).await.expect("started");
    let new = hospital(&mesh, &to).await;
    mesh.tree.start(&between).await.expect("started");
    register(&new, "P40", ID).await;
    let all = || ids(0..41);
    let mut held = found(&new, ID, Reach::Local).await;
    held.0.retain(|id| id != "X1");
    assert_eq!(held, (all(), 1), "the new writer has all that was acknowledged");
    let old = hospital(&mesh, &from).await;
    refused(&old).await;
    // The old county does not tell of it any more by itself; whoever asks there gets it from above.
    assert_eq!(found(&old, ID, Reach::Local).await, (Vec::new(), 0));
    until("the old county's answer", async || {
        let mut told = found(&old, ID, Reach::Tree).await;
        told.0.retain(|id| id != "X1");
        told == (all(), 1)
    })
    .await;
    assert_eq!(content(&new, &paper.key).await, Bytes::from_static(b"one"));
    // First changes by the new writer, which the old one's feed must not be blamed for.
    for number in 0..40 {
        new.register(patient(&format!("P{number}"), OTHER_ID)).await.expect("updated");
    }
    proven(&mesh).await;

    lose_disks(&mut mesh).await;
    proven(&mesh).await;
    mesh.stop().await;
}

/// After P0 to P39 moved from here to there: lost disks of both writers, one after the other.
async fn lose_disks(mesh: &mut Mesh) {
    let (from, to) = (mesh.here.clone(), mesh.there.clone());
    for node in [&to, &from] {
        mesh.tree.kill(node).await.expect("killed");
        std::fs::remove_dir_all(mesh.tree.node_dir(node).join("data")).expect("the disk is lost");
        mesh.tree.start(node).await.expect("started");
        let new = hospital(mesh, &to).await;
        register(&new, "P41", OTHER_ID).await;
        let expected = ids((0..40).chain([41]));
        until("all is back", async || found(&new, OTHER_ID, Reach::Local).await.0 == expected).await;
        let old = hospital(mesh, &from).await;
        until("the old writer writes", async || old.status().await.expect("status").writing).await;
        refused(&old).await;
    }
}

/// Ends the term of the dead writer, and only that one's; `not_it` is another node.
async fn do_without(mesh: &Mesh, to: &NodePath, not_it: &NodePath) {
    let dead = MoveInstitutionRequest { without_old_writer: true, ..request(to) };
    let another = MoveInstitutionRequest { expected_from: not_it.to_string(), ..dead.clone() };
    let other = moved(mesh, "530000", another).await.expect_err("the term of somebody else is not ended");
    assert_eq!(other.reason(), Some("OTHER_WRITER"), "{other}");
    let done = moved(mesh, "530000", dead).await.expect("done without");
    assert_eq!(done.awaited_term, 0, "{done:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_writer_is_done_without_and_what_it_had_is_listed() {
    let mut mesh = start().await;
    let (from, to) = (mesh.here.clone(), mesh.there.clone());
    let old = hospital(&mesh, &from).await;
    for number in 0..5 {
        let old = old.clone().with_durability(wire::v1::Durability::Parent);
        old.register(patient(&format!("P{number}"), ID)).await.expect("registered");
    }
    let province = hospital(&mesh, &path("530000")).await;
    until("the province has them", async || found(&province, ID, Reach::Local).await.0.len() == 5).await;
    let between = from.parent().expect("a parent");
    mesh.tree.kill(&between).await.expect("killed");
    old.register(patient("P0", OTHER_ID)).await.expect("changed, and nobody knows");
    old.register(patient("P5", ID)).await.expect("registered, and nobody knows");
    mesh.tree.kill(&from).await.expect("killed");
    // That its writer is gone turns out only after the move was decided.
    let waits = moved(&mesh, "530000", request(&to)).await.expect("decided");
    assert!(waits.awaited_term > 0, "{waits:?}");
    do_without(&mesh, &to, &between).await;
    let new = moved_hospital(&mesh, &to).await;
    register(&new, "P6", ID).await;
    assert_eq!(found(&new, ID, Reach::Local).await.0, ids([0, 1, 2, 3, 4, 6]));
    let mut third = patient("P0", ID);
    third.phones = vec!["13800000000".into()];
    new.register(third).await.expect("changed in both terms");
    // It was not dead after all.
    mesh.tree.start(&between).await.expect("started");
    mesh.tree.start(&from).await.expect("started");
    // What collides with nothing is valid, and comes.
    until("the late one", async || found(&new, ID, Reach::Local).await.0 == ids(0..7)).await;
    // What collides is overruled, and somebody can look at it.
    let root = path("530000");
    until("it is listed", async || {
        let mut listed = Vec::new();
        for node in [&from, &between, &root] {
            listed.extend(quarantined(&mesh, node).await);
        }
        let overruled = |one: &&QuarantinedRecord| one.writer_path == from.to_string() && one.kind == 1;
        listed.iter().find(overruled).is_some_and(|one| {
            assert!(!one.institution_code.is_empty() && !one.reason.is_empty(), "{one:?}");
            assert_eq!(one.standing(), QuarantineStanding::Superseded, "{one:?}");
            true
        })
    })
    .await;
    // And the command says it, without what the record holds; from one neighbour, and of one that nobody knows.
    for node in [&between, &root] {
        let expected = quarantined(&mesh, node).await;
        let (done, said) = quarantine(&mesh, node, &[]);
        assert!(done && expected.iter().all(|one| said.contains(&one.reason)), "{node}: {said}");
        for secret in [ID, OTHER_ID, "13800000000", patient("P0", ID).name.as_str()] {
            assert!(!said.contains(secret), "{node}: {said}");
        }
        if let Some(one) = expected.first() {
            let (done, said) = quarantine(&mesh, node, &["--from", &one.from_path]);
            assert!(done && said.contains(&one.version), "{node}: {said}");
        }
    }
    let (done, said) = quarantine(&mesh, &root, &["--from", "530000/539900"]);
    assert!(!done && said.contains("UNKNOWN_NODE"), "{said}");
    let old = hospital(&mesh, &from).await;
    refused(&old).await;
    mesh.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_province_that_lost_its_disk_learns_again_what_it_decided() {
    let mut mesh = start().await;
    let (from, to, root) = (mesh.here.clone(), mesh.there.clone(), path("530000"));
    let old = hospital(&mesh, &from).await;
    for number in 0..5 {
        old.register(patient(&format!("P{number}"), ID)).await.expect("registered");
    }
    let province = hospital(&mesh, &root).await;
    until("the province has them", async || found(&province, ID, Reach::Local).await.0.len() == 5).await;
    moved(&mesh, "530000", request(&to)).await.expect("decided");
    let new = moved_hospital(&mesh, &to).await;
    register(&new, "P5", ID).await;
    mesh.tree.kill(&root).await.expect("killed");
    std::fs::remove_dir_all(mesh.tree.node_dir(&root).join("data")).expect("the disk is lost");
    mesh.tree.start(&root).await.expect("started");
    register(&new, "P6", ID).await;
    let province = hospital(&mesh, &root).await;
    until("all is back", async || found(&province, ID, Reach::Local).await.0 == ids(0..7)).await;
    let there = moved(&mesh, "530000", request(&to)).await.expect("it knows");
    assert_eq!((there.outcome(), there.term, there.awaited_term), (MoveOutcome::There, 2, 0));
    proven(&mesh).await;
    moved(&mesh, "530000", request(&from)).await.expect("decided again");
    register(&old, "P7", ID).await;
    mesh.stop().await;
}

/// A hospital of these tests with another code.
async fn another(mesh: &Mesh, node: &NodePath, facility: &str) -> Client {
    let code = demo::synth::social_credit_code(path("530000/532900").region(), facility);
    let credentials = mesh.tree.institution(node, &code).expect("a certificate");
    mesh.tree.connect(node, &credentials).await.expect("a connection")
}

/// What `tiermesh move all` says at the province.
fn merged(mesh: &Mesh, from: &NodePath, to: &NodePath, more: &[&str]) -> String {
    let province = path("530000");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_tiermesh-under-test"))
        .args(["move", "all", "--node", mesh.tree.address(&province).expect("it runs"), "--identity"])
        .arg(mesh.tree.node_dir(&province).join("operator"))
        .args(["--from", &from.to_string(), "--to", &to.to_string()])
        .args(more)
        .output()
        .expect("the command");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn a_county_is_merged_into_another_and_stopped() {
    let mut mesh = start().await;
    let (from, to, beside) = (mesh.here.clone(), mesh.there.clone(), mesh.here.parent().expect("a parent"));
    for (facility, first) in [("M7", 0), ("M8", 10)] {
        let old = another(&mesh, &from, facility).await;
        for number in first..first + 5 {
            old.register(patient(&format!("P{number}"), ID)).await.expect("registered");
        }
    }
    let untouched = another(&mesh, &beside, "M9").await;
    untouched.register(patient("P20", ID)).await.expect("registered");
    let province = hospital(&mesh, &path("530000")).await;
    let all = || ids((0..5).chain(10..15).chain([20]));
    until("the province has them", async || found(&province, ID, Reach::Local).await.0 == all()).await;

    let looked = merged(&mesh, &from, &to, &["--dry-run"]);
    assert!(looked.contains("2 institutions would move"), "{looked}");
    let old = another(&mesh, &from, "M8").await;
    old.register(patient("P10", ID)).await.expect("a dry run changes nothing");
    // While the old node is down it cannot end its terms, and that is said, also to whoever asks again.
    mesh.tree.kill(&from).await.expect("killed");
    for moved in ["2 institutions moved", "0 institutions moved"] {
        let said = merged(&mesh, &from, &to, &[]);
        assert!(said.contains(moved) && said.contains("to end 2 terms"), "{said}");
        assert!(said.contains(&format!("leave {from} running")), "{said}");
    }
    mesh.tree.start(&from).await.expect("started");
    // Run again until nothing is left to do but to stop the old node.
    until("its terms end", async || {
        let said = merged(&mesh, &from, &to, &[]);
        assert!(said.contains("0 institutions moved"), "{said}");
        said.contains("have ended; stop it")
    })
    .await;
    proven(&mesh).await;
    mesh.tree.stop(&from).await.expect("stopped");
    for (facility, number) in [("M7", 5), ("M8", 15)] {
        let new = another(&mesh, &to, facility).await;
        register(&new, &format!("P{number}"), ID).await;
        let before = new.register(patient(&format!("P{}", number - 1), ID)).await.expect("unchanged");
        assert_eq!(before.outcome, wire::v1::RegisterOutcome::Unchanged as i32);
    }
    let all = || ids((0..6).chain(10..16).chain([20]));
    until("all of it is at the new node", async || {
        found(&hospital(&mesh, &to).await, ID, Reach::Local).await.0 == all()
    })
    .await;
    untouched.register(patient("P21", OTHER_ID)).await.expect("who filed elsewhere files there");
    mesh.stop().await;
}
