//! Reads a registration from JSON. Its errors say where and what, never what was written there.

use std::io::Read;
use std::path::Path;

use model::body::Registration;

use crate::error::CliError;
use crate::json;

/// Most bytes of a registration's JSON; above any that a node accepts.
const MOST: u64 = 1 << 20;

/// Reads `path`, or standard input for `-`.
pub(super) fn read(path: &Path) -> Result<Registration, CliError> {
    let failed = |error: std::io::Error| CliError::file(path, &error);
    let mut text = Vec::new();
    if path.as_os_str() == "-" {
        std::io::stdin().lock().take(MOST + 1).read_to_end(&mut text).map_err(failed)?;
    } else {
        std::fs::File::open(path).map_err(failed)?.take(MOST + 1).read_to_end(&mut text).map_err(failed)?;
    }
    if text.len() as u64 > MOST {
        return Err(CliError::File {
            path: path.to_owned(),
            why: "is longer than 1 MiB; one registration a file".to_owned(),
        });
    }
    parse(&text).map_err(|why| CliError::File { path: path.to_owned(), why })
}

fn parse(text: &[u8]) -> Result<Registration, String> {
    serde_json::from_slice::<json::Registration>(text).map(Registration::from).map_err(|error| {
        let said = error.to_string();
        // serde quotes the wrong value in most messages; only these two name fields alone.
        let named = ["missing field", "unknown field"].iter().any(|start| said.starts_with(start));
        let what = match error.classify() {
            _ if named => said
                .split(" at line")
                .next()
                .unwrap_or_default()
                .split(", expected")
                .next()
                .unwrap_or_default(),
            serde_json::error::Category::Data => "not the kind of value that belongs there",
            _ => "not well-formed JSON",
        };
        format!(
            "line {}, column {}: {what}; fields are those of Registration in proto/tiermesh/v1/record.proto",
            error.line(),
            error.column()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registration_is_read() {
        let text = r#"{"local_id":"P0001","name":"阿卜杜拉·买买提","sex":"1","birth_date":"1988-02",
            "identifiers":[{"type":"01","value":"530102198802030011"}],"phones":["13800000000"],
            "addresses":[{"text":"大理市人民路1号","region_code":"532901"}]}"#;
        let read = parse(text.as_bytes()).unwrap();
        assert_eq!((read.local_id.as_str(), read.name.as_str()), ("P0001", "阿卜杜拉·买买提"));
        assert_eq!(read.identifiers[0].r#type, "01");
        assert_eq!(read.addresses[0].region_code, "532901");
        assert_eq!(parse(&serde_json::to_vec(&json::Registration::from(&read)).unwrap()), Ok(read));
    }

    #[test]
    fn errors_say_where_and_hold_no_value() {
        for (text, what) in [
            (r#"{"local_id":"P1","nmae":"王小明"}"#, "unknown field `nmae`"),
            (r#"{"name":"王小明"}"#, "missing field `local_id`"),
            (r#"{"local_id":"P1","phones":"王小明"}"#, "not the kind of value"),
            (r#"{"local_id":"P1","name":王小明}"#, "not well-formed"),
            ("", "not well-formed"),
        ] {
            let error = parse(text.as_bytes()).unwrap_err();
            assert!(error.contains(what) && error.starts_with("line "), "{error}");
            assert!(!error.contains("王小明"), "{error}");
        }
    }
}
