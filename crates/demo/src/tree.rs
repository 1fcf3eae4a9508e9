//! A local tree: one child process per node, throw-away certificates, everything in one folder, on loopback.
//!
//! A node's port is chosen by the system at its first start and kept at its later ones, because its children know it by
//! then. A node stops by itself when the pipe on its standard input closes, so none outlives this process.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cli::client::{Client, Target};
use identity::authority::Term;
use identity::ca::{self, CLIENT_LIFE, Lives};
use identity::name::{Name, Role};
use identity::{Alpn, ClientIdentity, Seams};
use model::{Clock, NodePath, TrustDomain};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};

/// How long a node may take to listen. Machines that run a whole province are slow at first.
const START: Duration = Duration::from_secs(120);
/// How long a node may take to stop when it is asked to.
const STOP: Duration = Duration::from_secs(30);

/// What can go wrong with a local tree.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    #[error("{place}: {source}")]
    Io { place: String, source: std::io::Error },
    #[error(transparent)]
    Identity(#[from] identity::IdentityError),
    #[error("node {path} did not start: {reason}; see {log}")]
    NotStarted { path: NodePath, reason: String, log: PathBuf },
    #[error("node {path} is not running")]
    NotRunning { path: NodePath },
    #[error(transparent)]
    Client(#[from] cli::CliError),
    #[error("{0} is no trust domain")]
    TrustDomain(&'static str),
}

/// A node to be.
#[derive(Debug, Clone)]
pub struct Plan {
    pub path: NodePath,
    /// Chinese name.
    pub name: String,
    pub tier: String,
}

/// How the nodes are run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The binary `tiermesh`.
    pub executable: PathBuf,
    /// Folder for everything.
    pub dir: PathBuf,
    /// Lines for the `[store]` section of every node.
    pub store: String,
}

/// A tree of child processes.
#[derive(Debug)]
pub struct LocalTree {
    settings: Settings,
    nodes: BTreeMap<NodePath, Node>,
    /// Environment of the nodes beside this process's own.
    environment: Vec<(String, String)>,
}

#[derive(Debug)]
struct Node {
    plan: Plan,
    /// Where it listens; known after its first start.
    address: Option<String>,
    process: Option<Process>,
}

#[derive(Debug)]
struct Process {
    child: Child,
    /// Closing it asks the node to stop.
    stdin: ChildStdin,
}

/// The system's clock, for certificates.
#[derive(Debug)]
struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
    }
}

fn now_ms() -> u64 {
    SystemClock.now_ms()
}

impl LocalTree {
    /// Makes folder, root authority and every node's certificates. `plans` has parents before children.
    pub fn create(settings: Settings, plans: Vec<Plan>) -> Result<Self, TreeError> {
        std::fs::create_dir_all(&settings.dir).map_err(|source| io(&settings.dir, source))?;
        let domain: TrustDomain =
            "demo.tiermesh".parse().map_err(|_| TreeError::TrustDomain("demo.tiermesh"))?;
        let root = settings.dir.join("root-authority");
        ca::init_root(&root, &domain, now_ms())?;
        let tree = Self { settings, nodes: BTreeMap::new(), environment: Vec::new() };
        let mut nodes = BTreeMap::new();
        for plan in plans {
            let authority = plan
                .path
                .parent()
                .map_or_else(|| root.clone(), |parent| tree.node_dir(&parent).join("identity"));
            let dir = tree.node_dir(&plan.path);
            let advertise = ["localhost".to_owned(), "127.0.0.1".to_owned()];
            ca::issue_node(
                &authority,
                &plan.path,
                &advertise,
                &dir.join("identity"),
                &Lives::default(),
                now_ms(),
            )?;
            let term = Term { now_ms: now_ms(), life: CLIENT_LIFE };
            ca::issue_client(&dir.join("identity"), Role::Operator, "demo", &dir.join("operator"), term)?;
            nodes.insert(plan.path.clone(), Node { plan, address: None, process: None });
        }
        Ok(Self { nodes, ..tree })
    }

    /// A tree whose folder is there already, with certificates and perhaps data.
    pub fn adopt(settings: Settings, plans: Vec<Plan>) -> Self {
        let node = |plan: Plan| (plan.path.clone(), Node { plan, address: None, process: None });
        Self { settings, nodes: plans.into_iter().map(node).collect(), environment: Vec::new() }
    }

    /// Gives nodes started from now on an environment variable.
    pub fn set_environment(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Folder of one node: configuration, identity, data, log.
    pub fn node_dir(&self, path: &NodePath) -> PathBuf {
        self.settings.dir.join("nodes").join(path.to_string().replace('/', "-"))
    }

    /// Paths of all nodes, parents before children.
    pub fn paths(&self) -> Vec<NodePath> {
        let mut paths: Vec<NodePath> = self.nodes.keys().cloned().collect();
        paths.sort_by_key(|path| (path.depth(), path.clone()));
        paths
    }

    /// Chinese name of a node.
    pub fn name(&self, path: &NodePath) -> &str {
        self.nodes.get(path).map_or("", |node| &node.plan.name)
    }

    /// Where a node listens, once it has been started.
    pub fn address(&self, path: &NodePath) -> Option<&str> {
        self.nodes.get(path)?.address.as_deref()
    }

    /// Process id of a running node.
    pub fn process_id(&self, path: &NodePath) -> Option<u32> {
        self.nodes.get(path)?.process.as_ref()?.child.id()
    }

    /// Starts every node, tier by tier, as many at once as a tier has. Tells `progress` each path.
    pub async fn start_all(&mut self, mut progress: impl FnMut(&NodePath)) -> Result<(), TreeError> {
        let mut paths = self.paths();
        while !paths.is_empty() {
            let depth = paths[0].depth();
            let tier: Vec<NodePath> = paths.iter().filter(|path| path.depth() == depth).cloned().collect();
            paths.retain(|path| path.depth() != depth);
            // A handful at a time: a hundred processes opening at once only wait for each other.
            for some in tier.chunks(8) {
                let mut starting = Vec::new();
                for path in some {
                    starting.push((path.clone(), self.launch(path)?));
                }
                for (path, launched) in starting {
                    let running = launched.ready().await?;
                    self.keep(&path, running);
                    progress(&path);
                }
            }
        }
        Ok(())
    }

    /// Starts one node and waits until it listens.
    pub async fn start(&mut self, path: &NodePath) -> Result<(), TreeError> {
        let running = self.launch(path)?.ready().await?;
        self.keep(path, running);
        Ok(())
    }

    fn keep(&mut self, path: &NodePath, (address, process): (String, Process)) {
        if let Some(node) = self.nodes.get_mut(path) {
            node.address = Some(address);
            node.process = Some(process);
        }
    }

    fn launch(&self, path: &NodePath) -> Result<Launched, TreeError> {
        let node = self.nodes.get(path).ok_or_else(|| TreeError::NotRunning { path: path.clone() })?;
        let dir = self.node_dir(path);
        let config = dir.join("node.toml");
        std::fs::write(&config, self.config(node)).map_err(|source| io(&config, source))?;
        std::fs::create_dir_all(dir.join("data")).map_err(|source| io(&dir, source))?;
        let log = dir.join("log.txt");
        let file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .map_err(|source| io(&log, source))?;
        let mut child = Command::new(&self.settings.executable)
            .args(["run", "--stop-with-stdin", "--config"])
            .arg(&config)
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(file)
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| io(&self.settings.executable, source))?;
        let stdin = child.stdin.take();
        Ok(Launched { path: path.clone(), log, child, stdin })
    }

    fn config(&self, node: &Node) -> String {
        let mut text = format!(
            "[node]\nname = \"{}\"\ntier = \"{}\"\ndata_dir = \"data\"\nidentity_dir = \"identity\"\n\n[listen]\naddress = \"{}\"\n",
            node.plan.name,
            node.plan.tier,
            node.address.as_deref().unwrap_or("127.0.0.1:0"),
        );
        if let Some(parent) =
            node.plan.path.parent().and_then(|parent| self.address(&parent).map(str::to_owned))
        {
            // Writing to a String cannot fail.
            let _ = write!(text, "\n[parent]\naddress = \"{parent}\"\n");
        }
        let _ = write!(text, "\n[store]\n{}\n", self.settings.store);
        text
    }

    /// Ends a node as a power switch would: SIGKILL.
    pub async fn kill(&mut self, path: &NodePath) -> Result<(), TreeError> {
        let mut process = self.take(path)?;
        process.child.kill().await.map_err(|source| io(&self.settings.executable, source))
    }

    /// Asks a node to stop and waits until it has drained.
    pub async fn stop(&mut self, path: &NodePath) -> Result<(), TreeError> {
        let Process { mut child, stdin } = self.take(path)?;
        drop(stdin);
        match tokio::time::timeout(STOP, child.wait()).await {
            Ok(ended) => ended.map(|_| ()).map_err(|source| io(&self.settings.executable, source)),
            Err(_) => child.kill().await.map_err(|source| io(&self.settings.executable, source)),
        }
    }

    /// Asks every node to stop, children first, and waits.
    pub async fn stop_all(&mut self) -> Result<(), TreeError> {
        let mut running: Vec<Process> =
            self.paths().iter().rev().filter_map(|path| self.take(path).ok()).collect();
        let mut waiting = Vec::new();
        for Process { child, stdin } in running.drain(..) {
            drop(stdin);
            waiting.push(child);
        }
        for mut child in waiting {
            if tokio::time::timeout(STOP, child.wait()).await.is_err() {
                child.kill().await.map_err(|source| io(&self.settings.executable, source))?;
            }
        }
        Ok(())
    }

    fn take(&mut self, path: &NodePath) -> Result<Process, TreeError> {
        let process = self.nodes.get_mut(path).and_then(|node| node.process.take());
        process.ok_or_else(|| TreeError::NotRunning { path: path.clone() })
    }

    /// Credentials of an institution enrolled with a node, made when first asked for: folder with client.pem, client.key.
    pub fn institution(&self, node: &NodePath, code: &str) -> Result<PathBuf, TreeError> {
        let out = self.node_dir(node).join("institutions").join(code);
        if !out.join("client.pem").exists() {
            let term = Term { now_ms: now_ms(), life: CLIENT_LIFE };
            ca::issue_client(&self.node_dir(node).join("identity"), Role::Institution, code, &out, term)?;
        }
        Ok(out)
    }

    /// Connects to a node with the credentials in a folder.
    pub async fn connect(&self, node: &NodePath, credentials: &Path) -> Result<Client, TreeError> {
        Ok(Client::connect(&self.target(node, credentials)?).await?)
    }

    /// Connects to a node as its operator.
    pub async fn operator(&self, node: &NodePath) -> Result<Client, TreeError> {
        self.connect(node, &self.node_dir(node).join("operator")).await
    }

    fn target(&self, node: &NodePath, credentials: &Path) -> Result<Target, TreeError> {
        let address =
            self.address(node).ok_or_else(|| TreeError::NotRunning { path: node.clone() })?.to_owned();
        let file = |name: &str| credentials.join(name);
        let client = ClientIdentity::load(&file("client.pem"), &file("client.key"), &file("root.pem"))?;
        let seams = Seams::new(Arc::new(SystemClock));
        let tls = identity::client_config(&client, &seams, Name::Node(node.clone()), Alpn::H2)?;
        Ok(Target { address, node: node.clone(), tls })
    }
}

/// A process that has been started and does not listen yet.
struct Launched {
    path: NodePath,
    log: PathBuf,
    child: Child,
    stdin: Option<ChildStdin>,
}

impl Launched {
    /// Waits for the line `ready PATH ADDRESS` on the node's standard output.
    async fn ready(mut self) -> Result<(String, Process), TreeError> {
        let failed =
            |reason: String| TreeError::NotStarted { path: self.path.clone(), reason, log: self.log.clone() };
        let (Some(stdout), Some(stdin)) = (self.child.stdout.take(), self.stdin.take()) else {
            return Err(failed("no pipes".into()));
        };
        let mut lines = BufReader::new(stdout).lines();
        let wait = async {
            while let Some(line) = lines.next_line().await? {
                if let Some(address) = line.strip_prefix("ready ").and_then(|rest| rest.split(' ').nth(1)) {
                    return Ok(Some(address.to_owned()));
                }
            }
            Ok::<_, std::io::Error>(None)
        };
        match tokio::time::timeout(START, wait).await {
            Ok(Ok(Some(address))) => Ok((address, Process { child: self.child, stdin })),
            Ok(Ok(None)) => Err(failed(last_line(&self.log))),
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(_) => Err(failed(format!("it did not listen within {} s", START.as_secs()))),
        }
    }
}

fn last_line(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines().last().unwrap_or("it ended without a word").to_owned()
}

fn io(place: &Path, source: std::io::Error) -> TreeError {
    TreeError::Io { place: place.display().to_string(), source }
}
