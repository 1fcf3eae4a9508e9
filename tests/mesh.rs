//! The use cases over real processes and mutual TLS: what a hospital and a doctor see, good input and bad.

use bytes::Bytes;
use cli::CliError;
use cli::client::Client;
use model::NodePath;
use model::body::{Availability, DocumentEntry, Registration};
use model::query::{
    ContentQuery, DocumentAnswer, DocumentQuery, DocumentsOf, PatientAnswer, PatientBy, PatientQuery,
    QueryContext, Reach, SourceState,
};
use tests::mesh::{Mesh, document, identifier, patient};
use tokio::task::JoinSet;

/// A resident ID of nobody, in two ways of writing it.
const ID: &str = "532901198705014689";
const ID_SPACED: &str = "532901 1987 0501 4689";

async fn start() -> Mesh {
    Mesh::start(env!("CARGO_BIN_EXE_tiermesh-under-test")).await
}

async fn find(client: &Client) -> PatientAnswer {
    let query = PatientQuery {
        by: PatientBy::Identifier(identifier(ID)),
        limit: 10,
        reach: Reach::Tree,
        context: QueryContext::default(),
    };
    client.find_patients(query).await.expect("find")
}

fn documents_query() -> DocumentQuery {
    DocumentQuery {
        of: DocumentsOf::Identifier(identifier(ID)),
        type_codes: Vec::new(),
        created_from_ms: 0,
        created_to_ms: 0,
        availabilities: Vec::new(),
        page_size: 50,
        page_token: String::new(),
        reach: Reach::Tree,
        context: QueryContext::default(),
    }
}

/// Asks until the answer is as expected; the test's own bound ends it otherwise.
async fn documents_until(client: &Client, expected: impl Fn(&DocumentAnswer) -> bool) -> DocumentAnswer {
    let ask = async {
        loop {
            match client.find_documents(documents_query()).await {
                Ok(answer) if expected(&answer) => return answer,
                Ok(_) | Err(CliError::Refused(_)) => tokio::task::yield_now().await,
                Err(error) => panic!("find documents: {error}"),
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), ask).await.expect("the answer comes")
}

fn reason<T: std::fmt::Debug>(result: Result<T, CliError>) -> String {
    result.expect_err("refused").reason().unwrap_or("none").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_made_there_is_found_and_fetched_here() {
    let mesh = start().await;
    let (here, there) = (mesh.hospital(&mesh.here).await, mesh.hospital(&mesh.there).await);
    here.register(patient("A1", ID)).await.expect("registered");
    there.register(patient("B1", ID_SPACED)).await.expect("registered");
    let content = Bytes::from("血红蛋白 130 g/L\n".repeat(100_000));
    there.submit_bytes(document("LAB1", "B1"), content.clone()).await.expect("submitted");
    let answer = documents_until(&here, |answer| answer.documents.len() == 1 && answer.scope.complete).await;
    assert_eq!(answer.documents[0].custodian_path, mesh.there.to_string());
    let persons = find(&here).await.persons;
    assert_eq!(persons.len(), 1, "one person in two counties");
    assert_eq!(persons[0].registrations.len(), 2);
    let query = |offset| ContentQuery {
        key: answer.documents[0].key,
        custodian_path: Some(mesh.there.clone()),
        as_filed: false,
        offset,
        context: QueryContext::default(),
    };
    let whole = here.retrieve(query(0)).await.expect("retrieve").read_to_end(1 << 24).await.expect("content");
    assert!(whole == content);
    let mut resumed = here.retrieve(query(1000)).await.expect("resume");
    let mut rest = Vec::new();
    while let Some(chunk) = resumed.next_chunk().await.expect("content") {
        rest.extend_from_slice(&chunk);
    }
    assert!(rest == content[1000..]);

    // Replaced: only the new one is approved; withdrawn: not even asked-for content comes any more.
    let second = DocumentEntry { replaces: "LAB1".into(), ..document("LAB2", "B1") };
    there.submit_bytes(second, Bytes::from_static(b"corrected")).await.expect("replaced");
    let replaced = |answer: &DocumentAnswer| {
        answer.documents.iter().map(|one| one.entry.document_id.as_str()).eq(["LAB2"])
    };
    let answer = documents_until(&here, replaced).await;
    let withdraw = wire::v1::ChangeDocumentStatusRequest {
        document_id: "LAB2".into(),
        local_id: "B1".into(),
        availability: Availability::Withdrawn as i32,
        reason: "wrong patient".into(),
        ..Default::default()
    };
    there.change_document(withdraw).await.expect("withdrawn");
    documents_until(&here, |answer| answer.documents.is_empty()).await;
    let gone = ContentQuery { key: answer.documents[0].key, ..query(0) };
    assert_eq!(reason(here.retrieve(gone).await.map(|_| ())), "WITHDRAWN");
    mesh.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_its_parent_answers_from_what_it_has_and_says_so() {
    let mut mesh = start().await;
    let here = mesh.hospital(&mesh.here).await;
    let parent = mesh.here.parent().expect("a parent");
    mesh.tree.kill(&parent).await.expect("it ran");
    here.register(patient("A1", ID)).await.expect("a county works on without its parent");
    let answer = find(&here).await;
    assert!(!answer.scope.complete, "it cannot know what others have");
    assert_eq!(answer.persons.len(), 1);
    let silent = answer
        .scope
        .sources
        .iter()
        .find(|source| source.state == SourceState::NoReply)
        .expect("who did not reply");
    assert_eq!(silent.path, parent);
    mesh.tree.start(&parent).await.expect("the parent comes back");
    let whole = async {
        while !find(&here).await.scope.complete {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), whole).await.expect("the way up opens again");
    mesh.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_names_a_county_that_is_cut_off() {
    let mut mesh = start().await;
    let (here, there) = (mesh.hospital(&mesh.here).await, mesh.hospital(&mesh.there).await);
    there.register(patient("B1", ID)).await.expect("registered");
    let whole = async { while !find(&here).await.scope.complete || find(&here).await.persons.is_empty() {} };
    tokio::time::timeout(std::time::Duration::from_secs(60), whole).await.expect("everybody is heard");
    mesh.tree.kill(&mesh.there.clone()).await.expect("it ran");
    let missing = async {
        loop {
            let scope = find(&here).await.scope;
            let silent =
                scope.sources.iter().any(|one| one.path == mesh.there && one.state == SourceState::NoReply);
            if silent && !scope.complete {
                return;
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), missing)
        .await
        .expect("the province hears of it");
    // Its parent forgets nothing over a restart: the county is still missing, and still said to be.
    let parent = mesh.there.parent().expect("a parent");
    mesh.tree.kill(&parent).await.expect("it ran");
    mesh.tree.start(&parent).await.expect("it comes back");
    let still = async {
        loop {
            let scope = find(&here).await.scope;
            let state =
                |path: &NodePath| scope.sources.iter().find(|one| one.path == *path).map(|one| one.state);
            if state(&parent) != Some(SourceState::NoReply)
                && state(&mesh.there) == Some(SourceState::NoReply)
            {
                return;
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), still).await.expect("it is named again");
    mesh.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_is_refused_by_name_and_changes_nothing() {
    let mesh = start().await;
    let (here, operator) =
        (mesh.hospital(&mesh.here).await, mesh.tree.operator(&mesh.here).await.expect("an operator"));
    here.register(patient("A1", ID)).await.expect("registered");
    let before = operator.status().await.expect("status").store.expect("a store");

    let wrong: [(&str, Registration); 6] = [
        ("birth_date", Registration { birth_date: "1987-02-30".into(), ..patient("A2", ID) }),
        ("sex", Registration { sex: "7".into(), ..patient("A2", ID) }),
        ("ethnicity", Registration { ethnicity: "99".into(), ..patient("A2", ID) }),
        ("local_id", Registration { local_id: String::new(), ..patient("A2", ID) }),
        ("name", Registration { name: "长".repeat(129), ..patient("A2", ID) }),
        ("birth_date", Registration { birth_date: "2999-01-01".into(), ..patient("A2", ID) }),
    ];
    for (field, registration) in wrong {
        let Err(CliError::Refused(refusal)) = here.register(registration).await else {
            panic!("{field} was accepted")
        };
        assert_eq!(refusal.reason, "INVALID", "{field}");
        assert!(
            refusal.violations.iter().any(|(named, _)| named.contains(field)),
            "{field}: {:?}",
            refusal.violations
        );
        assert!(!refusal.message.contains("1987-02-30"), "no value in an error");
    }
    let other = Registration {
        institution_code: demo::synth::social_credit_code(mesh.there.region(), "M1"),
        ..patient("A2", ID)
    };
    assert_eq!(reason(here.register(other).await), "WRONG_INSTITUTION");
    assert_eq!(reason(operator.register(patient("A2", ID)).await), "WRONG_ROLE");
    let look = PatientQuery {
        by: PatientBy::Identifier(identifier(ID)),
        limit: 1,
        reach: Reach::Local,
        context: QueryContext::default(),
    };
    assert_eq!(reason(operator.find_patients(look).await), "WRONG_ROLE", "operators see status, not records");

    bad_documents(&here).await;

    let after = operator.status().await.expect("status");
    // Not the head: the parent may still be telling the county of the province.
    let store = after.store.expect("a store");
    assert_eq!(
        (store.registrations, store.document_entries),
        (before.registrations, before.document_entries),
        "nothing was written"
    );
    assert_eq!(after.content.expect("content").objects, 0, "no content was kept");
    mesh.stop().await;
}

async fn bad_documents(here: &Client) {
    let content = Bytes::from_static(b"content");
    assert_eq!(reason(here.submit_bytes(document("D1", "NOBODY"), content.clone()).await), "UNKNOWN_PATIENT");
    assert_eq!(
        reason(
            here.submit_bytes(
                DocumentEntry { type_code: "C9999".into(), ..document("D1", "A1") },
                content.clone()
            )
            .await
        ),
        "INVALID"
    );
    let replaces = DocumentEntry { replaces: "NONE".into(), ..document("D1", "A1") };
    assert_eq!(reason(here.submit_bytes(replaces, content.clone()).await), "UNKNOWN_DOCUMENT");
    let lying = |sha256: [u8; 32], size| DocumentEntry {
        sha256: Bytes::copy_from_slice(&sha256),
        size,
        ..document("D1", "A1")
    };
    let chunks = |bytes: Bytes| futures_util::stream::iter([Ok::<_, std::io::Error>(bytes)]);
    assert_eq!(
        reason(here.submit_document(lying([1; 32], 7), chunks(content.clone())).await),
        "HASH_MISMATCH"
    );
    assert_eq!(
        reason(here.submit_document(lying([1; 32], 8), chunks(content.clone())).await),
        "SIZE_MISMATCH"
    );
    assert_eq!(
        reason(here.submit_document(lying([1; 32], 6), chunks(content.clone())).await),
        "SIZE_MISMATCH"
    );
    assert_eq!(
        reason(here.submit_document(lying([1; 32], 1 << 40), chunks(content)).await),
        "CONTENT_TOO_LARGE"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_write_at_once_is_one_write() {
    let mesh = start().await;
    let (here, operator) =
        (mesh.hospital(&mesh.here).await, mesh.tree.operator(&mesh.here).await.expect("an operator"));
    let mut calls = JoinSet::new();
    for _ in 0..64 {
        let client = here.clone();
        calls.spawn(async move { client.register(patient("A1", ID)).await.expect("registered").version });
    }
    let versions: std::collections::BTreeSet<String> = calls.join_all().await.into_iter().collect();
    assert_eq!(versions.len(), 1, "one version: {versions:?}");
    // The same document id with two contents: one wins, the others are told.
    let mut calls = JoinSet::new();
    for number in 0..16 {
        let client = here.clone();
        let content = Bytes::from(format!("content {}", number % 2));
        calls.spawn(async move { client.submit_bytes(document("D1", "A1"), content).await });
    }
    let (won, lost): (Vec<_>, Vec<_>) = calls.join_all().await.into_iter().partition(Result::is_ok);
    assert_eq!((won.len(), lost.len()), (8, 8));
    assert!(lost.into_iter().all(|refused| reason(refused) == "DOCUMENT_ID_TAKEN"));
    let store = operator.status().await.expect("status").store.expect("a store");
    assert_eq!((store.registrations, store.document_entries), (1, 1));
    mesh.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_is_acknowledged_where_it_is_durable() {
    use wire::v1::Durability;
    let mut mesh = start().await;
    let here = mesh.hospital(&mesh.here).await;
    let parent = mesh.here.parent().expect("a parent");
    let above = here.clone().with_durability(Durability::Parent);

    let reply = above.register(patient("A1", ID)).await.expect("registered");
    assert_eq!((reply.durability(), reply.not_above.as_str()), (Durability::Parent, ""));
    // A repeat changes nothing and still says where the patient is durable.
    let again = above.register(patient("A1", ID)).await.expect("registered");
    assert_eq!((again.durability(), &again.version), (Durability::Parent, &reply.version));
    let reply =
        above.submit_bytes(document("LAB1", "A1"), Bytes::from_static(b"1")).await.expect("submitted");
    assert_eq!((reply.durability(), reply.content_durability()), (Durability::Parent, Durability::Local));
    let held = mesh.hospital(&parent).await;
    let query = ContentQuery {
        key: model::RecordKey::try_from(&reply.key[..]).expect("a key"),
        custodian_path: Some(mesh.here.clone()),
        as_filed: false,
        offset: 0,
        context: QueryContext::default(),
    };
    let content = held.retrieve(query).await.expect("retrieve").read_to_end(10).await.expect("content");
    assert_eq!(&content[..], b"1");

    // The parent is away: durable here, not yet above, and said so before the deadline.
    mesh.tree.kill(&parent).await.expect("killed");
    let hurried = above.clone().with_timeout(std::time::Duration::from_secs(2));
    let reply = hurried.register(patient("A2", ID)).await.expect("registered");
    assert_eq!(reply.durability(), Durability::Local);
    assert!(reply.not_above.contains("parent"), "{}", reply.not_above);
    let reply = here.register(patient("A3", ID)).await.expect("registered");
    assert_eq!((reply.durability(), reply.not_above.as_str()), (Durability::Local, ""));
    mesh.tree.start(&parent).await.expect("started");
    let reply = above.register(patient("A2", ID)).await.expect("registered");
    assert_eq!((reply.durability(), reply.not_above.as_str()), (Durability::Parent, ""));

    // A root has nobody above it.
    let root = mesh.tree.paths()[0].clone();
    let at_root = mesh.hospital(&root).await.with_durability(Durability::Parent);
    let error = at_root.register(patient("A1", ID)).await.expect_err("refused");
    assert_eq!(error.reason(), Some("NO_PARENT"));
    mesh.stop().await;
}
