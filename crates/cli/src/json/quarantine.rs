//! JSON of a quarantine: `QuarantinedRecord` of `proto/tiermesh/v1/node.proto`.

use model::Kind;
use serde::Serialize;
use wire::v1;
use wire::v1::QuarantineStanding;

use crate::quarantine::Listed;
use crate::text::hex;

#[derive(Serialize)]
pub(crate) struct Quarantine {
    /// Oldest first.
    pub records: Vec<Quarantined>,
    /// How many are not among them, because the node's log is damaged where they are kept.
    pub unreadable: u64,
    /// There are more than were asked for.
    pub more: bool,
}

/// Empty strings for what is not known, and for what bytes that are no record do not have.
#[derive(Serialize)]
pub(crate) struct Quarantined {
    pub from_path: String,
    pub from_name: String,
    pub from_origin: String,
    /// `up`, `down` or `restore`.
    pub direction: &'static str,
    pub reason: String,
    /// `registration`, `document_entry`, `link`, …; `kind 77` of one that this program does not know.
    pub kind: String,
    pub key: String,
    pub version: String,
    pub origin: String,
    pub institution_code: String,
    pub institution_name: String,
    pub writer_path: String,
    /// `missing`, `older`, `held`, `superseded`, `overruled`, `other_bytes`, `forgotten` or `no_record`.
    pub standing: &'static str,
    pub held_version: String,
    /// Held, superseded or forgotten by now: nothing of it is missing here.
    pub settled: bool,
    pub bytes: u64,
}

impl From<Listed> for Quarantine {
    fn from(listed: Listed) -> Self {
        let Listed { records, unreadable, more } = listed;
        Self { records: records.into_iter().map(Quarantined::from).collect(), unreadable, more }
    }
}

impl From<v1::QuarantinedRecord> for Quarantined {
    fn from(one: v1::QuarantinedRecord) -> Self {
        let (standing, settled) = match one.standing() {
            QuarantineStanding::Missing => ("missing", false),
            QuarantineStanding::Older => ("older", false),
            QuarantineStanding::Held => ("held", true),
            QuarantineStanding::Superseded => ("superseded", true),
            QuarantineStanding::Overruled => ("overruled", false),
            QuarantineStanding::OtherBytes => ("other_bytes", false),
            QuarantineStanding::Forgotten => ("forgotten", true),
            QuarantineStanding::Unspecified => ("no_record", false),
        };
        let direction = match one.direction() {
            v1::Direction::Up => "up",
            v1::Direction::Down => "down",
            v1::Direction::Restore => "restore",
            v1::Direction::Unspecified => "unknown",
        };
        Self {
            from_path: one.from_path,
            from_name: one.from_name,
            from_origin: hex(&one.from_origin),
            direction,
            reason: one.reason,
            kind: if one.key.is_empty() { String::new() } else { kind(one.kind) },
            key: hex(&one.key),
            version: one.version,
            origin: hex(&one.origin),
            institution_code: one.institution_code,
            institution_name: one.institution_name,
            writer_path: one.writer_path,
            standing,
            held_version: one.held_version,
            settled,
            bytes: one.bytes,
        }
    }
}

fn kind(number: u32) -> String {
    let known = i32::try_from(number).ok().and_then(|number| Kind::try_from(number).ok());
    match known.filter(|kind| *kind != Kind::Unspecified) {
        Some(kind) => kind.as_str_name().trim_start_matches("KIND_").to_lowercase(),
        None => format!("kind {number}"),
    }
}
