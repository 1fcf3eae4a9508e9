//! `document get`: resumed, restarted, checked.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use super::commands::{Ended, run};
use super::node::TestNode;
use super::replies::{KEY, content};
use crate::Exit;

struct Place {
    out: PathBuf,
    part: PathBuf,
}

fn place(node: &TestNode) -> Place {
    Place { out: node.dir().join("报告.pdf"), part: node.dir().join("报告.pdf.part") }
}

async fn get(node: &TestNode, more: &str) -> Ended {
    let out = place(node).out;
    run(node, &format!("document get {KEY}@530000/532900 --out {} {more}", out.display())).await
}

#[tokio::test]
async fn a_whole_document() {
    let node = TestNode::start().await;
    let place = place(&node);
    let ended = get(&node, "").await;
    assert_eq!((ended.exit, ended.messages.as_str()), (Exit::Ok, ""), "{ended:?}");
    assert!(ended.data.ends_with("报告.pdf: 700 kB, hash checked\n"), "{ended:?}");
    assert!(fs::read(&place.out).unwrap() == content());
    assert_eq!(fs::metadata(&place.out).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!place.part.exists());
}

#[tokio::test]
async fn a_broken_download_goes_on_where_it_stopped() {
    let node = TestNode::start().await;
    let place = place(&node);
    node.behaviour.break_after.store(400_000, Ordering::Relaxed);
    let broken = get(&node, "").await;
    assert_eq!(broken.exit, Exit::Unavailable, "{broken:?}");
    assert!(broken.messages.starts_with("note: 400 kB are in"), "{broken:?}");
    assert!(!place.out.exists());
    assert_eq!(fs::metadata(&place.part).unwrap().len(), 400_000);

    let resumed = get(&node, "--json").await.json();
    assert_eq!((resumed["resumed_at"].as_u64(), resumed["bytes"].as_u64()), (Some(400_000), Some(700_001)));
    assert_eq!((&resumed["checked"], &resumed["entry"]["document_id"]), (&true.into(), &"D1".into()));
    assert!(fs::read(&place.out).unwrap() == content() && !place.part.exists());
    assert_eq!(*node.behaviour.offsets.lock().unwrap(), [0, 400_000]);
}

#[tokio::test]
async fn what_another_document_left_is_not_kept() {
    for left in [100_000, 700_001, 900_000] {
        let node = TestNode::start().await;
        let place = place(&node);
        fs::write(&place.part, vec![9; left]).unwrap();
        let ended = get(&node, "").await;
        assert_eq!(ended.exit, Exit::Ok, "{left}: {ended:?}");
        assert!(fs::read(&place.out).unwrap() == content(), "{left}");
        assert_eq!(*node.behaviour.offsets.lock().unwrap(), [left as u64, 0]);
    }
}

#[tokio::test]
async fn damaged_content_is_not_delivered() {
    let node = TestNode::start().await;
    let place = place(&node);
    node.behaviour.corrupt.store(true, Ordering::Relaxed);
    let ended = get(&node, "").await;
    assert_eq!(ended.exit, Exit::DataLoss, "{ended:?}");
    assert!(!place.out.exists());
    // The next attempt does not build on it.
    node.behaviour.corrupt.store(false, Ordering::Relaxed);
    assert_eq!(get(&node, "").await.exit, Exit::Ok);
    assert!(fs::read(&place.out).unwrap() == content());
}

#[tokio::test]
async fn a_file_is_replaced_only_by_force() {
    let node = TestNode::start().await;
    let place = place(&node);
    fs::write(&place.out, "mine").unwrap();
    assert_eq!(get(&node, "").await.exit, Exit::Usage);
    assert_eq!(fs::read(&place.out).unwrap(), b"mine");
    assert_eq!(get(&node, "--force").await.exit, Exit::Ok);
    assert!(fs::read(&place.out).unwrap() == content());
}

#[tokio::test]
async fn no_part_file_is_left_where_nothing_came() {
    let node = TestNode::start().await;
    let place = place(&node);
    let ended = get(&node, "--node-path 530000/532900").await;
    assert_eq!(ended.exit, Exit::Denied, "{ended:?}");
    assert!(!place.part.exists() && !place.out.exists());
}
