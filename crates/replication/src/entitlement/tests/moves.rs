//! Who may say who writes for an institution, and who may write in which term: as the province sees it, which decides.

use model::NodePath;
use model::body::{LinkDecision, LinkLayer};

use super::*;
use crate::testing::institution;

/// A province, two prefectures with a county each, all introduced; the first county has enrolled H1.
struct Tree {
    province: Writer,
    dali: Writer,
    wenshan: Writer,
    old: Writer,
    new: Writer,
    staged: Staged,
}

/// Everything is admitted wherever it comes from: what is tested is who says it.
fn judge_all(records: &[Record], staged: &Staged) -> (Vec<Verdict>, Staged) {
    let domain = trust_domain();
    let rules = Rules { trust_domain: &domain, from: Territory::Anywhere, keyring: &PlainKeyring };
    judge(records, Staged::new(Arc::clone(&staged.view)), rules)
}

fn tree() -> Tree {
    let mut province = Writer::new(1, "530000");
    let mut dali = Writer::new(2, "530000/532900");
    let mut wenshan = Writer::new(3, "530000/532600");
    let mut old = Writer::new(4, "530000/532900/532901");
    let mut new = Writer::new(5, "530000/532600/532601");
    let mut records = Vec::new();
    for writer in [&mut province, &mut dali, &mut wenshan, &mut old, &mut new] {
        records.extend(writer.introduction());
    }
    records.push(old.institution("H1"));
    let (verdicts, staged) = judge_all(&records, &empty());
    assert!(verdicts.iter().all(|verdict| *verdict == Verdict::Admit), "{verdicts:?}");
    Tree { province, dali, wenshan, old, new, staged }
}

impl Tree {
    /// Takes in what must be good.
    fn learn(&mut self, record: Record) {
        let (verdicts, staged) = judge_all(&[record], &self.staged);
        assert_eq!(verdicts, [Verdict::Admit]);
        self.staged = staged;
    }

    fn judge(&self, record: Record) -> Verdict {
        judge_all(&[record], &self.staged).0.remove(0)
    }

    fn view(&self) -> &DirectoryView {
        self.staged.view()
    }
}

fn in_term(writer: &mut Writer, term: u32, local_id: &str) -> Record {
    writer.sign(Parts { term, ..Writer::registration_parts("H1", local_id) })
}

#[test]
fn only_the_lowest_common_ancestor_decides() {
    let mut tree = tree();
    let Tree { province, dali, wenshan, old, new, .. } = &mut tree;
    let by = |decider: &str, at: &NodePath| Reason::NotTheDecider {
        code: "H1".into(),
        path: at.clone(),
        decider: decider.into(),
    };
    let table = [
        // Beside, below and above the place; the new writer for itself; the old one for its successor.
        (dali.decision("H1", 2, new.origin), Some(by("530000", &dali.path))),
        (wenshan.decision("H1", 2, new.origin), Some(by("530000", &wenshan.path))),
        (new.decision("H1", 2, new.origin), Some(by("530000", &new.path))),
        (old.decision("H1", 2, new.origin), Some(by("530000", &old.path))),
        (province.decision("H1", 2, dali.origin), Some(by("530000/532900", &province.path))),
        (province.decision("H1", 2, old.origin), Some(by("530000/532900/532901", &province.path))),
        (province.decision("H1", 3, new.origin), Some(Reason::UnknownTerm { code: "H1".into(), before: 2 })),
        (province.decision("H9", 2, new.origin), Some(Reason::UnknownTerm { code: "H9".into(), before: 1 })),
        (province.decision("H1", 2, new.origin), None),
        (dali.decision("H1", 2, dali.origin), None),
    ];
    let stranger = Writer::new(9, "530000/532600/532699");
    let unknown = tree.province.decision("H1", 2, stranger.origin);
    let no_node = Reason::UnknownNode { code: "H1".into(), node: stranger.origin };
    for (line, (record, expected)) in table.into_iter().chain([(unknown, Some(no_node))]).enumerate() {
        let expected = expected.map_or(Verdict::Admit, Verdict::Quarantine);
        assert_eq!(tree.judge(record), expected, "line {line}");
    }
}

#[test]
fn of_two_decisions_the_higher_one_counts_in_either_order() {
    for province_first in [true, false] {
        let mut tree = tree();
        let above = tree.province.decision("H1", 2, tree.new.origin);
        let below = tree.dali.decision("H1", 2, tree.dali.origin);
        let second = tree.province.decision("H1", 2, tree.wenshan.origin);
        let both = if province_first { [above, below] } else { [below, above] };
        for decision in both {
            tree.learn(decision);
        }
        assert!(matches!(reason(tree.judge(second)), Reason::Claimed { .. }), "its first word counts");
        let now = tree.view().institution(&institution("H1")).unwrap();
        assert_eq!((now.term, now.writer, now.decided_by), (2, tree.new.origin, tree.province.origin));
    }
}

#[test]
fn of_two_decisions_the_one_counts_that_was_followed() {
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2]] {
        let mut tree = tree();
        let records = [
            tree.dali.decision("H1", 2, tree.dali.origin),
            tree.province.decision("H1", 2, tree.new.origin),
            tree.old.term_end("H1", 1, tree.dali.origin, None),
        ];
        for at in order {
            tree.learn(records[at].clone());
        }
        let now = tree.view().institution(&institution("H1")).unwrap();
        assert_eq!((now.term, now.writer), (2, tree.dali.origin), "{order:?}");
        assert!(tree.view().awaited(&institution("H1")).is_none(), "it may have written");
        assert!(!tree.view().were_handed_over(&institution("H1"), 1..2), "elsewhere the other one may count");
        let written = in_term(&mut tree.dali, 2, "P1");
        assert_eq!(tree.judge(written), Verdict::Admit);
        let overruled = in_term(&mut tree.new, 2, "P1");
        assert!(matches!(reason(tree.judge(overruled)), Reason::NotTheWriter { .. }));
        // Whoever knows now decides on what comes next.
        let next = tree.province.decision("H1", 3, tree.new.origin);
        tree.learn(next);
        assert_eq!(tree.view().institution(&institution("H1")).unwrap().writer, tree.new.origin);
    }
}

#[test]
fn whoever_stood_above_a_former_writer_decides_nothing_any_more() {
    let mut tree = tree();
    let h1 = institution("H1");
    let moved = tree.province.decision("H1", 2, tree.new.origin);
    tree.learn(moved);
    let end = tree.old.term_end("H1", 1, tree.new.origin, None);
    tree.learn(end);
    // As if it had not heard of the move, and then on top of that.
    let beside = tree.dali.decision("H1", 2, tree.dali.origin);
    tree.learn(beside);
    let back = tree.dali.decision("H1", 3, tree.old.origin);
    assert_eq!(tree.judge(back.clone()), Verdict::Admit, "it may have come in another order");
    tree.learn(back);
    let now = tree.view().institution(&h1).unwrap();
    assert_eq!((now.term, now.writer), (2, tree.new.origin));
    assert!(tree.view().to_end(&tree.new.origin).is_empty(), "the writer goes on");
    let onward = tree.province.decision("H1", 3, tree.dali.origin);
    tree.learn(onward);
    assert_eq!(tree.view().institution(&h1).unwrap().writer, tree.dali.origin);
}

#[test]
fn a_successor_that_was_let_write_without_the_old_writer_stays_it() {
    let mut tree = tree();
    let below = tree.dali.decision("H1", 2, tree.dali.origin);
    let dead = tree.dali.term_end("H1", 1, tree.dali.origin, Some(4));
    let above = tree.province.decision("H1", 2, tree.new.origin);
    for record in [below, dead, above] {
        tree.learn(record);
    }
    assert_eq!(tree.view().institution(&institution("H1")).unwrap().writer, tree.dali.origin);
    // The latest word of the old writer counts, in whatever order both come.
    let first = tree.old.term_end("H1", 1, tree.new.origin, None);
    let second = tree.old.term_end("H1", 1, tree.dali.origin, None);
    for order in [[&first, &second], [&second, &first]] {
        let staged = order.into_iter().fold(Staged::new(Arc::clone(&tree.staged.view)), |staged, record| {
            judge_all(std::slice::from_ref(record), &staged).1
        });
        assert_eq!(staged.view().institution(&institution("H1")).unwrap().writer, tree.dali.origin);
    }
}

#[test]
fn each_writes_in_its_own_term_for_ever() {
    let mut tree = tree();
    let (first, early) = (in_term(&mut tree.old, 1, "P1"), in_term(&mut tree.new, 2, "P2"));
    assert_eq!(tree.judge(first.clone()), Verdict::Admit);
    assert!(matches!(reason(tree.judge(early.clone())), Reason::NotTheWriter { .. }));
    let decision = tree.province.decision("H1", 2, tree.new.origin);
    // Also when the decision comes in the same batch, behind what depends on it.
    let (verdicts, _) = judge_all(&[early.clone(), decision.clone()], &tree.staged);
    assert_eq!(verdicts, [Verdict::Admit, Verdict::Admit]);
    tree.learn(decision);
    let other =
        |path: &NodePath, term, by: &str| Reason::OtherWriter { path: path.clone(), term, by: by.into() };
    let (old, new) = (tree.old.path.clone(), tree.new.path.clone());
    let late = in_term(&mut tree.old, 1, "P3");
    let over = in_term(&mut tree.old, 2, "P3");
    let before = in_term(&mut tree.new, 1, "P3");
    let after = in_term(&mut tree.new, 3, "P3");
    let table = [
        (first, None),
        (late, None),
        (early, None),
        (over, Some(other(&old, 2, "530000/532600/532601"))),
        (before, Some(other(&new, 1, "530000/532900/532901"))),
        (after, Some(Reason::OtherTerm { current: 2, stated: 3 })),
        (
            in_term(&mut tree.dali, 2, "P3"),
            Some(Reason::NotTheWriter { path: tree.dali.path.clone(), origin: institution("H1") }),
        ),
    ];
    for (line, (record, expected)) in table.into_iter().enumerate() {
        assert_eq!(tree.judge(record), expected.map_or(Verdict::Admit, Verdict::Quarantine), "line {line}");
    }
}

#[test]
fn a_term_is_ended_by_its_writer_or_without_it_by_the_decider() {
    let mut tree = tree();
    let h1 = institution("H1");
    let decision = tree.province.decision("H1", 2, tree.new.origin);
    let end = |writer: &mut Writer, next, held| writer.term_end("H1", 1, next, held);
    let next = tree.new.origin;
    let by_new = end(&mut tree.new, next, None);
    let by_province = end(&mut tree.province, next, None);
    let dead = end(&mut tree.province, next, Some(4));
    let by_old = end(&mut tree.old, next, None);
    let for_another = end(&mut tree.old, tree.wenshan.origin, None);
    tree.learn(decision);
    assert_eq!(tree.view().awaited(&h1).unwrap().writer, Some(tree.old.path.clone()));
    assert_eq!(tree.view().to_end(&tree.old.origin).len(), 1);
    assert!(tree.view().to_end(&tree.new.origin).is_empty());
    assert!(matches!(reason(tree.judge(by_new)), Reason::NotItsTerm { .. }));
    assert!(matches!(reason(tree.judge(by_province)), Reason::NotItsTerm { .. }));

    let ended = |record: &Record| judge_all(std::slice::from_ref(record), &tree.staged).1;
    // An end for a successor that did not come about ends nothing, but its writer is done all the same.
    let other = ended(&for_another);
    assert!(other.view().awaited(&h1).is_some() && other.view().has_ended(&tree.old.origin, &h1, 1));
    let good = ended(&by_old);
    assert!(good.view().awaited(&h1).is_none() && good.view().to_end(&tree.old.origin).is_empty());
    let version = |seq| Version { term: 1, epoch: 1, seq };
    assert!(!good.view().is_late(&h1, version(99)));
    let without = ended(&dead);
    assert!(without.view().awaited(&h1).is_none());
    assert_eq!([4, 5].map(|seq| without.view().is_late(&h1, version(seq))), [false, true]);
    assert_eq!(without.view().to_end(&tree.old.origin).len(), 1, "if it ever comes back it says so itself");
    // Then it is late all the same, whichever end was heard of first.
    for both in [[&dead, &by_old], [&by_old, &dead]] {
        let both = judge_all(&both.map(Clone::clone), &tree.staged).1;
        assert!(both.view().is_late(&h1, version(5)) && !both.view().is_late(&h1, version(4)));
        assert!(!both.view().were_handed_over(&h1, 1..2));
    }
    assert!(good.view().were_handed_over(&h1, 1..2) && !without.view().were_handed_over(&h1, 1..2));
}

#[test]
fn a_node_that_lost_its_disk_takes_its_own_decisions_from_a_child() {
    let mut tree = tree();
    let decision = tree.province.decision("H1", 2, tree.new.origin);
    let own = tree.province.introduction();
    let domain = trust_domain();
    let child = path("530000/532600");
    let from_child_after = |lost_before: u32, at: &NodePath, records: &[Record]| {
        let rules = Rules {
            trust_domain: &domain,
            from: Territory::Child { subtree: &child, own: at, lost_before },
            keyring: &PlainKeyring,
        };
        judge(records, empty(), rules).0
    };
    let from_child = |at: &NodePath, records: &[Record]| from_child_after(2, at, records);
    let records: Vec<Record> = own.iter().cloned().chain([decision]).collect();
    assert_eq!(from_child(&path("530000"), &records), vec![Verdict::Admit; 4]);
    // Of its links those of the epochs that it lost, and of nobody else's above it.
    let parts =
        tree.province.link_parts(LinkLayer::Machine, LinkDecision::Same, [("H1", "P1"), ("H5", "P5")]);
    let link = [own.clone(), vec![tree.province.sign(parts)]].concat();
    assert_eq!(from_child(&path("530000"), &link)[3], Verdict::Admit);
    let outside = |verdict: &Verdict| matches!(verdict, Verdict::Quarantine(Reason::Outside { .. }));
    assert!(outside(&from_child_after(1, &path("530000"), &link)[3]), "it has that one");
    assert!(outside(&from_child(&path("530000/532900"), &link)[3]), "an ancestor's");
    // Not what a sibling said, and not what the province files for its own hospitals.
    let beside = tree.dali.introduction();
    assert!(from_child(&path("530000"), &beside).iter().all(|verdict| *verdict != Verdict::Admit));
    let filed = [own, vec![tree.province.institution("H5"), tree.province.registration("H5", "P1")]].concat();
    assert!(matches!(from_child(&path("530000"), &filed)[4], Verdict::Quarantine(Reason::Outside { .. })));
}

#[test]
fn one_node_stands_for_another_by_the_word_of_the_lowest_above_both() {
    let mut tree = tree();
    let (dali, wenshan, old, new) = (tree.dali.origin, tree.wenshan.origin, tree.old.origin, tree.new.origin);
    let not_its = |path: &NodePath, decider: &str| Reason::NotItsSuccession {
        path: path.clone(),
        decider: decider.into(),
    };
    let stranger = Writer::new(9, "530000/532600/532699").origin;
    let (above, beside) = (tree.province.path.clone(), tree.wenshan.path.clone());
    let table = [
        (tree.province.succession(old, new), None),
        (tree.wenshan.succession(old, new), Some(not_its(&beside, "530000"))),
        (tree.province.succession(old, dali), Some(not_its(&above, "530000/532900"))),
        // Who decides cannot be the one that goes, nor can one stand for itself.
        (tree.dali.succession(dali, old), Some(not_its(&tree.dali.path, "530000/532900"))),
        (tree.province.succession(tree.province.origin, old), Some(not_its(&above, "530000"))),
        (tree.old.succession(old, old), Some(not_its(&tree.old.path, "530000/532900/532901"))),
        (tree.province.succession(stranger, new), Some(Reason::StrangerSucceeds { node: stranger })),
        (tree.province.succession(old, stranger), Some(Reason::StrangerSucceeds { node: stranger })),
    ];
    for (line, (record, expected)) in table.into_iter().enumerate() {
        let expected = expected.map_or(Verdict::Admit, Verdict::Quarantine);
        assert_eq!(tree.judge(record), expected, "line {line}");
    }
    let first = tree.province.succession(old, new);
    tree.learn(first);
    let taken = |tree: &Tree, record| matches!(reason(tree.judge(record)), Reason::Succeeded { .. });
    let other = tree.province.succession(old, wenshan);
    let circle = tree.province.succession(new, old);
    assert!(taken(&tree, other) && taken(&tree, circle), "its first word counts, and none goes in a circle");
    let onward = tree.wenshan.succession(new, wenshan);
    tree.learn(onward);
    assert_eq!(
        [old, new, wenshan, dali].map(|node| tree.view().stands_for(&node)),
        [wenshan, wenshan, wenshan, dali]
    );
}
