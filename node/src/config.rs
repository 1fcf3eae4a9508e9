//! The configuration: what is written in the file, and what is used.
//!
//! One TOML file (samples in `deploy/`). Any value can be overridden from the environment as `TIERMESH__SECTION__KEY`
//! (for example `TIERMESH__LISTEN__ADDRESS=0.0.0.0:7400`). An unknown key is an error, in the file and in the environment.
//! Where the node stands and what it is called in the mesh is not configured: its certificate says it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use exchange::Acknowledge;
use serde::Deserialize;

/// Prefix of environment variables that override the file.
pub const ENVIRONMENT_PREFIX: &str = "TIERMESH__";

/// Why there is no usable configuration. Every text is one line and says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error(
        "cannot read the configuration {path}: {source}; name it with --config or make one with `tiermesh init`"
    )]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{place}: {reason}")]
    Malformed { place: String, reason: String },
    #[error("{key} in the configuration: {rule}")]
    Invalid { key: &'static str, rule: String },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    node: RawNode,
    listen: RawListen,
    parent: Option<RawParent>,
    #[serde(default)]
    writes: RawWrites,
    #[serde(default)]
    store: RawStore,
    #[serde(default)]
    content: RawContent,
    #[serde(default)]
    log: RawLog,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawNode {
    name: String,
    tier: String,
    data_dir: PathBuf,
    identity_dir: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawListen {
    address: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawParent {
    address: String,
    line_kbit_s: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawWrites {
    acknowledge: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawStore {
    index: Option<String>,
    cache_mib: Option<u64>,
    segment_mib: Option<u64>,
    overlay_mib: Option<u64>,
    sync_delay_ms: Option<u64>,
    scrub_days: Option<u64>,
    reclaim_percent: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawContent {
    max_mib: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawLog {
    level: Option<String>,
    format: Option<String>,
}

/// Which index the store uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexKind {
    Sled,
    /// Rebuilt from the log at every start.
    Memory,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// The configuration as used: every value present and within its bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Chinese name of the region, shown to people.
    pub name: String,
    /// province, prefecture or county (a label; later also nation).
    pub tier: String,
    /// Log, index and content. One node each.
    pub data_dir: PathBuf,
    /// Certificates and keys, made by `tiermesh ca issue node`; not inside `data_dir`.
    pub identity_dir: PathBuf,
    pub listen: SocketAddr,
    /// host:port of the node above; none at a root.
    pub parent: Option<String>,
    /// What the line to the parent carries each way, in bytes a second; none: no limit is kept. 64 to 10,000,000 kbit/s.
    pub line_bytes_per_s: Option<u64>,
    /// Level of a write whose caller asks for none; default local.
    pub acknowledge: Acknowledge,
    pub index: IndexKind,
    /// Memory for the index's pages; 4 to 4096 MiB, default 32.
    pub cache_bytes: u64,
    /// A log segment is closed at this size; 1 to 1024 MiB, default 64.
    pub segment_bytes: u64,
    /// Memory for what the index has not taken yet; 1 to 1024 MiB, default 32. A full one slows writers down.
    pub overlay_bytes: u64,
    /// Added to every sync of the log, for measuring only; 0 to 1000, default 0.
    pub sync_delay_ms: u64,
    /// All of the log is read again once in so many days; 0 (never) to 365, default 7.
    pub scrub_days: u64,
    /// A closed segment of the log is rewritten when at least so many percent of it are superseded; 0 (never) to 100, default 50.
    pub reclaim_percent: u64,
    /// Largest document content taken; 1 to 16384 MiB, default 1024.
    pub max_content_bytes: u64,
    pub log_level: String,
    pub log_format: LogFormat,
    /// Versions of the feed's protocol that the node speaks, newest last. Not in the file: it is what the software can, and tests
    /// say otherwise to run a node of another release.
    pub protocols: Vec<u32>,
}

const MIB: u64 = 1024 * 1024;

impl Config {
    /// Reads, overrides from the environment, and validates.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        let environment = std::env::vars_os().filter_map(|(key, value)| {
            let key = key.to_str()?.strip_prefix(ENVIRONMENT_PREFIX)?.to_owned();
            Some((key, value.to_string_lossy().into_owned()))
        });
        let base = path.parent().unwrap_or(Path::new("."));
        Self::parse(&text, &path.display().to_string(), base, environment)
    }

    /// Parses and validates a configuration text; relative directories are taken from `base`.
    pub fn parse(
        text: &str,
        name: &str,
        base: &Path,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let malformed = |error: &toml::de::Error| ConfigError::Malformed {
            place: error.span().map_or_else(
                || name.to_owned(),
                |span| format!("{name}, line {}", line_of(text, span.start)),
            ),
            reason: error.message().replace('\n', " "),
        };
        let overrides: Vec<(String, String)> = environment.collect();
        if overrides.is_empty() {
            let raw: Raw = toml::from_str(text).map_err(|error| malformed(&error))?;
            return raw.validate(base);
        }
        let table: toml::Table = toml::from_str(text).map_err(|error| malformed(&error))?;
        let raw = overridden(table, &overrides, name)?;
        raw.validate(base).map_err(|error| of_environment(error, &overrides))
    }
}

impl RawWrites {
    fn validate(&self, has_parent: bool) -> Result<Acknowledge, ConfigError> {
        let invalid =
            |rule: &str| Err(ConfigError::Invalid { key: "writes.acknowledge", rule: rule.to_owned() });
        match self.acknowledge.as_deref() {
            None | Some("local") => Ok(Acknowledge::Local),
            Some("parent") if !has_parent => invalid("must be local at a root, which has no parent"),
            Some("parent") => Ok(Acknowledge::Parent),
            Some(_) => invalid("must be local or parent"),
        }
    }
}

impl RawParent {
    /// The address, and what the line carries in bytes a second.
    fn validate(self) -> Result<(String, Option<u64>), ConfigError> {
        let line = match self.line_kbit_s {
            None => None,
            given => Some(bounded("parent.line_kbit_s", given, 0, 64, 10_000_000)? * 1000 / 8),
        };
        match self.address.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0) => {
                Ok((self.address, line))
            }
            _ => Err(ConfigError::Invalid {
                key: "parent.address",
                rule: "must be host:port, for example 10.53.29.1:7400".to_owned(),
            }),
        }
    }
}

impl Raw {
    fn validate(self, base: &Path) -> Result<Config, ConfigError> {
        let invalid = |key, rule: &str| ConfigError::Invalid { key, rule: rule.to_owned() };
        if self.node.name.trim().is_empty() || self.node.name.chars().count() > 64 {
            return Err(invalid("node.name", "must have 1 to 64 characters"));
        }
        if !matches!(self.node.tier.as_str(), "nation" | "province" | "prefecture" | "county") {
            return Err(invalid("node.tier", "must be province, prefecture or county"));
        }
        let data_dir = base.join(self.node.data_dir);
        let identity_dir = base.join(self.node.identity_dir);
        if identity_dir.starts_with(&data_dir) {
            return Err(invalid(
                "node.identity_dir",
                "must not be inside node.data_dir: a copy of the data must not carry the keys",
            ));
        }
        let listen = self
            .listen
            .address
            .parse()
            .map_err(|_| invalid("listen.address", "must be IP:port, for example 0.0.0.0:7400"))?;
        let (parent, line_bytes_per_s) = match self.parent.map(RawParent::validate).transpose()? {
            Some((address, line)) => (Some(address), line),
            None => (None, None),
        };
        let acknowledge = self.writes.validate(parent.is_some())?;
        let index = match self.store.index.as_deref() {
            None | Some("sled") => IndexKind::Sled,
            Some("memory") => IndexKind::Memory,
            Some(_) => return Err(invalid("store.index", "must be sled or memory")),
        };
        let log_format = match self.log.format.as_deref() {
            None | Some("text") => LogFormat::Text,
            Some("json") => LogFormat::Json,
            Some(_) => return Err(invalid("log.format", "must be text or json")),
        };
        let log_level = self.log.level.unwrap_or_else(|| "info".into());
        if !matches!(log_level.as_str(), "error" | "warn" | "info" | "debug" | "trace") {
            return Err(invalid("log.level", "must be error, warn, info, debug or trace"));
        }
        Ok(Config {
            name: self.node.name,
            tier: self.node.tier,
            data_dir,
            identity_dir,
            listen,
            parent,
            line_bytes_per_s,
            acknowledge,
            index,
            cache_bytes: bounded("store.cache_mib", self.store.cache_mib, 32, 4, 4096)? * MIB,
            segment_bytes: bounded("store.segment_mib", self.store.segment_mib, 64, 1, 1024)? * MIB,
            overlay_bytes: bounded("store.overlay_mib", self.store.overlay_mib, 32, 1, 1024)? * MIB,
            sync_delay_ms: bounded("store.sync_delay_ms", self.store.sync_delay_ms, 0, 0, 1000)?,
            scrub_days: bounded("store.scrub_days", self.store.scrub_days, 7, 0, 365)?,
            reclaim_percent: bounded("store.reclaim_percent", self.store.reclaim_percent, 50, 0, 100)?,
            max_content_bytes: bounded("content.max_mib", self.content.max_mib, 1024, 1, 16384)? * MIB,
            log_level,
            log_format,
            protocols: model::feed::PROTOCOLS.to_vec(),
        })
    }
}

fn bounded(
    key: &'static str,
    given: Option<u64>,
    default: u64,
    least: u64,
    most: u64,
) -> Result<u64, ConfigError> {
    let value = given.unwrap_or(default);
    if (least..=most).contains(&value) {
        return Ok(value);
    }
    Err(ConfigError::Invalid { key, rule: format!("must be between {least} and {most}") })
}

/// The configuration with what the environment overrides. What cannot be read is said of the variable that brought it.
fn overridden(
    mut table: toml::Table,
    overrides: &[(String, String)],
    name: &str,
) -> Result<Raw, ConfigError> {
    let read = |table: &toml::Table| table.clone().try_into::<Raw>();
    let mut before = read(&table);
    for (key, value) in overrides {
        apply(&mut table, key, value)?;
        let after = read(&table);
        match &after {
            Err(error) if before.is_ok() => {
                return Err(ConfigError::Malformed {
                    place: variable(key),
                    reason: error.message().replace('\n', " "),
                });
            }
            // A file that is good only with the environment: which variable it lacks nobody knows.
            _ => before = after,
        }
    }
    before.map_err(|error| ConfigError::Malformed {
        place: format!("{name} with the environment's {ENVIRONMENT_PREFIX}…"),
        reason: error.message().replace('\n', " "),
    })
}

/// The same error, of the variable if the value that breaks the rule was set by one.
fn of_environment(error: ConfigError, overrides: &[(String, String)]) -> ConfigError {
    let ConfigError::Invalid { key, rule } = &error else { return error };
    let of_key = key.replace('.', "__");
    match overrides.iter().find(|(name, _)| name.eq_ignore_ascii_case(&of_key)) {
        Some((name, _)) => ConfigError::Malformed { place: variable(name), reason: format!("{key} {rule}") },
        None => error,
    }
}

fn variable(key: &str) -> String {
    format!("the environment variable {ENVIRONMENT_PREFIX}{key}")
}

/// Sets `SECTION__KEY` in a table. The value becomes a number if the key is one of the numeric ones.
fn apply(table: &mut toml::Table, key: &str, value: &str) -> Result<(), ConfigError> {
    let place = || variable(key);
    let Some((section, name)) = key.split_once("__") else {
        return Err(ConfigError::Malformed { place: place(), reason: "must be SECTION__KEY".into() });
    };
    let section =
        table.entry(section.to_lowercase()).or_insert_with(|| toml::Value::Table(toml::Table::new()));
    let Some(section) = section.as_table_mut() else {
        return Err(ConfigError::Malformed {
            place: place(),
            reason: "names no section of the configuration".into(),
        });
    };
    let name = name.to_lowercase();
    let numeric = ["_mib", "_ms", "_days", "_percent", "_kbit_s"].iter().any(|unit| name.ends_with(unit));
    let number = numeric.then(|| value.parse::<i64>().ok()).flatten();
    section.insert(name, number.map_or_else(|| toml::Value::String(value.to_owned()), toml::Value::Integer));
    Ok(())
}

fn line_of(text: &str, at: usize) -> usize {
    text.get(..at).unwrap_or(text).matches('\n').count() + 1
}

#[cfg(test)]
mod tests;
