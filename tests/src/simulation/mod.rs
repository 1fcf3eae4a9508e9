//! A whole tree in one thread, deterministic: real nodes on a simulated network, with disks that fail and clocks that lie.
//!
//! ```text
//! seed ─▶ Plan (faults), Orders (moves), lies ─▶ run: step the network, let faults happen ─▶ heal ─▶ wait for quiet ─▶ oracle
//!                            │
//!           per node: Seat (disk, index, clock: outlive crashes) ─▶ store, replication, exchange, rpc over TLS
//!                            └─ Hospital ─▶ Exchange; Ledger keeps what was acknowledged
//! ```
//! Everything that decides anything follows from the seed (tokio's own choices in a build with `--cfg tokio_unstable` only); TLS keys,
//! nonces and signatures do not and must not matter, which running a seed twice and comparing the traces shows. Not simulated: the
//! hospitals' own connections.

mod byzantine;
mod disk;
mod down;
mod faults;
mod forgery;
mod homes;
mod hospital;
mod ledger;
mod losses;
mod mends;
mod mesh;
mod moves;
mod node;
mod oracle;
mod panics;
mod persons;
mod run;
mod seams;
mod settling;
mod watch;

pub use panics::run_caught;
pub use run::{Outcome, run};
