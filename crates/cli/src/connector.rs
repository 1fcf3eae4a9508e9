//! TLS under tonic: dials a node, with one-line reasons when it does not come about.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use identity::Refusal;
use model::NodePath;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};

use crate::error::CliError;

/// A node to talk to, and what is needed to trust it.
#[derive(Clone)]
pub struct Target {
    /// `host:port`.
    pub address: String,
    /// Path of the node that must answer there.
    pub node: NodePath,
    /// Client configuration whose verifier expects that node (`identity::client_config`), with ALPN `h2`.
    pub tls: Arc<rustls::ClientConfig>,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target")
            .field("address", &self.address)
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

const DIAL: Duration = Duration::from_secs(10);
/// How long to wait for the node's first bytes after our side of the handshake is done.
const FIRST_BYTES: Duration = Duration::from_secs(2);
const WINDOW: u32 = 4 << 20;

type Stream = BufReader<TlsStream<TcpStream>>;

/// Dials now, so that what is wrong is known now; the channel dials again by itself when the connection ends.
pub(crate) async fn connect(target: &Target) -> Result<Channel, CliError> {
    let first = Mutex::new(Some(dial(target).await?));
    let endpoint = Endpoint::from_static("http://tiermesh")
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .http2_keep_alive_interval(DIAL)
        .keep_alive_timeout(DIAL);
    let target = target.clone();
    let connector = tower::service_fn(move |_| {
        let ready = first.lock().unwrap_or_else(PoisonError::into_inner).take();
        let target = target.clone();
        async move {
            match ready {
                Some(stream) => Ok(TokioIo::new(stream)),
                None => dial(&target).await.map(TokioIo::new),
            }
        }
    });
    let unreachable = |why: String| CliError::Unreachable { address: "the node".to_owned(), why };
    endpoint.connect_with_connector(connector).await.map_err(|error| unreachable(error.to_string()))
}

async fn dial(target: &Target) -> Result<Stream, CliError> {
    let address = || target.address.clone();
    let unreachable = |why: String| CliError::Unreachable { address: address(), why };
    let late = |_| {
        unreachable(format!(
            "no answer within {} s; is the node running, and the address right?",
            DIAL.as_secs()
        ))
    };
    let tcp = tokio::time::timeout(DIAL, TcpStream::connect(&target.address)).await.map_err(late)?;
    let tcp = tcp.map_err(|error| unreachable(dial_reason(&error)))?;
    tcp.set_nodelay(true).map_err(|error| unreachable(error.to_string()))?;
    // Identity is the URI in the certificate; the verifier ignores this name.
    let name = ServerName::try_from("tiermesh").expect("a constant that is a DNS name");
    let handshake = TlsConnector::from(target.tls.clone()).connect(name, tcp);
    let tls = tokio::time::timeout(DIAL, handshake).await.map_err(late)?;
    let tls = tls.map_err(|error| handshake_error(target, &error, Side::Ours))?;
    let mut stream = BufReader::new(tls);
    // In TLS 1.3 the node judges our certificate after our handshake has ended. An HTTP/2 server speaks first, so its
    // refusal, or its settings, are waited for here: later the refusal would surface as some broken stream.
    match tokio::time::timeout(FIRST_BYTES, stream.fill_buf()).await {
        Ok(Ok([])) => Err(handshake_error(target, &io::ErrorKind::ConnectionAborted.into(), Side::Theirs)),
        Ok(Err(error)) => Err(handshake_error(target, &error, Side::Theirs)),
        // A node that says nothing yet may only be busy: the call's deadline decides.
        Ok(Ok(_)) | Err(_) => Ok(stream),
    }
}

/// Who had the last word when a handshake failed.
#[derive(Clone, Copy)]
enum Side {
    Ours,
    Theirs,
}

fn handshake_error(target: &Target, error: &io::Error, side: Side) -> CliError {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let why = match (tls, side) {
        (Some(rustls::Error::AlertReceived(alert)), _) => {
            format!("the node refused this certificate ({alert:?}); its log says why")
        }
        (Some(error), _) => match Refusal::of(error) {
            Some(refusal) => format!("not accepted as node {}: {refusal}", target.node),
            None => format!("not accepted as node {}: {error}", target.node),
        },
        (None, Side::Theirs) => {
            "the node closed the connection, most likely over this certificate; its log says why".to_owned()
        }
        (None, Side::Ours) => {
            let kind = error.kind();
            let why = format!(
                "the connection broke during the TLS handshake ({kind}); is it a node that listens there?"
            );
            return CliError::Unreachable { address: target.address.clone(), why };
        }
    };
    CliError::Certificate { address: target.address.clone(), why }
}

fn dial_reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            "nothing listens there; is the node running, and the address right?".to_owned()
        }
        io::ErrorKind::InvalidInput => "an address is written host:port".to_owned(),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            "no way there; check the network".to_owned()
        }
        _ => format!("{error}; check address and network"),
    }
}
