//! Nodes over real mutual TLS on loopback, with throw-away certificates of one mesh: with tiny services where the
//! connections are the matter, with the real use cases in memory where the services are.

mod fixture;
mod handshakes;
mod links;
mod services;
mod streams;
