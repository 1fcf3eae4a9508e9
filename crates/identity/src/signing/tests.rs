//! Chains of signing keys: whose they are, when, and that no bit of them can be changed.

use rustls::pki_types::CertificateDer;

use super::verify_signing_chain;
use crate::chain::{self, NothingRevoked, Purpose};
use crate::forge::{COUNTY, DAY_MS, NOW_MS, PREFECTURE, PROVINCE, Tree, path};
use crate::refusal::{Moment, Refusal};

const MESH: &str = "mesh.example";

#[test]
fn an_entry_proves_whose_key_it_is() {
    let tree = Tree::new(MESH);
    let root = tree.node(PROVINCE).root().clone();
    for at in [PROVINCE, PREFECTURE, COUNTY] {
        let node = tree.node(at);
        let entry = node.signing_key_entry();
        let (found, key) = verify_signing_chain(&entry.certificate_chain, &root, NOW_MS).unwrap();
        assert_eq!((found, &key), (path(at), &node.signing_key.verifying_key()));
        assert_eq!(key.as_bytes()[..], entry.public_key[..]);
        let signature = node.signing_key.sign(b"header");
        assert!(key.verify(b"header", &signature));
    }
}

#[test]
fn it_is_judged_as_of_the_time_given() {
    let tree = Tree::new(MESH);
    let node = tree.node(COUNTY);
    let chain = node.signing_key_entry().certificate_chain;
    let at = |ms| verify_signing_chain(&chain, node.root(), ms).map(drop);
    at(NOW_MS + 4 * 365 * DAY_MS).unwrap();
    assert!(matches!(at(NOW_MS - DAY_MS), Err(Refusal::NotYetValid { .. })));
    assert!(matches!(at(node.signing_not_after_ms() + 1000), Err(Refusal::Expired { .. })));
    assert!(matches!(at(0), Err(Refusal::NotYetValid { .. })));
    assert!(matches!(at(u64::MAX), Err(Refusal::Expired { .. })));
}

#[test]
fn other_chains_are_refused() {
    let (tree, other) = (Tree::new(MESH), Tree::new(MESH));
    let node = tree.node(COUNTY);
    let chain = node.signing_key_entry().certificate_chain;
    let refused = |chain: &[&[u8]]| verify_signing_chain(chain, node.root(), NOW_MS).map(drop).unwrap_err();
    assert_eq!(refused(&[]), Refusal::NoCertificate);
    assert!(matches!(refused(&[b"x"]), Refusal::Malformed(_)));
    assert!(matches!(refused(&[&chain[0]]), Refusal::UnknownRoot { .. }));
    let tls: Vec<_> = node.credentials().chain();
    let tls: Vec<&[u8]> = tls.iter().map(AsRef::as_ref).collect();
    assert!(matches!(refused(&tls), Refusal::WrongRole { .. }), "a TLS certificate signs no records");
    let stranger = other.node(COUNTY).signing_key_entry().certificate_chain;
    let stranger: Vec<&[u8]> = stranger.iter().map(AsRef::as_ref).collect();
    assert!(matches!(refused(&stranger), Refusal::UnknownRoot { .. }));
}

/// Any single bit of any certificate of a chain, flipped, and the chain no longer holds.
#[test]
fn no_bit_of_a_chain_can_be_changed() {
    let tree = Tree::new(MESH);
    let node = tree.node(PREFECTURE);
    let chain = node.signing_key_entry().certificate_chain;
    let holds = |chain: &[Vec<u8>]| verify_signing_chain(chain, node.root(), NOW_MS).is_ok();
    let chain: Vec<Vec<u8>> = chain.iter().map(|der| der.to_vec()).collect();
    assert!(holds(&chain));
    for which in 0..chain.len() {
        for byte in 0..chain[which].len() {
            let mut changed = chain.clone();
            changed[which][byte] ^= 1 << (byte % 8);
            assert!(!holds(&changed), "certificate {which}, byte {byte}");
        }
        let mut longer = chain.clone();
        longer[which].push(0);
        assert!(!holds(&longer), "certificate {which} with a byte more");
        let mut shorter = chain.clone();
        shorter[which].pop();
        assert!(!holds(&shorter), "certificate {which} with a byte less");
    }
}

#[test]
fn the_last_second_of_a_certificate_counts() {
    let tree = Tree::new(MESH);
    let node = tree.node(PREFECTURE);
    let end = node.signing_not_after_ms();
    let chain: Vec<_> = node
        .signing_key_entry()
        .certificate_chain
        .iter()
        .map(|der| CertificateDer::from(der.to_vec()))
        .collect();
    let at = |ms| {
        let at = Moment { ms };
        chain::verify(&chain[0], &chain[1..], node.root(), Purpose::Signing, at, &NothingRevoked).map(drop)
    };
    at(end).unwrap();
    at(end + 999).unwrap();
    assert!(matches!(at(end + 1000), Err(Refusal::Expired { .. })));
}
