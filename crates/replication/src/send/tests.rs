//! The window and the cutting of slices.

use model::Record;
use proptest::prelude::*;

use super::offset_ms;
use super::shipping::{Shipping, cut};
use crate::batch::size_in_batch;
use crate::testing::Writer;

#[test]
fn the_window_opens_as_batches_are_acknowledged() {
    let mut shipping = Shipping::new(10, 2);
    assert!(shipping.is_idle() && shipping.has_room());
    shipping.ship(10);
    shipping.ship(15);
    assert!(!shipping.has_room() && shipping.sent() == 15);
    shipping.acknowledge(10).unwrap();
    assert!(shipping.has_room() && !shipping.is_idle());
    shipping.ship(20);
    // One acknowledgement may cover several batches.
    shipping.acknowledge(20).unwrap();
    assert!(shipping.is_idle());
    shipping.acknowledge(20).unwrap();
    assert!(shipping.acknowledge(19).is_err());
    assert!(shipping.acknowledge(21).is_err());
}

#[test]
fn clocks_are_compared_half_way() {
    assert_eq!((offset_ms(1_050, 1_000, 1_100), offset_ms(900, 1_000, 1_100)), (0, -150));
}

fn records() -> impl Strategy<Value = Vec<Record>> {
    proptest::collection::vec(1..3000usize, 0..40).prop_map(|lengths| {
        let mut writer = Writer::new(1, "530000/532900");
        lengths.into_iter().map(|length| writer.registration("H1", &"x".repeat(length))).collect()
    })
}

proptest! {
    #[test]
    fn parts_are_within_bounds_and_nothing_is_lost(records in records(), max_bytes in 500..5000usize, max_records in 1..10usize) {
        let parts = cut(&records, max_bytes, max_records);
        prop_assert_eq!(&parts.concat(), &records);
        for part in &parts {
            let bytes: usize = part.iter().map(size_in_batch).sum();
            prop_assert!(part.len() <= max_records && (bytes <= max_bytes || part.len() == 1));
        }
        prop_assert!(parts.len() == 1 || parts.iter().all(|part| !part.is_empty()));
    }
}
