//! Making connections: dial, TLS as exactly one expected name, HTTP/2, and a first call that proves the other end took us.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use identity::tls::Alpn;
use model::Clock;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;
use tonic::Status;
use tonic::body::Body;
use wire::v1;
use wire::v1::document_service_client::DocumentServiceClient;
use wire::v1::feed_service_client::FeedServiceClient;
use wire::v1::node_service_client::NodeServiceClient;
use wire::v1::patient_service_client::PatientServiceClient;

use crate::connection::{Channel, KeepAlive, MAX_MESSAGE, Stream, life};
use crate::net::Dial;
use crate::words::words;

/// How long dialling, the handshake and the first call may take, each.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// Why there is no connection: what to check, in words for an operator.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Check the address, the network and whether the node runs.
    #[error("{address} cannot be reached: {}", words(source))]
    Unreachable { address: String, source: io::Error },
    /// Check certificates, names and clocks.
    #[error("{address} was refused: {}", words(source))]
    Refused { address: String, source: io::Error },
    /// The protocol broke: check the versions at both ends.
    #[error("{address} broke off: {}", words(source))]
    Broken { address: String, source: hyper::Error },
    /// It accepted the connection and not the first call.
    #[error("{address} refuses calls: {reason}")]
    Unusable { address: String, reason: String },
    /// Try again later.
    #[error("{address} did not answer within {} s", CONNECT_LIMIT.as_secs())]
    TimedOut { address: String },
}

/// Connects to `address` as the HTTP/2 client. `tls` names the expected server (see [`identity::client_config`]).
pub async fn connect(
    dial: &dyn Dial,
    address: &str,
    tls: Arc<ClientConfig>,
    keep_alive: KeepAlive,
    clock: &dyn Clock,
) -> Result<Channel, ConnectError> {
    let stream = connect_tls(dial, address, tls).await?;
    let refused = |refusal| ConnectError::Refused {
        address: address.to_owned(),
        source: io::Error::other(rustls::Error::from(refusal)),
    };
    let peer = identity::peer_name(stream.get_ref().1).map_err(refused)?;
    let channel = Channel::open(stream, keep_alive, life(&peer, clock))
        .await
        .map_err(|source| ConnectError::Broken { address: address.to_owned(), source })?;
    first_call(&channel, address).await?;
    Ok(channel)
}

/// The certificate of the side that dials is judged after its handshake has ended: only an answered call proves that the
/// other end took us.
pub(crate) async fn first_call(channel: &Channel, address: &str) -> Result<(), ConnectError> {
    let ping = async { channel.node().ping(v1::PingRequest {}).await };
    match limited(address, ping).await? {
        Ok(_) => Ok(()),
        Err(status) => {
            // The connection's own end tells more than the call that it took along.
            let reason = match tokio::time::timeout(Duration::from_millis(100), channel.ended()).await {
                Ok(reason) => reason.to_owned(),
                Err(_) => plain(&status),
            };
            channel.close();
            Err(ConnectError::Unusable { address: address.to_owned(), reason })
        }
    }
}

/// Dials and proves both ends' names.
pub(crate) async fn connect_tls(
    dial: &dyn Dial,
    address: &str,
    tls: Arc<ClientConfig>,
) -> Result<Stream, ConnectError> {
    let io = limited(address, dial.dial(address))
        .await?
        .map_err(|source| ConnectError::Unreachable { address: address.to_owned(), source })?;
    // The verifier compares SPIFFE names and ignores this one.
    let name = ServerName::try_from("tiermesh").expect("a constant DNS name");
    let refused = |source| ConnectError::Refused { address: address.to_owned(), source };
    // Boxed: the state of a handshake is large, and every caller's future would carry it.
    let handshake = Box::pin(TlsConnector::from(tls).connect(name, io));
    let stream = limited(address, handshake).await?.map_err(refused)?;
    Alpn::of(stream.get_ref().1)
        .map_err(|refusal| refused(io::Error::other(rustls::Error::from(refusal))))?;
    Ok(stream.into())
}

async fn limited<F: Future>(address: &str, work: F) -> Result<F::Output, ConnectError> {
    let timed_out = |_| ConnectError::TimedOut { address: address.to_owned() };
    tokio::time::timeout(CONNECT_LIMIT, work).await.map_err(timed_out)
}

/// A status in one line.
pub(crate) fn plain(status: &Status) -> String {
    if status.message().is_empty() { status.code().to_string() } else { status.message().to_owned() }
}

impl Channel {
    /// Calls to the node service at the other end.
    pub fn node(&self) -> NodeServiceClient<Self> {
        NodeServiceClient::new(self.clone())
    }

    /// Calls to the patient service at the other end.
    pub fn patients(&self) -> PatientServiceClient<Self> {
        PatientServiceClient::new(self.clone())
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE)
    }

    /// Calls to the document service at the other end.
    pub fn documents(&self) -> DocumentServiceClient<Self> {
        DocumentServiceClient::new(self.clone())
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE)
    }

    /// Calls to the feed service at the other end.
    pub fn feed(&self) -> FeedServiceClient<Self> {
        FeedServiceClient::new(self.clone())
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE)
    }

    /// Calls to any service at the other end.
    pub fn grpc(&self) -> tonic::client::Grpc<Self>
    where
        Self: tonic::client::GrpcService<Body>,
    {
        tonic::client::Grpc::new(self.clone())
    }
}
