//! Fetching a document's content: from the repository here, or hop by hop towards its custodian.
//!
//! Content is streamed with the reader's back-pressure and never held whole. Every node on the way checks the hash at the
//! end, so damage is found next to where it happened.

use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt};
use model::body::{Availability, DocumentEntry, Kind};
use model::query::ContentQuery;
use model::{NodePath, OriginId};
use sha2::{Digest, Sha256};

use crate::caller::{Action, Caller, Role, permit};
use crate::documents::content_error;
use crate::{Content, Deadline, Exchange, ExchangeError, Hop, PeerError};

impl Exchange {
    /// Opens a document's content for reading.
    pub async fn retrieve(
        &self,
        caller: &Caller,
        mut query: ContentQuery,
        deadline: Deadline,
    ) -> Result<Content, ExchangeError> {
        let _permit = permit(caller, Action::Retrieve, &self.parts.node.path)?;
        self.take_context(caller, &mut query.context)?;
        let from_above = caller.role == Role::Node && caller.path.is_parent_of(&self.parts.node.path);
        let held = match self.parts.store.get(&query.key)? {
            Some(record)
                if record.envelope().kind == Kind::DocumentEntry as u32 && !record.envelope().tombstone =>
            {
                Some(
                    record
                        .decode_body::<DocumentEntry>()
                        .map_err(|error| ExchangeError::internal(error.to_string()))?,
                )
            }
            _ => None,
        };
        if let Some(entry) = &held
            && let Ok(custodian) = OriginId::try_from(&entry.custodian[..])
        {
            let own = self.parts.node.origin;
            // Who stands for whom is known above first.
            let told = from_above && query.custodian_path.as_ref() == Some(&self.parts.node.path);
            let stands_for = !query.as_filed && (told || self.custodian_now(entry) == Some(own));
            if custodian == own || stands_for && self.is_here(entry).await? {
                return self.content_here(entry.clone(), query.offset);
            }
            if stands_for {
                return self.content_elsewhere(query, custodian, deadline.shrink()).await;
            }
        }
        let known = held.as_ref().and_then(|entry| {
            let named = OriginId::try_from(&entry.custodian[..]).ok().filter(|_| query.as_filed);
            let named = named.and_then(|custodian| self.parts.directory.path_of(&custodian));
            named.or_else(|| self.custodian_path(entry).parse().ok())
        });
        let known = known.filter(|target| !from_above || self.parts.node.path.contains(target));
        let target: NodePath = known.or_else(|| query.custodian_path.clone()).ok_or_else(|| {
            ExchangeError::not_found(
                "UNKNOWN_DOCUMENT",
                "this node does not know the document; say where it is held (custodian_path)",
            )
        })?;
        let hop = self.hop_towards(caller, &target)?;
        query.custodian_path = Some(target.clone());
        let offset = query.offset;
        let asked = self.parts.peers.retrieve(&hop, query.clone(), deadline.shrink()).await;
        let succeeded = || {
            let entry = held.as_ref().filter(|_| !query.as_filed)?;
            let custodian = OriginId::try_from(&entry.custodian[..]).ok()?;
            (self.custodian_now(entry) != Some(custodian)).then_some(custodian)
        };
        let content = match asked {
            // Who stands for the custodian has not heard of it, or of the document: then that one still has it.
            Err(PeerError::Refused { error, .. })
                if matches!(error.reason(), "UNKNOWN_DOCUMENT" | "UNKNOWN_NODE")
                    && let Some(custodian) = succeeded() =>
            {
                return self.content_elsewhere(query, custodian, deadline.shrink()).await;
            }
            asked => asked.map_err(|error| unreachable_custodian(error, &target))?,
        };
        Ok(if offset == 0 { checked(content) } else { content })
    }

    async fn is_here(&self, entry: &DocumentEntry) -> Result<bool, ExchangeError> {
        // What has no content, or none that a node keeps, is answered from the entry.
        let Ok(sha256) = entry.sha256[..].try_into() else { return Ok(true) };
        let kept = entry.reference.is_empty() && entry.availability != Availability::Withdrawn as i32;
        Ok(!kept || self.parts.repository.contains(&sha256).await.map_err(content_error)?)
    }

    /// The content from the custodian that the entry names, although this node stands for it by now.
    pub(crate) async fn content_elsewhere(
        &self,
        query: ContentQuery,
        custodian: OriginId,
        deadline: Deadline,
    ) -> Result<Content, ExchangeError> {
        let unknown =
            || ExchangeError::not_found("UNKNOWN_NODE", "the node that kept this content is not known here");
        let target = self.parts.directory.path_of(&custodian).ok_or_else(unknown)?;
        let hop = match self.parts.node.path.child_towards(&target) {
            Some(child) => Hop::Child(child),
            None if self.parts.node.is_root() => return Err(unknown()),
            None => Hop::Parent,
        };
        let query = ContentQuery { as_filed: true, custodian_path: Some(target.clone()), ..query };
        let whole = query.offset == 0;
        let content = self.parts.peers.retrieve(&hop, query, deadline).await;
        let content = content.map_err(|error| unreachable_custodian(error, &target))?;
        Ok(if whole { checked(content) } else { content })
    }

    fn content_here(&self, entry: DocumentEntry, offset: u64) -> Result<Content, ExchangeError> {
        if entry.availability == Availability::Withdrawn as i32 {
            return Err(ExchangeError::not_found(
                "WITHDRAWN",
                "this document was withdrawn by its institution",
            ));
        }
        if !entry.reference.is_empty() {
            return Err(ExchangeError::not_found(
                "CONTENT_BY_REFERENCE",
                "the institution itself holds this content; ask there",
            ));
        }
        if offset > entry.size {
            return Err(ExchangeError::unusable("OFFSET", "the offset is beyond the content's end"));
        }
        let sha256 =
            entry.sha256[..].try_into().map_err(|_| ExchangeError::internal("a hash of another length"))?;
        let chunks =
            self.parts.repository.read(sha256, offset).map(|chunk| chunk.map_err(content_error)).boxed();
        Ok(Content { entry, chunks })
    }

    fn hop_towards(&self, caller: &Caller, target: &NodePath) -> Result<Hop, ExchangeError> {
        let own = &self.parts.node.path;
        if target == own {
            return Err(ExchangeError::not_found(
                "UNKNOWN_DOCUMENT",
                "this node is the custodian asked for and does not have the document",
            ));
        }
        if let Some(child) = own.child_towards(target) {
            return Ok(Hop::Child(child));
        }
        if self.parts.node.is_root() {
            return Err(ExchangeError::not_found(
                "UNKNOWN_NODE",
                "the custodian asked for is not in this tree",
            ));
        }
        if caller.role == Role::Node && caller.path.is_parent_of(own) {
            return Err(ExchangeError::not_found(
                "UNKNOWN_NODE",
                "the custodian asked for is not below this node",
            ));
        }
        Ok(Hop::Parent)
    }
}

fn unreachable_custodian(error: PeerError, target: &NodePath) -> ExchangeError {
    match error {
        PeerError::Refused { error, .. } => error,
        PeerError::Deadline { .. } => {
            ExchangeError::Deadline { message: format!("{target} did not answer in time") }
        }
        error => ExchangeError::unavailable(
            "CUSTODIAN_UNREACHABLE",
            format!("the content is at {target}: {error}"),
        ),
    }
}

/// The same content, with its size and hash checked at the end.
fn checked(content: Content) -> Content {
    let Content { entry, chunks } = content;
    let state =
        Check { chunks, hash: Sha256::new(), left: entry.size, expected: entry.sha256.clone(), done: false };
    let chunks = futures_util::stream::unfold(state, |mut state| async move {
        if state.done {
            return None;
        }
        let item = state.next().await;
        state.done |= item.as_ref().is_none_or(Result::is_err);
        item.map(|item| (item, state))
    });
    Content { entry, chunks: chunks.boxed() }
}

struct Check {
    chunks: BoxStream<'static, Result<Bytes, ExchangeError>>,
    hash: Sha256,
    left: u64,
    expected: Bytes,
    done: bool,
}

impl Check {
    async fn next(&mut self) -> Option<Result<Bytes, ExchangeError>> {
        match self.chunks.next().await {
            Some(Ok(chunk)) => {
                self.hash.update(&chunk);
                match self.left.checked_sub(chunk.len() as u64) {
                    Some(left) => self.left = left,
                    None => return Some(Err(corrupt())),
                }
                Some(Ok(chunk))
            }
            Some(Err(error)) => Some(Err(error)),
            None => {
                let hash = std::mem::take(&mut self.hash).finalize();
                (self.left != 0 || hash[..] != self.expected[..]).then(|| Err(corrupt()))
            }
        }
    }
}

fn corrupt() -> ExchangeError {
    ExchangeError::data_loss(
        "CONTENT_CORRUPT",
        "the content that arrived does not have the size and hash of its entry",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn run(declared: &'static [u8], arrives: &[&'static [u8]]) -> Result<Vec<u8>, String> {
        let entry = DocumentEntry {
            size: declared.len() as u64,
            sha256: Bytes::copy_from_slice(&Sha256::digest(declared)),
            ..Default::default()
        };
        let chunks: Vec<_> = arrives.iter().map(|chunk| Ok(Bytes::from_static(chunk))).collect();
        let mut content = checked(Content { entry, chunks: futures_util::stream::iter(chunks).boxed() });
        let mut all = Vec::new();
        while let Some(chunk) = content.chunks.next().await {
            all.extend_from_slice(&chunk.map_err(|error| error.reason().to_owned())?);
        }
        Ok(all)
    }

    #[tokio::test]
    async fn damage_on_the_way_is_found_at_the_end() {
        assert_eq!(run(b"abcdef", &[b"abc", b"def"]).await.unwrap(), b"abcdef");
        assert_eq!(run(b"", &[]).await.unwrap(), b"");
        for arrives in [&[&b"abc"[..]][..], &[b"abc", b"deX"], &[b"abcdef", b"g"], &[]] {
            assert_eq!(run(b"abcdef", arrives).await.unwrap_err(), "CONTENT_CORRUPT");
        }
    }
}
