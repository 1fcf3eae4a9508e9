//! `tiermesh doctor`: the first checks when something does not work. Every line says what was looked at and what to do.

use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use identity::Identity;
use model::Clock;

use crate::commands::{FAILED, fail, print_json};
use crate::config::Config;
use crate::local::{self, Local};
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
    checks.extend(log(&config));
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

/// Whether the data are this node's. Nothing to say of an identity folder that cannot be read: that is said of the keys.
fn log(config: &Config) -> Option<Check> {
    let identity = Identity::load(&config.identity_dir).ok()?;
    let origin = Local::origin(&config.identity_dir, &identity).ok()?;
    let folder = config.data_dir.join("log");
    Some(match store::log_owner(&folder) {
        Ok(None) => match local::last_epoch(&config.identity_dir) {
            Ok(Some(epoch)) => look(
                "log",
                format!(
                    "there is none, but this node has begun {} epochs: if its data folder is not lost, node.data_dir names another one; else its neighbours bring the records back at the start",
                    epoch.counter
                ),
            ),
            _ => good("log", "none yet: the first start makes it".into()),
        },
        Ok(Some(owner)) if owner == origin => good("log", format!("is of this node, origin {origin}")),
        Ok(Some(owner)) => bad(
            "log",
            format!(
                "is of origin {owner}, but the identity folder is of origin {origin}: node.data_dir is another node's, or the identity folder was replaced; bring origin.id, lookup.key and last.epoch back from its backup, and start nothing before"
            ),
        ),
        Err(error) => bad(
            "log",
            format!(
                "{} cannot be read: {error}; look at the disk and at who owns the folder",
                folder.display()
            ),
        ),
    })
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use exchange::{TermKey, Terms};
    use identity::ca::{self, Lives};
    use model::SigningKey;

    use super::*;
    use crate::seams::SystemEntropy;

    const NOW_MS: u64 = 1_800_000_000_000;

    /// Makes a log of this origin in the folder.
    fn make_log(folder: &Path, node: model::OriginId) {
        let options = store::Options {
            storage: Arc::new(store::Files::open(folder).unwrap()),
            index: store::IndexChoice::Memory(store::MemoryIndex::default()),
            derivation: Arc::new(Terms::new(TermKey::new([1; 32]))),
            clock: Arc::new(SystemClock),
            boot_id: "test".into(),
            node,
            signing: SigningKey::from_seed(&[1; 32]),
            run: store::Run::Inline,
            limits: store::Limits { reserve_bytes: 0, ..store::Limits::default() },
        };
        store::Store::open(options).unwrap();
    }

    #[test]
    fn a_log_of_another_origin_is_told_with_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        ca::init_root(&at("root"), &"local.test".parse().unwrap(), NOW_MS).unwrap();
        let path = "530000".parse().unwrap();
        ca::issue_node(&at("root"), &path, &[], &at("identity"), &Lives::default(), NOW_MS).unwrap();
        let text = "[node]\nname = \"省\"\ntier = \"province\"\ndata_dir = \"data\"\nidentity_dir = \"identity\"\n[listen]\naddress = \"127.0.0.1:0\"\n";
        let config = Config::parse(text, "node.toml", dir.path(), std::iter::empty()).unwrap();
        let said = || {
            let check = log(&config).unwrap();
            (check.verdict, check.finding)
        };
        assert_eq!(said(), (Verdict::Good, "none yet: the first start makes it".to_owned()));

        let identity = Identity::load(&config.identity_dir).unwrap();
        let foreseen = Local::origin(&config.identity_dir, &identity).unwrap();
        let own = Local::load_or_create(&config.identity_dir, &identity, &SystemEntropy).unwrap();
        assert_eq!(foreseen, own.origin);
        let epoch = store::LastEpoch { counter: 3, id: model::EpochId([1; 16]), base_seq: 0 };
        local::note_epoch(&config.identity_dir, epoch).unwrap();
        let (verdict, finding) = said();
        assert!(verdict == Verdict::Look && finding.contains("has begun 3 epochs"), "{finding}");

        make_log(&at("data/log"), own.origin);
        assert_eq!(said().0, Verdict::Good);
        std::fs::remove_dir_all(at("data")).unwrap();
        make_log(&at("data/log"), model::OriginId([9; 16]));
        let (verdict, finding) = said();
        assert!(verdict == Verdict::Bad && finding.contains("bring origin.id"), "{finding}");
        assert!(finding.contains(&"09".repeat(16)), "{finding}");

        let segment = at("data/log/00000000000000000001.seg");
        std::fs::write(&segment, [0; 200]).unwrap();
        assert!(said().1.contains("segment header checksum"));
    }
}
