//! Log lines: structured, on standard error, without personal data.

use crate::config::{Config, LogFormat};

/// Starts logging. A second call in one process does nothing, so that tests can run several nodes.
pub fn start(config: &Config) {
    let filter = tracing_subscriber::EnvFilter::new(format!("{},h2=warn,hyper=warn,rustls=warn,sled=warn", config.log_level));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    // An error means that a subscriber is set already.
    let _ = match config.log_format {
        LogFormat::Text => lines.with_ansi(false).try_init(),
        LogFormat::Json => lines.json().try_init(),
    };
}
