//! Which decision counts, and what is no link.

use super::*;
use crate::body::{FieldWeight, PastDecision};

const BY: OriginId = OriginId([7; 16]);

fn of(byte: u8) -> RegistrationRef {
    RegistrationRef {
        origin: vec![byte; 16].into(),
        id: vec![byte; 16].into(),
        born_ms: u64::from(byte),
        version: "1.1.1".into(),
    }
}

/// References whose keys ascend.
fn pair() -> (RegistrationRef, RegistrationRef) {
    let (one, other) = (of(1), of(2));
    let key = |of: &RegistrationRef| end(Some(of)).unwrap().0.key;
    if key(&one) < key(&other) { (one, other) } else { (other, one) }
}

fn link(layer: LinkLayer, decision: LinkDecision, basis: LinkBasis) -> PersonLink {
    let (a, b) = pair();
    PersonLink {
        a: Some(a),
        b: Some(b),
        layer: layer as i32,
        decision: decision as i32,
        basis: basis as i32,
        ..PersonLink::default()
    }
}

fn decided(layer: LinkLayer, decision: LinkDecision, basis: LinkBasis) -> Decided {
    Decided::read(&link(layer, decision, basis), BY).unwrap()
}

#[test]
fn the_strongest_decision_counts_whatever_the_order() {
    use LinkBasis::{Human, Rule, Score};
    use LinkDecision::{Different, None as TakenBack, Possible, Same, Suspended};
    let machine = |decision, basis| decided(LinkLayer::Machine, decision, basis);
    let human = |decision| decided(LinkLayer::Human, decision, Human);
    let suspension = decided(LinkLayer::Suspension, Suspended, LinkBasis::Conflict);
    let lifted = Decided { decision: TakenBack, ..suspension };
    let (heavy, light) = (
        Decided { weight_millibits: 9, by: OriginId([8; 16]), ..machine(Same, Score) },
        machine(Possible, Score),
    );
    type Case<'a> = (&'a [(Decided, usize)], Option<bool>);
    let cases: &[Case<'_>] = &[
        (&[], None),
        (&[(machine(Same, Score), 2)], Some(true)),
        (&[(machine(Possible, Score), 2)], None),
        (&[(machine(TakenBack, Score), 0), (machine(Same, Score), 2)], Some(true)),
        (&[(machine(Same, Score), 2), (machine(Different, Score), 1)], Some(false)),
        (&[(machine(Same, Score), 1), (machine(Different, Score), 2)], Some(true)),
        (&[(machine(Same, Score), 1), (machine(Different, Score), 1)], Some(false)),
        (&[(machine(Same, Rule), 2), (machine(Different, Score), 0)], Some(true)),
        (&[(machine(Same, Rule), 0), (human(Different), 2)], Some(false)),
        (&[(human(Same), 1), (human(Different), 2)], Some(true)),
        (&[(human(Same), 0), (suspension, 2)], Some(false)),
        (&[(human(Same), 0), (lifted, 2)], Some(true)),
        (&[(heavy, 1), (light, 1)], Some(true)),
        (&[(Decided { basis: LinkBasis::Unspecified, ..heavy }, 0)], None),
        (&[(Decided { layer: LinkLayer::Unspecified, ..heavy }, 0)], None),
    ];
    for (decisions, wanted) in cases {
        for is_judge in [false, true] {
            let standing = |depth: &usize| Standing { depth: *depth, is_judge, is_above: true };
            let forwards = joined(decisions.iter().map(|(one, depth)| (one, standing(depth))));
            let backwards = joined(decisions.iter().rev().map(|(one, depth)| (one, standing(depth))));
            assert_eq!((forwards, backwards), (*wanted, *wanted), "{decisions:?}");
        }
    }
}

#[test]
fn a_former_judge_stands_back_whatever_it_was_sure_of_but_humans_do_not() {
    use LinkBasis::{Conflict, Human, Rule, Score};
    use LinkDecision::{Different, None as TakenBack, Possible, Same};
    let machine = |decision, basis| decided(LinkLayer::Machine, decision, basis);
    let human = |decision| decided(LinkLayer::Human, decision, Human);
    let former = Standing { depth: 1, is_judge: false, is_above: false };
    let judge = Standing { depth: 2, is_judge: true, is_above: true };
    let says = |before: Decided, now: Decided| joined([(&before, former), (&now, judge)]);
    assert_eq!(says(machine(Same, Rule), machine(Different, Conflict)), Some(false));
    assert_eq!(says(machine(Different, Conflict), machine(Same, Score)), Some(true));
    assert_eq!(says(machine(Same, Score), machine(TakenBack, Score)), Some(true), "nothing was said instead");
    assert_eq!(says(machine(Same, Rule), machine(Possible, Score)), Some(true), "a doubt overrules nobody");
    assert_eq!(says(human(Same), machine(Different, Conflict)), Some(true));
    assert_eq!(says(human(Same), human(Different)), Some(true), "the higher human, judge or not");
    let suspension = decided(LinkLayer::Suspension, LinkDecision::Suspended, Conflict);
    assert_eq!(says(suspension, human(Same)), Some(true), "it does not see what that was for any more");
    assert_eq!(says(human(Same), suspension), Some(false));
}

#[test]
fn what_is_not_well_formed_is_no_link() {
    let good = || link(LinkLayer::Machine, LinkDecision::Same, LinkBasis::Score);
    assert!(Decided::read(&good(), BY).is_ok());
    let (a, b) = pair();
    let mut swapped = good();
    (swapped.a, swapped.b) = (Some(b.clone()), Some(a.clone()));
    let past = PastDecision { reason: "长".repeat(MAX_REASON + 1), ..PastDecision::default() };
    let wrong = [
        (swapped, PersonLinkError::Ends),
        (PersonLink { b: Some(a.clone()), ..good() }, PersonLinkError::Ends),
        (PersonLink { a: None, ..good() }, PersonLinkError::Ends),
        (
            PersonLink { a: Some(RegistrationRef { id: vec![0; 15].into(), ..a.clone() }), ..good() },
            PersonLinkError::Ends,
        ),
        (
            PersonLink { a: Some(RegistrationRef { version: "x".into(), ..a }), ..good() },
            PersonLinkError::Ends,
        ),
        (PersonLink { weight_millibits: i32::MIN, ..good() }, PersonLinkError::Weight),
        (
            PersonLink { fields: vec![FieldWeight::default(); MAX_READ + 1], ..good() },
            PersonLinkError::TooLong,
        ),
        (
            PersonLink { past: vec![PastDecision::default(); MAX_READ + 1], ..good() },
            PersonLinkError::TooLong,
        ),
        (PersonLink { past: vec![past], ..good() }, PersonLinkError::TooLong),
        (PersonLink { model: "m".repeat(MAX_NAME + 1), ..good() }, PersonLinkError::TooLong),
        (PersonLink { operator: "o".repeat(MAX_NAME + 1), ..good() }, PersonLinkError::TooLong),
    ];
    for (body, error) in wrong {
        assert_eq!(Decided::read(&body, BY), Err(error));
    }
}

#[test]
fn layers_have_records_of_their_own() {
    let machine = decided(LinkLayer::Machine, LinkDecision::Same, LinkBasis::Score);
    assert_ne!(machine.id(), Decided { layer: LinkLayer::Human, ..machine }.id());
    assert_eq!(machine.other(&machine.a.key), &machine.b);
    assert_eq!(machine.other(&machine.b.key), &machine.a);
}
