//! What is told and what is retracted because of the records of one slice.

use model::body::{LinkDecision, LinkLayer};
use model::person_link::Decided;
use prost::Message;
use store::Apply;

use super::*;
use crate::Directory;
use crate::testing::{Parts, Writer, node, now};

/// One person over links that say "same".
#[derive(Debug)]
struct ByLinks(Store);

impl Interest for ByLinks {
    fn person(&self, registration: &Record) -> Result<Vec<Record>, ReadError> {
        let mut members = vec![registration.clone()];
        let mut at = 0;
        while let Some(key) = members.get(at).map(Record::key) {
            at += 1;
            for link in self.links(&key)? {
                let Ok(decided) = Decided::of(&link) else { continue };
                let other = decided.other(&key).key;
                let known = members.iter().any(|member| member.key() == other);
                if decided.decision == LinkDecision::Same && !known {
                    members.extend(self.0.get(&other)?.filter(|found| !found.envelope().tombstone));
                }
            }
        }
        Ok(members)
    }

    fn documents(&self, _registration: &RecordKey) -> Result<Vec<Record>, ReadError> {
        Ok(Vec::new())
    }

    fn links(&self, registration: &RecordKey) -> Result<Vec<Record>, ReadError> {
        let all = self.0.feed_reader(0).next(usize::MAX, usize::MAX, &|_| true)?.records;
        let about = |link: &Record| {
            Decided::of(link).is_ok_and(|decided| [decided.a.key, decided.b.key].contains(registration))
        };
        Ok(all.into_iter().filter(about).collect())
    }
}

/// The province, and what its prefecture Kunming is told of the prefecture Dali.
struct Province {
    store: Store,
    directory: Directory,
    root: Writer,
    kunming: Writer,
    dali: Writer,
}

impl Province {
    fn new() -> Self {
        let (mut root, mut kunming, mut dali) =
            (Writer::new(9, "530000"), Writer::new(1, "530000/530100"), Writer::new(2, "530000/532900"));
        let known: Vec<Record> =
            [&mut root, &mut kunming, &mut dali].into_iter().flat_map(Writer::introduction).collect();
        let (store, directory) = node(&root, known);
        Self { store, directory, root, kunming, dali }
    }

    /// Holds it, and knows what it says.
    fn holds(&self, record: &Record) {
        now(self.store.apply(Apply { records: vec![record.clone()], ..Apply::default() })).unwrap();
        self.directory.learn(record);
    }

    fn selection(&self) -> Selection {
        let moves = Moves::new(0, self.directory.snapshot());
        Selection::new(self.interest(), "530000/530100".parse().unwrap(), moves)
    }

    fn interest(&self) -> Arc<dyn Interest> {
        Arc::new(ByLinks(self.store.clone()))
    }

    fn because_of(&self, record: &Record) -> Selected {
        let view = self.directory.snapshot();
        now(self.selection().of(vec![record.clone()], 0, &view, &self.store)).unwrap()
    }

    fn is_told(&self, record: &Record) -> bool {
        let (view, interest) = (self.directory.snapshot(), self.interest());
        is_told(record, &"530000/530100".parse().unwrap(), &*interest, &view, &self.store).unwrap()
    }
}

fn name(record: &Record) -> (RecordKey, Version) {
    (record.key(), record.envelope().version)
}

fn link(by: &mut Writer, decision: LinkDecision) -> Record {
    let parts = by.link_parts(LinkLayer::Machine, decision, [("H1", "P1"), ("H2", "P2")]);
    by.sign(parts)
}

/// H1 is Kunming's, H2 Dali's; both have registered somebody.
fn two_hospitals() -> (Province, [Record; 2]) {
    let mut province = Province::new();
    let (h1, one) = (province.kunming.institution("H1"), province.kunming.registration("H1", "P1"));
    let (h2, two) = (province.dali.institution("H2"), province.dali.registration("H2", "P2"));
    for record in [&h1, &one, &h2, &two] {
        province.holds(record);
    }
    (province, [one, two])
}

/// H1 files with the province from now on.
fn moved(province: &mut Province) {
    let next = province.root.origin;
    let decision = province.root.decision("H1", 2, next);
    province.holds(&decision);
}

#[test]
fn whom_a_forgotten_link_joined_is_forgotten_too() {
    let (mut province, [_, two]) = two_hospitals();
    let same = link(&mut province.root, LinkDecision::Same);
    province.holds(&same);
    let told = province.because_of(&same);
    assert!(told.records.contains(&two) && told.retractions.is_empty());
    let upto = province.store.head();
    now(province.store.apply(Apply { forget: vec![name(&same)], ..Apply::default() })).unwrap();
    let gone = province.store.feed_reader(upto).next(10, 1 << 20, &|_| true).unwrap().forgotten;
    let view = province.directory.snapshot();
    let retracted = province.selection().forgotten(&gone, &view, &province.store).unwrap();
    assert!(retracted.contains(&name(&same)), "{retracted:?}");
    assert!(retracted.contains(&name(&two)), "of concern only over the link: {retracted:?}");
}

/// Withdraws a registration of this writer's.
fn withdrawn(by: &mut Writer, code: &str, local_id: &str) -> Record {
    let parts = Writer::registration_parts(code, local_id);
    by.sign(Parts { tombstone: true, body: Vec::new(), ..parts })
}

#[test]
fn whom_a_hospital_withdraws_takes_the_links_along() {
    let (mut province, [_, two]) = two_hospitals();
    let same = link(&mut province.root, LinkDecision::Same);
    province.holds(&same);
    assert!(province.is_told(&same));
    let gone = withdrawn(&mut province.kunming, "H1", "P1");
    province.holds(&gone);
    let retracted = province.because_of(&gone).retractions;
    assert!(!province.is_told(&same) && retracted.contains(&name(&same)), "{retracted:?}");
    assert!(!retracted.contains(&name(&gone)), "what is its own it keeps");
    assert!(!province.is_told(&two));
}

/// Whom it joined stays of concern through somebody else, so only the withdrawn one's own turn takes the link back.
#[test]
fn the_link_to_a_withdrawn_registration_goes_though_the_other_end_stays() {
    let (mut province, [_, two]) = two_hospitals();
    let third = province.kunming.registration("H1", "P3");
    let over_third =
        province.root.link_parts(LinkLayer::Machine, LinkDecision::Same, [("H1", "P3"), ("H2", "P2")]);
    let (same, also) = (link(&mut province.root, LinkDecision::Same), province.root.sign(over_third));
    for record in [&third, &same, &also] {
        province.holds(record);
    }
    let gone = withdrawn(&mut province.kunming, "H1", "P1");
    province.holds(&gone);
    let retracted = province.because_of(&gone).retractions;
    assert!(province.is_told(&two) && !retracted.contains(&name(&two)), "of concern: {retracted:?}");
    assert!(retracted.contains(&name(&same)) && !retracted.contains(&name(&also)), "{retracted:?}");
}

/// A person of whom several leave at once: nothing but the link that was taken back tells any more who was of it.
#[test]
fn who_was_parted_before_the_turn_of_a_withdrawn_registration_is_forgotten_then() {
    let (mut province, [one, two]) = two_hospitals();
    let same = link(&mut province.root, LinkDecision::Same);
    province.holds(&same);
    let gone = withdrawn(&mut province.kunming, "H1", "P1");
    province.holds(&gone);
    let apart = link(&mut province.root, LinkDecision::None);
    province.holds(&apart);
    let retracted = province.because_of(&gone).retractions;
    assert!(retracted.contains(&name(&two)) && !retracted.contains(&name(&one)), "{retracted:?}");
}

/// The linker parted them already when the turn of the withdrawn one comes, which finds nobody of the subtree who was the same person.
#[test]
fn whoever_is_withdrawn_and_parted_at_once_is_forgotten_at_the_turn_of_the_link() {
    let (mut province, [one, two]) = two_hospitals();
    let same = link(&mut province.root, LinkDecision::Same);
    province.holds(&same);
    assert!(province.because_of(&same).records.contains(&two), "it was told");
    let gone = withdrawn(&mut province.dali, "H2", "P2");
    province.holds(&gone);
    let apart = link(&mut province.root, LinkDecision::None);
    province.holds(&apart);
    let retracted = province.because_of(&apart).retractions;
    assert!(retracted.contains(&name(&gone)), "{retracted:?}");
    assert!(!retracted.contains(&name(&one)), "its own");
}

#[test]
fn over_a_link_to_nobody_known_yet_nothing_is_taken_away() {
    let (_, [one, two]) = two_hospitals();
    // A province that lost its disk, and has got back only what Dali's prefecture shipped.
    let mut province = Province::new();
    for record in [province.dali.institution("H2"), two.clone()] {
        province.holds(&record);
    }
    let same = link(&mut province.root, LinkDecision::Same);
    province.holds(&same);
    assert_eq!(province.because_of(&same).retractions, [], "Kunming may hold all three");
    // When the other one is back it is told of all.
    for record in [province.kunming.institution("H1"), one.clone()] {
        province.holds(&record);
    }
    assert!(province.because_of(&one).records.contains(&same) && province.is_told(&same));
}

#[test]
fn whoever_decided_on_a_pair_hears_what_else_was_said_of_it() {
    let (mut province, pair) = two_hospitals();
    let apart = link(&mut province.root, LinkDecision::Different);
    province.holds(&apart);
    assert!(!province.is_told(&apart), "Dali's patient is of no concern there");
    let same = link(&mut province.kunming, LinkDecision::None);
    province.holds(&same);
    assert!(province.is_told(&apart));
    assert!(province.because_of(&same).records.contains(&apart), "it may have been overruled before it came");
    assert!(province.because_of(&apart).records.contains(&apart));
    // What parts its two registrations does not take it away again.
    let retracted = province.because_of(&pair[1]).retractions;
    assert!(!retracted.contains(&name(&apart)), "{retracted:?}");
}

#[test]
fn what_a_hospital_left_behind_is_retracted_whatever_is_known_of_its_past() {
    let (mut province, [one, two]) = two_hospitals();
    assert_eq!(province.because_of(&two).retractions, [], "never there");
    moved(&mut province);
    let new = province.root.sign(Parts { term: 2, ..Writer::registration_parts("H1", "P9") });
    province.holds(&new);
    assert_eq!(
        province.because_of(&new).retractions,
        [name(&new)],
        "its first versions may be forgotten here"
    );
    // What follows the child's own version it is told once.
    let next = province.root.sign(Parts { term: 2, ..Writer::registration_parts("H1", "P1") });
    assert_eq!(next.key(), one.key());
    province.holds(&next);
    let told = province.because_of(&next);
    assert_eq!((told.records, told.retractions), (vec![next], vec![]));
}

#[test]
fn a_custodian_is_told_of_the_documents_that_it_keeps() {
    let (mut province, _) = two_hospitals();
    let entry = |document_id: &str, custodian: OriginId| {
        let parts = Writer::document_parts("H1", "P1", document_id);
        let mut body = DocumentEntry::decode(&parts.body[..]).unwrap();
        body.custodian = custodian.as_bytes().to_vec().into();
        Parts { body: body.encode_to_vec(), ..parts }
    };
    let (kunming, root) = (province.kunming.origin, province.root.origin);
    for record in [province.kunming.registration("H1", "P1"), province.kunming.sign(entry("D1", kunming))] {
        province.holds(&record);
    }
    moved(&mut province);
    // Nobody of Kunming's is this person any more.
    let gone = Parts { term: 2, tombstone: true, body: vec![], ..Writer::registration_parts("H1", "P1") };
    let gone = province.root.sign(gone);
    province.holds(&gone);
    for (name_of, custodian, told) in [("D1", kunming, true), ("D2", root, false)] {
        for _ in 0..2 {
            let changed = province.root.sign(Parts { term: 2, ..entry(name_of, custodian) });
            let before = province.store.head();
            province.holds(&changed);
            let (view, mut selection) = (province.directory.snapshot(), province.selection());
            let selected = now(selection.of(vec![changed.clone()], before, &view, &province.store)).unwrap();
            assert_eq!((selected.records.contains(&changed), province.is_told(&changed)), (told, told));
            assert_eq!(selected.retractions.is_empty(), told, "{name_of}");
        }
    }
}

#[test]
fn of_what_the_child_signed_itself_it_is_told_that_a_later_writer_has_it() {
    let (mut province, [one, _]) = two_hospitals();
    moved(&mut province);
    let upto = province.store.head();
    now(province.store.apply(Apply { forget: vec![name(&one)], ..Apply::default() })).unwrap();
    let gone = province.store.feed_reader(upto).next(10, 1 << 20, &|_| true).unwrap().forgotten;
    let view = province.directory.snapshot();
    let retracted = province.selection().forgotten(&gone, &view, &province.store).unwrap();
    assert_eq!(retracted, [(one.key(), Version { term: 2, epoch: 0, seq: 0 })]);
}

#[test]
fn of_what_a_slice_tells_and_retracts_the_last_word_counts() {
    let mut writer = Writer::new(1, "530000/532900");
    let (one, two) = (writer.registration("H1", "P1"), writer.registration("H1", "P2"));
    let name = |record: &Record| (record.key(), record.envelope().version);
    let mut selected = Selected::default();
    selected.retract_also(vec![name(&one), name(&two)]);
    selected.tell_also(one.clone());
    assert_eq!(
        (selected.records.clone(), selected.retractions.clone()),
        (vec![one.clone()], vec![name(&two)])
    );
    selected.retract_also(vec![name(&one)]);
    assert_eq!((selected.records.clone(), selected.retractions.len()), (vec![], 2));
    // A later version follows the one that is retracted: the child may forget that.
    let later = writer.registration("H1", "P2");
    assert_eq!(later.key(), two.key());
    selected.tell_also(later.clone());
    selected.retract_also(vec![name(&two)]);
    assert_eq!((selected.records, selected.retractions.len()), (vec![later], 3));
}
