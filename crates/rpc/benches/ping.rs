//! Empty authenticated calls over mutual TLS on loopback: what a call costs before anything is done in it; and content over
//! one stream.
//!
//! `cargo bench -p rpc` prints calls per second over one connection and over 64, each with 64 calls at a time, and MiB per
//! second of one document in chunks of 256 KiB. Both ends run in this process.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use identity::{Alpn, ClientIdentity, Identity, Name, Role, Seams, Term, ca, client_config, server_config};
use model::{Clock, NodePath};
use rpc::net::Tcp;
use rpc::{Channel, Drain, KeepAlive, Listener, Neighbours, Services};
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};
use tonic_health::server::HealthReporter;
use wire::v1;
use wire::v1::document_service_server::{DocumentService, DocumentServiceServer};
use wire::v1::node_service_server::{NodeService, NodeServiceServer};

const NOW_MS: u64 = 1_800_000_000_000;
const AT_A_TIME: usize = 64;
const CHUNK: usize = 256 * 1024;
const CHUNKS: usize = 4096;
const LONG: Duration = Duration::from_secs(3);

#[derive(Debug)]
struct Still;

impl Clock for Still {
    fn now_ms(&self) -> u64 {
        NOW_MS
    }
}

struct Empty;

#[tonic::async_trait]
impl NodeService for Empty {
    async fn get_status(&self, _: Request<v1::GetStatusRequest>) -> Result<Response<v1::NodeStatus>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn ping(&self, _: Request<v1::PingRequest>) -> Result<Response<v1::PingReply>, Status> {
        Ok(Response::new(v1::PingReply::default()))
    }

    async fn move_institution(
        &self,
        _: Request<v1::MoveInstitutionRequest>,
    ) -> Result<Response<v1::MoveInstitutionReply>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn hand_over(
        &self,
        _: Request<v1::HandOverRequest>,
    ) -> Result<Response<v1::HandOverReply>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn list_institutions(
        &self,
        _: Request<v1::ListInstitutionsRequest>,
    ) -> Result<Response<v1::ListInstitutionsReply>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn list_quarantine(
        &self,
        _: Request<v1::ListQuarantineRequest>,
    ) -> Result<Response<v1::ListQuarantineReply>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn scrub(&self, _: Request<v1::ScrubRequest>) -> Result<Response<v1::ScrubReply>, Status> {
        Err(Status::unimplemented(""))
    }
}

#[tonic::async_trait]
impl DocumentService for Empty {
    async fn submit(
        &self,
        _: Request<Streaming<v1::SubmitDocumentRequest>>,
    ) -> Result<Response<v1::SubmitDocumentReply>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn change_status(
        &self,
        _: Request<v1::ChangeDocumentStatusRequest>,
    ) -> Result<Response<v1::SubmitDocumentReply>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn find(
        &self,
        _: Request<v1::FindDocumentsRequest>,
    ) -> Result<Response<v1::FindDocumentsReply>, Status> {
        Err(Status::unimplemented(""))
    }

    type RetrieveStream = BoxStream<'static, Result<v1::RetrieveDocumentReply, Status>>;

    async fn retrieve(
        &self,
        _: Request<v1::RetrieveDocumentRequest>,
    ) -> Result<Response<Self::RetrieveStream>, Status> {
        let chunk = Bytes::from(vec![7; CHUNK]);
        let chunks = std::iter::repeat_n(chunk, CHUNKS).map(|chunk| {
            Ok(v1::RetrieveDocumentReply { part: Some(v1::retrieve_document_reply::Part::Chunk(chunk)) })
        });
        Ok(Response::new(futures_util::stream::iter(chunks).boxed()))
    }
}

fn certificates(dir: &Path, path: &NodePath) -> (Identity, ClientIdentity) {
    let at = |name: &str| dir.join(name);
    ca::init_root(&at("root"), &"bench.mesh".parse().unwrap(), NOW_MS).unwrap();
    ca::issue_node(&at("root"), path, &[], &at("node"), &ca::Lives::default(), NOW_MS).unwrap();
    let term = Term { now_ms: NOW_MS, life: ca::CLIENT_LIFE };
    ca::issue_client(&at("node"), Role::Operator, "bench", &at("client"), term).unwrap();
    let file = |name: &str| at("client").join(name);
    let client = ClientIdentity::load(&file("client.pem"), &file("client.key"), &file("root.pem")).unwrap();
    (Identity::load(&at("node")).unwrap(), client)
}

async fn serve(identity: &Identity, clock: Arc<dyn Clock>) -> SocketAddr {
    let drain = Drain::new(Duration::from_secs(1));
    let routes = Routes::default()
        .add_service(NodeServiceServer::new(Empty))
        .add_service(DocumentServiceServer::new(Empty));
    let health = HealthReporter::new();
    let services = Services::of(routes, &health, clock.clone(), KeepAlive::default(), &drain).unwrap();
    let tls = server_config(identity, &Seams::new(clock.clone()), &[Alpn::H2]).unwrap();
    let listener = Listener::new(tls, services, Neighbours::new(identity.path.clone(), clock));
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(listener.run(socket));
    address
}

async fn calls_per_s(channels: &[Channel]) -> f64 {
    let started = Instant::now();
    let callers: Vec<_> = (0..AT_A_TIME)
        .map(|place| {
            let mut client = channels[place % channels.len()].node();
            tokio::spawn(async move {
                let mut calls = 0;
                while started.elapsed() < LONG {
                    client.ping(v1::PingRequest {}).await.unwrap();
                    calls += 1;
                }
                calls
            })
        })
        .collect();
    let mut calls = 0;
    for caller in callers {
        calls += caller.await.unwrap();
    }
    f64::from(calls) / started.elapsed().as_secs_f64()
}

async fn mib_per_s(channel: &Channel) -> f64 {
    let started = Instant::now();
    let mut parts =
        channel.documents().retrieve(v1::RetrieveDocumentRequest::default()).await.unwrap().into_inner();
    while parts.message().await.unwrap().is_some() {}
    (CHUNK * CHUNKS) as f64 / f64::from(1 << 20) / started.elapsed().as_secs_f64()
}

#[tokio::main]
async fn main() {
    let dir = tempfile::tempdir().unwrap();
    let path: NodePath = "530000".parse().unwrap();
    let (identity, client) = certificates(dir.path(), &path);
    let clock: Arc<dyn Clock> = Arc::new(Still);
    let address = serve(&identity, clock.clone()).await.to_string();
    let tls = client_config(&client, &Seams::new(clock.clone()), Name::Node(path), Alpn::H2).unwrap();
    for connections in [1, 64] {
        let mut channels = Vec::new();
        for _ in 0..connections {
            let channel =
                rpc::connect(&Tcp, &address, tls.clone(), KeepAlive::default(), &*clock).await.unwrap();
            channels.push(channel);
        }
        if let [channel] = &channels[..] {
            println!("one stream: {:.0} MiB/s", mib_per_s(channel).await);
        }
        println!(
            "{connections} connections, {AT_A_TIME} calls at a time: {:.0} calls/s",
            calls_per_s(&channels).await
        );
    }
}
