//! What may not wait behind a backlog: shipped ahead of it, in batches that move no position, as a repair is.
//!
//! ```text
//! lane 0   revocations, policies; reports of notifiable diseases            ahead of any backlog
//! lane 1   registrations, links, consents                                    ahead of documents, on a thin line only:
//! lane 2   everything else                                                   elsewhere looking ahead costs more than it gives
//! ```
//! Directory records keep their turn, but for what is needed to judge what goes ahead: the end of an institution's term says that
//! everything before it has come. A second reader goes ahead through the log. What it shipped is left out when its turn comes; if that was forgotten, the
//! receiver counts a repeat. A down feed sends ahead only what is for everybody: who else is told is decided in order.

use std::collections::HashSet;

use model::body::DocumentEntry;
use model::{Envelope, Flow, KeyId, Record, RecordKey, Version};
use store::{FeedReader, ReadError, Store};

/// Commits behind which looking ahead begins.
const FAR_BEHIND: u64 = 1024;
/// Most records remembered as shipped ahead; past it nothing more goes ahead until the backlog is gone.
const MAX_AHEAD: usize = 64 * 1024;
/// Most records and bytes of one look.
const MAX_RECORDS: usize = 500;
const MAX_BYTES: usize = 256 * 1024;
/// Report of a notifiable disease (WS/T 483.10-2016).
const NOTIFIABLE: &str = "HSDB03.02";

/// The lanes of one feed's backlog.
#[derive(Debug, Default)]
pub(super) struct Express {
    reader: Option<FeedReader>,
    ahead: HashSet<(RecordKey, Version)>,
}

/// What goes ahead in a feed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lanes {
    /// Records that concern only some go ahead too.
    pub of_persons: bool,
    /// Lane 1 as well.
    pub thin: bool,
}

impl Lanes {
    /// Whether a class may hold something that goes ahead.
    fn may(self, flow: Option<Flow>) -> bool {
        match flow {
            Some(Flow::Revocation | Flow::Policy) => true,
            Some(Flow::DocumentEntry) => self.of_persons,
            Some(Flow::Registration | Flow::Link | Flow::Consent) => self.of_persons && self.thin,
            _ => false,
        }
    }
}

/// Whether a record of such a class is one that goes ahead: of documents only the notifiable ones.
fn goes_ahead(record: &Record) -> bool {
    let envelope = record.envelope();
    if envelope.known_flow() == Some(Flow::DocumentEntry) {
        let entry = record.decode_body::<DocumentEntry>();
        return !envelope.tombstone && entry.is_ok_and(|entry| entry.type_code == NOTIFIABLE);
    }
    true
}

impl Express {
    /// Whether a record went ahead, so that it need not go again.
    pub fn went(&self, envelope: &Envelope) -> bool {
        !self.ahead.is_empty() && self.ahead.contains(&(envelope.key(), envelope.version))
    }

    /// The next records that go ahead of a backlog after `sent`, among those that the feed takes. A call looks at a piece of the
    /// backlog only; none may mean that there are some further on.
    pub fn next(
        &mut self,
        store: &Store,
        (sent, head): (u64, u64),
        lanes: Lanes,
        takes: &dyn Fn(&Envelope) -> bool,
        may: &dyn Fn(&KeyId, u32) -> bool,
    ) -> Result<Vec<Record>, ReadError> {
        if sent >= head {
            *self = Self::default();
        }
        if head.saturating_sub(sent) < FAR_BEHIND || self.ahead.len() >= MAX_AHEAD {
            return Ok(Vec::new());
        }
        let reader = match &mut self.reader {
            Some(reader) if reader.position() >= sent => reader,
            reader => reader.insert(store.feed_reader(sent)),
        };
        let ahead = |envelope: &Envelope| lanes.may(envelope.known_flow()) && takes(envelope);
        let slice = reader.next_of(MAX_RECORDS, MAX_BYTES, &ahead, may)?;
        let records: Vec<Record> = slice.records.into_iter().filter(goes_ahead).collect();
        self.ahead.extend(records.iter().map(|record| (record.key(), record.envelope().version)));
        Ok(records)
    }
}
