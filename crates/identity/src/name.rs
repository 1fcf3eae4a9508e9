//! Names in certificates: SPIFFE ids, and which authority may issue which.
//!
//! ```text
//! spiffe://<trust domain>                              the mesh's root authority
//! spiffe://<trust domain>/<path>                       a node's authority
//! spiffe://<trust domain>/<path>/node                  a node: its TLS and its record-signing certificate
//! spiffe://<trust domain>/<path>/institution/<code>    an institution
//! spiffe://<trust domain>/<path>/operator/<account>    and likewise auditor, service
//! ```
//!
//! A path is region codes, so a word such as `node` can never be taken for a part of it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use model::{NodePath, TrustDomain};

/// Longest name accepted, in bytes (SPIFFE-ID 2.3).
pub const MAX_BYTES: usize = 2048;

/// Whose certificate it is, within one trust domain.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Name {
    /// A certificate authority: a node's, or the mesh's root when there is no path.
    Authority(Option<NodePath>),
    Node(NodePath),
    Institution(NodePath, InstitutionCode),
    Operator(NodePath, Account),
    Auditor(NodePath, Account),
    Service(NodePath, Account),
}

/// What kind of name it is: what handlers decide by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    Authority,
    Node,
    Institution,
    Operator,
    Auditor,
    Service,
}

/// A name with the mesh it is valid in: the URI of a certificate.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiffeId {
    pub trust_domain: TrustDomain,
    pub name: Name,
}

/// An institution's code as it stands in its certificate: WS 218 (22 characters), GB 32100 (18) or another of
/// 4 to 32 letters, digits and hyphens.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstitutionCode(String);

/// The account of an operator, auditor or service: 1 to 64 characters of a-z, 0-9, '.', '_' and '-'.
/// Chinese names live in the directory.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Account(String);

/// Why a text is not a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("a name has at most {MAX_BYTES} bytes")]
    TooLong,
    #[error("a name starts with spiffe://")]
    Scheme,
    #[error("a trust domain is 1 to 63 characters of a-z, 0-9, '.' and '-'")]
    TrustDomain,
    #[error("a path is one to {} different region codes of six digits joined by '/'", model::path::MAX_DEPTH)]
    Path,
    #[error("after its path a name ends or goes on with node, institution, operator, auditor or service")]
    Role,
    #[error("an institution code is 4 to 32 letters, digits and hyphens")]
    InstitutionCode,
    #[error("an account is 1 to 64 characters of a-z, 0-9, '.', '_' and '-', and neither '.' nor '..'")]
    Account,
}

impl Name {
    /// The name of an institution (by its code), operator, auditor or service (by its account) at the node `path`.
    pub fn of_client(path: NodePath, role: Role, who: &str) -> Result<Self, NameError> {
        match role {
            Role::Institution => Ok(Self::Institution(path, who.parse()?)),
            Role::Operator => Ok(Self::Operator(path, who.parse()?)),
            Role::Auditor => Ok(Self::Auditor(path, who.parse()?)),
            Role::Service => Ok(Self::Service(path, who.parse()?)),
            Role::Authority | Role::Node => Err(NameError::Role),
        }
    }

    /// The role in it.
    pub fn role(&self) -> Role {
        match self {
            Self::Authority(_) => Role::Authority,
            Self::Node(_) => Role::Node,
            Self::Institution(..) => Role::Institution,
            Self::Operator(..) => Role::Operator,
            Self::Auditor(..) => Role::Auditor,
            Self::Service(..) => Role::Service,
        }
    }

    /// Where it belongs in the tree; none for the root authority alone.
    pub fn path(&self) -> Option<&NodePath> {
        match self {
            Self::Authority(path) => path.as_ref(),
            Self::Node(path)
            | Self::Institution(path, _)
            | Self::Operator(path, _)
            | Self::Auditor(path, _)
            | Self::Service(path, _) => Some(path),
        }
    }

    /// The rule of containment, for issuing and for verifying alike. A node and its authority are named by the
    /// authority one step up, which for a path of one code is the root; everybody else by their own node's authority.
    pub fn may_issue(&self, subject: &Self) -> bool {
        let Self::Authority(issuer) = self else { return false };
        match subject {
            Self::Authority(None) => false,
            Self::Authority(Some(path)) | Self::Node(path) => path.parent() == *issuer,
            Self::Institution(path, _)
            | Self::Operator(path, _)
            | Self::Auditor(path, _)
            | Self::Service(path, _) => Some(path) == issuer.as_ref(),
        }
    }

    /// The name as a URI of `trust_domain`.
    pub fn in_domain(&self, trust_domain: &TrustDomain) -> Arc<SpiffeId> {
        Arc::new(SpiffeId { trust_domain: trust_domain.clone(), name: self.clone() })
    }
}

impl Role {
    /// The word in the name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Authority => "authority",
            Self::Node => "node",
            Self::Institution => "institution",
            Self::Operator => "operator",
            Self::Auditor => "auditor",
            Self::Service => "service",
        }
    }
}

impl FromStr for Role {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let all =
            [Self::Authority, Self::Node, Self::Institution, Self::Operator, Self::Auditor, Self::Service];
        all.into_iter().find(|role| role.as_str() == text).ok_or(NameError::Role)
    }
}

impl InstitutionCode {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for InstitutionCode {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let good = |c: u8| c.is_ascii_alphanumeric() || c == b'-';
        if (4..=32).contains(&text.len()) && text.bytes().all(good) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError::InstitutionCode)
        }
    }
}

impl Account {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Account {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let good = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'.' | b'_' | b'-');
        // SPIFFE forbids dot segments: a URI library in between would resolve them away.
        if (1..=64).contains(&text.len()) && text.bytes().all(good) && text != "." && text != ".." {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError::Account)
        }
    }
}

impl FromStr for SpiffeId {
    type Err = NameError;
    /// Accepts exactly what `Display` writes: nothing percent-encoded, no query, user or port, no empty segment.
    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.len() > MAX_BYTES {
            return Err(NameError::TooLong);
        }
        let rest = text.strip_prefix("spiffe://").ok_or(NameError::Scheme)?;
        let (domain, rest) = match rest.split_once('/') {
            Some((domain, rest)) => (domain, Some(rest)),
            None => (rest, None),
        };
        let trust_domain = domain.parse().map_err(|_| NameError::TrustDomain)?;
        let name = rest.map_or(Ok(Name::Authority(None)), parse_below_domain)?;
        Ok(Self { trust_domain, name })
    }
}

fn parse_below_domain(text: &str) -> Result<Name, NameError> {
    let is_code = |part: &str| part.len() == 6 && part.bytes().all(|c| c.is_ascii_digit());
    let mut parts = text.split('/').peekable();
    let mut codes = Vec::new();
    while let Some(code) = parts.next_if(|part| is_code(part)) {
        codes.push(code);
    }
    let path: NodePath = codes.join("/").parse().map_err(|_| NameError::Path)?;
    let name = match (parts.next(), parts.next()) {
        (None, _) => Name::Authority(Some(path)),
        (Some("node"), None) => Name::Node(path),
        (Some(role), Some(who)) => Name::of_client(path, role.parse()?, who)?,
        _ => return Err(NameError::Role),
    };
    if parts.next().is_some() { Err(NameError::Role) } else { Ok(name) }
}

impl fmt::Display for Name {
    /// What stands after the trust domain: `/530000/532900/node`; empty for the root authority.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Authority(None) => Ok(()),
            Self::Authority(Some(path)) => write!(f, "/{path}"),
            Self::Node(path) => write!(f, "/{path}/node"),
            Self::Institution(path, code) => write!(f, "/{path}/institution/{}", code.0),
            Self::Operator(path, account) => write!(f, "/{path}/operator/{}", account.0),
            Self::Auditor(path, account) => write!(f, "/{path}/auditor/{}", account.0),
            Self::Service(path, account) => write!(f, "/{path}/service/{}", account.0),
        }
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spiffe://{}{}", self.trust_domain, self.name)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for InstitutionCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! debug_as_display {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    )*};
}
debug_as_display!(Name, SpiffeId, InstitutionCode, Account);

#[cfg(test)]
mod tests;
