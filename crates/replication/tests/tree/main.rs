//! Trees of nodes in one process: real stores in memory that crash, links that break, time that is simulated.

mod frames;
mod judged;
mod lanes;
mod left;
mod line;
mod mended;
mod newer;
mod node;
mod played;
mod properties;
mod refused;
mod repaired;
mod restored;
mod scripts;
mod wire;
