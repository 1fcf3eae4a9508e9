//! For tests: a tree made the ordinary way, and certificates that no honest authority would issue.

use std::path::PathBuf;
use std::sync::Arc;

use model::{Clock, NodePath};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::authority::{Authority, Term};
use crate::ca::{self, CLIENT_LIFE, Lives};
use crate::credentials::Identity;
use crate::name::Role;
use crate::tls::Seams;

/// "Now" in tests; the system is not asked.
pub(crate) const NOW_MS: u64 = 1_800_000_000_000;
pub(crate) const DAY_MS: u64 = 24 * 3600 * 1000;

pub(crate) const PROVINCE: &str = "530000";
pub(crate) const PREFECTURE: &str = "530000/532900";
pub(crate) const OTHER_PREFECTURE: &str = "530000/532500";
pub(crate) const COUNTY: &str = "530000/532900/532901";

#[derive(Debug)]
pub(crate) struct FixedClock(pub u64);

impl Clock for FixedClock {
    fn now_ms(&self) -> u64 {
        self.0
    }
}

pub(crate) fn seams_at(now_ms: u64) -> Seams {
    Seams::new(Arc::new(FixedClock(now_ms)))
}

pub(crate) fn path(text: &str) -> NodePath {
    text.parse().unwrap()
}

/// Directories of a mesh: `root`, one per node by its region code, and one per client.
pub(crate) struct Tree {
    dir: tempfile::TempDir,
}

impl Tree {
    /// Province, two prefectures, a county below the first.
    pub fn new(trust_domain: &str) -> Self {
        let tree = Self { dir: tempfile::tempdir().unwrap() };
        ca::init_root(&tree.at("root"), &trust_domain.parse().unwrap(), NOW_MS).unwrap();
        for (above, node) in
            [("root", PROVINCE), (PROVINCE, PREFECTURE), (PROVINCE, OTHER_PREFECTURE), (PREFECTURE, COUNTY)]
        {
            let advertise = ["localhost".to_owned(), "127.0.0.1".to_owned()];
            let (above, out) = (tree.at(above), tree.at(node));
            ca::issue_node(&above, &path(node), &advertise, &out, &Lives::default(), NOW_MS).unwrap();
        }
        tree
    }

    /// The directory of a node, or of a client made by [`Tree::client`].
    pub fn at(&self, who: &str) -> PathBuf {
        self.dir.path().join(who.replace('/', "-"))
    }

    pub fn node(&self, path: &str) -> Identity {
        Identity::load(&self.at(path)).unwrap()
    }

    pub fn authority(&self, path: &str) -> Authority {
        Authority::load(&self.at(path)).unwrap()
    }

    /// Issues a client certificate and says in which directory it is.
    pub fn client(&self, authority: &str, role: Role, who: &str) -> PathBuf {
        let out = self.at(&format!("{authority}-{role}-{who}"));
        ca::issue_client(&self.at(authority), role, who, &out, Term { now_ms: NOW_MS, life: CLIENT_LIFE })
            .unwrap();
        out
    }
}

/// A chain with its key: what one end of a connection shows.
pub(crate) struct Shown {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
}

impl Shown {
    pub fn of(own: &impl AsRef<crate::Credentials>) -> Self {
        let own = own.as_ref();
        Self { chain: own.chain(), key: own.key() }
    }
}

/// What a forged certificate says.
#[derive(Clone)]
pub(crate) struct Forgery {
    pub uris: Vec<String>,
    pub common_name: String,
    pub authority: bool,
    pub key_usages: Vec<KeyUsagePurpose>,
    pub uses: Vec<ExtendedKeyUsagePurpose>,
    pub from_ms: u64,
    pub to_ms: u64,
}

impl Forgery {
    /// Like a node's TLS certificate with this name.
    pub fn node(uri: &str) -> Self {
        Self {
            uris: vec![uri.to_owned()],
            common_name: format!("forged {uri}"),
            authority: false,
            key_usages: vec![KeyUsagePurpose::DigitalSignature],
            uses: vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
            from_ms: NOW_MS - DAY_MS,
            to_ms: NOW_MS + DAY_MS,
        }
    }

    /// Like a client's.
    pub fn client(uri: &str) -> Self {
        Self { uses: vec![ExtendedKeyUsagePurpose::ClientAuth], ..Self::node(uri) }
    }

    /// Like an authority's.
    pub fn authority(uri: &str) -> Self {
        Self {
            authority: true,
            key_usages: vec![KeyUsagePurpose::KeyCertSign],
            uses: vec![],
            ..Self::node(uri)
        }
    }

    fn params(&self) -> CertificateParams {
        let moment = |ms: u64| rcgen::date_time_ymd(1970, 1, 1) + std::time::Duration::from_millis(ms);
        let mut params = CertificateParams::default();
        params.not_before = moment(self.from_ms);
        params.not_after = moment(self.to_ms);
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, self.common_name.as_str());
        let uri = |uri: &String| SanType::URI(Ia5String::try_from(uri.as_str()).unwrap());
        params.subject_alt_names = self.uris.iter().map(uri).collect();
        params.is_ca =
            if self.authority { IsCa::Ca(BasicConstraints::Unconstrained) } else { IsCa::ExplicitNoCa };
        params.key_usages = self.key_usages.clone();
        params.extended_key_usages = self.uses.clone();
        params
    }

    /// Signs it with an authority's real key.
    pub fn by(&self, authority: &Authority) -> Shown {
        let chain = authority.chain();
        let issued_below_root = chain[0] != *authority.root().der();
        self.signed(&chain[0], authority.key().pair(), if issued_below_root { chain.clone() } else { vec![] })
    }

    /// Signs it with the key of something shown.
    pub fn by_shown(&self, issuer: &Shown) -> Shown {
        let PrivateKeyDer::Pkcs8(key) = &issuer.key else { panic!("keys here are PKCS #8") };
        let pair = KeyPair::from_pkcs8_der_and_sign_algo(key, &rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        self.signed(&issuer.chain[0], &pair, issuer.chain.clone())
    }

    fn signed(
        &self,
        issuer: &CertificateDer<'static>,
        pair: &KeyPair,
        above: Vec<CertificateDer<'static>>,
    ) -> Shown {
        let own = KeyPair::generate().unwrap();
        let issuer = Issuer::from_ca_cert_der(issuer, pair).unwrap();
        let der = CertificateDer::from(self.params().signed_by(&own, &issuer).unwrap());
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(own.serialize_der()));
        Shown { chain: std::iter::once(der).chain(above).collect(), key }
    }
}

/// An authority's subject and key, certified by another authority under another name.
pub(crate) fn recertified(of: &Authority, uri: &str, issuer: &Authority) -> CertificateDer<'static> {
    let mut params = Forgery::authority(uri).params();
    params.distinguished_name = crate::authority::subject(&of.id(), crate::Kind::Authority);
    let issuer = Issuer::from_ca_cert_der(&issuer.chain()[0], issuer.key().pair()).unwrap();
    CertificateDer::from(params.signed_by(of.key().pair(), &issuer).unwrap())
}

/// A node's record-signing certificate and key, as if for a connection.
pub(crate) fn signing(dir: &std::path::Path) -> Shown {
    let chain = crate::files::read_certificates(&dir.join("signing.pem")).unwrap();
    let key = pem::parse(std::fs::read(dir.join("signing.key")).unwrap()).unwrap();
    Shown { chain, key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.into_contents())) }
}
