//! Synthetic population, a local tree of child processes, loads.
