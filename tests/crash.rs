//! Counties and parents are killed with -9 at random moments under load; nothing acknowledged may be lost or doubled, and
//! every ancestor is complete after reconnection.
//!
//! `TIERMESH_KILLS` says how many kills (10), `TIERMESH_SEED` which (1). A failing seed is printed by the panic's context.

use std::path::PathBuf;

use cli::client::Client;
use demo::tree::{LocalTree, Plan, Settings};
use model::NodePath;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tests::{Writers, check};

const NODES: [(&str, &str, &str); 5] = [
    ("530000", "云南省", "province"),
    ("530000/530100", "昆明市", "prefecture"),
    ("530000/532900", "大理白族自治州", "prefecture"),
    ("530000/530100/530102", "五华区", "county"),
    ("530000/532900/532901", "大理市", "county"),
];

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().expect("a number"))
}

fn plans() -> Vec<Plan> {
    let plan = |(path, name, tier): &(&str, &str, &str)| Plan {
        path: path.parse().expect("a path"),
        name: (*name).into(),
        tier: (*tier).into(),
    };
    NODES.iter().map(plan).collect()
}

/// A hospital of the node's: operators see status, not records.
async fn reader(tree: &LocalTree, node: &NodePath) -> Client {
    let code = demo::synth::social_credit_code(node.region(), "R1");
    let credentials = tree.institution(node, &code).expect("a certificate");
    tree.connect(node, &credentials).await.expect("a connection")
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_random_moments_under_load() {
    let (kills, seed) = (number("TIERMESH_KILLS", 10), number("TIERMESH_SEED", 1));
    println!("seed {seed}, {kills} kills");
    let mut rng = StdRng::seed_from_u64(seed);
    let folder = tempfile::tempdir().expect("a folder");
    let executable = PathBuf::from(env!("CARGO_BIN_EXE_tiermesh-under-test"));
    // Small segments and overlays, so that kills meet rotation and folding too.
    let store = "segment_mib = 1\noverlay_mib = 1\ncache_mib = 4".to_owned();
    let settings = Settings { executable, dir: folder.path().into(), store };
    let mut tree = LocalTree::create(settings, plans()).expect("certificates");
    tree.start_all(|_| ()).await.expect("the tree starts");

    let mut hospitals = Vec::new();
    // Counties, and a hospital that connects to a prefecture because its county has no node yet.
    for path in ["530000/530100/530102", "530000/532900/532901", "530000/532900"] {
        let path: NodePath = path.parse().expect("a path");
        let code = &demo::synth::social_credit_code(path.region(), "K1");
        let credentials = tree.institution(&path, code).expect("a certificate");
        let client = tree.connect(&path, &credentials).await.expect("a connection");
        hospitals.push((path, code.clone(), client));
    }
    let readers = hospitals.clone();
    let writers = Writers::start(hospitals, 3, seed);
    writers.advance(50).await;
    let paths = tree.paths();
    for kill in 1..=kills {
        writers.advance(rng.random_range(1..60)).await;
        let victim = paths[rng.random_range(0..paths.len())].clone();
        tree.kill(&victim).await.expect("the node was running");
        // Sometimes the others go on for a while first. Writers of a dead node cannot, so few are asked for.
        if rng.random_bool(0.5) {
            writers.advance(rng.random_range(1..30)).await;
        }
        tree.start(&victim)
            .await
            .unwrap_or_else(|error| panic!("kill {kill} of seed {seed}: {victim}: {error}"));
    }
    writers.advance(20).await;
    let ledger = writers.finish().await;

    let root = reader(&tree, &paths[0]).await;
    check(&root, &ledger, Some(&readers[0].2)).await;
    for path in &paths[1..] {
        let mut below = ledger.clone();
        below.patients.retain(|key, _| path.contains(&key.0));
        below.documents.retain(|key, _| path.contains(&key.0));
        check(&reader(&tree, path).await, &below, None).await;
    }
    println!(
        "{} patients and {} documents acknowledged over {kills} kills; all held",
        ledger.patients.len(),
        ledger.documents.len()
    );
    tree.stop_all().await.expect("all stop");
}
