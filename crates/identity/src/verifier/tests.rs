//! Real handshakes in memory: who gets in, who does not, and with which reason.

use rcgen::{ExtendedKeyUsagePurpose, KeyUsagePurpose};

use crate::chain::{self, NothingRevoked, Purpose};
use crate::credentials::ClientIdentity;
use crate::forge::{
    COUNTY, DAY_MS, Forgery, NOW_MS, OTHER_PREFECTURE, PREFECTURE, PROVINCE, Shown, Tree, path, recertified,
    signing,
};
use crate::handshake::{MESH, shown_to_client, shown_to_server, uri};
use crate::name::{Name, Role};
use crate::refusal::{Moment, Refusal};

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
            assert_eq!((name.to_string(), since.ms), (county.clone(), NOW_MS - 1000));
        }
        other => panic!("{other}"),
    }
    let early = Forgery { from_ms: NOW_MS + 1000, ..Forgery::node(&county) };
    match shown_to_server(&tree, early.by(&tree.authority(PREFECTURE))).refused_by_server() {
        Refusal::NotYetValid { name, from } => {
            assert_eq!((name.to_string(), from.ms), (county, NOW_MS + 1000));
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

/// webpki does not ask when a root ends; we do.
#[test]
fn a_root_ends_too() {
    let tree = Tree::new(MESH);
    let year_ms = 365 * DAY_MS;
    let forgery = Forgery { to_ms: NOW_MS + 40 * year_ms, ..Forgery::node(&uri("/530000/node")) };
    let chain = forgery.by(&tree.authority("root")).chain;
    let root = tree.node(PROVINCE).root().clone();
    let at =
        |ms| chain::verify(&chain[0], &[], &root, Purpose::Client, Moment { ms }, &NothingRevoked).map(drop);
    at(NOW_MS + 19 * year_ms).unwrap();
    match at(NOW_MS + 21 * year_ms).unwrap_err() {
        Refusal::Expired { name, .. } => assert_eq!(name.to_string(), uri("")),
        other => panic!("{other}"),
    }
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
fn a_chain_longer_than_any_mesh_is_not_looked_at() {
    let tree = Tree::new(MESH);
    let mut shown = Shown::of(&tree.node(COUNTY));
    let stranger = tree.authority(OTHER_PREFECTURE).chain()[0].clone();
    shown.chain.extend(std::iter::repeat_n(stranger, 20));
    assert_eq!(shown_to_server(&tree, shown).refused_by_server(), Refusal::ChainLength(23));
}

/// Otherwise the ways through them multiply, and whoever sends them pays nothing.
#[test]
fn look_alikes_in_a_chain_are_bounded() {
    let tree = Tree::new(MESH);
    let mut shown = Shown::of(&tree.node(COUNTY));
    for _ in 0..3 {
        let look_alike =
            Forgery { common_name: "one".to_owned(), ..Forgery::authority(&uri("/530000/532900")) };
        shown.chain.push(look_alike.by(&tree.authority(PROVINCE)).chain.remove(0));
    }
    let refusal = shown_to_server(&tree, shown).refused_by_server();
    assert_eq!(refusal, Refusal::Malformed("more than two certificates of one authority in its chain"));
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
