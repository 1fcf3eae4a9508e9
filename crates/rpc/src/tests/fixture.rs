//! A mesh's certificates, tiny services, and nodes made of them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use identity::tls::Alpn;
use identity::{
    ClientIdentity, Credentials, Identity, Name, Role, Seams, Term, ca, client_config, server_config,
};
use model::body::DocumentEntry;
use model::{Clock, Entropy, NodePath};
use rustls::ClientConfig;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};
use tonic_health::server::HealthReporter;
use wire::v1;
use wire::v1::document_service_server::{DocumentService, DocumentServiceServer};
use wire::v1::node_service_server::{NodeService, NodeServiceServer};
use wire::v1::patient_service_server::{PatientService, PatientServiceServer};

use crate::net::Tcp;
use crate::{
    Channel, ConnectError, Drain, KeepAlive, Listener, Neighbours, Parent, ParentConfig, ParentStatus,
    Services,
};

/// When the certificates are issued and checked.
pub const NOW_MS: u64 = 1_800_000_000_000;
/// Longest that a test waits for anything.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub const PROVINCE: &str = "530000";
pub const PREFECTURE: &str = "530000/532900";
pub const COUNTY: &str = "530000/532900/532901";

pub fn path(text: &str) -> NodePath {
    text.parse().unwrap()
}

#[derive(Debug)]
pub struct FixedClock(pub u64);

impl Clock for FixedClock {
    fn now_ms(&self) -> u64 {
        self.0
    }
}

#[derive(Debug)]
pub struct NoEntropy;

impl Entropy for NoEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(0);
    }
}

pub fn clock() -> Arc<dyn Clock> {
    Arc::new(FixedClock(NOW_MS))
}

/// Waits for something that must come.
pub async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect(what)
}

/// Waits until a condition holds.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    soon(what, async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Certificates of one mesh, in a directory that goes with it.
pub struct Mesh {
    dir: TempDir,
}

impl Mesh {
    pub fn new() -> Self {
        let mesh = Self { dir: tempfile::tempdir().unwrap() };
        ca::init_root(&mesh.at("root"), &"test.mesh".parse().unwrap(), NOW_MS).unwrap();
        for node in [PROVINCE, PREFECTURE, COUNTY] {
            let parent = path(node).parent().map_or("root".to_owned(), |parent| parent.to_string());
            let advertise = ["127.0.0.1".to_owned()];
            let lives = ca::Lives::default();
            ca::issue_node(&mesh.at(&parent), &path(node), &advertise, &mesh.at(node), &lives, NOW_MS)
                .unwrap();
        }
        mesh
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name.replace('/', "-"))
    }

    pub fn node(&self, path: &str) -> Identity {
        Identity::load(&self.at(path)).unwrap()
    }

    pub fn client(&self, node: &str, role: Role, who: &str) -> ClientIdentity {
        let out = self.at(&format!("{node}-{role}-{who}"));
        let term = Term { now_ms: NOW_MS, life: ca::CLIENT_LIFE };
        ca::issue_client(&self.at(node), role, who, &out, term).unwrap();
        ClientIdentity::load(&out.join("client.pem"), &out.join("client.key"), &out.join("root.pem")).unwrap()
    }

    pub fn operator(&self, node: &str) -> ClientIdentity {
        self.client(node, Role::Operator, "li")
    }
}

pub fn tls(own: &impl AsRef<Credentials>, server: &str, alpn: Alpn) -> Arc<ClientConfig> {
    client_config(own, &Seams::new(clock()), Name::Node(path(server)), alpn).unwrap()
}

/// A node of tiny services.
pub struct TestNode {
    pub identity: Identity,
    pub services: Services,
    pub neighbours: Neighbours,
    pub drain: Drain,
    pub tiny: Tiny,
    pub health: HealthReporter,
    /// Ships a feed up, where the node has one.
    pub sender: Option<exchange::feed::Sender>,
}

impl TestNode {
    pub fn new(mesh: &Mesh, at: &str) -> Self {
        Self::with(mesh, at, clock())
    }

    pub fn with(mesh: &Mesh, at: &str, clock: Arc<dyn Clock>) -> Self {
        let drain = Drain::new(Duration::from_millis(300));
        let (tiny, health) = (Tiny::default(), HealthReporter::new());
        let routes = Routes::default()
            .add_service(NodeServiceServer::new(tiny.clone()))
            .add_service(PatientServiceServer::new(tiny.clone()))
            .add_service(DocumentServiceServer::new(tiny.clone()));
        let services = Services::of(routes, &health, clock.clone(), KeepAlive::default(), &drain).unwrap();
        let neighbours = Neighbours::new(path(at), clock);
        Self { identity: mesh.node(at), services, neighbours, drain, tiny, health, sender: None }
    }

    /// Listens on a port of its own.
    pub async fn listen(&self) -> SocketAddr {
        self.listen_at("127.0.0.1:0".parse().unwrap()).await
    }

    pub async fn listen_at(&self, address: SocketAddr) -> SocketAddr {
        let socket = TcpListener::bind(address).await.unwrap();
        let address = socket.local_addr().unwrap();
        let tls = server_config(&self.identity, &Seams::new(clock()), &[Alpn::H2, Alpn::Reverse]).unwrap();
        let listener = Listener::new(tls, self.services.clone(), self.neighbours.clone());
        self.drain.spawn(listener.run(socket));
        address
    }

    /// Dials its parent, twice.
    pub fn dial_parent(&self, address: SocketAddr) -> ParentStatus {
        let parent = self.neighbours.own().parent().unwrap().to_string();
        let config = ParentConfig {
            address: address.to_string(),
            tls: tls(&self.identity, &parent, Alpn::H2),
            reverse_tls: tls(&self.identity, &parent, Alpn::Reverse),
        };
        let parent =
            Parent::new(config, Arc::new(Tcp), clock(), Arc::new(NoEntropy), self.neighbours.clone())
                .unwrap();
        parent.start(self.sender.clone(), self.services.clone())
    }

    /// Stops and waits for the end.
    pub async fn stop(&self) {
        self.drain.stop();
        soon("the node ends", self.drain.finished()).await;
    }
}

pub async fn connect(
    own: &impl AsRef<Credentials>,
    server: &str,
    address: SocketAddr,
) -> Result<Channel, ConnectError> {
    let tls = tls(own, server, Alpn::H2);
    soon(
        "a connection or refusal",
        crate::connect(&Tcp, &address.to_string(), tls, KeepAlive::default(), &*clock()),
    )
    .await
}

/// Services that do the little a test needs: `Ping` answers, `GetStatus` hangs, `Retrieve` never ends, `PatientService.Find`
/// answers as told.
#[derive(Clone, Default)]
pub struct Tiny {
    /// Handlers and streams that are alive.
    pub alive: Arc<AtomicUsize>,
    /// Chunks that were made.
    pub chunks: Arc<AtomicUsize>,
    /// What `PatientService.Find` refuses with, if it refuses.
    pub refuse: Arc<parking_lot::Mutex<Option<exchange::ExchangeError>>>,
    /// The metadata of the last `PatientService.Find`.
    pub asked: Arc<parking_lot::Mutex<Option<v1::FindPatientsRequest>>>,
}

/// Counts as alive until it is dropped.
struct Alive(Arc<AtomicUsize>);

impl Alive {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count.clone())
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[tonic::async_trait]
impl NodeService for Tiny {
    async fn get_status(&self, _: Request<v1::GetStatusRequest>) -> Result<Response<v1::NodeStatus>, Status> {
        let _alive = Alive::new(&self.alive);
        std::future::pending().await
    }

    async fn ping(&self, request: Request<v1::PingRequest>) -> Result<Response<v1::PingReply>, Status> {
        let caller = crate::caller::identify(&request)?;
        let depth = caller.path.depth() as u64;
        Ok(Response::new(v1::PingReply { now_ms: depth }))
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

    async fn hand_over(
        &self,
        _: Request<v1::HandOverRequest>,
    ) -> Result<Response<v1::HandOverReply>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn scrub(&self, _: Request<v1::ScrubRequest>) -> Result<Response<v1::ScrubReply>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn move_institution(
        &self,
        _: Request<v1::MoveInstitutionRequest>,
    ) -> Result<Response<v1::MoveInstitutionReply>, Status> {
        Err(Status::unimplemented(""))
    }
}

#[tonic::async_trait]
impl PatientService for Tiny {
    async fn register(&self, _: Request<v1::RegisterRequest>) -> Result<Response<v1::RegisterReply>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn find(
        &self,
        request: Request<v1::FindPatientsRequest>,
    ) -> Result<Response<v1::FindPatientsReply>, Status> {
        let request = request.into_inner();
        if request.limit == 99 {
            let _alive = Alive::new(&self.alive);
            return std::future::pending().await;
        }
        *self.asked.lock() = Some(request);
        if let Some(error) = self.refuse.lock().clone() {
            return Err(crate::error::to_status(error));
        }
        let scope = v1::AnswerScope { answered_by: PROVINCE.into(), complete: true, ..Default::default() };
        Ok(Response::new(v1::FindPatientsReply { scope: Some(scope), ..Default::default() }))
    }
}

#[tonic::async_trait]
impl DocumentService for Tiny {
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
        use v1::retrieve_document_reply::Part;
        let (alive, made) = (Alive::new(&self.alive), self.chunks.clone());
        let entry = DocumentEntry { document_id: "endless".into(), ..Default::default() };
        let chunk = bytes::Bytes::from(vec![7; 256 * 1024]);
        let chunks = futures_util::stream::repeat_with(move || {
            let _alive = &alive;
            made.fetch_add(1, Ordering::SeqCst);
            Part::Chunk(chunk.clone())
        });
        let parts = futures_util::stream::iter([Part::Entry(entry)]).chain(chunks);
        Ok(Response::new(parts.map(|part| Ok(v1::RetrieveDocumentReply { part: Some(part) })).boxed()))
    }
}
