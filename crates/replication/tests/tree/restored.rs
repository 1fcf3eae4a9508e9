//! When a node that waits for its records greets its parent again.

use std::sync::Arc;

use model::Clock;
use store::{Apply, Direction, FeedId, FeedPosition};

use crate::node::{Machine, TestClock, door};
use crate::played::run;

#[test]
fn the_end_of_a_restore_is_told_and_nothing_else_is() {
    run(async {
        let clock: Arc<dyn Clock> = Arc::new(TestClock::new());
        let dali = Machine::new("530000/532900", 2).start(&clock, &door());
        let sender = dali.sender.clone();
        let mut restored = tokio::spawn(async move { sender.restored().await });
        let feed = FeedId { peer: Machine::new("530000", 1).origin, direction: Direction::Restore };
        let reach = async |generation: [u8; 16], position| {
            let position = Some((feed, FeedPosition { generation, position }));
            dali.store.apply(Apply { position, ..Apply::default() }).await.unwrap();
        };
        reach([1; 16], 7).await;
        // What comes back tells of the node's last epoch before all is back.
        dali.begin(2).await;
        tokio::task::yield_now().await;
        assert!(!restored.is_finished(), "in the middle of it");
        reach([0xFF; 16], u64::MAX).await;
        (&mut restored).await.unwrap();
        let sender = dali.sender.clone();
        let again = tokio::spawn(async move { sender.restored().await });
        tokio::task::yield_now().await;
        assert!(!again.is_finished(), "there is none any more: the feed would be tried without a pause");
        again.abort();
    });
}
