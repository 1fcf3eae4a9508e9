//! What `tiermesh ca` does: make a root, issue to directories, and list what was issued.
//!
//! Every certificate is noted in `issued.jsonl` beside its authority before anybody gets it, so none is unknown.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use model::{NodePath, TrustDomain};

use crate::authority::{AUTHORITY_LIFE, Authority, Certificate, Kind, ROOT_LIFE, Term};
use crate::error::IdentityError;
use crate::files::{self, NewFiles};
use crate::key::{self, PrivateKey, PublicKey};
use crate::name::{Name, Role};

/// The list of what an authority issued: one JSON object a line, only appended to.
pub const ISSUED: &str = "issued.jsonl";

/// How long a node's certificates live; each is cut where its issuer's life ends.
#[derive(Debug, Clone, Copy)]
pub struct Lives {
    /// Its TLS certificate.
    pub node: Duration,
    /// Its record-signing certificate.
    pub signing: Duration,
    /// Its authority.
    pub authority: Duration,
}

/// How long a client's certificate lives if nobody says otherwise.
pub const CLIENT_LIFE: Duration = Duration::from_secs(365 * 24 * 3600);

/// One line of the list.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Issued {
    /// Lower-case hexadecimal.
    pub serial: String,
    /// SPIFFE id.
    pub name: String,
    pub kind: Kind,
    /// Milliseconds since 1970-01-01 UTC.
    pub issued_ms: u64,
    /// Milliseconds since 1970-01-01 UTC.
    pub not_after_ms: u64,
}

/// What an authority issued, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    pub issued: Vec<Issued>,
    /// Numbers of lines that cannot be read: a crash while one was written leaves a torn one, and its certificate was
    /// never handed out.
    pub unreadable_lines: Vec<usize>,
}

impl Default for Lives {
    fn default() -> Self {
        // Until certificates renew themselves, a year for TLS; a signing key goes on as long as its node's authority.
        Self { node: CLIENT_LIFE, signing: AUTHORITY_LIFE, authority: AUTHORITY_LIFE }
    }
}

/// Makes the root authority of a new mesh in `dir`, to be kept offline.
pub fn init_root(dir: &Path, trust_domain: &TrustDomain, now_ms: u64) -> Result<Issued, IdentityError> {
    let names = [files::AUTHORITY_CERTIFICATE, files::AUTHORITY_KEY, files::ROOT_CERTIFICATE];
    let out = NewFiles::in_dir(dir, &names)?;
    let root = Authority::new_root(trust_domain, now_ms)?;
    let certificate = Certificate {
        id: root.id(),
        kind: Kind::Root,
        serial: root.root().serial().to_owned(),
        not_after_ms: root.not_after_ms(),
        chain: root.chain(),
    };
    let issued = note(dir, &certificate, Term { now_ms, life: ROOT_LIFE })?;
    out.key(files::AUTHORITY_KEY, &root.key().to_pem())?;
    out.certificates(files::AUTHORITY_CERTIFICATE, &root.chain())?;
    out.certificates(files::ROOT_CERTIFICATE, &root.chain())?;
    Ok(issued)
}

/// Makes everything the node at `path` needs, in `out_dir`: TLS, record-signing and authority keys and certificates,
/// and the root certificate. The authority in `authority_dir` must be the one directly above.
pub fn issue_node(
    authority_dir: &Path,
    path: &NodePath,
    advertise: &[String],
    out_dir: &Path,
    lives: &Lives,
    now_ms: u64,
) -> Result<Vec<Issued>, IdentityError> {
    let authority = Authority::load(authority_dir)?;
    let (node_key, authority_key) = (PrivateKey::generate()?, PrivateKey::generate()?);
    let seed = key::new_seed()?;
    let signing_key = model::SigningKey::from_seed(&seed).verifying_key();

    let term = |life| Term { now_ms, life };
    let node = authority.issue_node(path, &node_key.public(), advertise, term(lives.node))?;
    let signing = authority.issue_signing(path, &signing_key, term(lives.signing))?;
    let own = authority.issue_authority(path, &authority_key.public(), term(lives.authority))?;

    let names = [
        files::NODE_CERTIFICATE,
        files::NODE_KEY,
        files::SIGNING_CERTIFICATE,
        files::SIGNING_KEY,
        files::AUTHORITY_CERTIFICATE,
        files::AUTHORITY_KEY,
        files::ROOT_CERTIFICATE,
    ];
    let out = NewFiles::in_dir(out_dir, &names)?;
    let issued = [(&node, lives.node), (&signing, lives.signing), (&own, lives.authority)]
        .into_iter()
        .map(|(certificate, life)| note(authority_dir, certificate, term(life)))
        .collect::<Result<Vec<_>, _>>()?;
    out.key(files::NODE_KEY, &node_key.to_pem())?;
    out.key(files::SIGNING_KEY, &key::seed_to_pem(&seed))?;
    out.key(files::AUTHORITY_KEY, &authority_key.to_pem())?;
    out.certificates(files::NODE_CERTIFICATE, &node.chain)?;
    out.certificates(files::SIGNING_CERTIFICATE, &signing.chain)?;
    out.certificates(files::AUTHORITY_CERTIFICATE, &own.chain)?;
    out.certificates(files::ROOT_CERTIFICATE, &[authority.root().der().clone()])?;
    Ok(issued)
}

/// Makes key and certificate of an institution (`who` is its code), operator, auditor or service (an account) of the
/// authority's node, in `out_dir` with the root certificate.
pub fn issue_client(
    authority_dir: &Path,
    role: Role,
    who: &str,
    out_dir: &Path,
    term: Term,
) -> Result<Issued, IdentityError> {
    let authority = Authority::load(authority_dir)?;
    let key = PrivateKey::generate()?;
    let certificate = client_certificate(&authority, role, who, &key.public(), term)?;
    let out =
        NewFiles::in_dir(out_dir, &[files::CLIENT_CERTIFICATE, files::CLIENT_KEY, files::ROOT_CERTIFICATE])?;
    let issued = note(authority_dir, &certificate, term)?;
    out.key(files::CLIENT_KEY, &key.to_pem())?;
    out.certificates(files::CLIENT_CERTIFICATE, &certificate.chain)?;
    out.certificates(files::ROOT_CERTIFICATE, &[authority.root().der().clone()])?;
    Ok(issued)
}

/// As [`issue_client`], for somebody who keeps the key: `request` is their PKCS #10 request in PEM, of which only the
/// public key counts.
pub fn issue_client_for(
    authority_dir: &Path,
    role: Role,
    who: &str,
    request: &str,
    out_dir: &Path,
    term: Term,
) -> Result<Issued, IdentityError> {
    let authority = Authority::load(authority_dir)?;
    let certificate = client_certificate(&authority, role, who, &PublicKey::from_request(request)?, term)?;
    let out = NewFiles::in_dir(out_dir, &[files::CLIENT_CERTIFICATE, files::ROOT_CERTIFICATE])?;
    let issued = note(authority_dir, &certificate, term)?;
    out.certificates(files::CLIENT_CERTIFICATE, &certificate.chain)?;
    out.certificates(files::ROOT_CERTIFICATE, &[authority.root().der().clone()])?;
    Ok(issued)
}

/// What the authority in `authority_dir` issued; nothing if the list does not exist yet.
pub fn list(authority_dir: &Path) -> Result<Listing, IdentityError> {
    let file = authority_dir.join(ISSUED);
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Listing::default()),
        Err(source) => return Err(IdentityError::Unreadable { file, source }),
    };
    let mut listing = Listing::default();
    for (place, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
        match serde_json::from_str(line) {
            Ok(issued) => listing.issued.push(issued),
            Err(_) => listing.unreadable_lines.push(place + 1),
        }
    }
    Ok(listing)
}

fn client_certificate(
    authority: &Authority,
    role: Role,
    who: &str,
    key: &PublicKey,
    term: Term,
) -> Result<Certificate, IdentityError> {
    // The root has no path, so it has no clients; its own name says so in the error.
    let path = authority.name().path().cloned();
    let name = path.map_or(Ok(Name::Authority(None)), |path| Name::of_client(path, role, who))?;
    authority.issue_client(&name, key, term)
}

/// Appends to the list and syncs it. A line starts with a line end if the one before was torn by a crash.
fn note(authority_dir: &Path, certificate: &Certificate, term: Term) -> Result<Issued, IdentityError> {
    let issued = Issued {
        serial: certificate.serial.clone(),
        name: certificate.id.to_string(),
        kind: certificate.kind,
        issued_ms: term.now_ms,
        not_after_ms: certificate.not_after_ms,
    };
    let file = authority_dir.join(ISSUED);
    append(&file, &issued).map_err(|source| IdentityError::Unwritable { file, source })?;
    Ok(issued)
}

fn append(file: &Path, issued: &Issued) -> io::Result<()> {
    let mut list = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(file)?;
    let length = list.metadata()?.len();
    let mut last = [b'\n'];
    if length > 0 {
        list.read_exact_at(&mut last, length - 1)?;
    }
    let mut line = if last == [b'\n'] { Vec::new() } else { vec![b'\n'] };
    serde_json::to_writer(&mut line, issued)?;
    line.push(b'\n');
    // One write, so that two commands at a time do not mix their lines.
    list.write_all(&line)?;
    list.sync_all()
}

#[cfg(test)]
mod tests;
