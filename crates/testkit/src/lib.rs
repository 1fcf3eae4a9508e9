//! A tree in one process, faults, oracles.
