//! Golden text.
