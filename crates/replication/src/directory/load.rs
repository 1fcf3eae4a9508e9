//! Directory records in the store's index: the terms under which they are found again, and reading them at a start.

use model::body::{Kind, SigningKeyEntry};
use model::{Flow, Record};
use sha2::{Digest, Sha256};
use store::{ReadError, Store, Term};

use super::{DirectoryView, Fact};
use crate::Keyring;

/// The space of terms that the directory uses.
pub const DIRECTORY_SPACE: u8 = 1;

/// Records looked up at once.
const PAGE: usize = 512;

/// The term under which directory records of one kind are found.
pub fn directory_term(kind: u32) -> [u8; 16] {
    let mut hash = Sha256::new();
    hash.update(b"tiermesh directory v1\0");
    hash.update(kind.to_be_bytes());
    let mut term = [0; 16];
    term.copy_from_slice(&hash.finalize()[..16]);
    term
}

/// Adds the term of a directory record, for the store's derivation. Other records get none.
pub fn directory_terms(record: &Record, out: &mut Vec<Term>) {
    let envelope = record.envelope();
    if envelope.known_flow() == Some(Flow::Directory) {
        out.push(Term { space: DIRECTORY_SPACE, term: directory_term(envelope.kind) });
    }
}

/// Reads nodes first, then keys, so that a key's path comes from its node's record.
pub(super) fn read(store: &Store, keyring: &dyn Keyring) -> Result<DirectoryView, ReadError> {
    let mut view = DirectoryView::default();
    for kind in
        [Kind::Node, Kind::SigningKey, Kind::Epoch, Kind::Institution, Kind::TermEnd, Kind::Succession]
    {
        each(store, kind as u32, |record| match Fact::of_record(record) {
            Some(Fact::Key { node, key, path: None }) => {
                let path =
                    if view.path_of(&node).is_none() { path_in_certificate(record, keyring) } else { None };
                view.apply(Fact::Key { node, key, path });
            }
            Some(fact) => view.apply(fact),
            None => {}
        })?;
    }
    Ok(view)
}

/// The path of a key whose node record has not arrived yet.
fn path_in_certificate(record: &Record, keyring: &dyn Keyring) -> Option<model::NodePath> {
    let entry: SigningKeyEntry = record.decode_body().ok()?;
    match keyring.admit(&entry) {
        Ok(admitted) => Some(admitted.path),
        Err(why) => {
            tracing::warn!(node = %record.envelope().origin, %why, "a signing key is held whose certificate is refused");
            None
        }
    }
}

fn each(store: &Store, kind: u32, mut take: impl FnMut(&Record)) -> Result<(), ReadError> {
    let term = directory_term(kind);
    let mut after = None;
    loop {
        let keys = store.lookup(DIRECTORY_SPACE, &term, after, PAGE)?;
        let Some(last) = keys.last() else { return Ok(()) };
        after = Some(*last);
        for key in &keys {
            // An entry of the index is a candidate; a record of another kind cannot have this key.
            if let Some(record) = store.get(key)? {
                take(&record);
            }
        }
    }
}
