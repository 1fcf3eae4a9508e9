//! Real handshakes in memory: who gets in, who does not, and with which reason.

use std::sync::Arc;

use rcgen::{ExtendedKeyUsagePurpose, KeyUsagePurpose};
use rustls::pki_types::ServerName;
use rustls::{
    ClientConfig, ClientConnection, Connection, HandshakeKind, ServerConfig, ServerConnection, version,
};

use super::{AnyoneOfTheMesh, Common, Exactly};
use crate::chain::{NothingRevoked, Revocations};
use crate::forge::{
    COUNTY, DAY_MS, Forgery, NOW_MS, OTHER_PREFECTURE, PREFECTURE, PROVINCE, Shown, Tree, path, recertified,
    seams_at, signing,
};
use crate::identity::ClientIdentity;
use crate::name::{Name, Role};
use crate::refusal::Refusal;
use crate::tls::{ALPN_H2, Alpn, Peer, Seams, client_config, peer_name, server_config};

const MESH: &str = "mesh.example";

/// How a handshake ended, as seen by each side.
struct Outcome {
    client: Result<Peer, rustls::Error>,
    server: Result<Peer, rustls::Error>,
}

impl Outcome {
    fn refused_by_server(self) -> Refusal {
        let error = self.server.expect_err("the server accepted");
        Refusal::of(&error).unwrap_or_else(|| panic!("no refusal: {error}"))
    }

    fn refused_by_client(self) -> Refusal {
        let error = self.client.expect_err("the client accepted");
        Refusal::of(&error).unwrap_or_else(|| panic!("no refusal: {error}"))
    }
}

fn handshake(client: Arc<ClientConfig>, server: Arc<ServerConfig>) -> Outcome {
    // The name says nothing about who is expected; it must only be one.
    let name = ServerName::try_from("somewhere.invalid").unwrap();
    let mut client = Connection::from(ClientConnection::new(client, name).unwrap());
    let mut server = Connection::from(ServerConnection::new(server).unwrap());
    let (client_end, server_end) = exchange(&mut client, &mut server);
    let seen = |end: Result<(), rustls::Error>, connection: &Connection| {
        end.map(|()| peer_name(connection).unwrap())
    };
    Outcome { client: seen(client_end, &client), server: seen(server_end, &server) }
}

/// Moves bytes both ways until neither side has more to say.
fn exchange(
    client: &mut Connection,
    server: &mut Connection,
) -> (Result<(), rustls::Error>, Result<(), rustls::Error>) {
    let (mut client_end, mut server_end) = (Ok(()), Ok(()));
    while client.wants_write() || server.wants_write() {
        move_bytes(client, server, &mut server_end);
        move_bytes(server, client, &mut client_end);
    }
    (client_end, server_end)
}

fn move_bytes(from: &mut Connection, to: &mut Connection, end: &mut Result<(), rustls::Error>) {
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes).unwrap();
    }
    let mut bytes = &bytes[..];
    while !bytes.is_empty() && end.is_ok() {
        to.read_tls(&mut bytes).unwrap();
        *end = to.process_new_packets().map(drop);
    }
}

/// A server of the mesh that shows its real certificate.
fn honest_server(tree: &Tree, seams: &Seams) -> Arc<ServerConfig> {
    server_config(&tree.node(PREFECTURE), seams, &[Alpn::H2, Alpn::Reverse]).unwrap()
}

/// A client that shows what it likes, and accepts the honest server.
fn client_showing(tree: &Tree, shown: Shown) -> Arc<ClientConfig> {
    let root = tree.node(PREFECTURE).root().clone();
    let expected = Name::Node(path(PREFECTURE));
    let verifier = Exactly { common: Common::new(root, Arc::new(NothingRevoked)), expected };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let time = Arc::new(FixedTime);
    let mut config = ClientConfig::builder_with_details(provider, time)
        .with_protocol_versions(&[&version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_auth_cert(shown.chain, shown.key)
        .unwrap();
    config.alpn_protocols = vec![ALPN_H2.to_vec()];
    Arc::new(config)
}

/// A server that shows what it likes, and accepts anybody of the mesh.
fn server_showing(tree: &Tree, shown: Shown) -> Arc<ServerConfig> {
    let root = tree.node(PREFECTURE).root().clone();
    let verifier = AnyoneOfTheMesh { common: Common::new(root, Arc::new(NothingRevoked)) };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_details(provider, Arc::new(FixedTime))
        .with_protocol_versions(&[&version::TLS13])
        .unwrap()
        .with_client_cert_verifier(Arc::new(verifier))
        .with_single_cert(shown.chain, shown.key)
        .unwrap();
    Arc::new(config)
}

#[derive(Debug)]
struct FixedTime;

impl rustls::time_provider::TimeProvider for FixedTime {
    fn current_time(&self) -> Option<rustls::pki_types::UnixTime> {
        Some(crate::Moment { ms: NOW_MS }.unix_time())
    }
}

fn uri(below: &str) -> String {
    format!("spiffe://{MESH}{below}")
}

/// Shows `shown` to an honest server.
fn shown_to_server(tree: &Tree, shown: Shown) -> Outcome {
    handshake(client_showing(tree, shown), honest_server(tree, &seams_at(NOW_MS)))
}

/// Shows `shown` to an honest client that looks for `expected`.
fn shown_to_client(tree: &Tree, shown: Shown, expected: &str) -> Outcome {
    let county = tree.node(COUNTY);
    let client = client_config(&county, &seams_at(NOW_MS), Name::Node(path(expected)), Alpn::H2).unwrap();
    handshake(client, server_showing(tree, shown))
}

#[test]
fn the_right_tree_is_accepted_on_both_sides() {
    let tree = Tree::new(MESH);
    let seams = seams_at(NOW_MS);
    for (child, parent) in
        [(PREFECTURE, PROVINCE), (COUNTY, PREFECTURE), (COUNTY, PROVINCE), (PROVINCE, COUNTY)]
    {
        let (child, parent) = (tree.node(child), tree.node(parent));
        let client = client_config(&child, &seams, parent.name.clone(), Alpn::Reverse).unwrap();
        let server = server_config(&parent, &seams, &[Alpn::H2, Alpn::Reverse]).unwrap();
        let outcome = handshake(client, server);
        let (at_server, at_client) = (outcome.server.unwrap(), outcome.client.unwrap());
        assert_eq!((&at_server.name, &at_server.path), (&child.name, &child.path));
        assert_eq!((&at_client.name, &at_client.path), (&parent.name, &parent.path));
        assert_eq!(at_server.serial, child.credentials().serial());
        assert_eq!(at_server.not_after_ms, child.not_after_ms());
    }
}

#[test]
fn every_client_role_is_accepted_by_a_server() {
    let tree = Tree::new(MESH);
    for (role, who) in [
        (Role::Institution, "53290112345678901A1001"),
        (Role::Operator, "li.wei"),
        (Role::Auditor, "a"),
        (Role::Service, "hl7-bridge"),
    ] {
        let dir = tree.client(COUNTY, role, who);
        let own =
            ClientIdentity::load(&dir.join("client.pem"), &dir.join("client.key"), &dir.join("root.pem"))
                .unwrap();
        let peer = shown_to_server(&tree, Shown::of(&own)).server.unwrap();
        assert_eq!(peer.name, Name::of_client(path(COUNTY), role, who).unwrap());
        assert_eq!(peer.path, path(COUNTY));
    }
}

/// What one authority's key can do to others: nothing.
#[test]
fn no_authority_reaches_beyond_what_is_directly_under_it() {
    let tree = Tree::new(MESH);
    let (root, province, prefecture) =
        (tree.authority("root"), tree.authority(PROVINCE), tree.authority(PREFECTURE));
    for (issuer, below, what) in [
        (&prefecture, "/530000/532500/node", "a sibling"),
        (&prefecture, "/530000/532500/532501/node", "a sibling's child"),
        (&prefecture, "/530000/532900/node", "itself"),
        (&prefecture, "/530000/node", "its parent"),
        (&province, "/530000/532900/532901/node", "a grandchild"),
        (&root, "/530000/532900/node", "a grandchild of the root"),
        (&province, "/440000/440100/node", "another province's child"),
        (&prefecture, "/530000/532900/532901/institution/ABCD", "an institution of its child"),
        (&prefecture, "/530000/institution/ABCD", "an institution of its parent"),
        (&prefecture, "/530000/532500/operator/a", "an operator of its sibling"),
        (&root, "/530000/operator/a", "an operator, by the root"),
        (&prefecture, "", "the root"),
    ] {
        let shown = Forgery::node(&uri(below)).by(issuer);
        let refusal = shown_to_server(&tree, shown).refused_by_server();
        assert!(matches!(refusal, Refusal::NotUnderIssuer { .. }), "{what}: {refusal}");
        // As a server it gets no further, even where exactly that name is expected.
        let shown = Forgery::node(&uri(below)).by(issuer);
        let refusal = shown_to_client(&tree, shown, OTHER_PREFECTURE).refused_by_client();
        assert!(matches!(refusal, Refusal::NotUnderIssuer { .. }), "{what}: {refusal}");
    }
}

#[test]
fn an_authority_for_somebody_elses_path_is_refused_by_its_name() {
    let tree = Tree::new(MESH);
    let prefecture = tree.authority(PREFECTURE);
    for below in ["/530000/532500", "/530000/532900", "/530000", "", "/530000/532900/532901/532902"] {
        let authority = Forgery::authority(&uri(below)).by(&prefecture);
        let shown = Forgery::node(&uri("/530000/532500/532501/node")).by_shown(&authority);
        match shown_to_server(&tree, shown).refused_by_server() {
            Refusal::NotUnderIssuer { name, .. } => assert_eq!(name.to_string(), uri(below)),
            other => panic!("{below}: {other}"),
        }
    }
}

#[test]
fn another_mesh_is_refused() {
    let (tree, namesake, other) = (Tree::new(MESH), Tree::new(MESH), Tree::new("other.example"));
    let refusal = shown_to_server(&tree, Shown::of(&namesake.node(COUNTY))).refused_by_server();
    assert!(matches!(refusal, Refusal::UnknownRoot { .. }), "{refusal}");
    let refusal = shown_to_server(&tree, Shown::of(&other.node(COUNTY))).refused_by_server();
    assert!(matches!(refusal, Refusal::WrongTrustDomain { .. }), "{refusal}");
    let refusal =
        shown_to_client(&tree, Shown::of(&namesake.node(PREFECTURE)), PREFECTURE).refused_by_client();
    assert!(matches!(refusal, Refusal::UnknownRoot { .. }), "{refusal}");
    // Another mesh's name under this mesh's root, on the leaf and on an authority.
    let shown =
        Forgery::node("spiffe://other.example/530000/532900/532901/node").by(&tree.authority(PREFECTURE));
    let refusal = shown_to_server(&tree, shown).refused_by_server();
    assert!(matches!(refusal, Refusal::WrongTrustDomain { .. }), "{refusal}");
    let authority = Forgery::authority("spiffe://other.example/530000/532500").by(&tree.authority(PROVINCE));
    let shown = Forgery::node(&uri("/530000/532500/532501/node")).by_shown(&authority);
    let refusal = shown_to_server(&tree, shown).refused_by_server();
    assert!(matches!(refusal, Refusal::WrongTrustDomain { .. }), "{refusal}");
}

#[test]
fn a_chain_with_a_gap_is_refused() {
    let tree = Tree::new(MESH);
    let mut shown = Shown::of(&tree.node(COUNTY));
    shown.chain.truncate(1);
    let refusal = shown_to_server(&tree, shown).refused_by_server();
    assert!(matches!(refusal, Refusal::UnknownRoot { .. }), "{refusal}");
}

#[test]
fn the_order_of_a_chain_and_strangers_in_it_do_not_matter() {
    let tree = Tree::new(MESH);
    let mut shown = Shown::of(&tree.node(COUNTY));
    shown.chain[1..].reverse();
    shown.chain.push(tree.authority(OTHER_PREFECTURE).chain()[0].clone());
    shown.chain.push(tree.authority("root").chain()[0].clone());
    assert_eq!(shown_to_server(&tree, shown).server.unwrap().path, path(COUNTY));
}

#[test]
fn a_second_path_is_tried_when_the_first_does_not_hold() {
    let tree = Tree::new(MESH);
    // The same key certified twice: once with a name that is not its issuer's to give, once rightly.
    let twin = recertified(&tree.authority(PREFECTURE), &uri("/530000"), &tree.authority(PROVINCE));
    let mut shown = Shown::of(&tree.node(COUNTY));
    shown.chain.insert(1, twin);
    assert_eq!(shown_to_server(&tree, shown).server.unwrap().path, path(COUNTY));
}

#[test]
fn roles_are_kept_apart() {
    let tree = Tree::new(MESH);
    let prefecture = tree.authority(PREFECTURE);
    let dir = tree.client(PREFECTURE, Role::Institution, "ABCD");
    let institution =
        ClientIdentity::load(&dir.join("client.pem"), &dir.join("client.key"), &dir.join("root.pem"))
            .unwrap();
    let refusal = shown_to_client(&tree, Shown::of(&institution), PREFECTURE).refused_by_client();
    assert!(matches!(refusal, Refusal::WrongRole { .. }), "an institution as a server: {refusal}");

    let refusal = shown_to_client(&tree, signing(&tree.at(PREFECTURE)), PREFECTURE).refused_by_client();
    assert!(matches!(refusal, Refusal::WrongRole { .. }), "a signing certificate as a server: {refusal}");
    let refusal = shown_to_server(&tree, signing(&tree.at(COUNTY))).refused_by_server();
    assert!(matches!(refusal, Refusal::WrongRole { .. }), "a signing certificate as a client: {refusal}");

    let county = uri("/530000/532900/532901/node");
    let document_signing = ExtendedKeyUsagePurpose::Other(vec![1, 3, 6, 1, 5, 5, 7, 3, 36]);
    let (client, server) = (ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth);
    for (uses, what) in [
        (vec![], "no use"),
        (vec![ExtendedKeyUsagePurpose::Any], "any use"),
        (vec![client.clone()], "a node without server use"),
        (vec![server.clone()], "a node without client use"),
        (vec![client.clone(), server.clone(), document_signing], "TLS and signing in one"),
        (vec![client.clone(), server.clone(), ExtendedKeyUsagePurpose::CodeSigning], "something else too"),
    ] {
        let shown = Forgery { uses, ..Forgery::node(&county) }.by(&prefecture);
        let refusal = shown_to_server(&tree, shown).refused_by_server();
        assert!(matches!(refusal, Refusal::WrongRole { .. }), "{what}: {refusal}");
    }
    let shown = Forgery::node(&uri("/530000/532900/institution/ABCD")).by(&prefecture);
    let refusal = shown_to_server(&tree, shown).refused_by_server();
    assert!(matches!(refusal, Refusal::WrongRole { .. }), "an institution with server use: {refusal}");
}

#[test]
fn authorities_are_no_peers_and_peers_are_no_authorities() {
    let tree = Tree::new(MESH);
    let authority = Forgery::authority(&uri("/530000/532900/532901")).by(&tree.authority(PREFECTURE));
    let refusal = shown_to_server(&tree, authority).refused_by_server();
    assert!(matches!(refusal, Refusal::WrongRole { .. }), "{refusal}");
    // An authority's name on a certificate that is none.
    let shown = Forgery::node(&uri("/530000/532900/532901")).by(&tree.authority(PREFECTURE));
    let refusal = shown_to_server(&tree, shown).refused_by_server();
    assert!(matches!(refusal, Refusal::WrongRole { .. }), "{refusal}");

    // A node that issues with its TLS key.
    let node = Shown::of(&tree.node(COUNTY));
    let shown = Forgery::client(&uri("/530000/532900/532901/operator/a")).by_shown(&node);
    let refusal = shown_to_server(&tree, shown).refused_by_server();
    assert!(matches!(refusal, Refusal::Chain { reason: webpki::Error::EndEntityUsedAsCa, .. }), "{refusal}");
    // An authority whose key may not sign certificates, or may do more than that.
    for forgery in [
        Forgery { key_usages: vec![KeyUsagePurpose::CrlSign], ..Forgery::authority(&uri("/530000/532500")) },
        Forgery {
            uses: vec![ExtendedKeyUsagePurpose::ClientAuth],
            ..Forgery::authority(&uri("/530000/532500"))
        },
    ] {
        let authority = forgery.by(&tree.authority(PROVINCE));
        let shown = Forgery::node(&uri("/530000/532500/532501/node")).by_shown(&authority);
        let refusal = shown_to_server(&tree, shown).refused_by_server();
        assert!(matches!(refusal, Refusal::WrongRole { needed: "an authority", .. }), "{refusal}");
    }
}

#[test]
fn one_well_formed_name_is_needed() {
    let tree = Tree::new(MESH);
    let (good, second) = (uri("/530000/532900/532901/node"), uri("/530000/532900/operator/a"));
    for (uris, expected) in [
        (vec![], Refusal::NameCount(0)),
        (vec![good.clone(), second], Refusal::NameCount(2)),
        (vec![good.clone(), good.clone()], Refusal::NameCount(2)),
        (vec![good.clone() + "/"], Refusal::MalformedName(crate::NameError::Role)),
        (
            vec!["https://mesh.example/530000/node".to_owned()],
            Refusal::MalformedName(crate::NameError::Scheme),
        ),
    ] {
        let shown = Forgery { uris: uris.clone(), ..Forgery::node(&good) }.by(&tree.authority(PREFECTURE));
        assert_eq!(shown_to_server(&tree, shown).refused_by_server(), expected, "{uris:?}");
    }
    let two = vec![uri("/530000/532500"), uri("/530000/532600")];
    let forgery = Forgery { uris: two, ..Forgery::authority(&uri("/530000/532500")) };
    let shown =
        Forgery::node(&uri("/530000/532500/532501/node")).by_shown(&forgery.by(&tree.authority(PROVINCE)));
    assert_eq!(shown_to_server(&tree, shown).refused_by_server(), Refusal::NameCount(2));
}

#[test]
fn time_is_kept() {
    let tree = Tree::new(MESH);
    let county = uri("/530000/532900/532901/node");
    let expired = Forgery { to_ms: NOW_MS - 1000, ..Forgery::node(&county) };
    match shown_to_server(&tree, expired.by(&tree.authority(PREFECTURE))).refused_by_server() {
        Refusal::Expired { name, since } => {
            assert_eq!((name.to_string(), since.ms), (county.clone(), NOW_MS - 1000))
        }
        other => panic!("{other}"),
    }
    let early = Forgery { from_ms: NOW_MS + 1000, ..Forgery::node(&county) };
    match shown_to_server(&tree, early.by(&tree.authority(PREFECTURE))).refused_by_server() {
        Refusal::NotYetValid { name, from } => {
            assert_eq!((name.to_string(), from.ms), (county, NOW_MS + 1000))
        }
        other => panic!("{other}"),
    }
    // A good certificate under an authority whose time is over.
    let over = Forgery { to_ms: NOW_MS - 1000, ..Forgery::authority(&uri("/530000/532500")) };
    let shown =
        Forgery::node(&uri("/530000/532500/532501/node")).by_shown(&over.by(&tree.authority(PROVINCE)));
    match shown_to_server(&tree, shown).refused_by_server() {
        Refusal::Expired { name, .. } => assert_eq!(name.to_string(), uri("/530000/532500")),
        other => panic!("{other}"),
    }
}

#[test]
fn the_clock_that_counts_is_the_one_given() {
    let tree = Tree::new(MESH);
    let (county, prefecture) = (tree.node(COUNTY), tree.node(PREFECTURE));
    let at = |now_ms| {
        let seams = seams_at(now_ms);
        let client = client_config(&county, &seams_at(NOW_MS), prefecture.name.clone(), Alpn::H2).unwrap();
        handshake(client, server_config(&prefecture, &seams, &[Alpn::H2]).unwrap())
    };
    at(NOW_MS).server.unwrap();
    at(NOW_MS - 200_000).server.unwrap();
    let refusal = at(NOW_MS - 400_000).refused_by_server();
    assert!(matches!(refusal, Refusal::NotYetValid { .. }), "{refusal}");
    at(NOW_MS + 364 * DAY_MS).server.unwrap();
    let refusal = at(NOW_MS + 366 * DAY_MS).refused_by_server();
    assert!(matches!(refusal, Refusal::Expired { .. }), "{refusal}");
    let refusal = at(NOW_MS + 40 * 365 * DAY_MS).refused_by_server();
    assert!(matches!(refusal, Refusal::Expired { .. }), "{refusal}");
}

#[test]
fn a_server_must_be_exactly_the_expected_one() {
    let tree = Tree::new(MESH);
    match shown_to_client(&tree, Shown::of(&tree.node(OTHER_PREFECTURE)), PREFECTURE).refused_by_client() {
        Refusal::WrongPeer { found, expected } => {
            assert_eq!(found.to_string(), uri("/530000/532500/node"));
            assert_eq!(expected.to_string(), uri("/530000/532900/node"));
        }
        other => panic!("{other}"),
    }
}

#[test]
fn anonymous_and_outdated_clients_are_refused() {
    let tree = Tree::new(MESH);
    let root = tree.node(PREFECTURE).root().clone();
    let anonymous = |versions: &[&'static rustls::SupportedProtocolVersion]| {
        let expected = Name::Node(path(PREFECTURE));
        let verifier = Exactly { common: Common::new(root.clone(), Arc::new(NothingRevoked)), expected };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_details(provider, Arc::new(FixedTime))
            .with_protocol_versions(versions)
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        Arc::new(config)
    };
    let server = honest_server(&tree, &seams_at(NOW_MS));
    assert_eq!(
        handshake(anonymous(&[&version::TLS13]), server.clone()).refused_by_server(),
        Refusal::NoCertificate
    );
    assert_eq!(handshake(anonymous(&[&version::TLS12]), server).refused_by_server(), Refusal::TlsVersion);
}

#[test]
fn protocols_must_agree() {
    let tree = Tree::new(MESH);
    let (county, prefecture) = (tree.node(COUNTY), tree.node(PREFECTURE));
    let seams = seams_at(NOW_MS);
    let client = client_config(&county, &seams, prefecture.name.clone(), Alpn::Reverse).unwrap();
    let server = server_config(&prefecture, &seams, &[Alpn::H2]).unwrap();
    assert_eq!(handshake(client.clone(), server).refused_by_server(), Refusal::Protocol);

    let agreed = |alpns: &[Alpn], client: Arc<ClientConfig>| {
        let name = ServerName::try_from("somewhere.invalid").unwrap();
        let mut client = Connection::from(ClientConnection::new(client, name).unwrap());
        let server = server_config(&prefecture, &seams, alpns).unwrap();
        let mut server = Connection::from(ServerConnection::new(server).unwrap());
        let ends = exchange(&mut client, &mut server);
        assert_eq!(ends, (Ok(()), Ok(())));
        (Alpn::of(&client), Alpn::of(&server))
    };
    assert_eq!(agreed(&[Alpn::H2, Alpn::Reverse], client.clone()), (Ok(Alpn::Reverse), Ok(Alpn::Reverse)));
    let mut silent = (*client).clone();
    silent.alpn_protocols.clear();
    assert_eq!(agreed(&[Alpn::H2], Arc::new(silent)), (Err(Refusal::Protocol), Err(Refusal::Protocol)));
}

#[test]
fn no_connection_is_resumed() {
    let tree = Tree::new(MESH);
    let (county, prefecture) = (tree.node(COUNTY), tree.node(PREFECTURE));
    let seams = seams_at(NOW_MS);
    let mut client = (*client_config(&county, &seams, prefecture.name.clone(), Alpn::H2).unwrap()).clone();
    // A client that would like to: the server alone must be enough to prevent it.
    client.resumption = rustls::client::Resumption::in_memory_sessions(8);
    let (client, server) = (Arc::new(client), honest_server(&tree, &seams));
    for _ in 0..2 {
        let name = ServerName::try_from("somewhere.invalid").unwrap();
        let mut client = Connection::from(ClientConnection::new(client.clone(), name).unwrap());
        let mut server = Connection::from(ServerConnection::new(server.clone()).unwrap());
        assert_eq!(exchange(&mut client, &mut server), (Ok(()), Ok(())));
        assert_eq!(server.handshake_kind(), Some(HandshakeKind::Full));
        let Connection::Client(client) = client else { unreachable!("made above") };
        assert_eq!(client.tls13_tickets_received(), 0);
    }
}

/// Revokes by name and issuer.
#[derive(Debug)]
struct Revoked(Name, Name);

impl Revocations for Revoked {
    fn is_revoked(&self, name: &Name, serial: &str, issuer: &Name) -> bool {
        assert_eq!(serial.len(), 32, "an honest serial is 16 bytes");
        (name, issuer) == (&self.0, &self.1)
    }
}

#[test]
fn revocation_reaches_both_sides_and_everything_below_an_authority() {
    let tree = Tree::new(MESH);
    let (county, prefecture) = (tree.node(COUNTY), tree.node(PREFECTURE));
    let authority = |text: &str| Name::Authority(Some(path(text)));
    let with = |revoked: Revoked| Seams { revocations: Arc::new(revoked), ..seams_at(NOW_MS) };
    let run = |client_seams: &Seams, server_seams: &Seams| {
        let client = client_config(&county, client_seams, prefecture.name.clone(), Alpn::H2).unwrap();
        handshake(client, server_config(&prefecture, server_seams, &[Alpn::H2]).unwrap())
    };
    let none = seams_at(NOW_MS);
    let refusal = run(&none, &with(Revoked(county.name.clone(), authority(PREFECTURE)))).refused_by_server();
    assert!(matches!(refusal, Refusal::Revoked { name } if name.name == county.name));
    let refusal = run(&none, &with(Revoked(authority(PREFECTURE), authority(PROVINCE)))).refused_by_server();
    assert!(matches!(refusal, Refusal::Revoked { name } if name.name == authority(PREFECTURE)));
    let refusal = run(&with(Revoked(authority(PROVINCE), Name::Authority(None))), &none).refused_by_client();
    assert!(matches!(refusal, Refusal::Revoked { name } if name.name == authority(PROVINCE)));
    run(&none, &with(Revoked(authority(OTHER_PREFECTURE), authority(PROVINCE)))).server.unwrap();
}

#[test]
fn a_chain_longer_than_any_mesh_is_not_looked_at() {
    let tree = Tree::new(MESH);
    let mut shown = Shown::of(&tree.node(COUNTY));
    let stranger = tree.authority(OTHER_PREFECTURE).chain()[0].clone();
    shown.chain.extend(std::iter::repeat_n(stranger, 20));
    assert_eq!(shown_to_server(&tree, shown).refused_by_server(), Refusal::ChainLength(23));
}

#[test]
fn refusals_are_sentences_with_names_and_no_secrets() {
    let tree = Tree::new(MESH);
    let expired = Forgery { to_ms: NOW_MS - 1000, ..Forgery::node(&uri("/530000/532900/532901/node")) };
    let refusal = shown_to_server(&tree, expired.by(&tree.authority(PREFECTURE))).refused_by_server();
    assert_eq!(
        refusal.to_string(),
        "the certificate of spiffe://mesh.example/530000/532900/532901/node expired 2027-01-15T07:59:59Z: \
         renew it, or correct the clock"
    );
    let node = tree.node(COUNTY);
    assert!(format!("{node:?}").contains("\"...\""));
    assert!(!format!("{node:?}").contains("serialized_der"));
}
