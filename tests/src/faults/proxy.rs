//! A line that can be cut, frozen, slowed and made to lie, between a child and its parent.
//!
//! ```text
//! child ──▶ accept ── read ──▶ queue (bounded) ── rate, delay, hold, corrupt ──▶ write ──▶ parent
//!                                                                      (and the same back)
//! ```
//!
//! Both connections of a link share the rate. A full queue stops reading, so that the sender feels the line as TCP lets it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Bytes read at once: small, so that a slow line is shared fairly by its connections.
const CHUNK: usize = 4096;
/// Chunks on the way; a full queue stops reading. Few, so that a slow line delays by its rate and not by what waits here.
const QUEUE: usize = 4;
/// Receive buffer of the proxy's sockets, asked for. What waits here is not seen by the sender's flow control.
const SOCKET_BYTES: u32 = 16 * 1024;

/// Bytes that are corrupted together. More than a TLS record's header: its version byte means nothing and need not be
/// checked (RFC 8446, 5.1: `legacy_record_version` is ignored for all purposes), so that one turned bit can do no harm.
const BURST: usize = 8;

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the child to the parent.
    Up,
    Down,
}

/// What the line does to everything on it.
#[derive(Debug, Clone, Copy, Default)]
struct Weather {
    /// Bytes a second each way; none: as fast as it goes.
    rate: Option<u64>,
    delay: Duration,
    /// Nothing passes, and nobody is told.
    held: bool,
    /// Connections made before this count are cut.
    cuts: u64,
}

/// One way of the line, shared by its connections.
#[derive(Debug, Default)]
struct Way {
    bytes: AtomicU64,
    /// When the line is free again.
    free_at: Mutex<Option<Instant>>,
    /// A bit of each of some bytes is turned, so many bytes from now.
    corrupt_in: Mutex<Option<u64>>,
}

#[derive(Debug)]
struct Shared {
    weather: watch::Sender<Weather>,
    up: Way,
    down: Way,
    connections: AtomicU64,
    corrupted: AtomicU64,
    /// Connections that an end closed after corrupted bytes had been passed over them.
    ended_corrupted: watch::Sender<u64>,
}

/// A line to one address. Dropping it cuts everything.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    /// Listens on a port of the system's choice and passes everything on to `target`.
    pub fn start(target: String) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(SOCKET_BYTES)?;
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let listener = socket.listen(64)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            weather: watch::Sender::default(),
            up: Way::default(),
            down: Way::default(),
            connections: AtomicU64::new(0),
            corrupted: AtomicU64::new(0),
            ended_corrupted: watch::Sender::default(),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, target, shared.clone()));
        Ok(Self { address, shared, _tasks: tasks })
    }

    /// Where it listens.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Ends every connection that stands now.
    pub fn cut(&self) {
        self.shared.weather.send_modify(|weather| weather.cuts += 1);
    }

    /// Nothing passes any more and no connection ends, as behind a dead router; or everything again.
    pub fn hold(&self, held: bool) {
        self.shared.weather.send_modify(|weather| weather.held = held);
    }

    /// Bytes a second each way, from now on.
    pub fn set_rate(&self, rate: Option<u64>) {
        self.shared.weather.send_modify(|weather| weather.rate = rate);
    }

    /// How much later each byte arrives, from now on.
    pub fn set_delay(&self, delay: Duration) {
        self.shared.weather.send_modify(|weather| weather.delay = delay);
    }

    /// Turns one bit in each of [`BURST`] bytes, about so many bytes from now.
    pub fn corrupt(&self, direction: Direction, after_bytes: u64) {
        *self.shared.way(direction).corrupt_in.lock() = Some(after_bytes);
    }

    /// Bytes passed so far.
    pub fn bytes(&self, direction: Direction) -> u64 {
        self.shared.way(direction).bytes.load(Ordering::SeqCst)
    }

    /// Connections made so far.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Bursts corrupted so far.
    pub fn corrupted(&self) -> u64 {
        self.shared.corrupted.load(Ordering::SeqCst)
    }

    /// Watches how many connections an end has closed after corrupted bytes.
    pub fn ended_corrupted(&self) -> watch::Receiver<u64> {
        self.shared.ended_corrupted.subscribe()
    }
}

impl Shared {
    fn way(&self, direction: Direction) -> &Way {
        match direction {
            Direction::Up => &self.up,
            Direction::Down => &self.down,
        }
    }
}

async fn accept(listener: TcpListener, target: String, shared: Arc<Shared>) {
    // Dropped with this task, which ends the connections.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((child, _)) => {
                    shared.connections.fetch_add(1, Ordering::SeqCst);
                    connections.spawn(line(child, target.clone(), shared.clone()));
                }
                Err(error) => panic!("the proxy cannot accept: {error}"),
            },
            Some(ended) = connections.join_next() => ended.expect("a line does not panic"),
        }
    }
}

/// One connection, until an end closes it or it is cut.
async fn line(child: TcpStream, target: String, shared: Arc<Shared>) {
    let mut weather = shared.weather.subscribe();
    let born = weather.borrow_and_update().cuts;
    let tainted = AtomicU64::new(0);
    let pass = async {
        let parent = connect(&target).await?;
        // Buffers of the line are the queue's: nothing may wait for more bytes to come.
        child.set_nodelay(true)?;
        let (mut from_child, mut to_child) = child.into_split();
        let (mut from_parent, mut to_parent) = parent.into_split();
        tokio::select! {
            ended = pump(&mut from_child, &mut to_parent, Direction::Up, &shared, &tainted) => ended,
            ended = pump(&mut from_parent, &mut to_child, Direction::Down, &shared, &tainted) => ended,
        }
    };
    tokio::select! {
        biased;
        // The sender of the weather lives in what this task shares.
        _ = weather.wait_for(|now| now.cuts > born) => {}
        // An end that is gone is an ordinary end of a line; the other one is dropped with it.
        _ended = pass => {
            let tainted = tainted.load(Ordering::SeqCst);
            shared.ended_corrupted.send_modify(|ended| *ended += tainted);
        }
    }
}

async fn connect(target: &str) -> io::Result<TcpStream> {
    let parent = TcpStream::connect(target).await?;
    parent.set_nodelay(true)?;
    Ok(parent)
}

/// Passes bytes one way until an end closes.
async fn pump(
    from: &mut (impl AsyncReadExt + Unpin),
    to: &mut (impl AsyncWriteExt + Unpin),
    direction: Direction,
    shared: &Shared,
    tainted: &AtomicU64,
) -> io::Result<()> {
    let (queue, mut queued) = mpsc::channel::<(Instant, Bytes)>(QUEUE);
    // Owns the queue's one end, so that the other sees when there is nothing more to read.
    let read = async move {
        loop {
            let mut chunk = vec![0; CHUNK];
            let length = from.read(&mut chunk).await?;
            chunk.truncate(length);
            if length == 0 || queue.send((Instant::now(), chunk.into())).await.is_err() {
                return Ok::<(), io::Error>(());
            }
        }
    };
    let write = async {
        let mut weather = shared.weather.subscribe();
        while let Some((read_at, chunk)) = queued.recv().await {
            let now = *weather.wait_for(|now| !now.held).await.map_err(io::Error::other)?;
            shared.way(direction).pass(now.rate, chunk.len() as u64).await;
            tokio::time::sleep_until(read_at + now.delay).await;
            // It may have been held meanwhile.
            weather.wait_for(|now| !now.held).await.map_err(io::Error::other)?;
            let chunk = shared.taint(direction, chunk, tainted);
            to.write_all(&chunk).await?;
            shared.way(direction).bytes.fetch_add(chunk.len() as u64, Ordering::SeqCst);
        }
        to.shutdown().await
    };
    tokio::try_join!(read, write).map(|_| ())
}

impl Way {
    /// Waits until the line has room for so many bytes.
    async fn pass(&self, rate: Option<u64>, bytes: u64) {
        let Some(rate) = rate else { return };
        let until = {
            let mut free_at = self.free_at.lock();
            let now = Instant::now();
            let start = free_at.map_or(now, |free_at| free_at.max(now));
            let until = start + Duration::from_secs_f64(bytes as f64 / rate as f64);
            *free_at = Some(until);
            until
        };
        tokio::time::sleep_until(until).await;
    }
}

impl Shared {
    fn taint(&self, direction: Direction, chunk: Bytes, tainted: &AtomicU64) -> Bytes {
        let mut corrupt_in = self.way(direction).corrupt_in.lock();
        match *corrupt_in {
            Some(left) if left < chunk.len() as u64 => {
                *corrupt_in = None;
                let mut bytes = chunk.to_vec();
                let first = (left as usize).min(bytes.len().saturating_sub(BURST));
                for byte in bytes.iter_mut().skip(first).take(BURST) {
                    *byte ^= 1 << (left % 8);
                }
                self.corrupted.fetch_add(1, Ordering::SeqCst);
                tainted.fetch_add(1, Ordering::SeqCst);
                bytes.into()
            }
            Some(left) => {
                *corrupt_in = Some(left - chunk.len() as u64);
                chunk
            }
            None => chunk,
        }
    }
}
