//! What a child gets of an institution that has moved into its subtree: everything filed before, ahead of the slice of the log
//! in which the move was decided.
//!
//! The child's position does not move meanwhile. So a session that breaks begins the backfill again, and a child whose position
//! has passed the decision has had all of it.

use std::collections::BTreeSet;

use model::{OriginId, Record};
use store::{FeedReader, FeedSlice, Store};

use super::Course;
use crate::LinkError;
use crate::batch::Place;
use crate::interest::concerns_down;

/// A second look at the log, up to where the feed stands.
#[derive(Debug)]
pub(super) struct Backfill {
    institutions: BTreeSet<OriginId>,
    reader: FeedReader,
    until: u64,
    /// The slice that waits for it.
    then: FeedSlice,
}

impl Backfill {
    pub fn new(store: &Store, institutions: BTreeSet<OriginId>, until: u64, then: FeedSlice) -> Self {
        Self { institutions, reader: store.feed_reader(0), until, then }
    }
}

impl Course<'_> {
    /// Reads the next piece of the backfill; after its last one the slice that waited for it.
    pub(super) async fn read_backfill(&mut self) -> Result<(), LinkError> {
        let Some(mut backfill) = self.backfill.take() else { return Ok(()) };
        let sender = self.sender;
        let directory = sender.directory.snapshot();
        let (after, head) = (self.shipping.sent(), backfill.then.head);
        let most = sender.route.max_records(sender.settings.max_batch_records);
        if backfill.reader.position() < backfill.until {
            let Backfill { institutions, reader, .. } = &mut backfill;
            let takes = |envelope: &model::Envelope| {
                institutions.contains(&envelope.origin) && concerns_down(envelope)
            };
            let slice = reader.next(most, self.max_batch_bytes, &takes)?;
            self.backfill = Some(backfill);
            return self
                .select(
                    slice.records,
                    slice.forgotten,
                    Place { after, upto: after, head, now_ms: 0 },
                    &directory,
                )
                .await;
        }
        let Backfill { institutions, then, .. } = backfill;
        let mut records: Vec<Record> = then.records;
        // Whoever was told of the end of a term before the move was known here has not been told of it.
        for key in institutions.iter().flat_map(|institution| directory.end_keys(institution)) {
            records.extend(sender.store.get(&key)?);
        }
        self.select(records, then.forgotten, Place { after, upto: then.upto, head, now_ms: 0 }, &directory)
            .await
    }
}
