//! What a node keeps of its own beside its certificates: its permanent origin id, the key of its lookup terms, and the last
//! epoch that it began.
//!
//! All live in the identity directory, not with the data: a node that loses its disk is still the same origin, and a stolen
//! data directory does not carry the key that its index is hashed with.

use std::fmt;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use exchange::TermKey;
use identity::Identity;
use model::{Entropy, EpochId, OriginId};
use store::LastEpoch;

const ORIGIN_FILE: &str = "origin.id";
const LOOKUP_FILE: &str = "lookup.key";
const EPOCH_FILE: &str = "last.epoch";

/// A node's own secrets and id.
#[derive(Clone)]
pub struct Local {
    pub origin: OriginId,
    pub terms: TermKey,
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local").field("origin", &self.origin).finish_non_exhaustive()
    }
}

/// Why they cannot be had. One line, with what to do.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    #[error(
        "{path} is damaged: it must hold {digits} hexadecimal digits; bring it back from the backup of the identity directory"
    )]
    Damaged { path: PathBuf, digits: usize },
    #[error("{path} may be read by others; run: chmod 600 {path}")]
    Exposed { path: PathBuf },
}

impl Local {
    /// Reads them, or makes them on the first call.
    /// Its origin is taken from the signing key that it has then, and stays when the key is changed later.
    pub fn load_or_create(
        dir: &Path,
        identity: &Identity,
        entropy: &dyn Entropy,
    ) -> Result<Self, LocalError> {
        let public_key = identity.signing_key.verifying_key();
        let first = OriginId::of_node(&identity.trust_domain, public_key.as_bytes());
        let origin = read_or_create::<16>(&dir.join(ORIGIN_FILE), || first.0)?;
        let random = || {
            let mut bytes = [0; 32];
            entropy.fill(&mut bytes);
            bytes
        };
        let key = read_or_create::<32>(&dir.join(LOOKUP_FILE), random)?;
        Ok(Self { origin: OriginId(origin), terms: TermKey::new(key) })
    }

    /// The origin that this identity folder makes the node: as it is noted, or as the first start will note it.
    pub fn origin(dir: &Path, identity: &Identity) -> Result<OriginId, LocalError> {
        match read(&dir.join(ORIGIN_FILE)) {
            Err(LocalError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                let public_key = identity.signing_key.verifying_key();
                Ok(OriginId::of_node(&identity.trust_domain, public_key.as_bytes()))
            }
            read => read.map(OriginId),
        }
    }

    /// Whether what is there can be used; what is not there yet is made at the first start.
    pub fn check(dir: &Path) -> Result<(), LocalError> {
        let (origin, lookup) = (dir.join(ORIGIN_FILE), dir.join(LOOKUP_FILE));
        if origin.exists() {
            read::<16>(&origin)?;
        }
        if lookup.exists() {
            read::<32>(&lookup)?;
        }
        last_epoch(dir).map(|_| ())
    }
}

/// The last epoch that this node began, noted beside its origin: a node whose data is lost must not use it again. None before
/// the first.
pub fn last_epoch(dir: &Path) -> Result<Option<LastEpoch>, LocalError> {
    let bytes = match read::<28>(&dir.join(EPOCH_FILE)) {
        Err(LocalError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            return Ok(None);
        }
        read => read?,
    };
    let (mut counter, mut id, mut base_seq) = ([0; 4], [0; 16], [0; 8]);
    counter.copy_from_slice(&bytes[..4]);
    id.copy_from_slice(&bytes[4..20]);
    base_seq.copy_from_slice(&bytes[20..]);
    Ok(Some(LastEpoch {
        counter: u32::from_be_bytes(counter),
        id: EpochId(id),
        base_seq: u64::from_be_bytes(base_seq),
    }))
}

/// Notes the epoch that this node has begun.
pub fn note_epoch(dir: &Path, epoch: LastEpoch) -> Result<(), LocalError> {
    let mut bytes = epoch.counter.to_be_bytes().to_vec();
    bytes.extend_from_slice(&epoch.id.0);
    bytes.extend_from_slice(&epoch.base_seq.to_be_bytes());
    write(&dir.join(EPOCH_FILE), &bytes)
}

fn read_or_create<const N: usize>(path: &Path, make: impl Fn() -> [u8; N]) -> Result<[u8; N], LocalError> {
    match read(path) {
        Err(LocalError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            let bytes = make();
            write(path, &bytes)?;
            Ok(bytes)
        }
        read => read,
    }
}

/// Written aside and renamed, so that a crash leaves the whole file or none.
fn write(path: &Path, bytes: &[u8]) -> Result<(), LocalError> {
    let io = |source| LocalError::Io { path: path.to_owned(), source };
    let text = bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    let aside = path.with_extension("new");
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&aside)
        .map_err(io)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(io)?;
    std::fs::rename(&aside, path).map_err(io)?;
    match path.parent() {
        Some(dir) => std::fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(io),
        None => Ok(()),
    }
}

fn read<const N: usize>(path: &Path) -> Result<[u8; N], LocalError> {
    let io = |source| LocalError::Io { path: path.to_owned(), source };
    let text = std::fs::read_to_string(path).map_err(io)?;
    let mode = std::fs::metadata(path).map_err(io)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(LocalError::Exposed { path: path.to_owned() });
    }
    parse_hex(text.trim()).ok_or_else(|| LocalError::Damaged { path: path.to_owned(), digits: 2 * N })
}

fn parse_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let text = text.as_bytes();
    let mut out = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    for (byte, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use identity::ca::{self, Lives};

    use super::*;
    use crate::seams::SystemEntropy;

    fn identity(dir: &Path) -> Identity {
        ca::init_root(&dir.join("root"), &"local.test".parse().unwrap(), 1_800_000_000_000).unwrap();
        let out = dir.join("node");
        ca::issue_node(
            &dir.join("root"),
            &"530000".parse().unwrap(),
            &[],
            &out,
            &Lives::default(),
            1_800_000_000_000,
        )
        .unwrap();
        Identity::load(&out).unwrap()
    }

    #[test]
    fn made_once_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let identity = identity(dir.path());
        let first = Local::load_or_create(dir.path(), &identity, &SystemEntropy).unwrap();
        let second = Local::load_or_create(dir.path(), &identity, &SystemEntropy).unwrap();
        assert_eq!(first.origin, second.origin);
        assert_eq!(first.terms.term(1, "x"), second.terms.term(1, "x"));
    }

    #[test]
    fn an_epoch_is_noted_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(last_epoch(dir.path()).unwrap(), None);
        for counter in [1, 300] {
            let epoch = LastEpoch { counter, id: EpochId([counter as u8; 16]), base_seq: 1 << 40 };
            note_epoch(dir.path(), epoch).unwrap();
            assert_eq!(last_epoch(dir.path()).unwrap(), Some(epoch));
        }
    }

    #[test]
    fn damage_and_exposure_are_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let identity = identity(dir.path());
        let again = || Local::load_or_create(dir.path(), &identity, &SystemEntropy);
        again().unwrap();
        let file = dir.path().join(ORIGIN_FILE);
        std::fs::write(&file, "abc").unwrap();
        assert!(again().unwrap_err().to_string().contains("origin.id is damaged"));
        assert!(Local::check(dir.path()).unwrap_err().to_string().contains("origin.id is damaged"));
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(again().unwrap_err().to_string().contains("chmod 600"));
        assert!(Local::check(dir.path()).unwrap_err().to_string().contains("chmod 600"));
    }
}
