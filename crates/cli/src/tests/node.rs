//! A small node: real TLS with throw-away certificates, and the answers in [`super::replies`].

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use identity::{Alpn, ClientIdentity, Identity, Role, Seams, Term, ca};
use model::{Clock, NodePath};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tonic::service::Routes;
use wire::v1::document_service_server::DocumentServiceServer;
use wire::v1::linkage_service_server::LinkageServiceServer;
use wire::v1::node_service_server::NodeServiceServer;
use wire::v1::patient_service_server::PatientServiceServer;

use super::replies::Behaviour;
use crate::client::Target;

/// A clock that stands still, in milliseconds since 1970.
#[derive(Debug)]
pub struct At(pub u64);

/// When certificates are made, and judged if nothing else is said.
pub const NOW_MS: u64 = 1_795_303_071_000;

impl Clock for At {
    fn now_ms(&self) -> u64 {
        self.0
    }
}

/// A running node, and the certificates that go with it.
pub struct TestNode {
    pub address: SocketAddr,
    pub behaviour: Arc<Behaviour>,
    dir: TempDir,
    connections: watch::Sender<u64>,
}

pub const PATH: &str = "530000";
/// Of the operator's certificate.
pub const CERTIFICATE_LIFE: Duration = Duration::from_secs(600);

impl TestNode {
    /// A mesh of its own with one node.
    pub async fn start() -> Self {
        Self::start_at(NOW_MS).await
    }

    /// As [`TestNode::start`], with a clock of the node's own.
    pub async fn start_at(now_ms: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path: NodePath = PATH.parse().unwrap();
        let (root, node) = (dir.path().join("root"), dir.path().join("node"));
        ca::init_root(&root, &"tiermesh.example".parse().unwrap(), NOW_MS).unwrap();
        ca::issue_node(&root, &path, &[], &node, &ca::Lives::default(), NOW_MS).unwrap();
        let term = Term { now_ms: NOW_MS, life: CERTIFICATE_LIFE };
        ca::issue_client(&node, Role::Operator, "anna", &dir.path().join("operator"), term).unwrap();

        let identity = Identity::load(&node).unwrap();
        let tls = identity::server_config(&identity, &Seams::new(Arc::new(At(now_ms))), &[Alpn::H2]).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let behaviour = Arc::new(Behaviour::default());
        let (connections, closed) = watch::channel(0);
        tokio::spawn(accept(listener, TlsAcceptor::from(tls), services(&behaviour), closed));
        Self { address, behaviour, dir, connections }
    }

    /// Directory with the operator's certificate.
    pub fn operator(&self) -> PathBuf {
        self.dir.path().join("operator")
    }

    /// A place for files of the test.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The operator's way to this node, if it is `node`.
    pub fn target(&self, node: &str) -> Target {
        let file = |name| self.operator().join(name);
        let own = ClientIdentity::load(&file("client.pem"), &file("client.key"), &file("root.pem")).unwrap();
        Target::new(self.address.to_string(), node.parse().unwrap(), &own, Arc::new(At(NOW_MS))).unwrap()
    }

    /// Closes every connection; new ones are accepted.
    pub fn close_connections(&self) {
        self.connections.send_modify(|round| *round += 1);
    }
}

fn services(behaviour: &Arc<Behaviour>) -> Routes {
    Routes::new(PatientServiceServer::from_arc(behaviour.clone()))
        .add_service(DocumentServiceServer::from_arc(behaviour.clone()))
        .add_service(NodeServiceServer::from_arc(behaviour.clone()))
        .add_service(LinkageServiceServer::from_arc(behaviour.clone()))
        .prepare()
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, services: Routes, closed: watch::Receiver<u64>) {
    loop {
        let Ok((tcp, _)) = listener.accept().await else { return };
        let (tls, services, mut closed) = (tls.clone(), services.clone(), closed.clone());
        closed.mark_unchanged();
        tokio::spawn(async move {
            let Ok(stream) = tls.accept(tcp).await else { return };
            let builder = auto::Builder::new(TokioExecutor::new()).http2_only();
            let serving = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(services));
            tokio::select! {
                _ = serving => {}
                _ = closed.changed() => {}
            }
        });
    }
}
