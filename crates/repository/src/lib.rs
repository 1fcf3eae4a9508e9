//! Document content, addressed by its hash.
