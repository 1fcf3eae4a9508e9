//! The quarantine as it is on the wire.

use bytes::Bytes;
use exchange::{Direction, QuarantinePage, QuarantinePlace, Refused, RefusedRecord, Standing};
use tonic::Status;
use wire::{ConvertError, v1};

use crate::error::malformed;

/// Records of a page when nothing is said.
const PAGE: usize = 100;

pub(super) fn page_size(asked: u32) -> Result<usize, Status> {
    match asked as usize {
        0 => Ok(PAGE),
        size if size <= exchange::MAX_QUARANTINE => Ok(size),
        _ => Err(malformed(ConvertError { field: "page_size", rule: "is above its limit" })),
    }
}

/// The place in a token that this node gave: position, then offset, big-endian.
pub(super) fn place(token: &[u8]) -> Result<Option<QuarantinePlace>, Status> {
    if token.is_empty() {
        return Ok(None);
    }
    let place = token.split_first_chunk().and_then(|(lsn, offset)| {
        let (lsn, offset) = (u64::from_be_bytes(*lsn), u32::from_be_bytes(offset.try_into().ok()?));
        Some(QuarantinePlace { lsn, offset })
    });
    let wrong = || malformed(ConvertError { field: "page_token", rule: "must be from the page before" });
    place.map(Some).ok_or_else(wrong)
}

fn token(place: QuarantinePlace) -> Bytes {
    [&place.lsn.to_be_bytes()[..], &place.offset.to_be_bytes()].concat().into()
}

pub(super) fn reply(page: QuarantinePage) -> v1::ListQuarantineReply {
    v1::ListQuarantineReply {
        records: page.refused.into_iter().map(refused).collect(),
        next_page_token: page.next.map_or_else(Bytes::new, token),
        unreadable: page.unreadable,
    }
}

fn refused(one: Refused) -> v1::QuarantinedRecord {
    let direction = match one.direction {
        Direction::Up => v1::Direction::Up,
        Direction::Down => v1::Direction::Down,
        Direction::Restore => v1::Direction::Restore,
    };
    v1::QuarantinedRecord {
        from_path: one.from_path.map_or_else(String::new, |path| path.to_string()),
        from_name: one.from_name,
        from_origin: Bytes::copy_from_slice(one.from.as_bytes()),
        direction: direction.into(),
        reason: one.reason,
        bytes: one.bytes,
        ..one.record.map_or_else(v1::QuarantinedRecord::default, record)
    }
}

fn record(record: RefusedRecord) -> v1::QuarantinedRecord {
    use v1::QuarantineStanding as Wire;
    let (standing, held) = match record.standing {
        Standing::Missing => (Wire::Missing, None),
        Standing::Older(held) => (Wire::Older, Some(held)),
        Standing::Held(held) => (Wire::Held, Some(held)),
        Standing::Superseded(held) => (Wire::Superseded, Some(held)),
        Standing::Overruled(held) => (Wire::Overruled, Some(held)),
        Standing::OtherBytes(held) => (Wire::OtherBytes, Some(held)),
        Standing::Forgotten(held) => (Wire::Forgotten, Some(held)),
    };
    let (institution_code, institution_name) = record.institution.unwrap_or_default();
    v1::QuarantinedRecord {
        kind: record.kind,
        key: Bytes::copy_from_slice(record.key.as_bytes()),
        version: record.version.to_string(),
        origin: Bytes::copy_from_slice(record.origin.as_bytes()),
        institution_code,
        institution_name,
        writer_path: record.writer.map_or_else(String::new, |path| path.to_string()),
        standing: standing.into(),
        held_version: held.map_or_else(String::new, |held| held.to_string()),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use model::{OriginId, RecordKey, Version};

    use super::*;

    #[test]
    fn a_token_leads_back_to_its_place() {
        let at = QuarantinePlace { lsn: u64::MAX - 1, offset: 7 };
        assert_eq!(place(&token(at)).unwrap(), Some(at));
        assert_eq!(place(&[]).unwrap(), None);
        for wrong in [&[1; 8][..], &[1; 11], &[1; 13]] {
            assert_eq!(place(wrong).unwrap_err().code(), tonic::Code::InvalidArgument);
        }
        assert_eq!((page_size(0).unwrap(), page_size(1_000).unwrap()), (PAGE, 1_000));
        assert_eq!(page_size(1_001).unwrap_err().code(), tonic::Code::InvalidArgument);
    }

    #[test]
    fn facts_keep_their_places() {
        let version = |seq| Version { term: 1, epoch: 2, seq };
        let record = RefusedRecord {
            kind: 1,
            key: RecordKey([7; 16]),
            version: version(3),
            origin: OriginId([8; 16]),
            writer: Some("530000/532900".parse().unwrap()),
            institution: Some(("H1".into(), "医院".into())),
            standing: Standing::Superseded(version(4)),
        };
        let one = Refused {
            from: OriginId([9; 16]),
            from_path: Some("530000/532900/532901".parse().unwrap()),
            from_name: "大理市".into(),
            direction: Direction::Up,
            reason: "a rule".into(),
            bytes: 99,
            record: Some(record),
        };
        let next = Some(QuarantinePlace { lsn: 1, offset: 2 });
        let page = QuarantinePage { refused: vec![one.clone()], unreadable: 5, next };
        let told = reply(page);
        assert_eq!((told.unreadable, told.next_page_token.len()), (5, 12));
        let first = &told.records[0];
        assert_eq!((first.from_path.as_str(), first.from_name.as_str()), ("530000/532900/532901", "大理市"));
        assert_eq!(
            (first.direction(), first.bytes, first.reason.as_str()),
            (v1::Direction::Up, 99, "a rule")
        );
        assert_eq!((first.version.as_str(), first.held_version.as_str()), ("1.2.3", "1.2.4"));
        assert_eq!(first.standing(), v1::QuarantineStanding::Superseded);
        assert_eq!((first.key.as_ref(), first.origin.as_ref()), (&[7; 16][..], &[8; 16][..]));
        assert_eq!((first.institution_code.as_str(), first.writer_path.as_str()), ("H1", "530000/532900"));
        let no_record = refused(Refused { record: None, from_path: None, ..one });
        assert_eq!((no_record.from_path.as_str(), no_record.key.len()), ("", 0));
        assert_eq!(no_record.standing(), v1::QuarantineStanding::Unspecified);
    }
}
