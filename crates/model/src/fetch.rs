//! Records that a neighbour gives by their keys. The call itself is in `proto/tiermesh/v1/feed.proto`.

use crate::Record;

/// Most keys of one request.
pub const MAX_KEYS: usize = 256;
/// Most bytes of the records of one reply, unless one record alone has more.
pub const MAX_BYTES: usize = 4 * 1024 * 1024;

/// What a neighbour gives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fetched {
    /// In the order of the keys asked for; what it has not (or may not give) is left out.
    pub records: Vec<Record>,
    /// It has more than fits into a reply: ask again for what is missing.
    pub incomplete: bool,
}
