//! Short lists of numbers by key, in little memory: what the linker's indexes are made of.
//!
//! Millions of keys with a few numbers each would cost a hash map several times what they hold. Here a word of its hash stands for a key, its
//! numbers follow it, and both stand with those of other keys in a *page*, a vector that is searched from its beginning:
//!
//! ```text
//! KEY | hash, number, number, KEY | hash, number, KEY | hash, …
//! ```
//!
//! Other bits of the hash tell which page. The table grows and shrinks by a page at a time (linear hashing, Litwin 1980), so nobody waits
//! for a whole table to be copied, and what is freed is given back.
//!
//! Two keys are taken for one when 45 bits of their hashes agree: of ten million registrations that befalls about a hundred. Whoever
//! asks must bear it. Nothing is done here against keys that are chosen to meet in one page.

use smallvec::SmallVec;

/// Pages that are always there once one is: their number's bits of the hash need not stand in them.
const FIRST_BITS: u32 = 14;
const FIRST: usize = 1 << FIRST_BITS;
/// Words of a page on average. More is less overhead and longer reading.
const WORDS_PER_PAGE: usize = 48;
/// Marks the word that stands for a key.
const KEY: u32 = 1 << 31;

/// The largest number that can be kept.
pub const MAX: u32 = KEY - 1;

/// A list taken out to be changed.
pub type List = SmallVec<[u32; 8]>;

/// Lists of numbers up to [`MAX`], by key. A key without numbers is not kept.
#[derive(Default)]
pub struct Lists {
    /// None, or [`FIRST`] at least.
    pages: Vec<Vec<u32>>,
    keys: usize,
    words: usize,
}

impl std::fmt::Debug for Lists {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lists").field("keys", &self.keys).field("words", &self.words).finish_non_exhaustive()
    }
}

impl Lists {
    /// The numbers of a key, in the order in which they were added.
    pub fn get(&self, key: u64) -> &[u32] {
        let hash = spread(key);
        let Some(page) = self.pages.get(self.page_of(hash)) else { return &[] };
        find(page, word(hash)).map(|(start, end)| &page[start..end]).unwrap_or_default()
    }

    /// Adds a number at the end of a key's list, if that, as it is, asks for it.
    pub fn push_if(&mut self, key: u64, number: u32, asks: impl FnOnce(&[u32]) -> bool) {
        debug_assert!(number <= MAX);
        let hash = spread(key);
        let page = self.page_for(hash);
        let found = find(page, word(hash));
        if !asks(found.map(|(start, end)| &page[start..end]).unwrap_or_default()) {
            return;
        }
        reserve(page, 2);
        if let Some((_, end)) = found {
            page.insert(end, number);
            self.words += 1;
        } else {
            page.extend([word(hash), number]);
            self.words += 2;
            self.keys += 1;
        }
        self.grow();
    }

    /// Changes a key's list; one that is empty afterwards is gone.
    pub fn change(&mut self, key: u64, change: impl FnOnce(&mut List)) {
        let hash = spread(key);
        let page = self.page_for(hash);
        let found = find(page, word(hash));
        let mut list = List::new();
        list.extend_from_slice(found.map(|(start, end)| &page[start..end]).unwrap_or_default());
        change(&mut list);
        let (before, mut known) = (page.len(), 0);
        match found {
            Some((start, end)) if list.is_empty() => {
                page.drain(start - 1..end);
                known = -1;
            }
            Some((start, end)) => {
                reserve(page, list.len());
                page.splice(start..end, list);
            }
            None if list.is_empty() => {}
            None => {
                reserve(page, list.len() + 1);
                page.push(word(hash));
                page.extend_from_slice(&list);
                known = 1;
            }
        }
        if page.capacity() > 2 * page.len() + WORDS_PER_PAGE / 4 {
            page.shrink_to_fit();
        }
        let words = page.len() as isize - before as isize;
        self.words = self.words.saturating_add_signed(words);
        self.keys = self.keys.saturating_add_signed(known);
        self.grow();
        self.shrink();
    }

    /// How many keys have numbers.
    pub fn keys(&self) -> usize {
        self.keys
    }

    /// Place of the page that a hash leads to: by as many of its bits as tell all pages apart, by one less where that page is not
    /// there yet.
    fn page_of(&self, hash: u64) -> usize {
        let above = self.pages.len().next_power_of_two();
        let page = hash as usize & (above - 1);
        if page < self.pages.len() { page } else { page - above / 2 }
    }

    fn page_for(&mut self, hash: u64) -> &mut Vec<u32> {
        if self.pages.is_empty() {
            self.pages.resize(FIRST, Vec::new());
        }
        let page = self.page_of(hash);
        &mut self.pages[page]
    }

    /// Adds a page when the others are full, and moves there what belongs there: half of one page.
    fn grow(&mut self) {
        if self.words <= self.pages.len() * WORDS_PER_PAGE {
            return;
        }
        let half = self.pages.len().next_power_of_two() >> u32::from(!self.pages.len().is_power_of_two());
        let from = self.pages.len() - half;
        // The bit that tells the two apart, as it stands in the pages.
        let bit = (half >> FIRST_BITS) as u32;
        let both = std::mem::take(&mut self.pages[from]);
        let mut parts = [Vec::new(), Vec::new()];
        let mut at = 0;
        while at < both.len() {
            let end = next_key(&both, at + 1);
            let part = &mut parts[usize::from(both[at] & bit != 0)];
            reserve(part, (end - at).max(WORDS_PER_PAGE / 2));
            part.extend_from_slice(&both[at..end]);
            at = end;
        }
        let [stays, goes] = parts;
        self.pages[from] = stays;
        reserve(&mut self.pages, 1);
        self.pages.push(goes);
    }

    /// Takes the last page away when there is room enough in half of them.
    fn shrink(&mut self) {
        if self.pages.len() <= FIRST || self.words * 2 > self.pages.len() * WORDS_PER_PAGE {
            return;
        }
        let half = self.pages.len().next_power_of_two() / 2;
        let last = self.pages.pop().unwrap_or_default();
        let page = self.pages.len() - half;
        reserve(&mut self.pages[page], last.len());
        self.pages[page].extend(last);
        if self.pages.capacity() > self.pages.len() * 2 {
            self.pages.shrink_to_fit();
        }
    }
}

/// Keys may be plain numbers: the finaliser of SplitMix64 makes every bit depend on all.
fn spread(key: u64) -> u64 {
    let z = (key ^ (key >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// What stands for a key in its page.
fn word(hash: u64) -> u32 {
    (hash >> FIRST_BITS) as u32 | KEY
}

/// Where the list of a key starts and ends.
fn find(page: &[u32], key: u32) -> Option<(usize, usize)> {
    /// Words compared at once, without a branch in between.
    const TOGETHER: usize = 16;
    let (chunks, rest) = page.as_chunks::<TOGETHER>();
    let has = |chunk: &[u32; TOGETHER]| chunk.iter().map(|word| u32::from(*word == key)).sum::<u32>() > 0;
    let (before, chunk) = match chunks.iter().position(has) {
        Some(at) => (at * TOGETHER, &chunks[at][..]),
        None => (page.len() - rest.len(), rest),
    };
    let start = before + chunk.iter().position(|word| *word == key)? + 1;
    Some((start, next_key(page, start)))
}

/// The end of the list that goes on here.
fn next_key(page: &[u32], at: usize) -> usize {
    page[at..].iter().position(|word| word & KEY != 0).map_or(page.len(), |length| at + length)
}

/// Makes room for more with an eighth to spare: doubling would leave a quarter of all memory unused.
pub fn reserve<T>(list: &mut Vec<T>, more: usize) {
    if list.capacity() - list.len() < more {
        list.reserve_exact(more.max(list.len() / 8));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    /// Enough for several hundred splits.
    const KEYS: u64 = 400_000;

    fn all(lists: &Lists, key: u64) -> Vec<u32> {
        lists.get(key).to_vec()
    }

    #[test]
    fn it_holds_what_a_map_of_lists_holds() {
        let (mut lists, mut map) = (Lists::default(), HashMap::<u64, Vec<u32>>::new());
        for step in 0..KEYS * 2 {
            let (key, number) = (spread(step + 1) % KEYS, step as u32);
            match step % 5 {
                4 => {
                    lists.change(key, |list| list.retain(|number| *number % 3 == 0));
                    map.entry(key).or_default().retain(|number| *number % 3 == 0);
                }
                3 => {
                    lists.change(key, |list| list.extend([number, MAX, 0]));
                    map.entry(key).or_default().extend([number, MAX, 0]);
                }
                _ => {
                    lists.push_if(key, number, |list| list.len() < 9);
                    let list = map.entry(key).or_default();
                    list.extend((list.len() < 9).then_some(number));
                }
            }
        }
        map.retain(|_, list| !list.is_empty());
        assert!(lists.pages.len() > FIRST + 100, "it must have grown: {}", lists.pages.len());
        assert_eq!(lists.keys(), map.len());
        for key in 0..KEYS {
            assert_eq!(all(&lists, key), map.get(&key).cloned().unwrap_or_default());
        }
    }

    #[test]
    fn what_is_emptied_is_given_back() {
        let mut lists = Lists::default();
        (0..KEYS).for_each(|key| lists.push_if(key, key as u32, <[_]>::is_empty));
        let held = |lists: &Lists| lists.pages.iter().map(Vec::capacity).sum::<usize>();
        let full = held(&lists);
        assert!(full < KEYS as usize * 2 * 5 / 4, "an eighth and some to spare, not {full} words");
        (0..KEYS).filter(|key| key % 100 != 0).for_each(|key| lists.change(key, List::clear));
        assert!((0..KEYS).step_by(100).all(|key| all(&lists, key) == [key as u32]));
        (0..KEYS).for_each(|key| lists.change(key, List::clear));
        assert_eq!((lists.keys(), lists.words, lists.pages.len()), (0, 0, FIRST));
        assert!(held(&lists) <= full / 4, "{} of {full} words", held(&lists));
    }

    #[test]
    fn debug_shows_no_number() {
        let mut lists = Lists::default();
        lists.push_if(13_987_654_321, 77_777, <[_]>::is_empty);
        assert_eq!(format!("{lists:?}"), "Lists { keys: 1, words: 2, .. }");
    }
}
