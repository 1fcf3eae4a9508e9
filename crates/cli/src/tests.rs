//! The client and the commands against a small node on loopback, over real mutual TLS.

mod client;
mod commands;
mod downloads;
mod node;
mod persons;
mod replies;
