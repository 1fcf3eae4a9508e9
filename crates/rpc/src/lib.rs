//! Thin tonic services, parent and child connections.
