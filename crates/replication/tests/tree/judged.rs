//! What nodes above tell of how far they have judged a node's log. The tests are the linkers.

use std::sync::Arc;
use std::time::Duration;

use model::Clock;
use model::feed::FromSender;
use tokio::time::{Instant, sleep};

use crate::node::{Machine, Node, TestClock, door, until};
use crate::played::{Played, run, welcome};
use crate::wire::{Door, NEVER};

/// A province, a prefecture and a county, connected.
async fn three() -> [(Node, Door); 3] {
    let clock: Arc<dyn Clock> = Arc::new(TestClock::new());
    let start = |path: &str, seed| {
        let door = door();
        (Machine::new(path, seed).start(&clock, &door), door)
    };
    let mut nodes = [start("530000", 1), start("530000/532900", 2), start("530000/532900/532901", 3)];
    for (number, (node, _)) in nodes.iter().enumerate() {
        node.begin(number as u64 + 1).await;
    }
    for child in [1, 2] {
        let (path, door) = (nodes[child].0.machine.path.clone(), Arc::clone(&nodes[child].1));
        nodes[child - 1].0.keep_child(path, &door);
        let door = Arc::clone(&nodes[child - 1].1);
        nodes[child].0.keep_link(&door, NEVER);
    }
    nodes
}

/// The node's linker has judged all that is there.
fn judge(node: &Node) {
    node.links.judged().here(Some(node.store.head()));
}

/// Whether those above have judged the end of the node's log, and how long ago they knew no more.
fn covered(node: &Node, position: u64) -> Option<Duration> {
    node.links.judged().covers(&node.machine.path, position, Instant::now())
}

#[test]
fn a_county_hears_how_far_all_above_have_judged_what_it_registered() {
    run(async {
        let [(province, _), (dali, _), (county, _)] = three().await;
        let patient = county.register("H1", "P1", "Duan").await.unwrap();
        let position = county.store.head();
        let there = |node: &Node| node.store.version(&patient.key()).unwrap().is_some();
        until("the province has it", || there(&province) && there(&dali)).await;
        sleep(Duration::from_secs(60)).await;
        assert_eq!(covered(&county, position), None, "no linker has said anything");
        judge(&dali);
        sleep(Duration::from_secs(60)).await;
        assert!(!county.links.judged().above().is_empty(), "the prefecture's word is there");
        assert_eq!(covered(&county, position), None, "the province has not judged it");
        judge(&province);
        until("both have", || covered(&county, position).is_some()).await;
        // At rest it is said again with every head, so that it is as of a moment ago.
        sleep(Duration::from_secs(600)).await;
        assert!(covered(&county, position).unwrap() < Duration::from_secs(30));
        county.register("H1", "P2", "Yang").await.unwrap();
        let position = county.store.head();
        until("all is above", || dali.is_caught_up() && county.is_caught_up()).await;
        judge(&dali);
        sleep(Duration::from_secs(60)).await;
        assert_eq!(covered(&county, position), None, "the province has not judged the second one");
        judge(&province);
        until("it has", || covered(&county, position).is_some()).await;
    });
}

#[test]
fn what_nobody_judges_or_tells_any_more_gets_old() {
    run(async {
        let [(province, _), (mut dali, _), (county, _)] = three().await;
        county.register("H1", "P1", "Duan").await.unwrap();
        let position = county.store.head();
        until("all is above", || dali.is_caught_up() && county.is_caught_up()).await;
        judge(&dali);
        judge(&province);
        until("both have judged it", || covered(&county, position).is_some()).await;
        // The province is cut off: the prefecture still tells what it heard, and since when.
        dali.drop_link();
        province.links.judged().here(None);
        sleep(Duration::from_secs(120)).await;
        let ago = covered(&county, position).expect("what was judged stays judged");
        assert!(ago > Duration::from_secs(100), "{ago:?}");
    });
}

/// The test is the county: what follows must be there first.
#[test]
fn nothing_is_told_before_what_follows_is_acknowledged() {
    run(async {
        let [(_province, _), (dali, _), (mut county, _)] = three().await;
        county.register("H1", "P1", "Duan").await.unwrap();
        until("it is above", || county.is_caught_up()).await;
        // A second down feed, to the test; the county ships as before.
        let path = county.machine.path.clone();
        let mut feed = Played::of(dali.children.down(&path), welcome("530000/532900/532901", 0), 1).await;
        dali.register("H2", "P2", "Duan").await.unwrap();
        judge(&dali);
        let (mut taken, mut heads) = (0, 0);
        while heads < 3 {
            match feed.next().await {
                FromSender::Batch(batch) => taken = batch.upto,
                FromSender::Head(head) => {
                    assert_eq!(head.judged, Vec::new(), "the county has not acknowledged what came");
                    heads += 1;
                    feed.acknowledge(None).await;
                }
                FromSender::Hello(_) => {}
            }
        }
        assert!(taken >= dali.store.head());
        feed.position = taken;
        feed.acknowledge(None).await;
        loop {
            if let FromSender::Head(head) = feed.next().await {
                feed.acknowledge(None).await;
                if let [word] = &head.judged[..] {
                    assert_eq!(word.by, dali.machine.path);
                    assert_eq!(word.position, county.store.head());
                    break;
                }
            }
        }
        feed.shipping.abort();
        county.drop_link();
    });
}
