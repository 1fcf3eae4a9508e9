//! A tree of child processes with a proxy on every link.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cli::CliError;
use cli::client::Client;
use demo::tree::{LocalTree, Plan, Settings};
use futures_util::{StreamExt, stream};
use model::NodePath;
use model::body::{Contact, Identifier, Registration};
use model::query::{LocalPatient, PatientAnswer, PatientBy, PatientQuery, QueryContext, Reach};
use rand::distr::Alphanumeric;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tempfile::TempDir;
use wire::v1::NodeStatus;

use super::Proxy;
use crate::{Acknowledged, Ledger, Writers};

/// How long a condition is waited for before the test gives up.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);
/// How often a node is asked while waiting: a busy loop would take the processor from the nodes.
pub(super) const ASK_EVERY: Duration = Duration::from_millis(50);

/// The tree, its lines, and what this test itself has written.
#[derive(Debug)]
pub struct Province {
    pub tree: LocalTree,
    proxies: BTreeMap<NodePath, Proxy>,
    /// Writes beside those of [`Writers`], by a hospital of its own at each node.
    pub(super) own: Ledger,
    hospitals: BTreeMap<NodePath, Client>,
    /// What the nodes are told of their lines, from their next start on; none: nothing.
    pub lines_carry_kbit_s: Option<u64>,
    folder: TempDir,
}

impl Province {
    /// Makes certificates; nothing runs yet. `launch` is the script that starts nodes, `node` the binary.
    pub fn create(paths: &[&str], launch: &Path, node: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let plan = |path: &&str| {
            let tier = ["province", "prefecture", "county"][path.matches('/').count()];
            Plan { path: path.parse().expect("a path"), name: "测试".into(), tier: tier.into() }
        };
        // Small segments and overlays, so that faults meet rotation and folding too.
        let store = "segment_mib = 1\noverlay_mib = 1\ncache_mib = 4".to_owned();
        let settings = Settings { executable: launch.to_owned(), dir: folder.path().join("tree"), store };
        let mut tree = LocalTree::create(settings, paths.iter().map(plan).collect()).expect("certificates");
        tree.set_environment("NODE_UNDER_TEST", node);
        let (proxies, hospitals) = (BTreeMap::new(), BTreeMap::new());
        Self { tree, proxies, own: Ledger::default(), hospitals, lines_carry_kbit_s: None, folder }
    }

    /// A file beside the nodes.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts every node, each below its proxy, and waits until all accept writes.
    pub async fn start(&mut self) {
        for path in self.tree.paths() {
            if let Some(above) = path.parent() {
                let target = self.tree.address(&above).expect("parents start first").to_owned();
                self.proxies.insert(path.clone(), Proxy::start(target).expect("a proxy"));
            }
            self.launch_under(&path, "");
            self.tree.start(&path).await.unwrap_or_else(|error| panic!("{path}: {error}"));
            self.status_until(&path, "it writes", |status| status.writing).await;
        }
    }

    /// Says what the node is started under from now on, for example strace with its options; empty: nothing.
    pub fn launch_under(&self, path: &NodePath, under: &str) {
        let mut lines = format!("UNDER=\"{under}\"\n");
        if let Some(proxy) = self.proxies.get(path) {
            writeln!(lines, "TIERMESH__PARENT__ADDRESS={}", proxy.address()).expect("a string takes it");
            if let Some(kbit_s) = self.lines_carry_kbit_s {
                writeln!(lines, "TIERMESH__PARENT__LINE_KBIT_S={kbit_s}").expect("a string takes it");
            }
        }
        self.launch_with(path, &lines);
    }

    /// Gives a node these lines of environment from its next start on.
    pub fn launch_with(&self, path: &NodePath, lines: &str) {
        std::fs::write(self.tree.node_dir(path).join("launch"), lines).expect("written");
    }

    /// The line from this node to its parent.
    pub fn line(&self, child: &NodePath) -> &Proxy {
        self.proxies.get(child).expect("a child has a line")
    }

    /// All lines.
    pub fn lines(&self) -> impl Iterator<Item = &Proxy> {
        self.proxies.values()
    }

    /// Starts `each` writers at every one of these nodes.
    pub async fn write(&self, at: &[&str], each: usize, seed: u64) -> Writers {
        let mut hospitals = Vec::new();
        for path in at {
            let path: NodePath = path.parse().expect("a path");
            let (code, client) = self.hospital(&path, "K1").await;
            hospitals.push((path, code, client));
        }
        Writers::start(hospitals, each, seed)
    }

    /// A hospital of this node's and its connection.
    pub async fn hospital(&self, path: &NodePath, name: &str) -> (String, Client) {
        let code = demo::synth::social_credit_code(path.region(), name);
        let credentials = self.tree.institution(path, &code).expect("a certificate");
        let client = self.tree.connect(path, &credentials).await.expect("a connection");
        (code, client)
    }

    async fn own_hospital(&mut self, path: &NodePath) -> Client {
        if let Some(client) = self.hospitals.get(path) {
            return client.clone();
        }
        let (_, client) = self.hospital(path, "K9").await;
        self.hospitals.insert(path.clone(), client.clone());
        client
    }

    /// Registers the next patient of the test's own hospital at this node. A failed call is made again by the next one.
    pub async fn register(&mut self, path: &NodePath) -> Result<(), CliError> {
        let client = self.own_hospital(path).await;
        let number = self.own.patients.keys().filter(|(node, ..)| node == path).count();
        let (local_id, acknowledged) = register_one(&client, number).await?;
        self.own.patients.insert((path.clone(), own_code(path), local_id), acknowledged);
        Ok(())
    }

    /// Registers so many patients at a node, many at a time.
    pub async fn register_many(&mut self, path: &NodePath, count: usize) {
        let client = self.own_hospital(path).await;
        let first = self.own.patients.keys().filter(|(node, ..)| node == path).count();
        let mut answers = stream::iter(first..first + count)
            .map(|number| register_one(&client, number))
            .buffer_unordered(32);
        while let Some(answer) = answers.next().await {
            let (local_id, acknowledged) = answer.expect("registered");
            self.own.patients.insert((path.clone(), own_code(path), local_id), acknowledged);
        }
    }

    /// Registers one patient at this node, however often it has to be tried.
    pub async fn register_at_last(&mut self, path: &NodePath) {
        let end = Instant::now() + PATIENCE;
        while let Err(error) = self.register(path).await {
            assert!(Instant::now() < end, "{path} does not take a write: {error}");
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    /// Finds the first patient that the test registered here; needs one.
    pub async fn find_own(&mut self, path: &NodePath, reach: Reach) -> Result<PatientAnswer, CliError> {
        let local = LocalPatient {
            institution_code: own_code(path),
            source_system: String::new(),
            local_id: local_id(0),
        };
        let query =
            PatientQuery { by: PatientBy::Local(local), limit: 2, reach, context: QueryContext::default() };
        self.own_hospital(path).await.find_patients(query).await
    }

    /// What the node says of itself to its operator.
    pub async fn status(&self, path: &NodePath) -> NodeStatus {
        self.tree.operator(path).await.expect("an operator").status().await.expect("status")
    }

    /// Asks a node for its status until it is as wished; a node that does not answer is asked again.
    pub async fn status_until(
        &self,
        path: &NodePath,
        what: &str,
        wished: impl Fn(&NodeStatus) -> bool,
    ) -> NodeStatus {
        let end = Instant::now() + PATIENCE;
        let operator = self.tree.operator(path).await.expect("an operator");
        let mut last = None;
        while Instant::now() < end {
            match operator.status().await {
                Ok(status) if wished(&status) => return status,
                answer => last = Some(answer),
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
        panic!("{path} does not come to: {what}; last answer {last:?}");
    }
}

fn own_code(path: &NodePath) -> String {
    demo::synth::social_credit_code(path.region(), "K9")
}

fn local_id(number: usize) -> String {
    format!("P{number}")
}

/// Archive numbers of a patient, of 64 characters each.
const IDENTIFIERS: usize = 8;

fn identifier(number: usize, at: usize) -> Identifier {
    let rng = StdRng::seed_from_u64((number * IDENTIFIERS + at) as u64);
    let value = rng.sample_iter(Alphanumeric).take(64).map(char::from).collect();
    Identifier { r#type: "EHR".into(), value, assigner: String::new() }
}

async fn register_one(client: &Client, number: usize) -> Result<(String, Acknowledged), CliError> {
    let (local_id, marker) = (local_id(number), format!("own-{number}"));
    let registration = Registration {
        local_id: local_id.clone(),
        name: crate::name_of(&marker),
        sex: "1".into(),
        // What a compressor cannot make smaller, as a real registration has much of: a thin line is to be felt.
        identifiers: (0..IDENTIFIERS).map(|at| identifier(number, at)).collect(),
        contacts: vec![Contact { name: marker.clone(), ..Default::default() }],
        ..Default::default()
    };
    let reply = client.register(registration).await?;
    let version = reply.version.parse().expect("a version");
    Ok((local_id, Acknowledged { version, marker }))
}
