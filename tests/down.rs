//! What comes down: a county answers for its own patients from the whole province without its parent, and gets its records
//! back when its disk is lost.

use std::time::Duration;

use bytes::Bytes;
use cli::client::Client;
use model::query::{DocumentQuery, DocumentsOf, PatientAnswer, PatientBy, PatientQuery, QueryContext, Reach};
use tests::mesh::{Mesh, document, identifier, patient};

/// Resident IDs of nobody.
const ID: &str = "532901198705014689";
const OTHER_ID: &str = "532901199001011230";
const THIRD_ID: &str = "532901199202021240";
const LIMIT: Duration = Duration::from_secs(60);

async fn start() -> Mesh {
    Mesh::start(env!("CARGO_BIN_EXE_tiermesh-under-test")).await
}

async fn find(client: &Client, id: &str, reach: Reach) -> PatientAnswer {
    let query = PatientQuery {
        by: PatientBy::Identifier(identifier(id)),
        limit: 10,
        reach,
        context: QueryContext::default(),
    };
    client.find_patients(query).await.expect("find")
}

/// Registrations and documents of a person that this node has itself.
async fn held(client: &Client, id: &str) -> (usize, usize) {
    let persons = find(client, id, Reach::Local).await.persons;
    let query = DocumentQuery {
        of: DocumentsOf::Identifier(identifier(id)),
        type_codes: Vec::new(),
        created_from_ms: 0,
        created_to_ms: 0,
        availabilities: Vec::new(),
        page_size: 50,
        page_token: String::new(),
        reach: Reach::Local,
        context: QueryContext::default(),
    };
    // A person that is not known here has no documents here.
    let documents = client.find_documents(query).await.map_or(0, |answer| answer.documents.len());
    (persons.iter().map(|person| person.registrations.len()).sum(), documents)
}

async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let wait = async { while !condition().await {} };
    tokio::time::timeout(LIMIT, wait).await.unwrap_or_else(|_| panic!("never came: {what}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_county_answers_for_its_patients_without_its_parent() {
    let mut mesh = start().await;
    let (here, there) = (mesh.hospital(&mesh.here).await, mesh.hospital(&mesh.there).await);
    // Made there before anybody here knows the patient: the new interest brings it.
    there.register(patient("B1", ID)).await.expect("registered");
    there.submit_bytes(document("LAB1", "B1"), Bytes::from_static(b"1")).await.expect("submitted");
    there.register(patient("B2", OTHER_ID)).await.expect("registered");
    here.register(patient("A1", ID)).await.expect("registered");
    until("what was there before", async || held(&here, ID).await == (2, 1)).await;
    until("the other way round", async || held(&there, ID).await == (2, 1)).await;
    there.submit_bytes(document("LAB2", "B1"), Bytes::from_static(b"2")).await.expect("submitted");
    until("a later document", async || held(&here, ID).await == (2, 2)).await;
    assert_eq!(held(&here, OTHER_ID).await, (0, 0), "of no concern here");

    let parent = mesh.here.parent().expect("a parent");
    mesh.tree.kill(&parent).await.expect("killed");
    let alone = async || !find(&here, ID, Reach::Tree).await.scope.complete;
    until("the parent does not reply, and the answer says so", alone).await;
    assert_eq!(find(&here, ID, Reach::Tree).await.persons[0].registrations.len(), 2);
    mesh.tree.start(&parent).await.expect("started");

    // Corrected there: another person after all. What came down is no longer held here, nor are its documents.
    let store = async || here.status().await.expect("status").store.expect("a store");
    let before = store().await;
    there.register(patient("B1", OTHER_ID)).await.expect("corrected");
    until("what came down is forgotten", async || {
        let now = store().await;
        (now.registrations + 1, now.document_entries + 2) == (before.registrations, before.document_entries)
    })
    .await;
    until("the interest ends", async || held(&here, ID).await == (1, 0)).await;
    assert_eq!(held(&here, OTHER_ID).await, (0, 0));
    // Whoever asks up the tree still finds it.
    let asked = async || find(&here, OTHER_ID, Reach::Tree).await;
    until("the whole tree answers", async || asked().await.scope.complete).await;
    let asked = asked().await;
    assert_eq!(asked.persons.iter().map(|person| person.registrations.len()).sum::<usize>(), 2, "{asked:?}");
    mesh.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_county_that_lost_its_disk_gets_its_records_back() {
    let mut mesh = start().await;
    let here = mesh.hospital(&mesh.here).await.with_durability(wire::v1::Durability::Parent);
    for number in 0..40 {
        let reply = here.register(patient(&format!("A{number}"), ID)).await.expect("registered");
        assert_eq!(reply.durability(), wire::v1::Durability::Parent);
    }
    here.submit_bytes(document("LAB1", "A1"), Bytes::from_static(b"1")).await.expect("submitted");
    let before = here.register(patient("A7", ID)).await.expect("registered");
    let county = mesh.here.clone();
    mesh.tree.kill(&county).await.expect("killed");
    std::fs::remove_dir_all(mesh.tree.node_dir(&county).join("data")).expect("the disk is lost");
    mesh.tree.start(&county).await.expect("started");

    let here = mesh.hospital(&county).await;
    until("writing again", async || here.status().await.expect("status").writing).await;
    let status = here.status().await.expect("status");
    assert_eq!(status.epoch, 2, "the next epoch, never the lost one again");
    let again = here.register(patient("A7", ID)).await.expect("registered");
    assert_eq!(again.version, before.version, "unchanged, byte for byte");
    let changed = here.register(patient("A7", OTHER_ID)).await.expect("registered");
    let later = |text: &str| text.parse::<model::Version>().expect("a version");
    assert!(later(&changed.version) > later(&before.version));
    let store = status.store.expect("a store");
    assert_eq!((store.registrations, store.document_entries), (40, 1));
    let reply = here.clone().with_durability(wire::v1::Durability::Parent);
    let reply = reply.register(patient("A99", ID)).await.expect("registered");
    assert_eq!(reply.durability(), wire::v1::Durability::Parent, "the feed goes on");

    // The parent loses its disk too: its child refills it while it waits for its own records from above.
    let parent = county.parent().expect("a parent");
    mesh.tree.kill(&parent).await.expect("killed");
    std::fs::remove_dir_all(mesh.tree.node_dir(&parent).join("data")).expect("the disk is lost");
    mesh.tree.start(&parent).await.expect("started");
    let above = mesh.hospital(&parent).await;
    until("the parent writes again", async || above.status().await.expect("status").writing).await;
    until("the parent holds all", async || {
        above.status().await.expect("status").store.expect("a store").registrations == 41
    })
    .await;
    mesh.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_province_that_lost_its_disk_is_refilled_and_goes_on_in_a_new_epoch() {
    let mut mesh = start().await;
    let here = mesh.hospital(&mesh.here).await;
    for number in 0..20 {
        here.register(patient(&format!("A{number}"), ID)).await.expect("registered");
    }
    let root = mesh.tree.paths()[0].clone();
    let registrations =
        async |client: &Client| client.status().await.expect("status").store.expect("a store").registrations;
    let province = mesh.hospital(&root).await;
    until("the province holds all", async || registrations(&province).await == 20).await;
    mesh.tree.kill(&root).await.expect("killed");
    std::fs::remove_dir_all(mesh.tree.node_dir(&root).join("data")).expect("the disk is lost");
    mesh.tree.start(&root).await.expect("started");
    let province = mesh.hospital(&root).await;
    until("the province is refilled", async || registrations(&province).await == 20).await;
    assert_eq!(province.status().await.expect("status").epoch, 2, "never the lost one again");
    // Its directory still goes down: nobody takes it for a clone of itself.
    let prefecture = mesh.here.parent().expect("a parent");
    let operator = mesh.tree.operator(&prefecture).await.expect("an operator");
    until("the down feed goes on", async || {
        let status = operator.status().await.expect("status");
        status.parent_down.is_some_and(|down| down.connected && down.quarantined == 0 && down.position > 0)
    })
    .await;
    mesh.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_down_once_is_not_told_against_the_parents_word() {
    let mesh = start().await;
    let (here, there) = (mesh.hospital(&mesh.here).await, mesh.hospital(&mesh.there).await);
    there.register(patient("B1", ID)).await.expect("registered");
    here.register(patient("A1", ID)).await.expect("registered");
    until("the interest", async || held(&here, ID).await.0 == 2).await;
    // Both are corrected, so that nobody tells this county of the change there; then another patient has the old ID.
    here.register(patient("A1", OTHER_ID)).await.expect("corrected");
    let prefecture = mesh.hospital(&mesh.here.parent().expect("a parent")).await;
    until("the correction above", async || held(&prefecture, OTHER_ID).await.0 == 1).await;
    there.register(patient("B1", THIRD_ID)).await.expect("corrected");
    let province = mesh.hospital(&mesh.tree.paths()[0]).await;
    until("the correction there", async || held(&province, THIRD_ID).await.0 == 1).await;
    here.register(patient("A2", ID)).await.expect("registered");
    until("the whole tree answers", async || find(&here, ID, Reach::Tree).await.scope.complete).await;
    let found = find(&here, ID, Reach::Tree).await;
    let ids: Vec<&str> = found
        .persons
        .iter()
        .flat_map(|person| &person.registrations)
        .map(|one| one.registration.local_id.as_str())
        .collect();
    assert_eq!(ids, ["A2"]);
    mesh.stop().await;
}
