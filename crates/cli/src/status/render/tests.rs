//! Golden text of a prefecture's status.

use super::*;

fn link(path: &str, health: v1::Health, reason: &str) -> v1::LinkStatus {
    v1::LinkStatus {
        path: path.into(),
        health: health as i32,
        reason: reason.into(),
        connected: true,
        callable: health != v1::Health::Red,
        position: 90,
        head: if health == v1::Health::Green { 90 } else { 100 },
        applied: 90,
        heard_ms: 999_600,
        clock_offset_ms: -12,
        ..Default::default()
    }
}

fn prefecture() -> v1::NodeStatus {
    v1::NodeStatus {
        path: "530000/532900".into(),
        name: "大理白族自治州".into(),
        tier: "prefecture".into(),
        trust_domain: "tiermesh.example".into(),
        software: "tiermesh 0.1.0".into(),
        now_ms: 1_000_000,
        started_ms: 400_000,
        writing: true,
        epoch: 3,
        store: Some(v1::StoreStatus {
            head: 120,
            log_bytes: 1_200_000,
            record_bytes: 1_000_000,
            index_bytes: 400_000,
            registrations: 1,
            document_entries: 20,
            directory_records: 5,
            index: "sled".into(),
            opened: "replayed 12 commits".into(),
            open_ms: 420,
            scrub_days: 7,
            scrub_passed_ms: 700_000,
            scrub_passes: 1,
            ..Default::default()
        }),
        linker: Some(v1::LinkerStatus {
            judged: 120,
            registrations: 3,
            persons: 2,
            links: 1,
            model: "cn-2026.1".into(),
            ..Default::default()
        }),
        content: Some(v1::ContentStatus { objects: 0, bytes: 0 }),
        parent: Some(link("530000", v1::Health::Green, "")),
        children: vec![
            link("530000/532900/532901", v1::Health::Green, ""),
            link("530000/532900/532922", v1::Health::Red, "not heard for 3 min: 检查网络"),
            link("530000/532900/532923", v1::Health::Amber, "1 quarantined"),
        ],
        ..Default::default()
    }
}

#[test]
fn a_prefecture() {
    let expected = "\
node         530000/532900 大理白族自治州 (prefecture) in tiermesh.example
software     tiermesh 0.1.0, up 10 min, epoch 3, clock 1970-01-01 08:16:40
writing      yes
records      1 registration, 20 document entries, 5 of the directory; 0 quarantined; head 120
persons      2 persons of 3 registrations under this node, 1 link; all judged; model cn-2026.1
store        log 1.2 MB, records 1.0 MB, index 400 kB (sled); opened in 0.4 s: replayed 12 commits
scrub        last full pass 5 min ago; every 7 days
content      0 objects, 0 B
┌────────┬──────────────────────┬────────┬───────────┬────────┬─────────┬─────────────┬──────────────┬───────────┬──────────────┬───────────────────────────────┐
│ end    ┆ path                 ┆ health ┆ link      ┆ behind ┆ applied ┆ quarantined ┆ proven equal ┆ heard     ┆ clock offset ┆ reason                        │
╞════════╪══════════════════════╪════════╪═══════════╪════════╪═════════╪═════════════╪══════════════╪═══════════╪══════════════╪═══════════════════════════════╡
│ parent ┆ 530000               ┆ green  ┆ both ways ┆      0 ┆      90 ┆           0 ┆ not yet      ┆ 0.4 s ago ┆     -0.012 s ┆                               │
│ child  ┆ 530000/532900/532922 ┆ red    ┆ up only   ┆     10 ┆      90 ┆           0 ┆ not yet      ┆ 0.4 s ago ┆     -0.012 s ┆ not heard for 3 min: 检查网络 │
│ child  ┆ 530000/532900/532923 ┆ amber  ┆ both ways ┆     10 ┆      90 ┆           0 ┆ not yet      ┆ 0.4 s ago ┆     -0.012 s ┆ 1 quarantined                 │
│ child  ┆ 530000/532900/532901 ┆ green  ┆ both ways ┆      0 ┆      90 ┆           0 ┆ not yet      ┆ 0.4 s ago ┆     -0.012 s ┆                               │
└────────┴──────────────────────┴────────┴───────────┴────────┴─────────┴─────────────┴──────────────┴───────────┴──────────────┴───────────────────────────────┘
";
    assert_eq!(status(&prefecture(), usize::MAX), expected);
}

#[test]
fn a_cut_list_keeps_the_worst_and_says_what_it_left_out() {
    let text = status(&prefecture(), 3);
    assert!(text.contains("532922") && text.contains("532923") && !text.contains("532901"), "{text}");
    assert!(text.ends_with("and 1 more, all green\n"), "{text}");
    assert!(status(&prefecture(), 2).ends_with("and 2 more, not all green\n"));
}

#[test]
fn what_is_wrong_is_loud() {
    let mut node = prefecture();
    node.writing = false;
    node.not_writing_reason = "waits for its parent".into();
    node.certificate_not_after_ms = 999_999;
    let store = node.store.get_or_insert_default();
    store.disk_full = true;
    store.corrupt = vec!["segment 3 at 4096".into()];
    store.mended = vec!["segment 1 at 64".into()];
    (store.damaged_places, store.repaired_records) = (2, 5);
    (store.damaged_records, store.lost_records) = (3, 1);
    let text = status(&node, 0);
    for wanted in [
        "2 places found, 5 records repaired from neighbours, 3 still damaged, of which 1 NOBODY HAS",
        "mended       segment 1 at 64",
        "NO: waits for its parent",
        "EXPIRED 1970-01-01",
        "DISK FULL",
        "CORRUPT      segment 3 at 4096",
    ] {
        assert!(text.contains(wanted), "{wanted} in {text}");
    }
}

#[test]
fn reclaiming_says_what_it_freed_and_what_holds_it_up() {
    let mut node = prefecture();
    let store = node.store.get_or_insert_default();
    (store.dead_bytes, store.reclaimed_bytes, store.reclaimed_ms) = (2_000_000, 5_000_000, 940_000);
    let text = status(&node, 0);
    let expected = "reclaim      2.0 MB superseded, 5.0 MB freed since the start; last done 60 s ago\n";
    assert!(text.contains(expected), "{text}");
    let store = node.store.get_or_insert_default();
    (store.reclaiming, store.reclaimed_ms, store.reclaim_held_up) = (true, 0, "no room".into());
    let text = status(&node, 0);
    let expected = "rewriting a segment; 2.0 MB superseded, 5.0 MB freed since the start; not done yet since the start; HELD UP: no room\n";
    assert!(text.contains(expected), "{text}");
}

#[test]
fn a_scrub_says_how_far_it_has_come_and_the_node_how_it_is() {
    let mut node = prefecture();
    node.health = v1::Health::Amber.into();
    node.reason = "3 records are damaged".into();
    let store = node.store.get_or_insert_default();
    (store.scrubbing, store.scrubbed_upto, store.scrub_days, store.scrub_passed_ms) = (true, 60, 0, 0);
    let text = status(&node, 0);
    assert!(text.contains("health       AMBER: 3 records are damaged\n"), "{text}");
    let expected = "scrub        reading the log again, up to 60 of 120; no full pass since the start; only when asked for\n";
    assert_eq!(scrub(&node), expected);
    node.health = v1::Health::Green.into();
    assert!(!status(&node, 0).contains("health  "));
}

#[test]
fn a_quarantine_is_pointed_to_where_it_is() {
    let mut node = prefecture();
    assert!(!status(&node, 9).contains('`'));
    node.store.get_or_insert_default().quarantined = 3;
    let text = status(&node, 9);
    assert!(text.contains("; 3 quarantined (`quarantine` says why); head 120\n"), "{text}");
    node.children[2].quarantined = 3;
    let text = status(&node, 9);
    let expected = "there says which and why\n";
    assert!(text.ends_with(expected), "{text}");
    let cut = status(&node, 1);
    assert!(cut.contains(expected) && cut.ends_with("and 3 more, not all green\n"), "{cut}");
}
