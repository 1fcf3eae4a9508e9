//! Wire ↔ model for the feed.

mod check;
mod proof;

use bytes::Bytes;
use model::feed::{self, FromReceiver, FromSender};
use model::{OriginId, Record, RecordKey};

use crate::ConvertError;
use crate::v1::{self, ship_reply, ship_request};

fn bad<T>(field: &'static str, rule: &'static str) -> Result<T, ConvertError> {
    Err(ConvertError { field, rule })
}

fn origin(bytes: &[u8], field: &'static str) -> Result<OriginId, ConvertError> {
    OriginId::try_from(bytes).or_else(|_| bad(field, "must be 16 bytes"))
}

fn refused(records: Vec<v1::RefusedRecord>, incomplete: bool) -> Result<feed::Refused, ConvertError> {
    if records.len() > feed::MAX_REFUSED {
        return bad("refused", "names more records than its limit");
    }
    let mut refused = feed::Refused { incomplete, ..Default::default() };
    for record in records {
        let key = RecordKey::try_from(&record.key[..]).or_else(|_| bad("refused.key", "must be 16 bytes"))?;
        let version = record.version.parse().or_else(|_| bad("refused.version", "must be term.epoch.seq"))?;
        refused.push(key, version, &record.reason);
    }
    Ok(refused)
}

fn refused_records(refused: feed::Refused) -> Vec<v1::RefusedRecord> {
    let record = |record: feed::RefusedRecord| v1::RefusedRecord {
        key: Bytes::copy_from_slice(record.key.as_bytes()),
        version: record.version.to_string(),
        reason: record.reason,
    };
    refused.records.into_iter().map(record).collect()
}

impl TryFrom<v1::ShipRequest> for FromSender {
    type Error = ConvertError;
    fn try_from(request: v1::ShipRequest) -> Result<Self, ConvertError> {
        Ok(match request.frame {
            None => return bad("frame", "must be one of this protocol version"),
            Some(ship_request::Frame::Hello(hello)) => Self::Hello(Box::new(hello.try_into()?)),
            Some(ship_request::Frame::Batch(batch)) => Self::Batch(batch.try_into()?),
            Some(ship_request::Frame::Head(head)) => Self::Head(head.try_into()?),
        })
    }
}

impl From<FromSender> for v1::ShipRequest {
    fn from(frame: FromSender) -> Self {
        let frame = match frame {
            FromSender::Hello(hello) => ship_request::Frame::Hello((*hello).into()),
            FromSender::Batch(batch) => ship_request::Frame::Batch(batch.into()),
            FromSender::Head(head) => ship_request::Frame::Head(head.into()),
        };
        Self { frame: Some(frame) }
    }
}

impl TryFrom<v1::FeedHello> for feed::Hello {
    type Error = ConvertError;
    fn try_from(hello: v1::FeedHello) -> Result<Self, ConvertError> {
        if hello.epochs.len() > feed::MAX_EPOCHS {
            return bad("hello.epochs", "lists more epochs than its limit");
        }
        if !hello.began.is_empty() && hello.began.len() != hello.epochs.len() {
            return bad("hello.began", "must name a position for each epoch, or none");
        }
        if hello.introduction.len() > 2 * feed::MAX_EPOCHS {
            return bad("hello.introduction", "holds more records than its limit");
        }
        let introduction = hello
            .introduction
            .into_iter()
            .map(|raw| {
                Record::from_raw(raw).or_else(|_| bad("hello.introduction", "must be well-formed records"))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            protocols: hello.protocols,
            direction: match v1::Direction::try_from(hello.direction) {
                Ok(v1::Direction::Up) => feed::Direction::Up,
                Ok(v1::Direction::Down) => feed::Direction::Down,
                Ok(v1::Direction::Restore) => feed::Direction::Restore,
                _ => return bad("hello.direction", "must be UP, DOWN or RESTORE"),
            },
            path: hello.path.parse().or_else(|_| bad("hello.path", "must be region codes joined by '/'"))?,
            origin: origin(&hello.origin, "hello.origin")?,
            trust_domain: hello
                .trust_domain
                .parse()
                .or_else(|_| bad("hello.trust_domain", "must be a trust domain"))?,
            generation: hello.generation[..]
                .try_into()
                .or_else(|_| bad("hello.generation", "must be 16 bytes"))?,
            head: hello.head,
            epochs: hello.epochs,
            began: hello.began,
            last_seq: hello.last_seq,
            now_ms: hello.now_ms,
            software: hello.software.chars().take(64).collect(),
            introduction,
        })
    }
}

impl From<feed::Hello> for v1::FeedHello {
    fn from(hello: feed::Hello) -> Self {
        Self {
            protocols: hello.protocols,
            direction: match hello.direction {
                feed::Direction::Up => v1::Direction::Up,
                feed::Direction::Down => v1::Direction::Down,
                feed::Direction::Restore => v1::Direction::Restore,
            } as i32,
            path: hello.path.to_string(),
            origin: Bytes::copy_from_slice(hello.origin.as_bytes()),
            trust_domain: hello.trust_domain.to_string(),
            generation: Bytes::copy_from_slice(&hello.generation),
            head: hello.head,
            epochs: hello.epochs,
            began: hello.began,
            last_seq: hello.last_seq,
            now_ms: hello.now_ms,
            software: hello.software,
            introduction: hello.introduction.iter().map(Record::to_raw).collect(),
        }
    }
}

impl TryFrom<v1::FeedHead> for feed::Head {
    type Error = ConvertError;
    fn try_from(head: v1::FeedHead) -> Result<Self, ConvertError> {
        if head.below.len() > feed::MAX_BELOW {
            return bad("head.below", "names more nodes than its limit");
        }
        let seen = |seen: v1::NodeSeen| {
            Ok(feed::NodeSeen {
                path: seen
                    .path
                    .parse()
                    .or_else(|_| bad("head.below.path", "must be region codes joined by '/'"))?,
                connected: seen.connected,
                heard_ago_ms: seen.heard_ago_ms,
                behind: seen.behind,
            })
        };
        let below = head.below.into_iter().map(seen).collect::<Result<_, ConvertError>>()?;
        if head.judged.len() > feed::MAX_JUDGES {
            return bad("head.judged", "names more nodes than its limit");
        }
        let word = |word: v1::JudgedUpTo| {
            Ok(feed::JudgedUpTo {
                by: word
                    .by
                    .parse()
                    .or_else(|_| bad("head.judged.by", "must be region codes joined by '/'"))?,
                numbering: (*word.numbering)
                    .try_into()
                    .or_else(|_| bad("head.judged.numbering", "must be 16 bytes"))?,
                position: word.position,
                ago_ms: word.ago_ms,
            })
        };
        let judged = head.judged.into_iter().map(word).collect::<Result<_, ConvertError>>()?;
        let proof = head.proof.map(proof::proof).transpose()?;
        let check = head.check.map(check::check).transpose()?;
        Ok(Self { head: head.head, now_ms: head.now_ms, below, proof, check, judged })
    }
}

impl From<feed::Head> for v1::FeedHead {
    fn from(head: feed::Head) -> Self {
        let seen = |seen: feed::NodeSeen| v1::NodeSeen {
            path: seen.path.to_string(),
            connected: seen.connected,
            heard_ago_ms: seen.heard_ago_ms,
            behind: seen.behind,
        };
        let word = |word: feed::JudgedUpTo| v1::JudgedUpTo {
            by: word.by.to_string(),
            numbering: Bytes::copy_from_slice(&word.numbering),
            position: word.position,
            ago_ms: word.ago_ms,
        };
        Self {
            head: head.head,
            now_ms: head.now_ms,
            below: head.below.into_iter().map(seen).collect(),
            proof: head.proof.map(proof::to_wire),
            check: head.check.map(check::to_wire),
            judged: head.judged.into_iter().map(word).collect(),
        }
    }
}

impl TryFrom<v1::FeedBatch> for feed::Batch {
    type Error = ConvertError;
    fn try_from(batch: v1::FeedBatch) -> Result<Self, ConvertError> {
        Ok(Self {
            after: batch.after,
            upto: batch.upto,
            compression: match v1::Compression::try_from(batch.compression) {
                Ok(v1::Compression::None) => feed::Compression::None,
                Ok(v1::Compression::Zstd) => feed::Compression::Zstd,
                _ => return bad("batch.compression", "must be NONE or ZSTD"),
            },
            raw_len: batch.raw_len,
            payload: batch.payload,
            head: batch.head,
            now_ms: batch.now_ms,
            retractions: check::retractions(batch.retractions)?,
        })
    }
}

impl From<feed::Batch> for v1::FeedBatch {
    fn from(batch: feed::Batch) -> Self {
        Self {
            after: batch.after,
            upto: batch.upto,
            compression: match batch.compression {
                feed::Compression::None => v1::Compression::None,
                feed::Compression::Zstd => v1::Compression::Zstd,
            } as i32,
            raw_len: batch.raw_len,
            payload: batch.payload,
            head: batch.head,
            now_ms: batch.now_ms,
            retractions: check::retractions_to_wire(&batch.retractions),
        }
    }
}

impl TryFrom<v1::ShipReply> for FromReceiver {
    type Error = ConvertError;
    fn try_from(reply: v1::ShipReply) -> Result<Self, ConvertError> {
        Ok(match reply.frame {
            None => return bad("frame", "must be one of this protocol version"),
            Some(ship_reply::Frame::Welcome(welcome)) => Self::Welcome(feed::Welcome {
                protocol: welcome.protocol,
                position: welcome.position,
                now_ms: welcome.now_ms,
                path: welcome
                    .path
                    .parse()
                    .or_else(|_| bad("welcome.path", "must be region codes joined by '/'"))?,
                origin: origin(&welcome.origin, "welcome.origin")?,
                max_batch_bytes: welcome.max_batch_bytes,
                max_in_flight: welcome.max_in_flight,
                max_bytes_per_s: Some(welcome.max_bytes_per_s).filter(|rate| *rate > 0),
                software: welcome.software.chars().take(64).collect(),
                refused: refused(welcome.refused, welcome.refused_incomplete)?,
                lost_before: welcome.lost_before,
            }),
            Some(ship_reply::Frame::Ack(ack)) => Self::Ack(feed::Ack {
                position: ack.position,
                applied: ack.applied,
                repeated: ack.repeated,
                quarantined: ack.quarantined,
                now_ms: ack.now_ms,
                quarantined_total: ack.quarantined_total,
                quarantined_settled: ack.quarantined_settled,
                refused: refused(ack.refused, ack.refused_incomplete)?,
                verdict: ack.verdict.map(proof::verdict).transpose()?,
                check: ack.check.map(check::answer).transpose()?,
            }),
        })
    }
}

impl From<FromReceiver> for v1::ShipReply {
    fn from(frame: FromReceiver) -> Self {
        let frame = match frame {
            FromReceiver::Welcome(welcome) => ship_reply::Frame::Welcome(v1::FeedWelcome {
                protocol: welcome.protocol,
                position: welcome.position,
                now_ms: welcome.now_ms,
                path: welcome.path.to_string(),
                origin: Bytes::copy_from_slice(welcome.origin.as_bytes()),
                max_batch_bytes: welcome.max_batch_bytes,
                max_in_flight: welcome.max_in_flight,
                max_bytes_per_s: welcome.max_bytes_per_s.unwrap_or(0),
                software: welcome.software,
                refused_incomplete: welcome.refused.incomplete,
                refused: refused_records(welcome.refused),
                lost_before: welcome.lost_before,
            }),
            FromReceiver::Ack(ack) => ship_reply::Frame::Ack(v1::FeedAck {
                position: ack.position,
                applied: ack.applied,
                repeated: ack.repeated,
                quarantined: ack.quarantined,
                now_ms: ack.now_ms,
                quarantined_total: ack.quarantined_total,
                quarantined_settled: ack.quarantined_settled,
                refused_incomplete: ack.refused.incomplete,
                refused: refused_records(ack.refused),
                verdict: ack.verdict.map(proof::verdict_to_wire),
                check: ack.check.map(check::answer_to_wire),
            }),
        };
        Self { frame: Some(frame) }
    }
}
