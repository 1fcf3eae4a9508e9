//! The seams of a simulated node: clock, randomness and network.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use model::{Clock, Entropy};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use rpc::net::{BoxIo, Dial, Listen};
use turmoil::net::{TcpListener, TcpStream};

use super::mesh::START_MS;

/// Where every simulated node listens.
pub const PORT: u16 = 7000;

/// Time since the simulation began, in milliseconds, for all nodes.
#[derive(Debug, Clone, Default)]
pub struct Elapsed(Arc<AtomicU64>);

impl Elapsed {
    pub fn ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub fn set(&self, ms: u64) {
        self.0.store(ms, Ordering::Relaxed);
    }
}

/// A node's wall clock: wrong by as much as it is told.
#[derive(Debug, Clone, Default)]
pub struct SkewedClock {
    elapsed: Elapsed,
    skew_ms: Arc<AtomicI64>,
}

impl SkewedClock {
    pub fn new(elapsed: Elapsed) -> Self {
        Self { elapsed, skew_ms: Arc::default() }
    }

    pub fn set_skew(&self, skew_ms: i64) {
        self.skew_ms.store(skew_ms, Ordering::Relaxed);
    }
}

impl Clock for SkewedClock {
    fn now_ms(&self) -> u64 {
        (START_MS + self.elapsed.ms()).saturating_add_signed(self.skew_ms.load(Ordering::Relaxed))
    }
}

/// Randomness that follows from a seed.
#[derive(Debug)]
pub struct SeededEntropy(Mutex<StdRng>);

impl SeededEntropy {
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(StdRng::seed_from_u64(seed)))
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        self.0.lock().fill_bytes(bytes);
    }
}

/// Dials over the simulated network.
#[derive(Debug, Clone, Copy)]
pub struct SimulatedDial;

#[async_trait::async_trait]
impl Dial for SimulatedDial {
    async fn dial(&self, address: &str) -> io::Result<BoxIo> {
        Ok(Box::new(TcpStream::connect(address).await?))
    }
}

/// Listens on the simulated network.
pub struct SimulatedListener(TcpListener);

impl SimulatedListener {
    /// On [`PORT`] of the current host.
    pub async fn bind() -> io::Result<Self> {
        Ok(Self(TcpListener::bind(("0.0.0.0", PORT)).await?))
    }
}

#[async_trait::async_trait]
impl Listen for SimulatedListener {
    async fn accept(&mut self) -> io::Result<(BoxIo, SocketAddr)> {
        let (stream, from) = self.0.accept().await?;
        Ok((Box::new(stream), from))
    }
}
