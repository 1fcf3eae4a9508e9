//! A byzantine child: it puts records into its own log that it may not write, and ships them like any others.

use futures_util::FutureExt;
use model::body::{Flow, Kind, Registration};
use model::record::Unsigned;
use model::{Number, OriginId, Record, RecordId, RecordKey, SigningKey, Version};
use prost::Message;
use store::Apply;

use super::mesh::{members, trust_domain};
use super::node::Seat;

/// What is wrong with a forged record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forgery {
    /// Its signature is not its key's.
    Signature,
    /// It is of an institution that files with another node.
    ForeignOrigin,
    /// It is signed with a key that nobody vouches for.
    UnknownKey,
}

/// Forges the `number`th record of a simulation at a node; none if the node cannot take it now.
pub fn forge(seat: &Seat, forgery: Forgery, number: usize) -> Option<Record> {
    let live = seat.live.lock().clone()?;
    let epoch = live.store.last_epoch()?.counter;
    // A patient that the victim may have registered itself, under the same number.
    let (code, local_id) = match forgery {
        Forgery::ForeignOrigin => {
            // Over what is filed in its own subtree it would only deceive itself.
            let beside = |member: &&super::mesh::Member| {
                !member.path.contains(&seat.member.path) && !seat.member.path.contains(&member.path)
            };
            let victim = members().iter().filter(beside);
            (victim.flat_map(|member| &member.hospitals).next()?.clone(), format!("P{number}"))
        }
        _ => (demo::synth::social_credit_code(seat.member.path.region(), "S0"), format!("F{number}")),
    };
    let origin = OriginId::of_institution(&trust_domain(), &code);
    let id = RecordId::of(&[b"", local_id.as_bytes()]);
    let kind = Kind::Registration as u32;
    let key = RecordKey::of(kind, origin, id);
    let body = Registration {
        local_id,
        institution_code: code,
        name: "伪·造".into(),
        number: Number::of(key).to_string(),
        ..Registration::default()
    };
    let body = body.encode_to_vec().into();
    let unsigned =
        Unsigned { flow: Flow::Registration, kind, id, origin, subject: Some(key), tombstone: false, body };
    let version = Version { term: 1, epoch, seq: live.store.last_seq().max(1) };
    let stranger = SigningKey::from_seed(&[200; 32]);
    let signing = if forgery == Forgery::UnknownKey { &stranger } else { &seat.member.signing };
    let mut record = Record::sign(unsigned, version, 0, signing).ok()?;
    if forgery == Forgery::Signature {
        let mut raw = record.to_raw();
        let mut signature = raw.signature.to_vec();
        signature[7] ^= 1;
        raw.signature = signature.into();
        record = Record::from_raw(raw).ok()?;
    }
    let apply = Apply { records: vec![record.clone()], ..Apply::default() };
    // A store that works inside its caller is ready at once. If its machine stops just then, the record may be in the log.
    let _outcome = live.store.apply(apply).now_or_never();
    Some(record)
}
