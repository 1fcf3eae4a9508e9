//! Bytes damaged by hand in the files of real nodes: found, mended from the neighbours, and told to the operator.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cli::client::Client;
use demo::tree::{LocalTree, Plan, Settings};
use identity::{Alpn, Identity, Name, Seams};
use model::body::{Identifier, Registration};
use model::query::{LocalPatient, PatientBy, PatientQuery, QueryContext, Reach};
use model::{NodePath, RecordKey};
use node::seams::SystemClock;
use rpc::net::Tcp;
use tempfile::TempDir;
use wire::v1;

const PROVINCE: &str = "530000";
const PREFECTURE: &str = "530000/532900";
const COUNTY: &str = "530000/532900/532901";
/// Patients registered at the county.
const PATIENTS: usize = 120;

fn path(text: &str) -> NodePath {
    text.parse().expect("a path")
}

fn local_id(at: usize) -> String {
    format!("SCRUB-{at:04}")
}

fn by_local_id(node: &NodePath, at: usize) -> PatientBy {
    let institution_code = demo::synth::social_credit_code(node.region(), "M1");
    PatientBy::Local(LocalPatient { institution_code, source_system: String::new(), local_id: local_id(at) })
}

fn patient(at: usize) -> Registration {
    Registration {
        local_id: local_id(at),
        name: tests::name_of(&local_id(at)),
        sex: "2".into(),
        identifiers: vec![Identifier {
            r#type: "03".into(),
            value: format!("E{at:07}"),
            assigner: String::new(),
        }],
        ..Default::default()
    }
}

struct Mesh {
    tree: LocalTree,
    _folder: TempDir,
}

impl Mesh {
    /// Three tiers, with patients of the county that have reached the province.
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let plan = |path: &str, tier: &str| Plan {
            path: path.parse().expect("a path"),
            name: "测试".into(),
            tier: tier.into(),
        };
        let plans = vec![plan(PROVINCE, "province"), plan(PREFECTURE, "prefecture"), plan(COUNTY, "county")];
        let settings = Settings {
            executable: PathBuf::from(env!("CARGO_BIN_EXE_tiermesh-under-test")),
            dir: folder.path().into(),
            // No pass of its own: the test says when.
            store: "cache_mib = 4\nscrub_days = 0".into(),
        };
        let mut tree = LocalTree::create(settings, plans).expect("certificates");
        tree.start_all(|_| ()).await.expect("the tree starts");
        let mesh = Self { tree, _folder: folder };
        for node in [PROVINCE, PREFECTURE, COUNTY] {
            mesh.until(node, |status| status.writing).await;
        }
        let hospital = mesh.hospital().await;
        for at in 0..PATIENTS {
            hospital.register(patient(at)).await.expect("registered");
        }
        for node in [PROVINCE, PREFECTURE] {
            mesh.until(node, |status| store(status).registrations == PATIENTS as u64).await;
        }
        mesh
    }

    async fn hospital(&self) -> Client {
        let code = demo::synth::social_credit_code(path(COUNTY).region(), "M1");
        let credentials = self.tree.institution(&path(COUNTY), &code).expect("a certificate");
        self.tree.connect(&path(COUNTY), &credentials).await.expect("a connection")
    }

    async fn operator(&self, node: &str) -> Client {
        self.tree.operator(&path(node)).await.expect("an operator")
    }

    /// Waits until a node's status is as expected.
    async fn until(&self, node: &str, expected: impl Fn(&v1::NodeStatus) -> bool) -> v1::NodeStatus {
        let operator = self.operator(node).await;
        let ask = async {
            loop {
                let status = operator.status().await.expect("a status");
                if expected(&status) {
                    return status;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), ask).await.expect("the status comes to be so")
    }

    /// Has a node read its log again, and waits until it has.
    async fn scrub(&self, node: &str) -> v1::NodeStatus {
        let pass = self.operator(node).await.scrub().await.expect("the operator may");
        self.until(node, |status| store(status).scrub_passes >= pass).await
    }

    /// The node's links carry what is new, and everything in them is proven to be equal after it.
    async fn proven(&self, node: &str) {
        let now_ms = self.operator(node).await.ping().await.expect("a clock");
        // A feed at rest that was proven is not proven again for minutes.
        self.hospital().await.register(patient(PATIENTS)).await.expect("registered");
        self.until(node, |status| {
            status.parent.iter().chain(&status.children).all(|link| {
                link.health() == v1::Health::Green && link.proven_ms > now_ms && link.proven_records > 0
            })
        })
        .await;
    }

    fn data(&self, node: &str) -> PathBuf {
        self.tree.node_dir(&path(node)).join("data")
    }

    /// Records of the county's patients as `holder` gives them to its neighbour `asker`, byte for byte.
    async fn records(
        &self,
        holder: &str,
        asker: &str,
        keys: &[RecordKey],
    ) -> BTreeMap<RecordKey, (Bytes, Bytes, Bytes)> {
        let identity =
            Identity::load(&self.tree.node_dir(&path(asker)).join("identity")).expect("an identity");
        let clock = Arc::new(SystemClock);
        let expected = Name::Node(path(holder));
        let tls = identity::client_config(&identity, &Seams::new(clock.clone()), expected, Alpn::H2)
            .expect("a configuration");
        let address = self.tree.address(&path(holder)).expect("it runs");
        let channel =
            rpc::connect(&Tcp, address, tls, rpc::KeepAlive::default(), &*clock).await.expect("a connection");
        let reply = channel.feed().fetch(v1::FetchRequest::from(keys.to_vec())).await.expect("records");
        let fetched = model::fetch::Fetched::try_from(reply.into_inner()).expect("well formed");
        let raw = |record: &model::Record| {
            (record.header_bytes().clone(), record.body().clone(), record.signature().clone())
        };
        fetched.records.iter().map(|record| (record.key(), raw(record))).collect()
    }

    async fn stop(mut self) {
        self.tree.stop_all().await.expect("all stop");
    }
}

fn store(status: &v1::NodeStatus) -> &v1::StoreStatus {
    status.store.as_ref().expect("a store")
}

async fn keys_of_patients(client: &Client) -> Vec<RecordKey> {
    let mut keys = Vec::new();
    for at in 0..PATIENTS {
        let query = PatientQuery {
            by: by_local_id(&path(COUNTY), at),
            limit: 1,
            reach: Reach::Local,
            context: QueryContext::default(),
        };
        let answer = client.find_patients(query).await.expect("found");
        keys.push(answer.persons[0].registrations[0].key);
    }
    keys
}

/// Flips a bit inside the record that holds this text, in whichever segment it is.
fn damage_log(data: &Path, text: &str) {
    for file in fs::read_dir(data.join("log")).expect("a log") {
        let file = file.expect("a file").path();
        let mut bytes = fs::read(&file).expect("bytes");
        let Some(at) = bytes.windows(text.len()).position(|window| window == text.as_bytes()) else {
            continue;
        };
        assert!(at + 1000 < bytes.len(), "not in the tail");
        bytes[at] ^= 1;
        return fs::write(&file, bytes).expect("written");
    }
    panic!("{text} is in no segment");
}

/// Flips a bit in the middle of the largest file of the index.
fn damage_index(data: &Path) {
    fn files(folder: &Path, into: &mut Vec<(u64, PathBuf)>) {
        for entry in fs::read_dir(folder).expect("an index") {
            let entry = entry.expect("a file");
            let meta = entry.metadata().expect("its size");
            if meta.is_dir() { files(&entry.path(), into) } else { into.push((meta.len(), entry.path())) }
        }
    }
    let mut all = Vec::new();
    files(&data.join("index"), &mut all);
    let (len, file) = all.into_iter().max().expect("an index has files");
    let mut bytes = fs::read(&file).expect("bytes");
    bytes[len as usize / 2] ^= 1;
    fs::write(&file, bytes).expect("written");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prefecture_with_damaged_files_is_mended_by_its_neighbours() {
    let mut mesh = Mesh::start().await;
    let keys = keys_of_patients(&mesh.hospital().await).await;
    let before = mesh.records(PREFECTURE, COUNTY, &keys).await;
    assert_eq!(before.len(), PATIENTS);
    assert_eq!(before, mesh.records(PROVINCE, PREFECTURE, &keys).await, "the same bytes at every tier");

    // First the index, which is made again from a log that is whole.
    let (prefecture, data) = (path(PREFECTURE), mesh.data(PREFECTURE));
    mesh.tree.stop(&prefecture).await.expect("it stops");
    damage_index(&data);
    mesh.tree.start(&prefecture).await.expect("it starts");
    let status = mesh.until(PREFECTURE, |status| status.writing).await;
    assert!(store(&status).opened.contains("index rebuilt: its files changed"), "{}", store(&status).opened);
    let status = mesh.scrub(PREFECTURE).await;
    assert_eq!((store(&status).damaged_places, status.health()), (0, v1::Health::Green));

    mesh.tree.stop(&prefecture).await.expect("it stops");
    damage_log(&data, &local_id(5));
    damage_log(&data, &local_id(60));
    mesh.tree.start(&prefecture).await.expect("it starts");
    mesh.until(PREFECTURE, |status| status.writing).await;
    assert!(mesh.records(PREFECTURE, COUNTY, &keys[10..50]).await.len() == 40, "the rest is served");
    let status = mesh.scrub(PREFECTURE).await;
    // The links may not have been up yet when the damage was found: then it was asked for again.
    let status = if store(&status).damaged_records == 0 {
        status
    } else {
        mesh.until(PREFECTURE, |status| store(status).damaged_records == 0).await
    };
    let found = store(&status);
    assert_eq!((found.repaired_records, found.lost_records), (2, 0), "{found:?}");
    assert!((1..=2).contains(&found.damaged_places) && found.corrupt.is_empty(), "{found:?}");
    assert_eq!(found.mended.len() as u64, found.damaged_places);
    assert!(found.scrubbed_upto > 0 && found.scrubbed_upto <= found.head, "{found:?}");
    assert_eq!(status.health(), v1::Health::Amber);
    assert!(status.reason.contains("no record is lost"), "{}", status.reason);
    assert_eq!(mesh.records(PREFECTURE, COUNTY, &keys).await, before);
    mesh.proven(PREFECTURE).await;
    mesh.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_county_is_mended_by_its_parent_as_soon_as_a_read_meets_the_damage() {
    let mut mesh = Mesh::start().await;
    let keys = keys_of_patients(&mesh.hospital().await).await;
    let before = mesh.records(COUNTY, PREFECTURE, &keys[..1]).await;
    assert_eq!(before.len(), 1);
    let county = path(COUNTY);
    mesh.tree.stop(&county).await.expect("it stops");
    damage_log(&mesh.data(COUNTY), &local_id(0));
    mesh.tree.start(&county).await.expect("it starts");
    let hospital = mesh.hospital().await;
    let find = || PatientQuery {
        by: by_local_id(&county, 0),
        limit: 1,
        reach: Reach::Local,
        context: QueryContext::default(),
    };
    let refused = hospital.find_patients(find()).await.expect_err("what is damaged is not served");
    assert_eq!(refused.reason(), Some("STORE_CORRUPT"));
    let served = async {
        while hospital.find_patients(find()).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), served).await.expect("nobody asked for a scrub");
    assert_eq!(mesh.records(COUNTY, PREFECTURE, &keys[..1]).await, before);
    let status = mesh.until(COUNTY, |status| store(status).damaged_records == 0).await;
    let found = store(&status);
    assert_eq!((found.repaired_records, found.damaged_places, found.scrub_passes), (1, 1, 0), "{found:?}");
    mesh.proven(COUNTY).await;
    mesh.stop().await;
}
