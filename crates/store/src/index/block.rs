//! Sorted pairs packed into blocks of a few kilobytes.
//!
//! sled holds eight to sixteen pairs to a page, spends a hundred bytes and ten microseconds on each, and remembers every
//! page: pairs of forty bytes are far too small for it. So it gets blocks. A block covers the keys from its own key up to
//! its end, and the blocks of a partition cover it without gaps.
//!
//! ```text
//! length of the end u8 · end │ shared u8 · rest u8 · value length u16 · rest of the key · value │ …
//! ```
//! `shared` bytes of a key are those of the key before it. An empty end is the end of the partition.

use super::Pair;

/// Bytes beyond which a block is split.
const MAX_BYTES: usize = 4096;
const ENTRY_HEAD: usize = 4;

/// Bytes that are not a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotABlock;

/// A block read from bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Block<'a> {
    end: &'a [u8],
    entries: &'a [u8],
}

impl<'a> Block<'a> {
    /// A block that covers a whole partition and holds nothing.
    pub(crate) const EMPTY: Self = Self { end: &[], entries: &[] };

    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, NotABlock> {
        let (length, rest) = bytes.split_first().ok_or(NotABlock)?;
        let (end, entries) = rest.split_at_checked(usize::from(*length)).ok_or(NotABlock)?;
        Ok(Self { end, entries })
    }

    /// The first key that is not covered; none at the end of the partition.
    pub(crate) fn end(&self) -> Option<&'a [u8]> {
        (!self.end.is_empty()).then_some(self.end)
    }

    pub(crate) fn covers(&self, key: &[u8]) -> bool {
        self.end.is_empty() || key < self.end
    }

    pub(crate) fn entries(&self) -> Entries<'a> {
        Entries { rest: self.entries, key: Vec::with_capacity(64) }
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, NotABlock> {
        let mut entries = self.entries();
        while let Some(value) = entries.next()? {
            match entries.key().cmp(key) {
                std::cmp::Ordering::Less => {}
                std::cmp::Ordering::Equal => return Ok(Some(value.to_vec())),
                std::cmp::Ordering::Greater => break,
            }
        }
        Ok(None)
    }

    /// The block with these sorted pairs put into it, as one block or several with the keys that they begin with; the
    /// first begins where this one does.
    pub(crate) fn merge(&self, start: &[u8], pairs: &[Pair]) -> Result<Vec<Pair>, NotABlock> {
        let added: usize = pairs.iter().map(|(key, value)| key.len() + value.len() + ENTRY_HEAD).sum();
        let total = self.entries.len() + added;
        let piece_bytes = total / total.div_ceil(MAX_BYTES).max(1);
        let mut pieces = Pieces {
            start: start.to_vec(),
            bytes: Vec::new(),
            last: Vec::new(),
            done: Vec::new(),
            piece_bytes,
        };
        let mut pairs = pairs.iter().peekable();
        let mut entries = self.entries();
        while let Some(value) = entries.next()? {
            while let Some((key, value)) = pairs.next_if(|(key, _)| key.as_slice() < entries.key()) {
                pieces.push(key, value);
            }
            match pairs.next_if(|(key, _)| key == entries.key()) {
                Some((key, value)) => pieces.push(key, value),
                None => pieces.push(entries.key(), value),
            }
        }
        for (key, value) in pairs {
            pieces.push(key, value);
        }
        Ok(pieces.finish(self.end))
    }
}

/// A walk through a block.
pub(crate) struct Entries<'a> {
    rest: &'a [u8],
    key: Vec<u8>,
}

impl<'a> Entries<'a> {
    /// Steps to the next entry and returns its value.
    pub(crate) fn next(&mut self) -> Result<Option<&'a [u8]>, NotABlock> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (head, rest) = self.rest.split_first_chunk::<ENTRY_HEAD>().ok_or(NotABlock)?;
        let [shared, suffix, value @ ..] = *head;
        let (suffix, rest) = rest.split_at_checked(usize::from(suffix)).ok_or(NotABlock)?;
        let (value, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(value))).ok_or(NotABlock)?;
        if usize::from(shared) > self.key.len() {
            return Err(NotABlock);
        }
        self.key.truncate(usize::from(shared));
        self.key.extend_from_slice(suffix);
        self.rest = rest;
        Ok(Some(value))
    }

    /// The current entry's key.
    pub(crate) fn key(&self) -> &[u8] {
        &self.key
    }
}

/// Blocks under construction.
struct Pieces {
    start: Vec<u8>,
    bytes: Vec<u8>,
    last: Vec<u8>,
    done: Vec<(Vec<u8>, Vec<u8>)>,
    piece_bytes: usize,
}

impl Pieces {
    fn push(&mut self, key: &[u8], value: &[u8]) {
        if self.bytes.len() > self.piece_bytes {
            let start = std::mem::replace(&mut self.start, key.to_vec());
            self.done.push((start, std::mem::take(&mut self.bytes)));
            self.last.clear();
        }
        let shared = self.last.iter().zip(key).take_while(|(a, b)| a == b).count();
        let suffix = &key[shared..];
        self.bytes.extend_from_slice(&[shared as u8, suffix.len() as u8]);
        self.bytes.extend_from_slice(&(value.len() as u16).to_le_bytes());
        self.bytes.extend_from_slice(suffix);
        self.bytes.extend_from_slice(value);
        self.last.clear();
        self.last.extend_from_slice(key);
    }

    fn finish(mut self, end: &[u8]) -> Vec<Pair> {
        self.done.push((self.start, self.bytes));
        let ends: Vec<Vec<u8>> =
            self.done[1..].iter().map(|(start, _)| start.clone()).chain([end.to_vec()]).collect();
        let with_end = |((start, bytes), end): ((Vec<u8>, Vec<u8>), Vec<u8>)| {
            let mut block = Vec::with_capacity(1 + end.len() + bytes.len());
            block.push(end.len() as u8);
            block.extend_from_slice(&end);
            block.extend_from_slice(&bytes);
            (start, block)
        };
        self.done.into_iter().zip(ends).map(with_end).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn pairs() -> impl Strategy<Value = BTreeMap<Vec<u8>, Vec<u8>>> {
        let key = prop::collection::vec(0u8..3, 1..6);
        prop::collection::btree_map(key, prop::collection::vec(any::<u8>(), 0..300), 0..60)
    }

    proptest! {
        #[test]
        fn merged_blocks_hold_all_pairs_in_order(first in pairs(), second in pairs()) {
            let as_pairs = |map: &BTreeMap<Vec<u8>, Vec<u8>>| map.clone().into_iter().collect::<Vec<Pair>>();
            let blocks = Block::EMPTY.merge(&[], &as_pairs(&first)).unwrap();
            let mut merged = Vec::new();
            for (start, bytes) in &blocks {
                let block = Block::parse(bytes).unwrap();
                let inside: Vec<Pair> =
                    as_pairs(&second).into_iter().filter(|(key, _)| key >= start && block.covers(key)).collect();
                merged.extend(block.merge(start, &inside).unwrap());
            }
            let mut expected = first;
            expected.extend(second);
            let mut found = Vec::new();
            let mut next: Option<Vec<u8>> = Some(Vec::new());
            for (start, bytes) in &merged {
                prop_assert!(bytes.len() < MAX_BYTES + 1000);
                prop_assert_eq!(next.as_ref(), Some(start), "blocks follow on each other");
                let block = Block::parse(bytes).unwrap();
                let mut entries = block.entries();
                while let Some(value) = entries.next().unwrap() {
                    prop_assert!(entries.key() >= start.as_slice() && block.covers(entries.key()));
                    let got = block.get(entries.key()).unwrap();
                    prop_assert_eq!(got.as_deref(), Some(value));
                    found.push((entries.key().to_vec(), value.to_vec()));
                }
                next = block.end().map(<[u8]>::to_vec);
            }
            prop_assert_eq!(next, None);
            prop_assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
        }

        #[test]
        fn bytes_that_are_no_block_are_refused_or_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(block) = Block::parse(&bytes) {
                let mut entries = block.entries();
                while let Ok(Some(_)) = entries.next() {}
            }
        }
    }
}
