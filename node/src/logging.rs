//! Log lines: structured, on standard error, without personal data.

use tracing::Level;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Config, LogFormat};

/// Libraries that say more at our levels than an operator can use.
const QUIET: [&str; 5] = ["h2", "hyper", "rustls", "sled", "tower"];

/// Starts logging. A second call in one process does nothing, so that tests can run several nodes.
pub fn start(config: &Config) {
    let level = config.log_level.parse::<LevelFilter>().unwrap_or(LevelFilter::INFO);
    let filter = Targets::new().with_default(level).with_targets(QUIET.map(|target| (target, Level::WARN)));
    let lines =
        tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false).with_ansi(false);
    // An error means that a subscriber is set already.
    let _ = match config.log_format {
        LogFormat::Text => tracing_subscriber::registry().with(filter).with(lines).try_init(),
        LogFormat::Json => tracing_subscriber::registry().with(filter).with(lines.json()).try_init(),
    };
}
