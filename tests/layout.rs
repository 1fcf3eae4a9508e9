//! The rules of the layout, each with its reason. A rule that is in the way is changed here and in `crates/README.md`, not evaded.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Which of our crates each crate may use. Invariants are absences: what is not listed here cannot happen.
const ALLOWED: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("linkage", &["model"]),
    ("store", &["model"]),
    ("identity", &["model"]),
    ("wire", &["model"]),
    ("repository", &["model", "store"]),
    ("replication", &["model", "store"]),
    ("exchange", &["model", "store", "repository", "replication", "linkage"]),
    ("rpc", &["exchange", "model", "wire", "identity"]),
    ("cli", &["model", "wire", "identity"]),
    ("demo", &["model", "wire", "identity", "cli"]),
    (
        "tiermesh",
        &[
            "model",
            "linkage",
            "store",
            "repository",
            "identity",
            "wire",
            "replication",
            "exchange",
            "rpc",
            "cli",
            "demo",
        ],
    ),
];
/// Only tests may use everything.
const TEST_CRATES: &[&str] = &["testkit", "tests"];

const MAX_FILE_LINES: usize = 800;
const MAX_FUNCTION_LINES: usize = 70;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn members() -> BTreeMap<String, (PathBuf, toml::Table)> {
    let workspace: toml::Table = fs::read_to_string(root().join("Cargo.toml")).unwrap().parse().unwrap();
    let members = workspace["workspace"]["members"].as_array().unwrap();
    let read = |member: &toml::Value| {
        let dir = root().join(member.as_str().unwrap());
        let manifest: toml::Table = fs::read_to_string(dir.join("Cargo.toml")).unwrap().parse().unwrap();
        (manifest["package"]["name"].as_str().unwrap().to_owned(), (dir, manifest))
    };
    members.iter().map(read).collect()
}

/// The keys of a manifest's dependency table, with our renamed crates under their package names.
fn dependencies(manifest: &toml::Table, table: &str) -> BTreeSet<String> {
    let keys = manifest
        .get(table)
        .and_then(toml::Value::as_table)
        .map(|table| table.keys().cloned().collect::<Vec<_>>());
    keys.unwrap_or_default()
        .into_iter()
        .map(|name| if name == "node" { "tiermesh".into() } else { name })
        .collect()
}

#[test]
fn crates_use_only_what_they_may() {
    let members = members();
    let names: BTreeSet<&String> = members.keys().collect();
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.iter().copied().collect();
    for (name, (_, manifest)) in &members {
        if TEST_CRATES.contains(&name.as_str()) {
            continue;
        }
        let may = allowed.get(name.as_str()).unwrap_or_else(|| panic!("crate {name} has no row in ALLOWED"));
        for used in dependencies(manifest, "dependencies").iter().filter(|used| names.contains(used)) {
            assert!(may.contains(&used.as_str()), "crate {name} must not use {used}: see crates/README.md");
        }
        for table in ["dependencies", "build-dependencies"] {
            for test_crate in TEST_CRATES {
                assert!(
                    !dependencies(manifest, table).contains(*test_crate),
                    "only tests use {test_crate}; {name} does"
                );
            }
        }
    }
}

#[test]
fn only_store_names_sled() {
    for (name, (dir, manifest)) in members() {
        let uses = dependencies(&manifest, "dependencies").contains("sled")
            || dependencies(&manifest, "dev-dependencies").contains("sled");
        assert!(!uses || name == "store", "sled is derived data behind store's seam; {name} depends on it");
        if name != "store" {
            let named = ["sled", "::"].concat();
            for (file, text) in rust_files(&dir) {
                assert!(!text.contains(&named), "{} names sled", file.display());
            }
        }
    }
}

#[test]
fn the_pure_crate_asks_nobody() {
    let (dir, manifest) = &members()["model"];
    for banned in ["tokio", "rand", "getrandom", "tracing"] {
        assert!(!dependencies(manifest, "dependencies").contains(banned), "model is pure: no {banned}");
    }
    for (file, text) in rust_files(&dir.join("src")) {
        for banned in ["std::fs", "std::net", "SystemTime::now", "Instant::now", "std::env"] {
            assert!(!text.contains(banned), "{} uses {banned}; model is pure", file.display());
        }
    }
}

#[test]
fn files_are_short_and_say_what_they_are() {
    for (file, text) in all_rust_files() {
        assert!(text.starts_with("//!"), "{} does not open with a module doc", file.display());
        let lines = text.lines().count();
        assert!(lines <= MAX_FILE_LINES, "{} has {lines} lines, more than {MAX_FILE_LINES}", file.display());
    }
}

#[test]
fn functions_are_short() {
    for (file, text) in all_rust_files() {
        for (name, lines) in functions(&text) {
            assert!(
                lines <= MAX_FUNCTION_LINES,
                "{}: fn {name} has {lines} lines, more than {MAX_FUNCTION_LINES}",
                file.display()
            );
        }
    }
}

#[test]
fn a_long_function_would_be_seen() {
    let body = "        let x = 1;\n".repeat(80);
    let text = format!("impl A {{\n    pub async fn long() {{\n{body}    }}\n}}\nfn short() {{}}\n");
    assert_eq!(functions(&text), [("long".to_owned(), 82)]);
}

#[test]
fn no_paths_of_one_machine() {
    let parts = [["/ro", "ot/"], ["/ho", "me/"], ["/wo", "rk/"], ["/tmp/", "bash"]];
    for (file, text) in all_rust_files() {
        for part in &parts {
            let banned = part.concat();
            assert!(!text.contains(&banned), "{} has a path of one machine: {banned}", file.display());
        }
    }
}

/// The bugs that `just plants` plants must still fit the code, or nobody plants them any more.
#[test]
fn planted_bugs_fit_the_code() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let patches = fs::read_dir(root.join("tests/plants")).unwrap().map(|entry| entry.unwrap().path());
    let patches: Vec<PathBuf> =
        patches.filter(|path| path.extension().is_some_and(|e| e == "patch")).collect();
    assert!(patches.len() >= 8, "{patches:?}");
    for path in patches {
        let text = fs::read_to_string(&path).unwrap();
        let changes: Vec<&str> = text.split("--- a/").skip(1).collect();
        assert!(!changes.is_empty(), "{} changes nothing", path.display());
        for change in changes {
            let (file, change) = change.split_once('\n').expect("the file that it changes");
            let code = fs::read_to_string(root.join(file)).unwrap();
            for hunk in change.split("\n@@ ").skip(1) {
                let before = hunk.lines().skip(1).filter_map(|line| line.strip_prefix([' ', '-']));
                let before: Vec<&str> = before.collect();
                assert!(code.contains(&before.join("\n")), "{} does not fit {file}", path.display());
            }
        }
    }
}

/// Functions with their lengths, found by the closing brace at the indentation of `fn` (rustfmt keeps that true). One-line
/// functions are left out.
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let indent = &line[..line.len() - code.len()];
        let words: Vec<&str> = code.split_whitespace().take(5).collect();
        let Some(at) = words.iter().position(|word| *word == "fn") else { continue };
        let qualifiers =
            words[..at].iter().all(|word| word.starts_with("pub") || matches!(*word, "async" | "const"));
        if !qualifiers || words.len() == at + 1 || code.ends_with('}') || code.ends_with(';') {
            continue;
        }
        let name: String = words[at + 1].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let close = format!("{indent}}}");
        let is_end = |line: &&str| {
            *line == close || line.trim_end().ends_with(';') && !line.starts_with(&format!("{indent} "))
        };
        if let Some(end) = lines[start + 1..].iter().position(is_end) {
            found.push((name, end + 2));
        }
    }
    found
}

fn all_rust_files() -> Vec<(PathBuf, String)> {
    members().values().flat_map(|(dir, _)| rust_files(dir)).collect()
}

fn rust_files(dir: &Path) -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() && entry.file_name() != "target" {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            files.push((path, text));
        }
    }
    files
}
