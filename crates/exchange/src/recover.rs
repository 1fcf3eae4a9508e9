//! What survives in an overruled branch: data of this node's from before a restore, a clone's, an old backup's.
//!
//! Records that were acknowledged there and never came up are in no other node. They are listed, and an operator can have them
//! written again: with the same bodies, as new versions of this node's. What was changed since in the living branch is listed
//! and left alone, since only people can say which of both is right.

use bytes::Bytes;
use futures_util::StreamExt;
use model::body::{DocumentEntry, Kind};
use model::{Flow, OriginId, Record, RecordKey, Version};
use repository::Repository;
use store::{Draft, Expect, Store};

use crate::{Exchange, ExchangeError};

/// Most versions of a record that are looked through for the one in the other branch.
const MAX_HISTORY: usize = 64;
/// Records written again in one commit, and read from the other branch at a time.
const AT_ONCE: usize = 64;
const BYTES_AT_ONCE: usize = 1024 * 1024;

/// A record that only the overruled branch has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survivor {
    pub key: RecordKey,
    pub kind: u32,
    /// Code of the institution that filed it; none if the directory does not know it.
    pub institution: Option<String>,
    pub version: Version,
    /// The writer's clock at the commit, milliseconds since 1970-01-01 UTC.
    pub recorded_ms: u64,
    pub fate: Fate,
}

/// What can become of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Nothing is held under its key, or a version that came before it: it can be written again.
    Missing,
    /// The living branch has gone on from another version: to be compared by people.
    ChangedSince { held: Version },
    /// Its institution files with another node now: to be filed there.
    FilesElsewhere,
}

/// What came of writing survivors again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TakenIn {
    pub records: u64,
    /// Document entries that were left out because their content is in neither folder.
    pub without_content: u64,
}

impl Exchange {
    /// The registrations and document entries that this node signed in the other branch and that are not held here in that
    /// version or one that followed it, in the order of the other branch's log.
    pub fn survivors(&self, branch: &Store) -> Result<Vec<Survivor>, ExchangeError> {
        let mut survivors = Vec::new();
        let mut reader = branch.feed_reader(0);
        loop {
            let slice = reader.next(AT_ONCE, BYTES_AT_ONCE, &|envelope| {
                matches!(envelope.known_flow(), Some(Flow::Registration | Flow::DocumentEntry))
            })?;
            for record in &slice.records {
                survivors.extend(self.survivor(record)?);
            }
            if slice.upto >= slice.head {
                return Ok(survivors);
            }
        }
    }

    fn survivor(&self, record: &Record) -> Result<Option<Survivor>, ExchangeError> {
        let (envelope, key) = (record.envelope(), record.key());
        let (directory, store) = (self.parts.directory.snapshot(), &self.parts.store);
        if directory.key(&envelope.key_id).is_none_or(|known| known.node != self.parts.node.origin) {
            return Ok(None);
        }
        let version = envelope.version;
        let held = store.version(&key)?;
        let followed = match held {
            Some(held) if held == version => true,
            Some(held) if held > version => {
                let history = store.history(&key, MAX_HISTORY)?;
                history.iter().any(|(_, earlier)| earlier.envelope().version == version)
            }
            _ => false,
        };
        if followed {
            return Ok(None);
        }
        let institution = directory.institution(&envelope.origin);
        let fate = match held.filter(|held| *held > version) {
            Some(held) => Fate::ChangedSince { held },
            None if institution.is_some_and(|known| known.writer == self.parts.node.origin) => Fate::Missing,
            None => Fate::FilesElsewhere,
        };
        Ok(Some(Survivor {
            key,
            kind: envelope.kind,
            institution: institution.map(|known| known.code.clone()),
            version,
            recorded_ms: envelope.recorded_ms,
            fate,
        }))
    }

    /// Writes the missing ones of these again, with their content. This node must have begun to write. It may be done again
    /// after a failure: what was written is missing no more.
    pub async fn take_in(
        &self,
        branch: &Store,
        content: &Repository,
        survivors: &[Survivor],
    ) -> Result<TakenIn, ExchangeError> {
        let mut taken = TakenIn::default();
        let missing: Vec<&Survivor> = survivors.iter().filter(|one| one.fate == Fate::Missing).collect();
        for some in missing.chunks(AT_ONCE) {
            let mut drafts = Vec::with_capacity(some.len());
            for one in some {
                let Some(record) = branch.get(&one.key)? else { continue };
                if self.has_content(&record, content).await? {
                    drafts.push(self.draft_again(&record)?);
                } else {
                    taken.without_content += 1;
                }
            }
            let count = drafts.len() as u64;
            if count > 0 {
                self.parts.store.commit(drafts).await?;
            }
            taken.records += count;
        }
        Ok(taken)
    }

    fn draft_again(&self, record: &Record) -> Result<Draft, ExchangeError> {
        let envelope = record.envelope();
        let directory = self.parts.directory.snapshot();
        let institution = directory.institution(&envelope.origin);
        let term = institution.map_or(envelope.version.term, |known| known.term);
        let flow = envelope.known_flow().ok_or_else(|| ExchangeError::internal("an unknown flow class"))?;
        let held = self.parts.store.version(&record.key())?;
        Ok(Draft {
            flow,
            kind: envelope.kind,
            id: envelope.id,
            origin: envelope.origin,
            term,
            subject: envelope.subject,
            tombstone: envelope.tombstone,
            body: record.body().clone(),
            expect: held.map_or(Expect::Absent, Expect::Version),
        })
    }

    /// Whether the content of a document entry is here, after taking it from the other branch if need be. Others have none, and
    /// what another node or the hospital holds is not looked for.
    async fn has_content(&self, record: &Record, from: &Repository) -> Result<bool, ExchangeError> {
        if record.envelope().kind != Kind::DocumentEntry as u32 || record.envelope().tombstone {
            return Ok(true);
        }
        let Ok(entry) = record.decode_body::<DocumentEntry>() else { return Ok(false) };
        let own = OriginId::try_from(&entry.custodian[..]).is_ok_and(|one| one == self.parts.node.origin);
        let Ok(sha256) = <[u8; 32]>::try_from(&entry.sha256[..]) else { return Ok(true) };
        if !own || !entry.reference.is_empty() {
            return Ok(true);
        }
        let failed = |error: repository::RepositoryError| ExchangeError::internal(error.to_string());
        let repository = &self.parts.repository;
        if repository.contains(&sha256).await.map_err(failed)? {
            return Ok(true);
        }
        if !from.contains(&sha256).await.map_err(failed)? {
            return Ok(false);
        }
        let mut upload = repository.begin(entry.size, sha256).await.map_err(failed)?;
        let mut pieces = from.read(sha256, 0);
        while let Some(piece) = pieces.next().await {
            let piece: Bytes = piece.map_err(failed)?;
            upload.write(piece).await.map_err(failed)?;
        }
        upload.finish().await.map_err(failed)?;
        Ok(true)
    }
}
