//! The services over the real use cases, in memory, and a feed over a real link.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use exchange::{Exchange, Hop, Parts, Peers, TermKey, Terms};
use identity::Role;
use model::body::{DocumentEntry, Registration, SigningKeyEntry};
use model::{NodePath, OriginId, VerifyingKey};
use replication::{AdmittedKey, Directory, Keyring, Links, NodeIdentity, Receiver, Sender};
use repository::{ContentLimits, Repository};
use sha2::{Digest, Sha256};
use store::{IndexChoice, Limits, Memory, MemoryIndex, Options, Run, Store};
use tonic::{Code, Status};
use tonic_types::StatusExt;
use wire::v1;
use wire::v1::find_patients_request::By;
use wire::v1::retrieve_document_reply::Part as Sent;
use wire::v1::submit_document_request::Part;

use super::fixture::{
    Mesh, NOW_MS, NoEntropy, PREFECTURE, PROVINCE, TestNode, Tiny, clock, connect, path, soon, until,
};
use crate::{Channel, Drain, KeepAlive, Neighbours, Services};

const HOSPITAL: &str = "12345678X53010211A1001";

/// Certificates of record-signing keys, judged by the mesh's root.
#[derive(Debug)]
struct Certified(identity::Root);

impl Keyring for Certified {
    fn admit(&self, entry: &SigningKeyEntry) -> Result<AdmittedKey, String> {
        let (path, key): (NodePath, VerifyingKey) =
            identity::verify_signing_chain_as_issued(&entry.certificate_chain, &self.0)
                .map_err(|refusal| refusal.to_string())?;
        Ok(AdmittedKey { path, key })
    }
}

/// A node with the real use cases, its store in memory.
struct RealNode {
    node: TestNode,
    exchange: Exchange,
    _content: tempfile::TempDir,
}

async fn real_node(mesh: &Mesh, at: &str) -> RealNode {
    let identity = mesh.node(at);
    let origin = OriginId::of_node(&identity.trust_domain, identity.signing_key.verifying_key().as_bytes());
    let terms = TermKey::new([5; 32]);
    let (store, _) = Store::open(Options {
        storage: Arc::new(Memory::new(1)),
        index: IndexChoice::Memory(MemoryIndex::default()),
        derivation: Arc::new(Terms::new(terms.clone())),
        clock: clock(),
        boot_id: "test".into(),
        node: origin,
        signing: identity.signing_key.clone(),
        run: Run::Threads,
        limits: Limits::default(),
    })
    .unwrap();
    let content = tempfile::tempdir().unwrap();
    let repository = Repository::open(content.path(), ContentLimits { max_bytes: 64 * 1024 * 1024 }).unwrap();
    let keyring = Arc::new(Certified(identity.root().clone()));
    let directory = Directory::load(&store, &*keyring).unwrap();
    let links = Links::new();
    let trust_domain = identity.trust_domain.clone();
    let software = "test".to_owned();
    let own = NodeIdentity {
        path: path(at),
        origin,
        trust_domain: trust_domain.clone(),
        software: software.clone(),
        protocols: model::feed::PROTOCOLS.to_vec(),
    };
    let receiver =
        Receiver::new(store.clone(), directory.clone(), keyring.clone(), links.clone(), clock(), own.clone());
    let neighbours = Neighbours::new(path(at), clock());
    let sender = path(at)
        .parent()
        .map(|_| Sender::new(store.clone(), directory.clone(), keyring.clone(), links.clone(), clock(), own));
    let node =
        exchange::Node { path: path(at), name: "n".into(), tier: "t".into(), origin, trust_domain, software };
    let exchange = Exchange::new(Parts {
        node,
        store,
        repository,
        directory,
        links,
        receiver,
        confirmations: sender.as_ref().map(Sender::confirmations),
        acknowledge: exchange::Acknowledge::Local,
        peers: Arc::new(neighbours.clone()),
        terms,
        clock: clock(),
        entropy: Arc::new(NoEntropy),
        opened: "new".into(),
        open_ms: 0,
        certificate_not_after_ms: identity.not_after_ms(),
    });
    exchange.begin(identity.signing_key_entry(), None).await.unwrap();
    let drain = Drain::new(Duration::from_millis(300));
    let services = Services::new(&exchange, clock(), KeepAlive::default(), &drain).unwrap();
    let (tiny, health) = (Tiny::default(), tonic_health::server::HealthReporter::new());
    let node = TestNode { identity, services, neighbours, drain, tiny, health, sender };
    RealNode { node, exchange, _content: content }
}

fn registration() -> Registration {
    Registration {
        local_id: "p1".into(),
        name: "杨丽".into(),
        sex: "2".into(),
        birth_date: "1990-01-02".into(),
        ..Default::default()
    }
}

fn entry(content: &[u8]) -> DocumentEntry {
    DocumentEntry {
        document_id: "d1".into(),
        local_id: "p1".into(),
        type_code: "C0007".into(),
        title: "检验报告".into(),
        created_ms: NOW_MS,
        confidentiality: "N".into(),
        media_type: "text/plain".into(),
        size: content.len() as u64,
        sha256: Bytes::copy_from_slice(&Sha256::digest(content)),
        ..Default::default()
    }
}

async fn register(channel: &Channel, registration: Registration) -> Result<v1::RegisterReply, Status> {
    let request = v1::RegisterRequest { registration: Some(registration), ..Default::default() };
    channel.patients().register(request).await.map(tonic::Response::into_inner)
}

async fn submit(channel: &Channel, parts: Vec<Part>) -> Result<v1::SubmitDocumentReply, Status> {
    let parts =
        parts.into_iter().map(|part| v1::SubmitDocumentRequest { part: Some(part), ..Default::default() });
    let parts: Vec<_> = parts.collect();
    channel.documents().submit(futures_util::stream::iter(parts)).await.map(tonic::Response::into_inner)
}

async fn find_documents(channel: &Channel, number: &str) -> Result<v1::FindDocumentsReply, Status> {
    let patient = Some(v1::find_documents_request::Patient::Number(number.to_owned()));
    let request = v1::FindDocumentsRequest { patient, ..Default::default() };
    channel.documents().find(request).await.map(tonic::Response::into_inner)
}

async fn retrieve(channel: &Channel, found: &v1::FoundDocument) -> Result<Vec<u8>, Status> {
    let request = v1::RetrieveDocumentRequest {
        key: found.key.clone(),
        custodian_path: found.custodian_path.clone(),
        ..Default::default()
    };
    let mut parts = channel.documents().retrieve(request).await?.into_inner();
    let first = parts.message().await?.and_then(|reply| reply.part);
    assert!(matches!(first, Some(Sent::Entry(_))));
    let mut content = Vec::new();
    while let Some(reply) = parts.message().await? {
        match reply.part {
            Some(Sent::Chunk(chunk)) => {
                assert!(chunk.len() <= 256 * 1024);
                content.extend_from_slice(&chunk);
            }
            _ => panic!("something else than a chunk"),
        }
    }
    Ok(content)
}

fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

async fn hospital(mesh: &Mesh, node: &RealNode, at: &str) -> Channel {
    let address = node.node.listen().await;
    connect(&mesh.client(at, Role::Institution, HOSPITAL), at, address).await.unwrap()
}

#[tokio::test]
async fn a_hospital_registers_submits_finds_and_fetches() {
    let mesh = Mesh::new();
    let node = real_node(&mesh, PROVINCE).await;
    let channel = hospital(&mesh, &node, PROVINCE).await;
    let first = register(&channel, registration()).await.unwrap();
    assert_eq!(first.outcome(), v1::RegisterOutcome::Created);
    assert_eq!(register(&channel, registration()).await.unwrap().outcome(), v1::RegisterOutcome::Unchanged);

    let content: Vec<u8> = (0..1_500_000_u32).map(|place| (place % 251) as u8).collect();
    let chunks = content.chunks(1024 * 1024).map(|chunk| Part::Chunk(Bytes::copy_from_slice(chunk)));
    let parts: Vec<_> = [Part::Entry(entry(&content))].into_iter().chain(chunks).collect();
    let submitted = submit(&channel, parts).await.unwrap();
    assert_eq!(submitted.outcome(), v1::SubmitOutcome::Created);
    assert_eq!(submitted.content_durability(), v1::Durability::Local);

    let request =
        v1::FindPatientsRequest { by: Some(By::Number(first.number.clone())), ..Default::default() };
    let found = channel.patients().find(request).await.unwrap().into_inner();
    assert_eq!(found.persons.len(), 1);
    assert!(found.scope.unwrap().complete);
    let documents = find_documents(&channel, &first.number).await.unwrap().documents;
    assert_eq!(documents.len(), 1);
    assert_eq!(retrieve(&channel, &documents[0]).await.unwrap(), content);

    let status = channel.node().get_status(v1::GetStatusRequest {}).await.unwrap().into_inner();
    let store = status.store.unwrap();
    assert_eq!((store.registrations, store.document_entries, store.index.as_str()), (1, 1, "memory"));
    node.node.stop().await;
}

#[tokio::test]
async fn bad_input_is_refused_with_reason_and_field() {
    let mesh = Mesh::new();
    let node = real_node(&mesh, PROVINCE).await;
    let channel = hospital(&mesh, &node, PROVINCE).await;
    let nameless = Registration { name: String::new(), sex: "7".into(), ..registration() };
    let refused = register(&channel, nameless).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::InvalidArgument, "INVALID"));
    let fields: Vec<_> = refused
        .get_details_bad_request()
        .unwrap()
        .field_violations
        .into_iter()
        .map(|one| one.field)
        .collect();
    assert!(
        fields.iter().any(|field| field == "name") && fields.iter().any(|field| field == "sex"),
        "{fields:?}"
    );
    assert!(!refused.message().contains("杨"));

    register(&channel, registration()).await.unwrap();
    let content = b"content";
    let chunk = || Part::Chunk(Bytes::from_static(content));
    let long = Part::Chunk(Bytes::from(vec![0; 1024 * 1024 + 1]));
    let cases = [
        (vec![chunk()], "INVALID", Code::InvalidArgument),
        (vec![Part::Entry(entry(content)), Part::Entry(entry(content))], "INVALID", Code::InvalidArgument),
        (vec![Part::Entry(entry(content)), long], "INVALID", Code::InvalidArgument),
        (vec![Part::Entry(entry(b"another")), chunk()], "HASH_MISMATCH", Code::InvalidArgument),
        (vec![Part::Entry(entry(content))], "SIZE_MISMATCH", Code::InvalidArgument),
        (
            vec![Part::Entry(DocumentEntry { local_id: "p2".into(), ..entry(content) }), chunk()],
            "UNKNOWN_PATIENT",
            Code::NotFound,
        ),
    ];
    for (parts, why, code) in cases {
        let refused = submit(&channel, parts).await.unwrap_err();
        assert_eq!((reason(&refused).as_str(), refused.code()), (why, code), "{refused}");
    }
    let change = v1::ChangeDocumentStatusRequest { availability: 99, ..Default::default() };
    let refused = channel.documents().change_status(change).await.unwrap_err();
    assert_eq!(reason(&refused), "INVALID");
}

#[tokio::test]
async fn roles_are_those_of_the_certificate() {
    let mesh = Mesh::new();
    let node = real_node(&mesh, PROVINCE).await;
    let address = node.node.listen().await;
    let operator = connect(&mesh.operator(PROVINCE), PROVINCE, address).await.unwrap();
    let refused = register(&operator, registration()).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::PermissionDenied, "WRONG_ROLE"));
    let refused = operator.feed().ship(futures_util::stream::empty()).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::PermissionDenied, "NOT_A_CHILD"));
}

#[tokio::test]
async fn a_frame_that_cannot_be_read_is_refused_with_its_field() {
    use v1::ship_request::Frame;
    let mesh = Mesh::new();
    let parent = real_node(&mesh, PROVINCE).await;
    let channel = connect(&mesh.node(PREFECTURE), PROVINCE, parent.node.listen().await).await.unwrap();
    let hello = v1::FeedHello { direction: 99, ..Default::default() };
    for (frame, why) in
        [(None, "frame must be one of"), (Some(Frame::Hello(hello)), "hello.direction must be UP")]
    {
        let frames = futures_util::stream::iter([v1::ShipRequest { frame }]);
        let mut replies = channel.feed().ship(frames).await.unwrap().into_inner();
        let refused = replies.message().await.unwrap_err();
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::InvalidArgument, "PROTOCOL"));
        assert!(refused.message().contains(why), "{refused}");
    }
}

#[tokio::test]
async fn a_childs_feed_arrives_and_its_content_is_fetched_in_reverse() {
    let mesh = Mesh::new();
    let (parent, child) = (real_node(&mesh, PROVINCE).await, real_node(&mesh, PREFECTURE).await);
    let above = parent.node.listen().await;
    let channel = hospital(&mesh, &child, PREFECTURE).await;
    let registered = register(&channel, registration()).await.unwrap();
    submit(&channel, vec![Part::Entry(entry(b"content")), Part::Chunk(Bytes::from_static(b"content"))])
        .await
        .unwrap();
    let _status = child.node.dial_parent(above);

    let capital =
        connect(&mesh.client(PROVINCE, Role::Institution, "12345678X53010211A1002"), PROVINCE, above)
            .await
            .unwrap();
    let documents = soon("the document arrives", async {
        loop {
            match find_documents(&capital, &registered.number).await {
                Ok(reply) if !reply.documents.is_empty() => return reply.documents,
                Ok(_) => tokio::task::yield_now().await,
                Err(status) if status.code() == Code::NotFound => tokio::task::yield_now().await,
                Err(status) => panic!("{status}"),
            }
        }
    })
    .await;
    assert_eq!(documents[0].custodian_path, PREFECTURE);
    let down = Hop::Child(path(PREFECTURE));
    until("the child can be called", || parent.node.neighbours.callable(&down)).await;
    assert_eq!(retrieve(&capital, &documents[0]).await.unwrap(), b"content");

    child.node.stop().await;
    until("the child is gone", || !parent.node.neighbours.callable(&down)).await;
    let refused = retrieve(&capital, &documents[0]).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::Unavailable, "CUSTODIAN_UNREACHABLE"));
    assert!(parent.exchange.not_writing().is_none());
    soon("the parent ends", parent.node.stop()).await;
}
