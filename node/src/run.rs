//! `tiermesh run`: build, bind, run, drain.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use exchange::{Exchange, ExchangeError, ScrubSettings};
use model::body::SigningKeyEntry;
use rpc::Drain;
use store::Store;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use crate::build::{Built, StartError, build};
use crate::commands::{FAILED, fail};
use crate::config::Config;
use crate::{local, logging};

/// How often a node that started on a full disk looks for room.
const ROOM_EVERY: Duration = Duration::from_secs(5);

/// Runs a node until SIGTERM or Ctrl-C, then lets calls end for at most 10 s.
#[derive(Debug, clap::Args)]
pub struct Run {
    #[arg(long, default_value = "node.toml")]
    config: PathBuf,
    /// Stops when standard input closes: for a program that starts nodes and must not leave them behind.
    #[arg(long)]
    stop_with_stdin: bool,
}

pub fn run(args: &Run, protocols: &[u32]) -> ExitCode {
    let config = match Config::load(&args.config) {
        Ok(config) => Config { protocols: protocols.to_vec(), ..config },
        Err(error) => return fail(&error, cli::Exit::Usage as u8),
    };
    logging::start(&config);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error, FAILED),
    };
    let ended = runtime.block_on(serve(&config, args.stop_with_stdin));
    // Standard input is read by a thread that nothing can interrupt.
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, FAILED),
    }
}

/// How a life of the node ended.
enum Ended {
    Stopped,
    /// The index cannot be believed any more: it is made again by opening the store anew.
    IndexFailed,
}

/// Most times in a row that a node opens its store anew because the index failed soon after.
const MAX_REOPENED: u32 = 3;
/// An index that was good for so long does not count as failing again and again.
const SOON: Duration = Duration::from_secs(3600);

async fn serve(config: &Config, stop_with_stdin: bool) -> Result<(), StartError> {
    let listen = |source| StartError::Listen { address: config.listen, source };
    // Before the store is opened: a second copy of a node fails here without touching the data.
    let socket = std::net::TcpListener::bind(config.listen).map_err(listen)?;
    socket.set_nonblocking(true).map_err(listen)?;
    let mut stop = pin!(stop_signal(stop_with_stdin));
    let mut reopened = 0;
    loop {
        let began = Instant::now();
        let again = socket.try_clone().and_then(TcpListener::from_std).map_err(listen)?;
        match live(config, again, stop.as_mut(), reopened == 0).await? {
            Ended::Stopped => return Ok(()),
            Ended::IndexFailed if began.elapsed() > SOON => reopened = 1,
            Ended::IndexFailed => reopened += 1,
        }
        if reopened > MAX_REOPENED {
            return Err(StartError::IndexFails(config.data_dir.clone()));
        }
        tracing::error!("the index failed: opening the store anew, to make it again from the log");
    }
}

/// From building the node to its end.
async fn live(
    config: &Config,
    socket: TcpListener,
    mut stop: Pin<&mut impl Future<Output = ()>>,
    first: bool,
) -> Result<Ended, StartError> {
    let address =
        socket.local_addr().map_err(|source| StartError::Listen { address: config.listen, source })?;
    let mut built = build(config)?;
    let path = built.identity.path.clone();
    tracing::info!(%path, %address, opened = built.exchange.opened(), "node is up");
    let parent = built.parent.take();
    // A log that ends before the noted epoch is an old backup: its parent may know more of this node.
    let known = built.store.last_epoch().map_or(0, |last| last.counter);
    let set_back = local::last_epoch(&built.identity_dir)?.is_some_and(|noted| noted.counter > known);
    let unknown = known == 0 || set_back || replication::is_restoring(&built.store);
    let waits = parent.is_some() && unknown;
    if !waits && !begin(&built).await? {
        read_only_for_now(&built);
    }
    let may_begin = parent.as_ref().map(|(_, sender)| sender.may_begin());
    if let Some((parent, sender)) = parent {
        parent.start(Some(sender), built.services.clone());
    }
    built.drain.spawn(built.listener.clone().run(socket));
    scrub(config, &built);
    reclaim(config, &built);
    judge(&built);
    end_terms(&built);
    take_over(&built);
    if first {
        announce(&path.to_string(), &address.to_string());
    }
    let store = built.store.clone();
    let mut failed = pin!(store.index_failure());
    if let (true, Some(mut may_begin)) = (waits, may_begin) {
        tokio::select! {
            () = &mut stop => return drain(built).await,
            () = &mut failed => return reopen(built).await,
            welcomed = may_begin.wait_for(Option::is_some) => {
                if welcomed.is_ok() && !begin(&built).await? {
                    read_only_for_now(&built);
                }
            }
        }
    }
    tokio::select! {
        () = &mut stop => drain(built).await,
        () = &mut failed => reopen(built).await,
    }
}

/// Ends this node's terms of institutions that moved, until the node stops.
fn end_terms(built: &Built) {
    let (exchange, drain) = (built.exchange.clone(), built.drain.clone());
    built.drain.spawn(async move {
        tokio::select! {
            () = drain.stopping() => {}
            () = exchange.end_terms() => {}
        }
    });
}

/// Fetches the documents of nodes that this one stands for, until the node stops.
fn take_over(built: &Built) {
    let (exchange, drain) = (built.exchange.clone(), built.drain.clone());
    built.drain.spawn(async move {
        tokio::select! {
            () = drain.stopping() => {}
            () = exchange.take_over() => {}
        }
    });
}

/// Keeps the log whole until the node stops.
fn scrub(config: &Config, built: &Built) {
    const DAY: Duration = Duration::from_secs(86_400);
    let every = (config.scrub_days > 0).then(|| DAY * config.scrub_days as u32);
    let (scrubber, drain) = (built.exchange.scrubber().clone(), built.drain.clone());
    built.drain.spawn(async move {
        tokio::select! {
            () = drain.stopping() => {}
            () = scrubber.run(ScrubSettings { every }) => {}
        }
    });
}

/// Decides which registrations are one person, until the node stops.
fn judge(built: &Built) {
    let (judge, drain) = (built.exchange.judge().clone(), built.drain.clone());
    built.drain.spawn(async move {
        tokio::select! {
            () = drain.stopping() => {}
            () = judge.run() => {}
        }
    });
}

/// Frees the log of superseded records until the node stops.
fn reclaim(config: &Config, built: &Built) {
    if config.reclaim_percent == 0 {
        return;
    }
    let (reclaimer, drain) = (built.exchange.reclaimer().clone(), built.drain.clone());
    built.drain.spawn(async move {
        tokio::select! {
            () = drain.stopping() => {}
            () = reclaimer.run() => {}
        }
    });
}

/// Opens the epoch of this start; false when the disk is full, which is no reason to refuse reading.
async fn begin(built: &Built) -> Result<bool, StartError> {
    let key = built.identity.signing_key_entry();
    match begin_and_note(&built.exchange, key, &built.identity_dir).await {
        Err(StartError::Begin(ExchangeError::Exhausted { .. })) => Ok(false),
        Err(error) => Err(error),
        Ok(()) => Ok(true),
    }
}

/// Opens the epoch and notes it beside the node's origin, for the case that the data is lost.
async fn begin_and_note(exchange: &Exchange, key: SigningKeyEntry, dir: &Path) -> Result<(), StartError> {
    let epoch = exchange.begin(key, local::last_epoch(dir)?).await?;
    if let Err(error) = local::note_epoch(dir, epoch) {
        // It writes all the same: only a loss of all data after this start would need the note.
        tracing::error!(%error, "the epoch cannot be noted in the identity folder: let the node write there");
    }
    Ok(())
}

/// Goes on without writing, and begins to write when there is room.
fn read_only_for_now(built: &Built) {
    tracing::error!("the disk is full: reading only, until there is room");
    let (exchange, key, drain) =
        (built.exchange.clone(), built.identity.signing_key_entry(), built.drain.clone());
    let dir = built.identity_dir.clone();
    built.drain.spawn(async move { begin_when_there_is_room(&exchange, key, &dir, &drain).await });
}

async fn begin_when_there_is_room(exchange: &Exchange, key: SigningKeyEntry, dir: &Path, drain: &Drain) {
    loop {
        tokio::select! {
            () = drain.stopping() => return,
            () = tokio::time::sleep(ROOM_EVERY) => {}
        }
        match begin_and_note(exchange, key.clone(), dir).await {
            Ok(()) => return,
            Err(StartError::Begin(ExchangeError::Exhausted { .. })) => {}
            Err(error) => return tracing::error!(%error, "the node cannot begin to write: restart it"),
        }
    }
}

async fn drain(built: Built) -> Result<Ended, StartError> {
    tracing::info!("stopping: no new calls, those in progress may end");
    end(built).await.close().await?;
    tracing::info!("stopped");
    Ok(Ended::Stopped)
}

/// Lets go of a store whose index failed.
async fn reopen(built: Built) -> Result<Ended, StartError> {
    // It says again that the index failed, which is known.
    if let Err(error) = end(built).await.close().await {
        tracing::warn!(%error, "the store did not close in order");
    }
    Ok(Ended::IndexFailed)
}

/// Ends everything but the store.
async fn end(built: Built) -> Store {
    built.drain.stop();
    built.drain.finished().await;
    let Built { store, exchange, listener, services, .. } = built;
    drop((exchange, listener, services));
    store
}

/// One line for whoever started the node; nothing else is written on standard output.
fn announce(path: &str, address: &str) {
    let mut out = std::io::stdout().lock();
    // Nobody may be reading, which is fine.
    let _ = writeln!(out, "ready {path} {address}").and_then(|()| out.flush());
}

async fn stop_signal(stop_with_stdin: bool) {
    use tokio::signal::unix::{SignalKind, signal};
    let terminate = async {
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => {
                terminate.recv().await;
            }
            Err(error) => {
                tracing::error!(%error, "SIGTERM cannot be watched");
                std::future::pending::<()>().await;
            }
        }
    };
    let closed = async {
        if !stop_with_stdin {
            return std::future::pending().await;
        }
        let mut byte = [0];
        // Whatever comes is ignored; the end and an error both mean that the starter is gone.
        while matches!(tokio::io::stdin().read(&mut byte).await, Ok(n) if n > 0) {}
    };
    tokio::select! {
        () = terminate => {}
        _ = tokio::signal::ctrl_c() => {}
        () = closed => {}
    }
}
