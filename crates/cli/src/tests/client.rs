//! The typed client: calls, deadlines, refused connections.

use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use model::body::{DocumentEntry, Registration};
use model::query::{
    ContentQuery, DocumentQuery, DocumentsOf, PatientBy, PatientQuery, QueryContext, Reach, SourceState,
};
use tokio::net::TcpListener;
use tonic::Code;

use super::node::{CERTIFICATE_LIFE, NOW_MS, PATH, TestNode};
use super::replies::{KEY, NUMBER, content, entry};
use crate::client::{CHUNK, CliError, Client};

async fn connected() -> (TestNode, Client) {
    let node = TestNode::start().await;
    let client = Client::connect(&node.target(PATH)).await.unwrap();
    (node, client)
}

fn patient(local_id: &str) -> Registration {
    Registration { local_id: local_id.into(), ..Default::default() }
}

fn content_query() -> ContentQuery {
    ContentQuery {
        key: KEY.parse().unwrap(),
        custodian_path: None,
        as_filed: false,
        offset: 0,
        context: QueryContext::default(),
    }
}

#[tokio::test]
async fn every_call_arrives() {
    let (_node, client) = connected().await;
    assert_eq!(client.ping().await.unwrap(), NOW_MS);
    assert_eq!(client.status().await.unwrap().name, "云南省");
    assert_eq!(client.register(patient("P0001")).await.unwrap().number, NUMBER);
    let by = PatientBy::Number(NUMBER.parse().unwrap());
    let context = QueryContext::default();
    let query = PatientQuery { by, limit: 20, reach: Reach::Tree, context: context.clone() };
    let answer = client.find_patients(query).await.unwrap();
    assert_eq!(answer.persons[0].registrations[0].registration.name, "阿依·古丽");
    assert_eq!(answer.scope.sources[0].state, SourceState::Replicated);
    let of = DocumentsOf::Number(NUMBER.parse().unwrap());
    let query = DocumentQuery {
        of,
        type_codes: Vec::new(),
        created_from_ms: 0,
        created_to_ms: 0,
        availabilities: Vec::new(),
        page_size: 50,
        page_token: String::new(),
        reach: Reach::Local,
        context,
    };
    let documents = client.find_documents(query).await.unwrap();
    assert_eq!(documents.documents[0].key.to_string(), KEY);
}

#[tokio::test]
async fn content_is_submitted_in_bounded_chunks() {
    let (node, client) = connected().await;
    client.submit_bytes(entry(), content()).await.unwrap();
    let submitted = node.behaviour.submitted.lock().unwrap();
    assert!(submitted[0].1 == content());
    assert_eq!(submitted[0].0.size, content().len() as u64);
    assert_eq!(node.behaviour.largest_chunk.load(Ordering::Relaxed), CHUNK as u64);
}

#[tokio::test]
async fn an_empty_document_and_a_reference_are_submitted() {
    let (node, client) = connected().await;
    client.submit_bytes(DocumentEntry::default(), Bytes::new()).await.unwrap();
    let reference = DocumentEntry { reference: "https://his.example/1".into(), ..Default::default() };
    client.submit_reference(reference).await.unwrap();
    assert_eq!(node.behaviour.submitted.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn content_that_fails_is_not_taken_for_its_end() {
    let (node, client) = connected().await;
    let pieces = [Ok(content().slice(..600_000)), Err(io::Error::other("the disk is gone"))];
    let ended = client.submit_document(entry(), stream::iter(pieces)).await;
    assert!(matches!(ended, Err(CliError::File { .. })), "{ended:?}");
    // That the call has gone reaches the node on the same connection as these.
    while node.behaviour.broken_off.load(Ordering::Relaxed) == 0 {
        client.ping().await.unwrap();
    }
    assert!(node.behaviour.submitted.lock().unwrap().is_empty());
}

#[tokio::test]
async fn content_is_retrieved_and_checked() {
    let (node, client) = connected().await;
    let whole = client.retrieve(content_query()).await.unwrap().read_to_end(1 << 20).await.unwrap();
    assert!(whole == content());
    let rest = client.retrieve(ContentQuery { offset: 600_000, ..content_query() }).await.unwrap();
    let pieces: Vec<Bytes> = rest.into_stream().try_collect().await.unwrap();
    assert!(pieces.concat() == content()[600_000..]);

    let small = client.retrieve(content_query()).await.unwrap().read_to_end(1000).await;
    assert!(matches!(small, Err(CliError::Usage(_))), "{small:?}");
    node.behaviour.corrupt.store(true, Ordering::Relaxed);
    let corrupt = client.retrieve(content_query()).await.unwrap().read_to_end(1 << 20).await;
    assert!(matches!(corrupt, Err(CliError::ContentCorrupt(_))), "{corrupt:?}");
}

#[tokio::test]
async fn a_refusal_keeps_its_details() {
    let (_node, client) = connected().await;
    let Err(CliError::Refused(refusal)) = client.register(patient("BAD")).await else { panic!("accepted") };
    assert_eq!((refusal.code, refusal.reason.as_str()), (Code::InvalidArgument, "INVALID"));
    let field = ("registration.birth_date".to_owned(), "the calendar has no such date".to_owned());
    assert_eq!(refusal.violations, [field]);
    let full = client.register(patient("FULL")).await.unwrap_err();
    assert_eq!(full.reason(), Some("DISK_FULL"));
    let Err(CliError::Refused(refusal)) = client.register(patient("FULL")).await else { panic!("accepted") };
    assert_eq!(refusal.retry_after, Some(Duration::from_millis(1500)));
}

#[tokio::test]
async fn deadlines_end_calls_and_streams() {
    let (node, client) = connected().await;
    let hasty = client.clone().with_timeout(Duration::from_millis(50));
    let late = hasty.register(patient("SLOW")).await;
    assert!(matches!(late, Err(CliError::Deadline(_))), "{late:?}");
    let hasty = client.clone().with_timeout(Duration::from_secs(1));
    node.behaviour.stall.store(true, Ordering::Relaxed);
    let mut stalled = hasty.retrieve(content_query()).await.unwrap();
    let late = stalled.next_chunk().await;
    assert!(matches!(late, Err(CliError::Deadline(_))), "{late:?}");
    assert_eq!(client.ping().await.unwrap(), NOW_MS, "the connection is as good as before");
}

#[tokio::test]
async fn a_lost_connection_is_dialled_again() {
    let (node, client) = connected().await;
    client.ping().await.unwrap();
    node.close_connections();
    // A call may still fall into the closing connection; it fails as unavailable, and the next one dials.
    while let Err(error) = client.ping().await {
        assert_eq!(error.exit(), crate::Exit::Unavailable, "{error}");
    }
}

#[tokio::test]
async fn another_node_than_expected_is_refused() {
    let node = TestNode::start().await;
    let error = Client::connect(&node.target("530000/532900")).await.unwrap_err();
    assert!(matches!(error, CliError::Certificate { .. }), "{error:?}");
    let line = error.to_string();
    assert!(
        line.contains("spiffe://tiermesh.example/530000/node") && line.contains("530000/532900"),
        "{line}"
    );
}

#[tokio::test]
async fn another_mesh_is_refused() {
    let (ours, theirs) = (TestNode::start().await, TestNode::start().await);
    let mut target = ours.target(PATH);
    target.address = theirs.address.to_string();
    let error = Client::connect(&target).await.unwrap_err();
    assert!(error.to_string().contains("not issued under this mesh's root"), "{error}");
}

#[tokio::test]
async fn a_certificate_that_the_node_refuses_is_named_at_once() {
    // By the node's clock the operator's certificate is over; by the client's own it is not.
    let node = TestNode::start_at(NOW_MS + 2 * CERTIFICATE_LIFE.as_millis() as u64).await;
    let error = Client::connect(&node.target(PATH)).await.unwrap_err();
    assert!(matches!(error, CliError::Certificate { .. }), "{error:?}");
    assert!(error.to_string().contains("the node refused this certificate"), "{error}");
}

#[tokio::test]
async fn nobody_there_or_no_node_there() {
    let node = TestNode::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut target = node.target(PATH);
    target.address = listener.local_addr().unwrap().to_string();
    let hangs_up = async {
        drop(listener.accept().await.unwrap());
        drop(listener);
    };
    let (error, ()) = tokio::join!(Client::connect(&target), hangs_up);
    let error = error.unwrap_err();
    assert!(matches!(error, CliError::Unreachable { .. }), "{error:?}");
    let error = Client::connect(&target).await.unwrap_err();
    assert!(error.to_string().contains("nothing listens there"), "{error}");
    target.address = "no port".to_owned();
    assert!(matches!(Client::connect(&target).await, Err(CliError::Unreachable { .. })));
}

#[tokio::test]
async fn clones_share_a_connection() {
    let (_node, client) = connected().await;
    let calls = (0..64).map(|_| {
        let client = client.clone();
        async move { client.ping().await }
    });
    let answers: Vec<_> = stream::iter(calls).buffer_unordered(64).try_collect().await.unwrap();
    assert_eq!(answers, [NOW_MS; 64]);
}
