//! Which node to talk to, as whom, and how long to wait: the options that every online command shares.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use identity::{Alpn, ClientIdentity, Name, Seams, files};
use model::query::{Purpose, QueryContext};
use model::{Clock, NodePath};

use wire::v1;

use crate::client::{Client, Target};
use crate::error::CliError;

/// Options of every online command. The binary flattens them beside its subcommands.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Connection")]
pub struct Global {
    /// Address of the node, host:port.
    #[arg(long, global = true, env = "TIERMESH_NODE", value_name = "ADDR", default_value = "127.0.0.1:7400")]
    pub node: String,
    /// Path of the node that must answer there [default: the node that the certificate belongs to].
    #[arg(long, global = true, env = "TIERMESH_NODE_PATH", value_name = "PATH")]
    pub node_path: Option<NodePath>,
    /// Directory with client.pem, client.key and root.pem.
    #[arg(long, global = true, env = "TIERMESH_IDENTITY", value_name = "DIR")]
    pub identity: Option<PathBuf>,
    /// Certificate with its chain, PEM [default: client.pem in --identity].
    #[arg(long, global = true, value_name = "FILE")]
    pub cert: Option<PathBuf>,
    /// Private key, PEM [default: client.key in --identity].
    #[arg(long, global = true, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Root certificate of the mesh, PEM [default: root.pem in --identity].
    #[arg(long, global = true, value_name = "FILE")]
    pub root: Option<PathBuf>,
    /// Longest wait for an answer, at most 3600 [default: 30, and 600 where content travels].
    #[arg(long, global = true, value_name = "SECONDS", value_parser = seconds)]
    pub timeout: Option<Duration>,
    /// Where a write must be durable before it is answered: local or parent [default: as the node is configured].
    #[arg(long, global = true, value_name = "LEVEL", value_parser = durability)]
    pub durable: Option<v1::Durability>,
    /// One JSON object on standard output instead of text for people.
    #[arg(long, global = true)]
    pub json: bool,
    /// Practitioner on whose behalf this is asked: the id in the institution.
    #[arg(long, global = true, value_name = "ID")]
    pub practitioner: Option<String>,
    /// Purpose of use: treatment, emergency, recognition, referral, public-health, statistics, patient, administration.
    #[arg(long, global = true, value_name = "PURPOSE", value_parser = purpose, default_value = "treatment", hide_default_value = true)]
    pub purpose: Purpose,
}

fn durability(text: &str) -> Result<v1::Durability, &'static str> {
    match text {
        "local" => Ok(v1::Durability::Local),
        "parent" => Ok(v1::Durability::Parent),
        _ => Err("must be local or parent"),
    }
}

/// The longest deadline a node grants, in seconds.
const MOST_SECONDS: f64 = 3600.0;

fn seconds(text: &str) -> Result<Duration, &'static str> {
    let wrong = "must be more than 0 and at most 3600 seconds";
    let seconds: f64 = text.parse().map_err(|_| wrong)?;
    if seconds > 0.0 && seconds <= MOST_SECONDS { Ok(Duration::from_secs_f64(seconds)) } else { Err(wrong) }
}

fn purpose(text: &str) -> Result<Purpose, &'static str> {
    let name = text.to_ascii_uppercase().replace('-', "_");
    let known = Purpose::from_name(&name).filter(|_| !name.is_empty());
    known.ok_or("must be a purpose of use: see --help")
}

/// What a command needs to reach its node. Dials only when asked to, so that input is checked first.
#[derive(Debug)]
pub(crate) struct Connection<'a> {
    pub global: &'a Global,
    pub clock: Arc<dyn Clock>,
}

impl Connection<'_> {
    /// Loads the certificate and connects.
    pub async fn client(&self) -> Result<Client, CliError> {
        let client = Client::connect(&self.target()?).await?;
        let client = client.with_durability(self.global.durable.unwrap_or_default());
        Ok(match self.global.timeout {
            Some(timeout) => client.with_timeout(timeout),
            None => client,
        })
    }

    /// Who asks, for what.
    pub fn context(&self) -> QueryContext {
        QueryContext {
            practitioner: self.global.practitioner.clone().unwrap_or_default(),
            purpose: self.global.purpose,
            ..Default::default()
        }
    }

    fn target(&self) -> Result<Target, CliError> {
        let file = |given: &Option<PathBuf>, name: &str| match (given, &self.global.identity) {
            (Some(file), _) => Ok(file.clone()),
            (None, Some(dir)) => Ok(dir.join(name)),
            (None, None) => Err(CliError::Usage(
                "no certificate to connect with: give --identity DIR (or TIERMESH_IDENTITY), or --cert, --key and --root",
            )),
        };
        let certificate = file(&self.global.cert, files::CLIENT_CERTIFICATE)?;
        let (key, root) =
            (file(&self.global.key, files::CLIENT_KEY)?, file(&self.global.root, files::ROOT_CERTIFICATE)?);
        let identity = ClientIdentity::load(&certificate, &key, &root)?;
        if identity.credentials().not_after_ms() < self.clock.now_ms() {
            return Err(CliError::File {
                path: certificate,
                why: "the certificate has expired; renew it, or correct the clock".to_owned(),
            });
        }
        let node = self.global.node_path.clone().or_else(|| identity.name.path().cloned());
        let node = node.ok_or(CliError::Usage("give --node-path: the certificate belongs to no node"))?;
        Target::new(self.global.node.clone(), node, &identity, self.clock.clone())
    }
}

impl Target {
    /// The node `node`, expected at `address` (`host:port`), approached with the credentials of `own`.
    pub fn new(
        address: String,
        node: NodePath,
        own: &impl AsRef<identity::Credentials>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, CliError> {
        let expected = Name::Node(node.clone());
        let tls = identity::client_config(own, &Seams::new(clock), expected, Alpn::H2)?;
        Ok(Self { address, node, tls })
    }
}
