//! Content ids and where content lies. An id is 32 bytes, so no text of a caller's ever becomes a path.

use object_store::path::Path;

/// The SHA-256 of content: its id.
pub type Sha256Bytes = [u8; 32];

/// A text that is not 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a content id is 64 hexadecimal digits")]
pub struct ContentIdError;

/// Reads a content id: exactly 64 hexadecimal digits, in either case.
pub fn parse_content_id(text: &str) -> Result<Sha256Bytes, ContentIdError> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return Err(ContentIdError);
    }
    let digit = |c: u8| char::from(c).to_digit(16).map(|digit| digit as u8);
    let mut id = [0; 32];
    for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
        let (Some(high), Some(low)) = (digit(pair[0]), digit(pair[1])) else { return Err(ContentIdError) };
        *byte = high << 4 | low;
    }
    Ok(id)
}

/// Folder of all content.
pub(crate) const CONTENT: &str = "content";
/// Folder of content on its way in.
pub(crate) const INCOMING: &str = "incoming";

/// `content/ab/cd/<64 digits>`.
pub(crate) fn path_of(id: &Sha256Bytes) -> Path {
    let mut digits = String::with_capacity(2 * id.len());
    for byte in id {
        for half in [byte >> 4, byte & 15] {
            digits.push(char::from_digit(u32::from(half), 16).unwrap_or_default());
        }
    }
    Path::from_iter([CONTENT, &digits[..2], &digits[2..4], &digits])
}

/// The id of the content that lies at `path`; none for anything that is not where this crate puts content.
pub(crate) fn id_at(path: &Path) -> Option<Sha256Bytes> {
    let id = parse_content_id(path.filename()?).ok()?;
    (path_of(&id) == *path).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_lies_two_folders_deep() {
        let id: Sha256Bytes = std::array::from_fn(|place| place as u8 + 0xa0);
        let path = path_of(&id);
        let digits = "a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebf";
        assert_eq!(path.as_ref(), format!("content/a0/a1/{digits}"));
        assert_eq!(id_at(&path), Some(id));
        assert_eq!(parse_content_id(digits), Ok(id));
        assert_eq!(parse_content_id(&digits.to_uppercase()), Ok(id));
    }

    #[test]
    fn nothing_else_is_an_id() {
        for bad in [
            "",
            "../../etc/passwd",
            &"a".repeat(63),
            &"a".repeat(65),
            &"g".repeat(64),
            &"/".repeat(64),
            &"é".repeat(32),
        ] {
            assert_eq!(parse_content_id(bad), Err(ContentIdError), "{bad}");
        }
    }

    #[test]
    fn content_elsewhere_is_not_ours() {
        let digits = "ab".repeat(32);
        for path in [
            format!("content/{digits}"),
            format!("content/ab/cd/{digits}"),
            format!("incoming/ab/ab/{digits}"),
        ] {
            assert_eq!(id_at(&Path::from(path)), None);
        }
        assert_eq!(
            id_at(&Path::from(format!("content/ab/ab/{}", "AB".repeat(32)))),
            None,
            "two names for one content"
        );
    }
}
