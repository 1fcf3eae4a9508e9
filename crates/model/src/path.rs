//! Where a node stands: GB/T 2260 region codes joined from the root down, and the trust domain they live in.
//!
//! Topology comes from paths and the directory, never from arithmetic on codes (Dongguan is a prefecture without counties).

use std::fmt;
use std::str::FromStr;

/// GB/T 2260 six-digit region code. Only its form is checked: whether a code is in force is a question for the directory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegionCode([u8; 6]);

/// Why a text is not a path, region code or trust domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("a region code is six digits (GB/T 2260)")]
    Region,
    #[error("a path is one to {MAX_DEPTH} region codes joined by '/', none twice")]
    Path,
    #[error("a trust domain is 1 to 63 characters of a-z, 0-9, '.' and '-'")]
    TrustDomain,
}

/// Most codes in a path.
pub const MAX_DEPTH: usize = 8;

impl RegionCode {
    /// The six digits.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl FromStr for RegionCode {
    type Err = PathError;
    fn from_str(text: &str) -> Result<Self, PathError> {
        let bytes: [u8; 6] = text.as_bytes().try_into().map_err(|_| PathError::Region)?;
        if bytes.iter().all(u8::is_ascii_digit) { Ok(Self(bytes)) } else { Err(PathError::Region) }
    }
}

/// A node's path, root first: `530000/532900/532901`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodePath(Vec<RegionCode>);

impl NodePath {
    /// The path of a root node.
    pub fn root(region: RegionCode) -> Self {
        Self(vec![region])
    }

    /// The codes, root first. Never empty.
    pub fn regions(&self) -> &[RegionCode] {
        &self.0
    }

    /// The node's own region.
    pub fn region(&self) -> RegionCode {
        self.0[self.0.len() - 1]
    }

    /// How many nodes stand above it.
    pub fn depth(&self) -> usize {
        self.0.len() - 1
    }

    /// The node above, or none for a root.
    pub fn parent(&self) -> Option<Self> {
        (self.0.len() > 1).then(|| Self(self.0[..self.0.len() - 1].to_vec()))
    }

    /// The path one step down.
    pub fn child(&self, region: RegionCode) -> Result<Self, PathError> {
        if self.0.len() == MAX_DEPTH || self.0.contains(&region) {
            return Err(PathError::Path);
        }
        let mut codes = self.0.clone();
        codes.push(region);
        Ok(Self(codes))
    }

    /// Whether `other` is this node or stands below it.
    pub fn contains(&self, other: &Self) -> bool {
        other.0.starts_with(&self.0)
    }

    /// Whether `other` stands directly below this node.
    pub fn is_parent_of(&self, other: &Self) -> bool {
        other.0.len() == self.0.len() + 1 && self.contains(other)
    }

    /// The lowest node under which both stand, or which is one of them; none in different trees.
    pub fn common(&self, other: &Self) -> Option<Self> {
        let shared = self.0.iter().zip(&other.0).take_while(|(a, b)| a == b).count();
        (shared > 0).then(|| Self(self.0[..shared].to_vec()))
    }

    /// The child of this node under which `target` stands, if it stands below this node.
    pub fn child_towards(&self, target: &Self) -> Option<Self> {
        (target.0.len() > self.0.len() && self.contains(target))
            .then(|| Self(target.0[..=self.0.len()].to_vec()))
    }
}

impl FromStr for NodePath {
    type Err = PathError;
    fn from_str(text: &str) -> Result<Self, PathError> {
        let mut codes = Vec::new();
        for part in text.split('/') {
            let code: RegionCode = part.parse()?;
            if codes.len() == MAX_DEPTH || codes.contains(&code) {
                return Err(PathError::Path);
            }
            codes.push(code);
        }
        Ok(Self(codes))
    }
}

/// The mesh's name, the authority part of every SPIFFE id in it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrustDomain(String);

impl TrustDomain {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TrustDomain {
    type Err = PathError;
    fn from_str(text: &str) -> Result<Self, PathError> {
        let good = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'.' || c == b'-';
        if (1..=63).contains(&text.len()) && text.bytes().all(good) {
            Ok(Self(text.to_owned()))
        } else {
            Err(PathError::TrustDomain)
        }
    }
}

impl fmt::Display for RegionCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for NodePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, code) in self.0.iter().enumerate() {
            if place > 0 {
                f.write_str("/")?;
            }
            f.write_str(code.as_str())?;
        }
        Ok(())
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! debug_as_display {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    )*};
}
debug_as_display!(RegionCode, NodePath, TrustDomain);

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> NodePath {
        text.parse().unwrap()
    }

    #[test]
    fn the_tree() {
        let (province, prefecture, county) =
            (path("530000"), path("530000/532900"), path("530000/532900/532901"));
        assert!(province.contains(&county) && county.contains(&county) && !county.contains(&province));
        assert!(prefecture.is_parent_of(&county) && !province.is_parent_of(&county));
        assert_eq!(province.child_towards(&county), Some(prefecture.clone()));
        assert_eq!(county.child_towards(&county), None);
        assert_eq!(county.parent(), Some(prefecture));
        assert_eq!(province.parent(), None);
    }

    #[test]
    fn a_sibling_with_a_longer_code_is_not_inside() {
        assert!("530000/5329001".parse::<NodePath>().is_err());
        assert!(!path("530000/532900").contains(&path("530000/532901")));
    }

    #[test]
    fn malformed_paths_are_refused() {
        for bad in ["", "/", "530000/", "/530000", "53000", "530000/530000", "53000０", "530000//532900"] {
            assert!(bad.parse::<NodePath>().is_err(), "{bad}");
        }
    }
}
