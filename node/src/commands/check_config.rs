//! `tiermesh check-config`: reads the configuration as `run` would, and says what it means.

use std::path::PathBuf;
use std::process::ExitCode;

use exchange::Acknowledge;

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
        print_json(&json(&config));
    } else {
        print!("{} is good\n{}", args.config.display(), text(&config));
    }
    ExitCode::SUCCESS
}

fn json(config: &Config) -> serde_json::Value {
    serde_json::json!({
        "name": config.name, "tier": config.tier, "data_dir": config.data_dir, "identity_dir": config.identity_dir,
        "listen": config.listen.to_string(), "parent": config.parent, "line_kbit_s": line_kbit_s(config),
        "acknowledge": acknowledge(config), "index": format!("{:?}", config.index).to_lowercase(),
        "cache_bytes": config.cache_bytes, "segment_bytes": config.segment_bytes, "overlay_bytes": config.overlay_bytes,
        "scrub_days": config.scrub_days, "reclaim_percent": config.reclaim_percent,
        "max_content_bytes": config.max_content_bytes, "log_level": config.log_level,
    })
}

fn text(config: &Config) -> String {
    let line = line_kbit_s(config).map_or_else(String::new, |line| format!(", a line of {line} kbit/s"));
    let parent = match &config.parent {
        Some(parent) => format!("{parent}{line}"),
        None => "none: this is the root".to_owned(),
    };
    let writes = match config.acknowledge {
        Acknowledge::Local => "acknowledged when they are durable here (acknowledge = local)",
        Acknowledge::Parent => "acknowledged when they are durable at the parent too (acknowledge = parent)",
    };
    let scrub = match config.scrub_days {
        0 => "read again only when asked for (scrub_days = 0)".to_owned(),
        days => format!("read again every {days} days (scrub_days)"),
    };
    let reclaim = match config.reclaim_percent {
        0 => "segments are never rewritten (reclaim_percent = 0)".to_owned(),
        percent => format!("segments rewritten from {percent} % superseded on (reclaim_percent)"),
    };
    format!(
        "  {} ({}), listens on {}\n  parent   {parent}\n  data     {}\n  identity {}\n  writes   {writes}\n  log      {scrub}; {reclaim}\n",
        config.name,
        config.tier,
        config.listen,
        config.data_dir.display(),
        config.identity_dir.display(),
    )
}

/// As it is written in the file.
fn line_kbit_s(config: &Config) -> Option<u64> {
    config.line_bytes_per_s.map(|bytes| bytes * 8 / 1000)
}

fn acknowledge(config: &Config) -> &'static str {
    match config.acknowledge {
        Acknowledge::Local => "local",
        Acknowledge::Parent => "parent",
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn what_is_used_is_said() {
        let file = "[node]\nname = \"大理市\"\ntier = \"county\"\ndata_dir = \"data\"\nidentity_dir = \"identity\"\n\
            [listen]\naddress = \"127.0.0.1:0\"\n[parent]\naddress = \"localhost:7400\"\n";
        let parse = |more: &str| {
            let text = format!("{file}{more}");
            Config::parse(&text, "node.toml", Path::new("/etc"), std::iter::empty()).unwrap()
        };
        let plain = parse("");
        let told = json(&plain);
        assert_eq!((&told["line_kbit_s"], &told["acknowledge"]), (&serde_json::Value::Null, &"local".into()));
        assert_eq!((&told["scrub_days"], &told["reclaim_percent"]), (&7.into(), &50.into()));
        assert!(text(&plain).contains("every 7 days") && !text(&plain).contains("kbit"), "{}", text(&plain));
        let set = parse(
            "line_kbit_s = 2000\n[writes]\nacknowledge = \"parent\"\n[store]\nscrub_days = 0\nreclaim_percent = 0\n",
        );
        let told = json(&set);
        assert_eq!((&told["line_kbit_s"], &told["acknowledge"]), (&2000.into(), &"parent".into()));
        for wanted in [
            "localhost:7400, a line of 2000 kbit/s",
            "acknowledge = parent",
            "scrub_days = 0",
            "reclaim_percent = 0",
        ] {
            assert!(text(&set).contains(wanted), "{wanted} in {}", text(&set));
        }
    }
}
