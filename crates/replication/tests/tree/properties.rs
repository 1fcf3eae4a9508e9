//! Random histories of a tree, with an oracle.
