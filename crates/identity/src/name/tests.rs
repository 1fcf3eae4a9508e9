//! Names: what is accepted, that nothing else is, and who may issue whom.

use proptest::prelude::{Strategy, prop_oneof, proptest};

use super::{Name, NameError, SpiffeId};

fn id(text: &str) -> SpiffeId {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn name(below: &str) -> Name {
    id(&format!("spiffe://mesh.example{below}")).name
}

#[test]
fn every_kind_survives_text() {
    for below in [
        "",
        "/530000",
        "/530000/532900/532901",
        "/530000/node",
        "/530000/532900/532901/node",
        "/530000/532900/institution/91530100MA6K1234-5",
        "/530000/operator/li.wei",
        "/530000/auditor/a_1-b",
        "/530000/532900/service/0",
    ] {
        let text = format!("spiffe://mesh.example{below}");
        assert_eq!(id(&text).to_string(), text);
    }
}

#[test]
fn everything_else_is_refused() {
    let long = format!("spiffe://m/530000/operator/{}", "a".repeat(3000));
    let long_account = format!("spiffe://m/530000/operator/{}", "a".repeat(65));
    let long_code = format!("spiffe://m/530000/institution/{}", "A".repeat(33));
    for (text, why) in [
        ("", NameError::Scheme),
        ("https://m/530000/node", NameError::Scheme),
        ("SPIFFE://m/530000/node", NameError::Scheme),
        ("spiffe:/m/530000/node", NameError::Scheme),
        ("spiffe://", NameError::TrustDomain),
        ("spiffe:///530000/node", NameError::TrustDomain),
        ("spiffe://M/530000/node", NameError::TrustDomain),
        ("spiffe://user@m/530000/node", NameError::TrustDomain),
        ("spiffe://m:443/530000/node", NameError::TrustDomain),
        ("spiffe://m?q", NameError::TrustDomain),
        ("spiffe://m/", NameError::Path),
        ("spiffe://m/node", NameError::Path),
        ("spiffe://m//530000/node", NameError::Path),
        ("spiffe://m/530000/530000/node", NameError::Path),
        ("spiffe://m/110000/120000/130000/140000/150000/160000/170000/180000/190000", NameError::Path),
        ("spiffe://m/530000/", NameError::Role),
        ("spiffe://m/530000/node/", NameError::Role),
        ("spiffe://m/530000/node/x", NameError::Role),
        ("spiffe://m/530000/NODE", NameError::Role),
        ("spiffe://m/530000/node?x=1", NameError::Role),
        ("spiffe://m/530000/node#x", NameError::Role),
        ("spiffe://m/530000/./node", NameError::Role),
        ("spiffe://m/530000/../node", NameError::Role),
        ("spiffe://m/530000/%6eode", NameError::Role),
        ("spiffe://m/530000/node/532900", NameError::Role),
        ("spiffe://m/530000/5329/node", NameError::Role),
        ("spiffe://m/530000/institution", NameError::Role),
        ("spiffe://m/530000/institution/ABCD/x", NameError::Role),
        ("spiffe://m/530000/institution/ABC", NameError::InstitutionCode),
        ("spiffe://m/530000/institution/AB%43D", NameError::InstitutionCode),
        ("spiffe://m/530000/operator/", NameError::Account),
        ("spiffe://m/530000/operator/.", NameError::Account),
        ("spiffe://m/530000/operator/..", NameError::Account),
        ("spiffe://m/530000/operator/Li", NameError::Account),
        ("spiffe://m/530000/operator/李伟", NameError::Account),
        (long.as_str(), NameError::TooLong),
        (long_account.as_str(), NameError::Account),
        (long_code.as_str(), NameError::InstitutionCode),
    ] {
        assert_eq!(text.parse::<SpiffeId>(), Err(why), "{text}");
    }
}

#[test]
fn containment() {
    let allowed = [
        ("", "/530000"),
        ("", "/530000/node"),
        ("/530000", "/530000/532900"),
        ("/530000", "/530000/532900/node"),
        ("/530000", "/530000/institution/ABCD"),
        ("/530000/532900", "/530000/532900/operator/a"),
        ("/530000/532900", "/530000/532900/auditor/a"),
        ("/530000/532900", "/530000/532900/service/a"),
    ];
    let refused = [
        ("", ""),
        ("", "/530000/532900"),
        ("", "/530000/532900/node"),
        ("", "/530000/operator/a"),
        ("/530000", ""),
        ("/530000", "/530000"),
        ("/530000", "/530000/node"),
        ("/530000", "/530000/532900/532901"),
        ("/530000", "/530000/532900/532901/node"),
        ("/530000", "/530000/532900/institution/ABCD"),
        ("/530000", "/440000/532900/node"),
        ("/530000/532900", "/530000/532500/532501/node"),
        ("/530000/532900", "/530000/532900/node"),
        ("/530000/532900", "/530000/node"),
        ("/530000/532900", "/530000/institution/ABCD"),
        ("/530000/node", "/530000/532900/node"),
        ("/530000/institution/ABCD", "/530000/operator/a"),
    ];
    for (issuer, subject) in allowed {
        assert!(name(issuer).may_issue(&name(subject)), "{issuer} → {subject}");
    }
    for (issuer, subject) in refused {
        assert!(!name(issuer).may_issue(&name(subject)), "{issuer} → {subject}");
    }
}

fn a_name() -> impl Strategy<Value = String> {
    let domain = "[a-z0-9.-]{1,63}";
    let codes = proptest::collection::btree_set("[0-9]{6}", 1..=8);
    let tail = prop_oneof![
        proptest::strategy::Just(String::new()),
        proptest::strategy::Just("/node".to_owned()),
        "/institution/[A-Za-z0-9-]{4,32}",
        "/(operator|auditor|service)/[a-z0-9_-][a-z0-9._-]{0,63}",
    ];
    (domain, codes, tail).prop_map(|(domain, codes, tail)| {
        let path: Vec<_> = codes.into_iter().collect();
        format!("spiffe://{domain}/{}{tail}", path.join("/"))
    })
}

proptest! {
    #[test]
    fn good_names_roundtrip(text in a_name()) {
        assert_eq!(id(&text).to_string(), text);
    }

    /// Whatever one byte is changed to, the parser does not panic and never reads two texts as one name.
    #[test]
    fn a_mutation_is_another_name_or_none(text in a_name(), place: proptest::sample::Index, with: char) {
        let mut changed: Vec<char> = text.chars().collect();
        let place = place.index(changed.len());
        changed[place] = with;
        let changed: String = changed.into_iter().collect();
        if let Ok(read) = changed.parse::<SpiffeId>() {
            assert_eq!(read.to_string(), changed);
        }
    }

    #[test]
    fn anything_parses_or_not(text in ".{0,80}", tail in ".{0,40}") {
        for text in [text.clone(), format!("spiffe://{text}"), format!("spiffe://m/530000/{tail}")] {
            if let Ok(read) = text.parse::<SpiffeId>() {
                assert_eq!(read.to_string(), text);
            }
        }
    }
}
