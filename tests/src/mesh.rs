//! A province of two counties as real processes, and a person who is known in both.

use std::path::PathBuf;

use cli::client::Client;
use demo::tree::{LocalTree, Plan, Settings};
use model::NodePath;
use model::body::{DocumentEntry, Identifier, Registration};
use tempfile::TempDir;

/// A province, two prefectures and a county in each.
#[derive(Debug)]
pub struct Mesh {
    pub tree: LocalTree,
    /// A county.
    pub here: NodePath,
    /// A county of the other prefecture.
    pub there: NodePath,
    _folder: TempDir,
}

impl Mesh {
    /// Starts the nodes from this binary and waits until all of them write.
    pub async fn start(executable: &str) -> Self {
        Self::start_with(executable, &[]).await
    }

    /// The same with more nodes: paths and tiers, a parent before its children.
    pub async fn start_with(executable: &str, more: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let plan = |(path, tier): &(&str, &str)| Plan {
            path: path.parse().expect("a path"),
            name: "测试".into(),
            tier: (*tier).into(),
        };
        let plans = [
            ("530000", "province"),
            ("530000/530100", "prefecture"),
            ("530000/532900", "prefecture"),
            ("530000/530100/530102", "county"),
            ("530000/532900/532901", "county"),
        ];
        let settings = Settings {
            executable: PathBuf::from(executable),
            dir: folder.path().into(),
            store: "cache_mib = 4".into(),
        };
        let mut tree =
            LocalTree::create(settings, plans.iter().chain(more).map(plan).collect()).expect("certificates");
        tree.start_all(|_| ()).await.expect("the tree starts");
        for node in tree.paths() {
            let operator = tree.operator(&node).await.expect("an operator");
            while !operator.status().await.expect("status").writing {
                tokio::task::yield_now().await;
            }
        }
        let path = |text: &str| text.parse().expect("a path");
        Self {
            tree,
            here: path("530000/532900/532901"),
            there: path("530000/530100/530102"),
            _folder: folder,
        }
    }

    /// A hospital that files with this node.
    pub async fn hospital(&self, node: &NodePath) -> Client {
        let code = demo::synth::social_credit_code(node.region(), "M1");
        let credentials = self.tree.institution(node, &code).expect("a certificate");
        self.tree.connect(node, &credentials).await.expect("a connection")
    }

    pub async fn stop(mut self) {
        self.tree.stop_all().await.expect("all stop");
    }
}

/// The person who has this resident ID, registered.
pub fn patient(local_id: &str, resident_id: &str) -> Registration {
    // Another ID is another person: another name, and the birth date that the ID tells.
    let digits: String = resident_id.chars().filter(|c| !c.is_whitespace()).collect();
    let name = match digits.as_bytes().last() {
        Some(b'0') => "和丽萍",
        Some(b'1'..=b'5') => "李国强",
        _ => "段·金花",
    };
    Registration {
        local_id: local_id.into(),
        name: name.into(),
        sex: "2".into(),
        birth_date: format!("{}-{}-{}", &digits[6..10], &digits[10..12], &digits[12..14]),
        identifiers: vec![identifier(resident_id)],
        ..Default::default()
    }
}

/// A resident ID as an identifier.
pub fn identifier(resident_id: &str) -> Identifier {
    Identifier { r#type: "01".into(), value: resident_id.into(), assigner: String::new() }
}

/// A laboratory report of a patient.
pub fn document(document_id: &str, local_id: &str) -> DocumentEntry {
    DocumentEntry {
        document_id: document_id.into(),
        local_id: local_id.into(),
        type_code: "C0007".into(),
        title: "检验报告".into(),
        created_ms: 1_780_000_000_000,
        confidentiality: "N".into(),
        media_type: "text/plain".into(),
        ..Default::default()
    }
}
