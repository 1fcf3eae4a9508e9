//! What the directory keeps when facts come in any order.

use proptest::prelude::*;

use super::*;
use crate::testing::{Writer, epoch_entry, institution, path};

fn facts(writer: &mut Writer) -> Vec<Fact> {
    let mut records = writer.introduction();
    records.push(writer.institution("H1"));
    records.push(writer.epoch(&epoch_entry(2, 2, &[writer.seed; 16], writer.seq)));
    records.push(writer.epoch(&epoch_entry(3, 3, &[2; 16], writer.seq)));
    records.iter().filter_map(Fact::of_record).collect()
}

proptest! {
    #[test]
    fn order_and_repetition_do_not_matter(order in Just((0..12usize).collect::<Vec<_>>()).prop_shuffle()) {
        let mut writer = Writer::new(1, "530000/532900");
        let facts = facts(&mut writer);
        let directory = Directory::default();
        for at in order {
            directory.publish([facts[at % facts.len()].clone()]);
        }
        let view = directory.snapshot();
        prop_assert_eq!(view.origin_at(&path("530000/532900")), Some(writer.origin));
        prop_assert_eq!(view.key_path(&writer.key.id()), Some(&path("530000/532900")));
        prop_assert_eq!(&view.node(&writer.origin).unwrap().tier, "prefecture");
        prop_assert_eq!(view.institution(&institution("H1")).unwrap().writer, writer.origin);
        let counters: Vec<u32> = view.epochs(&writer.origin).iter().map(|epoch| epoch.counter).collect();
        prop_assert_eq!(counters, vec![1, 2, 3]);
    }
}

#[test]
fn an_older_version_does_not_come_back() {
    let mut writer = Writer::new(1, "530000/532900");
    let old = writer.node();
    let newer = {
        let mut parts = writer.node_parts("530000/532900", "tiermesh.test");
        let entry = model::body::NodeEntry {
            tier: "county".into(),
            ..prost::Message::decode(&parts.body[..]).unwrap()
        };
        parts.body = prost::Message::encode_to_vec(&entry);
        writer.sign(parts)
    };
    let directory = Directory::default();
    for record in [&old, &newer, &old] {
        directory.learn(record);
    }
    assert_eq!(directory.snapshot().node(&writer.origin).unwrap().tier, "county");
}

#[test]
fn a_snapshot_does_not_change_and_other_records_say_nothing() {
    let mut writer = Writer::new(1, "530000/532900");
    let directory = Directory::default();
    let before = directory.snapshot();
    directory.learn(&writer.node());
    directory.learn(&writer.registration("H1", "P1"));
    assert_eq!((before.nodes().count(), directory.snapshot().nodes().count()), (0, 1));
    assert_eq!(directory.path_of(&writer.origin), Some(path("530000/532900")));
}

#[test]
fn terms_are_frozen_and_only_for_directory_records() {
    let mut writer = Writer::new(1, "530000/532900");
    let mut terms = Vec::new();
    directory_terms(&writer.registration("H1", "P1"), &mut terms);
    assert!(terms.is_empty());
    directory_terms(&writer.node(), &mut terms);
    assert_eq!((terms.len(), terms[0].space, terms[0].term), (1, DIRECTORY_SPACE, directory_term(16)));
    assert_ne!(directory_term(16), directory_term(17));
}
