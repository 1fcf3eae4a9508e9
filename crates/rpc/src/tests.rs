//! Nodes that serve tiny services over real mutual TLS on loopback, with throw-away certificates of one mesh.

mod fixture;
mod handshakes;
mod links;
mod streams;
