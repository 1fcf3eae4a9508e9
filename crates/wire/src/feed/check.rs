//! Wire ↔ model for the comparison of down feeds and for what is retracted.

use bytes::Bytes;
use model::feed::{Check, CheckAnswer, HeldVersion, MAX_CHECKED, MAX_HELD, MAX_RETRACTIONS};
use model::{RecordKey, Version};

use super::{bad, proof};
use crate::ConvertError;
use crate::v1;

fn key(bytes: &[u8], field: &'static str) -> Result<RecordKey, ConvertError> {
    RecordKey::try_from(bytes).or_else(|_| bad(field, "must be 16 bytes"))
}

fn version(text: &str, field: &'static str) -> Result<Version, ConvertError> {
    text.parse().or_else(|_| bad(field, "must be term.epoch.seq"))
}

pub(super) fn check(check: v1::BucketCheck) -> Result<Check, ConvertError> {
    let buckets = check.buckets.into_iter().map(proof::sum).collect::<Result<Vec<_>, _>>()?;
    let consecutive = buckets.windows(2).all(|pair| pair[0].bucket + 1 == pair[1].bucket);
    if buckets.is_empty() || buckets.len() > MAX_CHECKED || !consecutive {
        return bad("head.check.buckets", "must be 1 to 64 consecutive ones");
    }
    let after = (!check.after.is_empty()).then(|| key(&check.after, "head.check.after")).transpose()?;
    Ok(Check { position: check.position, buckets, after })
}

pub(super) fn to_wire(check: Check) -> v1::BucketCheck {
    v1::BucketCheck {
        position: check.position,
        buckets: check.buckets.into_iter().map(proof::digest).collect(),
        after: check.after.map_or_else(Bytes::new, |key| Bytes::copy_from_slice(key.as_bytes())),
    }
}

pub(super) fn answer(answer: v1::BucketAnswer) -> Result<CheckAnswer, ConvertError> {
    if answer.held.len() > MAX_HELD {
        return bad("check.held", "names more than its limit");
    }
    let held = |held: &v1::HeldRecord| {
        Ok(HeldVersion {
            key: key(&held.key, "check.held.key")?,
            version: version(&held.version, "check.held.version")?,
            quarantined: held.quarantined,
        })
    };
    Ok(CheckAnswer {
        position: answer.position,
        comparison: proof::comparison(answer.comparison(), "check.comparison")?,
        bucket: proof::bucket(answer.bucket, "check.bucket")?,
        held: answer.held.iter().map(held).collect::<Result<_, ConvertError>>()?,
        incomplete: answer.incomplete,
    })
}

pub(super) fn answer_to_wire(answer: CheckAnswer) -> v1::BucketAnswer {
    let held = |held: &HeldVersion| v1::HeldRecord {
        key: Bytes::copy_from_slice(held.key.as_bytes()),
        version: held.version.to_string(),
        quarantined: held.quarantined,
    };
    v1::BucketAnswer {
        position: answer.position,
        comparison: proof::comparison_to_wire(answer.comparison).into(),
        bucket: answer.bucket.into(),
        held: answer.held.iter().map(held).collect(),
        incomplete: answer.incomplete,
    }
}

pub(super) fn retractions(all: Vec<v1::Retraction>) -> Result<Vec<(RecordKey, Version)>, ConvertError> {
    if all.len() > MAX_RETRACTIONS {
        return bad("batch.retractions", "names more than its limit");
    }
    let one = |one: &v1::Retraction| {
        Ok((key(&one.key, "batch.retractions.key")?, version(&one.version, "batch.retractions.version")?))
    };
    all.iter().map(one).collect()
}

pub(super) fn retractions_to_wire(all: &[(RecordKey, Version)]) -> Vec<v1::Retraction> {
    let one = |(key, version): &(RecordKey, Version)| v1::Retraction {
        key: Bytes::copy_from_slice(key.as_bytes()),
        version: version.to_string(),
    };
    all.iter().map(one).collect()
}
