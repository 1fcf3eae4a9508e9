//! End-to-end, crash, interoperability and layout tests.
