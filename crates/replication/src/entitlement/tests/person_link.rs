//! Links: who may decide about a pair, one line per rule and the mistake that breaks it.

use model::Kind;
use model::body::{LinkDecision, LinkLayer};

use super::*;

/// A prefecture with two counties, each with an institution, as their province sees them.
struct Tree {
    prefecture: Writer,
    counties: [Writer; 2],
    staged: Staged,
}

fn tree() -> Tree {
    let mut prefecture = Writer::new(5, "530000/532900");
    let mut counties = [Writer::new(1, "530000/532900/532901"), Writer::new(2, "530000/532900/532922")];
    let mut records = prefecture.introduction();
    for (county, code) in counties.iter_mut().zip(["H1", "H2"]) {
        records.extend(county.introduction());
        records.push(county.institution(code));
    }
    let (verdicts, staged) = judge_from("530000/532900", &records, empty());
    assert!(verdicts.iter().all(|verdict| *verdict == Verdict::Admit), "{verdicts:?}");
    Tree { prefecture, counties, staged }
}

impl Tree {
    fn judge(&self, record: Record) -> Verdict {
        judge_from("530000/532900", &[record], Staged::new(Arc::clone(&self.staged.view))).0.remove(0)
    }
}

const ACROSS: [(&str, &str); 2] = [("H1", "P1"), ("H2", "P1")];
const WITHIN: [(&str, &str); 2] = [("H1", "P1"), ("H1", "P2")];
const UNKNOWN: [(&str, &str); 2] = [("H1", "P1"), ("H9", "P1")];

#[test]
fn the_lowest_node_above_both_decides_and_those_above_it_overrule() {
    use LinkDecision::{Different, None as TakenBack, Possible, Same, Suspended};
    use LinkLayer::{Human, Machine, Suspension};
    let mut tree = tree();
    // By the prefecture, and by the first county.
    let table = [
        (Machine, Same, ACROSS, true, false),
        (Machine, Possible, ACROSS, true, false),
        (Machine, TakenBack, ACROSS, true, false),
        (Machine, Same, WITHIN, false, true),
        (Machine, Different, WITHIN, true, true),
        (Human, Same, WITHIN, true, true),
        (Human, Same, ACROSS, true, false),
        (Suspension, Suspended, WITHIN, true, true),
        (Suspension, Suspended, ACROSS, true, false),
        (Machine, Same, UNKNOWN, true, true),
    ];
    for (layer, decision, pair, prefecture, county) in table {
        let parts = tree.prefecture.link_parts(layer, decision, pair);
        let by_prefecture = tree.prefecture.sign(parts);
        let parts = tree.counties[0].link_parts(layer, decision, pair);
        let by_county = tree.counties[0].sign(parts);
        for (record, may) in [(by_prefecture, prefecture), (by_county, county)] {
            let verdict = tree.judge(record);
            if may {
                assert_eq!(verdict, Verdict::Admit, "{layer:?} {decision:?} {pair:?}");
            } else {
                assert!(matches!(reason(verdict), Reason::NotTheJudge(_)), "{layer:?} {decision:?} {pair:?}");
            }
        }
    }
}

#[test]
fn a_link_says_the_same_as_its_envelope() {
    let mut tree = tree();
    let good = |tree: &Tree| tree.prefecture.link_parts(LinkLayer::Machine, LinkDecision::Same, ACROSS);
    let registration = Writer::registration_parts("H1", "P1");
    let other_subject = Some(RecordKey::of(Kind::Registration as u32, institution("H1"), RecordId([1; 16])));
    let wrong = [
        (Parts { id: RecordId([1; 16]), ..good(&tree) }, Reason::WrongId),
        (Parts { subject: other_subject, ..good(&tree) }, Reason::WrongId),
        (Parts { subject: None, ..good(&tree) }, Reason::WrongId),
        (Parts { flow: Flow::Registration, ..good(&tree) }, Reason::WrongFlow),
        (Parts { tombstone: true, body: Vec::new(), ..good(&tree) }, Reason::LinkWithdrawn),
        (Parts { body: vec![0xFF; 3], ..good(&tree) }, Reason::Body("link")),
        (Parts { body: registration.body, ..good(&tree) }, Reason::Body("link")),
        (Parts { body: Vec::new(), ..good(&tree) }, Reason::Body("ends of a link")),
    ];
    for (line, (parts, expected)) in wrong.into_iter().enumerate() {
        let record = tree.prefecture.sign(parts);
        assert_eq!(reason(tree.judge(record)), expected, "line {line}");
    }
    // In an institution's name, by the node that writes for it.
    let parts = tree.counties[0].link_parts(LinkLayer::Machine, LinkDecision::Same, WITHIN);
    let record = tree.counties[0].sign(Parts { origin: institution("H1"), ..parts });
    assert_eq!(reason(tree.judge(record)), Reason::WrongOrigin);
    // Signed elsewhere and brought by the county.
    let parts = good(&tree);
    let record = tree.prefecture.sign(parts);
    let staged = Staged::new(Arc::clone(&tree.staged.view));
    let verdict = judge_from("530000/532900/532901", &[record], staged).0.remove(0);
    assert!(matches!(reason(verdict), Reason::Outside { .. }));
}
