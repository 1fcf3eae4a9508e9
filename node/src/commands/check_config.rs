//! `tiermesh check-config`: reads the configuration as `run` would, and says what it means.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::commands::{fail, print_json};
use crate::config::Config;

/// Reads the configuration as `run` would and prints what is used.
#[derive(Debug, clap::Args)]
pub struct CheckConfig {
    /// The configuration file.
    #[arg(long, default_value = "node.toml")]
    config: PathBuf,
    /// One JSON object instead of lines.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &CheckConfig) -> ExitCode {
    let config = match Config::load(&args.config) {
        Ok(config) => config,
        Err(error) => return fail(&error, cli::Exit::Usage as u8),
    };
    if args.json {
        print_json(&serde_json::json!({
            "name": config.name, "tier": config.tier, "data_dir": config.data_dir, "identity_dir": config.identity_dir,
            "listen": config.listen.to_string(), "parent": config.parent, "index": format!("{:?}", config.index).to_lowercase(),
            "cache_bytes": config.cache_bytes, "segment_bytes": config.segment_bytes, "overlay_bytes": config.overlay_bytes,
            "max_content_bytes": config.max_content_bytes, "log_level": config.log_level,
        }));
    } else {
        println!("{} is good", args.config.display());
        println!("  {} ({}), listens on {}", config.name, config.tier, config.listen);
        println!("  parent   {}", config.parent.as_deref().unwrap_or("none: this is the root"));
        println!("  data     {}", config.data_dir.display());
        println!("  identity {}", config.identity_dir.display());
    }
    ExitCode::SUCCESS
}
