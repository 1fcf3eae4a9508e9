//! Directories made by the commands, loaded again; and every way in which a directory can be wrong.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use super::{CLIENT_LIFE, ISSUED, Lives, init_root, issue_client, issue_client_for, issue_node, list};
use crate::authority::{AUTHORITY_LIFE, Authority, Kind, ROOT_LIFE, Term};
use crate::credentials::{ClientIdentity, Identity};
use crate::error::IdentityError;
use crate::forge::{COUNTY, DAY_MS, NOW_MS, OTHER_PREFECTURE, PREFECTURE, PROVINCE, Tree, path};
use crate::name::{Name, Role};

const MESH: &str = "mesh.example";
/// Made with `openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-384 -sha256`: the algorithm of its signature
/// looks like that of a P-256 key.
const P384_WITH_SHA256: &str = "\
-----BEGIN CERTIFICATE REQUEST-----
MIIBAzCBiwIBADAMMQowCAYDVQQDDAF4MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAE
0ZASiBRllAfZWTaFWG8UouhjJ+5znqbAnWNUMX1VQ86kvUIo+94d1WLRwMIRtJ+Y
ISUR1ikae6eTB4xZmjP2BikLmhg42rLmLBelNS6DZvMZ33jBdY0Ei4Mmf+WSM2IA
oAAwCgYIKoZIzj0EAwIDZwAwZAIweDP+TFSS3MTzSceoUNispAjTDGKQYObE+Rsj
9JGqolABFO+cAl5haxgrTk+mrOt+AjB0jZ3Md433t2MMW/GxbtYQEnhqgYIpSi8w
J6zPegzeoUwjwpGv8rw9bbt75UxoNc8=
-----END CERTIFICATE REQUEST-----
";

const TERM: Term = Term { now_ms: NOW_MS, life: CLIENT_LIFE };

fn load_client(dir: &Path) -> Result<ClientIdentity, IdentityError> {
    ClientIdentity::load(&dir.join("client.pem"), &dir.join("client.key"), &dir.join("root.pem"))
}

#[test]
fn a_node_loads_what_was_issued_to_it() {
    let tree = Tree::new(MESH);
    let node = tree.node(COUNTY);
    assert_eq!(node.name, Name::Node(path(COUNTY)));
    assert_eq!(node.path, path(COUNTY));
    assert_eq!(node.trust_domain.as_str(), MESH);
    assert_eq!(node.not_after_ms(), NOW_MS + CLIENT_LIFE.as_millis() as u64);
    assert_eq!(node.root().not_after_ms(), NOW_MS + ROOT_LIFE.as_millis() as u64);
    let authority = tree.authority(COUNTY);
    assert_eq!(authority.name(), &Name::Authority(Some(path(COUNTY))));
    assert_eq!(authority.chain().len(), 3);
    assert_eq!(authority.not_after_ms(), NOW_MS + AUTHORITY_LIFE.as_millis() as u64);
}

#[test]
fn keys_are_private_and_no_certificate_is_secret() {
    let tree = Tree::new(MESH);
    let mode = |file: &str| fs::metadata(tree.at(COUNTY).join(file)).unwrap().permissions().mode() & 0o777;
    for (key, certificate) in
        [("node.key", "node.pem"), ("signing.key", "signing.pem"), ("authority.key", "authority.pem")]
    {
        assert_eq!(mode(key), 0o600, "{key}");
        assert_eq!(mode(certificate) & 0o600, 0o600, "{certificate}");
    }
    let left: Vec<_> =
        fs::read_dir(tree.at(COUNTY)).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 7, "{left:?}");
}

#[test]
fn an_authority_issues_only_for_what_is_directly_under_it() {
    let tree = Tree::new(MESH);
    let out = tree.at("out");
    for (authority, node) in [
        ("root", PREFECTURE),
        (PROVINCE, COUNTY),
        (PROVINCE, PROVINCE),
        (PREFECTURE, PROVINCE),
        (PREFECTURE, OTHER_PREFECTURE),
        (PREFECTURE, "530000/532500/532501"),
    ] {
        let issued = issue_node(&tree.at(authority), &path(node), &[], &out, &Lives::default(), NOW_MS);
        assert!(matches!(issued, Err(IdentityError::NotAllowed { .. })), "{authority} → {node}");
    }
    let issued = issue_client(&tree.at("root"), Role::Operator, "li", &out, TERM);
    assert!(matches!(issued, Err(IdentityError::NotAllowed { .. })));
    for (role, who) in [(Role::Node, "x"), (Role::Institution, "A/B"), (Role::Operator, "..")] {
        let issued = issue_client(&tree.at(COUNTY), role, who, &out, TERM);
        assert!(matches!(issued, Err(IdentityError::Name(_))), "{role} {who}");
    }
    assert!(!out.exists(), "a refusal leaves nothing behind");
    assert_eq!(list(&tree.at(COUNTY)).unwrap().issued, []);
}

#[test]
fn a_tree_ends_where_verifiers_would_stop_following() {
    let tree = Tree::new(MESH);
    let (mut above, mut deepest) = (tree.at(COUNTY), COUNTY.to_owned());
    for code in 101_001..=101_003 {
        deepest = format!("{deepest}/{code}");
        let out = tree.at(&deepest);
        issue_node(&above, &path(&deepest), &[], &out, &Lives::default(), NOW_MS).unwrap();
        Identity::load(&out).unwrap();
        above = out;
    }
    let client = tree.at("client");
    issue_client(&above, Role::Operator, "li", &client, TERM).unwrap();
    load_client(&client).unwrap();
    let deeper = path(&format!("{deepest}/101004"));
    let issued = issue_node(&above, &deeper, &[], &tree.at("deeper"), &Lives::default(), NOW_MS);
    assert!(matches!(issued, Err(IdentityError::NotAllowed { .. })));
}

#[test]
fn nothing_outlives_its_issuer() {
    let tree = Tree::new(MESH);
    let later = NOW_MS + 4 * 365 * DAY_MS;
    let out = tree.at("new");
    let lives = Lives { node: Duration::MAX, ..Lives::default() };
    issue_node(&tree.at(PROVINCE), &path("530000/532600"), &[], &out, &lives, later).unwrap();
    let node = Identity::load(&out).unwrap();
    let end = tree.authority(PROVINCE).not_after_ms();
    assert_eq!((node.not_after_ms(), node.signing_not_after_ms()), (end, end));

    // Nor does it start before: here the authority's clock went back since it was made.
    let back = Term { now_ms: NOW_MS - 60_000, life: CLIENT_LIFE };
    issue_client(&tree.at(COUNTY), Role::Operator, "li", &tree.at("early"), back).unwrap();
    load_client(&tree.at("early")).unwrap();

    let term = Term { now_ms: end, life: CLIENT_LIFE };
    let issued = issue_client(&tree.at(PROVINCE), Role::Operator, "li", &tree.at("late"), term);
    assert!(matches!(issued, Err(IdentityError::AuthorityExpired { .. })));
}

#[test]
fn every_certificate_is_listed() {
    let tree = Tree::new(MESH);
    tree.client(PREFECTURE, Role::Institution, "ABCD");
    let kinds: Vec<_> = list(&tree.at(PREFECTURE)).unwrap().issued.iter().map(|line| line.kind).collect();
    assert_eq!(kinds, [Kind::Node, Kind::Signing, Kind::Authority, Kind::Institution]);
    let root = list(&tree.at("root")).unwrap();
    assert_eq!((root.issued[0].kind, root.issued[0].name.as_str()), (Kind::Root, "spiffe://mesh.example"));
    let county = &list(&tree.at(PREFECTURE)).unwrap().issued[0];
    assert_eq!(county.name, "spiffe://mesh.example/530000/532900/532901/node");
    assert_eq!(county.serial, tree.node(COUNTY).credentials().serial());
    assert_eq!(county.not_after_ms, tree.node(COUNTY).not_after_ms());
}

#[test]
fn a_torn_line_is_reported_and_spoils_no_other() {
    let tree = Tree::new(MESH);
    let file = tree.at(PREFECTURE).join(ISSUED);
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, &text[..text.len() - 20]).unwrap();
    tree.client(PREFECTURE, Role::Institution, "ABCD");
    let listing = list(&tree.at(PREFECTURE)).unwrap();
    assert_eq!(listing.unreadable_lines, [3]);
    assert_eq!(listing.issued.len(), 3);
    assert_eq!(listing.issued[2].kind, Kind::Institution);
}

#[test]
fn a_request_gives_its_key_and_nothing_else() {
    let tree = Tree::new(MESH);
    let key = rcgen::KeyPair::generate().unwrap();
    let wishes = rcgen::CertificateParams::new(vec!["wish.example".to_owned()]).unwrap();
    let request = wishes.serialize_request(&key).unwrap().pem().unwrap();
    let out = tree.at("out");
    issue_client_for(&tree.at(COUNTY), Role::Institution, "ABCD", &request, &out, TERM).unwrap();
    assert!(!out.join("client.key").exists());
    fs::write(out.join("client.key"), key.serialize_pem()).unwrap();
    fs::set_permissions(out.join("client.key"), Permissions::from_mode(0o400)).unwrap();
    let client = load_client(&out).unwrap();
    assert_eq!(client.name, Name::of_client(path(COUNTY), Role::Institution, "ABCD").unwrap());
    let pem = fs::read(out.join("client.pem")).unwrap();
    let leaf = pem::parse_many(pem).unwrap().remove(0).into_contents();
    assert!(!leaf.windows(4).any(|bytes| bytes == b"wish"));

    let broken = request.replacen('A', "B", 1);
    let ed25519 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let ed25519 = wishes.serialize_request(&ed25519).unwrap().pem().unwrap();
    let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let p384 = wishes.serialize_request(&p384).unwrap().pem().unwrap();
    for bad in ["", "x", &broken, &ed25519, &p384, P384_WITH_SHA256] {
        let issued = issue_client_for(&tree.at(COUNTY), Role::Operator, "li", bad, &tree.at("bad"), TERM);
        assert!(matches!(issued, Err(IdentityError::Request(_))), "{bad}");
    }
}

#[test]
fn nothing_is_overwritten() {
    let tree = Tree::new(MESH);
    let before = fs::read(tree.at(COUNTY).join("node.key")).unwrap();
    let issued =
        issue_node(&tree.at(PREFECTURE), &path(COUNTY), &[], &tree.at(COUNTY), &Lives::default(), NOW_MS);
    assert!(matches!(issued, Err(IdentityError::Exists { .. })));
    let made = init_root(&tree.at("root"), &MESH.parse().unwrap(), NOW_MS);
    assert!(matches!(made, Err(IdentityError::Exists { .. })));
    assert_eq!(fs::read(tree.at(COUNTY).join("node.key")).unwrap(), before);
}

#[test]
fn advertised_names_are_names_or_addresses() {
    let tree = Tree::new(MESH);
    for bad in ["", "county.example:7443", "http://county.example", "a b", "*"] {
        let advertise = [bad.to_owned()];
        let out = tree.at("out");
        let issued = issue_node(
            &tree.at(PROVINCE),
            &path("530000/532600"),
            &advertise,
            &out,
            &Lives::default(),
            NOW_MS,
        );
        assert!(matches!(issued, Err(IdentityError::Advertise)), "{bad:?}");
    }
}

/// Spoils one thing in a good directory; loading must name the file and say what to do.
#[test]
fn a_wrong_directory_is_refused_in_one_line() {
    fn chmod(dir: &Path, file: &str, mode: u32) {
        fs::set_permissions(dir.join(file), Permissions::from_mode(mode)).unwrap();
    }
    fn take(tree: &Tree, file: &str, from: &str, as_file: &str) {
        fs::copy(tree.at(from).join(file), tree.at(COUNTY).join(as_file)).unwrap();
    }
    type Spoil = fn(&Tree, &Path);
    let cases: [(&str, &str, Spoil); 16] = [
        ("node.key", "chmod 600", |_, dir| chmod(dir, "node.key", 0o640)),
        ("signing.key", "chmod 600", |_, dir| chmod(dir, "signing.key", 0o604)),
        ("authority.key", "chmod 600", |_, dir| chmod(dir, "authority.key", 0o644)),
        ("node.pem", "missing", |_, dir| fs::remove_file(dir.join("node.pem")).unwrap()),
        ("node.key", "missing", |_, dir| fs::remove_file(dir.join("node.key")).unwrap()),
        ("root.pem", "missing", |_, dir| fs::remove_file(dir.join("root.pem")).unwrap()),
        ("authority.key", "missing", |_, dir| fs::remove_file(dir.join("authority.key")).unwrap()),
        ("node.pem", "certificates", |_, dir| fs::write(dir.join("node.pem"), "hello").unwrap()),
        ("node.key", "PKCS #8", |_, dir| {
            fs::copy(dir.join("signing.key"), dir.join("node.key")).map(drop).unwrap();
        }),
        ("node.key", "same issue", |tree, _| take(tree, "node.key", PREFECTURE, "node.key")),
        ("signing.key", "same issue", |tree, _| take(tree, "signing.key", PREFECTURE, "signing.key")),
        ("node.pem", "may not be used", |tree, _| take(tree, "signing.pem", COUNTY, "node.pem")),
        ("signing.pem", "the node in node.pem", |tree, _| {
            take(tree, "signing.pem", PREFECTURE, "signing.pem");
        }),
        ("authority.pem", "same issue", |tree, _| take(tree, "authority.key", PREFECTURE, "authority.key")),
        ("authority.pem", "the node in node.pem", |tree, _| {
            take(tree, "authority.pem", PREFECTURE, "authority.pem");
            take(tree, "authority.key", PREFECTURE, "authority.key");
        }),
        ("root.pem", "root of a mesh", |tree, _| take(tree, "authority.pem", PROVINCE, "root.pem")),
    ];
    for (file, advice, spoil) in cases {
        let tree = Tree::new(MESH);
        let dir = tree.at(COUNTY);
        spoil(&tree, &dir);
        let line = Identity::load(&dir).expect_err(file).to_string();
        assert!(line.contains(file) && line.contains(advice), "{file}: {line}");
        assert_eq!(line.lines().count(), 1, "{line}");
    }
}

#[test]
fn the_root_of_another_mesh_does_not_fit() {
    let (tree, other) = (Tree::new(MESH), Tree::new(MESH));
    fs::copy(other.at("root").join("root.pem"), tree.at(COUNTY).join("root.pem")).unwrap();
    let line = Identity::load(&tree.at(COUNTY)).expect_err("another root").to_string();
    assert!(line.contains("node.pem") && line.contains("not issued under this mesh's root"), "{line}");
    fs::copy(other.at("root").join("root.pem"), tree.at(PREFECTURE).join("root.pem")).unwrap();
    let line = Authority::load(&tree.at(PREFECTURE)).expect_err("another root").to_string();
    assert!(line.contains("authority.pem") && line.contains("not issued under this mesh's root"), "{line}");
}

#[test]
fn a_node_is_no_client_and_a_client_no_node() {
    let tree = Tree::new(MESH);
    let dir = tree.at(COUNTY);
    let loaded = ClientIdentity::load(&dir.join("node.pem"), &dir.join("node.key"), &dir.join("root.pem"));
    assert!(matches!(loaded, Err(IdentityError::Refused { .. })));
    let client = tree.client(COUNTY, Role::Institution, "ABCD");
    fs::copy(client.join("client.pem"), dir.join("node.pem")).unwrap();
    fs::copy(client.join("client.key"), dir.join("node.key")).unwrap();
    assert!(matches!(Identity::load(&dir), Err(IdentityError::Refused { .. })));
}
