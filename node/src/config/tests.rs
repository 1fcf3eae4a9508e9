//! The samples load, and what is wrong is named.

use super::*;

const GOOD: &str = r#"
[node]
name = "大理市"
tier = "county"
data_dir = "data"
identity_dir = "identity"
[listen]
address = "127.0.0.1:0"
[parent]
address = "localhost:7400"
"#;

fn parse(text: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
    let environment = environment.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    Config::parse(text, "node.toml", Path::new("/etc/tiermesh"), environment)
        .map_err(|error| error.to_string())
}

#[test]
fn the_samples_load() {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy");
    for tier in ["province", "prefecture", "county"] {
        let text = std::fs::read_to_string(deploy.join(format!("{tier}.toml"))).unwrap();
        let config = parse(&text, &[]).unwrap();
        assert_eq!(config.tier, tier);
        assert_eq!(config.parent.is_none(), tier == "province");
    }
}

#[test]
fn relative_directories_start_at_the_file() {
    let config = parse(GOOD, &[]).unwrap();
    assert_eq!(config.data_dir, Path::new("/etc/tiermesh/data"));
    assert_eq!(config.cache_bytes, 32 * MIB);
}

#[test]
fn the_environment_overrides() {
    let config = parse(GOOD, &[("LISTEN__ADDRESS", "[::1]:7400"), ("STORE__CACHE_MIB", "8")]).unwrap();
    assert_eq!(config.listen, "[::1]:7400".parse().unwrap());
    assert_eq!(config.cache_bytes, 8 * MIB);
    assert_eq!(parse(GOOD, &[("STORE__SCRUB_DAYS", "0")]).unwrap().scrub_days, 0);
    assert_eq!(parse(GOOD, &[]).unwrap().scrub_days, 7);
    assert_eq!(parse(GOOD, &[("STORE__RECLAIM_PERCENT", "0")]).unwrap().reclaim_percent, 0);
    assert!(parse(GOOD, &[("STORE__RECLAIM_PERCENT", "101")]).unwrap_err().contains("reclaim_percent"));
    assert!(parse(GOOD, &[("STORE__SCRUB_DAYS", "366")]).unwrap_err().contains("store.scrub_days"));
    assert_eq!(parse(GOOD, &[]).unwrap().line_bytes_per_s, None);
    assert_eq!(parse(GOOD, &[("PARENT__LINE_KBIT_S", "2000")]).unwrap().line_bytes_per_s, Some(250_000));
    assert!(parse(GOOD, &[("PARENT__LINE_KBIT_S", "63")]).unwrap_err().contains("parent.line_kbit_s"));
    assert!(parse(GOOD, &[("STORE__CACHE", "8")]).unwrap_err().contains("cache"));
    assert!(parse(GOOD, &[("CACHE", "8")]).unwrap_err().contains("TIERMESH__CACHE"));
    assert!(parse(GOOD, &[("STORE__CACHE_MIB", "many")]).is_err());
}

#[test]
fn what_a_variable_breaks_is_said_of_it() {
    for (variable, value, rule) in [
        ("STORE__CACHE_MIB", "1", "store.cache_mib must be between 4 and 4096"),
        ("store__cache_mib", "many", "invalid type"),
        ("STORE__CACHE", "8", "unknown field `cache`"),
        ("WRITES__ACKNOWLEDGE", "never", "writes.acknowledge must be local or parent"),
        ("NOTHING__AT_ALL", "8", "unknown field `nothing`"),
    ] {
        let others = [("LOG__LEVEL", "warn"), (variable, value), ("STORE__SCRUB_DAYS", "1")];
        let error = parse(GOOD, &others).unwrap_err();
        let place = format!("the environment variable TIERMESH__{variable}: ");
        assert!(error.starts_with(&place) && error.contains(rule), "{error}");
    }
    // What the file has wrong is not said of a variable.
    let file = GOOD.replace("tier = \"county\"", "tier = \"village\"");
    let error = parse(&file, &[("LOG__LEVEL", "warn")]).unwrap_err();
    assert!(error.starts_with("node.tier in the configuration"), "{error}");
    // A file that needs the environment is good with it.
    let file = GOOD.replace("tier = \"county\"\n", "");
    assert_eq!(parse(&file, &[("LOG__LEVEL", "warn"), ("NODE__TIER", "county")]).unwrap().tier, "county");
    assert!(parse(&file, &[("LOG__LEVEL", "warn")]).unwrap_err().contains("with the environment's"));
}

#[test]
fn what_is_wrong_is_named() {
    let with = |from: &str, to: &str| parse(&GOOD.replace(from, to), &[]).unwrap_err();
    assert!(with("tier = \"county\"", "tier = \"village\"").starts_with("node.tier"));
    assert!(with("127.0.0.1:0", "localhost").starts_with("listen.address"));
    assert!(with("localhost:7400", "localhost").starts_with("parent.address"));
    assert!(with("\"identity\"", "\"data/identity\"").starts_with("node.identity_dir"));
    assert!(with("[listen]", "[store]\nindex = \"oracle\"\n[listen]").starts_with("store.index"));
    assert!(with("[listen]", "[store]\ncache_mib = 1\n[listen]").contains("between 4 and 4096"));
    let unknown = with("[listen]", "[listen]\nport = 1");
    assert!(unknown.contains("port") && unknown.contains("line 8"), "{unknown}");
    assert!(with("[node]", "[node").contains("line 2"));
}
