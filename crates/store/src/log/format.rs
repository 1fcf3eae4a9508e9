//! Bytes of segment and frame headers.

use model::OriginId;

pub(crate) const SEGMENT_HEADER: usize = 96;
pub(crate) const FRAME_HEADER: usize = 32;
pub(crate) const ITEM_HEADER: usize = 8;
/// Most bytes of a frame's payload: what a commit may hold, and room for what is added to its records.
pub(crate) const MAX_PAYLOAD: usize = 6 * 1024 * 1024;

/// What the name of a segment ends with while it is being rewritten.
const FRESH: &str = ".new";
const SEGMENT_MAGIC: &[u8; 8] = b"TMSHLOG1";
pub(crate) const FRAME_MAGIC: &[u8; 4] = b"\xF7TMF";
const FORMAT: u16 = 2;
/// A segment out of which superseded records were taken.
const MOVED_FORMAT: u16 = 3;

/// Frame flag: a commit of this node's own writer.
pub(crate) const FLAG_OWN: u8 = 1;
/// Frame flag: of a rewritten segment. Its items have moved, and it may stand for several positions.
pub(crate) const FLAG_MOVED: u8 = 2;
/// Frame flag: more of the same position follows in the next frame.
pub(crate) const FLAG_PART: u8 = 4;
const KNOWN_FLAGS: u8 = FLAG_OWN | FLAG_MOVED | FLAG_PART;

/// What all segments of one log share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Random: the log's own name, and the generation of the feeds that it sends.
    pub store_id: [u8; 16],
    pub node: OriginId,
    /// Random and never told to anybody.
    pub salt: u64,
}

/// Head of a segment file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub identity: Identity,
    pub first_lsn: u64,
    /// First position and length of the segment before; zeros for the first.
    pub before: (u64, u64),
    /// Of a rewritten segment, what it was.
    pub moved: Option<Moved>,
}

/// What a rewritten segment was before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moved {
    /// Its length when it was closed, which the next segment's header tells as well.
    pub original_len: u32,
    pub last_lsn: u64,
}

/// Why bytes are not a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeaderError {
    /// Not one, or damaged.
    Bad(&'static str),
    /// One, but of a format, cipher or flag that this release does not know.
    Unsupported(&'static str),
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; SEGMENT_HEADER] {
        let mut out = [0; SEGMENT_HEADER];
        out[0..8].copy_from_slice(SEGMENT_MAGIC);
        let format = if self.moved.is_some() { MOVED_FORMAT } else { FORMAT };
        out[8..10].copy_from_slice(&format.to_le_bytes());
        out[12..28].copy_from_slice(&self.identity.store_id);
        out[28..44].copy_from_slice(&self.identity.node.0);
        out[44..52].copy_from_slice(&self.identity.salt.to_le_bytes());
        out[52..60].copy_from_slice(&self.first_lsn.to_le_bytes());
        out[60..68].copy_from_slice(&self.before.0.to_le_bytes());
        out[68..76].copy_from_slice(&self.before.1.to_le_bytes());
        if let Some(moved) = &self.moved {
            out[76..80].copy_from_slice(&moved.original_len.to_le_bytes());
            out[80..88].copy_from_slice(&moved.last_lsn.to_le_bytes());
        }
        let crc = crc32c::crc32c(&out[..92]);
        out[92..96].copy_from_slice(&crc.to_le_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        if bytes.len() < SEGMENT_HEADER {
            return Err(HeaderError::Bad("segment header is cut off"));
        }
        if crc32c::crc32c(&bytes[..92]) != u32_at(bytes, 92) {
            return Err(HeaderError::Bad("segment header checksum"));
        }
        if &bytes[0..8] != SEGMENT_MAGIC {
            return Err(HeaderError::Bad("not a log segment"));
        }
        let moved = match u16_at(bytes, 8) {
            FORMAT => None,
            MOVED_FORMAT => Some(Moved { original_len: u32_at(bytes, 76), last_lsn: u64_at(bytes, 80) }),
            _ => return Err(HeaderError::Unsupported("another log format")),
        };
        let identity = Identity {
            store_id: array_at(bytes, 12),
            node: OriginId(array_at(bytes, 28)),
            salt: u64_at(bytes, 44),
        };
        let before = (u64_at(bytes, 60), u64_at(bytes, 68));
        Ok(Self { identity, first_lsn: u64_at(bytes, 52), before, moved })
    }
}

/// Head of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    /// Bytes of the payload.
    pub length: u32,
    pub lsn: u64,
    /// 0 for the first frame of a group. In a rewritten segment: how many positions after its own it stands for.
    pub place: u16,
    pub flags: u8,
    pub payload_crc: u32,
}

impl FrameHeader {
    pub(crate) fn is_moved(&self) -> bool {
        self.flags & FLAG_MOVED != 0
    }

    /// More of the same position follows.
    pub(crate) fn is_part(&self) -> bool {
        self.flags & FLAG_PART != 0
    }

    /// The last position that it stands for.
    pub(crate) fn last_lsn(&self) -> u64 {
        if self.is_moved() { self.lsn.saturating_add(u64::from(self.place)) } else { self.lsn }
    }

    /// Position of the frame behind it.
    pub(crate) fn next_lsn(&self) -> u64 {
        self.last_lsn().saturating_add(u64::from(!self.is_part()))
    }

    /// Position of the first frame of the group.
    pub(crate) fn group(&self) -> u64 {
        self.lsn.saturating_sub(u64::from(self.place))
    }

    pub(crate) fn encode(&self, salt: u64) -> [u8; FRAME_HEADER] {
        let mut out = [0; FRAME_HEADER];
        out[0..4].copy_from_slice(FRAME_MAGIC);
        out[4..8].copy_from_slice(&self.length.to_le_bytes());
        out[8..16].copy_from_slice(&self.lsn.to_le_bytes());
        out[16..18].copy_from_slice(&self.place.to_le_bytes());
        // Byte 18 is the cipher and bytes 20 to 24 the key id: zeros while values are not sealed.
        out[19] = self.flags;
        out[24..28].copy_from_slice(&self.payload_crc.to_le_bytes());
        let crc = header_crc(&out, salt);
        out[28..32].copy_from_slice(&crc.to_le_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8], salt: u64) -> Result<Self, HeaderError> {
        if bytes.len() < FRAME_HEADER {
            return Err(HeaderError::Bad("frame header is cut off"));
        }
        if &bytes[0..4] != FRAME_MAGIC {
            return Err(HeaderError::Bad("no frame begins here"));
        }
        if header_crc(bytes, salt) != u32_at(bytes, 28) {
            return Err(HeaderError::Bad("frame header checksum"));
        }
        if bytes[18] != 0 || u32_at(bytes, 20) != 0 {
            return Err(HeaderError::Unsupported("a cipher"));
        }
        if bytes[19] & !KNOWN_FLAGS != 0 {
            return Err(HeaderError::Unsupported("a frame flag"));
        }
        let length = u32_at(bytes, 4);
        if length as usize > MAX_PAYLOAD {
            return Err(HeaderError::Bad("frame length"));
        }
        Ok(Self {
            length,
            lsn: u64_at(bytes, 8),
            place: u16_at(bytes, 16),
            flags: bytes[19],
            payload_crc: u32_at(bytes, 24),
        })
    }
}

fn header_crc(header: &[u8], salt: u64) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&header[..28]), &salt.to_le_bytes())
}

/// File name of the segment that begins with this position.
pub(crate) fn segment_name(first_lsn: u64) -> String {
    format!("{first_lsn:020}.seg")
}

/// File name of the segment while it is being rewritten.
pub(crate) fn fresh_name(first_lsn: u64) -> String {
    format!("{}{FRESH}", segment_name(first_lsn))
}

/// Whether a file is a rewriting that was never finished.
pub(crate) fn is_fresh(name: &str) -> bool {
    name.strip_suffix(FRESH).is_some_and(|name| segment_of(name).is_some())
}

/// First position of the segment with this file name; none if it is no segment's.
pub(crate) fn segment_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".seg")?;
    (digits.len() == 20).then(|| digits.parse().ok()).flatten()
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(array_at(bytes, at))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}

/// The array at `at`; every caller has checked that it is there.
fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}
