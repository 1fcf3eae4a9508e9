//! `tiermesh init`: a configuration and directories for a new node, ready for `run`.

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;
use std::process::ExitCode;

use crate::commands::{FAILED, fail};
use crate::config::Config;
use crate::local::Local;
use crate::seams::SystemEntropy;

/// Makes configuration and directories for a new node.
#[derive(Debug, clap::Args)]
pub struct Init {
    /// Folder for node.toml and the data; made if it is missing.
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// Name shown to people, for example 大理市.
    #[arg(long)]
    name: String,
    /// province, prefecture or county.
    #[arg(long)]
    tier: String,
    /// The node's certificates and keys, as made by `tiermesh ca issue node`.
    #[arg(long)]
    identity: PathBuf,
    /// IP:port to listen on.
    #[arg(long, default_value = "0.0.0.0:7400")]
    listen: String,
    /// host:port of the node above; leave out for the root.
    #[arg(long)]
    parent: Option<String>,
}

pub fn run(args: &Init) -> ExitCode {
    match init(args) {
        Ok(config) => {
            println!("wrote {}", config.display());
            println!(
                "next:  tiermesh doctor --config {0}\n       tiermesh run --config {0}",
                config.display()
            );
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error, FAILED),
    }
}

fn init(args: &Init) -> Result<PathBuf, String> {
    let identity = std::path::absolute(&args.identity).map_err(|error| error.to_string())?;
    let loaded = identity::Identity::load(&identity).map_err(|error| error.to_string())?;
    match (loaded.path.depth(), &args.parent) {
        (0, Some(_)) => return Err(format!("{} is the root: leave --parent out", loaded.path)),
        (1.., None) => {
            return Err(format!("{} stands below another node: give its address with --parent", loaded.path));
        }
        _ => {}
    }
    let text = text(args, &identity.display().to_string());
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o750)
        .create(&args.dir)
        .map_err(|error| at(&args.dir, &error))?;
    let config = Config::parse(&text, "node.toml", &args.dir, std::iter::empty())
        .map_err(|error| error.to_string())?;
    let path = args.dir.join("node.toml");
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o640).open(&path).map_err(
        |error| format!("{}; remove it first if this node is to be set up anew", at(&path, &error)),
    )?;
    file.write_all(text.as_bytes()).map_err(|error| at(&path, &error))?;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&config.data_dir)
        .map_err(|error| at(&config.data_dir, &error))?;
    Local::load_or_create(&config.identity_dir, &loaded, &SystemEntropy)
        .map_err(|error| error.to_string())?;
    Ok(path)
}

fn at(path: &std::path::Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}

fn text(args: &Init, identity: &str) -> String {
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let parent = args.parent.as_ref().map(|parent| {
        format!("\n[parent]\n# The node above; this node dials it.\naddress = {}\n", quoted(parent))
    });
    // A region's index is larger the higher it stands; the samples say so for every tier.
    let store = match args.tier.as_str() {
        "province" => Some(512),
        "prefecture" => Some(128),
        _ => None,
    };
    let store = store.map(|mib| {
        format!(
            "\n[store]\n# Memory for the index's pages, 4 to 4096; 32 when nothing is said. The sample for this tier has {mib}.\n# cache_mib = {mib}\n"
        )
    });
    format!(
        "# Made by `tiermesh init`. All keys with their meaning: deploy/*.toml.\n\n[node]\nname = {}\ntier = {}\ndata_dir = \"data\"\nidentity_dir = {}\n\n[listen]\naddress = {}\n{}{}",
        quoted(&args.name),
        quoted(&args.tier),
        quoted(identity),
        quoted(&args.listen),
        parent.unwrap_or_default(),
        store.unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_tier_with_a_large_index_is_told_of_its_memory() {
        let of = |tier: &str, parent: Option<&str>| {
            let args = Init {
                dir: ".".into(),
                name: "云南省".into(),
                tier: tier.into(),
                identity: "identity".into(),
                listen: "0.0.0.0:7400".into(),
                parent: parent.map(str::to_owned),
            };
            text(&args, "/etc/identity")
        };
        let load =
            |text: &str| Config::parse(text, "node.toml", Path::new("/etc"), std::iter::empty()).unwrap();
        for (tier, parent, mib) in [("province", None, "512"), ("prefecture", Some("p:7400"), "128")] {
            let written = of(tier, parent);
            assert_eq!(load(&written).cache_bytes, 32 << 20, "a suggestion sets nothing");
            let suggested = format!("# cache_mib = {mib}");
            assert!(written.contains(&suggested), "{written}");
            let taken = written.replace(&suggested, &suggested[2..]);
            assert_eq!(load(&taken).cache_bytes >> 20, mib.parse::<u64>().unwrap());
            // What the sample has.
            let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy");
            let sample = std::fs::read_to_string(deploy.join(format!("{tier}.toml"))).unwrap();
            assert_eq!(load(&sample).cache_bytes, load(&taken).cache_bytes);
        }
        assert!(!of("county", Some("p:7400")).contains("[store]"));
    }
}
