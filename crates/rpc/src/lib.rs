//! gRPC at the edge of a node: listener, services, and the connections to parent and children.
//!
//! ```text
//! TCP ─▶ Listener ─ TLS, both names proven ─┬─ h2 ──────────────────▶ Services ─▶ exchange
//!                                           └─ tiermesh-reverse/1 ──▶ Neighbours (calls to the child)
//! Parent ─ dials ─┬─ h2 ──────────────────▶ Neighbours (calls to the parent), FeedService.Ship
//!                 └─ tiermesh-reverse/1 ──▶ Services (calls from the parent)
//! ```
//!
//! A call passes [`connection`] (limits of HTTP/2), [`deadline`] (its time), one service (`patient`, `document`, `node`,
//! `feed`: identify, convert, call, convert back) and on an error [`error`]. No rules of the mesh are decided here, and
//! nothing here knows the store.
//!
//! What it does not do yet: revocation. A connection ends when the other end's certificate does.

mod backoff;
mod caller;
mod children;
mod client;
mod connection;
pub mod deadline;
mod document;
mod drain;
pub mod error;
mod feed;
mod linkage;
mod listener;
mod neighbours;
pub mod net;
mod node;
mod parent;
mod patient;
mod peers;
mod refusals;
mod server;
mod unreadable;
mod words;

pub use client::{ConnectError, connect};
pub use connection::{Channel, KeepAlive, MAX_MESSAGE, SendError};
pub use drain::Drain;
pub use listener::Listener;
pub use neighbours::Neighbours;
pub use parent::{Parent, ParentConfig, ParentStatus, WayState};
pub use server::Services;
pub use words::words;

#[cfg(test)]
mod tests;
