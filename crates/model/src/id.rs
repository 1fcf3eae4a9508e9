//! Permanent ids: 16 bytes each, printed as lower-case hexadecimal.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use crate::TrustDomain;

/// An id that is not 16 bytes, or not 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id is 16 bytes, written as 32 hexadecimal digits")]
pub struct IdError;

macro_rules! id_type {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 16]);

        impl $name {
            /// The id's bytes.
            pub fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = IdError;
            fn try_from(bytes: &[u8]) -> Result<Self, IdError> {
                bytes.try_into().map(Self).map_err(|_| IdError)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                parse_hex(text).map(Self).ok_or(IdError)
            }
        }
    };
}

id_type!(
    /// Whose records: an institution for what it files, a node for what it decides. One writer at a time.
    OriginId
);
id_type!(
    /// A record within its kind and origin.
    RecordId
);
id_type!(
    /// A record anywhere: what the store and links between records use. See [`RecordKey::of`].
    RecordKey
);
id_type!(
    /// A record-signing key: the first 16 bytes of the SHA-256 of its public key.
    KeyId
);
id_type!(
    /// One start of a writer; random.
    EpochId
);

impl OriginId {
    /// The origin of an institution: a hash of its code, so that two nodes claiming one institution collide visibly.
    pub fn of_institution(trust_domain: &TrustDomain, code: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"tiermesh institution v1\0");
        hash.update(trust_domain.as_str());
        hash.update([0]);
        hash.update(code);
        Self(first_16(hash))
    }
}

impl OriginId {
    /// The origin of a node: a hash of the first record-signing key it ever had. Nobody else can begin with it, since the first
    /// key record of an origin must be of that key; later keys are bound to the node, not to its id.
    pub fn of_node(trust_domain: &TrustDomain, first_public_key: &[u8; 32]) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"tiermesh node v1\0");
        hash.update(trust_domain.as_str());
        hash.update([0]);
        hash.update(first_public_key);
        Self(first_16(hash))
    }
}

impl RecordId {
    /// The id of the record with this natural key (for example source system and local patient id).
    pub fn of(natural_key: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"tiermesh id v1\0");
        for part in natural_key {
            hash.update((part.len() as u32).to_be_bytes());
            hash.update(part);
        }
        Self(first_16(hash))
    }
}

impl RecordKey {
    /// The key of the record (kind, origin, id). Computed by every receiver and never transmitted for the record itself,
    /// so no origin can take the place of another's record.
    pub fn of(kind: u32, origin: OriginId, id: RecordId) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"tiermesh key v1\0");
        hash.update(kind.to_be_bytes());
        hash.update(origin.0);
        hash.update(id.0);
        Self(first_16(hash))
    }
}

impl KeyId {
    /// The id of an Ed25519 public key.
    pub fn of(public_key: &[u8; 32]) -> Self {
        let mut hash = Sha256::new();
        hash.update(public_key);
        Self(first_16(hash))
    }
}

/// Person index number: 16 characters of Crockford base32 (80 bits). A registration is born with one, taken from its key;
/// a person's number is one of its registrations'.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Number([u8; 16]);

const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

impl Number {
    /// The number of the registration with this key.
    pub fn of(registration: RecordKey) -> Self {
        let mut bits = registration.0[..10].iter().fold(0u128, |acc, byte| acc << 8 | u128::from(*byte));
        let mut text = [0; 16];
        for place in text.iter_mut().rev() {
            *place = CROCKFORD[(bits & 31) as usize];
            bits >>= 5;
        }
        Self(text)
    }

    /// The number as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl FromStr for Number {
    type Err = NumberError;
    /// Accepts lower case, hyphens and the letters that Crockford reads as digits (I, L, O).
    fn from_str(text: &str) -> Result<Self, NumberError> {
        let mut out = [0; 16];
        let mut filled = 0;
        for c in text.bytes().filter(|c| *c != b'-') {
            let c = match c.to_ascii_uppercase() {
                b'I' | b'L' => b'1',
                b'O' => b'0',
                c => c,
            };
            if !CROCKFORD.contains(&c) || filled == out.len() {
                return Err(NumberError);
            }
            out[filled] = c;
            filled += 1;
        }
        if filled == out.len() { Ok(Self(out)) } else { Err(NumberError) }
    }
}

/// A text that is not a person index number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a person index number is 16 characters of 0-9 and A-Z without I, L, O and U")]
pub struct NumberError;

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn first_16(hash: Sha256) -> [u8; 16] {
    let mut out = [0; 16];
    out.copy_from_slice(&hash.finalize()[..16]);
    out
}

fn parse_hex(text: &str) -> Option<[u8; 16]> {
    let text = text.as_bytes();
    if text.len() != 32 {
        return None;
    }
    let digit = |c: u8| (c as char).to_digit(16).map(|d| d as u8);
    let mut out = [0; 16];
    for (byte, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_survive_text() {
        let id = RecordId::of(&[b"HIS", b"P0001"]);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!("zz".parse::<RecordId>(), Err(IdError));
    }

    #[test]
    fn natural_key_parts_do_not_run_together() {
        assert_ne!(RecordId::of(&[b"ab", b"c"]), RecordId::of(&[b"a", b"bc"]));
        assert_ne!(RecordId::of(&[b"ab"]), RecordId::of(&[b"ab", b""]));
    }

    #[test]
    fn a_key_depends_on_kind_origin_and_id() {
        let (a, b) = (OriginId([1; 16]), OriginId([2; 16]));
        let id = RecordId([3; 16]);
        assert_ne!(RecordKey::of(1, a, id), RecordKey::of(1, b, id));
        assert_ne!(RecordKey::of(1, a, id), RecordKey::of(2, a, id));
    }

    /// Golden values: a change here would orphan every stored record.
    #[test]
    fn derivations_are_frozen() {
        let domain: TrustDomain = "tiermesh.example".parse().unwrap();
        let origin = OriginId::of_institution(&domain, "53010212345678901A1001");
        let id = RecordId::of(&[b"HIS", b"P0001"]);
        let key = RecordKey::of(1, origin, id);
        assert_eq!(
            (origin.to_string(), id.to_string(), key.to_string(), Number::of(key).to_string()),
            (
                "2837aa189f6221f226b273e0f65dbab9".to_owned(),
                "df100dd1bb0cc13e64adc609456247db".to_owned(),
                "fd068b02febc62566d87f78e11321fa4".to_owned(),
                "ZM38P0QYQHH5CVC7".to_owned(),
            ),
        );
    }

    #[test]
    fn a_nodes_origin_is_frozen_too() {
        let domain: TrustDomain = "tiermesh.example".parse().unwrap();
        let origin = OriginId::of_node(&domain, &[7; 32]);
        assert_eq!(origin.to_string(), "2bebdc1a0e20188cfb901c47ba963e1a");
        assert_ne!(origin, OriginId::of_node(&domain, &[8; 32]));
    }

    #[test]
    fn numbers_are_read_forgivingly() {
        let number = Number::of(RecordKey([0xA5; 16]));
        let text = number.to_string();
        assert_eq!(text.to_lowercase().parse(), Ok(number));
        assert_eq!(format!("{}-{}", &text[..8], &text[8..]).parse(), Ok(number));
        assert_eq!("U".repeat(16).parse::<Number>(), Err(NumberError));
        assert_eq!("1".repeat(17).parse::<Number>(), Err(NumberError));
    }
}
