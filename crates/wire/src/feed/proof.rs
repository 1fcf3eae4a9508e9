//! Wire ↔ model for proofs and verdicts.

use bytes::Bytes;
use model::Record;
use model::feed::{BUCKETS, BucketSum, Comparison, MAX_GIVEN_BACK, Proof, Verdict};

use super::bad;
use crate::ConvertError;
use crate::v1;

pub(super) fn bucket(number: u32, field: &'static str) -> Result<u16, ConvertError> {
    u16::try_from(number)
        .ok()
        .filter(|bucket| *bucket < BUCKETS)
        .map_or_else(|| bad(field, "must be under 1024"), Ok)
}

pub(super) fn sum(digest: v1::BucketDigest) -> Result<BucketSum, ConvertError> {
    let sum: [u8; 16] = digest.sum[..].try_into().or_else(|_| bad("head.proof.sum", "must be 16 bytes"))?;
    let bucket = bucket(digest.bucket, "head.proof.bucket")?;
    Ok(BucketSum { bucket, sum: u128::from_be_bytes(sum), records: digest.records })
}

pub(super) fn proof(proof: v1::FeedProof) -> Result<Proof, ConvertError> {
    if proof.buckets.len() > usize::from(BUCKETS) {
        return bad("head.proof.buckets", "has more buckets than there are");
    }
    let total = proof.total.map_or_else(|| bad("head.proof.total", "must be given"), sum)?;
    let buckets = proof.buckets.into_iter().map(sum).collect::<Result<_, _>>()?;
    Ok(Proof { position: proof.position, total, buckets })
}

pub(super) fn digest(sum: BucketSum) -> v1::BucketDigest {
    v1::BucketDigest {
        bucket: sum.bucket.into(),
        sum: Bytes::copy_from_slice(&sum.sum.to_be_bytes()),
        records: sum.records,
    }
}

pub(super) fn to_wire(proof: Proof) -> v1::FeedProof {
    v1::FeedProof {
        position: proof.position,
        total: Some(digest(proof.total)),
        buckets: proof.buckets.into_iter().map(digest).collect(),
    }
}

pub(super) fn comparison(
    comparison: v1::Comparison,
    field: &'static str,
) -> Result<Comparison, ConvertError> {
    Ok(match comparison {
        v1::Comparison::Equal => Comparison::Equal,
        v1::Comparison::Different => Comparison::Different,
        v1::Comparison::NotYet => Comparison::NotYet,
        v1::Comparison::Unspecified => return bad(field, "must be known"),
    })
}

pub(super) fn comparison_to_wire(comparison: Comparison) -> v1::Comparison {
    match comparison {
        Comparison::Equal => v1::Comparison::Equal,
        Comparison::Different => v1::Comparison::Different,
        Comparison::NotYet => v1::Comparison::NotYet,
    }
}

pub(super) fn verdict(verdict: v1::FeedVerdict) -> Result<Verdict, ConvertError> {
    let comparison = comparison(verdict.comparison(), "verdict.comparison")?;
    if verdict.differing.len() > usize::from(BUCKETS) || verdict.given_back.len() > MAX_GIVEN_BACK {
        return bad("verdict", "names more than its limit");
    }
    let number = |number: u32| bucket(number, "verdict.differing");
    let record =
        |raw| Record::from_raw(raw).or_else(|_| bad("verdict.given_back", "must be well-formed records"));
    Ok(Verdict {
        position: verdict.position,
        comparison,
        differing: verdict.differing.into_iter().map(number).collect::<Result<_, _>>()?,
        given_back: verdict.given_back.into_iter().map(record).collect::<Result<_, _>>()?,
    })
}

pub(super) fn verdict_to_wire(verdict: Verdict) -> v1::FeedVerdict {
    let comparison = comparison_to_wire(verdict.comparison);
    v1::FeedVerdict {
        position: verdict.position,
        comparison: comparison.into(),
        differing: verdict.differing.into_iter().map(u32::from).collect(),
        given_back: verdict.given_back.iter().map(Record::to_raw).collect(),
    }
}
