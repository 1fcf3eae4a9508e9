//! The desk: what it drafts for registrations that come, change and go, and that it needs nothing but the log for it.
