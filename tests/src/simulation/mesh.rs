//! Names, keys and certificates of the simulated tree: made once in a process, the same for every seed.
//!
//! Record-signing keys are fixed, so that origins, and with them all record keys, are the same in every run. TLS keys
//! and certificates cannot be: they change bytes on the wire, and nothing that happens.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use demo::synth::Day;
use exchange::TermKey;
use identity::{Authority, Identity, Term, ca};
use model::body::SigningKeyEntry;
use model::{NodePath, OriginId, SigningKey, TrustDomain};

/// When the simulated time begins, milliseconds since 1970.
pub const START_MS: u64 = 1_800_000_000_000;
/// The certificates are older, so that a clock which is days behind still finds them valid.
const ISSUED_MS: u64 = START_MS - 30 * 24 * 3600 * 1000;

/// A place in the tree: path, tier, parent, and how many hospitals file there.
const PLACES: [(&str, &str, Option<usize>, usize); 7] = [
    ("530000", "province", None, 0),
    ("530000/530100", "prefecture", Some(0), 1),
    ("530000/532900", "prefecture", Some(0), 0),
    ("530000/530100/530102", "county", Some(1), 1),
    ("530000/530100/530111", "county", Some(1), 1),
    ("530000/532900/532901", "county", Some(2), 1),
    ("530000/532900/532922", "county", Some(2), 1),
];

/// What a node is given by its authority, and where it stands.
#[derive(Debug)]
pub struct Member {
    pub path: NodePath,
    pub tier: &'static str,
    /// Place of the parent among the members.
    pub parent: Option<usize>,
    /// Codes of the institutions that file here.
    pub hospitals: Vec<String>,
    pub identity: Identity,
    pub signing: SigningKey,
    pub key_entry: SigningKeyEntry,
    pub origin: OriginId,
    pub terms: TermKey,
}

/// All members; a parent stands before its children.
pub fn members() -> &'static [Member] {
    static MEMBERS: OnceLock<Vec<Member>> = OnceLock::new();
    MEMBERS.get_or_init(make)
}

pub fn trust_domain() -> TrustDomain {
    "simulation.test".parse().expect("a constant trust domain")
}

/// The resident ID of a human being.
pub fn resident_id(person: u8) -> String {
    demo::synth::resident_id(members()[0].path.region(), Day::new(1980, 1, 1), u16::from(person))
}

/// Whether all certificates are of the usual size. A signature of theirs takes 70 to 72 bytes: with other sizes logs would roll
/// over, and small disks fill up, at other moments in every process, and a seed would not replay.
fn are_usual<D: AsRef<[u8]>>(chain: &[D]) -> bool {
    let chain = chain.iter().map(AsRef::as_ref);
    chain.into_iter().all(|der: &[u8]| der.len() > 74 && der[der.len() - 74..][..3] == [3, 72, 0])
}

/// Issues a node its files, in a directory below this one, until its authority has a certificate of the usual size.
fn issue(above: &Path, path: &NodePath, below: &Path) -> PathBuf {
    let lives = ca::Lives::default();
    let inside: NodePath = format!("{path}/539999").parse().expect("a path");
    let term = Term { now_ms: ISSUED_MS, life: lives.signing };
    let public = SigningKey::from_seed(&[99; 32]).verifying_key();
    let tries = (0..).map(|number| below.join(format!("{}-{number}", path.to_string().replace('/', "-"))));
    let mut usual = tries.filter(|own| {
        ca::issue_node(above, path, &["localhost".into()], own, &lives, ISSUED_MS).expect("a node");
        let authority = Authority::load(own).expect("its files");
        let issued = authority.issue_signing(&inside, &public, term).expect("a key");
        are_usual(&issued.chain[1..])
    });
    usual.next().expect("one in a few is")
}

fn make() -> Vec<Member> {
    let dir = tempfile::tempdir().expect("a directory for certificates");
    let root = dir.path().join("root");
    ca::init_root(&root, &trust_domain(), ISSUED_MS).expect("a root");
    let (mut members, mut dirs) = (Vec::new(), Vec::<PathBuf>::new());
    for (place, (path, tier, parent, hospitals)) in PLACES.into_iter().enumerate() {
        let path: NodePath = path.parse().expect("a constant path");
        let above = parent.map_or(&root, |parent| &dirs[parent]).clone();
        let own = issue(&above, &path, dir.path());
        let signing = SigningKey::from_seed(&[place as u8 + 1; 32]);
        let public = signing.verifying_key();
        let term = Term { now_ms: ISSUED_MS, life: ca::Lives::default().signing };
        let authority = Authority::load(&above).expect("its files");
        let mut chains = (0..).map(|_| authority.issue_signing(&path, &public, term).expect("a key").chain);
        let chain = chains.find(|chain| are_usual(chain)).expect("one in a few is");
        let key_entry = SigningKeyEntry {
            public_key: public.as_bytes().to_vec().into(),
            certificate_chain: chain.iter().map(|der| der.to_vec().into()).collect(),
        };
        let code = |number| demo::synth::social_credit_code(path.region(), &format!("S{number}"));
        members.push(Member {
            tier,
            parent,
            hospitals: (0..hospitals).map(code).collect(),
            identity: Identity::load(&own).expect("its files"),
            origin: OriginId::of_node(&trust_domain(), public.as_bytes()),
            terms: TermKey::new([place as u8; 32]),
            path,
            signing,
            key_entry,
        });
        dirs.push(own);
    }
    members
}
