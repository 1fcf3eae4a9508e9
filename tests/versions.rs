//! Neighbours of different releases, as real processes: a node one release ahead of its neighbours or behind them works, a tree is
//! brought to a new release node by node, and a release that gave an old version up is refused by name.
//!
//! What a node speaks is told to the test's own binary in its environment (`src/main.rs`).

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use cli::client::Client;
use demo::tree::{LocalTree, Plan, Settings};
use model::NodePath;
use model::query::{PatientBy, PatientQuery, QueryContext, Reach};
use tempfile::TempDir;
use tests::mesh::{document, identifier, patient};
use wire::v1;

/// A resident ID of nobody.
const ID: &str = "532901198705014689";
const LIMIT: Duration = Duration::from_secs(90);
const PROVINCE: &str = "530000";
const PREFECTURE: &str = "530000/532900";
const COUNTY: &str = "530000/532900/532901";
/// Versions of the protocol that this release speaks, and the next.
const NOW: &str = "1";
const NEXT: &str = "1,2";

fn path(text: &str) -> NodePath {
    text.parse().expect("a path")
}

struct Mesh {
    tree: LocalTree,
    _folder: TempDir,
}

impl Mesh {
    /// Three tiers, each of a release that speaks these versions.
    async fn start(province: &str, prefecture: &str, county: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let plan =
            |(at, tier): (&str, &str)| Plan { path: path(at), name: "测试".into(), tier: tier.into() };
        let plans = [(PROVINCE, "province"), (PREFECTURE, "prefecture"), (COUNTY, "county")];
        let settings = Settings {
            executable: PathBuf::from(env!("CARGO_BIN_EXE_tiermesh-under-test")),
            dir: folder.path().into(),
            store: "cache_mib = 4".into(),
        };
        let tree = LocalTree::create(settings, plans.into_iter().map(plan).collect()).expect("certificates");
        let mut mesh = Self { tree, _folder: folder };
        for (node, versions) in [(PROVINCE, province), (PREFECTURE, prefecture), (COUNTY, county)] {
            mesh.run(node, versions).await;
            mesh.writes(node).await;
        }
        mesh
    }

    /// Starts a node as a release that speaks these versions.
    async fn run(&mut self, node: &str, versions: &str) {
        self.tree.set_environment("TIERMESH_TEST_PROTOCOLS", versions);
        self.tree.start(&path(node)).await.expect("started");
    }

    /// Stops a node and starts it as another release.
    async fn replace(&mut self, node: &str, versions: &str) {
        self.tree.stop(&path(node)).await.expect("stopped");
        self.run(node, versions).await;
        self.writes(node).await;
    }

    async fn status(&self, node: &str) -> v1::NodeStatus {
        let operator = self.tree.operator(&path(node)).await.expect("an operator");
        operator.status().await.expect("status")
    }

    async fn writes(&self, node: &str) {
        until("it writes", async || self.status(node).await.writing).await;
    }

    async fn hospital(&self, node: &str) -> Client {
        let code = demo::synth::social_credit_code(path(node).region(), "M1");
        let credentials = self.tree.institution(&path(node), &code).expect("a certificate");
        self.tree.connect(&path(node), &credentials).await.expect("a connection")
    }

    /// Versions that the node's feeds were taken in since it was first started, in their order.
    fn spoken(&self, node: &str) -> Vec<u32> {
        let log = self.tree.node_dir(&path(node)).join("log.txt");
        let log = std::fs::read_to_string(log).expect("its log");
        let version = |line: &str| line.split_once("protocol=")?.1.split(' ').next()?.parse().ok();
        log.lines().filter(|line| line.contains("takes this node's feed")).filter_map(version).collect()
    }

    /// Waits until every up link is proven whole, with nothing in quarantine.
    async fn proven(&self) {
        for node in [PREFECTURE, COUNTY] {
            until(&format!("{node} is proven"), async || {
                let status = self.status(node).await;
                assert_eq!(status.store.expect("a store").quarantined, 0, "{node}");
                status.parent.is_some_and(|link| link.proven_ms > 0 && link.proven_position == link.head)
            })
            .await;
        }
    }
}

async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let wait = async { while !condition().await {} };
    tokio::time::timeout(LIMIT, wait).await.unwrap_or_else(|_| panic!("never came: {what}"));
}

/// Local ids of the person's registrations that this node holds itself.
async fn held(client: &Client) -> Vec<String> {
    let query = PatientQuery {
        by: PatientBy::Identifier(identifier(ID)),
        limit: 50,
        reach: Reach::Local,
        context: QueryContext::default(),
    };
    let persons = client.find_patients(query).await.expect("find").persons;
    let all = persons.into_iter().flat_map(|person| person.registrations);
    let mut ids: Vec<String> = all.map(|one| one.registration.local_id).collect();
    ids.sort();
    ids
}

/// Up, down and a restore between neighbours of these releases.
async fn works(province: &str, prefecture: &str, county: &str) {
    let mut mesh = Mesh::start(province, prefecture, county).await;
    let below = mesh.hospital(COUNTY).await.with_durability(v1::Durability::Parent);
    let between = mesh.hospital(PREFECTURE).await;
    let reply = below.register(patient("C1", ID)).await.expect("registered");
    assert_eq!(reply.durability(), v1::Durability::Parent, "acknowledged by the other release");
    below.submit_bytes(document("LAB1", "C1"), Bytes::from_static(b"1")).await.expect("submitted");
    between.register(patient("P1", ID)).await.expect("registered");
    let above = mesh.hospital(PROVINCE).await;
    until("all is above", async || held(&above).await == ["C1", "P1"]).await;
    until("what concerns it is below", async || held(&below).await == ["C1", "P1"]).await;
    mesh.proven().await;
    for node in [PREFECTURE, COUNTY] {
        let spoken = mesh.spoken(node);
        assert!(!spoken.is_empty() && spoken.iter().all(|version| *version == 1), "{node}: {spoken:?}");
    }

    // The county loses its disk and gets its records back from the other release.
    mesh.tree.kill(&path(COUNTY)).await.expect("killed");
    std::fs::remove_dir_all(mesh.tree.node_dir(&path(COUNTY)).join("data")).expect("the disk is lost");
    mesh.run(COUNTY, county).await;
    mesh.writes(COUNTY).await;
    assert_eq!(mesh.status(COUNTY).await.epoch, 2);
    let below = mesh.hospital(COUNTY).await;
    until("all is back", async || held(&below).await == ["C1", "P1"]).await;
    assert_eq!(mesh.status(COUNTY).await.store.expect("a store").document_entries, 1);
    mesh.proven().await;
    mesh.tree.stop_all().await.expect("all stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_node_between_older_ones_works() {
    works(NOW, NEXT, NOW).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_node_between_newer_ones_works() {
    works(NEXT, NOW, NEXT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_is_brought_to_the_next_release_node_by_node_and_back() {
    let mut mesh = Mesh::start(NOW, NOW, NOW).await;
    let mut written = Vec::new();
    let steps = [(PROVINCE, NEXT), (COUNTY, NEXT), (PREFECTURE, NEXT), (COUNTY, NOW), (PREFECTURE, NOW)];
    for (at, (node, versions)) in steps.into_iter().enumerate() {
        mesh.replace(node, versions).await;
        let local_id = format!("C{at}");
        mesh.hospital(COUNTY).await.register(patient(&local_id, ID)).await.expect("registered");
        written.push(local_id);
        let above = mesh.hospital(PROVINCE).await;
        until("it is above", async || held(&above).await == written).await;
        let last = || mesh.spoken(COUNTY).last().copied();
        // Only while both speak it.
        let expected = if at == 2 { 2 } else { 1 };
        until(&format!("version {expected} after step {at}"), async || last() == Some(expected)).await;
    }
    mesh.proven().await;
    mesh.tree.stop_all().await.expect("all stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_gave_the_old_version_up_is_refused_by_name_and_works_alone() {
    let mut mesh = Mesh::start(NOW, NOW, NOW).await;
    let county = mesh.hospital(COUNTY).await;
    county.register(patient("C1", ID)).await.expect("registered");
    mesh.proven().await;
    mesh.replace(COUNTY, "2,3").await;
    let county = mesh.hospital(COUNTY).await;
    county.register(patient("C2", ID)).await.expect("it works on its own");
    until("it says why", async || {
        let link = mesh.status(COUNTY).await.parent.expect("a parent");
        !link.connected && link.health() == v1::Health::Red && link.reason.contains("protocol")
    })
    .await;
    until("its parent says why", async || {
        let link = mesh.status(PREFECTURE).await.children.remove(0);
        !link.connected && link.health() == v1::Health::Red && link.reason.contains("protocol")
    })
    .await;
    mesh.replace(COUNTY, "1,2,3").await;
    let above = mesh.hospital(PROVINCE).await;
    until("it ships what it wrote", async || held(&above).await == ["C1", "C2"]).await;
    mesh.proven().await;
    mesh.tree.stop_all().await.expect("all stop");
}
