//! The `tiermesh` binary.
fn main() {}
