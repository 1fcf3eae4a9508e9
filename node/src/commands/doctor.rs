//! `tiermesh doctor`: the first checks when something does not work. Every line says what was looked at and what to do.

use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use identity::Identity;
use model::Clock;

use crate::commands::{FAILED, fail, print_json};
use crate::config::Config;
use crate::local::Local;
use crate::seams::SystemClock;

/// Free room under which the disk is called short, in MiB.
const SHORT_MIB: u64 = 1024;

/// Checks configuration, keys, clock, ports, disk and the way to the parent.
#[derive(Debug, clap::Args)]
pub struct Doctor {
    #[arg(long, default_value = "node.toml")]
    config: PathBuf,
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Good,
    Look,
    Bad,
}

struct Check {
    what: &'static str,
    verdict: Verdict,
    finding: String,
}

pub fn run(args: &Doctor) -> ExitCode {
    let config = match Config::load(&args.config) {
        Ok(config) => config,
        Err(error) => return fail(&error, cli::Exit::Usage as u8),
    };
    let mut checks = vec![good("config", format!("{} is read and valid", args.config.display()))];
    checks.extend(keys(&config));
    checks.push(clock());
    checks.push(data_dir(&config.data_dir));
    checks.push(disk(&config.data_dir));
    checks.push(port(&config));
    checks.extend(parent(&config));
    let worst = checks.iter().any(|check| check.verdict == Verdict::Bad);
    if args.json {
        let list: Vec<_> = checks
            .iter()
            .map(|check| serde_json::json!({ "check": check.what, "verdict": word(check.verdict), "finding": check.finding }))
            .collect();
        print_json(&serde_json::json!({ "checks": list, "ok": !worst }));
    } else {
        for check in &checks {
            println!("{:<4}  {:<9} {}", word(check.verdict), check.what, check.finding);
        }
    }
    if worst { ExitCode::from(FAILED) } else { ExitCode::SUCCESS }
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Good => "ok",
        Verdict::Look => "look",
        Verdict::Bad => "bad",
    }
}

fn good(what: &'static str, finding: String) -> Check {
    Check { what, verdict: Verdict::Good, finding }
}

fn look(what: &'static str, finding: String) -> Check {
    Check { what, verdict: Verdict::Look, finding }
}

fn bad(what: &'static str, finding: String) -> Check {
    Check { what, verdict: Verdict::Bad, finding }
}

fn keys(config: &Config) -> Vec<Check> {
    let identity = match Identity::load(&config.identity_dir) {
        Ok(identity) => identity,
        Err(error) => return vec![bad("keys", error.to_string())],
    };
    let mut checks = vec![good("keys", format!("{} in {}", identity.path, identity.trust_domain))];
    let left_ms = identity.not_after_ms() as i64 - SystemClock.now_ms() as i64;
    let days = left_ms / 86_400_000;
    checks.push(match days {
        _ if left_ms <= 0 => bad(
            "validity",
            "the node's certificate has ended: have the node above issue a new one (tiermesh ca issue node)"
                .into(),
        ),
        ..30 => look(
            "validity",
            format!("the node's certificate ends in {days} days: have the node above issue a new one"),
        ),
        _ => good("validity", format!("the node's certificate is good for {days} days")),
    });
    if let Err(error) = Local::check(&config.identity_dir) {
        checks.push(bad("keys", error.to_string()));
    }
    match (identity.path.depth(), &config.parent) {
        (0, Some(_)) => checks.push(bad("place", "the certificate makes this node a root, but the configuration names a parent: remove [parent]".into())),
        (1.., None) => checks.push(bad("place", "the certificate puts this node under a parent, but the configuration names none: add [parent] address".into())),
        _ => {}
    }
    checks
}

fn clock() -> Check {
    // The year this release was made: an earlier clock is wrong, whatever else is.
    const RELEASED_MS: u64 = 1_767_225_600_000;
    let now = SystemClock.now_ms();
    if now < RELEASED_MS {
        return bad(
            "clock",
            "the clock is behind this release: set it (chrony or timedatectl), certificates will be refused"
                .into(),
        );
    }
    good("clock", "plausible; `tiermesh status` shows the offset to the parent".into())
}

fn data_dir(dir: &Path) -> Check {
    let probe = dir.join(".doctor");
    match std::fs::write(&probe, b"").and_then(|()| std::fs::remove_file(&probe)) {
        Ok(()) => good("data", format!("{} can be written", dir.display())),
        Err(error) => bad(
            "data",
            format!(
                "{} cannot be written: {error}; make it and give it to the user of the service",
                dir.display()
            ),
        ),
    }
}

fn disk(dir: &Path) -> Check {
    match free_bytes(dir) {
        Ok(free) if free / 1024 / 1024 < SHORT_MIB => {
            look("disk", format!("only {} MiB free", free / 1024 / 1024))
        }
        Ok(free) => good("disk", format!("{} MiB free", free / 1024 / 1024)),
        Err(error) => look("disk", format!("free room unknown: {error}")),
    }
}

fn port(config: &Config) -> Check {
    match TcpListener::bind(config.listen) {
        Ok(_) => good("port", format!("{} is free", config.listen)),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => look(
            "port",
            format!(
                "{} is taken: by this node if it is running; otherwise choose another listen.address",
                config.listen
            ),
        ),
        Err(error) => bad("port", format!("cannot listen on {}: {error}", config.listen)),
    }
}

fn parent(config: &Config) -> Option<Check> {
    let address = config.parent.as_ref()?;
    let addresses = match address.to_socket_addrs() {
        Ok(addresses) => addresses,
        Err(error) => {
            return Some(bad(
                "parent",
                format!("{address} cannot be resolved: {error}; check parent.address and DNS"),
            ));
        }
    };
    let mut last = None;
    for candidate in addresses {
        match TcpStream::connect_timeout(&candidate, Duration::from_secs(5)) {
            Ok(_) => return Some(good("parent", format!("{address} accepts connections"))),
            Err(error) => last = Some(error),
        }
    }
    let reason = last.map_or_else(|| "no address".to_owned(), |error| error.to_string());
    Some(bad(
        "parent",
        format!(
            "{address} cannot be reached: {reason}; check the line, the firewall and that the parent runs"
        ),
    ))
}

fn free_bytes(dir: &Path) -> Result<u64, nix::Error> {
    let room = nix::sys::statvfs::statvfs(dir)?;
    Ok(room.blocks_available() * room.fragment_size())
}
