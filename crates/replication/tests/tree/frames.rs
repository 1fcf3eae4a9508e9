//! Sessions that meet: the same child twice, and hostile senders frame by frame.
