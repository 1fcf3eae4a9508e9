//! Directory records: they say who may write, so each is judged strictly, and the first claim of a name stands.

use model::body::{EpochEntry, InstitutionEntry, Kind, NodeEntry, SigningKeyEntry};
use model::{Flow, NodePath, OriginId, Record, RecordId, VerifyingKey};

use super::{Reason, Rules, Signer, Staged, in_epoch, known_kind, signer};
use crate::directory::epoch_record_id;
use crate::{DirectoryView, Fact, epoch};

/// What the record adds to the directory, if it is good.
pub(super) fn judge(record: &Record, staged: &Staged, rules: Rules<'_>) -> Result<Fact, Reason> {
    let (envelope, view) = (record.envelope(), staged.view());
    if envelope.known_flow() != Some(Flow::Directory) {
        return Err(Reason::WrongFlow);
    }
    if envelope.tombstone {
        return Err(Reason::Withdrawn);
    }
    if known_kind(record) == Some(Kind::SigningKey) {
        return signing_key(record, view, rules);
    }
    let signer = signer(record, view, rules)?;
    record.verify(signer.key).map_err(|_| Reason::Signature)?;
    if envelope.origin != signer.node {
        return Err(Reason::NotTheWriter { path: signer.path.clone(), origin: envelope.origin });
    }
    match known_kind(record) {
        Some(Kind::Epoch) => epoch_entry(record, &signer, view),
        Some(Kind::Node) => node(record, &signer, view, rules),
        Some(Kind::Institution) => institution(record, &signer, view, rules),
        Some(Kind::Succession) => super::succession::judge(record, &signer, view, rules),
        _ => Err(Reason::Body("not a directory record")),
    }
}

/// A key vouches for itself: its certificate names the node, and it signs its own record, which binds the node's origin.
fn signing_key(record: &Record, view: &DirectoryView, rules: Rules<'_>) -> Result<Fact, Reason> {
    let envelope = record.envelope();
    let entry: SigningKeyEntry = record.decode_body().map_err(|_| Reason::Body("signing key"))?;
    let bytes: &[u8; 32] = entry.public_key[..].try_into().map_err(|_| Reason::Body("public key"))?;
    let key = VerifyingKey::from_bytes(bytes).ok_or(Reason::Body("public key"))?;
    if envelope.id != RecordId::of(&[key.id().as_bytes()]) {
        return Err(Reason::WrongId);
    }
    record.verify(&key).map_err(|_| Reason::Signature)?;
    let origin = envelope.origin;
    let path = match view.key(&key.id()) {
        // Admitted before: a key stays its node's for ever, whatever became of its certificate.
        Some(known) if known.node == origin => view.path_of(&origin).cloned(),
        Some(known) => return Err(Reason::OriginTaken { origin, known: known.node.to_string() }),
        None => None,
    };
    let path = match path {
        Some(path) => path,
        None => certified(&entry, &key, rules)?,
    };
    rules.from.check(&path, envelope)?;
    bound(origin, &path, view)?;
    // An origin begins with the key that it is a hash of; so nobody can begin with another's, or with an institution's.
    if view.path_of(&origin).is_none() && origin != OriginId::of_node(rules.trust_domain, key.as_bytes()) {
        return Err(Reason::WrongOrigin);
    }
    Ok(Fact::Key { node: origin, key, path: Some(path) })
}

fn certified(entry: &SigningKeyEntry, key: &VerifyingKey, rules: Rules<'_>) -> Result<NodePath, Reason> {
    let admitted = rules.keyring.admit(entry).map_err(Reason::KeyRefused)?;
    if admitted.key == *key {
        Ok(admitted.path)
    } else {
        Err(Reason::KeyRefused("its certificate is for another key".into()))
    }
}

/// The first binding of path and origin stands, and no node takes the place of an institution.
fn bound(origin: OriginId, path: &NodePath, view: &DirectoryView) -> Result<(), Reason> {
    if let Some(known) = view.origin_at(path).filter(|known| *known != origin) {
        return Err(Reason::PathTaken { path: path.clone(), known });
    }
    if let Some(known) = view.path_of(&origin).filter(|known| *known != path) {
        return Err(Reason::OriginTaken { origin, known: known.to_string() });
    }
    match view.institution(&origin) {
        Some(institution) => {
            Err(Reason::OriginTaken { origin, known: format!("institution {}", institution.code) })
        }
        None => Ok(()),
    }
}

fn epoch_entry(record: &Record, signer: &Signer<'_>, view: &DirectoryView) -> Result<Fact, Reason> {
    let envelope = record.envelope();
    let entry: EpochEntry = record.decode_body().map_err(|_| Reason::Body("epoch"))?;
    if envelope.id != epoch_record_id(entry.counter) {
        return Err(Reason::WrongId);
    }
    let misfit = |why| Reason::Epoch { path: signer.path.clone(), counter: entry.counter, why };
    // An epoch's record is the first commit in it.
    if envelope.version.epoch != entry.counter || envelope.version.seq <= entry.base_seq {
        return Err(misfit(epoch::EpochMisfit::Malformed));
    }
    epoch::fits(view.epochs(&signer.node), &entry).map_err(misfit)?;
    Ok(Fact::Epoch { node: signer.node, entry })
}

fn node(
    record: &Record,
    signer: &Signer<'_>,
    view: &DirectoryView,
    rules: Rules<'_>,
) -> Result<Fact, Reason> {
    in_epoch(record, signer, view)?;
    let envelope = record.envelope();
    let entry: NodeEntry = record.decode_body().map_err(|_| Reason::Body("node"))?;
    if envelope.id != RecordId::of(&[]) {
        return Err(Reason::WrongId);
    }
    if entry.origin[..] != envelope.origin.0 {
        return Err(Reason::WrongOrigin);
    }
    if entry.trust_domain != rules.trust_domain.as_str() {
        return Err(Reason::WrongTree);
    }
    if entry.path.parse().as_ref() != Ok(signer.path) {
        // Cut short: a path is at most 55 characters, and a reason should be one line.
        let stated = entry.path.chars().take(64).collect();
        return Err(Reason::WrongPath { certified: signer.path.clone(), stated });
    }
    Fact::of_node(envelope.version, entry, envelope.origin).ok_or(Reason::Body("node"))
}

fn institution(
    record: &Record,
    signer: &Signer<'_>,
    view: &DirectoryView,
    rules: Rules<'_>,
) -> Result<Fact, Reason> {
    in_epoch(record, signer, view)?;
    let envelope = record.envelope();
    let entry: InstitutionEntry = record.decode_body().map_err(|_| Reason::Body("institution"))?;
    let origin = OriginId::try_from(&entry.origin[..]).map_err(|_| Reason::Body("institution"))?;
    if envelope.id != RecordId::of(&[origin.as_bytes(), &entry.term.to_be_bytes()]) {
        return Err(Reason::WrongId);
    }
    if entry.code.is_empty()
        || entry.code.len() > 64
        || origin != OriginId::of_institution(rules.trust_domain, &entry.code)
    {
        return Err(Reason::WrongOrigin);
    }
    if let Some(known) = view.node(&origin) {
        return Err(Reason::OriginTaken { origin, known: known.path.to_string() });
    }
    if entry.term > 1 {
        super::moves::decided(&entry, origin, signer, (view, rules))?;
        return Fact::of_institution(envelope.version, entry, envelope.origin)
            .ok_or(Reason::Body("institution"));
    }
    if entry.writer[..] != signer.node.0 || entry.term != 1 {
        return Err(Reason::NotItsOwn { path: signer.path.clone() });
    }
    if let Some(known) = view.institution_in(&origin, 1).filter(|known| known.writer != signer.node) {
        let by = view.path_of(&known.writer).map_or_else(|| known.writer.to_string(), ToString::to_string);
        return Err(Reason::Claimed { code: entry.code, by });
    }
    Fact::of_institution(envelope.version, entry, envelope.origin).ok_or(Reason::Body("institution"))
}
