//! The sender's window, and how a slice becomes batches. Decides without I/O.

use std::collections::VecDeque;

use model::Record;
use model::record::{MAX_BODY, MAX_HEADER};

use crate::LinkError;
use crate::batch::size_in_batch;

/// A receiver that takes less cannot take the largest record.
pub(super) const LEAST_BATCH_BYTES: usize = MAX_BODY + MAX_HEADER + 1024;

/// What was shipped and what came back. `acked ≤ in flight ≤ sent`; positions never go back.
#[derive(Debug)]
pub(super) struct Shipping {
    acked: u64,
    sent: u64,
    /// Where each unacknowledged batch ends, in order.
    in_flight: VecDeque<u64>,
    max_in_flight: usize,
}

impl Shipping {
    /// From a position that the receiver has.
    pub fn new(position: u64, max_in_flight: usize) -> Self {
        Self { acked: position, sent: position, in_flight: VecDeque::new(), max_in_flight }
    }

    /// Up to where everything was shipped.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Up to where the receiver has everything.
    pub fn acknowledged(&self) -> u64 {
        self.acked
    }

    /// Whether one more batch may go.
    pub fn has_room(&self) -> bool {
        self.in_flight.len() < self.max_in_flight
    }

    /// Whether everything shipped is acknowledged.
    pub fn is_idle(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// A batch up to here goes.
    pub fn ship(&mut self, upto: u64) {
        debug_assert!(upto >= self.sent && self.has_room());
        self.sent = self.sent.max(upto);
        self.in_flight.push_back(upto);
    }

    /// The receiver has everything up to here. Acknowledging the same position again is allowed: it says "alive".
    pub fn acknowledge(&mut self, position: u64) -> Result<(), LinkError> {
        if position < self.acked {
            return Err(LinkError::Protocol("an acknowledgement went backwards"));
        }
        if position > self.sent {
            return Err(LinkError::Protocol("an acknowledgement of what was not sent"));
        }
        self.acked = position;
        while self.in_flight.front().is_some_and(|upto| *upto <= position) {
            self.in_flight.pop_front();
        }
        Ok(())
    }
}

/// Cuts records into parts within both limits, in their order. There is always one part, which may be empty; a record that
/// is larger than the limit is a part of its own.
pub(super) fn cut(records: &[Record], max_bytes: usize, max_records: usize) -> Vec<&[Record]> {
    let mut parts = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (at, record) in records.iter().enumerate() {
        let size = size_in_batch(record);
        if at > start && (bytes + size > max_bytes || at - start == max_records) {
            parts.push(&records[start..at]);
            (start, bytes) = (at, 0);
        }
        bytes += size;
    }
    parts.push(&records[start..]);
    parts
}
