//! Whose log there is in a folder, without opening it: for whoever looks at a node that does not start, or that runs.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use model::OriginId;

use super::format::{HeaderError, SEGMENT_HEADER, SegmentHeader, segment_of};

/// The node whose log is in this folder, by the header of its oldest segment; none where there is no log yet. Locks nothing and
/// changes nothing. [`io::ErrorKind::InvalidData`] for a header that is damaged or of another release.
pub fn log_owner(folder: &Path) -> io::Result<Option<OriginId>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        entries => entries?,
    };
    let mut oldest: Option<(u64, std::path::PathBuf)> = None;
    for entry in entries {
        let entry = entry?;
        let first = entry.file_name().to_str().and_then(segment_of);
        if let Some(first) = first.filter(|first| oldest.as_ref().is_none_or(|(held, _)| first < held)) {
            oldest = Some((first, entry.path()));
        }
    }
    let Some((_, path)) = oldest else { return Ok(None) };
    let mut bytes = Vec::with_capacity(SEGMENT_HEADER);
    File::open(path)?.take(SEGMENT_HEADER as u64).read_to_end(&mut bytes)?;
    match SegmentHeader::decode(&bytes) {
        Ok(header) => Ok(Some(header.identity.node)),
        Err(HeaderError::Bad(why) | HeaderError::Unsupported(why)) => {
            Err(io::Error::new(io::ErrorKind::InvalidData, why))
        }
    }
}
