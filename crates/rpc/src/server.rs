//! What a node serves, over connections that were accepted and over the one that it dialled in reverse: the same services.

use std::sync::Arc;
use std::time::Duration;

use exchange::Exchange;
use identity::Peer;
use model::Clock;
use tokio_util::sync::CancellationToken;
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use wire::v1::document_service_server::DocumentServiceServer;
use wire::v1::feed_service_server::FeedServiceServer;
use wire::v1::linkage_service_server::LinkageServiceServer;
use wire::v1::node_service_server::NodeServiceServer;
use wire::v1::patient_service_server::PatientServiceServer;

use crate::Drain;
use crate::caller::Session;
use crate::connection::{self, KeepAlive, MAX_MESSAGE, Stream};
use crate::deadline::Deadlines;
use crate::document::Documents;
use crate::feed::Feed;
use crate::linkage::Linkage;
use crate::node::Node;
use crate::patient::Patients;

/// How often health follows the store.
const HEALTH_EVERY: Duration = Duration::from_secs(1);

/// The services of a node. Cheap to clone; every connection gets one.
#[derive(Debug, Clone)]
pub struct Services {
    routes: Deadlines<Routes>,
    keep_alive: KeepAlive,
    clock: Arc<dyn Clock>,
    drain: Drain,
}

impl Services {
    /// All services over the use cases, with gRPC health and reflection (v1 and v1alpha). Starts the task by which health
    /// follows whether the store writes; it ends with `drain`.
    pub fn new(
        exchange: &Exchange,
        clock: Arc<dyn Clock>,
        keep_alive: KeepAlive,
        drain: &Drain,
    ) -> Result<Self, tonic_reflection::server::Error> {
        let own = exchange.node().path.clone();
        let receiver = exchange.receiver().clone();
        let feed = Feed { exchange: exchange.clone(), receiver, own, drain: drain.clone() };
        let health = HealthReporter::new();
        let routes = Routes::default()
            .add_service(PatientServiceServer::new(Patients { exchange: exchange.clone() }))
            .add_service(
                DocumentServiceServer::new(Documents { exchange: exchange.clone() })
                    .max_decoding_message_size(MAX_MESSAGE)
                    .max_encoding_message_size(MAX_MESSAGE),
            )
            .add_service(
                LinkageServiceServer::new(Linkage { exchange: exchange.clone() })
                    .max_decoding_message_size(MAX_MESSAGE)
                    .max_encoding_message_size(MAX_MESSAGE),
            )
            .add_service(NodeServiceServer::new(Node { exchange: exchange.clone(), clock: clock.clone() }))
            .add_service(
                FeedServiceServer::new(feed)
                    .max_decoding_message_size(MAX_MESSAGE)
                    .max_encoding_message_size(MAX_MESSAGE),
            );
        let watched = exchange.clone();
        drain.spawn(follow(health.clone(), drain.clone(), move || watched.not_writing().is_none()));
        Self::of(routes, &health, clock, keep_alive, drain)
    }

    /// Any services, with health and reflection beside them; health says what `health` was told.
    pub fn of(
        routes: Routes,
        health: &HealthReporter,
        clock: Arc<dyn Clock>,
        keep_alive: KeepAlive,
        drain: &Drain,
    ) -> Result<Self, tonic_reflection::server::Error> {
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(wire::DESCRIPTORS)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        let health = tonic_health::server::HealthService::from_health_reporter(health.clone());
        let routes = routes
            .add_service(tonic_health::pb::health_server::HealthServer::new(health))
            .add_service(reflection().build_v1()?)
            .add_service(reflection().build_v1alpha()?)
            .prepare();
        Ok(Self { routes: Deadlines::new(routes), keep_alive, clock, drain: drain.clone() })
    }

    pub(crate) fn drain(&self) -> &Drain {
        &self.drain
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    pub(crate) fn keep_alive(&self) -> KeepAlive {
        self.keep_alive
    }

    /// Serves one connection until it ends; bounded after the drain began. A peer that may not call anything is cut at once.
    /// Cancels `used` at the first call.
    pub(crate) async fn serve(
        &self,
        stream: Stream,
        peer: Peer,
        used: CancellationToken,
    ) -> Result<(), hyper::Error> {
        let Some(session) = Session::new(&peer) else { return Ok(()) };
        let life = connection::life(&peer, &*self.clock);
        connection::serve(stream, session, self.routes.clone(), self.keep_alive, life, used, &self.drain)
            .await
    }
}

const NAMES: [&str; 6] = [
    "",
    PatientServiceServer::<Patients>::NAME,
    DocumentServiceServer::<Documents>::NAME,
    NodeServiceServer::<Node>::NAME,
    LinkageServiceServer::<Linkage>::NAME,
    FeedServiceServer::<Feed>::NAME,
];

/// Makes health follow a condition until the node stops, when nothing serves any more.
pub(crate) async fn follow(
    health: HealthReporter,
    drain: Drain,
    serving: impl Fn() -> bool + Send + 'static,
) {
    let mut tick = tokio::time::interval(HEALTH_EVERY);
    loop {
        tokio::select! {
            biased;
            () = drain.stopping() => break,
            _ = tick.tick() => {}
        }
        tell(&health, serving()).await;
    }
    tell(&health, false).await;
}

async fn tell(health: &HealthReporter, serving: bool) {
    let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
    for name in NAMES {
        health.set_service_status(name, status).await;
    }
}
