//! The mark: whether the store was closed, and what may be believed about the index.

use std::io;

use crate::storage::{Storage, read_small, replace_small};

const MARK: &str = "mark";
const REBUILD: &str = "rebuild-index";
const FIRST_LINE: &str = "tiermesh store 1";
/// Longer than any mark.
const MOST: usize = 1024;

/// What the last user of the store left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mark {
    /// It was open, under this boot of the system.
    Open { boot_id: String },
    /// It was closed; the index had this digest, if it is one of files.
    Closed { index: Option<u64> },
    /// There is none that can be read.
    Unknown,
}

impl Mark {
    /// Whether the machine may have gone down while the store was open.
    pub(crate) fn power_loss(&self, boot_id: &str) -> bool {
        match self {
            Self::Open { boot_id: then } => then != boot_id,
            Self::Closed { .. } => false,
            Self::Unknown => true,
        }
    }

    pub(crate) fn read(storage: &dyn Storage) -> io::Result<Self> {
        let Some(bytes) = read_small(storage, MARK, MOST)? else { return Ok(Self::Unknown) };
        Ok(Self::parse(&bytes).unwrap_or(Self::Unknown))
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (text, crc) = text.strip_suffix('\n')?.rsplit_once('\n')?;
        if u32::from_str_radix(crc, 16).ok()? != crc32c::crc32c(text.as_bytes()) {
            return None;
        }
        let mut lines = text.lines();
        if lines.next()? != FIRST_LINE {
            return None;
        }
        match lines.next()?.split_once(' ')? {
            ("open", boot_id) => Some(Self::Open { boot_id: boot_id.to_owned() }),
            ("closed", "-") => Some(Self::Closed { index: None }),
            ("closed", digest) => Some(Self::Closed { index: Some(u64::from_str_radix(digest, 16).ok()?) }),
            _ => None,
        }
    }

    pub(crate) fn write(&self, storage: &dyn Storage) -> io::Result<()> {
        let line = match self {
            Self::Open { boot_id } => format!("open {boot_id}"),
            Self::Closed { index: None } => "closed -".to_owned(),
            Self::Closed { index: Some(digest) } => format!("closed {digest:016x}"),
            Self::Unknown => return Ok(()),
        };
        let text = format!("{FIRST_LINE}\n{line}");
        let crc = crc32c::crc32c(text.as_bytes());
        replace_small(storage, MARK, format!("{text}\n{crc:08x}\n").as_bytes())
    }
}

/// Removes the mark: the next start assumes the worst.
pub(crate) fn remove(storage: &dyn Storage) -> io::Result<()> {
    match storage.remove(MARK) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => storage.sync_dir(),
    }
}

/// Notes that the index must not be used again.
pub(crate) fn ask_for_rebuild(storage: &dyn Storage) -> io::Result<()> {
    storage.create(REBUILD)?;
    storage.sync_dir()
}

pub(crate) fn rebuild_asked(storage: &dyn Storage) -> io::Result<bool> {
    Ok(read_small(storage, REBUILD, 1)?.is_some())
}

pub(crate) fn rebuild_begun(storage: &dyn Storage) -> io::Result<()> {
    match storage.remove(REBUILD) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => storage.sync_dir(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Memory;

    #[test]
    fn a_mark_is_read_back_and_a_damaged_one_counts_as_power_loss() {
        let memory = Memory::new(1);
        assert_eq!(Mark::read(&memory).unwrap(), Mark::Unknown);
        let marks = [
            Mark::Open { boot_id: "b-1".to_owned() },
            Mark::Closed { index: None },
            Mark::Closed { index: Some(7) },
        ];
        for mark in marks {
            mark.write(&memory).unwrap();
            assert_eq!(Mark::read(&memory).unwrap(), mark);
        }
        memory.damage(MARK, |bytes| bytes[20] ^= 1);
        assert!(Mark::read(&memory).unwrap().power_loss("b-1"));
    }

    #[test]
    fn only_another_boot_is_a_power_loss() {
        let open = Mark::Open { boot_id: "b-1".to_owned() };
        assert!(!open.power_loss("b-1"));
        assert!(open.power_loss("b-2"));
        assert!(!Mark::Closed { index: None }.power_loss("b-2"));
    }
}
