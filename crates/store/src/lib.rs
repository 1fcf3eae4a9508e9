//! The log, its index, keys, the writer and feeds.
