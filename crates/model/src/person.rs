//! Persons as groups of registrations, decided at query time for now.
//!
//! [`Grouping`] is the seam: the linker will answer it from its link records, with [`group`] and [`person_number`] unchanged.

use std::borrow::Borrow;

use crate::body::Registration;
use crate::date::PartialDate;
use crate::normalise::name_key;
use crate::{Number, ResidentId, codes};

/// Says whether two registrations are held to be the same human being. Symmetric; [`group`] makes it transitive.
pub trait Grouping {
    fn same_person(&self, a: &Registration, b: &Registration) -> bool;
}

/// The same valid resident ID (identifier type `01`) and an agreeing name key or the same full birth date.
///
/// The second condition is there because a child is often registered with a parent's ID.
#[derive(Debug, Clone, Copy, Default)]
pub struct ResidentIdGrouping;

impl Grouping for ResidentIdGrouping {
    fn same_person(&self, a: &Registration, b: &Registration) -> bool {
        resident_ids(a).any(|id| resident_ids(b).any(|other| id == other))
            && (same_name(a, b) || same_birth_date(a, b))
    }
}

/// The valid resident IDs of a registration.
pub fn resident_ids(registration: &Registration) -> impl Iterator<Item = ResidentId> + '_ {
    let values = registration.identifiers.iter().filter(|identifier| identifier.r#type == codes::RESIDENT_ID);
    values.filter_map(|identifier| ResidentId::parse(&identifier.value).ok())
}

fn same_name(a: &Registration, b: &Registration) -> bool {
    let key = name_key(&a.name);
    !key.is_empty() && key == name_key(&b.name)
}

fn same_birth_date(a: &Registration, b: &Registration) -> bool {
    let full = |date: &str| date.parse::<PartialDate>().ok().filter(|date| date.is_full());
    full(&a.birth_date).is_some_and(|date| full(&b.birth_date) == Some(date))
}

/// Groups registrations into persons: places in `registrations`, each in exactly one group. Groups are ordered by their
/// first place, places ascend. Compares every pair, so it is for candidates of a lookup, not for a population.
pub fn group<R: Borrow<Registration>>(registrations: &[R], grouping: &dyn Grouping) -> Vec<Vec<usize>> {
    let mut leader: Vec<usize> = (0..registrations.len()).collect();
    for (b, second) in registrations.iter().enumerate() {
        for (a, first) in registrations[..b].iter().enumerate() {
            let (one, other) = (find(&mut leader, a), find(&mut leader, b));
            if one != other && grouping.same_person(first.borrow(), second.borrow()) {
                leader[one.max(other)] = one.min(other);
            }
        }
    }
    let mut groups: Vec<Vec<usize>> = vec![Vec::new(); registrations.len()];
    for place in 0..registrations.len() {
        let first = find(&mut leader, place);
        groups[first].push(place);
    }
    groups.retain(|group| !group.is_empty());
    groups
}

/// The first place of the group that `place` is in; shortens the way there.
fn find(leader: &mut [usize], mut place: usize) -> usize {
    while leader[place] != place {
        leader[place] = leader[leader[place]];
        place = leader[place];
    }
    place
}

/// A person's number: the smallest of its registrations' by (recorded birth of the record, number). None when no
/// registration has a readable number.
pub fn person_number<'a>(registrations: impl IntoIterator<Item = &'a Registration>) -> Option<Number> {
    let numbers =
        registrations.into_iter().filter_map(|one| Some((one.born_ms, one.number.parse::<Number>().ok()?)));
    numbers.min().map(|(_, number)| number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::RecordKey;
    use crate::body::Identifier;

    const ID: &str = "11010519491231002X";

    fn registration(id: &str, name: &str, birth_date: &str) -> Registration {
        Registration {
            name: name.into(),
            birth_date: birth_date.into(),
            identifiers: vec![Identifier { r#type: "01".into(), value: id.into(), assigner: String::new() }],
            ..Default::default()
        }
    }

    #[test]
    fn who_is_the_same_person() {
        let someone = registration(ID, "热合曼·艾合买提", "1949-12-31");
        for (id, name, birth_date, same) in [
            (ID, "热合曼·艾合买提", "1949-12-31", true),
            ("110105491231002", "热合曼•艾合买提", "", true),
            ("１１０１０５１９４９１２３１００２ｘ", "热合曼", "1949-12-31", true),
            (ID, "张三", "1949-12-30", false),
            (ID, "张三", "1949", false),
            (ID, "", "", false),
            ("110105194912310021", "热合曼·艾合买提", "1949-12-31", false),
            ("440524188001010014", "热合曼·艾合买提", "1949-12-31", false),
            ("", "热合曼·艾合买提", "1949-12-31", false),
        ] {
            let other = registration(id, name, birth_date);
            assert_eq!(ResidentIdGrouping.same_person(&someone, &other), same, "{id} {name} {birth_date}");
            assert_eq!(ResidentIdGrouping.same_person(&other, &someone), same, "{id} {name} {birth_date}");
        }
    }

    #[test]
    fn what_is_unknown_on_both_sides_does_not_agree() {
        let (a, b) = (registration(ID, "", "1949"), registration(ID, "·", "1949"));
        assert!(!ResidentIdGrouping.same_person(&a, &b));
    }

    #[test]
    fn another_document_with_the_same_number_does_not_count() {
        let (a, mut b) = (registration(ID, "张三", ""), registration(ID, "张三", ""));
        b.identifiers[0].r#type = "99".into();
        assert!(!ResidentIdGrouping.same_person(&a, &b));
    }

    #[test]
    fn groups_are_connected() {
        let by_name = registration(ID, "张三", "");
        let by_birth = registration(ID, "李四", "1949-12-31");
        let both = registration(ID, "张三", "1949-12-31");
        let other = registration("440524188001010014", "张三", "1949-12-31");
        let groups = group(&[&by_name, &other, &by_birth, &both], &ResidentIdGrouping);
        assert_eq!(groups, [vec![0, 2, 3], vec![1]]);
        assert_eq!(group::<Registration>(&[], &ResidentIdGrouping), [[0usize; 0]; 0]);
    }

    #[test]
    fn the_oldest_registration_gives_the_number() {
        let number = |byte| Number::of(RecordKey([byte; 16]));
        let born =
            |born_ms, byte| Registration { born_ms, number: number(byte).to_string(), ..Default::default() };
        let (old, young, twin) = (born(1, 9), born(2, 1), born(1, 7));
        assert_eq!(person_number([&young, &old]), Some(number(9)));
        assert_eq!(
            person_number([&young, &old, &twin]),
            Some(number(7)),
            "of the same moment the smaller number"
        );
        assert_eq!(person_number([&Registration::default()]), None);
    }

    /// Same person when the links below say so.
    struct Links(Vec<(u64, u64)>);

    impl Grouping for Links {
        fn same_person(&self, a: &Registration, b: &Registration) -> bool {
            self.0.contains(&(a.born_ms, b.born_ms)) || self.0.contains(&(b.born_ms, a.born_ms))
        }
    }

    proptest! {
        #[test]
        fn groups_partition_and_follow_links(links in prop::collection::vec((0u64..12, 0u64..12), 0..12)) {
            let all: Vec<_> = (0..12).map(|born_ms| Registration { born_ms, ..Default::default() }).collect();
            let groups = group(&all, &Links(links.clone()));
            let mut places: Vec<usize> = groups.iter().flatten().copied().collect();
            prop_assert!(groups.iter().all(|group| group.is_sorted()));
            places.sort_unstable();
            prop_assert_eq!(places, (0..12).collect::<Vec<_>>());
            // The components again, the slow way: spread the smallest label until nothing changes.
            let mut label: Vec<usize> = (0..12).collect();
            for _ in 0..12 {
                for (a, b) in &links {
                    let (a, b) = (*a as usize, *b as usize);
                    let least = label[a].min(label[b]);
                    (label[a], label[b]) = (least, least);
                }
            }
            for group in &groups {
                prop_assert!(group.iter().all(|place| label[*place] == group[0]));
            }
        }
    }
}
