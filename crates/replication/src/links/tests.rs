//! Health as a table: every line a state that an operator meets.

use super::*;

const NOW: u64 = 1_000_000;

fn link(change: impl FnOnce(&mut LinkView)) -> LinkView {
    let mut link = LinkView::never("530000/532900".parse().unwrap());
    (link.connected, link.heard_ms, link.progress_ms) = (true, NOW - 1000, NOW - 1000);
    change(&mut link);
    link
}

fn trouble(reason: &str) -> LinkTrouble {
    LinkTrouble { reason: reason.into(), message: "what happened".into(), at_ms: NOW }
}

#[test]
fn the_table() {
    let table = [
        (link(|_| {}), Health::Green, ""),
        (LinkView::never("530000".parse().unwrap()), Health::Red, "never connected"),
        (
            link(|link| (link.connected, link.last_error) = (false, Some(trouble("BROKEN")))),
            Health::Amber,
            "what happened",
        ),
        (
            link(|link| (link.connected, link.last_error) = (false, Some(trouble("NO_CONNECTION")))),
            Health::Amber,
            "connects again by itself",
        ),
        (
            link(|link| (link.connected, link.last_error) = (false, Some(trouble("EPOCH_FENCED")))),
            Health::Red,
            "refused",
        ),
        (
            link(|link| {
                (link.connected, link.heard_ms, link.last_error) = (false, 0, Some(trouble("WRONG_TREE")));
            }),
            Health::Red,
            "refused: what happened",
        ),
        (link(|link| link.heard_ms = NOW - STALL_MS), Health::Red, "nothing heard for 30 s"),
        (link(|link| link.quarantined = 3), Health::Amber, "3 of the quarantined"),
        (link(|link| (link.quarantined, link.settled) = (3, 2)), Health::Amber, "1 of the quarantined"),
        (link(|link| (link.quarantined, link.settled) = (3, 3)), Health::Green, ""),
        (link(|link| (link.position, link.head) = (5, 9)), Health::Green, ""),
        (
            link(|link| (link.position, link.head, link.progress_ms) = (5, 9, NOW - STALL_MS)),
            Health::Red,
            "4 commits behind",
        ),
        (
            link(|link| (link.position, link.head, link.progress_ms) = (9, 9, NOW - STALL_MS)),
            Health::Green,
            "",
        ),
        (link(|link| link.stalled = Some("the disk is full".into())), Health::Amber, "the disk is full"),
        (
            link(|link| {
                link.stalled = Some("the disk is full".into());
                (link.heard_ms, link.progress_ms) = (NOW - STALL_MS, NOW - STALL_MS);
            }),
            Health::Red,
            "the disk is full",
        ),
    ];
    for (link, health, says) in table {
        let (found, reason) = link.health(NOW);
        assert_eq!(found, health, "{link:?}: {reason}");
        assert!(reason.contains(says) && reason.is_empty() == (found == Health::Green), "{reason}");
    }
}

#[test]
fn being_caught_up_is_progress() {
    let (links, path) = (Links::new(), "530000/532900".parse().unwrap());
    links.welcomed(&path, 10, 10, -7, 1000);
    links.heard(&path, Some(10), 60_000);
    links.heard(&path, Some(12), 61_000);
    let view = links.view(&path).unwrap();
    assert_eq!(
        (view.behind(), view.progress_ms, view.heard_ms, view.clock_offset_ms),
        (2, 61_000, 61_000, -7)
    );
    links.heard(&path, Some(12), 80_000);
    assert_eq!(links.view(&path).unwrap().progress_ms, 61_000);
    links.moved(&path, 12, Counted { applied: 2, repeated: 1, quarantined: 1 }, 81_000);
    let view = links.view(&path).unwrap();
    assert_eq!((view.behind(), view.progress_ms), (0, 81_000));
    assert_eq!((view.applied, view.repeated, view.quarantined), (2, 1, 1));
}
